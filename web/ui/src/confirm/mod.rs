//! The question before something that cannot be undone: what will stop working, and the name typed as an answer.

use leptos::prelude::*;

use crate::Tone;
use crate::badge::Note;
use crate::button::{Button, Weight};
use crate::dialog::{Dialog, DialogBody, DialogFoot};
use crate::field::{FormError, FormErrors, TextField};

/// The words of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is about to happen: "Revoke access token". Also the name of the button.
    pub act: String,
    /// What will stop working, in a few words.
    pub warning: String,
    /// The rest of the consequences; may still be on its way.
    pub text: Signal<String>,
    /// What must be typed.
    pub name: String,
}

/// A dialog that is open while there is a question.
#[component]
pub fn Confirm(
    #[prop(into)] question: Signal<Option<Question>>,
    errors: FormErrors,
    #[prop(into)] busy: Signal<bool>,
    on_confirm: Callback<()>,
    on_close: Callback<()>,
) -> impl IntoView {
    let title = Signal::derive(move || question.get().map(|question| question.act).unwrap_or_default());
    let body = move || question.get().map(|question| form(question, errors, busy, on_confirm, on_close));
    view! { <Dialog open=Signal::derive(move || question.with(Option::is_some)) on_close title test_id="confirm">{body}</Dialog> }
}

fn form(
    question: Question,
    errors: FormErrors,
    busy: Signal<bool>,
    on_confirm: Callback<()>,
    on_close: Callback<()>,
) -> AnyView {
    let typed = RwSignal::new(String::new());
    let label = format!("Type “{}” to confirm", question.name);
    let is_named = Signal::derive(move || typed.get().trim() == question.name);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if is_named.get_untracked() {
            on_confirm.run(());
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <Note tone=Tone::Danger title=question.warning>{move || question.text.get()}</Note>
                <TextField label value=typed autofocus=true />
                <FormError errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=on_close>"Cancel"</Button>
                <Button submits=true weight=Weight::Danger busy disabled=Signal::derive(move || !is_named.get())>{question.act}</Button>
            </DialogFoot>
        </form>
    }
    .into_any()
}
