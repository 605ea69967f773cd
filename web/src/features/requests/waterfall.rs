//! Where the time of a request went: each attempt, waiting for and reading its answer, and Headgate's own part.

use api::ops::usage::RequestView;
use leptos::prelude::*;

use ui::format::{number, time};

/// A stretch of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    name: String,
    class: &'static str,
    from_us: u64,
    length_us: u64,
}

fn spans(request: &RequestView) -> Vec<Span> {
    let mut spans = Vec::new();
    for attempt in &request.attempts {
        let micros = attempt.started_at.since(request.started_at).as_micros();
        let from_us = u64::try_from(micros).unwrap_or(0);
        let waited = attempt.first_byte_us.unwrap_or(attempt.duration_us).min(attempt.duration_us);
        let name = format!("{} · {}", attempt.n, attempt.provider);
        spans.push(Span { name: format!("{name}, waiting"), class: "span-wait", from_us, length_us: waited });
        if attempt.duration_us > waited {
            spans.push(Span {
                name: format!("{name}, answer"),
                class: "span-read",
                from_us: from_us + waited,
                length_us: attempt.duration_us - waited,
            });
        }
    }
    spans.push(Span {
        name: "Headgate itself".to_owned(),
        class: "span-own",
        from_us: 0,
        length_us: request.overhead_us,
    });
    spans
}

/// The bars.
#[component]
pub(super) fn Waterfall(request: RequestView) -> impl IntoView {
    let total = number::as_f64(request.duration_us.max(1));
    let percent = move |us: u64| format!("{:.2}%", (number::as_f64(us) / total * 100.0).clamp(0.0, 100.0));
    let lines = spans(&request).into_iter().map(|span| {
        view! {
            <li class="span-line">
                <span class="truncate">{span.name}</span>
                <span class="span-track" aria-hidden="true"><span class=format!("span-bar {}", span.class) style:left=percent(span.from_us) style:width=percent(span.length_us)></span></span>
                <span class="number small">{time::micros(span.length_us)}</span>
            </li>
        }
    });
    view! {
        <ul class="waterfall">
            {lines.collect_view()}
            <li class="span-line strong"><span>"Total"</span><span></span><span class="number small">{time::micros(request.duration_us)}</span></li>
        </ul>
    }
}
