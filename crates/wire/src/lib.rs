//! Wire formats that only one upstream speaks: a request out of the hub's, its answers into the hub's events. **Sans-IO.**
//!
//! Like a dialect, but no client can ask for one. Invariant, as for dialects: any split of the same bytes gives the same events,
//! and nothing panics on any input.

#![deny(missing_docs)]

mod cohere;
mod converse;
pub mod event_stream;
mod fetches;
mod ollama;

use std::fmt::Debug;

use hub::canonical::content::{Block, Content, Message, Role};
use hub::canonical::error::{AnswerError, EncodeError};
use hub::canonical::event::{FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::request::ChatRequest;
use hub::canonical::tool::{FunctionTool, Tool};
use hub::codec::json::{self, ObjectWriter};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{Decoder, Dialect, EncodedRequest, Mode, RequestOptions, Undo};

pub use cohere::COHERE;
pub use converse::CONVERSE;
pub use converse::exception;
pub use fetches::{Fetches, Reach};
pub use ollama::OLLAMA;

/// The dialect that stands for a wire format of a provider's own.
pub const WIRE_DIALECT: Dialect = Dialect::OpenAiChat;

/// A wire format.
pub trait Wire: Debug + Sync {
    /// Writes a chat request body.
    fn encode_request(&self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError>;

    /// Says what the upstream fetches itself.
    fn fetches(&self) -> Fetches {
        Fetches::NOTHING
    }

    /// Makes a reader of answers.
    fn decoder(&self, mode: Mode, undo: Undo) -> Box<dyn Decoder>;

    /// Reads an error body; never fails, because an upstream's failure may be any bytes.
    fn decode_error(&self, status: u16, body: &[u8]) -> AnswerError;
}

/// How an answer begins in a format whose own fields no client knows.
fn start(id: &str, model: &str) -> Start {
    Start { origin: WIRE_DIALECT, id: id.into(), model: model.into(), created: None, rest: Rest::default() }
}

/// Reads an error body by the name of the field with the words.
fn error_of(status: u16, body: &[u8], field: &str) -> AnswerError {
    let read = || json::root(body).ok()?.object().ok()?.find_boxed(field).ok()?;
    let message: Box<str> =
        read().unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(2_048)]).trim().into());
    AnswerError { code: None, ..AnswerError::new(status, "", message) }
}

/// What every writer of a wire format keeps.
struct Notes<'r> {
    request: &'r ChatRequest,
    vendor: &'static str,
    kept: hub::dialect::Notes,
}

impl<'r> Notes<'r> {
    fn new(request: &'r ChatRequest, vendor: &'static str) -> Self {
        Self { request, vendor, kept: hub::dialect::Notes::default() }
    }

    fn finish(self, body: bytes::BytesMut) -> Result<EncodedRequest, EncodeError> {
        self.kept.finish(body)
    }

    fn fail(&mut self, path: &str, reason: &str) {
        self.kept.fail(path, reason);
    }

    fn dropped(&mut self, path: impl Into<Box<str>>, reason: &str) {
        self.kept.dropped(path, reason);
    }

    fn changed(&mut self, path: impl Into<Box<str>>, reason: &str) {
        self.kept.changed(path, reason);
    }

    fn tool_name(&mut self, name: &str) -> String {
        NameRule::OPENAI.apply(name, &mut self.kept.undo).into_owned()
    }

    /// Reports each of these fields that is set.
    fn drop_set(&mut self, fields: &[(&str, bool)]) {
        for (name, is_set) in fields {
            if *is_set {
                let reason = format!("{} has no such parameter", self.vendor);
                self.dropped(*name, &reason);
            }
        }
    }

    /// Reports what vendors that know nothing but the usual settings cannot be told.
    fn drop_all_but_usual(&mut self) {
        let request = self.request;
        if request.n.is_some_and(|n| n > 1) {
            let reason = format!("{} gives one answer per call; send several calls instead", self.vendor);
            self.fail("n", &reason);
        }
        self.drop_set(&[
            ("logit_bias", request.sampling.logit_bias.as_ref().is_some_and(|raw| raw.as_str() != "{}")),
            ("user", request.user.is_some()),
            ("service_tier", request.service_tier.as_deref().is_some_and(|tier| tier != "auto")),
            ("parallel_tool_calls", request.parallel_tool_calls == Some(false)),
            ("logprobs", request.logprobs.is_some()),
        ]);
        self.drop_unknown();
    }

