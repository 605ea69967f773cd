//! The usual way from a client call to an upstream request; providers override what differs.
//!
//! Knows dialects and headers, no vendor. Invariant: with equal dialects the client's bytes are sent, with at most the model
//! and the wish for usage spliced in.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};

use domain::usage::TokenUsage;

use super::{Call, LocalAnswer, Operation, PrepareError, Prepared, Relay, Spec, Target};
use crate::catalog::{Capability, Model};
use crate::estimate;
use crate::scan::Patch;
use llm::dialect::{Dialect, ReasoningStyle, RequestOptions, SchemaStyle};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));
/// Cap sent to Anthropic for a model whose maximum we do not know; every model since 2024 takes it.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// Builds the request of one attempt.
pub(super) fn prepare(
    spec: &'static Spec,
    call: &Call<'_>,
    target: &Target<'_>,
    options: impl FnOnce() -> RequestOptions,
) -> Result<Prepared, PrepareError> {
    let what = match call.operation {
        Operation::Chat(_) => "chat",
        Operation::CountTokens => "token counts",
        Operation::Embeddings => "embeddings",
    };
    let uri = target.base.uri(call.operation).ok_or(PrepareError::Unsupported { provider: spec.title, what })?;
    let mut patch = Patch::default();
    let mut losses = Vec::new();
    let (body, relay) = match call.operation {
        Operation::Chat(dialect) if spec.dialects.contains(&dialect) => {
            call.scan.set_model(&mut patch, target.upstream_model);
            let asks = dialect == Dialect::OpenAiChat && spec.quirks.stream_options && call.scan.is_stream();
            if asks {
                call.scan.set_include_usage(&mut patch);
            }
            let withhold_usage = asks && !call.scan.wants_usage();
            (patch.apply(call.body), Relay::Untouched { dialect, withhold_usage })
        }
        Operation::Chat(dialect) => {
            let upstream = spec.dialects.first().copied().unwrap_or(dialect);
            let mut request = dialect.decode_request(call.body)?;
            target.upstream_model.clone_into(&mut request.model);
            let encoded = upstream.encode_request(&request, &options())?;
            losses = encoded.losses;
            (encoded.body, Relay::Translated { dialect: upstream, undo: encoded.undo })
        }
        Operation::CountTokens => {
            call.scan.set_model(&mut patch, target.upstream_model);
            (patch.apply(call.body), Relay::Count)
        }
        Operation::Embeddings => {
            call.scan.set_model(&mut patch, target.upstream_model);
            (patch.apply(call.body), Relay::Embeddings)
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers(spec, call);
    Ok(Prepared { request, relay, losses })
}

fn headers(spec: &Spec, call: &Call<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, JSON);
    let is_stream = matches!(call.operation, Operation::Chat(_)) && call.scan.is_stream();
    headers.insert(ACCEPT, if is_stream { EVENTS } else { JSON });
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in spec.defaults {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for name in spec.forwarded {
        if let Some(value) = call.headers.get(*name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    headers
}

/// What a translation must know of a model, from the provider's quirks and the catalog. An unknown model gets what current
/// models of its dialect take.
pub(super) fn request_options(spec: &Spec, upstream_model: &str, model: Option<&Model>) -> RequestOptions {
    let can = |capability| model.is_none_or(|model| model.can(capability));
    // The third generation and earlier had neither schemas nor thinking; their names still reach compatible servers.
    let is_old = ["claude-3", "claude-2", "claude-instant"].iter().any(|prefix| upstream_model.starts_with(prefix));
    let reasoning = if is_old || !can(Capability::Reasoning) {
        ReasoningStyle::Unsupported
    } else if model.is_some_and(|model| !model.can(Capability::AdaptiveThinking)) {
        ReasoningStyle::Budget
    } else {
        ReasoningStyle::Effort
    };
    let is_native_schema = !is_old && can(Capability::JsonSchema);
    RequestOptions {
        default_max_tokens: model.and_then(|model| model.max_output_tokens).unwrap_or(DEFAULT_MAX_TOKENS),
        max_tokens_field: spec.quirks.max_tokens,
        json_schema: if is_native_schema { SchemaStyle::Native } else { SchemaStyle::ForcedTool },
        reasoning,
        replay_reasoning: spec.quirks.replay_reasoning,
        cache_control: false,
        developer_role: spec.quirks.developer_role,
        stream_options: spec.quirks.stream_options,
        sampling: can(Capability::Sampling),
    }
}

/// Answers a token count with an estimate when the upstream does not count.
pub(super) fn estimated_count(spec: &Spec, call: &Call<'_>) -> Option<Result<LocalAnswer, PrepareError>> {
    if call.operation != Operation::CountTokens || spec.count_path.is_some() {
        return None;
    }
    let tokens = estimate::input_guess(call.scan);
    Some(Ok(LocalAnswer {
        content_type: "application/json",
        chunks: vec![Bytes::from(format!("{{\"input_tokens\":{tokens}}}"))],
        usage: TokenUsage::default(),
        is_estimated: true,
    }))
}
