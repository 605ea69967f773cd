//! What the list is narrowed to: outcome and key as choices, the rest as exact texts in a panel of their own. All of it is in the
//! address; what is set shows beside the button and is taken away with one press.

use domain::usage::Outcome;
use leptos::prelude::*;
use ui::field::{Choice, InlineSelect, TextField};
use ui::icon::{Glyph, Icon};
use ui::menu::{Align, Popover};

use super::{Log, outcome_words};
use kit::views::SavedViews;
use ui::button::{Button, Weight};

/// Filters by an exact text: the name in the address and the words.
pub(super) const TEXTS: [(&str, &str); 5] = [
    ("model", "Model"),
    ("provider", "Provider"),
    ("user", "End user"),
    ("conversation", "Conversation"),
    ("trace", "Trace"),
];

fn set(log: Log, name: &'static str) -> Callback<String> {
    Callback::new(move |value: String| log.nav.set(&[(name, Some(value).filter(|value| !value.is_empty()))], false))
}

/// The texts that are set, each with a button that takes it away.
fn chips(log: Log) -> AnyView {
    let chips = move || {
        let set_ones = TEXTS.iter().zip(log.texts).filter_map(|((key, title), text)| Some((*key, *title, text.get()?)));
        let chip = |(key, title, text): (&'static str, &'static str, String)| {
            let label = format!("No longer filter by {}", title.to_lowercase());
            view! {
                <span class="chip">
                    <span class="faint">{title}</span> <span class="truncate">{text}</span>
                    <button type="button" class="copy" title=label.clone() aria-label=label on:click=move |_| set(log, key).run(String::new())><Glyph icon=Icon::Close /></button>
                </span>
            }
        };
        set_ones.map(chip).collect_view()
    };
    view! { {chips} }.into_any()
}

#[component]
fn Form(log: Log, open: RwSignal<bool>) -> impl IntoView {
    let values = log.texts.map(|text| RwSignal::new(text.get_untracked().unwrap_or_default()));
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let change = |((name, _), value): (&(&'static str, &str), RwSignal<String>)| {
            let text = value.get_untracked().trim().to_owned();
            (*name, Some(text).filter(|text| !text.is_empty()))
        };
        let changes: Vec<(&'static str, Option<String>)> = TEXTS.iter().zip(values).map(change).collect();
        open.set(false);
        log.nav.set(&changes, false);
    };
    let fields = TEXTS
        .iter()
        .zip(values)
        .map(|((_, label), value)| view! { <TextField label=*label value placeholder="exactly" /> });
    view! {
        <form class="stack filter-form" on:submit=submit>
            {fields.collect_view()}
            <Button submits=true weight=Weight::Primary>"Apply"</Button>
        </form>
    }
}

/// The tools above the list.
pub(super) fn view_of(log: Log) -> AnyView {
    let (outcome, key, open) = (log.outcome, log.key, RwSignal::new(false));
    let outcomes = std::iter::once((String::new(), "Any outcome".to_owned()))
        .chain(Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), outcome_words(*outcome).1.to_owned())));
    let outcomes = Signal::stored(outcomes.collect::<Vec<Choice>>());
    let keys = Signal::derive(move || {
        let mut keys: Vec<Choice> = log.keys.get().into_iter().collect();
        ui::sort::by(&mut keys, |left, right| left.1.to_lowercase().cmp(&right.1.to_lowercase()));
        std::iter::once((String::new(), "Any key".to_owned())).chain(keys).collect::<Vec<Choice>>()
    });
    let trigger = ViewFn::from(|| view! { <Glyph icon=Icon::Search /> <span class="button-label">"Filters"</span> });
    view! {
        <InlineSelect label="Outcome" value=Signal::derive(move || outcome.get().unwrap_or_default()) choices=outcomes on_change=set(log, "outcome") />
        <InlineSelect label="Virtual key" value=Signal::derive(move || key.get().unwrap_or_default()) choices=keys on_change=set(log, "key") />
        <Popover label=Signal::stored("Further filters".to_owned()) open class="button button-ghost button-small" test_id="filters" trigger>
            <Form log open />
        </Popover>
        {chips(log)}
        <SavedViews nav=log.nav panels=&["request"] align=Align::Start />
    }
    .into_any()
}
