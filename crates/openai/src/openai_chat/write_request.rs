//! A canonical request becomes a chat completions body.
//!
//! Content that OpenAI cannot take at all (a document by address, another vendor's file id) is an error, because the
//! answer would be about something else; everything smaller is a loss.

use bytes::BytesMut;

use crate::openai_responses::COMMON;
use hub::canonical::content::{Block, CacheControl, Content, Document, Image, Message, Role, Source, ToolResult};
use hub::canonical::error::EncodeError;
use hub::canonical::json::Rest;
use hub::canonical::loss::Loss;
use hub::canonical::request::{ChatRequest, Effort, MaxTokensField, ReasoningMode};
use hub::canonical::tool::{FunctionTool, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{ArrayWriter, ObjectWriter, write_object};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{
    Dialect, EncodedRequest, MaxTokensStyle, Notes, ReasoningStyle, RequestOptions, cache_control, call_id,
};

/// Writes a request body.
pub fn encode_request(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    let mut writer =
        Writer { request, options, is_ours: request.origin == Dialect::OpenAiChat, notes: Notes::default() };
    let mut body = BytesMut::with_capacity(1024);
    write_object(&mut body, |object| writer.write(object));
    writer.notes.finish(body)
}

struct Writer<'r> {
    request: &'r ChatRequest,
    options: &'r RequestOptions,
    is_ours: bool,
    pub(super) notes: Notes,
}

