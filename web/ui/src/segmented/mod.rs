//! A choice of two to five in one strip: radio buttons by nature, so arrow keys work by themselves.

use leptos::prelude::*;

use crate::element_id;

/// One segment: value, words, extra class (an environment's colour, say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub value: String,
    pub text: String,
    pub class: &'static str,
}

impl Segment {
    pub fn new(value: impl Into<String>, text: impl Into<String>) -> Self {
        Self { value: value.into(), text: text.into(), class: "" }
    }
}

/// The strip.
#[component]
pub fn Segmented(
    #[prop(into)] label: String,
    #[prop(into)] segments: Signal<Vec<Segment>>,
    #[prop(into)] value: Signal<String>,
    on_change: Callback<String>,
    #[prop(optional, into)] test_id: Option<&'static str>,
) -> impl IntoView {
    let group = element_id("segmented");
    view! {
        <div class="segmented" role="radiogroup" aria-label=label data-testid=test_id>
            {move || {
                segments
                    .get()
                    .into_iter()
                    .map(|segment| {
                        let (own, chosen) = (segment.value.clone(), segment.value.clone());
                        view! {
                            <label class=format!("segment {}", segment.class)>
                                <input
                                    type="radio"
                                    name=group.clone()
                                    value=segment.value
                                    prop:checked=move || value.get() == own
                                    on:change=move |_| on_change.run(chosen.clone())
                                />
                                <span>
                                    {(!segment.class.is_empty()).then(|| view! { <i class="badge-dot" aria-hidden="true"></i> })}
                                    {segment.text}
                                </span>
                            </label>
                        }
                    })
                    .collect_view()
            }}
        </div>
    }
}
