//! Answers that are given again: looked up before a call is dispatched, kept after it, shared by identical calls under way.
//!
//! Only calls whose route has a cache rule come here; others never allocate or look for it. Not here: where answers are kept
//! (`state`). Invariants: a key has every part that can make another answer right (`key`); nothing is kept that was not whole
//! (`recorder`); what is given again costs nothing and says so.

mod key;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use domain::code::GatewayCode;
use domain::usage::{CacheOutcome, CacheUse};
use http::request::Parts;
use ingress::Rejection;
use ingress::admit::Head;
use ingress::surface::Surface;
use ingress::wish::Terms;
use llm::dialect::Dialect;
use policy::Caller;
use policy::cache::CachePolicy;
use provider::scan;
use state::flights::{End, Lead, Part};
use state::{Answer, BoxFuture, CacheKey};
use tokio::time::Instant;

pub(crate) use self::recorder::Recorder;
use super::reply::{self, Reply};
use super::resolve::Wanted;
use super::settle::{Meter, Served};
use super::{Worker, dispatch, finish};

/// Makes a target fail on purpose, which no answer may remember.
const REHEARSE: &str = "x-headgate-rehearse";

/// One call.
struct Call<'a> {
    worker: &'a Arc<Worker>,
    caller: &'a Caller<'a>,
    head: &'a Head<'a>,
    parts: &'a Parts,
    wanted: &'a Wanted,
}

impl Call<'_> {
    /// Has it answered by an upstream.
    async fn dispatch(&self, meter: &mut Meter) -> Result<Reply, Rejection> {
        let Self { worker, caller, head, parts, wanted } = self;
        let reply = dispatch::dispatch(worker, caller.organization, head, &parts.headers, wanted, meter).await?;
        finish(wanted, reply, meter)
    }
}

/// Serves a call whose route has a cache rule, or that asks for nothing but an answer given again. Boxed, so that other calls
/// make no room for it.
pub(crate) fn boxed<'a>(
    worker: &'a Arc<Worker>,
    caller: &'a Caller<'a>,
    head: &'a Head<'a>,
    parts: &'a Parts,
    wanted: &'a Wanted,
    meter: &'a mut Meter,
) -> BoxFuture<'a, Result<Reply, Rejection>> {
    Box::pin(serve(Call { worker, caller, head, parts, wanted }, meter))
}

async fn serve(call: Call<'_>, meter: &mut Meter) -> Result<Reply, Rejection> {
    let Call { worker, head, wanted, .. } = call;
    let is_only = meter.notes.cache.is_only();
    let Some((terms, key, rule)) = find_terms(&call, meter) else {
        if is_only {
            return Err(refuse_miss("this call can have none: its route keeps no answers, or none of this kind"));
        }
        return call.dispatch(meter).await;
    };
    meter.cache = CacheUse { outcome: CacheOutcome::Miss, ..CacheUse::default() };
    if terms.looks
        && let Some(answer) = look(worker, &key, &terms, meter).await
    {
        return Ok(give(answer, CacheOutcome::Hit, meter));
    }
    if terms.is_only {
        return Err(refuse_miss("there is none, or it is too old; send the call without x-headgate-cache: only"));
    }
    let lead = if rule.rule.coalesce && terms.looks && !meter.is_stream {
        match join(worker, &key, wanted, head, meter).await? {
            Joined::Answer(answer) => return Ok(give(answer, CacheOutcome::Coalesced, meter)),
            Joined::Lead(lead) => Some(lead),
            Joined::Alone => None,
        }
    } else {
        None
    };
    let answered = call.dispatch(meter).await;
    record(worker, key, &terms, lead, answered, meter)
}

/// Works out whether and how the call takes part; `None` for not at all.
fn find_terms<'a>(call: &Call<'a>, meter: &Meter) -> Option<(Terms, CacheKey, &'a CachePolicy)> {
    let Call { caller, head, parts, wanted, .. } = call;
    let rule = wanted.model.rules.cache.as_deref()?;
    let terms = meter.notes.cache.under(rule.rule, &parts.headers)?;
    if head.is_debug || parts.headers.contains_key(REHEARSE) || !is_repeatable(wanted) {
        return None;
    }
    let key = key::make(caller, rule, &parts.uri, &parts.headers, wanted, meter)?;
    Some((terms, key, rule))
}

/// Says whether an answer to this body may stand for another: it leaves nothing behind at a provider and continues nothing, and
/// its one choice is the whole of it.
fn is_repeatable(wanted: &Wanted) -> bool {
    // What a request asks of the choice of targets has been taken out of the body, which is what makes the key.
    if wanted.choice.is_some() || !wanted.more.is_empty() {
        return false;
    }
    if matches!(wanted.surface, Surface::GenerateContent { .. }) {
        // The reason to stop that is known is that of the first candidate.
        let names = [&b"andidateCount"[..], b"andidate_count"];
        return names.iter().all(|name| memchr::memmem::find(&wanted.body, name).is_none());
    }
    if !matches!(wanted.surface, Surface::Chat(_) | Surface::Embeddings | Surface::EmbedContent(_)) {
        return false;
    }
    let is_responses = wanted.surface == Surface::Chat(Dialect::OpenAiResponses);
    let (mut is_stateless, mut is_plain) = (!is_responses, true);
    let read = scan::visit_fields(&wanted.body, |name, span| {
        let value = span.of(&wanted.body);
        match name {
            "store" if value == b"false" => is_stateless = true,
            "store" => is_plain &= value == b"null" && !is_responses,
            "n" | "best_of" => is_plain &= matches!(value, b"1" | b"null"),
            "background" => is_plain &= matches!(value, b"false" | b"null"),
            "previous_response_id" | "conversation" | "prompt" if is_responses => is_plain &= value == b"null",
            "container" => is_plain &= value == b"null",
            _ => {}
        }
    });
    read.is_ok() && is_stateless && is_plain
}

