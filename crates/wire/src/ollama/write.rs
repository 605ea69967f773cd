//! A canonical request becomes a body of `/api/chat`.

use bytes::BytesMut;

use hub::canonical::content::{Block, Content, Message, Role, Source};
use hub::canonical::error::EncodeError;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode};
use hub::canonical::tool::{ResponseFormat, ToolChoice};
use hub::codec::json::{ArrayWriter, ObjectWriter, write_object};
use hub::dialect::{EncodedRequest, ReasoningStyle, RequestOptions};

use crate::{Notes, name_of_call};

pub(super) fn encode(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    let mut writer = Writer { request, options, notes: Notes::new(request, "Ollama") };
    let mut body = BytesMut::with_capacity(1_024);
    write_object(&mut body, |object| writer.write(object));
    writer.notes.finish(body)
}

struct Writer<'r> {
    request: &'r ChatRequest,
    options: &'r RequestOptions,
    notes: Notes<'r>,
}

impl Writer<'_> {
    fn write(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        object.str("model", &request.model);
        object.array("messages", |array| {
            for (index, message) in request.messages.iter().enumerate() {
                self.write_message(index, message, array);
            }
        });
        // The vendor's default is to stream.
        object.bool("stream", request.stream.is_some());
        self.write_tools(object);
        match &request.response_format {
            None | Some(ResponseFormat::Text) => {}
            Some(ResponseFormat::JsonObject) => object.str("format", "json"),
            Some(ResponseFormat::JsonSchema(wanted)) => match &wanted.schema {
                Some(schema) => object.raw("format", schema),
                None => object.str("format", "json"),
            },
            Some(ResponseFormat::Opaque(_)) => self.notes.dropped("response_format", "Ollama has no such format"),
        }
        self.write_think(object);
        self.write_options(object);
        self.notes.drop_all_but_usual();
    }

    fn write_think(&mut self, object: &mut ObjectWriter<'_>) {
        let Some(reasoning) = &self.request.reasoning else { return };
        let is_off = reasoning.mode == ReasoningMode::Disabled || reasoning.effort == Some(Effort::None);
        if self.options.reasoning == ReasoningStyle::Unsupported && !is_off {
            return self.notes.dropped("reasoning", "the model does not reason");
        }
        // Levels are gpt-oss's; the others take a yes or no.
        let has_levels = self.request.model.contains("gpt-oss");
        match &reasoning.effort {
            _ if is_off => object.bool("think", false),
            Some(Effort::Minimal | Effort::Low) if has_levels => object.str("think", "low"),
            Some(Effort::High | Effort::XHigh | Effort::Max) if has_levels => object.str("think", "high"),
            _ if has_levels => object.str("think", "medium"),
            _ => object.bool("think", true),
        }
    }

    fn write_options(&mut self, object: &mut ObjectWriter<'_>) {
        let (request, sampling) = (self.request, &self.request.sampling);
        object.object("options", |object| {
            if let Some(limit) = request.max_tokens {
                object.u64("num_predict", limit.tokens);
            }
            object.opt_f64("temperature", sampling.temperature);
            object.opt_f64("top_p", sampling.top_p);
            if let Some(top_k) = sampling.top_k {
                object.u64("top_k", top_k);
            }
            object.opt_f64("frequency_penalty", sampling.frequency_penalty);
            object.opt_f64("presence_penalty", sampling.presence_penalty);
            if let Some(seed) = sampling.seed {
                object.i64("seed", seed);
            }
            if !request.stop.is_empty() {
                object.array("stop", |array| request.stop.iter().for_each(|stop| array.str(stop)));
            }
        });
    }

    fn write_tools(&mut self, object: &mut ObjectWriter<'_>) {
        let mut functions = self.notes.functions();
        match &self.request.tool_choice {
            None | Some(ToolChoice::Auto) => {}
            Some(ToolChoice::None) => functions.clear(),
            Some(ToolChoice::Tool(wanted)) => {
                functions.retain(|tool| tool.name == *wanted);
                self.notes.changed("tool_choice", "Ollama cannot force a tool; only this one is offered");
            }
            Some(ToolChoice::Required | ToolChoice::Opaque(_)) => {
                self.notes.dropped("tool_choice", "Ollama cannot force a tool");
            }
        }
        if functions.is_empty() {
            return;
        }
        self.notes.write_functions(&functions, object);
    }

    fn write_message(&mut self, index: usize, message: &Message, array: &mut ArrayWriter<'_>) {
        let path = format!("messages[{index}]");
        if message.name.is_some() {
            self.notes.dropped(format!("{path}.name"), "Ollama's messages have no names");
        }
        if message.role == Role::Tool {
            for (at, block) in message.content.iter().enumerate() {
                let path = format!("{path}.content[{at}]");
                let Content::ToolResult(result) = &block.content else {
                    self.notes.fail(&path, "a tool message holds tool results only");
                    continue;
                };
                let mut said = Said::default();
                self.read_blocks(&path, &result.content, &mut said);
                let name = name_of_call(self.request, &result.call_id).map(|name| self.notes.tool_name(name));
                array.object(|object| {
                    object.str("role", "tool");
                    object.opt_str("tool_name", name.as_deref());
                    object.str("tool_call_id", &result.call_id);
                    said.write(object);
                });
            }
            return;
        }
        let role = match message.role {
            Role::System | Role::Developer => "system",
            Role::Assistant => "assistant",
            Role::User | Role::Tool => "user",
        };
        let mut said = Said::default();
        self.read_blocks(&path, &message.content, &mut said);
        array.object(|object| {
            object.str("role", role);
            said.write(object);
            if !said.thinking.is_empty() {
                object.str("thinking", &said.thinking);
            }
            self.write_calls(&path, message, object);
        });
    }

    fn write_calls(&mut self, path: &str, message: &Message, object: &mut ObjectWriter<'_>) {
        if !message.content.iter().any(|block| matches!(block.content, Content::ToolUse(_))) {
            return;
        }
        object.array("tool_calls", |array| {
            for (index, block) in message.content.iter().enumerate() {
                let Content::ToolUse(call) = &block.content else { continue };
                let name = self.notes.tool_name(&call.name);
                let arguments = self.notes.arguments(&format!("{path}.content[{index}]"), &call.arguments);
                array.object(|object| {
                    object.str("id", &call.id);
                    object.object("function", |object| {
                        object.str("name", &name);
                        object.raw("arguments", &arguments);
                    });
                });
            }
        });
    }

    fn read_blocks(&mut self, path: &str, blocks: &[Block], said: &mut Said) {
        for (index, block) in blocks.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            self.notes.drop_extras(&path, block);
            match &block.content {
                Content::Text(text) => said.add(&text.text),
                Content::Refusal(text) => said.add(text),
                Content::Reasoning(reasoning) => said.thinking.push_str(&reasoning.text),
                Content::Image(image) => match &image.source {
                    Source::Base64 { data, .. } => said.images.push(data.clone()),
                    _ => self.notes.fail(&path, "Ollama takes images as bytes only; send base64 data"),
                },
                Content::Document(document) => match &document.source {
                    Source::Text(text) => {
                        self.notes.changed(path.as_str(), "sent as text, because Ollama takes no documents");
                        said.add(text);
                    }
                    _ => self.notes.fail(&path, "Ollama takes text and images; send the text of the document"),
                },
                Content::Audio(_) => self.notes.fail(&path, "Ollama takes no sound; send text"),
                Content::ToolUse(_) => {}
                _ => self.notes.dropped(path, "Ollama has no such block"),
            }
        }
    }
}

/// What a message says, in the flat form that the vendor has.
#[derive(Default)]
struct Said {
    text: String,
    thinking: String,
    images: Vec<String>,
}

impl Said {
    fn add(&mut self, text: &str) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn write(&self, object: &mut ObjectWriter<'_>) {
        object.str("content", &self.text);
        if !self.images.is_empty() {
            object.array("images", |array: &mut ArrayWriter<'_>| self.images.iter().for_each(|image| array.str(image)));
        }
    }
}
