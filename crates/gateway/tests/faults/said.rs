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
    /// OpenAI's Responses.
    Responses,
    Cohere,
    /// Its streams are lines of JSON.
    Ollama,
}

/// How the events of a stream are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Frames,
    Lines,
}

impl Language {
    pub(super) const ALL: [Self; 7] =
        [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Converse, Self::Responses, Self::Cohere, Self::Ollama];

    pub(super) const fn provider(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Converse => "bedrock",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Converse => "Bedrock",
            Self::Responses => "Responses",
            Self::Cohere => "Cohere",
            Self::Ollama => "Ollama",
        }
    }

    pub(super) const fn base_path(self) -> &'static str {
        if matches!(self, Self::OpenAi | Self::Responses) { "/v1" } else { "" }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Converse => Form::Frames,
            Self::Ollama => Form::Lines,
            _ => Form::Events,
        }
    }

    /// Whether something stands behind the last event that says so.
    pub(super) const fn has_end_mark(self) -> bool {
        matches!(self, Self::OpenAi | Self::Anthropic)
    }

    /// The media type of its streams.
    pub(super) const fn stream_kind(self) -> &'static str {
        match self.form() {
            Form::Events => "text/event-stream",
            Form::Frames => "application/vnd.amazon.eventstream",
            Form::Lines => "application/x-ndjson",
        }
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
            Self::Responses => response("completed", "Hello there"),
            Self::Cohere => json!({"id": "c-1", "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]}}),
            Self::Ollama => line("Hello there", Some("stop")),
        };
        self.count(&mut whole, usage);
        whole
    }

    /// Puts a usage where the language has it.
    fn count(self, told: &mut Value, usage: &Value) {
        match (self, usage) {
            (_, Value::Null) => {}
            // Its counts stand among the other fields.
            (Self::Ollama, Value::Object(counts)) => {
                counts.iter().for_each(|(name, count)| told[name] = count.clone());
            }
            (Self::Ollama, other) => told["prompt_eval_count"] = other.clone(),
            _ => told[self.usage_field()] = usage.clone(),
        }
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
            Self::Converse | Self::Responses => "output",
            Self::Cohere | Self::Ollama => "message",
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
            Self::Responses => json!({"input_tokens": input, "output_tokens": output, "total_tokens": total}),
            Self::Cohere => json!({"billed_units": {"input_tokens": input, "output_tokens": output},
                "tokens": {"input_tokens": input, "output_tokens": output}}),
            Self::Ollama => json!({"prompt_eval_count": input, "eval_count": output}),
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
            Self::OpenAi | Self::Gemini | Self::Ollama => word,
            Self::Responses => {
                let item = json!({"id": "msg_up", "type": "message", "status": "in_progress", "role": "assistant", "content": []});
                let part = json!({"type": "output_text", "text": "", "annotations": []});
                let before = [
                    ("response.created", json!({"sequence_number": 0, "response": response("in_progress", "")})),
                    ("response.output_item.added", json!({"sequence_number": 1, "output_index": 0, "item": item})),
                    (
                        "response.content_part.added",
                        json!({"sequence_number": 2, "item_id": "msg_up", "output_index": 0, "content_index": 0, "part": part}),
                    ),
                ];
                [before.map(|(name, event)| typed(name, event)).to_vec(), word].concat()
            }
            Self::Cohere => {
                let message =
                    json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
                let content = json!({"message": {"content": {"type": "text", "text": ""}}});
                let before = [
                    ("message-start", json!({"id": "c-1", "delta": {"message": message}})),
                    ("content-start", json!({"index": 0, "delta": content})),
                ];
                [before.map(|(name, event)| typed(name, event)).to_vec(), word].concat()
            }
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
            Self::Responses => typed(
                "response.output_text.delta",
                json!({"sequence_number": 3, "item_id": "msg_up", "output_index": 0, "content_index": 0, "delta": text}),
            ),
            Self::Cohere => {
                typed("content-delta", json!({"index": 0, "delta": {"message": {"content": {"text": text}}}}))
            }
            Self::Ollama => json_line(&line(text, None)),
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
            Self::Responses => {
                let mut whole = response(reason, "Hello there");
                if reason == self.filtered() {
                    whole["incomplete_details"] = json!({"reason": "content_filter"});
                }
                self.count(&mut whole, usage);
                events.push(typed(&format!("response.{reason}"), json!({"sequence_number": 9, "response": whole})));
            }
            Self::Cohere => {
                events.push(typed("content-end", json!({"index": 0})));
                let mut delta = json!({"finish_reason": reason});
                self.count(&mut delta, usage);
                events.push(typed("message-end", json!({"delta": delta})));
            }
            Self::Ollama => {
                let mut end = line("", Some(reason));
                self.count(&mut end, usage);
                events.push(json_line(&end));
            }
        }
        events
    }

    pub(super) fn finish(self) -> Events {
        self.finish_with(self.stop(), &self.usage(INPUT, OUTPUT))
    }

    pub(super) const fn stop(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Ollama => "stop",
            Self::Anthropic | Self::Converse => "end_turn",
            Self::Gemini => "STOP",
            Self::Responses => "completed",
            Self::Cohere => "COMPLETE",
        }
    }

    pub(super) const fn filtered(self) -> &'static str {
        match self {
            Self::OpenAi => "content_filter",
            Self::Anthropic => "refusal",
            Self::Gemini => "SAFETY",
            Self::Converse => "guardrail_intervened",
            Self::Responses => "incomplete",
            Self::Cohere => "ERROR_TOXIC",
            // It has no filter, and so no word for one.
            Self::Ollama => "length",
        }
    }

    pub(super) fn end_mark(self) -> Events {
        match self {
            Self::OpenAi => vec![b"data: [DONE]\n\n".to_vec()],
            Self::Anthropic => vec![named("message_stop", &json!({"type": "message_stop"}))],
            Self::Gemini | Self::Converse | Self::Responses | Self::Cohere | Self::Ollama => Vec::new(),
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
            Self::OpenAi | Self::Responses => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
            Self::Gemini => json!({"error": {"message": message, "status": google_status(kind)}}),
            Self::Converse | Self::Cohere => json!({"message": message}),
            Self::Ollama => json!({"error": message}),
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
            Self::Responses => {
                typed("error", json!({"sequence_number": 4, "code": "server_error", "message": INSIDES, "param": null}))
            }
            Self::Cohere => {
                typed("message-end", json!({"delta": {"finish_reason": "ERROR", "error": INSIDES, "usage": null}}))
            }
            Self::Ollama => json_line(&error("server_error")),
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

/// An answer of OpenAI's Responses.
fn response(status: &str, text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]);
    let message =
        json!({"id": "msg_up", "type": "message", "status": "completed", "role": "assistant", "content": content});
    let output = if text.is_empty() { json!([]) } else { json!([message]) };
    json!({"id": "resp_up", "object": "response", "created_at": 1, "status": status, "error": null,
        "incomplete_details": null, "model": "up", "output": output, "parallel_tool_calls": true, "tool_choice": "auto",
        "tools": [], "metadata": {}})
}

/// A line of Ollama's, the last one when there is a reason.
fn line(text: &str, reason: Option<&str>) -> Value {
    let mut line = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z",
        "message": {"role": "assistant", "content": text}, "done": reason.is_some()});
    if let Some(reason) = reason {
        line["done_reason"] = json!(reason);
    }
    line
}

pub(super) fn json_line(event: &Value) -> Vec<u8> {
    format!("{event}\n").into_bytes()
}

/// An event whose data repeat its name.
fn typed(name: &str, mut event: Value) -> Vec<u8> {
    event["type"] = json!(name);
    named(name, &event)
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
