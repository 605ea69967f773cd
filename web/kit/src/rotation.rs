//! Asking how long an old secret goes on working beside the new one: the same for every kind of secret.

use leptos::prelude::*;
use ui::Tone;
use ui::badge::Note;
use ui::button::{Button, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{Choice, FormError, FormErrors, SelectField};

fn overlaps() -> Vec<Choice> {
    [
        ("3600", "One hour"),
        ("86400", "One day"),
        ("604800", "One week"),
        ("2592000", "30 days"),
        ("0", "None: the old secret stops now"),
    ]
    .map(|(key, text)| (key.to_owned(), text.to_owned()))
    .to_vec()
}

/// The form; `on_rotate` gets the overlap in seconds. `more` are fields of a kind of its own.
#[component]
pub fn RotateForm(
    /// What happens, and what stays.
    #[prop(into)]
    text: String,
    errors: FormErrors,
    busy: RwSignal<bool>,
    on_rotate: Callback<u64>,
    on_cancel: Callback<()>,
    #[prop(optional)] more: Option<AnyView>,
) -> impl IntoView {
    let overlap = RwSignal::new("86400".to_owned());
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        on_rotate.run(overlap.get_untracked().parse().unwrap_or(86_400));
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p>{text}</p>
                <SelectField label="The old secret goes on working for" value=overlap choices=Signal::stored(overlaps()) error=errors.of("overlap_secs") />
                <Show when=move || overlap.get() == "0">
                    <Note tone=Tone::Warn>"Callers with the old secret are refused within a second."</Note>
                </Show>
                {more}
                <FormError errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=on_cancel>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy>"Rotate"</Button>
            </DialogFoot>
        </form>
    }
}
