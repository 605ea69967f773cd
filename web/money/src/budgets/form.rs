//! Creating a budget and changing one. What decides where a call counted (measure, grouping, time zone, place) is asked once.

use api::Field;
use api::ops::budgets::{
    BudgetChange, BudgetIncrease, BudgetLimit, BudgetView, CreateBudget, CreateOrganizationBudget, NewBudget,
    UpdateBudget, UpdateOrganizationBudget,
};
use api::ops::{OrganizationPath, WorkspacePath};
use domain::budget::{Enforcement, Measure, WhenUnreachable, Window};
use domain::{DisplayName, Timestamp};
use kit::api::{Command, use_command};
use leptos::prelude::*;
use model::amounts::{self, typed};
use ui::browser;
use ui::button::{Button, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{Fold, FormError, FormErrors, InputKind, SelectField, Switch, TextField};
use ui::format::time;
use ui::toast::Toasts;

use super::Desk;
use crate::subject::{GroupDraft, SubjectDraft, Wrong, choices};

/// The windows in which amounts are asked, and their words.
const WINDOWS: [(Window, &str); 6] = [
    (Window::Hour, "Per hour"),
    (Window::Day, "Per day"),
    (Window::Week, "Per week"),
    (Window::Month, "Per month"),
    (Window::Quarter, "Per quarter"),
    (Window::Total, "In total"),
];

/// A form as typed. All fields of the API.
#[derive(Clone, Copy)]
struct Draft {
    name: RwSignal<String>,
    description: RwSignal<String>,
    is_enabled: RwSignal<bool>,
    measure: RwSignal<String>,
    limits: [RwSignal<String>; 6],
    enforcement: RwSignal<String>,
    when_unreachable: RwSignal<String>,
    carries_over: RwSignal<bool>,
    alert_at: RwSignal<String>,
    time_zone: RwSignal<String>,
    group_by: GroupDraft,
    subject: SubjectDraft,
    increase: IncreaseDraft,
}

#[derive(Clone, Copy)]
struct IncreaseDraft {
    amount: RwSignal<String>,
    until: RwSignal<String>,
    reason: RwSignal<String>,
}

impl IncreaseDraft {
    /// Amount, end and reason as they are typed.
    fn written(it: Option<&BudgetIncrease>) -> [String; 3] {
        let zone = browser::zone();
        it.map(|it| [typed(it.amount), time::to_input(it.expires_at, zone), it.reason.clone()]).unwrap_or_default()
    }

    fn new(it: Option<&BudgetIncrease>) -> Self {
        let [amount, until, reason] = Self::written(it).map(RwSignal::new);
        Self { amount, until, reason }
    }

    fn texts(self) -> [String; 3] {
        [self.amount, self.until, self.reason].map(|text| text.get_untracked())
    }

    fn read(self, measure: Measure) -> Result<Option<BudgetIncrease>, Wrong> {
        let wrong = |text: String| ("increase/amount".into(), text);
        let Some(amount) = amounts::read(&self.amount.get_untracked(), measure).map_err(wrong)? else {
            return Ok(None);
        };
        let until: Option<Timestamp> = time::from_input(&self.until.get_untracked(), browser::zone());
        let expires_at = until.ok_or_else(|| ("increase/expires_at".into(), "Say until when.".to_owned()))?;
        Ok(Some(BudgetIncrease { amount, expires_at, reason: self.reason.get_untracked() }))
    }
}

impl Draft {
    fn new(it: Option<&BudgetView>) -> Self {
        let text = |read: &dyn Fn(&BudgetView) -> String, otherwise: &str| {
            RwSignal::new(it.map_or_else(|| otherwise.to_owned(), read))
        };
        let limit = |window: Window| {
            let found = it.and_then(|it| it.limits.iter().find(|limit| limit.window == window));
            RwSignal::new(found.map(|limit| typed(limit.amount)).unwrap_or_default())
        };
        Self {
            name: text(&|it| it.name.to_string(), ""),
            description: text(&|it| it.description.clone().unwrap_or_default(), ""),
            is_enabled: RwSignal::new(it.is_none_or(|it| it.is_enabled)),
            measure: text(&|it| it.measure.to_string(), Measure::Cost.as_str()),
            limits: WINDOWS.map(|(window, _)| limit(window)),
            enforcement: text(&|it| it.enforcement.to_string(), Enforcement::Hard.as_str()),
            when_unreachable: text(&|it| it.when_unreachable.to_string(), WhenUnreachable::Refuse.as_str()),
            carries_over: RwSignal::new(it.is_some_and(|it| it.carries_over)),
            alert_at: text(&|it| it.alert_at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), "80"),
            time_zone: text(&|it| it.time_zone.clone(), &browser::zone_id()),
            group_by: GroupDraft::new(it.map(|it| it.group_by.as_slice()).unwrap_or_default()),
            subject: SubjectDraft::new(&it.map(|it| it.subject.clone()).unwrap_or_default()),
            increase: IncreaseDraft::new(it.and_then(|it| it.increase.as_ref())),
        }
    }

    fn measure(self) -> Measure {
        Measure::find(&self.measure.get_untracked()).unwrap_or(Measure::Cost)
    }

    fn name(self) -> Result<DisplayName, Wrong> {
        DisplayName::parse(&self.name.get_untracked()).map_err(|error| ("name".into(), format!("A name {error}.")))
    }

    fn description(self) -> Option<String> {
        Some(self.description.get_untracked().trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn limits(self) -> Result<Vec<BudgetLimit>, Wrong> {
        let mut limits = Vec::new();
        for ((window, _), text) in WINDOWS.into_iter().zip(self.limits) {
            let read = amounts::read(&text.get_untracked(), self.measure());
            if let Some(amount) = read.map_err(|error| (format!("limits/{}", limits.len()).into(), error))? {
                limits.push(BudgetLimit { window, amount });
            }
        }
        if limits.is_empty() {
            return Err(("limits".into(), "Give an amount for at least one window.".to_owned()));
        }
        Ok(limits)
    }

    fn enforcement(self) -> Option<Enforcement> {
        Enforcement::find(&self.enforcement.get_untracked())
    }

    fn when_unreachable(self) -> Option<WhenUnreachable> {
        WhenUnreachable::find(&self.when_unreachable.get_untracked())
    }

    fn alerts(self) -> Result<Vec<u8>, Wrong> {
        amounts::percents(&self.alert_at.get_untracked()).map_err(|text| ("alert_at".into(), text))
    }

    fn new_budget(self) -> Result<NewBudget, Wrong> {
        Ok(NewBudget {
            name: self.name()?,
            description: self.description(),
            is_enabled: Some(self.is_enabled.get_untracked()),
            subject: self.subject.read()?,
            group_by: self.group_by.read(),
            measure: self.measure(),
            limits: self.limits()?,
            time_zone: Some(self.time_zone.get_untracked().trim().to_owned()).filter(|zone| !zone.is_empty()),
            enforcement: self.enforcement(),
            when_unreachable: self.when_unreachable(),
            alert_at: self.alerts()?,
            increase: self.increase.read(self.measure())?,
            carries_over: self.carries_over.get_untracked(),
        })
    }

    fn change(self, before: &BudgetView) -> Result<BudgetChange, Wrong> {
        // One that nobody touched stays as it is: its time may be over, and the field shows minutes alone.
        let increase = match self.increase {
            untouched if untouched.texts() == IncreaseDraft::written(before.increase.as_ref()) => Field::Absent,
            changed => changed.read(before.measure)?.map_or(Field::Null, Field::Value),
        };
        Ok(BudgetChange {
            version: Some(before.version),
            name: Some(self.name()?),
            description: self.description().map_or(Field::Null, Field::Value),
            is_enabled: Some(self.is_enabled.get_untracked()),
            subject: Some(self.subject.read()?).filter(|subject| *subject != before.subject),
            limits: Some(self.limits()?),
            enforcement: self.enforcement(),
            when_unreachable: self.when_unreachable(),
            alert_at: Some(self.alerts()?),
            increase,
            carries_over: Some(self.carries_over.get_untracked()),
        })
    }
}

// === Fields ===

fn limit_fields(draft: Draft, errors: FormErrors) -> AnyView {
    // What is sent are the windows that have an amount, in their order: so places are counted.
    let wrong_at = move |at: usize| {
        let n_before = draft.limits[..at].iter().filter(|text| !text.get_untracked().trim().is_empty()).count();
        let own = errors.at(&format!("limits/{n_before}"));
        own.filter(|_| !draft.limits[at].get_untracked().trim().is_empty())
    };
    let fields = WINDOWS.into_iter().zip(draft.limits).enumerate().map(move |(at, ((_, label), value))| {
        view! { <TextField label value error=Signal::derive(move || wrong_at(at)) /> }
    });
    let wrong = errors.of("limits");
    let hint = move || match Measure::find(&draft.measure.get()) {
        Some(Measure::Tokens) => "Tokens, read and written. Empty: no limit of that window.",
        Some(Measure::Requests) => "Calls. Empty: no limit of that window.",
        _ => "In dollars, such as 12.50. Empty: no limit of that window.",
    };
    view! {
        <fieldset class="stack-tight">
            <legend class="field-label">"Limits"</legend>
            <p class="field-hint">{hint}</p>
            <div class="columns-3">{fields.collect_view()}</div>
            {move || wrong.get().map(|text| view! { <p class="field-error" role="alert">{text}</p> })}
        </fieldset>
    }
    .into_any()
}

fn rule_fields(draft: Draft, errors: FormErrors) -> AnyView {
    let enforcement = choices(&[
        (Enforcement::Hard.as_str(), "Hard: calls are refused before they could go beyond it"),
        (Enforcement::Soft.as_str(), "Soft: calls are counted, none is refused"),
    ]);
    let dark = choices(&[
        (WhenUnreachable::Refuse.as_str(), "Refuse calls"),
        (WhenUnreachable::Allow.as_str(), "Serve and book them"),
    ]);
    let carries_over = draft.carries_over;
    let is_enabled = draft.is_enabled;
    view! {
        <SelectField label="At the end of an amount" value=draft.enforcement choices=enforcement error=errors.of("enforcement") />
        <div class="columns-2">
            <SelectField label="While the control plane is away" value=draft.when_unreachable choices=dark hint="Once what nodes hold is used up." error=errors.of("when_unreachable") />
            <TextField label="Alert at, in percent" value=draft.alert_at optional=true placeholder="50, 80" error=errors.under("alert_at") />
        </div>
        <Switch label="Add what is left of a window to the next" value=carries_over on_change=Callback::new(move |wanted| carries_over.set(wanted)) />
        <Switch label="Enabled" value=is_enabled on_change=Callback::new(move |wanted| is_enabled.set(wanted)) />
    }
    .into_any()
}

fn increase_fields(it: IncreaseDraft, errors: FormErrors) -> AnyView {
    let zone = browser::zone();
    view! {
        <Fold summary="More for a while, on top of each limit" wrong=errors.under("increase")>
            <div class="columns-2">
                <TextField label="How much more" value=it.amount optional=true error=errors.of("increase/amount") />
                <TextField label="Until" value=it.until kind=InputKind::DateTime optional=true hint=format!("In {}.", zone.name()) error=errors.of("increase/expires_at") />
            </div>
            <TextField label="Why" value=it.reason optional=true hint="Stands in the audit log." error=errors.of("increase/reason") />
        </Fold>
    }
    .into_any()
}

fn once_fields(draft: Draft, errors: FormErrors) -> AnyView {
    view! {
        {draft.group_by.fields("Up to four, metadata included. This cannot be changed later.", errors)}
        <TextField label="Time zone" value=draft.time_zone hint="Its calendar says when days and months begin. This cannot be changed later." error=errors.of("time_zone") />
    }
    .into_any()
}

// === Dialogs ===

/// The dialog for a new budget, open while the address says `new`.
#[component]
pub(super) fn CreateDialog(desk: Desk) -> impl IntoView {
    let wanted = desk.nav.param("new");
    let close = Callback::new(move |()| desk.nav.set(&[("new", None)], true));
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title=Signal::stored("Create a budget".to_owned()) placement=Placement::CenterWide test_id="budget-dialog">
            <CreateForm desk close />
        </Dialog>
    }
}

#[component]
fn CreateForm(desk: Desk, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(None);
    let place = RwSignal::new("workspace".to_owned());
    let create = use_command::<CreateBudget>();
    let create_wide: Command<CreateOrganizationBudget> = Command::sharing(create);
    let toasts = expect_context::<Toasts>();
    let places = Signal::derive(move || {
        let mut places = vec![("workspace".to_owned(), desk.place_name(Some(desk.workspace_id)))];
        if desk.manages_all() {
            places.push(("organization".to_owned(), desk.place_name(None)));
        }
        places
    });
    let measures = choices(&[
        (Measure::Cost.as_str(), "Dollars"),
        (Measure::Tokens.as_str(), "Tokens"),
        (Measure::Requests.as_str(), "Calls"),
    ]);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = match draft.new_budget() {
            Ok(body) => body,
            Err((field, text)) => return create.errors.set(vec![(field.into_owned(), text)], None),
        };
        let done = move |budget: BudgetView| {
            toasts.done(format!("“{}” counts from now on.", budget.name));
            close.run(());
            desk.list.refetch();
        };
        if place.get_untracked() == "organization" {
            create_wide.run(OrganizationPath { organization_id: desk.organization_id }, body, done);
        } else {
            create.run(WorkspacePath { workspace_id: desk.workspace_id }, body, done);
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <div class="columns-2">
                    <TextField label="Name" value=draft.name required=true autofocus=true placeholder="Research team" error=create.errors.of("name") />
                    <SelectField label="Of" value=place choices=places />
                </div>
                <TextField label="What it is for" value=draft.description optional=true error=create.errors.of("description") />
                <SelectField label="Counts" value=draft.measure choices=measures error=create.errors.of("measure") />
                {limit_fields(draft, create.errors)}
                {rule_fields(draft, create.errors)}
                {once_fields(draft, create.errors)}
                {draft.subject.fields(desk.workspace_id, create.errors)}
                {increase_fields(draft.increase, create.errors)}
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create budget"</Button>
            </DialogFoot>
        </form>
    }
}

/// The dialog for a change.
#[component]
pub(super) fn EditDialog(desk: Desk) -> impl IntoView {
    let close = Callback::new(move |()| desk.editing.set(None));
    view! {
        <Dialog open=Signal::derive(move || desk.editing.with(Option::is_some)) on_close=close title=Signal::stored("Edit budget".to_owned()) placement=Placement::CenterWide>
            {move || desk.editing.get().map(|budget| view! { <EditForm desk budget close /> })}
        </Dialog>
    }
}

#[component]
fn EditForm(desk: Desk, budget: BudgetView, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(Some(&budget));
    let place = budget.workspace_id.unwrap_or(desk.workspace_id);
    let update = use_command::<UpdateBudget>();
    let update_wide: Command<UpdateOrganizationBudget> = Command::sharing(update);
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = match draft.change(&budget) {
            Ok(body) => body,
            Err((field, text)) => return update.errors.set(vec![(field.into_owned(), text)], None),
        };
        let done = move |budget: BudgetView| {
            toasts.done(format!("Saved “{}”.", budget.name));
            close.run(());
            desk.list.refetch();
        };
        if desk.manages_all() {
            update_wide.run(desk.wide_path(&budget), body, done);
        } else {
            update.run(desk.path(&budget), body, done);
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=draft.name required=true error=update.errors.of("name") />
                <TextField label="What it is for" value=draft.description optional=true error=update.errors.of("description") />
                {limit_fields(draft, update.errors)}
                {rule_fields(draft, update.errors)}
                {draft.subject.fields(place, update.errors)}
                {increase_fields(draft.increase, update.errors)}
                <FormError errors=update.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button>
            </DialogFoot>
        </form>
    }
}
