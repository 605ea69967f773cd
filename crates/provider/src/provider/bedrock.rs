//! AWS Bedrock: Converse for every model, and the Anthropic form for Claude when the client speaks it.
//!
//! The base address is the region's (`https://bedrock-runtime.eu-west-1.amazonaws.com`). Facts: the service model in the vendor's
//! SDK (botocore 1.44.5) and field notes, read November 2026.

use llm::canonical::error::{AnswerError, DecodeError};
use llm::canonical::event::{Delta, Event};
use llm::canonical::usage::{TokenUsage, Usage};
use llm::codec::{json, sse};
use llm::dialect::{Decoder, Dialect, Mode, RequestOptions, Speak as _, Undo};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::{
    Call, Operation, Place, Prefill, Prepared, Provider, Quirks, Relay, Spec, Speech, Surface, betas, prepare, rules,
};
use crate::auth::Scheme;
use crate::catalog::Model;
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
    key_variable: Some("AWS_BEARER_TOKEN_BEDROCK"),
    base_url_variable: Some("AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    auth: Scheme::Aws { service: "bedrock" },
    dialects: &[Dialect::AnthropicMessages],
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
    ],
    stream_type: "application/vnd.amazon.eventstream",
    request_id_header: "x-amzn-requestid",
    quirks: Quirks { prefill: Prefill::CLAUDE, ..Quirks::NONE },
    listing: None,
    ..Spec::OPENAI_LIKE
});

impl Provider for Bedrock {
    fn spec(&self) -> &'static Spec {
        &BEDROCK.0
    }

    fn request_options(&self, upstream_model: &str, model: Option<&Model>) -> RequestOptions {
        prepare::resold_options(self.spec(), upstream_model, model)
    }

    fn speech(&self, client: Dialect, upstream_model: &str) -> Speech {
        if client == Dialect::AnthropicMessages && upstream_model.contains("anthropic.") {
            Speech::Dialect(client)
        } else {
            Speech::Wire(&CONVERSE)
        }
    }

    /// The vendor's own Claude fetches; this cloud's does not.
    fn fetches(&self, _: Speech) -> Fetches {
        Fetches::NOTHING
    }

    /// The switches of Claude's own form stand in the body.
    fn adorn(&self, call: &Call<'_>, prepared: &mut Prepared) {
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
    fn decode_error(&self, _client: Dialect, _upstream_model: &str, status: u16, body: &[u8]) -> AnswerError {
        if rules::has_key(body, "error") {
            Dialect::AnthropicMessages.decode_error(status, body)
        } else {
            CONVERSE.decode_error(status, body)
        }
    }

    /// Streams come in frames, so even a client of the same dialect gets them written anew.
    fn relays_untouched(&self, call: &Call<'_>, _upstream_model: &str) -> bool {
        !call.scan.is_stream()
    }

    fn onlooker(&self) -> Option<Box<dyn Decoder>> {
        Some(Box::new(Metered::default()))
    }

    fn decoder(&self, dialect: Dialect, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        match (dialect, mode) {
            (Dialect::AnthropicMessages, Mode::Whole) => dialect.decoder(mode, undo),
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
    let root = json::root(frame.payload)?;
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
        let root = json::root(&data)?;
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
