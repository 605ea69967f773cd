//! The head of a page: what it is called, the question it answers, and its one main act.

use leptos::prelude::*;

/// The head.
#[component]
pub fn PageHead(
    #[prop(into)] title: String,
    #[prop(into)] about: String,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <header class="page-head">
            <div class="page-title">
                <h1>{title}</h1>
                <p>{about}</p>
            </div>
            {children.map(|children| view! { <div class="row">{children()}</div> })}
        </header>
    }
}
