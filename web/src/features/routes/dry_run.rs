//! What a draft would have done with the last requests: shares, refusals and costs, and each request with its reasons.
//!
//! The control plane answers, by the planning that nodes use. What it cannot know is said beside what it knows.

use api::ops::routes::{DryRun as Asked, DryRunReport, DryRunRoute, DryRunRow, NewRoute};
use domain::route::Unknown;
use domain::{NanoUsd, Permission};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Badge;
use ui::browser;
use ui::button::{Button, Size};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::field::InlineSelect;
use ui::format::{money, number, time};
use ui::icon::Icon;
use ui::meter::Bar;

use super::Switchboard;
use super::picture::deployment_name;
use kit::api::use_question;
use model::tree::skip_words;

/// How many requests the table shows; the sums are over all.
const SHOWN: usize = 100;

/// A count of requests in words.
fn requests(count: u64) -> String {
    number::plural(count, "request", "requests")
}

fn fact_words(fact: Unknown) -> &'static str {
    match fact {
        Unknown::Headers => "a header of the request",
        Unknown::Tools => "whether tools were offered",
        Unknown::Images => "whether there were images",
        Unknown::Schema => "whether a schema was asked for",
        Unknown::MaxTokens => "the cap on output tokens",
        Unknown::Parameters => "a field of the request",
        Unknown::Budgets => "what was left of a budget",
        Unknown::Load => "how busy or fast deployments were",
        Unknown::Price => "a price that is not set",
    }
}

/// What the report cannot know, as one sentence.
fn caveat(report: &DryRunReport) -> String {
    let asked = report.unknown.iter().map(|unknown| {
        format!("{} asked for {}, which is not known.", requests(unknown.requests), fact_words(unknown.fact))
    });
    let all: Vec<String> =
        std::iter::once("Every deployment counts as healthy and idle.".to_owned()).chain(asked).collect();
    all.join(" ")
}

/// The money of both sides, or why there is none.
fn money_words(report: &DryRunReport) -> String {
    if report.compared == 0 {
        return "Costs cannot be compared: nothing was answered, or a deployment has no price.".to_owned();
    }
    let (paid, cost) = (money::usd(report.paid_usd), money::usd(report.cost_usd));
    let change = number::change(money::as_dollars(report.cost_usd), money::as_dollars(report.paid_usd));
    let change = change.map(|change| format!(" ({change})")).unwrap_or_default();
    format!("{} cost {paid} and would cost {cost}{change}.", requests(report.compared))
}

fn sums(board: Switchboard, report: &DryRunReport) -> AnyView {
    let rows = report.targets.iter().map(|target| {
        let share = f64::from(target.first_permille) / 1_000.0;
        view! {
            <tr>
                <th scope="row" class="truncate">{deployment_name(board, target.deployment_id)}</th>
                <td class="cell-number">{number::grouped(target.was_first)}</td>
                <td class="cell-number strong">{format!("{}%", number::trimmed(share * 100.0, 1))}</td>
                <td class="dry-bar"><Bar share tone=Tone::Accent /></td>
                <td class="cell-number">{(target.cost_usd != NanoUsd::ZERO).then(|| money::usd(target.cost_usd))}</td>
            </tr>
        }
    });
    let refused = (report.refused > 0).then(|| {
        let text = format!("{} would be refused", requests(report.refused));
        view! { <p><Badge tone=Tone::Danger text /></p> }
    });
    view! {
        <table class="table dry-run" data-testid="dry-run">
            <caption class="visually-hidden">"Where the last requests went first, and where they would go"</caption>
            <thead><tr><th scope="col">"First try"</th><th scope="col" class="cell-number">"Was"</th><th scope="col" class="cell-number">"Would be"</th><th><span class="visually-hidden">"Share"</span></th><th scope="col" class="cell-number">"Would cost"</th></tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table>
        {refused}
        <p class="small">{money_words(report)}</p>
        <p class="faint small">{format!("Of the last {}. {}", requests(report.requests), caveat(report))}</p>
    }
    .into_any()
}

