//! Form fields: label, control, hint and error as one thing, tied together for assistive technology.

use leptos::html;
use leptos::prelude::*;

use crate::{browser, element_id};

/// Errors of one form: by field name as the API names it, and one for the whole.
#[derive(Clone, Copy)]
pub struct FormErrors {
    fields: RwSignal<Vec<(String, String)>>,
    whole: RwSignal<Option<String>>,
}

/// None.
impl Default for FormErrors {
    fn default() -> Self {
        Self { fields: RwSignal::new(Vec::new()), whole: RwSignal::new(None) }
    }
}

impl FormErrors {
    /// Replaces all errors, and leads to the first field that is wrong.
    pub fn set(self, fields: Vec<(String, String)>, whole: Option<String>) {
        let leads = !fields.is_empty();
        self.fields.set(fields);
        self.whole.set(whole);
        if leads {
            browser::focus_wrong_field();
        }
    }

    pub fn clear(self) {
        self.set(Vec::new(), None);
    }

    /// The error of one field.
    pub fn of(self, name: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || {
            self.fields.with(|fields| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone()))
        })
    }

    /// The error of a field of many parts: its own, or that of the first part that is wrong.
    pub fn under(self, name: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || self.at(name))
    }

    /// What is wrong now at a place, or below it; followed.
    pub fn at(self, place: &str) -> Option<String> {
        let is_below =
            |field: &str| field.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.fields.with(|fields| fields.iter().find(|field| is_below(&field.0)).map(|field| field.1.clone()))
    }

    /// What is wrong with the form as a whole.
    pub fn whole(self) -> Signal<Option<String>> {
        self.whole.into()
    }
}

/// The message above the buttons of a form, read out when it appears.
#[component]
pub fn FormError(errors: FormErrors) -> impl IntoView {
    let whole = errors.whole();
    view! { <div class="form-alert" role="alert">{move || whole.get().map(|text| view! { <p class="form-error">{text}</p> })}</div> }
}

/// What an input holds; decides its keyboard, its autofill and its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputKind {
    #[default]
    Text,
    Code,
    Email,
    Password,
    NewPassword,
    Secret,
    Number,
    Date,
    DateTime,
}

impl InputKind {
    fn html(self) -> (&'static str, &'static str) {
        match self {
            Self::Text | Self::Code => ("text", "off"),
            Self::Email => ("email", "username"),
            Self::Password => ("password", "current-password"),
            Self::NewPassword => ("password", "new-password"),
            Self::Secret => ("password", "off"),
            Self::Number => ("number", "off"),
            Self::Date => ("date", "off"),
            Self::DateTime => ("datetime-local", "off"),
        }
    }
}

fn described_by(id: &str, has_hint: bool, has_error: bool) -> Option<String> {
    match (has_hint, has_error) {
        (false, false) => None,
        (true, false) => Some(format!("{id}-hint")),
        (false, true) => Some(format!("{id}-error")),
        (true, true) => Some(format!("{id}-hint {id}-error")),
    }
}

/// A part of a form, folded until it is wanted, something stands in it, or something in it is wrong.
#[component]
pub fn Fold(
    #[prop(into)] summary: String,
    #[prop(optional)] open: bool,
    wrong: Signal<Option<String>>,
    children: Children,
) -> impl IntoView {
    let node = NodeRef::<html::Details>::new();
    // Never closed from here: a person may have opened it.
    Effect::new(move |_| {
        if let Some(details) = node.get().filter(|_| wrong.get().is_some()) {
            details.set_open(true);
        }
    });
    view! { <details node_ref=node class="stack" open=open><summary>{summary}</summary>{children()}</details> }
}

/// The frame around any control.
#[component]
pub fn Field(
    #[prop(into)] id: String,
    #[prop(into)] label: String,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional)] error: Option<Signal<Option<String>>>,
    #[prop(optional)] optional: bool,
    children: Children,
) -> impl IntoView {
    let (hint_id, error_id) = (format!("{id}-hint"), format!("{id}-error"));
    view! {
        <div class="field">
            <label class="field-label" for=id>{label} {optional.then(|| view! { <span class="faint">" (optional)"</span> })}</label>
            {children()}
            {hint.map(|hint| view! { <p class="field-hint" id=hint_id>{hint}</p> })}
            {move || error.and_then(|error| error.get()).map(|error| view! { <p class="field-error" id=error_id.clone()>{error}</p> })}
        </div>
    }
}

