//! Small words with a tone: states, kinds, environments. The word carries the meaning, the colour repeats it.

use leptos::prelude::*;

use crate::Tone;

/// A state in one or two words.
#[component]
pub fn Badge(
    #[prop(optional)] tone: Tone,
    /// Shows a dot before the word: for states that can change by themselves.
    #[prop(optional)]
    dot: bool,
    #[prop(into)] text: String,
) -> impl IntoView {
    view! {
        <span class=format!("badge {}", tone.class())>
            {dot.then(|| view! { <span class="badge-dot" aria-hidden="true"></span> })}
            {text}
        </span>
    }
}

/// The class that gives an environment its colour; unknown names are grey like development.
pub fn environment_class(name: &str) -> &'static str {
    match name {
        "production" => "environment-production",
        "staging" => "environment-staging",
        _ => "environment-development",
    }
}

/// The name of an environment in its colour.
#[component]
pub fn EnvironmentBadge(#[prop(into)] name: String) -> impl IntoView {
    let class = format!("badge environment-badge {}", environment_class(&name));
    view! {
        <span class=class>
            <span class="badge-dot" aria-hidden="true"></span>
            {name}
        </span>
    }
}

/// A word in a neutral frame: a model, a scope, a provider.
#[component]
pub fn Tag(#[prop(into)] text: String) -> impl IntoView {
    view! { <span class="tag">{text}</span> }
}

/// A note beside the content: what to know before going on.
#[component]
pub fn Note(
    #[prop(optional)] tone: Tone,
    #[prop(optional, into)] title: Option<String>,
    children: Children,
) -> impl IntoView {
    view! {
        <div class=format!("note {}", tone.class())>
            {title.map(|title| view! { <p class="note-title">{title}</p> })}
            <div class="note-body">{children()}</div>
        </div>
    }
}