/// Where one request would go: "a 75%, b 25%", and what stands behind.
fn would_words(board: Switchboard, row: &DryRunRow) -> String {
    if let Some(code) = &row.refused {
        return format!("refused: {code}");
    }
    let name = |id| deployment_name(board, id);
    let share = |permille: u16| match permille {
        1_000 => String::new(),
        some => format!(" {}%", number::trimmed(f64::from(some) / 10.0, 0)),
    };
    let first: Vec<String> =
        row.first.iter().map(|it| format!("{}{}", name(it.deployment_id), share(it.permille))).collect();
    first.join(", ")
}

/// What else the decision says: the order of the others, and who was passed over.
fn why_words(board: Switchboard, row: &DryRunRow) -> String {
    let name = |id| deployment_name(board, id);
    let mut lines = Vec::new();
    let others: Vec<String> = row.order.iter().skip(1).map(|id| name(*id)).collect();
    if !others.is_empty() {
        lines.push(format!("then {}", others.join(", ")));
    }
    lines.extend(row.skipped.iter().map(|it| format!("not {}: {}", name(it.deployment_id), skip_words(it.reason))));
    lines.extend(row.unknown.iter().map(|fact| format!("unknown: {}", fact_words(*fact))));
    lines.join("; ")
}

fn line(board: Switchboard, row: &DryRunRow) -> AnyView {
    let zone = browser::zone();
    let was = row.was_first.map_or_else(|| "nowhere".to_owned(), |id| deployment_name(board, id));
    let cost = row.cost_usd.map_or_else(|| "–".to_owned(), money::usd);
    view! {
        <tr>
            <td class="number small">{time::short(row.started_at, zone)}</td>
            <td class="truncate"><code>{row.model.clone()}</code></td>
            <td class="truncate">{was}</td>
            <td class:dry-moved=is_moved(row)>{would_words(board, row)}<p class="faint small">{why_words(board, row)}</p></td>
            <td class="cell-number">{money::usd(row.paid_usd)}</td>
            <td class="cell-number">{cost}</td>
        </tr>
    }
    .into_any()
}

/// Whether a request may go elsewhere than it went.
fn is_moved(row: &DryRunRow) -> bool {
    row.refused.is_some() || row.first.iter().any(|it| Some(it.deployment_id) != row.was_first)
}

fn rows(board: Switchboard, report: &DryRunReport) -> AnyView {
    let shown = report.rows.iter().take(SHOWN).map(|row| line(board, row)).collect_view();
    let n_moved = report.rows.iter().filter(|row| is_moved(row)).count();
    let title = format!("Each request; {} may go elsewhere", number::grouped(u64::try_from(n_moved).unwrap_or(0)));
    let left_out = (report.rows.len() > SHOWN).then(|| format!("The newest {SHOWN} are shown; the sums are over all."));
    view! {
        <details class="more">
            <summary>{title}</summary>
            <div class="dry-rows" tabindex="0" role="group" aria-label="Requests of the dry run">
                <table class="table">
                    <thead><tr><th scope="col">"Arrived"</th><th scope="col">"Model"</th><th scope="col">"Went to"</th><th scope="col">"Would go to"</th><th scope="col" class="cell-number">"Cost"</th><th scope="col" class="cell-number">"Would cost"</th></tr></thead>
                    <tbody>{shown}</tbody>
                </table>
            </div>
            <p class="faint small">{left_out}</p>
        </details>
    }
    .into_any()
}

fn nothing() -> AnyView {
    view! { <EmptyState icon=Icon::Route title="No requests to try it on" text="Nobody has called this lately. Try it on all requests of the workspace, or come back after the first calls." /> }
        .into_any()
}

