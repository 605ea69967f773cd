//! Why the request went where it went: what its model name stood for, each target that was considered, and what became of it.
//!
//! The tries and the targets that were passed over are the ledger's; the others are those of the route as it is now, which is
//! said.

use api::NoQuery;
use api::ops::WorkspacePath;
use api::ops::deployments::{DeploymentView, ListDeployments};
use api::ops::routes::{GetRoute, RoutePath, RouteView};
use api::ops::usage::{AttemptView, RequestView};
use domain::usage::{AttemptOutcome, SkipReason};
use domain::{DeploymentId, NanoUsd, Permission};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Badge;
use ui::format::{money, time};

use super::Log;
use kit::api::{Query, use_query};
use kit::page::{Page, WorkspacePage};
use model::tree::{deployments_of, skip_words, tree_of};

/// What the explanation needs to know beside the request.
#[derive(Clone, Copy)]
pub(super) struct Known {
    log: Log,
    deployments: Query<domain::Page<DeploymentView>>,
    route: Query<RouteView>,
}

pub(super) fn use_known(log: Log, request: Signal<Option<RequestView>>) -> Known {
    let may = move || log.session.can_in(Permission::RoutingRead, log.workspace_id);
    let deployments = use_query::<ListDeployments>(move || {
        let page = api::ops::PageQuery { limit: Some(200), cursor: None };
        may().then_some((WorkspacePath { workspace_id: log.workspace_id }, page))
    });
    let route_id = Memo::new(move |_| request.get().and_then(|request| request.route_id));
    let route = use_query::<GetRoute>(move || {
        let path = RoutePath { workspace_id: log.workspace_id, route_id: route_id.get()? };
        may().then_some((path, NoQuery {}))
    });
    Known { log, deployments, route }
}

/// A target, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Considered {
    deployment_id: DeploymentId,
    /// The number of its try; none for one that was not tried.
    n: Option<u16>,
    tone: Tone,
    word: &'static str,
    why: String,
}

fn outcome_words(outcome: AttemptOutcome) -> (Tone, &'static str) {
    match outcome {
        AttemptOutcome::Success => (Tone::Ok, "Answered"),
        AttemptOutcome::Status => (Tone::Danger, "Error status"),
        AttemptOutcome::Connect => (Tone::Danger, "No connection"),
        AttemptOutcome::Timeout => (Tone::Danger, "Timed out"),
        AttemptOutcome::Broken => (Tone::Danger, "Broke off"),
        AttemptOutcome::Cancelled => (Tone::Neutral, "Cancelled"),
        AttemptOutcome::Unsendable => (Tone::Warn, "Not sendable"),
    }
}

fn tried(attempt: &AttemptView) -> Considered {
    let (tone, word) = outcome_words(attempt.outcome);
    let status = attempt.status.map(|status| format!("HTTP {status}"));
    let first = attempt.first_byte_us.map(|us| format!("first byte {}", time::micros(us)));
    let cost = (attempt.cost_usd != NanoUsd::ZERO).then(|| money::usd(attempt.cost_usd));
    let took = Some(time::micros(attempt.duration_us));
    let why = [status, first, took, cost].into_iter().flatten().collect::<Vec<_>>().join(" · ");
    Considered { deployment_id: attempt.deployment_id, n: Some(attempt.n), tone, word, why }
}

/// The tries in order, then targets that were passed over, then the route's others.
fn considered(request: &RequestView, targets: &[DeploymentId]) -> Vec<Considered> {
    let mut all: Vec<Considered> = request.attempts.iter().map(tried).collect();
    let was_answered = request.attempts.iter().any(|attempt| attempt.outcome == AttemptOutcome::Success);
    for skipped in request.routing.iter().flat_map(|routing| &routing.skipped) {
        if all.iter().any(|other| other.deployment_id == skipped.deployment_id) {
            continue;
        }
        let is_fault = matches!(
            skipped.reason,
            SkipReason::NoCredential | SkipReason::Ejected | SkipReason::RateLimited | SkipReason::CredentialFailed
        );
        all.push(Considered {
            deployment_id: skipped.deployment_id,
            n: None,
            tone: if is_fault { Tone::Warn } else { Tone::Neutral },
            word: "Skipped",
            why: skip_words(skipped.reason),
        });
    }
    for target in targets {
        if all.iter().any(|other| other.deployment_id == *target) {
            continue;
        }
        let why = if was_answered { "an earlier one answered" } else { "the call ended before its turn" };
        all.push(Considered {
            deployment_id: *target,
            n: None,
            tone: Tone::Neutral,
            word: "Not tried",
            why: why.to_owned(),
        });
    }
    all
}

