//! Nodes: are all gateway nodes in step? Revision, lag, last contact, spool, certificate and refusals; joining and revoking.

mod join;
mod panel;

use std::time::Duration;

use api::ops::nodes::{JoinTokenView, ListJoinTokens, ListNodeGroups, ListNodes, NodeGroupView, NodeView};
use api::ops::{OrganizationPath, PageQuery};
use domain::{NodeGroupId, OrganizationId, Page, Permission};
use leptos::prelude::*;

use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use ui::Tone;
use ui::badge::Badge;
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::number;
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::stat::Stat;
use ui::table::{Column, DataTable};
use ui::tabs::Tabs;
use ui::when::{When, WhenOr};

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Fleet {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    nodes: Query<Page<NodeView>>,
    groups: Query<Page<NodeGroupView>>,
    tokens: Query<Page<JoinTokenView>>,
    joining: RwSignal<bool>,
    grouping: RwSignal<Option<Grouping>>,
}

/// What the dialog for groups is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Grouping {
    New,
    Change(NodeGroupView),
}

impl Fleet {
    fn may_manage(self) -> bool {
        self.session.can(Permission::NodesManage, self.organization_id)
    }

    fn path(self) -> OrganizationPath {
        OrganizationPath { organization_id: self.organization_id }
    }

    fn group_name(self, id: NodeGroupId) -> String {
        let groups = self.groups.items().get();
        groups
            .into_iter()
            .find(|group| group.id == id)
            .map_or_else(|| "another organization's".to_owned(), |group| group.slug.to_string())
    }
}

/// How far a node is behind the newest policy.
fn lag(node: &NodeView) -> u64 {
    node.desired_revision.saturating_sub(node.acknowledged_revision)
}

/// The state of a node in words.
fn state(node: &NodeView) -> (Tone, &'static str) {
    match node {
        node if node.revoked_at.is_some() => (Tone::Neutral, "Revoked"),
        node if !node.is_connected => (Tone::Warn, "Not connected"),
        NodeView { last_nack: Some(nack), .. } if nack.revision <= node.acknowledged_revision => {
            (Tone::Danger, "Refused objects")
        }
        node if node.last_nack.is_some() => (Tone::Danger, "Refused a revision"),
        node if lag(node) > 0 => (Tone::Warn, "Behind"),
        node if node.drifted_at.is_some() => (Tone::Warn, "Drifted"),
        node if !node.withheld_kinds.is_empty() => (Tone::Warn, "Old release"),
        _ => (Tone::Ok, "In step"),
    }
}

fn columns(fleet: Fleet) -> Vec<Column<NodeView>> {
    let count = |title, value: fn(&NodeView) -> u64| {
        Column::new(title, move |node: &NodeView| value(node).to_string())
            .number(move |node| number::as_f64(value(node)))
            .cell(move |node| number::grouped(value(node)).into_any())
    };
    vec![
        Column::new("Node", |node: &NodeView| node.name.clone()),
        Column::new("State", |node: &NodeView| state(node).1.to_owned()).cell(|node| {
            let (tone, text) = state(node);
            view! { <Badge tone text dot=true /> }.into_any()
        }),
        Column::new("Group", move |node: &NodeView| fleet.group_name(node.group_id)).wide_only(),
        count("Revision", |node| node.acknowledged_revision),
        count("Lag", lag).wide_only(),
        Column::new("Last contact", |node: &NodeView| {
            node.last_contact_at.map(|at| at.to_string()).unwrap_or_default()
        })
        .sorted_by(|node| node.last_contact_at.map_or(0.0, |at| number::signed_as_f64(at.as_micros())))
        .cell(|node| view! { <WhenOr at=node.last_contact_at otherwise="Never" /> }.into_any()),
        count("Spool", |node| node.spool_depth).wide_only(),
        Column::new("Release", |node: &NodeView| node.build.clone())
            .cell(|node| view! { <code class="muted">{node.build.clone()}</code> }.into_any())
            .wide_only(),
        Column::new("Certificate ends", |node: &NodeView| node.certificate_expires_at.to_string())
            .sorted_by(|node| number::signed_as_f64(node.certificate_expires_at.as_micros()))
            .cell(|node| view! { <When at=node.certificate_expires_at /> }.into_any())
            .wide_only(),
    ]
}

