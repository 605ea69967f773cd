//! `x-headgate-rehearse`: makes named targets of one call fail, so that a team can see its own fallback work.
//!
//! `name=429, other=500`: the public name of a deployment, and `429`, `500`, `timeout` or `cut`. A stream is cut after its first
//! words, which takes a real one; a whole answer before it comes, and to a target that rehearses anything else nothing is sent.
//! Nothing is held against it. Only where the route allows it.

use domain::Timestamp;
use domain::usage::AttemptOutcome;
use http::{HeaderMap, HeaderName};
use ingress::Rejection;
use ingress::choice::refuse;
use policy::snapshot::{DeploymentPolicy, ModelPolicy};
use provider::failure::{Failure, FailureKind, classify};

use super::{Context, Failed};
use crate::pipeline::settle::Meter;

const REHEARSE: HeaderName = HeaderName::from_static("x-headgate-rehearse");

/// Reads the header, if the model's route allows it and it makes sense.
pub(super) fn read<'a>(headers: &'a HeaderMap, model: &ModelPolicy) -> Result<Option<&'a str>, Rejection> {
    let Some(value) = headers.get(REHEARSE) else { return Ok(None) };
    if !model.rules.is_rehearsal_allowed {
        return Err(refuse(
            "x-headgate-rehearse",
            "the route of this model does not allow rehearsals; an administrator can allow them in its rules",
        ));
    }
    let text = value.to_str().unwrap_or_default();
    let names_a_failure = |part: &str| {
        let failure = part.split_once('=').map(|(_, failure)| failure.trim());
        matches!(failure, Some("429" | "500" | "timeout" | "cut"))
    };
    if text.split(',').all(names_a_failure) {
        return Ok(Some(text));
    }
    Err(refuse(
        "x-headgate-rehearse",
        "say which model fails and how: `name=429`, `500`, `timeout` or `cut`, with commas between",
    ))
}

fn wanted<'a>(rehearsal: Option<&'a str>, deployment: &DeploymentPolicy) -> Option<&'a str> {
    let named = rehearsal?.split(',').filter_map(|part| part.split_once('='));
    let mut named = named.map(|(name, how)| (name.trim(), how.trim()));
    named.find(|(name, _)| *name == deployment.name).map(|(_, how)| how)
}

/// Says whether a target's stream is to be cut.
pub(super) fn cuts(context: &Context<'_>, deployment: &DeploymentPolicy) -> bool {
    wanted(context.rehearsal, deployment) == Some("cut")
}

/// Returns the failure that a target rehearses in place of an answer.
pub(super) fn failure(context: &Context<'_>, deployment: &DeploymentPolicy, meter: &mut Meter) -> Option<Box<Failed>> {
    let how = wanted(context.rehearsal, deployment).filter(|how| *how != "cut" || !meter.is_stream)?;
    Some(fail(how, meter))
}

/// Returns the failure that a target rehearses in place of opening a session; a cut comes then, too.
pub(super) fn failure_to_open(
    rehearsal: Option<&str>,
    deployment: &DeploymentPolicy,
    meter: &mut Meter,
) -> Option<Box<Failed>> {
    wanted(rehearsal, deployment).map(|how| fail(how, meter))
}

fn fail(how: &str, meter: &mut Meter) -> Box<Failed> {
    let (failure, outcome) = play(how, meter.started_at);
    if let Some(record) = meter.current_attempt() {
        record.status = failure.status;
    }
    let mut failed = Failed::upstream(failure, outcome);
    failed.is_rehearsed = true;
    failed
}

fn play(how: &str, now: Timestamp) -> (Failure, AttemptOutcome) {
    match how {
        "429" => (classify(429, &HeaderMap::new(), b"", now), AttemptOutcome::Status),
        "500" => (classify(500, &HeaderMap::new(), b"", now), AttemptOutcome::Status),
        "timeout" => (Failure::transport(FailureKind::Timeout), AttemptOutcome::Timeout),
        _ => (Failure::transport(FailureKind::Broken), AttemptOutcome::Broken),
    }
}
