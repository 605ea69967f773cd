//! Code to read and copy, with tabs when there is more than one language.

use leptos::prelude::*;

use crate::copy_button::CopyButton;
use crate::tabs::Tabs;

/// One piece of code.
#[component]
pub fn CodeBlock(#[prop(into)] code: Signal<String>, #[prop(into)] label: String) -> impl IntoView {
    view! {
        <div class="code">
            <pre tabindex="0" role="region" aria-label=label.clone()><code>{move || code.get()}</code></pre>
            <span class="code-copy"><CopyButton text=code label=format!("Copy {label}") /></span>
        </div>
    }
}

/// One piece of code in several languages: `(key, name, code)`.
#[component]
pub fn Snippets(#[prop(into)] label: String, snippets: Vec<(&'static str, &'static str, String)>) -> impl IntoView {
    let tabs = snippets.iter().map(|snippet| (snippet.0, snippet.1)).collect();
    let current = RwSignal::new(snippets.first().map(|snippet| snippet.0.to_owned()).unwrap_or_default());
    let panel = Callback::new(move |key: String| {
        let found = snippets.iter().find(|snippet| snippet.0 == key);
        found.map(|snippet| view! { <CodeBlock code=Signal::stored(snippet.2.clone()) label=snippet.1 /> }).into_any()
    });
    view! { <Tabs label tabs current on_change=Callback::new(move |key| current.set(key)) panel /> }
}
