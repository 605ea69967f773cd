//! The usual way from a client call to an upstream request; providers override what differs.
//!
//! Knows dialects and headers, no vendor. Invariant: with equal dialects the client's bytes are sent, with at most the model
//! and the wish for usage spliced in and the provider's rules applied.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use memchr::memmem;

use super::rules::Rule;
use super::{
    Call, Operation, Place, PrepareError, Prepared, Relay, Spec, Speech, Surface, Target, WIRE_DIALECT, count, rules,
};
use crate::catalog::{self, Capability, ModelFacts};
use crate::scan::{Patch, Proofs};
use llm::canonical::content::{Content, Role};
use llm::canonical::error::EncodeError;
use llm::canonical::loss::Loss;
use llm::canonical::request::ChatRequest;
use llm::dialect::{Dialect, ReasoningStyle, RequestOptions, SchemaStyle, Speak as _, Undo, openai_responses};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));
/// Cap sent to Anthropic for a model whose maximum we do not know; every model since 2024 takes it.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// What an older version of an upstream does not know.
const TOO_OLD: &[Rule] = &[Rule::drop("stream_options", "this version of the upstream does not know it")];

/// Builds the request of one attempt. `speech` is the upstream's language, for chat.
pub(super) fn prepare(
    spec: &'static Spec,
    call: &Call<'_>,
    target: &Target<'_>,
    speech: Option<Speech>,
    options: impl FnOnce() -> RequestOptions,
) -> Result<Prepared, PrepareError> {
    let (surface, what) = match (call.operation, speech) {
        (Operation::Chat(_), Some(Speech::Dialect(dialect))) => (Surface::Chat(dialect), "chat"),
        (Operation::Chat(_), _) => (Surface::Wire, "chat"),
        (Operation::CountTokens(_), Some(Speech::Dialect(dialect))) => (Surface::CountTokens(dialect), "token counts"),
        (Operation::CountTokens(client), _) => (Surface::CountTokens(client), "token counts"),
        (Operation::Embeddings, _) => (Surface::Embeddings, "embeddings"),
        // Has a form, and has left before.
        (Operation::Task(task), _) => (Surface::Task(task), task.what()),
    };
    let model = target.upstream_model;
    let is_stream = matches!(call.operation, Operation::Chat(_)) && call.scan.is_stream();
    let found = target.base.uri(surface, model, is_stream).map_err(|error| {
        PrepareError::Encode(EncodeError { path: "model".into(), reason: error.to_string().into() })
    })?;
    let place = spec.place(surface, target.base.is_dated());
    let (Some(uri), Some(place)) = (found, place) else {
        return Err(PrepareError::Unsupported { provider: spec.title, what });
    };
    let takes_options = takes_stream_options(spec, target);
    let options = || {
        let options = options();
        RequestOptions { stream_options: options.stream_options && takes_options, ..options }
    };
    let mut losses = Vec::new();
    // With what was read of the body when it is sent as it came, so that nobody has to search it again.
    let (body, relay, known) = match (call.operation, speech) {
        (Operation::Chat(client), Some(Speech::Dialect(upstream))) if client == upstream => {
            match anew(spec, call, target, client, options, &mut losses) {
                Some(body) => (body, relay_untouched(spec, call, target, client), None),
                None => (
                    as_sent(spec, call, target, place, client),
                    relay_untouched(spec, call, target, client),
                    Some(call),
                ),
            }
        }
        (Operation::Chat(client), Some(speech)) => {
            let (body, relay) = translated(call, model, client, speech, &options(), &mut losses)?;
            (body, relay, None)
        }
        (Operation::CountTokens(client), Some(Speech::Dialect(upstream))) => {
            let (body, relay) = count::body(spec, call, model, place, (client, upstream), &options(), &mut losses)?;
            (body, relay, None)
        }
        (Operation::Chat(_) | Operation::CountTokens(_) | Operation::Embeddings | Operation::Task(_), _) => {
            (with_model(call, model, place), Relay::Embeddings, Some(call))
        }
    };
    let subject = target.subject(spec.name);
    let mut body = rules::apply(body, known, spec.quirks.rules, subject, place, &mut losses);
    if spec.quirks.stream_options && !takes_options {
        body = rules::apply(body, known, TOO_OLD, subject, place, &mut losses);
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(spec, call, is_stream);
    Ok(Prepared { request, relay, losses })
}

/// Says in which language a call is made where the usual one cannot say all of it: reasoning models behind clients of another vendor
/// go to Responses, for Chat Completions give no reasoning, take none back, and refuse some of it beside tools. What asks for
/// neither stays, and so does what Responses cannot do.
pub(super) fn fullest(spec: &Spec, call: &Call<'_>, target: &Target<'_>, usual: Speech) -> Speech {
    let Operation::Chat(client @ (Dialect::AnthropicMessages | Dialect::Gemini)) = call.operation else { return usual };
    let family = target.subject(spec.name).family();
    let is_reasoning = spec.quirks.reasons_on_responses.iter().any(|prefix| family.starts_with(prefix));
    let is_there = !spec.quirks.responses_since.is_some_and(|since| target.base.is_before(since));
    let is_able = is_reasoning && is_there && call.scan.n.unwrap_or(1) <= 1;
    if is_able && (call.scan.has_tools() || call.scan.proofs.has(Proofs::OPENAI) || asks_for_reasoning(call, client)) {
        return Speech::Dialect(Dialect::OpenAiResponses);
    }
    usual
}

fn asks_for_reasoning(call: &Call<'_>, client: Dialect) -> bool {
    if client == Dialect::AnthropicMessages {
        return ["thinking", "output_config"].iter().any(|field| call.scan.has_field(field, call.body));
    }
    // Inside a text the quotation marks would be escaped.
    [&b"\"thinkingConfig\""[..], b"\"thinking_config\""].iter().any(|name| memmem::find(call.body, name).is_some())
}

fn with_model(call: &Call<'_>, model: &str, place: &Place) -> Bytes {
    let mut patch = Patch::default();
    if !place.has_model() {
        call.scan.set_model(&mut patch, model);
    }
    patch.apply(call.body)
}

fn translated(
    call: &Call<'_>,
    model: &str,
    client: Dialect,
    speech: Speech,
    options: &RequestOptions,
    losses: &mut Vec<Loss>,
) -> Result<(Bytes, Relay), PrepareError> {
    let mut request = call.decode(client, model)?;
    if client == Dialect::AnthropicMessages {
        losses.extend(without_marks(&mut request));
    }
    if client == Dialect::OpenAiResponses {
        losses.extend(openai_responses::as_functions(&mut request));
    }
    let (dialect, encoded) = match speech {
        Speech::Dialect(upstream) => (upstream, upstream.encode_request(&request, options)?),
        Speech::Wire(wire) => {
            openai_responses::refuse_state(&request)?;
            (WIRE_DIALECT, wire.encode_request(&request, options)?)
        }
    };
    losses.extend(encoded.losses);
    Ok((encoded.body, Relay::Translated { dialect, undo: encoded.undo }))
}

/// How the line begins in which Anthropic's command line tells its vendor what calls.
const MARK: &str = "x-anthropic-billing-header:";

/// Takes out of the instructions what is no instruction: a line for the client's own vendor that is another in every call, and
/// so would spoil every other vendor's cache of the prompt.
fn without_marks(request: &mut ChatRequest) -> Option<Loss> {
    let first = request.messages.first_mut().filter(|message| message.role == Role::System)?;
    let n_before = first.content.len();
    first.content.retain(|block| !matches!(&block.content, Content::Text(text) if text.text.starts_with(MARK)));
    let n_after = first.content.len();
    if n_after == 0 {
        request.messages.remove(0);
    }
    (n_after < n_before)
        .then(|| Loss::dropped("system[0]", "says to the client's own vendor what calls, and is no instruction"))
}

fn takes_stream_options(spec: &Spec, target: &Target<'_>) -> bool {
    let since = spec.quirks.stream_options_since;
    spec.quirks.stream_options && !since.is_some_and(|since| target.base.is_before(since))
}

/// Says whether usage is asked for in a stream that may have been asked for without.
fn asks_for_usage(spec: &Spec, call: &Call<'_>, target: &Target<'_>, dialect: Dialect) -> bool {
    let is_asked = matches!(dialect, Dialect::OpenAiChat | Dialect::OpenAiCompletions);
    is_asked && takes_stream_options(spec, target) && call.scan.is_stream()
}

fn relay_untouched(spec: &Spec, call: &Call<'_>, target: &Target<'_>, dialect: Dialect) -> Relay {
    let withhold_usage = asks_for_usage(spec, call, target, dialect) && !call.scan.wants_usage();
    Relay::Untouched { dialect, withhold_usage }
}

/// Reads and writes a body anew that the upstream would not take although it speaks its dialect.
fn anew(
    spec: &Spec,
    call: &Call<'_>,
    target: &Target<'_>,
    dialect: Dialect,
    options: impl FnOnce() -> RequestOptions,
    losses: &mut Vec<Loss>,
) -> Option<Bytes> {
    // Proofs of reasoning that another vendor gave are taken out on the way, what was fetched is put in; a role that the upstream does not know lies too
    // deep to be spliced.
    let is_strange = call.scan.has_proofs
        || call.inlined.is_some_and(|inlined| !inlined.is_empty())
        || dialect == Dialect::OpenAiChat && !spec.quirks.developer_role && call.scan.has_developer;
    if !is_strange {
        return None;
    }
    let request = call.decode(dialect, target.upstream_model).ok()?;
    let encoded =
        dialect.encode_request(&request, &options()).ok().filter(|encoded| encoded.undo == Undo::default())?;
    losses.extend(encoded.losses);
    Some(encoded.body)
}

/// The client's own bytes, with what has to be spliced in.
fn as_sent(spec: &Spec, call: &Call<'_>, target: &Target<'_>, place: &Place, dialect: Dialect) -> Bytes {
    let mut patch = Patch::default();
    if !place.has_model() {
        call.scan.set_model(&mut patch, target.upstream_model);
    }
    if asks_for_usage(spec, call, target, dialect) {
        call.scan.set_include_usage(&mut patch);
    }
    patch.apply(call.body)
}

fn headers(spec: &Spec, call: &Call<'_>, is_stream: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, if is_stream { HeaderValue::from_static(spec.stream_type) } else { JSON });
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
pub(super) fn request_options(spec: &Spec, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
    let can = |capability| model.is_none_or(|model| model.can(capability));
    // The third generation and earlier had neither schemas nor thinking; their names still reach compatible servers.
    let is_old = ["claude-3", "claude-2", "claude-instant"].iter().any(|prefix| upstream_model.starts_with(prefix));
    let reasoning = if is_old || !can(Capability::Reasoning) {
        ReasoningStyle::Unsupported
    } else if upstream_model.starts_with("gemini-2.5") {
        if upstream_model.starts_with("gemini-2.5-pro") { ReasoningStyle::BudgetAlways } else { ReasoningStyle::Budget }
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
        cache_control: spec.quirks.cache_control,
        developer_role: spec.quirks.developer_role,
        stream_options: spec.quirks.stream_options,
        sampling: can(Capability::Sampling),
    }
}

/// What a translation must know of a model that a cloud resells: its vendor's name is inside the cloud's
/// (`us.anthropic.claude-sonnet-4-5-20250929-v1:0`, an ARN that ends in it, `claude-sonnet-4-5@20250929`).
pub(super) fn resold_options(spec: &Spec, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
    let name = resold_name(upstream_model);
    request_options(spec, &name, model.or_else(|| catalog::find("anthropic", &name).map(|model| &model.facts)))
}

/// Finds a model in the catalog: the provider's own entry, or of Claude resold its maker's.
pub(super) fn known_model(provider: &str, upstream_model: &str) -> Option<&'static ModelFacts> {
    let of_maker = || {
        let is_claude = upstream_model.contains("claude");
        is_claude.then(|| catalog::find("anthropic", &resold_name(upstream_model))).flatten()
    };
    catalog::find(provider, upstream_model).or_else(of_maker).map(|model| &model.facts)
}

fn resold_name(upstream_model: &str) -> String {
    let name = upstream_model.rsplit('/').next().unwrap_or(upstream_model);
    let name = name.rsplit_once("anthropic.").map_or(name, |(_, name)| name);
    let name = name
        .rsplit_once("-v")
        .filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
        .map_or(name, |(name, _)| name);
    name.replace('@', "-")
}
