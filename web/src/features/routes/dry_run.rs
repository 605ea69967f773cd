//! What a draft would have done: where each of the last requests for this name would have gone first, beside where it went.
//!
//! Pure but for its table. Strategies that look at load, latency or price at the moment of a call are counted as even, and facts
//! that the log does not keep (headers, tools, images) as not given; both are said.

use api::ops::WorkspacePath;
use api::ops::usage::{ListRequests, RequestQuery, RequestView};
use domain::route::{Node, Test};
use domain::{DeploymentId, Permission};
use leptos::prelude::*;
use ui::Tone;
use ui::format::number;
use ui::meter::Bar;

use super::Switchboard;
use super::picture::deployment_name;
use crate::api::use_query;

/// How many requests are looked at.
const LOOKED_AT: u16 = 200;

/// A forecast: calls by deployment, and how many depend on what the log does not keep.
#[derive(Debug, Clone, PartialEq, Default)]
struct Forecast {
    calls: Vec<(DeploymentId, f64)>,
    undecided: usize,
}

impl Forecast {
    fn add(&mut self, id: DeploymentId, calls: f64) {
        match self.calls.iter_mut().find(|known| known.0 == id) {
            Some(known) => known.1 += calls,
            None => self.calls.push((id, calls)),
        }
    }

    fn of(&self, id: DeploymentId) -> f64 {
        self.calls.iter().find(|known| known.0 == id).map_or(0.0, |known| known.1)
    }
}

fn is_one_of(value: &str, wanted: &[String]) -> bool {
    wanted.iter().any(|wanted| wanted.strip_suffix('*').map_or(wanted == value, |prefix| value.starts_with(prefix)))
}

fn is_within(minute: u16, from: u16, until: u16) -> bool {
    if from <= until { (from..until).contains(&minute) } else { minute >= from || minute < until }
}

/// Whether a fact holds; nothing when the log does not say.
fn holds(test: &Test, request: &RequestView) -> Option<bool> {
    Some(match test {
        Test::Metadata { name, is } => request.metadata.iter().any(|pair| pair.0 == *name && is_one_of(&pair.1, is)),
        Test::Tag { is } => request.tags.iter().any(|tag| is_one_of(tag, is)),
        Test::Model { is } => is_one_of(&request.model, is),
        Test::Stream { is } => request.is_stream == *is,
        Test::InputTokens { at_least, at_most } => {
            let tokens = request.usage.total_input();
            at_least.is_none_or(|least| tokens >= least) && at_most.is_none_or(|most| tokens <= most)
        }
        Test::Time { from_minute, until_minute, days, utc_offset_minutes } if days.is_empty() => {
            let local = request.started_at.as_micros() / 60_000_000 + i64::from(*utc_offset_minutes);
            let minute = u16::try_from(local.rem_euclid(24 * 60)).ok()?;
            is_within(minute, *from_minute, *until_minute)
        }
        _ => return None,
    })
}

/// Adds where `calls` of a request go first; marks it when that depends on what the log does not keep.
fn choose(node: &Node, request: &RequestView, calls: f64, forecast: &mut Forecast, is_guess: &mut bool) {
    let mut go = |node: &Node, calls: f64| choose(node, request, calls, forecast, is_guess);
    match node {
        Node::Deployment { deployment_id } => forecast.add(*deployment_id, calls),
        Node::Ordered { children } => {
            if let Some(first) = children.first() {
                go(first, calls);
            }
        }
        Node::Weighted { children } => {
            let total: f64 = children.iter().map(|share| f64::from(share.weight)).sum();
            for child in children.iter().filter(|child| child.weight > 0) {
                go(&child.node, calls * f64::from(child.weight) / total);
            }
        }
        Node::RoundRobin { children }
        | Node::LeastBusy { children }
        | Node::LowestLatency { children, .. }
        | Node::LowestCost { children }
        | Node::UsageBased { children }
        | Node::ConsistentHash { children, .. } => {
            let each = calls / number::as_f64(u64::try_from(children.len()).unwrap_or(1).max(1));
            for child in children {
                go(child, each);
            }
        }
        Node::Conditional { cases, otherwise } => {
            for case in cases {
                let facts: Vec<Option<bool>> = case.when.iter().map(|test| holds(test, request)).collect();
                if facts.iter().all(|fact| *fact == Some(true)) {
                    return choose(&case.node, request, calls, forecast, is_guess);
                }
                *is_guess |= facts.iter().all(|fact| *fact != Some(false));
            }
            choose(otherwise, request, calls, forecast, is_guess);
        }
        Node::Canary { percent, canary, stable } => {
            let share = f64::from(*percent) / 100.0;
            go(canary, calls * share);
            go(stable, calls * (1.0 - share));
        }
    }
}

fn forecast(tree: &Node, requests: &[RequestView]) -> Forecast {
    let mut forecast = Forecast::default();
    for request in requests {
        let mut is_guess = false;
        choose(tree, request, 1.0, &mut forecast, &mut is_guess);
        forecast.undecided += usize::from(is_guess);
    }
    forecast
}

/// Where the requests did go first.
fn past(requests: &[RequestView]) -> Forecast {
    let mut past = Forecast::default();
    for attempt in requests.iter().filter_map(|request| request.attempts.first()) {
        past.add(attempt.deployment_id, 1.0);
    }
    past
}

