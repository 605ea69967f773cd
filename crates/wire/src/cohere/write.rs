//! A canonical request becomes a body of `/v2/chat`.

use bytes::BytesMut;

use hub::canonical::content::{Block, Content, Image, Message, Role, Source, ToolResult};
use hub::canonical::error::EncodeError;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode};
use hub::canonical::tool::{ResponseFormat, ToolChoice};
use hub::codec::json::{ArrayWriter, ObjectWriter, write_object};
use hub::dialect::{EncodedRequest, ReasoningStyle, RequestOptions};

use crate::Notes;

pub(super) fn encode(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    let mut writer = Writer { request, options, notes: Notes::new(request, "Cohere") };
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
        object.bool("stream", request.stream.is_some());
        self.write_tools(object);
        self.write_format(object);
        self.write_limits(object);
        self.write_thinking(object);
        self.notes.drop_all_but_usual();
    }

    fn write_limits(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        if let Some(limit) = request.max_tokens {
            object.u64("max_tokens", limit.tokens);
        }
        if !request.stop.is_empty() {
            object.array("stop_sequences", |array| request.stop.iter().for_each(|stop| array.str(stop)));
        }
        let sampling = &request.sampling;
        object.opt_f64("temperature", sampling.temperature);
        object.opt_f64("p", sampling.top_p);
        if let Some(top_k) = sampling.top_k {
            object.u64("k", top_k);
        }
        for (name, value) in
            [("frequency_penalty", sampling.frequency_penalty), ("presence_penalty", sampling.presence_penalty)]
        {
            if value.is_some_and(|value| value < 0.0) {
                self.notes.dropped(name, "Cohere takes 0 to 1");
            } else if value.is_some_and(|value| value > 1.0) {
                self.notes.changed(name, "Cohere takes 0 to 1; sent as 1");
                object.opt_f64(name, Some(1.0));
            } else {
                object.opt_f64(name, value);
            }
        }
        if let Some(seed) = sampling.seed {
            object.i64("seed", seed);
        }
    }

    fn write_thinking(&mut self, object: &mut ObjectWriter<'_>) {
        let Some(reasoning) = &self.request.reasoning else { return };
        let is_off = reasoning.mode == ReasoningMode::Disabled || reasoning.effort == Some(Effort::None);
        if self.options.reasoning == ReasoningStyle::Unsupported {
            if !is_off {
                self.notes.dropped("reasoning", "the model does not reason");
            }
            return;
        }
        let budget = reasoning.budget_tokens.or(match reasoning.effort {
            Some(Effort::Minimal | Effort::Low) => Some(1_024),
            Some(Effort::Medium) => Some(2_048),
            Some(Effort::High) => Some(4_096),
            // As much as it likes.
            _ => None,
        });
        object.object("thinking", |object| {
            object.str("type", if is_off { "disabled" } else { "enabled" });
            if let Some(budget) = budget.filter(|_| !is_off) {
                object.u64("token_budget", budget);
            }
        });
    }

    // === Messages ===

    fn write_message(&mut self, index: usize, message: &Message, array: &mut ArrayWriter<'_>) {
        let path = format!("messages[{index}]");
        if message.name.is_some() {
            self.notes.dropped(format!("{path}.name"), "Cohere's messages have no names");
        }
        match message.role {
            Role::Tool => {
                for (at, block) in message.content.iter().enumerate() {
                    let path = format!("{path}.content[{at}]");
                    match &block.content {
                        Content::ToolResult(result) => array.object(|object| self.write_result(&path, result, object)),
                        _ => self.notes.fail(&path, "a tool message holds tool results only"),
                    }
                }
            }
            Role::Assistant => array.object(|object| self.write_assistant(&path, message, object)),
            Role::System | Role::Developer => array.object(|object| {
                object.str("role", "system");
                self.write_content(&path, &message.content, object);
            }),
            Role::User => array.object(|object| {
                object.str("role", "user");
                self.write_content(&path, &message.content, object);
            }),
        }
    }

    fn write_content(&mut self, path: &str, blocks: &[Block], object: &mut ObjectWriter<'_>) {
        if let [Block { content: Content::Text(text), .. }] = blocks {
            self.note_block(&format!("{path}.content[0]"), &blocks[0]);
            return object.str("content", &text.text);
        }
        object.array("content", |array| {
            for (index, block) in blocks.iter().enumerate() {
                let path = format!("{path}.content[{index}]");
                self.note_block(&path, block);
                match &block.content {
                    Content::Text(text) => array.object(|object| {
                        object.str("type", "text");
                        object.str("text", &text.text);
                    }),
                    Content::Image(image) => self.write_image(&path, image, array),
                    Content::Document(_) | Content::Audio(_) => {
                        self.notes.fail(&path, "Cohere takes text and images; send the text of the document");
                    }
                    _ => self.notes.dropped(path, "Cohere has no such block"),
                }
            }
        });
    }

    /// Reports what a block carries that has no place here.
    fn note_block(&mut self, path: &str, block: &Block) {
        self.notes.drop_extras(path, block);
        if let Content::Text(text) = &block.content
            && text.citations.is_some()
        {
            self.notes.dropped(format!("{path}.citations"), "citations of another vendor");
        }
    }

    fn write_image(&mut self, path: &str, image: &Image, array: &mut ArrayWriter<'_>) {
        let url = match &image.source {
            Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
            Source::Url(url) => url.clone(),
            Source::File(_) | Source::Text(_) | Source::Opaque(_) => {
                return self.notes.fail(path, "Cohere takes images as base64 data or by address only");
            }
        };
        array.object(|object| {
            object.str("type", "image_url");
            object.object("image_url", |object| {
                object.str("url", &url);
                object.opt_str("detail", image.detail.as_deref());
            });
        });
    }

    fn write_assistant(&mut self, path: &str, message: &Message, object: &mut ObjectWriter<'_>) {
        object.str("role", "assistant");
        let has_calls = message.content.iter().any(|block| matches!(block.content, Content::ToolUse(_)));
        let (mut said, mut thought) = (Vec::new(), Vec::new());
        for (index, block) in message.content.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            self.note_block(&path, block);
            match &block.content {
                Content::Text(text) => said.push(text.text.as_str()),
                Content::Refusal(text) => said.push(text),
                Content::Reasoning(reasoning) => {
                    if reasoning.signature.is_some() {
                        self.notes.dropped(format!("{path}.signature"), "Cohere does not sign reasoning");
                    }
                    thought.push(reasoning.text.as_str());
                }
                Content::ToolUse(_) => {}
                _ => self.notes.dropped(path, "Cohere has no such block"),
            }
        }
        if has_calls {
            // With tool calls the thought is the plan, and there is no other content.
            let plan: Vec<&str> = thought.iter().chain(&said).copied().filter(|text| !text.is_empty()).collect();
            if !plan.is_empty() {
                object.str("tool_plan", &plan.join("\n"));
            }
            object.array("tool_calls", |array| {
                for block in &message.content {
                    let Content::ToolUse(call) = &block.content else { continue };
                    let name = self.notes.tool_name(&call.name);
                    array.object(|object| {
                        object.str("id", &call.id);
                        object.str("type", "function");
                        object.object("function", |object| {
                            object.str("name", &name);
                            object.str("arguments", if call.arguments.is_empty() { "{}" } else { &call.arguments });
                        });
                    });
                }
            });
            return;
        }
        object.array("content", |array| {
            for text in thought.iter().filter(|text| !text.is_empty()) {
                array.object(|object| {
                    object.str("type", "thinking");
                    object.str("thinking", text);
                });
            }
            for text in &said {
                array.object(|object| {
                    object.str("type", "text");
                    object.str("text", text);
                });
            }
        });
    }

    fn write_result(&mut self, path: &str, result: &ToolResult, object: &mut ObjectWriter<'_>) {
        object.str("role", "tool");
        object.str("tool_call_id", &result.call_id);
        let mut text = String::new();
        for (index, block) in result.content.iter().enumerate() {
            match &block.content {
                Content::Text(part) => text.push_str(&part.text),
                _ => self.notes.dropped(format!("{path}.content[{index}]"), "Cohere's results hold text only"),
            }
        }
        if result.is_error {
            self.notes.changed(format!("{path}.is_error"), "said in the text of the result");
            text.insert_str(0, "Error: ");
        }
        object.str("content", &text);
    }

    // === Tools and format ===

    fn write_tools(&mut self, object: &mut ObjectWriter<'_>) {
        let mut functions = self.notes.functions();
        // There is no choice of one tool by name; offering only that one and requiring a call says the same.
        let mut choice = self.request.tool_choice.clone();
        if let Some(ToolChoice::Tool(wanted)) = &choice {
            functions.retain(|tool| tool.name == *wanted);
            choice = Some(ToolChoice::Required);
        }
        if functions.is_empty() {
            return;
        }
        self.notes.write_functions(&functions, object);
        if functions.iter().any(|tool| tool.strict == Some(true)) {
            if functions.iter().any(|tool| tool.strict != Some(true)) {
                self.notes.changed("tools", "Cohere is strict with all tools or none; all are");
            }
            object.bool("strict_tools", true);
        }
        match choice {
            Some(ToolChoice::Required) => object.str("tool_choice", "REQUIRED"),
            Some(ToolChoice::None) => object.str("tool_choice", "NONE"),
            Some(ToolChoice::Opaque(_)) => self.notes.dropped("tool_choice", "Cohere has no such choice"),
            _ => {}
        }
    }

    fn write_format(&mut self, object: &mut ObjectWriter<'_>) {
        let schema = match &self.request.response_format {
            None | Some(ResponseFormat::Text) => return,
            Some(ResponseFormat::JsonObject) => None,
            Some(ResponseFormat::JsonSchema(wanted)) => wanted.schema.as_ref(),
            Some(ResponseFormat::Opaque(_)) => {
                return self.notes.dropped("response_format", "Cohere has no such format");
            }
        };
        object.object("response_format", |object| {
            object.str("type", "json_object");
            object.opt_raw("json_schema", schema);
        });
    }
}
