//! Whether all gateway nodes serve the newest policy.

use std::time::Duration;

use api::ops::nodes::{ListNodes, NodeView};
use api::ops::{OrganizationPath, PageQuery};
use domain::{Page as ListPage, Permission};
use leptos::prelude::*;

use super::Board;
use kit::api::use_query;
use kit::page::{OrganizationPage, Page};
use ui::Tone;
use ui::badge::Badge;
use ui::button::{LinkButton, Size, Weight};
use ui::data_view::{DataView, Skeleton};
use ui::icon::Icon;
use ui::when::WhenOr;

fn state(node: &NodeView) -> (Tone, &'static str) {
    match node {
        node if !node.is_connected => (Tone::Warn, "Not connected"),
        node if node.last_nack.is_some() => (Tone::Danger, "Refused a revision"),
        node if node.acknowledged_revision < node.desired_revision => (Tone::Warn, "Behind"),
        _ => (Tone::Ok, "In step"),
    }
}

fn lines(nodes: Vec<NodeView>) -> AnyView {
    let lines = nodes.into_iter().filter(|node| node.revoked_at.is_none()).map(|node| {
        let (tone, text) = state(&node);
        view! {
            <li class="row-between node-line">
                <span class="row"><Badge tone text dot=true /> <span class="strong">{node.name}</span></span>
                <span class="muted small number">{format!("revision {} of {} · ", node.acknowledged_revision, node.desired_revision)}<WhenOr at=node.last_contact_at otherwise="never heard" /></span>
            </li>
        }
    });
    view! { <ul class="node-lines">{lines.collect_view()}</ul> }.into_any()
}

/// The card; absent for those who may not see nodes.
#[component]
pub(super) fn NodesInStep(board: Board) -> impl IntoView {
    let organization =
        board.session.organization_of(board.workspace_id).filter(|id| board.session.can(Permission::NodesRead, *id));
    organization.map(|organization_id| {
        let nodes = use_query::<ListNodes>(move || Some((OrganizationPath { organization_id }, PageQuery { limit: Some(200), cursor: None }))).every(Duration::from_secs(5));
        let href = Signal::stored(Page::Organization(organization_id, OrganizationPage::Nodes).path());
        let ready = Callback::new(move |page: Signal<ListPage<NodeView>>| (move || lines(page.get().items)).into_any());
        view! {
            <section class="card" aria-labelledby="nodes-in-step">
                <div class="card-head">
                    <div><h2 id="nodes-in-step">"Gateway nodes"</h2><p>"each serves the newest policy it acknowledged"</p></div>
                    <LinkButton href size=Size::Small weight=Weight::Ghost icon=Icon::Node>"Nodes"</LinkButton>
                </div>
                <div class="card-body">
                    <DataView load=nodes.load on_retry=nodes.retry() skeleton=Skeleton::Rows(2) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <p class="muted">"No gateway node has joined yet."</p> }) ready />
                </div>
            </section>
        }
    })
}
