//! What changed, field by field: before struck through, after beside it.

use leptos::prelude::*;

use crate::format::json::FieldChange;

/// A list of changed fields.
#[component]
pub fn DiffView(changes: Vec<FieldChange>) -> impl IntoView {
    if changes.is_empty() {
        return view! { <p class="muted">"No field changed."</p> }.into_any();
    }
    let lines = changes.into_iter().map(|change| {
        view! {
            <li class="diff-line">
                <code class="diff-path">{change.path}</code>
                <span class="diff-values">
                    {change.before.map(|text| view! { <del>{text}</del> })}
                    {change.after.map(|text| view! { <ins>{text}</ins> })}
                </span>
            </li>
        }
    });
    view! { <ul class="diff">{lines.collect_view()}</ul> }.into_any()
}
