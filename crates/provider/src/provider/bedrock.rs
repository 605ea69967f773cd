//! AWS Bedrock: Converse for every model, the Anthropic form for Claude when the client speaks it, and OpenAI's responses for OpenAI's
//! own models, which have no Converse. The makers' languages for the others are `bedrock_mantle`.
//!
//! The base address is the region's (`https://bedrock-runtime.eu-west-1.amazonaws.com`). Facts: the service model in the vendor's
//! SDK (botocore 1.44.5), the user guide (`inference-responses-api`) and field notes, read November 2026.

use llm::canonical::error::{AnswerError, DecodeError};
use llm::canonical::event::{Delta, Event};
use llm::canonical::usage::{TokenUsage, Usage};
use llm::codec::{json as reading, sse};
use llm::dialect::{Decoder, Dialect, Mode, RequestOptions, Speak as _, Undo};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use domain::Secret;
use http::HeaderValue;
use http::header::ACCEPT;
use serde_json::json;

use super::spec::filled;
use super::{
    BaseParts, Call, FromVariables, Operation, Place, Prefill, Prepared, Provider, Quirks, Relay, Rule, Spec, Speech,
    Surface, anthropic, betas, openai, prepare, rules,
};
use crate::auth::Scheme;
use crate::catalog::ModelFacts;
use crate::media::Fetches;
use crate::task::INVOKE_EMBED;
use crate::wire::event_stream::{Frame, Reader};
use crate::wire::{CONVERSE, Wire as _, exception};

/// Bedrock.
#[derive(Debug)]
pub(super) struct Bedrock(Spec);

/// The registry's entry.
pub(super) static BEDROCK: Bedrock = Bedrock(Spec {
    name: "bedrock",
    title: "AWS Bedrock",
    otel_name: Some("aws.bedrock"),
    key_variable: Some("AWS_BEARER_TOKEN_BEDROCK"),
    base_url_variable: Some("AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    base_url_parts: Some(BaseParts {
        variables: &["AWS_REGION", "AWS_DEFAULT_REGION"],
        address: "https://bedrock-runtime.{}.amazonaws.com",
    }),
    auth: Scheme::Aws { service: "bedrock" },
    dialects: &[Dialect::AnthropicMessages, Dialect::OpenAiResponses],
    wire: Some(&CONVERSE),
    places: &[
        Place::streamed(Surface::Wire, "/model/{model}/converse", "/model/{model}/converse-stream"),
        Place::new(Surface::Embeddings, "/model/{model}/invoke").in_form(&INVOKE_EMBED),
        Place {
            without: &["model", "stream"],
            with: &[("anthropic_version", "\"bedrock-2023-05-31\"")],
            ..Place::streamed(
                Surface::Chat(Dialect::AnthropicMessages),
                "/model/{model}/invoke",
                "/model/{model}/invoke-with-response-stream",
            )
        },
        // What is counted is a call as it would be made; one has to say a cap.
        Place {
            without: &["model", "stream"],
            with: &[("anthropic_version", "\"bedrock-2023-05-31\""), ("max_tokens", "1024")],
            ..Place::new(Surface::CountTokens(Dialect::AnthropicMessages), "/model/{model}/count-tokens")
        },
        Place::new(Surface::Chat(Dialect::OpenAiResponses), "/openai/v1/responses"),
    ],
    stream_type: "application/vnd.amazon.eventstream",
    request_id_header: "x-amzn-requestid",
    quirks: Quirks { prefill: Prefill::CLAUDE, rules: RULES, ..Quirks::NONE },
    listing: None,
    ..Spec::OPENAI_LIKE
});

/// OpenAI's own models; its open ones have Converse, as everybody's.
fn is_gpt(model: &str) -> bool {
    model.split_once("openai.gpt-").is_some_and(|(_, name)| !name.starts_with("oss"))
}