fn sentence(request: &RequestView, route: Option<&RouteView>) -> String {
    let model = &request.model;
    match (request.route_id, request.deployment_id, request.attempts.is_empty()) {
        (Some(_), _, _) if route.is_some_and(|route| route.name.as_str() != model) => {
            format!(
                "“{model}” was the name of a route that is called “{}” now.",
                route.map_or("", |route| route.name.as_str())
            )
        }
        (Some(_), ..) => format!("“{model}” is a route; its targets are tried until one answers."),
        (None, None, true) => "The request was answered or refused before any target was considered.".to_owned(),
        (None, ..) => format!("“{model}” names one deployment, so there was nothing to choose."),
    }
}

fn line(known: Known, request: &RequestView, one: Considered) -> AnyView {
    let found = known.deployments.items().get().into_iter().find(|deployment| deployment.id == one.deployment_id);
    let attempt = request.attempts.iter().find(|attempt| Some(attempt.n) == one.n);
    let name = found.as_ref().map_or_else(
        || ui::format::id::short(&one.deployment_id.to_string()),
        |deployment| deployment.name.to_string(),
    );
    let detail = match (attempt, &found) {
        (Some(attempt), _) => format!("{} at {}", attempt.upstream_model, attempt.provider),
        (None, Some(deployment)) => format!("{} at {}", deployment.upstream_model, deployment.provider),
        (None, None) => String::new(),
    };
    let upstream_id = attempt.and_then(|attempt| attempt.upstream_request_id.clone());
    view! {
        <li class="attempt" class:attempt-idle=one.n.is_none()>
            <span class="attempt-n" aria-hidden="true">{one.n.map_or_else(|| "–".to_owned(), |n| n.to_string())}</span>
            <div class="stack-hair">
                <span class="row"><span class="strong">{name}</span> <Badge tone=one.tone text=one.word /></span>
                <span class="muted small number">{one.why}</span>
                <span class="faint small">{detail} {upstream_id.map(|id| view! { " · upstream id " <code>{id}</code> })}</span>
            </div>
        </li>
    }
    .into_any()
}

/// The explanation.
pub(super) fn explanation(known: Known, request: &RequestView) -> AnyView {
    let route = request.route_id.and_then(|_| known.route.data().get());
    let targets = route.as_ref().map(|route| deployments_of(&tree_of(route))).unwrap_or_default();
    let lines = considered(request, &targets).into_iter().map(|one| line(known, request, one)).collect_view();
    let href = known.log.nav.href(Page::Workspace(known.log.workspace_id, WorkspacePage::Routes));
    let now = route.is_some().then(|| view! { <p class="faint small">"Targets that were not tried are those of the " <a href=href>"route as it is now"</a> "."</p> });
    view! {
        <p class="muted">{sentence(request, route.as_ref())}</p>
        <ol class="attempts" data-testid="routing">{lines}</ol>
        {now}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, request};
    use api::ops::usage::{RoutingView, SkippedView};

    #[test]
    fn tries_come_first_and_the_rest_of_the_route_after() {
        let mut failed = attempt(1, 0, 400, None);
        failed.outcome = AttemptOutcome::Status;
        failed.status = Some(503);
        let (first, second, third) = (failed.deployment_id, DeploymentId::from_uuid(2), DeploymentId::from_uuid(3));
        let mut answered = attempt(2, 500, 900, Some(300));
        answered.deployment_id = second;
        let all = considered(&request(2_000, vec![failed, answered]), &[third, second, first]);
        let told: Vec<_> = all.iter().map(|one| (one.deployment_id, one.n, one.word)).collect();
        assert_eq!(told, [(first, Some(1), "Error status"), (second, Some(2), "Answered"), (third, None, "Not tried")]);
        assert_eq!(all[0].why, "HTTP 503 · 400 µs");
        assert_eq!(all[2].why, "an earlier one answered");
    }

    #[test]
    fn a_target_that_was_passed_over_says_why() {
        let (first, second) = (attempt(1, 0, 400, None), DeploymentId::from_uuid(9));
        let mut request = request(2_000, vec![first.clone()]);
        let skip = |deployment_id, reason| SkippedView { deployment_id, reason };
        let skipped = vec![skip(second, SkipReason::Ejected), skip(first.deployment_id, SkipReason::Warming)];
        request.routing = Some(RoutingView { received_us: 10, dispatched_us: 90, skipped, continued: 0 });
        let all = considered(&request, &[second, first.deployment_id]);
        let told: Vec<_> = all.iter().map(|one| (one.deployment_id, one.word, one.tone)).collect();
        assert_eq!(told, [(first.deployment_id, "Answered", Tone::Ok), (second, "Skipped", Tone::Warn)]);
        assert_eq!(all[1].why, "it had failed repeatedly of late");
    }

    #[test]
    fn a_refused_request_considered_nothing() {
        assert!(considered(&request(100, Vec::new()), &[]).is_empty());
    }
}
