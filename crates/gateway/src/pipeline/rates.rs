//! Rate limits of a call: which bind it, what it may use of them, and how a refusal is said.
//!
//! Not here: counting (`throttle`), and which limits there are (`policy::limits`). A call that no limit binds costs nothing here.

use domain::Timestamp;
use domain::code::GatewayCode;
use domain::rate_limit::Measure;
use domain::usage::TokenUsage;
use http::HeaderMap;
use http::header::HeaderValue;
use ingress::Rejection;
use ingress::field::number_value;
use policy::budgets::Spender;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::scan::Scan;
use provider::task::Task;
use provider::{Operation, estimate, pricing};
use throttle::{Ask, Left, Need, Pass, Refused, Standing, Use};

use super::Worker;
use super::budget::providers;
use super::reserve::{Hold, reserve};
use super::resolve::Wanted;
use super::settle::{CallerIds, Meter};

/// Output tokens that a call without a cap is guessed at.
const USUAL_OUTPUT: u64 = 500;

/// A call, as rate limits see it.
pub(crate) struct Counted<'a> {
    /// The model as the client asks for it, if that is known.
    pub(crate) model: Option<&'a str>,
    /// Who may answer.
    pub(crate) providers: &'a [&'a str],
    /// What it may use.
    pub(crate) need: Need,
}

/// A call of which nothing is known but that it is one.
pub(crate) const ONE: Need = {
    let one = Use { requests: 1, input_tokens: 0, output_tokens: 0, cost: 0 };
    Need { least: one, most: one, occupies: true }
};
/// A session: one of the calls at once. Its turns are counted.
pub(crate) const SESSION: Need = {
    let none = Use { requests: 0, input_tokens: 0, output_tokens: 0, cost: 0 };
    Need { least: none, most: none, occupies: true }
};
/// A turn of a session.
pub(crate) const TURN: Need = Need { occupies: false, ..ONE };

/// Holds a place for a call whose body is known.
pub(crate) async fn enter(
    worker: &Worker,
    organization: &OrganizationPolicy,
    wanted: &Wanted,
    meter: &Meter,
) -> Result<Hold, Rejection> {
    if organization.limits().is_empty() {
        return reserve(worker, organization, &Counted { model: None, providers: &[], need: ONE }, meter).await;
    }
    let models = || std::iter::once(&wanted.model).chain(&wanted.more);
    let targets = || models().flat_map(|model| &model.targets).map(|target| &*target.deployment);
    let answers_in_text = matches!(wanted.surface.operation(), Operation::Chat(_) | Operation::Task(Task::Compaction));
    let need = need(organization, targets(), &wanted.scan, answers_in_text, meter.started_at);
    let counted = Counted { model: Some(&meter.model), providers: &providers(targets()), need };
    reserve(worker, organization, &counted, meter).await
}

/// Lets a call through that all of its limits have room for; `None` when none binds it.
pub(crate) async fn admit(
    worker: &Worker,
    organization: &OrganizationPolicy,
    counted: &Counted<'_>,
    meter: &Meter,
) -> Result<Option<Pass>, Rejection> {
    let asks = asks_of(worker, organization, counted, meter);
    if asks.is_empty() {
        return Ok(None);
    }
    let (throttle, now_us) = (&worker.shared.throttle, worker.shared.moment_us());
    let passed = if throttle.is_in_common() {
        // On the heap: a call that nobody is asked about need not make room for it.
        Box::pin(throttle.admit_in_common(now_us, asks, &counted.need)).await
    } else {
        throttle.admit(now_us, asks, &counted.need)
    };
    passed.map(Some).map_err(|refused| refuse(&refused))
}

/// The same by this node's share alone, for those who cannot wait.
pub(crate) fn admit_now(
    worker: &Worker,
    organization: &OrganizationPolicy,
    counted: &Counted<'_>,
    meter: &Meter,
) -> Result<Option<Pass>, Rejection> {
    let asks = asks_of(worker, organization, counted, meter);
    let passed =
        (!asks.is_empty()).then(|| worker.shared.throttle.admit(worker.shared.moment_us(), asks, &counted.need));
    passed.transpose().map_err(|refused| refuse(&refused))
}

fn asks_of(worker: &Worker, organization: &OrganizationPolicy, counted: &Counted<'_>, meter: &Meter) -> Vec<Ask> {
    if organization.limits().is_empty() {
        return Vec::new();
    }
    let of = |caller: CallerIds| asks(worker, organization, &spender(&caller, counted, meter), counted.providers);
    meter.caller.map(of).unwrap_or_default()
}

