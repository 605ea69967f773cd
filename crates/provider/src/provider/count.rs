//! Token counts: asked of an upstream that counts, estimated for one that does not.
//!
//! A client asks in Anthropic's, Gemini's or OpenAI's form, and so does whoever counts; the two need not be the same. Invariant: a
//! count costs nothing and is never a stream.

use bytes::Bytes;
use domain::usage::{TokenUsage, UnitUsage};
use llm::canonical::error::DecodeError;
use llm::canonical::loss::Loss;
use llm::canonical::request::ChatRequest;
use llm::codec::json;
use llm::dialect::gemini::{self, CountForm};
use llm::dialect::{Dialect, EncodedRequest, RequestOptions, Speak as _, anthropic_messages, openai_responses};

use super::{Call, LocalAnswer, Operation, Place, PrepareError, Provider, Relay, Spec, Speech, Stamp, Surface, rules};
use crate::estimate;
use crate::failure::FailureKind;
use crate::scan::Patch;

/// Writes the answer of a count in a client's form.
#[must_use]
pub fn encode_answer(client: Dialect, input_tokens: u64) -> Bytes {
    match client {
        Dialect::Gemini => gemini::encode_count_answer(input_tokens),
        Dialect::OpenAiResponses => Bytes::from(
            serde_json::json!({"object": "response.input_tokens", "input_tokens": input_tokens}).to_string(),
        ),
        _ => anthropic_messages::encode_count_answer(input_tokens),
    }
}

/// Reads the answer of a count in an upstream's form.
pub fn decode_answer(upstream: Dialect, body: &[u8]) -> Result<u64, DecodeError> {
    match upstream {
        Dialect::Gemini => gemini::decode_count_answer(body),
        // Amazon names the number in its own way, whatever is counted.
        _ if rules::has_key(body, "inputTokens") => json::root(body)?.object()?.get("inputTokens")?.u64(),
        // Anthropic's and OpenAI's have the same name for it.
        _ => anthropic_messages::decode_count_answer(body),
    }
}

/// Turns the answer of a count into a client's form. One that is in it already goes on as it came.
pub fn relay_answer(upstream: Dialect, client: Dialect, body: Bytes) -> Result<Bytes, DecodeError> {
    let input_tokens = decode_answer(upstream, &body)?;
    let is_theirs = upstream == client && !rules::has_key(&body, "inputTokens");
    Ok(if is_theirs { body } else { encode_answer(client, input_tokens) })
}

/// Returns an estimate in place of a count that was refused, where that may only mean that the model is not counted there.
#[must_use]
pub fn in_place_of(provider: &dyn Provider, call: &Call<'_>, refused: Option<FailureKind>) -> Option<LocalAnswer> {
    use FailureKind::{Forbidden, InvalidRequest, NotFound};
    let Operation::CountTokens(client) = call.operation else { return None };
    let is_refused = matches!(refused, Some(InvalidRequest | NotFound | Forbidden));
    (is_refused && provider.may_not_count()).then(|| answer(call, client, true))
}

/// Reads what a client wants counted.
pub(super) fn decode_request(client: Dialect, body: &[u8]) -> Result<ChatRequest, DecodeError> {
    match client {
        Dialect::Gemini => gemini::decode_count_request(body),
        Dialect::OpenAiResponses => client.decode_request(body),
        _ => anthropic_messages::decode_count_request(body),
    }
}

/// Makes the body of a count for an upstream that counts in the form of `upstream`.
pub(super) fn body(
    spec: &Spec,
    call: &Call<'_>,
    model: &str,
    place: &Place,
    (client, upstream): (Dialect, Dialect),
    options: &RequestOptions,
    losses: &mut Vec<Loss>,
) -> Result<(Bytes, Relay), PrepareError> {
    let relay = Relay::Count { dialect: upstream };
    let is_brought = call.inlined.is_some_and(|inlined| !inlined.is_empty());
    // Gemini's bodies say what they count in two ways, and not every upstream of it takes both.
    if client == upstream && upstream != Dialect::Gemini && !is_brought {
        let mut patch = Patch::default();
        if !place.has_model() {
            call.scan.set_model(&mut patch, model);
        }
        return Ok((patch.apply(call.body), relay));
    }
    let mut request = call.decode(client, model)?;
    if client == Dialect::OpenAiResponses {
        losses.extend(openai_responses::as_functions(&mut request));
    }
    let EncodedRequest { body, losses: lost, .. } = match upstream {
        Dialect::Gemini => {
            let form = if spec.quirks.flat_count { CountForm::Flat } else { CountForm::Wrapped };
            gemini::encode_count_request(&request, options, form)?
        }
        Dialect::OpenAiResponses => upstream.encode_request(&request, options)?,
        _ => anthropic_messages::encode_count_request(&request, options)?,
    };
    losses.extend(lost);
    Ok((body, relay))
}

/// Says in which language a model's tokens are counted where it is usually spoken to in this one: OpenAI counts on Responses alone.
pub(super) fn speech(spec: &Spec, usual: Speech) -> Speech {
    let counts = |dialect| spec.place(Surface::CountTokens(dialect), false).is_some();
    match usual {
        Speech::Dialect(Dialect::OpenAiChat | Dialect::OpenAiCompletions) if counts(Dialect::OpenAiResponses) => {
            Speech::Dialect(Dialect::OpenAiResponses)
        }
        usual => usual,
    }
}

/// Answers a count with an estimate when the upstream does not count.
pub(super) fn estimated(
    spec: &Spec,
    call: &Call<'_>,
    usual: Speech,
    stamp: &Stamp<'_>,
) -> Option<Result<LocalAnswer, PrepareError>> {
    let Operation::CountTokens(client) = call.operation else { return None };
    if let Speech::Dialect(upstream) = speech(spec, usual)
        && spec.place(Surface::CountTokens(upstream), false).is_some()
        && (upstream != Dialect::OpenAiResponses || is_at_home(spec, stamp))
    {
        return None;
    }
    Some(Ok(answer(call, client, true)))
}

/// Says whether the upstream is the vendor itself. Servers that are like OpenAI's seldom count.
fn is_at_home(spec: &Spec, stamp: &Stamp<'_>) -> bool {
    let plain = |url: &'_ str| url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
    spec.base_url.and_then(plain) == stamp.base_url.and_then(plain)
}

/// Makes the answer of a count that is known here.
pub(super) fn answer(call: &Call<'_>, client: Dialect, is_estimated: bool) -> LocalAnswer {
    LocalAnswer {
        content_type: "application/json",
        chunks: vec![encode_answer(client, estimate::input_guess(call.scan))],
        usage: TokenUsage::default(),
        units: UnitUsage::default(),
        is_estimated,
    }
}