fn table(board: Switchboard, tree: &Node, requests: &[RequestView]) -> AnyView {
    let (was, would) = (past(requests), forecast(tree, requests));
    let mut all: Vec<DeploymentId> = would.calls.iter().chain(&was.calls).map(|known| known.0).collect();
    let mut seen = Vec::new();
    all.retain(|id| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    });
    let count = number::as_f64(u64::try_from(requests.len()).unwrap_or(1).max(1));
    let rows = all.into_iter().map(|id| {
        let (before, after) = (was.of(id), would.of(id));
        view! {
            <tr>
                <th scope="row" class="truncate">{deployment_name(board, id)}</th>
                <td class="cell-number">{number::trimmed(before, 0)}</td>
                <td class="cell-number strong">{number::trimmed(after, 0)}</td>
                <td class="dry-bar"><Bar share={after / count} tone=Tone::Accent /></td>
            </tr>
        }
    });
    let undecided = (would.undecided > 0).then(|| {
        let count = number::plural(u64::try_from(would.undecided).unwrap_or(0), "request", "requests");
        format!(
            " {count} depend on headers or content that the log does not keep; they count as if those were not given."
        )
    });
    view! {
        <table class="table dry-run" data-testid="dry-run">
            <caption class="visually-hidden">"Where the last requests went first, and where they would go"</caption>
            <thead><tr><th scope="col">"First try"</th><th scope="col" class="cell-number">"Was"</th><th scope="col" class="cell-number">"Would be"</th><th><span class="visually-hidden">"Share"</span></th></tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table>
        <p class="faint small">{format!("Of the last {}. What depends on load, latency or price at the moment of a call counts as even.", number::plural(u64::try_from(requests.len()).unwrap_or(0), "request", "requests"))} {undecided}</p>
    }
    .into_any()
}

/// The table of a draft, for a name that has been called.
#[component]
pub(super) fn DryRun(board: Switchboard, model: String, #[prop(into)] tree: Signal<Node>) -> impl IntoView {
    let requests = use_query::<ListRequests>(move || {
        let query = RequestQuery { model: Some(model.clone()), limit: Some(LOOKED_AT), ..RequestQuery::default() };
        board.may(Permission::RequestsRead).then_some((WorkspacePath { workspace_id: board.workspace_id }, query))
    });
    let body = move || {
        let requests = requests.items().get();
        if requests.is_empty() {
            return view! { <p class="muted">"Nobody has called this name lately, so there is nothing to try it on."</p> }.into_any();
        }
        table(board, &tree.get(), &requests)
    };
    view! { <section class="stack-tight" aria-label="Dry run"><h3>"Dry run"</h3>{body}</section> }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, request};
    use domain::route::{Case, Share};

    fn leaf(n: u128) -> Node {
        Node::Deployment { deployment_id: DeploymentId::from_uuid(n) }
    }

    fn told(tree: &Node, requests: &[RequestView]) -> (Vec<(u128, f64)>, usize) {
        let forecast = forecast(tree, requests);
        let numbered = |id: DeploymentId| (1..9).find(|n| DeploymentId::from_uuid(*n) == id).unwrap_or(0);
        let rounded = |calls: f64| (calls * 1_000.0).round() / 1_000.0;
        (forecast.calls.iter().map(|(id, calls)| (numbered(*id), rounded(*calls))).collect(), forecast.undecided)
    }

    #[test]
    fn shares_follow_weights_and_percents() {
        let weighted =
            Node::Weighted { children: vec![Share { weight: 3, node: leaf(1) }, Share { weight: 1, node: leaf(2) }] };
        let tree = Node::Canary { percent: 20, canary: Box::new(leaf(3)), stable: Box::new(weighted) };
        let four = vec![request(10, vec![]); 5];
        assert_eq!(told(&tree, &four), (vec![(3, 1.0), (1, 3.0), (2, 1.0)], 0));
        assert_eq!(told(&Node::Ordered { children: vec![leaf(2), leaf(1)] }, &four), (vec![(2, 5.0)], 0));
        assert_eq!(
            told(&Node::LeastBusy { children: vec![leaf(2), leaf(1)] }, &four[..1]),
            (vec![(2, 0.5), (1, 0.5)], 0)
        );
    }

    #[test]
    fn cases_look_at_what_the_log_keeps_and_say_what_it_does_not() {
        let case = |test, n| Case { when: vec![test], node: leaf(n) };
        let tree = Node::Conditional {
            cases: vec![
                case(Test::Tag { is: vec!["eu*".into()] }, 1),
                case(Test::Header { name: "x-team".into(), is: vec!["a".into()] }, 2),
            ],
            otherwise: Box::new(leaf(3)),
        };
        let mut tagged = request(10, vec![]);
        tagged.tags = vec!["eu-west".to_owned()];
        assert_eq!(told(&tree, &[tagged, request(10, vec![])]), (vec![(1, 1.0), (3, 1.0)], 1));
    }

    #[test]
    fn the_past_is_where_requests_went_first() {
        let first = attempt(1, 0, 10, None);
        let id = first.deployment_id;
        let past = past(&[request(20, vec![first, attempt(2, 10, 10, None)]), request(20, vec![])]);
        assert_eq!(past.calls, [(id, 1.0)]);
    }

    #[test]
    fn a_night_goes_over_midnight() {
        assert!(is_within(30, 1_380, 60) && is_within(1_400, 1_380, 60) && !is_within(700, 1_380, 60));
    }
}
