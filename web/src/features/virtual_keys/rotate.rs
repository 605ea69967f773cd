//! A new secret for a key, with an overlap in which both work.

use api::ops::virtual_keys::{RotateVirtualKey, Rotation, VirtualKeyView};
use leptos::prelude::*;

use super::panel::OneKey;
use kit::api::use_command;
use ui::Tone;
use ui::badge::Note;
use ui::button::{Button, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{Choice, FormError, SelectField};

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

/// The form.
#[component]
pub(super) fn RotateForm(one: OneKey, key: VirtualKeyView) -> impl IntoView {
    let overlap = RwSignal::new("86400".to_owned());
    let rotate = use_command::<RotateVirtualKey>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let overlap_secs = overlap.get_untracked().parse().unwrap_or(86_400);
        rotate.run(one.path(), Rotation { overlap_secs }, move |issued| {
            one.keys.open(None);
            one.keys.list.refetch();
            one.keys.issued.set(Some(issued));
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p>{format!("“{}” gets a new secret, shown once. Name, environment, models and history stay.", key.name)}</p>
                <SelectField label="The old secret goes on working for" value=overlap choices=Signal::stored(overlaps()) error=rotate.errors.of("overlap_secs") />
                <Show when=move || overlap.get() == "0">
                    <Note tone=Tone::Warn>"Callers with the old secret are refused within a second."</Note>
                </Show>
                <FormError errors=rotate.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=Callback::new(move |()| one.act.set(None))>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=rotate.is_busy>"Rotate"</Button>
            </DialogFoot>
        </form>
    }
}