/// The page.
#[component]
pub(crate) fn Nodes(organization_id: OrganizationId) -> impl IntoView {
    let path = OrganizationPath { organization_id };
    let page = || PageQuery { limit: Some(200), cursor: None };
    let fleet = Fleet {
        organization_id,
        nav: use_nav(),
        session: use_session(),
        // What a node refuses is to be seen within two seconds.
        nodes: use_query::<ListNodes>(move || Some((path, page()))).every(Duration::from_secs(1)),
        groups: use_query::<ListNodeGroups>(move || Some((path, page()))),
        tokens: use_query::<ListJoinTokens>(move || Some((path, page()))).every(Duration::from_secs(10)),
        joining: RwSignal::new(false),
        grouping: RwSignal::new(None),
    };
    let tab = fleet.nav.param("tab");
    let panel = Callback::new(move |key: String| match key.as_str() {
        "groups" => join::groups_view(fleet),
        "tokens" => join::tokens_view(fleet),
        _ => nodes_view(fleet),
    });
    view! {
        <PageHead title="Nodes" about="Are all gateway nodes in step? Each serves the newest policy it acknowledged, also while the control plane is away.">
            {move || {
                fleet
                    .may_manage()
                    .then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=Callback::new(move |()| fleet.joining.set(true))>"Join a node"</Button> })
            }}
        </PageHead>
        <Summary fleet />
        <Tabs
            label="Nodes, groups and join tokens"
            tabs=vec![("nodes", "Nodes"), ("groups", "Groups"), ("tokens", "Join tokens")]
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| fleet.nav.set(&[("tab", Some(key))], true))
            panel
        />
        <panel::NodePanel fleet />
        <join::JoinDialog fleet />
        <join::GroupDialog fleet />
    }
}

#[component]
fn Summary(fleet: Fleet) -> impl IntoView {
    let nodes = fleet.nodes.items();
    let live = move || nodes.get().into_iter().filter(|node| node.revoked_at.is_none()).collect::<Vec<_>>();
    let in_step = move || {
        let live = live();
        let good = live.iter().filter(|node| state(node).0 == Tone::Ok).count();
        format!("{good} of {}", live.len())
    };
    let worst = move || live().iter().map(lag).max().unwrap_or(0);
    let waiting = move || live().iter().map(|node| node.spool_depth).sum::<u64>();
    let dropped = move || live().iter().map(|node| node.spool_dropped).sum::<u64>();
    let newest = move || nodes.get().iter().map(|node| node.desired_revision).max().unwrap_or(0);
    view! {
        <div class="stats">
            <Stat label="In step" value=Signal::derive(in_step) detail=Signal::stored("connected, newest revision".to_owned()) />
            <Stat label="Newest revision" value=Signal::derive(move || number::grouped(newest())) detail=Signal::stored("of this organization's policy".to_owned()) />
            <Stat label="Largest lag" value=Signal::derive(move || number::grouped(worst())) detail=Signal::stored("revisions behind".to_owned()) />
            <Stat label="Usage waiting" value=Signal::derive(move || number::grouped(waiting())) detail=Signal::derive(move || format!("events in spools, {} ever dropped", number::grouped(dropped()))) />
        </div>
    }
}

fn nodes_view(fleet: Fleet) -> AnyView {
    let selected = fleet.nav.param("node");
    let ready = Callback::new(move |page: Signal<Page<NodeView>>| {
        view! {
            <DataTable
                label="Nodes"
                columns=columns(fleet)
                rows=Signal::derive(move || page.get().items)
                key=|node: &NodeView| node.id.to_string()
                on_open=Callback::new(move |node: NodeView| fleet.nav.set(&[("node", Some(node.id.to_string()))], false))
                selected=Signal::derive(move || selected.get())
                file_name="nodes"
            />
        }
        .into_any()
    });
    view! {
        <section class="card" aria-label="List of nodes">
            <DataView load=fleet.nodes.load on_retry=fleet.nodes.retry() skeleton=Skeleton::Rows(4) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(fleet)) ready />
        </section>
    }
    .into_any()
}

fn empty(fleet: Fleet) -> AnyView {
    view! {
        <EmptyState icon=Icon::Node title="No node has joined yet" text="A gateway node joins with a token that works once. It needs nothing but the address of this control plane.">
            {fleet.may_manage().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=Callback::new(move |()| fleet.joining.set(true))>"Join a node"</Button> })}
        </EmptyState>
    }
    .into_any()
}
