//! Throwing a switch, in two steps: what and why; then what will stop working, answered with its name.

use std::time::Duration;

use api::NoQuery;
use api::ops::WorkspacePath;
use api::ops::kill_switches::{KillSwitchView, NewKillSwitch, ThrowKillSwitch};
use api::ops::models::ListProviders;
use api::ops::usage::{OrganizationUsage, UsageQuery, WorkspaceUsage};
use domain::kill_switch::{KillSwitch, Target, TargetKind};
use domain::{Permission, WorkspaceId};
use kit::api::{Command, use_command, use_query};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Note;
use ui::browser;
use ui::button::{Button, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{Choice, FormError, SelectField, Switch, TextField};
use ui::format::{money, number};
use ui::toast::Toasts;

use super::Board;
use crate::subject::choices;

const KINDS: [(&str, &str); 6] = [
    ("virtual_key", "A virtual key"),
    ("workspace", "A workspace"),
    ("model", "A model, wherever it is deployed"),
    ("provider", "A provider"),
    ("deployment", "A deployment"),
    ("organization", "The whole organization"),
];

/// What is typed and chosen.
#[derive(Clone, Copy)]
struct Draft {
    kind: RwSignal<String>,
    id: RwSignal<String>,
    reason: RwSignal<String>,
    cuts: RwSignal<bool>,
}

impl Draft {
    fn kind(self) -> TargetKind {
        TargetKind::find(&self.kind.get()).unwrap_or(TargetKind::VirtualKey)
    }

    fn target(self) -> Option<Target> {
        let id = if self.kind() == TargetKind::Organization { String::new() } else { self.id.get() };
        Target::read(self.kind(), id.trim()).ok()
    }
}

/// The dialog, open while the address says `new`.
#[component]
pub(super) fn ThrowDialog(board: Board, place: Signal<Option<WorkspaceId>>) -> impl IntoView {
    let wanted = board.nav.param("new");
    let close = Callback::new(move |()| board.nav.set(&[("new", None)], true));
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title=Signal::stored("Stop something now".to_owned()) placement=Placement::CenterWide test_id="throw-dialog">
            <ThrowForm board place close />
        </Dialog>
    }
}

#[component]
fn ThrowForm(board: Board, place: Signal<Option<WorkspaceId>>, close: Callback<()>) -> impl IntoView {
    let draft = Draft {
        kind: RwSignal::new("virtual_key".to_owned()),
        id: RwSignal::new(String::new()),
        reason: RwSignal::new(String::new()),
        cuts: RwSignal::new(true),
    };
    let command = use_command::<ThrowKillSwitch>();
    let sure = RwSignal::new(None::<Target>);
    // Another kind has other things, and its own custom with calls under way.
    Effect::new(move |before: Option<String>| {
        let kind = draft.kind.get();
        if before.is_some_and(|before| before != kind) {
            draft.id.set(String::new());
            let kind = draft.kind();
            draft.cuts.set(matches!(
                kind,
                TargetKind::Organization | TargetKind::Workspace | TargetKind::VirtualKey | TargetKind::EndUser
            ));
        }
        kind
    });
    move || match sure.get() {
        None => first(board, place, draft, command, sure, close),
        Some(target) => view! { <Second board place draft target command sure close /> }.into_any(),
    }
}

/// What can be chosen of a kind.
fn candidates(board: Board, kind: TargetKind, providers: Vec<Choice>) -> Vec<Choice> {
    let pair = |id: String, name: String| (id, name);
    match kind {
        TargetKind::VirtualKey => {
            let keys = board.names.keys.items().get().into_iter();
            keys.filter(|key| key.revoked_at.is_none())
                .map(|key| pair(key.id.to_string(), format!("{} ({})", key.name, key.hint)))
                .collect()
        }
        TargetKind::Deployment => {
            let all = board.names.deployments.items().get().into_iter();
            all.map(|it| pair(it.id.to_string(), format!("{} ({}/{})", it.name, it.provider, it.upstream_model)))
                .collect()
        }
        TargetKind::Workspace => {
            let all = board.session.workspaces(board.organization_id).into_iter();
            all.map(|it| pair(it.workspace_id.to_string(), it.name.to_string())).collect()
        }
        TargetKind::Provider => providers,
        TargetKind::Model | TargetKind::Organization | TargetKind::EndUser => Vec::new(),
    }
}

