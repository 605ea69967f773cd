//! A secret that is shown this once: says so, can be copied and saved, and is gone from the document when its owner closes.

use leptos::prelude::*;

use crate::browser;
use crate::button::{Button, Size};
use crate::copy_button::CopyButton;
use crate::icon::{Glyph, Icon};

/// Shows a secret.
#[component]
pub fn SecretBox(
    #[prop(into)] secret: String,
    /// What it is: "virtual key".
    #[prop(into)]
    what: String,
    #[prop(into)] file_name: String,
) -> impl IntoView {
    let saved = secret.clone();
    let save = Callback::new(move |()| browser::download(&file_name, "text/plain", &format!("{saved}\n")));
    view! {
        <section class="secret" aria-label=format!("Your new {what}")>
            <p class="secret-warning"><Glyph icon=Icon::Warning /> {format!("Copy this {what} now. It is shown once and stored only as a hash.")}</p>
            <div class="secret-line">
                <code class="secret-value" data-testid="secret">{secret.clone()}</code>
                <span class="row">
                    <CopyButton text=secret label="Copy" wide=true />
                    <Button size=Size::Small icon=Icon::Download on_press=save>"Save"</Button>
                </span>
            </div>
        </section>
    }
}
