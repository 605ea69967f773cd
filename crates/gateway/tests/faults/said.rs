//! What an upstream would say if all were well, in the languages of the fault table, in pieces that a fault can break.

use provider::wire::event_stream;
use serde_json::{Value, json};

/// What every whole answer reports.
pub(super) const INPUT: u64 = 10;
pub(super) const OUTPUT: u64 = 5;

/// Events of a stream, each as the bytes that stand for it.
pub(super) type Events = Vec<Vec<u8>>;

/// A language that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    OpenAi,
    Anthropic,
    Gemini,
    /// Bedrock's Converse, whose streams are binary frames.
    Converse,
}

impl Language {
    pub(super) const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Converse];

    pub(super) const fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Converse => "bedrock",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Converse => "Bedrock",
        }
    }

    pub(super) const fn base_path(self) -> &'static str {
        if matches!(self, Self::OpenAi) { "/v1" } else { "" }
    }

    /// Whether its streams are server-sent events.
    pub(super) const fn is_text(self) -> bool {
        !matches!(self, Self::Converse)
    }

    /// Whether something stands behind the last event that says so.
    pub(super) const fn has_end_mark(self) -> bool {
        matches!(self, Self::OpenAi | Self::Anthropic)
    }

    /// The media type of its streams.
    pub(super) const fn stream_kind(self) -> &'static str {
        if self.is_text() { "text/event-stream" } else { "application/vnd.amazon.eventstream" }
    }

    /// A whole answer whose usage is this.
    pub(super) fn whole_with(self, usage: &Value) -> Value {
        let mut whole = match self {
            Self::OpenAi => json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]}),
            Self::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up",
                "content": [{"type": "text", "text": "Hello there"}], "stop_reason": "end_turn", "stop_sequence": null}),
            Self::Gemini => piece("Hello there", Some("STOP")),
            Self::Converse => {
                json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello there"}]}},
                    "stopReason": "end_turn", "metrics": {"latencyMs": 7}})
            }
        };
        if !usage.is_null() {
            whole[self.usage_field()] = usage.clone();
        }
        whole
    }

    const fn usage_field(self) -> &'static str {
        if matches!(self, Self::Gemini) { "usageMetadata" } else { "usage" }
    }

    /// The field of a whole answer that holds what was said.
    pub(super) const fn answer_field(self) -> &'static str {
        match self {
            Self::OpenAi => "choices",
            Self::Anthropic => "content",
            Self::Gemini => "candidates",
            Self::Converse => "output",
        }
    }

    pub(super) fn whole(self) -> String {
        self.whole_with(&self.usage(INPUT, OUTPUT)).to_string()
    }

    /// A usage object of these counts.
    pub(super) fn usage(self, input: impl Into<Value>, output: impl Into<Value>) -> Value {
        let (input, output) = (input.into(), output.into());
        let total = input.as_i64().unwrap_or(0).saturating_add(output.as_i64().unwrap_or(0));
        match self {
            Self::OpenAi => json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": total}),
            Self::Anthropic => json!({"input_tokens": input, "output_tokens": output}),
            Self::Gemini => {
                json!({"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": total})
            }
            Self::Converse => json!({"inputTokens": input, "outputTokens": output, "totalTokens": total}),
        }
    }

    /// The events up to and including the first word.
    pub(super) fn opening(self) -> Events {
        let word = self.word("Hello");
        match self {
            Self::OpenAi | Self::Gemini => word,
            Self::Anthropic => {
                let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": INPUT, "output_tokens": 1}});
                let block = json!({"type": "text", "text": ""});
                let start = named("message_start", &json!({"type": "message_start", "message": message}));
                let block = json!({"type": "content_block_start", "index": 0, "content_block": block});
                [vec![start, named("content_block_start", &block)], word].concat()
            }
            Self::Converse => [vec![frame("messageStart", &json!({"role": "assistant"}))], word].concat(),
        }
    }

    /// One event with text.
    pub(super) fn word(self, text: &str) -> Events {
        vec![match self {
            Self::OpenAi => {
                data(&chunk(&json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]), &Value::Null))
            }
            Self::Anthropic => named(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            ),
            Self::Gemini => data(&piece(text, None)),
            Self::Converse => frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": text}})),
        }]
    }

    /// The events after the last word: the reason to stop and, unless it is null, this usage; not the end mark.
    pub(super) fn finish_with(self, reason: &str, usage: &Value) -> Events {
        let mut events = Vec::new();
        match self {
            Self::OpenAi => {
                events.push(data(&chunk(&json!([{"index": 0, "delta": {}, "finish_reason": reason}]), &Value::Null)));
                if !usage.is_null() {
                    events.push(data(&chunk(&json!([]), usage)));
                }
            }
            Self::Anthropic => {
                events.push(named("content_block_stop", &json!({"type": "content_block_stop", "index": 0})));
                let delta = json!({"stop_reason": reason, "stop_sequence": null});
                let mut end = json!({"type": "message_delta", "delta": delta});
                if !usage.is_null() {
                    end["usage"] = usage.clone();
                }
                events.push(named("message_delta", &end));
            }
            Self::Gemini => {
                let mut end = piece("", Some(reason));
                if !usage.is_null() {
                    end["usageMetadata"] = usage.clone();
                }
                events.push(data(&end));
            }
            Self::Converse => {
                events.push(frame("contentBlockStop", &json!({"contentBlockIndex": 0})));
                events.push(frame("messageStop", &json!({"stopReason": reason})));
                let mut end = json!({"metrics": {"latencyMs": 7}});
                if !usage.is_null() {
                    end["usage"] = usage.clone();
                }
                events.push(frame("metadata", &end));
            }
        }
        events
    }

    pub(super) fn finish(self) -> Events {
        self.finish_with(self.stop(), &self.usage(INPUT, OUTPUT))
    }

    pub(super) const fn stop(self) -> &'static str {
        match self {
            Self::OpenAi => "stop",
            Self::Anthropic | Self::Converse => "end_turn",
            Self::Gemini => "STOP",
        }
    }

    pub(super) const fn filtered(self) -> &'static str {
        match self {
            Self::OpenAi => "content_filter",
            Self::Anthropic => "refusal",
            Self::Gemini => "SAFETY",
            Self::Converse => "guardrail_intervened",
        }
    }

    pub(super) fn end_mark(self) -> Events {
        match self {
            Self::OpenAi => vec![b"data: [DONE]\n\n".to_vec()],
            Self::Anthropic => vec![named("message_stop", &json!({"type": "message_stop"}))],
            Self::Gemini | Self::Converse => Vec::new(),
        }
    }

    /// What follows the first word of a whole stream.
    pub(super) fn rest(self) -> Events {
        [self.word(" there"), self.finish(), self.end_mark()].concat()
    }

    /// A whole stream.
    pub(super) fn stream(self) -> Events {
        [self.opening(), self.rest()].concat()
    }

    /// An error body as the vendor writes it.
    pub(super) fn error(self, kind: &str, code: &Value, message: &str) -> Value {
        match self {
            Self::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
            Self::Gemini => json!({"error": {"message": message, "status": google_status(kind)}}),
            Self::Converse => json!({"message": message}),
        }
    }

    /// What the head of an error says beside its status.
    pub(super) fn error_headers(self, kind: &str) -> String {
        if self == Self::Converse { format!("\r\nx-amzn-errortype: {}", aws_error(kind)) } else { String::new() }
    }

    /// An error inside a stream.
    pub(super) fn error_event(self) -> Events {
        let error = |kind| self.error(kind, &Value::Null, INSIDES);
        vec![match self {
            Self::OpenAi | Self::Gemini => data(&error("server_error")),
            Self::Anthropic => named("error", &error("overloaded_error")),
            Self::Converse => {
                let headers = [(":exception-type", "internalServerException"), (":message-type", "exception")];
                event_stream::write(&headers, error("server_error").to_string().as_bytes())
            }
        }]
    }
}

