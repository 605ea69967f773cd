//! Puts an answer's head together: status, content type and the `x-headgate-…` headers of the public contract.

use std::sync::Arc;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::usage::CacheOutcome;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use ingress::field::{header_value, number_value};
use ingress::surface::Surface;
use ingress::{Rejection, dropped};
use llm::dialect::gemini::embeddings as gemini_embeddings;
use llm::dialect::{Dialect, openai_embeddings};
use state::Answer;
use tokio::time::Instant;

use super::realtime::Opening;
use super::relay::keeper::Keeper;
use super::relay::stream::Start;
use super::relay::{ReplyBody, StreamRelay};
use super::settle::{Meter, micros};
use super::{again, rates};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-headgate-request-id");
const MODEL: HeaderName = HeaderName::from_static("x-headgate-model");
const PROVIDER: HeaderName = HeaderName::from_static("x-headgate-provider");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-headgate-attempts");
const CACHE: HeaderName = HeaderName::from_static("x-headgate-cache");
const COST: HeaderName = HeaderName::from_static("x-headgate-cost-usd");
const BUDGET: HeaderName = HeaderName::from_static("x-headgate-budget-remaining-usd");
const OVERHEAD: HeaderName = HeaderName::from_static("x-headgate-overhead-us");
const REVISION: HeaderName = HeaderName::from_static("x-headgate-policy-revision");
const DROPPED: HeaderName = HeaderName::from_static("x-headgate-dropped");
/// Where OpenAI's and Anthropic's SDKs look for the request id that they show with errors.
const OPENAI_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

const JSON: HeaderValue = HeaderValue::from_static(JSON_TYPE);
const EVENTS: HeaderValue = HeaderValue::from_static(EVENTS_TYPE);
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const ONE: HeaderValue = HeaderValue::from_static("1");
const OFF: HeaderValue = HeaderValue::from_static("off");
const MISS: HeaderValue = HeaderValue::from_static("miss");
const HIT: HeaderValue = HeaderValue::from_static("hit");

/// The media types of answers.
pub(crate) const JSON_TYPE: &str = "application/json";
pub(crate) const EVENTS_TYPE: &str = "text/event-stream; charset=utf-8";

/// The head of an answer of a provider's own API, as it is handed on.
pub(crate) struct Passed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// An answer that is ready to be handed over.
pub(crate) enum Reply {
    /// Made by Headgate itself; no upstream took part.
    Own(Bytes),
    /// A whole answer; its attempt is already billed.
    Whole(Bytes),
    /// Another call's answer.
    Again(Arc<Answer>),
    /// The same in another form than JSON.
    Media(Bytes, HeaderValue),
    /// A whole answer of a provider's own API.
    Passed(Box<Passed>, Bytes),
    /// A committed stream; its attempt is under way.
    Stream(Box<Start>),
    /// A realtime session, to which an upstream has agreed.
    Session(Box<Opening>),
}

impl Reply {
    /// A JSON body of Headgate's own.
    pub(crate) fn own(body: Bytes) -> Self {
        Self::Own(body)
    }

    /// Writes the answer of an operation as the surface has it.
    pub(crate) fn finish(self, surface: Surface) -> Result<Self, Rejection> {
        let (Surface::EmbedContent(batch), Self::Whole(body)) = (surface, &self) else { return Ok(self) };
        let answer = openai_embeddings::decode_answer(body).map_err(|_| {
            Rejection::new(GatewayCode::UpstreamError, "the upstream's vectors could not be read; try again shortly")
        })?;
        Ok(Self::Whole(gemini_embeddings::encode_answer(&answer, batch)))
    }

