//! Making a rate limit and changing one: the amounts, and whom they count.

use api::Field;
use api::ops::rate_limits::{
    CreateOrganizationRateLimit, CreateRateLimit, NewRateLimit, RateAmount, RateLimitChange, RateLimitView,
    UpdateOrganizationRateLimit, UpdateRateLimit,
};
use api::ops::{OrganizationPath, WorkspacePath};
use domain::DisplayName;
use domain::rate_limit::{Measure, Per, RateLimit};
use kit::api::{Command, use_command};
use leptos::prelude::*;
use model::amounts::{measure_of, read, typed};
use ui::button::{Button, IconButton, Size, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{FormError, FormErrors, SelectField, Switch, TextField};
use ui::icon::Icon;
use ui::toast::Toasts;

use super::Desk;
use crate::subject::{GroupDraft, SubjectDraft, Wrong, choices};

const MEASURES: [(&str, &str); 6] = [
    ("requests", "Requests"),
    ("tokens", "Tokens, read and written"),
    ("input_tokens", "Tokens read"),
    ("output_tokens", "Tokens written"),
    ("cost", "Dollars"),
    ("concurrent", "Calls at once"),
];

const SPANS: [(&str, &str); 4] =
    [("second", "per second"), ("minute", "per minute"), ("hour", "per hour"), ("day", "per day")];

/// One amount as typed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RateDraft {
    id: u32,
    amount: RwSignal<String>,
    measure: RwSignal<String>,
    per: RwSignal<String>,
}

impl RateDraft {
    fn new(id: u32, it: Option<&RateAmount>) -> Self {
        let text = |read: fn(&RateAmount) -> String, otherwise: &str| {
            RwSignal::new(it.map_or_else(|| otherwise.to_owned(), read))
        };
        Self {
            id,
            amount: text(|it| typed(it.amount), ""),
            measure: text(|it| it.measure.to_string(), Measure::Requests.as_str()),
            per: text(|it| it.per.unwrap_or(Per::Minute).to_string(), Per::Minute.as_str()),
        }
    }

    fn read(self) -> Result<RateAmount, String> {
        let measure = Measure::find(&self.measure.get_untracked()).unwrap_or(Measure::Requests);
        let amount = read(&self.amount.get_untracked(), measure_of(measure))?.ok_or("Give an amount.")?;
        let per = Per::find(&self.per.get_untracked()).filter(|_| measure != Measure::Concurrent);
        Ok(RateAmount { measure, per, amount })
    }
}

/// A form as typed. All fields of the API.
#[derive(Clone, Copy)]
struct Draft {
    name: RwSignal<String>,
    description: RwSignal<String>,
    is_enabled: RwSignal<bool>,
    rates: RwSignal<Vec<RateDraft>>,
    next: StoredValue<u32>,
    group_by: GroupDraft,
    subject: SubjectDraft,
}

impl Draft {
    fn new(it: Option<&RateLimitView>) -> Self {
        let rates: Vec<RateDraft> = match it {
            Some(it) => (0..).zip(&it.rates).map(|(id, rate)| RateDraft::new(id, Some(rate))).collect(),
            None => vec![RateDraft::new(0, None)],
        };
        Self {
            name: RwSignal::new(it.map(|it| it.name.to_string()).unwrap_or_default()),
            description: RwSignal::new(it.and_then(|it| it.description.clone()).unwrap_or_default()),
            is_enabled: RwSignal::new(it.is_none_or(|it| it.is_enabled)),
            next: StoredValue::new(u32::try_from(rates.len()).unwrap_or(u32::MAX)),
            rates: RwSignal::new(rates),
            group_by: GroupDraft::new(it.map(|it| it.group_by.as_slice()).unwrap_or_default()),
            subject: SubjectDraft::new(&it.map(|it| it.subject.clone()).unwrap_or_default()),
        }
    }

    fn add(self) {
        let id = self.next.get_value();
        self.next.set_value(id.wrapping_add(1));
        self.rates.update(|rates| rates.push(RateDraft::new(id, None)));
    }

    fn name(self) -> Result<DisplayName, Wrong> {
        DisplayName::parse(&self.name.get_untracked()).map_err(|error| ("name".into(), format!("A name {error}.")))
    }