impl Writer<'_> {
    /// Writes unknown fields back into their own dialect, or reports each as lost.
    fn rest(&mut self, path: &str, rest: &Rest, object: &mut ObjectWriter<'_>) {
        if self.is_ours {
            object.rest(rest);
        } else {
            self.notes.unknown(path, rest, "OpenAI has no such field");
        }
    }

    fn cache(&mut self, path: &str, cache: Option<CacheControl>, object: &mut ObjectWriter<'_>) {
        if cache.is_some() && !self.options.cache_control && !self.is_ours {
            self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
        } else {
            cache_control::write(cache, object);
        }
    }

    fn write(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        object.str("model", &request.model);
        object.array("messages", |array| {
            for (index, message) in request.messages.iter().enumerate() {
                self.write_message(index, message, array);
            }
        });
        self.write_tools(object);
        self.write_response_format(object);
        self.write_limits(object);
        self.write_sampling(object);
        self.write_reasoning(object);
        object.opt_str("user", request.user.as_deref());
        object.opt_str("verbosity", request.verbosity.as_deref());
        if request.origin.is_openai() {
            object.opt_raw("metadata", request.metadata.as_ref());
            object.opt_str("service_tier", request.service_tier.as_deref());
        } else {
            if request.metadata.is_some() {
                self.notes.dropped("metadata", "OpenAI's metadata has another meaning");
            }
            if request.service_tier.as_deref().is_some_and(|tier| tier != "auto") {
                self.notes.dropped("service_tier", "the tiers of the two vendors have nothing in common");
            }
        }
        if request.cache.is_some() {
            if self.is_ours {
                cache_control::write(request.cache, object);
            } else {
                self.notes.dropped("cache_control", "the upstream caches prompts by itself");
            }
        }
        if let Some(stream) = &request.stream {
            object.bool("stream", true);
            if self.options.stream_options {
                object.object("stream_options", |object| {
                    object.bool("include_usage", true);
                    self.rest("stream_options", &stream.rest, object);
                });
            }
        }
        for (name, value) in request.rest.iter() {
            if self.is_ours || (request.origin.is_openai() && COMMON.contains(&name)) {
                object.raw(name, value);
            } else {
                self.notes.dropped(name, "OpenAI has no such field");
            }
        }
    }

    // === Messages ===

    fn write_message(&mut self, index: usize, message: &Message, array: &mut ArrayWriter<'_>) {
        let path = format!("messages[{index}]");
        let is_opaque = |block: &Block| matches!(block.content, Content::Opaque(_));
        if !self.is_ours && !message.content.is_empty() && message.content.iter().all(is_opaque) {
            // Nothing of it is left, and OpenAI refuses a message without content.
            return message.content.iter().for_each(|block| self.write_part(&path, block, array));
        }
        match message.role {
            Role::System => self.write_plain(&path, "system", message, array),
            Role::Developer => {
                let role = if self.options.developer_role { "developer" } else { "system" };
                self.write_plain(&path, role, message, array);
            }
            Role::User => self.write_plain(&path, "user", message, array),
            Role::Assistant => array.object(|object| self.write_assistant(&path, message, object)),
            Role::Tool => self.write_tool_results(&path, message, array),
        }
    }

    fn write_plain(&mut self, path: &str, role: &str, message: &Message, array: &mut ArrayWriter<'_>) {
        array.object(|object| {
            object.str("role", role);
            object.opt_str("name", message.name.as_deref());
            self.write_content(path, &message.content.iter().collect::<Vec<_>>(), object);
            self.rest(path, &message.rest, object);
        });
    }

    /// Writes `content`: a string when one plain text is all there is, else parts.
    fn write_content(&mut self, path: &str, blocks: &[&Block], object: &mut ObjectWriter<'_>) {
        match blocks {
            [] => object.str("content", ""),
            [Block { content: Content::Text(text), cache, rest }]
                if rest.is_plain() && (cache.is_none() || !(self.is_ours || self.options.cache_control)) =>
            {
                self.cache(&format!("{path}.content[0]"), *cache, object);
                if text.citations.is_some() {
                    self.notes.dropped(format!("{path}.content[0].citations"), "OpenAI does not take citations back");
                }
                object.str("content", &text.text);
            }
            blocks => object.array("content", |array| {
                for (index, block) in blocks.iter().enumerate() {
                    self.write_part(&format!("{path}.content[{index}]"), block, array);
                }
            }),
        }
    }

    fn write_part(&mut self, path: &str, block: &Block, array: &mut ArrayWriter<'_>) {
        match &block.content {
            Content::Opaque(opaque) if self.is_ours => array.raw(&opaque.raw),
            Content::Opaque(opaque) => self.notes.dropped(path, &format!("OpenAI has no {} block", opaque.kind)),
            Content::Reasoning(_) | Content::RedactedReasoning(_) => {
                self.notes.dropped(path, "only the assistant's messages may hold reasoning");
            }
            Content::ToolUse(_) | Content::ToolResult(_) => self.notes.fail(path, "this block does not belong here"),
            _ => array.object(|object| {
                self.write_part_fields(path, &block.content, object);
                self.cache(path, block.cache, object);
                self.rest(path, &block.rest, object);
            }),
        }
    }

    fn write_part_fields(&mut self, path: &str, content: &Content, object: &mut ObjectWriter<'_>) {
        match content {
            Content::Text(text) => {
                object.str("type", "text");
                object.str("text", &text.text);
                if text.citations.is_some() {
                    self.notes.dropped(format!("{path}.citations"), "OpenAI does not take citations back");
                }
            }
            Content::Refusal(refusal) => {
                object.str("type", "refusal");
                object.str("refusal", refusal);
            }
            Content::Audio(audio) => {
                object.str("type", "input_audio");
                object.object("input_audio", |object| {
                    object.str("data", &audio.data);
                    object.str("format", &audio.format);
                });
            }
            Content::Image(image) => self.write_image(path, image, object),
            Content::Document(document) => self.write_document(path, document, object),
            // The caller has dealt with the others.
            _ => {}
        }
    }

    fn write_image(&mut self, path: &str, image: &Image, object: &mut ObjectWriter<'_>) {
        let url = match &image.source {
            Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
            Source::Url(url) => url.clone(),
            Source::File(_) | Source::Text(_) | Source::Opaque(_) => {
                return self
                    .notes
                    .fail(path, "OpenAI takes images as base64 data or by address only; send one of these");
            }
        };
        object.str("type", "image_url");
        object.object("image_url", |object| {
            object.str("url", &url);
            object.opt_str("detail", image.detail.as_deref());
        });
    }

    fn write_document(&mut self, path: &str, document: &Document, object: &mut ObjectWriter<'_>) {
        if document.context.is_some() {
            self.notes.dropped(format!("{path}.context"), "OpenAI's files have no context");
        }
        if document.citations == Some(true) {
            self.notes.dropped(format!("{path}.citations"), "OpenAI does not cite documents");
        }
        match &document.source {
            Source::Text(text) => {
                self.notes
                    .losses
                    .push(Loss::changed(path, "sent as text, because OpenAI takes no plain-text documents"));
                object.str("type", "text");
                match &document.title {
                    Some(title) => object.str("text", &format!("{title}\n\n{text}")),
                    None => object.str("text", text),
                }
            }
            Source::Base64 { media_type, data } => {
                let name = document.title.as_deref().unwrap_or("document.pdf");
                object.str("type", "file");
                object.object("file", |object| {
                    object.str("filename", name);
                    object.str("file_data", &format!("data:{media_type};base64,{data}"));
                });
            }
            Source::File(id) if self.request.origin.is_openai() => {
                object.str("type", "file");
                object.object("file", |object| object.str("file_id", id));
            }
            Source::Url(url) if self.is_ours => {
                object.str("type", "file");
                object.object("file", |object| {
                    object.opt_str("filename", document.title.as_deref());
                    object.str("file_data", url);
                });
            }
            Source::Url(_) | Source::File(_) | Source::Opaque(_) => {
                self.notes.fail(path, "OpenAI takes documents as base64 data only; send the bytes");
            }
        }
    }

    fn write_assistant(&mut self, path: &str, message: &Message, object: &mut ObjectWriter<'_>) {
        object.str("role", "assistant");
        object.opt_str("name", message.name.as_deref());
        let (mut said, mut calls, mut reasoning) = (Vec::new(), Vec::new(), Vec::new());
        let mut refusal = String::new();
        for (index, block) in message.content.iter().enumerate() {
            match &block.content {
                Content::ToolUse(_) => calls.push((index, block)),
                Content::Opaque(opaque) if self.is_ours && opaque.raw.as_str().contains("\"id\"") => {
                    calls.push((index, block));
                }
                Content::Reasoning(_) | Content::RedactedReasoning(_) => reasoning.push(&block.content),
                Content::Refusal(text) => refusal.push_str(text),
                _ => said.push(block),
            }
        }
        if said.is_empty() {
            object.null("content");
        } else {
            self.write_content(path, &said, object);
        }
        if !refusal.is_empty() {
            object.str("refusal", &refusal);
        }
        if !reasoning.is_empty() {
            if self.is_ours || self.options.replay_reasoning {
                super::write_answer::write_reasoning(&reasoning, object);
            } else {
                self.notes.dropped(format!("{path}.reasoning"), "OpenAI does not take reasoning back");
            }
        }
        if !calls.is_empty() {
            object.array("tool_calls", |array| {
                for (index, block) in calls {
                    self.write_tool_call(&format!("{path}.content[{index}]"), block, array);
                }
            });
        }
        self.rest(path, &message.rest, object);
    }

    fn write_tool_call(&mut self, path: &str, block: &Block, array: &mut ArrayWriter<'_>) {
        match &block.content {
            Content::Opaque(opaque) => array.raw(&opaque.raw),
            Content::ToolUse(call) => array.object(|object| {
                object.str("id", call_id::bare(&call.id));
                object.str("type", "function");
                let name = self.tool_name(&call.name);
                object.object("function", |object| {
                    object.str("name", &name);
                    object.str("arguments", if call.arguments.is_empty() { "{}" } else { &call.arguments });
                });
                self.cache(path, block.cache, object);
                self.rest(path, &block.rest, object);
            }),
            _ => {}
        }
    }

    /// Writes each result as its own message; pictures in them follow in a user message, because a `tool` message
    /// takes text only.
    fn write_tool_results(&mut self, path: &str, message: &Message, array: &mut ArrayWriter<'_>) {
        let mut pictures = Vec::new();
        for (index, block) in message.content.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            let Content::ToolResult(result) = &block.content else {
                self.notes.fail(&path, "a tool message holds tool results only");
                continue;
            };
            array.object(|object| self.write_tool_result(&path, message, block, result, &mut pictures, object));
        }
        if !pictures.is_empty() {
            self.notes.losses.push(Loss::changed(path, "media of tool results sent in a user message after them"));
            array.object(|object| {
                object.str("role", "user");
                object.array("content", |array| {
                    for block in &pictures {
                        self.write_part(path, block, array);
                    }
                });
            });
        }
    }

    fn write_tool_result<'m>(
        &mut self,
        path: &str,
        message: &Message,
        block: &Block,
        result: &'m ToolResult,
        pictures: &mut Vec<&'m Block>,
        object: &mut ObjectWriter<'_>,
    ) {
        object.str("role", "tool");
        object.opt_str("name", message.name.as_deref());
        object.str("tool_call_id", call_id::bare(&result.call_id));
        if result.is_error {
            self.notes.dropped(format!("{path}.is_error"), "OpenAI has no flag for failed tools; the text must say so");
        }
        self.cache(path, block.cache, object);
        let mut said = Vec::new();
        for item in &result.content {
            match &item.content {
                Content::Image(_) | Content::Document(_) if !self.is_ours => pictures.push(item),
                _ => said.push(item),
            }
        }
        self.write_content(path, &said, object);
        self.rest(path, &message.rest, object);
        if !self.is_ours {
            self.rest(path, &block.rest, object);
        }
    }

    // === Parameters ===

    fn tool_name(&mut self, name: &str) -> String {
        if self.is_ours { name.to_owned() } else { NameRule::OPENAI.apply(name, &mut self.notes.undo).into_owned() }
    }

    fn write_tools(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let mut is_any = false;
        for (index, tool) in request.tools.iter().enumerate() {
            match tool {
                Tool::Opaque(opaque) if !self.is_ours => {
                    let reason = format!("OpenAI's chat completions have no tool of type {}", opaque.kind);
                    self.notes.dropped(format!("tools[{index}]"), &reason);
                }
                _ => is_any = true,
            }
        }
        if is_any {
            object.array("tools", |array| {
                for (index, tool) in request.tools.iter().enumerate() {
                    match tool {
                        Tool::Function(tool) => self.write_function(index, tool, array),
                        Tool::Opaque(opaque) if self.is_ours => array.raw(&opaque.raw),
                        Tool::Opaque(_) => {}
                    }
                }
            });
        }
        match &request.tool_choice {
            None => {}
            // OpenAI refuses a choice without tools.
            Some(_) if !is_any && !self.is_ours => {}
            Some(ToolChoice::Auto) => object.str("tool_choice", "auto"),
            Some(ToolChoice::None) => object.str("tool_choice", "none"),
            Some(ToolChoice::Required) => object.str("tool_choice", "required"),
            Some(ToolChoice::Tool(name)) => {
                let name = self.tool_name(name);
                object.object("tool_choice", |object| {
                    object.str("type", "function");
                    object.object("function", |object| object.str("name", &name));
                });
            }
            Some(ToolChoice::Opaque(raw)) if self.is_ours => object.raw("tool_choice", raw),
            Some(ToolChoice::Opaque(_)) => self.notes.dropped("tool_choice", "OpenAI has no such choice"),
        }
        if is_any || self.is_ours {
            object.opt_bool("parallel_tool_calls", request.parallel_tool_calls);
        }
    }

    fn write_function(&mut self, index: usize, tool: &FunctionTool, array: &mut ArrayWriter<'_>) {
        let path = format!("tools[{index}]");
        let name = self.tool_name(&tool.name);
        array.object(|object| {
            object.str("type", "function");
            object.object("function", |object| {
                object.str("name", &name);
                object.opt_str("description", tool.description.as_deref());
                object.opt_raw("parameters", tool.parameters.as_ref());
                object.opt_bool("strict", tool.strict);
                let inner = tool.rest.find("function").filter(|_| self.is_ours).and_then(super::fields_of);
                for (name, value) in inner.unwrap_or_default() {
                    object.raw(&name, &value);
                }
            });
            self.cache(&path, tool.cache, object);
            let outer = tool.rest.iter().filter(|(name, _)| *name != "function");
            let outer = Rest(outer.map(|(name, value)| (name.into(), value.clone())).collect());
            self.rest(&path, &outer, object);
        });
    }

    fn write_response_format(&mut self, object: &mut ObjectWriter<'_>) {
        match &self.request.response_format {
            None => {}
            Some(ResponseFormat::Text) => object.object("response_format", |object| object.str("type", "text")),
            Some(ResponseFormat::JsonObject) => {
                object.object("response_format", |object| object.str("type", "json_object"));
            }
            Some(ResponseFormat::JsonSchema(schema)) => object.object("response_format", |object| {
                object.str("type", "json_schema");
                object.object("json_schema", |object| {
                    // OpenAI requires a name and does not look at it.
                    object.str("name", schema.name.as_deref().unwrap_or("answer"));
                    object.opt_str("description", schema.description.as_deref());
                    object.opt_raw("schema", schema.schema.as_ref());
                    object.opt_bool("strict", schema.strict);
                    self.rest("response_format.json_schema", &schema.rest, object);
                });
            }),
            Some(ResponseFormat::Opaque(raw)) if self.is_ours => object.raw("response_format", raw),
            Some(ResponseFormat::Opaque(_)) => self.notes.dropped("output_config.format", "OpenAI has no such format"),
        }
    }

    fn write_limits(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        if let Some(limit) = request.max_tokens {
            let name = match (self.options.max_tokens_field, limit.field) {
                (MaxTokensStyle::MaxTokens, _) => "max_tokens",
                (MaxTokensStyle::AsGiven, MaxTokensField::MaxTokens) if self.is_ours => "max_tokens",
                _ => "max_completion_tokens",
            };
            object.u64(name, limit.tokens);
        }
        match &*request.stop {
            [] => {}
            [stop] => object.str("stop", stop),
            stops => object.array("stop", |array| stops.iter().for_each(|stop| array.str(stop))),
        }
        if let Some(n) = request.n {
            object.u64("n", n.into());
        }
        if let Some(logprobs) = request.logprobs {
            object.bool("logprobs", true);
            if let Some(top) = logprobs.top {
                object.u64("top_logprobs", top.into());
            }
        }
    }

    fn write_sampling(&mut self, object: &mut ObjectWriter<'_>) {
        let sampling = &self.request.sampling;
        if self.options.sampling {
            object.opt_f64("temperature", sampling.temperature);
            object.opt_f64("top_p", sampling.top_p);
        } else {
            for (name, value) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
                if value.is_some() {
                    self.notes.dropped(name, "the model does not take it");
                }
            }
        }
        match sampling.top_k {
            Some(top_k) if self.is_ours => object.u64("top_k", top_k),
            Some(_) => self.notes.dropped("top_k", "OpenAI has no top_k"),
            None => {}
        }
        object.opt_f64("frequency_penalty", sampling.frequency_penalty);
        object.opt_f64("presence_penalty", sampling.presence_penalty);
        if let Some(seed) = sampling.seed {
            object.i64("seed", seed);
        }
        object.opt_raw("logit_bias", sampling.logit_bias.as_ref());
    }

    fn write_reasoning(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let Some(reasoning) = &request.reasoning else { return };
        // The caller's own extension field goes out with the rest.
        if self.is_ours && ["reasoning", "thinking"].iter().any(|name| request.rest.find(name).is_some()) {
            return;
        }
        let path = if self.is_ours { "reasoning_effort" } else { "thinking" };
        if self.options.reasoning == ReasoningStyle::Unsupported {
            if reasoning.mode != ReasoningMode::Disabled {
                self.notes.dropped(path, "the model does not reason");
            }
            return;
        }
        if let Some(effort) = &reasoning.effort {
            if request.origin.is_openai() || reasoning.mode != ReasoningMode::Disabled {
                object.str("reasoning_effort", effort.as_str());
            }
        } else if let Some(budget) = reasoning.budget_tokens.filter(|_| reasoning.mode != ReasoningMode::Disabled) {
            self.notes.losses.push(Loss::changed("thinking.budget_tokens", "OpenAI takes an effort, not a number"));
            object.str("reasoning_effort", Effort::of_budget(budget).as_str());
        }
    }
}