    /// Makes the response; the meter goes with the body.
    pub(crate) fn respond(self, mut meter: Box<Meter>) -> Response<ReplyBody> {
        let overhead = meter.answered(Instant::now());
        let mut headers = HeaderMap::with_capacity(12);
        stamp(&mut headers, &meter);
        headers.insert(OVERHEAD, number_value(micros(overhead)));
        let mut status = StatusCode::OK;
        let mut pass = |headers: &mut HeaderMap, passed: Passed| {
            status = passed.status;
            // Ours win: an upstream's request id would hide the one that finds the call here.
            for (name, value) in
                passed.headers.iter().filter(|(name, _)| !headers.contains_key(*name)).collect::<Vec<_>>()
            {
                headers.append(name.clone(), value.clone());
            }
        };
        let body = match self {
            Self::Session(opening) => return opening.respond(headers, meter),
            Self::Own(body) => {
                headers.insert(CONTENT_TYPE, JSON);
                ReplyBody::answer(body, meter)
            }
            Self::Whole(body) => {
                headers.insert(CONTENT_TYPE, JSON);
                headers.insert(COST, header_value(&meter.cost()));
                ReplyBody::answer(body, meter)
            }
            Self::Again(answer) => {
                insert_text(&mut headers, CONTENT_TYPE, &answer.head.content_type);
                headers.insert(COST, header_value(&meter.cost()));
                headers.insert(AGE, HeaderValue::from(again::age_s(&answer, &meter)));
                if answer.head.is_stream {
                    headers.insert(CACHE_CONTROL, NO_CACHE);
                    ReplyBody::events(answer.body.clone(), meter)
                } else {
                    ReplyBody::answer(answer.body.clone(), meter)
                }
            }
            Self::Media(body, kind) => {
                headers.insert(CONTENT_TYPE, kind);
                headers.insert(COST, header_value(&meter.cost()));
                ReplyBody::answer(body, meter)
            }
            Self::Passed(passed, body) => {
                headers.insert(COST, header_value(&meter.cost()));
                pass(&mut headers, *passed);
                ReplyBody::answer(body, meter)
            }
            Self::Stream(mut start) if start.passed.is_some() => {
                if let Some(passed) = start.passed.take() {
                    pass(&mut headers, *passed);
                }
                ReplyBody::stream(Box::new(StreamRelay::new(*start, meter)), None)
            }
            Self::Stream(mut start) => {
                let usual = if start.is_array { JSON } else { EVENTS };
                headers.insert(CONTENT_TYPE, start.kind.clone().unwrap_or(usual));
                headers.insert(CACHE_CONTROL, NO_CACHE);
                let keeper = start.memory.take().map(Keeper::new);
                ReplyBody::stream(Box::new(StreamRelay::new(*start, meter)), keeper)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Makes the response of a refusal and settles its call.
pub(crate) fn reject(rejection: &Rejection, dialect: Dialect, mut meter: Box<Meter>) -> Response<ReplyBody> {
    let mut response = rejection.respond(dialect, Some(meter.request_id)).map(ReplyBody::bytes);
    let headers = response.headers_mut();
    stamp(headers, &meter);
    if meter.n_attempts() > 0 {
        // What upstreams were asked for is paid for, whatever came of it.
        headers.insert(COST, header_value(&meter.cost()));
    }
    headers.insert(OVERHEAD, number_value(micros(meter.refused(Instant::now()))));
    meter.reject(rejection);
    response
}

/// Makes the response of a refusal that no call stands behind any more, or yet.
pub(crate) fn refuse_bare(rejection: &Rejection, dialect: Dialect, id: domain::RequestId) -> Response<ReplyBody> {
    let mut response = rejection.respond(dialect, Some(id)).map(ReplyBody::bytes);
    response.headers_mut().insert(REQUEST_ID, header_value(&id));
    response
}

fn stamp(headers: &mut HeaderMap, meter: &Meter) {
    let native = match meter.endpoint {
        domain::usage::Endpoint::Messages | domain::usage::Endpoint::CountTokens => ANTHROPIC_REQUEST_ID,
        _ => OPENAI_REQUEST_ID,
    };
    headers.insert(native, meter.id_text.clone());
    headers.insert(REQUEST_ID, meter.id_text.clone());
    if meter.caller.is_some() {
        headers.insert(REVISION, number_value(meter.policy_revision));
    }
    if let Some(standing) = meter.standing() {
        rates::stamp(headers, &standing);
    }
    let n_attempts = meter.n_attempts();
    if n_attempts > 0 {
        headers.insert(ATTEMPTS, if n_attempts == 1 { ONE } else { number_value(n_attempts as u64) });
    }
    if let Some(served) = &meter.served {
        insert_text(headers, MODEL, &served.upstream_model);
        insert_text(headers, PROVIDER, &served.provider);
        headers.insert(CACHE, OFF);
    }
    match meter.cache.outcome {
        CacheOutcome::Off => {}
        CacheOutcome::Miss => drop(headers.insert(CACHE, MISS)),
        CacheOutcome::Hit | CacheOutcome::Coalesced => drop(headers.insert(CACHE, HIT)),
    }
    if let Some(left) = meter.money.as_ref().and_then(|money| money.left()) {
        headers.insert(BUDGET, header_value(&left));
    }
    if !meter.dropped.is_empty() {
        insert_text(headers, DROPPED, &dropped::list(&meter.dropped));
    }
}

/// Inserts a value unless it holds what no header may hold.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