/// Claude's in its own form, and of OpenAI's what its responses have; Converse has these fields elsewhere.
const RULES: &[Rule] = &[
    anthropic::RULES[0],
    anthropic::RULES[1],
    anthropic::RULES[2],
    anthropic::RULES[3],
    openai::TEMPERATURE,
    openai::TOP_P,
];

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

impl Provider for Bedrock {
    fn spec(&self) -> &'static Spec {
        &BEDROCK.0
    }

    /// The keys of the vendor's own tools, where there is no key for this service.
    fn read_variables(&self, get: &dyn Fn(&str) -> Option<String>) -> FromVariables {
        let read = |name: &str| filled(&get(name)?);
        let mut found = self.spec().read_variables(get, || {
            let mut secret = json!({
                "access_key_id": read("AWS_ACCESS_KEY_ID")?,
                "secret_access_key": read("AWS_SECRET_ACCESS_KEY")?,
            });
            for (field, name) in [("session_token", "AWS_SESSION_TOKEN"), ("region", "AWS_REGION")] {
                if let Some(value) = read(name) {
                    secret[field] = value.into();
                }
            }
            Some(Secret::new(secret.to_string()))
        });
        // China's regions have a domain of their own.
        if let Some(address) = &mut found.base_url
            && address.ends_with(".amazonaws.com")
            && address.contains(".cn-")
        {
            address.push_str(".cn");
        }
        found
    }

    fn request_options(&self, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
        prepare::resold_options(self.spec(), upstream_model, model)
    }

    fn speech(&self, client: Dialect, upstream_model: &str) -> Speech {
        if client == Dialect::AnthropicMessages && upstream_model.contains("anthropic.") {
            Speech::Dialect(client)
        } else if is_gpt(upstream_model) {
            Speech::Dialect(Dialect::OpenAiResponses)
        } else {
            Speech::Wire(&CONVERSE)
        }
    }

    /// The vendor's own Claude fetches; this cloud's does not.
    fn fetches(&self, _: Speech) -> Fetches {
        Fetches::NOTHING
    }

    /// Only the model itself is counted for, not the profile by which regions share it.
    fn counted<'m>(&self, upstream_model: &'m str) -> &'m str {
        upstream_model.find("anthropic.").map_or(upstream_model, |at| &upstream_model[at..])
    }

    /// Newer models are counted by `bedrock_mantle` alone, and a key may be allowed to call and not to count (the user guide,
    /// `count-tokens`).
    fn may_not_count(&self) -> bool {
        true
    }

    /// The switches of Claude's own form stand in the body.
    fn adorn(&self, call: &Call<'_>, upstream_model: &str, prepared: &mut Prepared) {
        if is_gpt(upstream_model) {
            // Here a stream comes as OpenAI writes it and not in frames.
            if call.scan.is_stream() {
                prepared.request.headers_mut().insert(ACCEPT, EVENTS);
            }
            return;
        }
        if matches!(prepared.relay, Relay::Count { .. }) {
            let switched = betas::write_known(call.headers, betas::BEDROCK, prepared.request.body());
            let body = switched.as_ref().unwrap_or(prepared.request.body());
            let counted = json!({ "input": { "invokeModel": { "body": STANDARD.encode(body) } } });
            *prepared.request.body_mut() = counted.to_string().into();
        }
        if call.operation == Operation::Chat(Dialect::AnthropicMessages)
            && matches!(
                prepared.relay,
                Relay::Untouched { .. } | Relay::Translated { dialect: Dialect::AnthropicMessages, .. }
            )
            && let Some(body) = betas::write_known(call.headers, betas::BEDROCK, prepared.request.body())
        {
            *prepared.request.body_mut() = body;
        }
    }

    /// Amazon refuses in words of its own, whatever the form of the call.
    fn decode_error(&self, _client: Dialect, upstream_model: &str, status: u16, body: &[u8]) -> AnswerError {
        if is_gpt(upstream_model) && rules::has_key(body, "error") {
            Dialect::OpenAiResponses.decode_error(status, body)
        } else if rules::has_key(body, "error") {
            Dialect::AnthropicMessages.decode_error(status, body)
        } else {
            CONVERSE.decode_error(status, body)
        }
    }

    /// Streams come in frames, so even a client of the same dialect gets them written anew.
    fn relays_untouched(&self, call: &Call<'_>, upstream_model: &str) -> bool {
        !call.scan.is_stream() || is_gpt(upstream_model)
    }

    fn onlooker(&self) -> Option<Box<dyn Decoder>> {
        Some(Box::new(Metered::default()))
    }

    fn decoder(&self, dialect: Dialect, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        match (dialect, mode) {
            (Dialect::AnthropicMessages, Mode::Whole) | (Dialect::OpenAiResponses, _) => dialect.decoder(mode, undo),
            (Dialect::AnthropicMessages, Mode::Stream) => {
                Box::new(Unframed { reader: Reader::default(), is_over: false, inner: dialect.decoder(mode, undo) })
            }
            _ => CONVERSE.decoder(mode, undo),
        }
    }
}