fn first(
    board: Board,
    place: Signal<Option<WorkspaceId>>,
    draft: Draft,
    command: Command<ThrowKillSwitch>,
    sure: RwSignal<Option<Target>>,
    close: Callback<()>,
) -> AnyView {
    let errors = command.errors;
    let providers = use_query::<ListProviders>(move || Some((board.path(), NoQuery {})));
    let providers = move || -> Vec<Choice> {
        let mut all: Vec<Choice> = providers.items().get().into_iter().map(|it| (it.name, it.title)).collect();
        ui::sort::by(&mut all, |left, right| left.1.to_lowercase().cmp(&right.1.to_lowercase()));
        all
    };
    let ids = Signal::derive(move || candidates(board, draft.kind(), providers()));
    let workspaces = Signal::derive(move || {
        let all = board.session.workspaces(board.organization_id).into_iter();
        all.map(|it| (it.workspace_id.to_string(), it.name.to_string())).collect::<Vec<_>>()
    });
    let shown_place = RwSignal::new(place.get_untracked().map(|id| id.to_string()).unwrap_or_default());
    Effect::new(move |before: Option<String>| {
        let place = shown_place.get();
        if before.is_some_and(|before| before != place) {
            draft.id.set(String::new());
            board.nav.set(&[("in", Some(place.clone()))], true);
        }
        place
    });
    let picker = move || {
        match draft.kind() {
        TargetKind::Organization => ().into_any(),
        TargetKind::EndUser => view! { <TextField label="End user" value=draft.id placeholder="customer-4711" hint="As clients say it in x-headgate-user; with any key of the organization." error=errors.under("target") /> }.into_any(),
        TargetKind::Model => view! { <TextField label="Model" value=draft.id placeholder="openai/gpt-5*" hint="Provider and model; * stands for anything." error=errors.under("target") /> }.into_any(),
        kind => {
            let is_placed = matches!(kind, TargetKind::VirtualKey | TargetKind::Deployment);
            let which = super::kind_words(kind);
            view! {
                {is_placed.then(|| view! { <SelectField label="In workspace" value=shown_place choices=workspaces /> })}
                <SelectField label=which value=draft.id choices=ids placeholder="Choose" error=errors.under("target") />
            }
            .into_any()
        }
    }
    };
    let cuts = draft.cuts;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        errors.clear();
        match (untrack(|| draft.target()), KillSwitch::is_reason(&draft.reason.get_untracked())) {
            (None, _) => errors.set(vec![("target".to_owned(), "Say what to stop.".to_owned())], None),
            (_, false) => {
                errors.set(vec![("reason".to_owned(), "Say why; it stands in the audit log.".to_owned())], None);
            }
            (target, true) => sure.set(target),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <SelectField label="Stop" value=draft.kind choices=choices(&KINDS) />
                {picker}
                <TextField label="Why" value=draft.reason placeholder="Leaked in a public repository" hint="For people and the audit log; clients are not told." error=errors.of("reason") />
                <Switch label="Cut calls that are under way, too" value=cuts on_change=Callback::new(move |wanted| cuts.set(wanted)) />
                <FormError errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Danger test_id="review-switch">"Continue"</Button>
            </DialogFoot>
        </form>
    }
    .into_any()
}

/// How a target is called when it is asked for.
fn name_to_type(board: Board, target: &Target) -> String {
    untrack(|| board.target_name(target))
}

