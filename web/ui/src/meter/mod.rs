//! A share as a thin bar, with the figure beside it in text.

use leptos::prelude::*;

use crate::Tone;

/// Draws `share` (0 to 1) of a bar. The text next to it says the same, so the bar itself is hidden from assistive technology.
#[component]
pub fn Bar(share: f64, #[prop(optional)] tone: Tone) -> impl IntoView {
    view! {
        <span class=format!("bar {}", tone.class()) aria-hidden="true">
            <span class="bar-fill" style:width=format!("{:.2}%", share.clamp(0.0, 1.0) * 100.0)></span>
        </span>
    }
}

/// A ranked line: name, value, and its share of the largest.
#[component]
pub fn RankedLine(name: AnyView, #[prop(into)] value: String, share: f64) -> impl IntoView {
    view! {
        <li class="ranked">
            <span class="ranked-name truncate">{name}</span>
            <span class="number">{value}</span>
            <Bar share tone=Tone::Accent />
        </li>
    }
}