/// What an upstream says about itself when it fails: no client is to read it.
pub(super) const INSIDES: &str = "worker 7 of pool-insides failed for sk-insides-000";
/// What an upstream says about the client's own request: the client is to read it.
pub(super) const ADVICE: &str = "this request cannot be served as it is";

fn google_status(kind: &str) -> &'static str {
    match kind {
        "authentication_error" => "UNAUTHENTICATED",
        "not_found_error" => "NOT_FOUND",
        "permission_error" => "PERMISSION_DENIED",
        "billing_error" => "FAILED_PRECONDITION",
        "rate_limit_error" | "insufficient_quota" => "RESOURCE_EXHAUSTED",
        "api_error" | "server_error" => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

fn aws_error(kind: &str) -> &'static str {
    match kind {
        "authentication_error" => "UnrecognizedClientException",
        "not_found_error" => "ResourceNotFoundException",
        "permission_error" | "billing_error" => "AccessDeniedException",
        "rate_limit_error" => "ThrottlingException",
        "insufficient_quota" => "ServiceQuotaExceededException",
        "api_error" | "server_error" => "InternalServerException",
        _ => "ValidationException",
    }
}

fn chunk(choices: &Value, usage: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices, "usage": usage})
}

/// A piece of Gemini's answer.
fn piece(text: &str, reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({"candidates": [candidate], "modelVersion": "up", "responseId": "g-1"})
}

pub(super) fn data(event: &Value) -> Vec<u8> {
    format!("data: {event}\n\n").into_bytes()
}

fn named(name: &str, event: &Value) -> Vec<u8> {
    format!("event: {name}\ndata: {event}\n\n").into_bytes()
}

/// A frame of Bedrock's.
pub(super) fn frame(kind: &str, event: &Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    event_stream::write(&headers, event.to_string().as_bytes())
}