/// What a target did in the last 24 hours, as far as sums tell.
fn use_last_day(board: Board, place: Signal<Option<WorkspaceId>>, target: &Target) -> Signal<Option<String>> {
    let now = browser::now();
    let mut query =
        UsageQuery { from: Some(now.minus(Duration::from_secs(86_400))), to: Some(now), ..UsageQuery::default() };
    match target {
        Target::VirtualKey(id) => query.virtual_key_id = Some(*id),
        Target::Provider(name) => query.provider = Some(name.clone()),
        Target::Organization | Target::Workspace(_) => {}
        Target::Model(_) | Target::Deployment(_) | Target::EndUser(_) => return Signal::stored(None),
    }
    let workspace = match target {
        Target::Workspace(id) => Some(*id),
        Target::VirtualKey(_) => place.get_untracked(),
        _ => None,
    };
    let words = |requests: u64, cost| {
        let calls = number::plural(requests, "call", "calls");
        Some(format!("{calls} in the last 24 hours, for {}.", money::usd(cost)))
    };
    if let Some(workspace_id) = workspace {
        let found = use_query::<WorkspaceUsage>(move || {
            let may = board.session.can_in(Permission::UsageRead, workspace_id);
            may.then(|| (WorkspacePath { workspace_id }, query.clone()))
        });
        return Signal::derive(move || found.data().get().and_then(|it| words(it.total.requests, it.total.cost_usd)));
    }
    let found = use_query::<OrganizationUsage>(move || {
        let may = board.session.can(Permission::OrganizationUsageRead, board.organization_id);
        may.then(|| (board.path(), query.clone()))
    });
    Signal::derive(move || found.data().get().and_then(|it| words(it.total.requests, it.total.cost_usd)))
}

/// What calls get from then on.
fn consequence(target: &Target, cuts: bool) -> String {
    let then = if cuts { "Calls under way are cut." } else { "Calls under way end in order." };
    let calls = match target {
        Target::Organization | Target::Workspace(_) | Target::VirtualKey(_) => "Every call of it is refused with 401.",
        Target::EndUser(_) => "Every call for this user is refused with 403; its keys serve others.",
        Target::Deployment(_) | Target::Model(_) | Target::Provider(_) => {
            "It is left out of routing; a route that has nothing else answers 503."
        }
    };
    format!("{calls} {then} It holds on every node until somebody lifts it.")
}

#[component]
fn Second(
    board: Board,
    place: Signal<Option<WorkspaceId>>,
    draft: Draft,
    target: Target,
    command: Command<ThrowKillSwitch>,
    sure: RwSignal<Option<Target>>,
    close: Callback<()>,
) -> impl IntoView {
    let name = name_to_type(board, &target);
    let day = use_last_day(board, place, &target);
    let typed = RwSignal::new(String::new());
    let (wanted, shown) = (name.clone(), name.clone());
    let is_named = Signal::derive(move || typed.get().trim() == wanted);
    let text = consequence(&target, draft.cuts.get_untracked());
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if !is_named.get_untracked() {
            return;
        }
        let body = NewKillSwitch {
            target: target.clone(),
            reason: draft.reason.get_untracked(),
            cuts_calls: Some(draft.cuts.get_untracked()),
        };
        let shown = shown.clone();
        command.run(board.path(), body, move |_: KillSwitchView| {
            toasts.done(format!("“{shown}” is stopped."));
            close.run(());
            board.list.refetch();
        });
    };
    let label = format!("Type “{name}” to confirm");
    let title = format!("“{name}” stops at once");
    view! {
        <form on:submit=submit>
            <DialogBody>
                <Note tone=Tone::Danger title>
                    <p>{text}</p>
                    {move || day.get().map(|text| view! { <p class="strong">{text}</p> })}
                </Note>
                <TextField label value=typed autofocus=true />
                <FormError errors=command.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=Callback::new(move |()| sure.set(None))>"Back"</Button>
                <Button submits=true weight=Weight::Danger busy=command.is_busy disabled=Signal::derive(move || !is_named.get()) test_id="stop-now">"Stop it now"</Button>
            </DialogFoot>
        </form>
    }
}
