//! The end of a key: what will stop working, how often it was used, and its name typed to be sure.

use api::Empty;
use api::ops::virtual_keys::{RevokeVirtualKey, VirtualKeyView};
use leptos::prelude::*;

use super::panel::{OneKey, use_last_day};
use crate::api::use_command;
use ui::Tone;
use ui::badge::Note;
use ui::button::{Button, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{FormError, TextField};
use ui::format::number;
use ui::toast::Toasts;

/// The form.
#[component]
pub(super) fn RevokeForm(one: OneKey, key: VirtualKeyView) -> impl IntoView {
    let typed = RwSignal::new(String::new());
    let revoke = use_command::<RevokeVirtualKey>();
    let toasts = expect_context::<Toasts>();
    let usage = use_last_day(one);
    let name = StoredValue::new(key.name.to_string());
    let is_named = Signal::derive(move || name.with_value(|name| typed.get().trim() == name));
    let consequence = move || match usage.data().get() {
        Some(report) if report.total.requests == 0 => "It made no calls in the last 24 hours.".to_owned(),
        Some(report) => {
            format!("It made {} in the last 24 hours.", number::plural(report.total.requests, "call", "calls"))
        }
        None => "How often it was used is not known right now.".to_owned(),
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if is_named.get_untracked() {
            revoke.run(one.path(), Empty {}, move |key| {
                toasts.done(format!("“{}” is revoked.", key.name));
                one.changed(key);
            });
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <Note tone=Tone::Danger title="This cannot be undone">
                    <p>"Every application that uses this key is refused with " <code>"key_revoked"</code> " within a second. " {consequence}</p>
                    <p>"Usage and audit entries stay. To replace a secret without an outage, rotate the key instead."</p>
                </Note>
                <TextField label=format!("Type “{}” to confirm", key.name) value=typed autofocus=true name="confirm" />
                <FormError errors=revoke.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=Callback::new(move |()| one.act.set(None))>"Cancel"</Button>
                <Button submits=true weight=Weight::Danger busy=revoke.is_busy disabled=Signal::derive(move || !is_named.get()) test_id="confirm-revoke">"Revoke key"</Button>
            </DialogFoot>
        </form>
    }
}