    fn description(self) -> Option<String> {
        Some(self.description.get_untracked().trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn rates(self) -> Result<Vec<RateAmount>, Wrong> {
        let drafts = self.rates.get_untracked().into_iter().enumerate();
        let read =
            |(at, draft): (usize, RateDraft)| draft.read().map_err(|error| (format!("rates/{at}").into(), error));
        drafts.map(read).collect()
    }

    fn new_limit(self) -> Result<NewRateLimit, Wrong> {
        Ok(NewRateLimit {
            name: self.name()?,
            description: self.description(),
            is_enabled: Some(self.is_enabled.get_untracked()),
            subject: self.subject.read()?,
            group_by: self.group_by.read(),
            rates: self.rates()?,
        })
    }

    fn change(self, before: &RateLimitView) -> Result<RateLimitChange, Wrong> {
        Ok(RateLimitChange {
            version: Some(before.version),
            name: Some(self.name()?),
            description: self.description().map_or(Field::Null, Field::Value),
            is_enabled: Some(self.is_enabled.get_untracked()),
            subject: Some(self.subject.read()?).filter(|subject| *subject != before.subject),
            group_by: Some(self.group_by.read()).filter(|by| *by != before.group_by),
            rates: Some(self.rates()?),
        })
    }
}

// === Fields ===

fn rate_line(draft: Draft, rate: RateDraft, errors: FormErrors) -> AnyView {
    let wrong = Signal::derive(move || {
        let at = draft.rates.with_untracked(|rates| rates.iter().position(|other| other.id == rate.id))?;
        errors.at(&format!("rates/{at}"))
    });
    let is_span = move || rate.measure.get() != Measure::Concurrent.as_str();
    let remove = Callback::new(move |()| draft.rates.update(|rates| rates.retain(|other| other.id != rate.id)));
    let is_last = Signal::derive(move || draft.rates.with(Vec::len) <= 1);
    let label = Signal::stored("Remove this limit".to_owned());
    view! {
        <div class="rate-line">
            <TextField label="At most" value=rate.amount placeholder="60" error=wrong />
            <SelectField label="Of" value=rate.measure choices=choices(&MEASURES) />
            <div class:rate-hidden=move || !is_span()><SelectField label="In what span" value=rate.per choices=choices(&SPANS) /></div>
            <IconButton icon=Icon::Trash label disabled=is_last on_press=remove />
        </div>
    }
    .into_any()
}

fn rate_fields(draft: Draft, errors: FormErrors) -> AnyView {
    let wrong = errors.of("rates");
    let add = Callback::new(move |()| draft.add());
    let is_full = Signal::derive(move || draft.rates.with(Vec::len) >= RateLimit::MAX_RATES);
    view! {
        <fieldset class="stack-tight" data-testid="rates">
            <legend class="field-label">"Limits"</legend>
            <p class="field-hint">"A call goes when each of them has room. Spans slide: no 60 seconds hold more than a limit of a minute."</p>
            <For each=move || draft.rates.get() key=|rate| rate.id let:rate>{rate_line(draft, rate, errors)}</For>
            {move || wrong.get().map(|text| view! { <p class="field-error" role="alert">{text}</p> })}
            <div><Button size=Size::Small icon=Icon::Plus disabled=is_full on_press=add>"Add a limit"</Button></div>
        </fieldset>
    }
    .into_any()
}

fn fields(draft: Draft, workspace_id: domain::WorkspaceId, errors: FormErrors) -> AnyView {
    let is_enabled = draft.is_enabled;
    view! {
        {rate_fields(draft, errors)}
        {draft.group_by.fields("Up to four, metadata included. Choose none for one counter of all calls.", errors)}
        {draft.subject.fields(workspace_id, errors)}
        <Switch label="Enabled" value=is_enabled on_change=Callback::new(move |wanted| is_enabled.set(wanted)) />
        <FormError errors />
    }
    .into_any()
}

// === Dialogs ===

/// The dialog for a new limit, open while the address says `new`.
#[component]
pub(super) fn CreateDialog(desk: Desk) -> impl IntoView {
    let wanted = desk.nav.param("new");
    let close = Callback::new(move |()| desk.nav.set(&[("new", None)], true));
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title=Signal::stored("Create a rate limit".to_owned()) placement=Placement::CenterWide test_id="limit-dialog">
            <CreateForm desk close />
        </Dialog>
    }
}

#[component]
fn CreateForm(desk: Desk, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(None);
    let place = RwSignal::new("workspace".to_owned());
    let create = use_command::<CreateRateLimit>();
    let create_wide: Command<CreateOrganizationRateLimit> = Command::sharing(create);
    let toasts = expect_context::<Toasts>();
    let places = Signal::derive(move || {
        let mut places = vec![("workspace".to_owned(), desk.place_name(Some(desk.workspace_id)))];
        if desk.manages_all() {
            places.push(("organization".to_owned(), desk.place_name(None)));
        }
        places
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = match draft.new_limit() {
            Ok(body) => body,
            Err((field, text)) => return create.errors.set(vec![(field.into_owned(), text)], None),
        };
        let done = move |limit: RateLimitView| {
            toasts.done(format!("“{}” holds from now on.", limit.name));
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
                    <TextField label="Name" value=draft.name required=true autofocus=true placeholder="Each user" error=create.errors.of("name") />
                    <SelectField label="Of" value=place choices=places />
                </div>
                <TextField label="What it is for" value=draft.description optional=true error=create.errors.of("description") />
                {fields(draft, desk.workspace_id, create.errors)}
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create rate limit"</Button>
            </DialogFoot>
        </form>
    }
}

/// The dialog for a change.
#[component]
pub(super) fn EditDialog(desk: Desk) -> impl IntoView {
    let close = Callback::new(move |()| desk.editing.set(None));
    view! {
        <Dialog open=Signal::derive(move || desk.editing.with(Option::is_some)) on_close=close title=Signal::stored("Edit rate limit".to_owned()) placement=Placement::CenterWide>
            {move || desk.editing.get().map(|limit| view! { <EditForm desk limit close /> })}
        </Dialog>
    }
}

#[component]
fn EditForm(desk: Desk, limit: RateLimitView, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(Some(&limit));
    let place = limit.workspace_id.unwrap_or(desk.workspace_id);
    let update = use_command::<UpdateRateLimit>();
    let update_wide: Command<UpdateOrganizationRateLimit> = Command::sharing(update);
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = match draft.change(&limit) {
            Ok(body) => body,
            Err((field, text)) => return update.errors.set(vec![(field.into_owned(), text)], None),
        };
        let done = move |limit: RateLimitView| {
            toasts.done(format!("Saved “{}”; nodes follow within a second.", limit.name));
            close.run(());
            desk.list.refetch();
        };
        if desk.manages_all() {
            update_wide.run(desk.wide_path(&limit), body, done);
        } else {
            update.run(desk.path(&limit), body, done);
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=draft.name required=true error=update.errors.of("name") />
                <TextField label="What it is for" value=draft.description optional=true error=update.errors.of("description") />
                {fields(draft, place, update.errors)}
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button>
            </DialogFoot>
        </form>
    }
}
