//! What an upstream would say if all were well, in the two languages of the fault table, in pieces that a fault can break.

use serde_json::{Value, json};

/// What every whole answer reports.
pub(super) const INPUT: u64 = 10;
pub(super) const OUTPUT: u64 = 5;

/// A language that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    OpenAi,
    Anthropic,
}

impl Language {
    pub(super) const fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
        }
    }

    pub(super) const fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1",
            Self::Anthropic => "",
        }
    }

    /// A whole answer whose usage is this.
    pub(super) fn whole_with(self, usage: &Value) -> Value {
        let mut whole = match self {
            Self::OpenAi => json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]}),
            Self::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up",
                "content": [{"type": "text", "text": "Hello there"}], "stop_reason": "end_turn", "stop_sequence": null}),
        };
        if !usage.is_null() {
            whole["usage"] = usage.clone();
        }
        whole
    }

    pub(super) fn whole(self) -> String {
        self.whole_with(&self.usage(INPUT, OUTPUT)).to_string()
    }

    /// A usage object of these counts.
    pub(super) fn usage(self, input: impl Into<Value>, output: impl Into<Value>) -> Value {
        let (input, output) = (input.into(), output.into());
        match self {
            Self::OpenAi => {
                let total = input.as_i64().unwrap_or(0).saturating_add(output.as_i64().unwrap_or(0));
                json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": total})
            }
            Self::Anthropic => json!({"input_tokens": input, "output_tokens": output}),
        }
    }

    /// The events up to and including the first word.
    pub(super) fn opening(self) -> String {
        match self {
            Self::OpenAi => self.word("Hello"),
            Self::Anthropic => {
                let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": INPUT, "output_tokens": 1}});
                let start = named("message_start", &json!({"type": "message_start", "message": message}));
                start + &self.block_start() + &self.word("Hello")
            }
        }
    }

    fn block_start(self) -> String {
        match self {
            Self::OpenAi => String::new(),
            Self::Anthropic => named(
                "content_block_start",
                &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
        }
    }

    /// One event with text.
    pub(super) fn word(self, text: &str) -> String {
        match self {
            Self::OpenAi => {
                data(&chunk(&json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]), &Value::Null))
            }
            Self::Anthropic => named(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            ),
        }
    }

    /// The events after the last word: the reason to stop and, unless it is null, this usage; not the end mark.
    pub(super) fn finish_with(self, reason: &str, usage: &Value) -> String {
        match self {
            Self::OpenAi => {
                let finish = data(&chunk(&json!([{"index": 0, "delta": {}, "finish_reason": reason}]), &Value::Null));
                let usage = if usage.is_null() { String::new() } else { data(&chunk(&json!([]), usage)) };
                finish + &usage
            }
            Self::Anthropic => {
                let stop = named("content_block_stop", &json!({"type": "content_block_stop", "index": 0}));
                let delta = json!({"stop_reason": reason, "stop_sequence": null});
                let mut end = json!({"type": "message_delta", "delta": delta});
                if !usage.is_null() {
                    end["usage"] = usage.clone();
                }
                stop + &named("message_delta", &end)
            }
        }
    }

    pub(super) fn finish(self) -> String {
        self.finish_with(self.stop(), &self.usage(INPUT, OUTPUT))
    }

    pub(super) const fn stop(self) -> &'static str {
        match self {
            Self::OpenAi => "stop",
            Self::Anthropic => "end_turn",
        }
    }

    pub(super) const fn filtered(self) -> &'static str {
        match self {
            Self::OpenAi => "content_filter",
            Self::Anthropic => "refusal",
        }
    }

    pub(super) fn end_mark(self) -> String {
        match self {
            Self::OpenAi => "data: [DONE]\n\n".to_owned(),
            Self::Anthropic => named("message_stop", &json!({"type": "message_stop"})),
        }
    }

    /// A whole stream.
    pub(super) fn stream(self) -> String {
        self.opening() + &self.word(" there") + &self.finish() + &self.end_mark()
    }

    /// An error body as the vendor writes it.
    pub(super) fn error(self, kind: &str, code: &Value, message: &str) -> Value {
        match self {
            Self::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
        }
    }

    /// An error inside a stream.
    pub(super) fn error_event(self) -> String {
        match self {
            Self::OpenAi => data(&self.error("server_error", &Value::Null, INSIDES)),
            Self::Anthropic => named("error", &self.error("overloaded_error", &Value::Null, INSIDES)),
        }
    }
}

/// What an upstream says about itself when it fails: no client is to read it.
pub(super) const INSIDES: &str = "worker 7 of pool-insides failed for sk-insides-000";
/// What an upstream says about the client's own request: the client is to read it.
pub(super) const ADVICE: &str = "this request cannot be served as it is";

fn chunk(choices: &Value, usage: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices, "usage": usage})
}

fn data(event: &Value) -> String {
    format!("data: {event}\n\n")
}

fn named(name: &str, event: &Value) -> String {
    format!("event: {name}\ndata: {event}\n\n")
}
