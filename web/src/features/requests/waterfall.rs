//! Where the time of a request went, stage by stage: until its last byte had come, Headgate before the first try, each try until its first byte and until its
//! last, pauses between tries, and what was left at the end. Headgate's own part is summed apart, in microseconds.

use api::ops::usage::{AttemptView, RequestView};
use leptos::prelude::*;

use ui::format::{number, time};

/// What a stretch of time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    /// In Headgate itself.
    Own,
    /// On the first byte of an upstream.
    Waiting,
    /// On the rest of its answer.
    Reading,
    /// On nothing, before another try.
    Pausing,
}

impl Spent {
    fn class(self) -> &'static str {
        match self {
            Self::Own => "span-own",
            Self::Waiting => "span-wait",
            Self::Reading => "span-read",
            Self::Pausing => "span-pause",
        }
    }
}

/// A stretch of the request. More of them show as soon as more are reported.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    name: String,
    spent: Spent,
    from_us: u64,
    length_us: u64,
}

/// Pauses shorter than this are the time between two lines of a program.
const PAUSE_US: u64 = 500;

fn begin(request: &RequestView, attempt: &AttemptView) -> u64 {
    u64::try_from(attempt.started_at.since(request.started_at).as_micros()).unwrap_or(0)
}

fn stages(request: &RequestView) -> Vec<Stage> {
    let mut stages = Vec::new();
    let mut add = |name: String, spent: Spent, from_us: u64, end_us: u64| {
        if end_us > from_us {
            stages.push(Stage { name, spent, from_us, length_us: end_us - from_us });
        }
    };
    let mut done_us = request.routing.as_ref().map_or(0, |routing| routing.received_us.min(request.duration_us));
    add("Request received".to_owned(), Spent::Reading, 0, done_us);
    for attempt in &request.attempts {
        let (from_us, name) = (begin(request, attempt), format!("{} · {}", attempt.n, attempt.provider));
        if attempt.n <= 1 {
            add("Admitted and routed".to_owned(), Spent::Own, done_us, from_us);
        } else if from_us.saturating_sub(done_us) > PAUSE_US {
            add(format!("Pause before {}", attempt.n), Spent::Pausing, done_us, from_us);
        }
        let end_us = from_us + attempt.duration_us;
        let first_us = from_us + attempt.first_byte_us.unwrap_or(attempt.duration_us).min(attempt.duration_us);
        add(format!("{name}, to first byte"), Spent::Waiting, from_us, first_us);
        add(format!("{name}, to last byte"), Spent::Reading, first_us, end_us);
        done_us = done_us.max(end_us);
    }
    let rest = if request.attempts.is_empty() { "Answered by Headgate" } else { "Written and booked" };
    add(rest.to_owned(), Spent::Own, done_us, request.duration_us);
    stages
}

/// The bars.
pub(super) fn waterfall(request: &RequestView) -> AnyView {
    let total = number::as_f64(request.duration_us.max(1));
    let percent = move |us: u64| format!("{:.2}%", (number::as_f64(us) / total * 100.0).clamp(0.0, 100.0));
    let lines = stages(request).into_iter().map(|stage| {
        view! {
            <li class="span-line">
                <span class="truncate" title=stage.name.clone()>{stage.name.clone()}</span>
                <span class="span-track" aria-hidden="true"><span class=format!("span-bar {}", stage.spent.class()) style:left=percent(stage.from_us) style:width=percent(stage.length_us)></span></span>
                <span class="number">{time::micros(stage.length_us)}</span>
            </li>
        }
    });
    let mark = |name: &'static str, us: u64| {
        view! {
            <li class="span-line muted">
                <span class="truncate">{name}</span>
                <span class="span-track span-mark" aria-hidden="true"><span class="span-point" style:left=percent(us)></span></span>
                <span class="number">{time::micros(us)}</span>
            </li>
        }
    };
    let first = request.first_byte_us.map(|us| mark("First byte to the client", us));
    let ticks = [0_u64, 25, 50, 75].map(|share| {
        let at = time::micros(request.duration_us / 100 * share);
        view! { <span style:left=format!("{share}%")>{if share == 0 { "0".to_owned() } else { at }}</span> }
    });
    let own = format!(
        "{} in Headgate itself, {} of the whole",
        time::micros(request.overhead_us),
        number::share(request.overhead_us, request.duration_us)
    );
    view! {
        <ul class="waterfall" data-testid="waterfall">
            <li class="span-line" aria-hidden="true"><span></span><span class="span-axis">{ticks}</span><span></span></li>
            {lines.collect_view()}
            {first}
            {mark("Last byte", request.duration_us)}
        </ul>
        <p class="row small"><span class="span-key span-own" aria-hidden="true"></span> <span class="number">{own}</span></p>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, request};
    use api::ops::usage::RoutingView;

    fn told(request: &RequestView) -> Vec<(String, Spent, u64, u64)> {
        stages(request).into_iter().map(|stage| (stage.name, stage.spent, stage.from_us, stage.length_us)).collect()
    }

    #[test]
    fn every_microsecond_belongs_to_a_stage() {
        let tries = vec![attempt(1, 100, 400, None), attempt(2, 2_500, 5_000, Some(3_000))];
        let mut request = request(8_000, tries);
        request.routing = Some(RoutingView { received_us: 40, dispatched_us: 100, skipped: Vec::new(), continued: 0 });
        let wanted = [
            ("Request received", Spent::Reading, 0, 40),
            ("Admitted and routed", Spent::Own, 40, 60),
            ("1 · openai, to first byte", Spent::Waiting, 100, 400),
            ("Pause before 2", Spent::Pausing, 500, 2_000),
            ("2 · openai, to first byte", Spent::Waiting, 2_500, 3_000),
            ("2 · openai, to last byte", Spent::Reading, 5_500, 2_000),
            ("Written and booked", Spent::Own, 7_500, 500),
        ];
        assert_eq!(told(&request), wanted.map(|(name, spent, from, length)| (name.to_owned(), spent, from, length)));
    }

    #[test]
    fn a_request_without_a_try_was_headgates_alone() {
        assert_eq!(told(&request(320, Vec::new())), [("Answered by Headgate".to_owned(), Spent::Own, 0, 320)]);
    }
}