    /// Reports what a block carries beside what it says.
    fn drop_extras(&mut self, path: &str, block: &Block) {
        if block.cache.is_some() {
            self.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
        }
        for (name, _) in block.rest.unknown() {
            let reason = format!("{} has no such field", self.vendor);
            self.dropped(format!("{path}.{name}"), &reason);
        }
    }

    /// Returns the tools that are functions, and reports the others.
    fn functions(&mut self) -> Vec<&'r FunctionTool> {
        let mut functions = Vec::new();
        for (index, tool) in self.request.tools.iter().enumerate() {
            match tool {
                Tool::Function(tool) => functions.push(tool),
                Tool::Opaque(opaque) => {
                    let reason = format!("{} has no tool of type {}", self.vendor, opaque.kind);
                    self.dropped(format!("tools[{index}]"), &reason);
                }
            }
        }
        functions
    }

    /// Writes functions as OpenAI has them, which others took over.
    fn write_functions(&mut self, functions: &[&FunctionTool], object: &mut ObjectWriter<'_>) {
        object.array("tools", |array| {
            for tool in functions {
                let name = self.tool_name(&tool.name);
                array.object(|object| {
                    object.str("type", "function");
                    object.object("function", |object| {
                        object.str("name", &name);
                        object.opt_str("description", tool.description.as_deref());
                        match &tool.parameters {
                            Some(schema) => object.raw("parameters", schema),
                            None => object.literal("parameters", r#"{"type":"object","properties":{}}"#),
                        }
                    });
                });
            }
        });
    }

    /// Reports the fields of the call that no other vendor knows, and those of its messages.
    fn drop_unknown(&mut self) {
        let request = self.request;
        let of_stream = request.stream.iter().flat_map(|stream| stream.rest.iter());
        let of_messages = request.messages.iter().enumerate().flat_map(|(index, message)| {
            message.rest.unknown().map(move |(name, _)| format!("messages[{index}].{name}"))
        });
        let names: Vec<String> = (request.rest.unknown().map(|(name, _)| name.to_owned()))
            .chain(of_stream.map(|(name, _)| format!("stream_options.{name}")))
            .chain(of_messages)
            .collect();
        let reason = format!("{} has no such field", self.vendor);
        for name in names {
            self.dropped(name, &reason);
        }
        if request.metadata.is_some() {
            self.dropped("metadata", "the upstream keeps no metadata of this kind");
        }
        if request.cache.is_some() {
            self.dropped("cache_control", "the upstream caches prompts by itself or at given places only");
        }
    }

    /// The arguments of a call as an object.
    fn arguments(&mut self, path: &str, arguments: &str) -> Raw {
        let trimmed = arguments.trim();
        let parsed = Raw::parse(if trimmed.is_empty() { "{}" } else { trimmed }).filter(Raw::is_object);
        parsed.unwrap_or_else(|| {
            self.changed(format!("{path}.arguments"), "not a JSON object; sent as text in one");
            json::raw_object(|object| object.str("arguments", arguments))
        })
    }
}

/// The schema's tool was not a tool to the caller; and some say `stop` although tools were called.
fn reason(undo: &Undo, said: FinishReason, has_tools: bool) -> FinishReason {
    match said {
        FinishReason::ToolUse if undo.text_tool.is_some() && !has_tools => FinishReason::Stop,
        FinishReason::Stop if has_tools => FinishReason::ToolUse,
        other => other,
    }
}

/// Says whether a message holds nothing but results of tools.
fn is_results(message: &Message) -> bool {
    message.role == Role::Tool
}

/// The name of the tool that a call id belongs to, for upstreams that want it beside the result.
fn name_of_call<'r>(request: &'r ChatRequest, call_id: &str) -> Option<&'r str> {
    let blocks = request.messages.iter().rev().flat_map(|message| &message.content);
    blocks.into_iter().find_map(|block| match &block.content {
        Content::ToolUse(call) if call.id == call_id => Some(call.name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
