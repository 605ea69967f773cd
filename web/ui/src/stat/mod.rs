//! One figure with its name, its window and how it moved: the tiles of an overview.

use leptos::prelude::*;

use crate::Tone;

/// How a figure changed against the period before, and whether that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trend {
    pub text: String,
    pub tone: Tone,
}

/// A tile.
#[component]
pub fn Stat(
    #[prop(into)] label: String,
    #[prop(into)] value: Signal<String>,
    /// Unit, window or a second figure, under the value.
    #[prop(optional, into)]
    detail: Signal<String>,
    #[prop(optional, into)] trend: Signal<Option<Trend>>,
    #[prop(optional)] spark: Option<AnyView>,
    #[prop(optional, into)] test_id: Option<&'static str>,
) -> impl IntoView {
    view! {
        <div class="stat" data-testid=test_id>
            <p class="stat-label">{label}</p>
            <p class="stat-value number">
                {move || value.get()}
                {move || trend.get().map(|trend| view! { <span class=format!("stat-trend {}", trend.tone.class())>{trend.text}</span> })}
            </p>
            <p class="stat-detail">{move || detail.get()}</p>
            {spark}
        </div>
    }
}