/// Takes a vendor's own events out of the frames they travel in.
struct Unframed {
    reader: Reader,
    is_over: bool,
    inner: Box<dyn Decoder>,
}

impl Unframed {
    fn take(
        inner: &mut dyn Decoder,
        is_over: &mut bool,
        frame: &Frame<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        if *is_over {
            return Ok(());
        }
        if frame.message_type != "event" {
            *is_over = true;
            events.push(Event::Error(exception(frame)));
            return Ok(());
        }
        let Some(data) = chunk_of(frame)? else { return Ok(()) };
        let mut event = BytesMut::new();
        sse::write("", &data, &mut event);
        inner.push(&event, events)
    }
}

/// Takes a maker's own JSON out of a frame; `None` when the frame is another.
fn chunk_of(frame: &Frame<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    if frame.kind != "chunk" {
        return Ok(None);
    }
    let root = reading::root(frame.payload)?;
    let object = root.object()?;
    let field = object.get("bytes")?;
    STANDARD.decode(field.str()?.as_bytes()).map(Some).map_err(|_| field.expected("base64"))
}

/// Looks at a stream of a maker whose form is not known here: the cloud says in the last frame what it counted.
#[derive(Default)]
struct Metered {
    reader: Reader,
    is_over: bool,
}

/// What the cloud puts into the last chunk of every maker's; its input leaves out what came from and went to a cache.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

impl Metered {
    fn take(is_over: &mut bool, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if *is_over {
            return Ok(());
        }
        if frame.message_type != "event" {
            *is_over = true;
            events.push(Event::Error(exception(frame)));
            return Ok(());
        }
        let Some(data) = chunk_of(frame)? else { return Ok(()) };
        let root = reading::root(&data)?;
        let counted = root.object()?.report(METRICS, |metrics| TokenUsage {
            input: metrics.count("inputTokenCount"),
            cached_input: metrics.count("cacheReadInputTokenCount"),
            cache_write_5m: metrics.count("cacheWriteInputTokenCount"),
            output: metrics.count("outputTokenCount"),
            ..TokenUsage::default()
        });
        // Whatever a chunk holds, it is output: if the stream breaks off, that is all that is known.
        events.push(Event::Delta { index: 0, delta: Delta::Text(Box::default()) });
        if let Some(tokens) = counted {
            events.push(Event::Usage(Usage { tokens, ..Usage::default() }));
            events.push(Event::Done);
        }
        Ok(())
    }
}

impl Decoder for Metered {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let Self { reader, is_over } = self;
        reader.push(bytes, &mut |frame| Self::take(is_over, &frame, events))
    }

    fn finish(&mut self, _events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.reader.finish()
    }
}

impl Decoder for Unframed {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let Self { reader, is_over, inner } = self;
        reader.push(bytes, &mut |frame| Self::take(inner.as_mut(), is_over, &frame, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.reader.finish()?;
        if self.is_over { Ok(()) } else { self.inner.finish(events) }
    }
}
