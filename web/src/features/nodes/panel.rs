//! One node: what it last reported, why it refused, and its revocation.

use api::ops::PageQuery;
use api::ops::nodes::{ListNodes, NackView, NodePath, NodeView, RevokeNode};
use leptos::prelude::*;

use super::{Fleet, lag, state};
use kit::as_code::as_code;
use kit::ask::use_ask;
use ui::Tone;
use ui::badge::{Badge, Note};
use ui::browser;
use ui::button::{Button, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::format::{number, time};
use ui::toast::Toasts;
use ui::when::{When, WhenOr};

/// The panel, open while the address names a node.
#[component]
pub(super) fn NodePanel(fleet: Fleet) -> impl IntoView {
    let wanted = fleet.nav.param("node");
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        fleet.nodes.items().get().into_iter().find(|node| node.id.to_string() == wanted)
    });
    let title = Signal::derive(move || found.get().map_or_else(|| "Node".to_owned(), |node| node.name));
    let close = Callback::new(move |()| fleet.nav.set(&[("node", None)], false));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=close title placement=Placement::Side>
            {move || found.get().map(|node| body(fleet, node))}
        </Dialog>
    }
}

/// What the node refused. It acknowledges a revision of which it refuses only some objects; the rest of that is in force.
fn refusal(nack: NackView, acknowledged_revision: u64) -> AnyView {
    let (title, meaning) = if nack.revision <= acknowledged_revision {
        (
            "Refused objects of revision",
            "Everything else of the revision is in force. Each of these keeps its last good version, or is absent; a virtual key that cannot be read answers 503. Mend them and the next revision is tried at once.",
        )
    } else {
        (
            "Refused revision",
            "Nothing of it applies. The node goes on serving the revision before, and revocations still reach it.",
        )
    };
    let zone = browser::zone();
    let reasons = nack
        .reasons
        .into_iter()
        .map(|reason| view! { <li><code>{reason.resource}</code> ": " {reason.reason}</li> })
        .collect_view();
    view! {
        <Note tone=Tone::Danger title=format!("{title} {} at {}", number::grouped(nack.revision), format_args!("{} {}", time::absolute(nack.at, zone), zone.name()))>
            <p>{meaning}</p>
            <ul>{reasons}</ul>
        </Note>
    }
    .into_any()
}

fn revoke(fleet: Fleet, node: &NodeView) {
    let toasts = expect_context::<Toasts>();
    let question = Question {
        act: "Revoke node".to_owned(),
        warning: "This cannot be undone".to_owned(),
        text: "Its stream is cut within seconds, its certificate is refused, and it stops verifying keys when its policy grows too old. To bring the machine back, join it anew.".to_owned().into(),
        name: node.name.clone(),
    };
    let path = NodePath { organization_id: fleet.organization_id, node_id: node.id };
    use_ask().before::<RevokeNode>(question, path, move |node| {
        toasts.done(format!("“{}” is revoked.", node.name));
        fleet.nodes.refetch();
    });
}

fn body(fleet: Fleet, node: NodeView) -> AnyView {
    let for_revoke = node.clone();
    let press = Callback::new(move |()| revoke(fleet, &for_revoke));
    let (tone, words) = state(&node);
    let may_revoke = fleet.may_manage() && node.revoked_at.is_none();
    view! {
        <DialogBody>
            {node.last_nack.clone().map(|nack| refusal(nack, node.acknowledged_revision))}
            <dl class="facts">
                <dt>"State"</dt>
                <dd><Badge tone text=words dot=true /></dd>
                <dt>"Group"</dt>
                <dd>{fleet.group_name(node.group_id)}</dd>
                <dt>"Release"</dt>
                <dd><code>{node.build.clone()}</code></dd>
                <dt>"Revision"</dt>
                <dd class="number">{format!("{} of {}, {} behind", number::grouped(node.acknowledged_revision), number::grouped(node.desired_revision), number::grouped(lag(&node)))}</dd>
                {node.drifted_at.map(|at| view! { <dt>"Held another state"</dt> <dd><When at /></dd> })}
                {(!node.withheld_kinds.is_empty()).then(|| view! { <dt>"Withheld"</dt> <dd>{node.withheld_kinds.join(", ")} ": its release does not understand them"</dd> })}
                <dt>"Last contact"</dt>
                <dd><WhenOr at=node.last_contact_at otherwise="Never" /></dd>
                <dt>"Usage in spool"</dt>
                <dd class="number">{number::plural(node.spool_depth, "event", "events")}</dd>
                <dt>"Ever dropped"</dt>
                <dd class="number">{number::plural(node.spool_dropped, "event", "events")}</dd>
                <dt>"Certificate ends"</dt>
                <dd><When at=node.certificate_expires_at /></dd>
                <dt>"Joined"</dt>
                <dd><When at=node.created_at /></dd>
                {node.revoked_at.map(|at| view! { <dt>"Revoked"</dt> <dd><When at /></dd> })}
                <dt>"Id"</dt>
                <dd><CopyId id=node.id.to_string() /></dd>
            </dl>
            {as_code::<ListNodes>(&fleet.path(), &PageQuery::default(), &node)}
        </DialogBody>
        <DialogFoot>{may_revoke.then(|| view! { <Button weight=Weight::Danger on_press=press>"Revoke"</Button> })}</DialogFoot>
    }
    .into_any()
}
