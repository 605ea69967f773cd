//! Kill switches: what is stopped, by whom, since when and why; throwing one and lifting it.

mod throw;

use std::time::Duration;

use api::Empty;
use api::ops::OrganizationPath;
use api::ops::audit::{AuditEntryView, AuditQuery, ListAuditEntries};
use api::ops::kill_switches::{
    KillSwitchPath, KillSwitchQuery, KillSwitchView, LiftKillSwitch, ListKillSwitches, NewKillSwitch, ThrowKillSwitch,
};
use domain::kill_switch::{Target, TargetKind};
use domain::{OrganizationId, Page, Permission, WorkspaceId};
use kit::api::{Command, Query, use_act, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::{Badge, Note};
use ui::button::{Button, Size, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::segmented::{Segment, Segmented};
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::{When, WhenOr};

use crate::names::{Names, use_names};

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Board {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    names: Names,
    list: Query<Page<KillSwitchView>>,
    /// Who threw which: the audit log knows.
    thrown: Query<Page<AuditEntryView>>,
    lift: Command<LiftKillSwitch>,
    again: Command<ThrowKillSwitch>,
}

impl Board {
    fn path(self) -> OrganizationPath {
        OrganizationPath { organization_id: self.organization_id }
    }

    fn manages(self) -> bool {
        self.session.can(Permission::KillSwitchesManage, self.organization_id)
    }

    fn target_name(self, target: &Target) -> String {
        match target {
            Target::Organization => self.session.membership(self.organization_id).map(|it| it.name.to_string()),
            Target::Model(_) | Target::Provider(_) | Target::EndUser(_) => None,
            Target::Workspace(_) | Target::VirtualKey(_) | Target::Deployment(_) => {
                Some(self.names.of(&target.id_text()))
            }
        }
        .unwrap_or_else(|| target.id_text())
    }

    fn thrown_by(self, switch: &KillSwitchView) -> String {
        let id = switch.id.to_string();
        let of = |entry: &&AuditEntryView| entry.action == "kill_switch.throw" && entry.subject_id == id;
        self.thrown.items().get().iter().find(of).map_or_else(|| "–".to_owned(), model::words::actor_name)
    }

    /// Lifts at once and offers to take it back: stopping again is as quick.
    fn lift(self, switch: &KillSwitchView) {
        let (toasts, name) = (expect_context::<Toasts>(), self.target_name(&switch.target));
        let path = KillSwitchPath { organization_id: self.organization_id, kill_switch_id: switch.id };
        let again = NewKillSwitch {
            target: switch.target.clone(),
            reason: switch.reason.clone(),
            cuts_calls: Some(switch.cuts_calls),
        };
        self.lift.run(path, Empty {}, move |_| {
            self.list.refetch();
            toasts.done_with_undo(format!("“{name}” goes on."), move || {
                self.again.run(self.path(), again.clone(), move |_| self.list.refetch());
            });
        });
    }
}

/// What kind of thing is stopped, in words.
fn kind_words(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Organization => "Organization",
        TargetKind::Workspace => "Workspace",
        TargetKind::VirtualKey => "Virtual key",
        TargetKind::Deployment => "Deployment",
        TargetKind::Model => "Model",
        TargetKind::Provider => "Provider",
        TargetKind::EndUser => "End user",
    }
}

fn state(switch: &KillSwitchView) -> (Tone, &'static str) {
    if switch.lifted_at.is_some() { (Tone::Neutral, "Lifted") } else { (Tone::Danger, "Stopped") }
}

fn columns(board: Board) -> Vec<Column<KillSwitchView>> {
    vec![
        Column::new("What", move |switch: &KillSwitchView| board.target_name(&switch.target)).cell(move |switch| {
            let (target, kind) = (switch.target.clone(), kind_words(switch.target.kind()));
            view! { <span class="stack-hair switch-what"><span class="strong">{move || board.target_name(&target)}</span><span class="faint small">{kind}</span></span> }.into_any()
        }),
        Column::new("State", |switch: &KillSwitchView| state(switch).1.to_owned()).cell(|switch| {
            let (tone, text) = state(switch);
            let lifted = switch.lifted_at.map(|at| view! { <span class="faint small"><When at /></span> });
            view! { <span class="row-tags"><Badge tone text dot=true /> {lifted}</span> }.into_any()
        }),
        Column::new("Why", |switch: &KillSwitchView| switch.reason.clone())
            .cell(|switch| view! { <span class="switch-reason">{switch.reason.clone()}</span> }.into_any())
            .wide_only(),
        Column::new("By", move |switch: &KillSwitchView| board.thrown_by(switch))
            .cell(move |switch| {
                let switch = switch.clone();
                view! { <span>{move || board.thrown_by(&switch)}</span> }.into_any()
            })
            .wide_only(),
        Column::new("Since", |switch: &KillSwitchView| switch.created_at.to_string())
            .cell(|switch| view! { <When at=switch.created_at /> }.into_any())
            .wide_only(),
        Column::new("Calls under way", |switch: &KillSwitchView| {
            if switch.cuts_calls { "were cut" } else { "end in order" }.to_owned()
        })
        .hidden_at_first(),
        Column::new("Lifted", |switch: &KillSwitchView| {
            switch.lifted_at.map(|at| at.to_string()).unwrap_or_default()
        })
        .cell(|switch| view! { <WhenOr at=switch.lifted_at otherwise="–" /> }.into_any())
        .hidden_at_first(),
        Column::acts(move |switch: &KillSwitchView| {
            let may = switch.lifted_at.is_none() && board.manages();
            let wanted = switch.clone();
            let on_press = Callback::new(move |()| board.lift(&wanted));
            may.then(|| view! { <Button size=Size::Small busy=board.lift.is_busy on_press test_id="lift">"Lift"</Button> }).into_any()
        }),
    ]
}

/// The workspace whose keys and deployments can be chosen and named.
fn place_of(session: Session, organization_id: OrganizationId, chosen: Option<String>) -> Option<WorkspaceId> {
    let all = session.workspaces(organization_id);
    let wanted = chosen.and_then(|id| id.parse().ok());
    wanted.filter(|id| all.iter().any(|it| it.workspace_id == *id)).or(all.first().map(|it| it.workspace_id))
}

/// The page.
#[component]
pub fn KillSwitches(organization_id: OrganizationId) -> impl IntoView {
    let (nav, session) = (use_nav(), use_session());
    let (show, chosen) = (nav.param("show"), nav.param("in"));
    let path = OrganizationPath { organization_id };
    let list = use_query::<ListKillSwitches>(move || {
        let lifted = (show.get().as_deref() == Some("all")).then_some(true);
        Some((path, KillSwitchQuery { lifted, limit: Some(200), cursor: None }))
    });
    let thrown = use_query::<ListAuditEntries>(move || {
        let query =
            AuditQuery { action: Some("kill_switch.throw".to_owned()), limit: Some(200), ..AuditQuery::default() };
        // Asked again with the list, since a switch may be new in both.
        list.load.data.track();
        session.can(Permission::AuditRead, organization_id).then_some((path, query))
    });
    let place = Signal::derive(move || place_of(session, organization_id, chosen.get()));
    let board = Board {
        organization_id,
        nav,
        session,
        names: use_names(place),
        list: list.every(Duration::from_secs(5)),
        thrown,
        lift: use_act(),
        again: use_act(),
    };
    let throw = Callback::new(move |()| nav.set(&[("new", Some("1".to_owned()))], false));
    let ready = Callback::new(move |page: Signal<Page<KillSwitchView>>| {
        view! {
            <DataTable
                label="Kill switches"
                columns=columns(board)
                rows=Signal::derive(move || page.get().items)
                key=|switch: &KillSwitchView| format!("{}{}", switch.id, switch.lifted_at.is_some())
                file_name="kill-switches"
            />
        }
        .into_any()
    });
    let segments = Signal::stored(vec![Segment::new("", "In force"), Segment::new("all", "All")]);
    let value = Signal::derive(move || show.get().unwrap_or_default());
    let on_change = Callback::new(move |value: String| {
        nav.set(&[("show", Some(value).filter(|value| !value.is_empty()))], true);
    });
    view! {
        <PageHead title="Kill switches" about="Stop a key, a workspace, a model or a provider now, on every node, and let it go on later. Who did it, and why, stands in the audit log.">
            {move || board.manages().then(|| view! { <Button weight=Weight::Danger icon=Icon::Bolt on_press=throw test_id="throw-switch">"Stop something"</Button> })}
        </PageHead>
        {move || summary(list)}
        <section class="card" aria-label="List of kill switches">
            <div class="card-head">
                <h2>"Switches"</h2>
                <Segmented label="Which switches" segments value on_change />
            </div>
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(4) is_empty=|page| page.items.is_empty() empty=ViewFn::from(empty) ready />
        </section>
        <throw::ThrowDialog board place />
    }
}

/// What is stopped now, said where nobody can overlook it.
fn summary(list: Query<Page<KillSwitchView>>) -> Option<AnyView> {
    let in_force = list.items().get().iter().filter(|it| it.lifted_at.is_none()).count();
    let text = ui::format::number::plural(u64::try_from(in_force).ok()?, "thing is stopped", "things are stopped");
    (in_force > 0).then(|| {
        view! { <Note tone=Tone::Danger title=text>"Calls of stopped keys, workspaces and the organization get 401; stopped deployments, models and providers are left out of routing."</Note> }.into_any()
    })
}

fn empty() -> AnyView {
    view! { <EmptyState icon=Icon::Check title="Nothing is stopped" text="When a key leaks, an agent runs away or a provider answers nonsense, stop it here: every connected node hears of it at once." /> }.into_any()
}