async fn look(worker: &Worker, key: &CacheKey, terms: &Terms, meter: &Meter) -> Option<Arc<Answer>> {
    let now = meter.started_at;
    let answer = worker.shared.ephemeral.cache.find(key, now).await?;
    let is_young = terms.max_age.is_none_or(|max_age| answer.age(now) < max_age);
    (is_young && answer.head.is_stream == meter.is_stream).then_some(answer)
}

/// Gives an answer again.
fn give(answer: Arc<Answer>, outcome: CacheOutcome, meter: &mut Meter) -> Reply {
    let head = &answer.head;
    meter.cache = CacheUse {
        outcome,
        saved_input: head.usage.total_input(),
        saved_output: head.usage.output,
        saved_cost: head.cost,
    };
    meter.finish = head.finish_reason.as_deref().and_then(recorder::find_reason);
    meter.served = Some(Served {
        deployment: head.deployment_id,
        provider: head.provider.clone(),
        upstream_model: head.upstream_model.clone(),
    });
    meter.dropped.extend_from_slice(&head.dropped);
    Reply::Again(answer)
}

/// Keeps what was answered, if it may be, and tells those who wait for it.
fn record(
    worker: &Worker,
    key: CacheKey,
    terms: &Terms,
    lead: Option<Lead>,
    answered: Result<Reply, Rejection>,
    meter: &Meter,
) -> Result<Reply, Rejection> {
    let mut reply = match answered {
        Ok(reply) => reply,
        Err(rejection) => {
            lead.into_iter().for_each(Lead::fail);
            return Err(rejection);
        }
    };
    match (&mut reply, terms.keeps_for) {
        (Reply::Whole(body), keeps_for) if keeps_for.is_some() || lead.is_some() => {
            let bill = meter.attempts.last().map(|attempt| (attempt.usage, attempt.cost)).unwrap_or_default();
            let found = recorder::Found {
                body: body.clone(),
                is_stream: false,
                content_type: reply::JSON_TYPE,
                usage: bill.0,
                cost: bill.1,
                keeps_for: keeps_for.unwrap_or(Duration::ZERO),
            };
            match (recorder::make(&found, meter), lead) {
                (Some(answer), lead) => {
                    if keeps_for.is_some() {
                        recorder::keep(worker, &key, &answer);
                    }
                    if let Some(lead) = lead {
                        lead.land(answer);
                    }
                }
                (None, lead) => lead.into_iter().for_each(Lead::fail),
            }
        }
        (Reply::Stream(start), Some(keeps_for)) => {
            let content_type = if start.is_array { reply::JSON_TYPE } else { reply::EVENTS_TYPE };
            start.recorder = Some(Recorder::new(key, keeps_for, content_type));
        }
        _ => lead.into_iter().for_each(Lead::fail),
    }
    Ok(reply)
}

// === Identical calls under way ===

enum Joined {
    Answer(Arc<Answer>),
    Lead(Lead),
    Alone,
}

/// Joins an identical call that is under way and waits for it, or leads.
async fn join(
    worker: &Worker,
    key: &CacheKey,
    wanted: &Wanted,
    head: &Head<'_>,
    meter: &mut Meter,
) -> Result<Joined, Rejection> {
    let allowed = Duration::from_millis(u64::from(wanted.model.timeouts.total_ms));
    let until = meter.started + head.timeout.map_or(allowed, |asked| asked.min(allowed));
    loop {
        let follow = match worker.shared.flights.join(key) {
            Part::Lead(lead) => return Ok(Joined::Lead(lead)),
            Part::Follow(follow) => follow,
        };
        let waiting_since = Instant::now();
        let ended = tokio::time::timeout_at(until, follow.wait()).await;
        meter.waited += waiting_since.elapsed();
        match ended {
            Ok(End::Landed(answer)) => return Ok(Joined::Answer(answer)),
            Ok(End::Failed) => return Ok(Joined::Alone),
            Ok(End::Abandoned) => {}
            Err(_) => {
                return Err(Rejection::new(
                    GatewayCode::UpstreamTimeout,
                    "an identical call that this one waited for was not answered in time; try again",
                ));
            }
        }
    }
}

fn refuse_miss(why: &str) -> Rejection {
    Rejection::new(GatewayCode::CacheMiss, format!("only an answer given again was wanted, and {why}"))
}

/// Says whether a header asks for something here; for calls whose route has no rule.
pub(crate) fn is_wanted(wanted: &Wanted, meter: &Meter) -> bool {
    wanted.model.rules.cache.is_some() || meter.notes.cache.is_only()
}

/// The `age` header of an answer, in whole seconds.
pub(crate) fn age_s(answer: &Answer, meter: &Meter) -> u64 {
    answer.age(meter.started_at).as_secs()
}