/// A one-line input.
#[component]
pub fn TextField(
    #[prop(into)] label: String,
    value: RwSignal<String>,
    #[prop(optional)] kind: InputKind,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional)] error: Option<Signal<Option<String>>>,
    #[prop(optional, into)] placeholder: Option<String>,
    #[prop(optional)] required: bool,
    #[prop(optional)] optional: bool,
    #[prop(optional)] autofocus: bool,
    #[prop(optional, into)] name: Option<&'static str>,
) -> impl IntoView {
    let id = element_id("field");
    let (html_kind, autocomplete) = kind.html();
    let (has_hint, control_id) = (hint.is_some(), id.clone());
    let describe_id = id.clone();
    view! {
        <Field id label hint=hint.unwrap_or_default() error=error.unwrap_or_default() optional>
            <input
                id=control_id
                class=if matches!(kind, InputKind::Code | InputKind::Secret) { "input input-code" } else { "input" }
                type=html_kind
                name=name
                autocomplete=autocomplete
                spellcheck="false"
                placeholder=placeholder
                required=required
                autofocus=autofocus
                min=(kind == InputKind::Number).then_some("0")
                aria-invalid=move || error.and_then(|error| error.get()).map(|_| "true")
                aria-describedby=move || described_by(&describe_id, has_hint, error.and_then(|error| error.get()).is_some())
                prop:value=move || value.get()
                on:input=move |event| value.set(event_target_value(&event))
            />
        </Field>
    }
}

/// An option of a select: its value and its words.
pub type Choice = (String, String);

/// A drop-down of a few known values.
#[component]
pub fn SelectField(
    #[prop(into)] label: String,
    value: RwSignal<String>,
    #[prop(into)] choices: Signal<Vec<Choice>>,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional)] error: Option<Signal<Option<String>>>,
    /// Shown first with an empty value.
    #[prop(optional, into)]
    placeholder: Option<String>,
) -> impl IntoView {
    let id = element_id("field");
    let (has_hint, control_id) = (hint.is_some(), id.clone());
    let describe_id = id.clone();
    view! {
        <Field id label hint=hint.unwrap_or_default() error=error.unwrap_or_default()>
            <select
                id=control_id
                class="input select"
                aria-invalid=move || error.and_then(|error| error.get()).map(|_| "true")
                aria-describedby=move || described_by(&describe_id, has_hint, error.and_then(|error| error.get()).is_some())
                on:change=move |event| value.set(event_target_value(&event))
            >
                {placeholder.map(|text| view! { <option value="" selected=move || value.get().is_empty()>{text}</option> })}
                {move || {
                    choices
                        .get()
                        .into_iter()
                        .map(|(key, text)| {
                            let own = key.clone();
                            view! { <option value=key selected=move || value.get() == own>{text}</option> }
                        })
                        .collect_view()
                }}
            </select>
        </Field>
    }
}

/// A select without a frame, for tool bars; its label is not shown.
#[component]
pub fn InlineSelect(
    #[prop(into)] label: String,
    #[prop(into)] value: Signal<String>,
    #[prop(into)] choices: Signal<Vec<Choice>>,
    on_change: Callback<String>,
) -> impl IntoView {
    view! {
        <select class="input select select-inline" aria-label=label on:change=move |event| on_change.run(event_target_value(&event))>
            {move || {
                choices
                    .get()
                    .into_iter()
                    .map(|(key, text)| {
                        let own = key.clone();
                        view! { <option value=key selected=move || value.get() == own>{text}</option> }
                    })
                    .collect_view()
            }}
        </select>
    }
}

/// A yes or no that takes effect at once.
#[component]
pub fn Switch(
    #[prop(into)] label: String,
    #[prop(into)] value: Signal<bool>,
    on_change: Callback<bool>,
    #[prop(optional, into)] disabled: Signal<bool>,
) -> impl IntoView {
    view! {
        <label class="switch">
            <input
                type="checkbox"
                role="switch"
                prop:checked=move || value.get()
                disabled=move || disabled.get()
                on:change=move |event| {
                    // It shows what holds, not what was asked for: it moves when the answer has arrived.
                    let wanted = event_target_checked(&event);
                    event_target::<web_sys::HtmlInputElement>(&event).set_checked(value.get_untracked());
                    on_change.run(wanted);
                }
            />
            <span class="switch-track" aria-hidden="true"></span>
            <span>{label}</span>
        </label>
    }
}