fn spender<'a>(caller: &CallerIds, counted: &'a Counted<'_>, meter: &'a Meter) -> Spender<'a> {
    Spender {
        workspace: caller.workspace,
        environment: caller.environment,
        key: caller.key,
        end_user: meter.notes.end_user.as_deref(),
        metadata: &meter.notes.metadata,
        tags: &meter.notes.tags,
        model: counted.model,
        route: meter.route,
    }
}

fn asks(worker: &Worker, organization: &OrganizationPolicy, spender: &Spender<'_>, providers: &[&str]) -> Vec<Ask> {
    let bindings = organization.limits().of_call(spender, providers);
    let is_common = worker.shared.throttle.is_in_common() && !bindings.is_empty();
    let secret = if is_common { organization.cache_secret() } else { None };
    let ask = |binding: policy::limits::Binding<'_>| Ask {
        organization: organization.id,
        mark: secret.as_ref().and_then(|secret| state::key::mark(secret, binding.limit.id, &binding.group)),
        limit: binding.limit.id,
        name: binding.limit.name.clone(),
        rates: binding.limit.rates.clone(),
        group: binding.group,
        providers: binding.providers,
    };
    bindings.into_iter().map(ask).collect()
}

/// Lists the limits that bind a call, and how they stand.
pub(crate) async fn list(
    worker: &Worker,
    organization: &OrganizationPolicy,
    spender: &Spender<'_>,
    providers: &[&str],
) -> Vec<(Ask, Vec<Left>)> {
    let asks = asks(worker, organization, spender, providers);
    let lefts = worker.shared.throttle.list_in_common(worker.shared.moment_us(), &asks).await;
    asks.into_iter().zip(lefts).collect()
}

/// Guesses what a call uses that one of `targets` answers.
pub(crate) fn need<'a>(
    organization: &OrganizationPolicy,
    targets: impl Iterator<Item = &'a DeploymentPolicy>,
    scan: &Scan,
    answers_in_text: bool,
    at: Timestamp,
) -> Need {
    if organization.limits().is_empty() {
        return ONE;
    }
    let input = estimate::input_guess(scan);
    let asked = [scan.max_completion_tokens, scan.max_tokens, scan.max_output_tokens].into_iter().flatten().max();
    let n = scan.n.unwrap_or(1).max(1);
    let output = if answers_in_text { asked.unwrap_or(USUAL_OUTPUT).saturating_mul(n) } else { 0 };
    let usage = TokenUsage { input, output, ..TokenUsage::default() };
    let cost = targets.filter_map(|target| {
        let price = organization.price(target, at)?;
        u64::try_from(pricing::cost(usage, &price.rates, &price.long_context).total().as_nanos()).ok()
    });
    let least = Use { requests: 1, input_tokens: input, output_tokens: 0, cost: 0 };
    Need { least, most: Use { output_tokens: output, cost: cost.max().unwrap_or(0), ..least }, occupies: true }
}

fn refuse(refused: &Refused) -> Rejection {
    let Refused { rate, part, retry_after, .. } = refused;
    let mut rejection = Rejection::new(GatewayCode::RateLimited, refused.to_string()).with_retry_after(*retry_after);
    if retry_after.is_none() {
        // OpenAI's and Anthropic's SDKs would try again all the same.
        rejection = rejection.with_header("x-should-retry", HeaderValue::from_static("false"));
    }
    let reset = retry_after.unwrap_or_default();
    let left = Left { rate: *rate, part: *part, left: 0, reset };
    for (name, value) in headers_of(&left).into_iter().flatten() {
        rejection = rejection.with_header(name, value);
    }
    rejection
}

/// Writes how the limits of a call stand, as OpenAI's clients know it.
pub(crate) fn stamp(headers: &mut HeaderMap, standing: &Standing) {
    for left in [&standing.requests, &standing.tokens].into_iter().flatten() {
        for (name, value) in headers_of(left).into_iter().flatten() {
            headers.insert(name, value);
        }
    }
}

fn headers_of(left: &Left) -> Option<[(&'static str, HeaderValue); 3]> {
    let names = match left.rate.measure {
        Measure::Requests | Measure::Concurrent => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        Measure::Tokens | Measure::InputTokens | Measure::OutputTokens => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        Measure::Cost => return None,
    };
    let reset = HeaderValue::try_from(left.reset_text()).ok()?;
    let [limit, remaining, after] = names;
    Some([(limit, number_value(left.part)), (remaining, number_value(left.left)), (after, reset)])
}