/// The panel of a draft. `draft` reads the form, and is nothing when the form is not sound.
#[component]
pub(super) fn DryRun(board: Switchboard, draft: Callback<(), Option<NewRoute>>) -> impl IntoView {
    let asked = RwSignal::new(None::<Asked>);
    let (scope, last) = (RwSignal::new(String::new()), RwSignal::new("200".to_owned()));
    let report = use_question::<DryRunRoute>(move || Some((board.path(), asked.get()?)));
    let run = Callback::new(move |()| {
        let Some(route) = draft.run(()) else { return };
        let model = scope.get_untracked().is_empty().then(|| route.name.to_string());
        asked.set(Some(Asked { route, model, last: last.get_untracked().parse().ok() }));
    });
    let choice = |key: &str, text: &str| (key.to_owned(), text.to_owned());
    let scopes = vec![choice("", "for this name"), choice("all", "of the workspace")];
    let counts = ["50", "200", "1000"].map(|count| choice(count, &format!("last {count}"))).to_vec();
    let ready = Callback::new(move |report: Signal<DryRunReport>| {
        view! { <div class="stack-tight">{move || report.with(|report| sums(board, report))} {move || report.with(|report| rows(board, report))}</div> }.into_any()
    });
    let body = move || {
        if asked.with(Option::is_none) {
            return view! { <p class="muted small">"Says where the last requests would go first with this draft, who would be passed over and why, and what it would cost. Nothing is sent."</p> }.into_any();
        }
        view! { <DataView load=report.load on_retry=report.retry() skeleton=Skeleton::Rows(4) is_empty=|report| report.requests == 0 empty=ViewFn::from(nothing) ready /> }.into_any()
    };
    view! {
        <section class="stack-tight" aria-label="Dry run">
            <div class="row-between">
                <h3>"Dry run"</h3>
                <span class="row">
                    <InlineSelect label="How many requests" value=last choices=Signal::stored(counts) on_change=Callback::new(move |key| last.set(key)) />
                    <InlineSelect label="Which requests" value=scope choices=Signal::stored(scopes) on_change=Callback::new(move |key| scope.set(key)) />
                    <Button size=Size::Small on_press=run>"Try it"</Button>
                </span>
            </div>
            {body}
        </section>
    }
}

/// Whether somebody may ask.
pub(super) fn is_allowed(board: Switchboard) -> bool {
    board.may(Permission::RequestsRead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(json: serde_json::Value) -> DryRunReport {
        let mut all = serde_json::json!({
            "requests": 3, "refused": 0, "targets": [], "compared": 0, "paid_usd": "0", "cost_usd": "0", "unknown": [],
            "rows": []
        });
        if let (Some(all), Some(json)) = (all.as_object_mut(), json.as_object()) {
            all.extend(json.clone());
        }
        serde_json::from_value(all).expect("a report")
    }

    #[test]
    fn the_money_of_both_sides_is_said_or_why_it_is_not() {
        assert!(money_words(&report(serde_json::json!({}))).starts_with("Costs cannot be compared"));
        let both = report(serde_json::json!({"compared": 1, "paid_usd": "2", "cost_usd": "1"}));
        let text = money_words(&both);
        assert!(
            text.starts_with("1 request cost $2") && text.contains("would cost $1") && text.contains("50"),
            "{text}"
        );
    }

    #[test]
    fn what_the_log_does_not_keep_is_named() {
        let unknown = serde_json::json!([{"fact": "headers", "requests": 2}]);
        let text = caveat(&report(serde_json::json!({"unknown": unknown})));
        assert!(text.contains("2 requests asked for a header of the request"), "{text}");
    }

    #[test]
    fn a_request_moves_when_any_of_it_may_go_elsewhere() {
        let id = |n: u16| format!("dep_{n:026}");
        let row = |first: Vec<u16>, refused: Option<&str>| -> DryRunRow {
            let first: Vec<_> =
                first.into_iter().map(|n| serde_json::json!({"deployment_id": id(n), "permille": 500})).collect();
            serde_json::from_value(serde_json::json!({
                "request_id": format!("req_{:026}", 1), "started_at": "2026-11-22T09:00:00Z",
                "endpoint": "chat_completions", "model": "m", "is_stream": false, "was_first": id(1), "first": first,
                "refused": refused, "order": [], "skipped": [], "paid_usd": "0", "cost_usd": null, "unknown": []
            }))
            .expect("a row")
        };
        assert!(!is_moved(&row(vec![1], None)));
        assert!(is_moved(&row(vec![1, 2], None)) && is_moved(&row(vec![], Some("no_healthy_target"))));
    }
}
