//! Copies a text and says that it did.

use std::time::Duration;

use leptos::prelude::*;

use crate::browser;
use crate::icon::{Glyph, Icon};

/// A quiet button that copies `text`; for two seconds it shows a tick.
#[component]
pub fn CopyButton(
    #[prop(into)] text: Signal<String>,
    /// What is copied: "Copy id".
    #[prop(into)]
    label: String,
    /// Shows the label beside the icon.
    #[prop(optional)]
    wide: bool,
) -> impl IntoView {
    let copied = RwSignal::new(false);
    let press = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        copied.set(browser::copy(&text.get_untracked()));
        set_timeout(move || copied.try_set(false).map_or((), |_| ()), Duration::from_secs(2));
    };
    let name = label.clone();
    view! {
        <button type="button" class=if wide { "copy copy-wide" } else { "copy" } title=label.clone() aria-label=(!wide).then_some(label) on:click=press>
            {move || if copied.get() { view! { <Glyph icon=Icon::Check /> } } else { view! { <Glyph icon=Icon::Copy /> } }}
            {wide.then(|| view! { <span>{move || if copied.get() { "Copied".to_owned() } else { name.clone() }}</span> })}
            // A label that is shown says it by changing; a second word would be read out as well.
            {(!wide).then(|| view! { <span class="visually-hidden" role="status">{move || copied.get().then_some("Copied")}</span> })}
        </button>
    }
}

/// An id in short form with its copy button.
#[component]
pub fn CopyId(#[prop(into)] id: String) -> impl IntoView {
    let short = crate::format::id::short(&id);
    view! {
        <span class="copy-id">
            <code title=id.clone()>{short}</code>
            <CopyButton text=id label="Copy id" />
        </span>
    }
}
