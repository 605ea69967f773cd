//! Token counts: asked of an upstream that counts, estimated for one that does not.
//!
//! A client asks in Anthropic's or Gemini's form, and so does whoever counts; the two need not be the same. Invariant: a
//! count costs nothing and is never a stream.

use bytes::Bytes;
use domain::usage::{TokenUsage, UnitUsage};
use llm::canonical::error::DecodeError;
use llm::canonical::loss::Loss;
use llm::canonical::request::ChatRequest;
use llm::dialect::gemini::{self, CountForm};
use llm::dialect::{Dialect, EncodedRequest, RequestOptions, anthropic_messages};

use super::{Call, LocalAnswer, Operation, Place, PrepareError, Relay, Spec, Speech, Surface};
use crate::estimate;
use crate::scan::Patch;

/// Writes the answer of a count in a client's form.
#[must_use]
pub fn encode_answer(client: Dialect, input_tokens: u64) -> Bytes {
    match client {
        Dialect::Gemini => gemini::encode_count_answer(input_tokens),
        _ => anthropic_messages::encode_count_answer(input_tokens),
    }
}

/// Reads the answer of a count in an upstream's form.
pub fn decode_answer(upstream: Dialect, body: &[u8]) -> Result<u64, DecodeError> {
    match upstream {
        Dialect::Gemini => gemini::decode_count_answer(body),
        _ => anthropic_messages::decode_count_answer(body),
    }
}

/// Reads what a client wants counted.
pub(super) fn decode_request(client: Dialect, body: &[u8]) -> Result<ChatRequest, DecodeError> {
    match client {
        Dialect::Gemini => gemini::decode_count_request(body),
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
    let request = call.decode(client, model)?;
    let EncodedRequest { body, losses: lost, .. } = match upstream {
        Dialect::Gemini => {
            let form = if spec.quirks.flat_count { CountForm::Flat } else { CountForm::Wrapped };
            gemini::encode_count_request(&request, options, form)?
        }
        _ => anthropic_messages::encode_count_request(&request, options)?,
    };
    losses.extend(lost);
    Ok((body, relay))
}

/// Answers a count with an estimate when the upstream does not count.
pub(super) fn estimated(spec: &Spec, call: &Call<'_>, speech: Speech) -> Option<Result<LocalAnswer, PrepareError>> {
    let Operation::CountTokens(client) = call.operation else { return None };
    if let Speech::Dialect(upstream) = speech
        && spec.place(Surface::CountTokens(upstream), false).is_some()
    {
        return None;
    }
    Some(Ok(answer(call, client, true)))
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
