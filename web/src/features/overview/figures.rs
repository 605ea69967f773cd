//! The four figures on top: requests, errors, spend, latency; each against the period before.

use api::ops::usage::{UsageReport, UsageSums};
use leptos::prelude::*;

use super::Charts;
use ui::Tone;
use ui::chart::{ChartData, Slot, Sparkline};
use ui::format::{money, number, time};
use ui::stat::{Stat, Trend};

fn trend(now: f64, before: f64, rise: Tone) -> Option<Trend> {
    let text = number::change(now, before)?;
    let tone = if now > before { rise } else { Tone::Neutral };
    Some(Trend { text, tone })
}

fn spark(charts: Memo<Charts>, pick: fn(&Charts) -> &ChartData, index: usize, slot: Slot) -> AnyView {
    let values = move |charts: &Charts| pick(charts).series.get(index).map(|series| series.values.clone());
    let values = Signal::derive(move || charts.with(|charts| values(charts).unwrap_or_default()));
    let is_open = Signal::derive(move || charts.with(|charts| pick(charts).is_open));
    view! { <Sparkline values is_open ink=slot /> }.into_any()
}

/// The tiles.
#[component]
pub(super) fn Figures(
    total: Signal<UsageSums>,
    before: Signal<Option<UsageReport>>,
    charts: Memo<Charts>,
) -> impl IntoView {
    let now = move || total.get();
    let then = move || before.get().map(|report| report.total).unwrap_or_default();
    let compare = move |value: fn(&UsageSums) -> f64, rise: Tone| {
        Signal::derive(move || trend(value(&now()), value(&then()), rise))
    };
    let tokens = move || {
        let tokens = now().tokens;
        format!(
            "{} tokens in, {} out",
            number::compact(number::as_f64(tokens.total_input())),
            number::compact(number::as_f64(tokens.output))
        )
    };
    let errors = move || {
        let sums = now();
        format!(
            "{} of requests, {} not the client's fault",
            number::share(sums.errors, sums.requests),
            number::grouped(sums.failures)
        )
    };
    let latency = move || match (now().p50_ms, now().first_byte_p50_ms) {
        (Some(p50), Some(first)) => format!("p50 {}, first byte {}", time::millis(p50), time::millis(first)),
        (Some(p50), None) => format!("p50 {}", time::millis(p50)),
        _ => "not enough data".to_owned(),
    };
    let per_request = move || {
        let sums = now();
        if sums.requests == 0 {
            return "no requests".to_owned();
        }
        let each = sums.cost_usd.as_nanos() / i64::try_from(sums.requests).unwrap_or(i64::MAX);
        let each = format!("{} per request", money::usd(domain::NanoUsd::from_nanos(each)));
        if sums.reused == 0 {
            return each;
        }
        format!(
            "{each}, {} saved by {} answers given again",
            money::usd(sums.saved_cost_usd),
            number::grouped(sums.reused)
        )
    };
    view! {
        <div class="stats">
            <Stat label="Requests" value=Signal::derive(move || number::grouped(now().requests)) detail=Signal::derive(tokens) trend=compare(|sums| number::as_f64(sums.requests), Tone::Neutral) spark=spark(charts, |charts| &charts.traffic, 0, Slot::Rank(0)) test_id="stat-requests" />
            <Stat label="Errors" value=Signal::derive(move || number::grouped(now().errors)) detail=Signal::derive(errors) trend=compare(|sums| number::as_f64(sums.errors), Tone::Danger) spark=spark(charts, |charts| &charts.traffic, 1, Slot::Error) />
            <Stat label="Spend" value=Signal::derive(move || money::usd(now().cost_usd)) detail=Signal::derive(per_request) trend=compare(|sums| money::as_dollars(sums.cost_usd), Tone::Neutral) spark=spark(charts, |charts| &charts.spend, 0, Slot::Rank(4)) />
            <Stat label="Latency p95" value=Signal::derive(move || now().p95_ms.map_or_else(|| "–".to_owned(), time::millis)) detail=Signal::derive(latency) trend=compare(|sums| sums.p95_ms.map_or(0.0, number::as_f64), Tone::Warn) spark=spark(charts, |charts| &charts.latency, 1, Slot::Rank(3)) />
        </div>
    }
}
