//! A canonical request becomes a messages body: everything around the conversation itself.
//!
//! Content that Anthropic cannot take at all (sound, another vendor's file id, several answers at once) is an error,
//! because the answer would be about something else; everything smaller is a loss.

use bytes::BytesMut;

use hub::canonical::content::Content;
use hub::canonical::error::EncodeError;
use hub::canonical::json::{Raw, Rest};
use hub::canonical::request::ChatRequest;
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, ArrayWriter, ObjectWriter, write_object};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{Dialect, EncodedRequest, Notes, RequestOptions, SchemaStyle, cache_control};

use super::schema;
use super::thinking::{self, Thinking};

/// Writes a request body of `/v1/messages`.
pub fn encode_request(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    encode(request, options, Purpose::Answer)
}

/// Writes a request body of `/v1/messages/count_tokens`.
pub fn encode_count_request(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    encode(request, options, Purpose::Count)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Answer,
    Count,
}

fn encode(request: &ChatRequest, options: &RequestOptions, purpose: Purpose) -> Result<EncodedRequest, EncodeError> {
    let mut notes = Notes::default();
    let thinking = thinking::plan(request, options, &mut notes.losses);
    let mut writer =
        Writer { request, options, is_ours: request.origin == Dialect::AnthropicMessages, thinking, notes };
    let mut body = BytesMut::with_capacity(1024);
    write_object(&mut body, |object| writer.write(purpose, object));
    writer.notes.finish(body)
}

pub(super) struct Writer<'r> {
    pub(super) request: &'r ChatRequest,
    options: &'r RequestOptions,
    pub(super) is_ours: bool,
    pub(super) thinking: Thinking,
    pub(super) notes: Notes,
}

impl Writer<'_> {
    /// Writes unknown fields back into their own dialect, or reports each as lost.
    pub(super) fn rest(&mut self, path: &str, rest: &Rest, object: &mut ObjectWriter<'_>) {
        if self.is_ours {
            object.rest(rest);
        } else {
            self.notes.unknown(path, rest, "Anthropic has no such field");
        }
    }

    pub(super) fn tool_name(&mut self, name: &str) -> String {
        if self.is_ours { name.to_owned() } else { NameRule::ANTHROPIC.apply(name, &mut self.notes.undo).into_owned() }
    }

    fn write(&mut self, purpose: Purpose, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        object.str("model", &request.model);
        if purpose == Purpose::Answer {
            let cap = request.max_tokens.map(|limit| limit.tokens);
            object.u64("max_tokens", self.thinking.cap(cap, self.options.default_max_tokens));
        }
        self.write_conversation(object);
        let text_tool = self.text_tool();
        self.write_tools(text_tool.as_ref(), object);
        self.write_thinking(object);
        self.write_output_config(text_tool.is_some(), object);
        cache_control::write(request.cache, object);
        if purpose == Purpose::Answer {
            self.write_answer_fields(object);
        }
        self.write_unknown(object);
    }

    // === Parameters ===

    fn write_answer_fields(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        if request.n.is_some_and(|n| n > 1) {
            self.notes.fail("n", "the upstream gives one answer per call; send several calls instead");
        }
        self.write_sampling(object);
        let stops: Vec<&str> = request.stop.iter().map(String::as_str).collect();
        let is_taken = |stop: &&&str| self.is_ours || !stop.trim().is_empty();
        let taken: Vec<&str> = stops.iter().filter(is_taken).copied().collect();
        if taken.len() < stops.len() {
            self.notes.dropped("stop", "Anthropic refuses stop texts of blanks only");
        }
        if !taken.is_empty() {
            object.array("stop_sequences", |array| taken.iter().for_each(|stop| array.str(stop)));
        }
        self.write_metadata(object);
        match request.service_tier.as_deref() {
            Some(tier) if self.is_ours => object.str("service_tier", tier),
            None | Some("auto" | "default") => {}
            Some(_) => self.notes.dropped("service_tier", "the tiers of the two vendors have nothing in common"),
        }
        if request.stream.is_some() {
            object.bool("stream", true);
        }
        let sampling = &request.sampling;
        for (name, is_set) in [
            ("frequency_penalty", sampling.frequency_penalty.is_some_and(|value| value != 0.0)),
            ("presence_penalty", sampling.presence_penalty.is_some_and(|value| value != 0.0)),
            ("seed", sampling.seed.is_some()),
            ("logit_bias", sampling.logit_bias.as_ref().is_some_and(|raw| raw.as_str() != "{}")),
            ("logprobs", request.logprobs.is_some()),
        ] {
            if is_set {
                self.notes.dropped(name, "Anthropic has no such parameter");
            }
        }
    }

    fn write_sampling(&mut self, object: &mut ObjectWriter<'_>) {
        let sampling = &self.request.sampling;
        let mut temperature = sampling.temperature;
        if !self.is_ours && temperature.is_some_and(|value| value > 1.0) {
            self.notes.changed("temperature", "Anthropic takes 0 to 1; sent as 1");
            temperature = Some(1.0);
        }
        let reason = if !self.options.sampling {
            Some("the model does not take it")
        } else if !self.is_ours && self.thinking.is_on() {
            Some("Anthropic does not take it together with thinking")
        } else {
            None
        };
        let Some(reason) = reason else {
            object.opt_f64("temperature", temperature);
            object.opt_f64("top_p", sampling.top_p);
            if let Some(top_k) = sampling.top_k {
                object.u64("top_k", top_k);
            }
            return;
        };
        for (name, is_set) in [
            ("temperature", temperature.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON)),
            ("top_p", sampling.top_p.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON)),
            ("top_k", sampling.top_k.is_some()),
        ] {
            if is_set {
                self.notes.dropped(name, reason);
            }
        }
    }

    fn write_metadata(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let mut user = request.user.as_deref();
        if !self.is_ours && user.is_some_and(|user| user.contains('@')) {
            self.notes.dropped("user", "Anthropic wants no e-mail address here");
            user = None;
        }
        let rest = request.metadata.as_ref().filter(|_| self.is_ours).and_then(fields_of);
        if request.metadata.is_some() && !self.is_ours {
            self.notes.dropped("metadata", "Anthropic's metadata holds nothing but the user");
        }
        if user.is_none() && rest.is_none() {
            return;
        }
        object.object("metadata", |object| {
            object.opt_str("user_id", user);
            for (name, value) in rest.unwrap_or_default() {
                object.raw(&name, &value);
            }
        });
    }

    fn write_unknown(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        // Already said in Anthropic's words, or written inside their objects.
        let known = if self.is_ours { ["thinking", "output_config"] } else { ["thinking", "reasoning"] };
        let rest = request.rest.iter().filter(|(name, _)| !known.contains(name));
        let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
        self.rest("", &rest, object);
        if let Some(stream) = &request.stream {
            self.rest("stream_options", &stream.rest, object);
        }
    }

    // === Tools and format ===

    /// The tool that stands for a wanted form of the answer, where the model has no structured output for it.
    fn text_tool(&mut self) -> Option<TextTool> {
        let (schema, description) = match &self.request.response_format {
            Some(ResponseFormat::JsonObject) => (None, None),
            Some(ResponseFormat::JsonSchema(JsonSchema { schema: None, description, .. })) => {
                (None, description.clone())
            }
            Some(ResponseFormat::JsonSchema(JsonSchema { schema, description, .. }))
                if self.options.json_schema == SchemaStyle::ForcedTool =>
            {
                (schema.clone(), description.clone())
            }
            _ => return None,
        };
        let mut name = String::from("json_tool_call");
        while self.request.tools.iter().any(|tool| matches!(tool, Tool::Function(tool) if tool.name == name)) {
            name.push('_');
        }
        self.notes.undo.text_tool = Some(name.as_str().into());
        Some(TextTool { name, schema, description })
    }

    fn write_tools(&mut self, text_tool: Option<&TextTool>, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        for (index, tool) in request.tools.iter().enumerate() {
            if let Tool::Opaque(opaque) = tool
                && !self.is_ours
            {
                let reason = format!("Anthropic has no tool of type {} in this form", opaque.kind);
                self.notes.dropped(format!("tools[{index}]"), &reason);
            }
        }
        let has_tools = request.tools.iter().any(|tool| self.is_ours || matches!(tool, Tool::Function(_)));
        let past = if has_tools || self.is_ours { Vec::new() } else { tools_of_history(request) };
        if !has_tools && past.is_empty() && text_tool.is_none() {
            return self.write_choice_without_tools(object);
        }
        object.array("tools", |array| {
            for (index, tool) in request.tools.iter().enumerate() {
                match tool {
                    Tool::Function(tool) => self.write_function(index, tool, array),
                    Tool::Opaque(opaque) if self.is_ours => array.raw(&opaque.raw),
                    Tool::Opaque(_) => {}
                }
            }
            for name in &past {
                let name = self.tool_name(name);
                array.object(|object| {
                    object.str("name", &name);
                    object.literal("input_schema", EMPTY_SCHEMA);
                });
            }
            if let Some(tool) = text_tool {
                array.object(|object| tool.write(object));
            }
        });
        if !past.is_empty() {
            self.notes.changed(
                "tools",
                "Anthropic wants the tools of past calls declared; they were, and calling them is off",
            );
        }
        self.write_tool_choice(has_tools, !past.is_empty(), text_tool, object);
    }

    /// Anthropic's own clients may send a choice without tools; it is theirs to be told off for.
    fn write_choice_without_tools(&mut self, object: &mut ObjectWriter<'_>) {
        if self.is_ours && self.request.tool_choice.is_some() {
            self.write_tool_choice(true, false, None, object);
        }
    }

    fn write_tool_choice(
        &mut self,
        has_tools: bool,
        is_past_only: bool,
        text_tool: Option<&TextTool>,
        object: &mut ObjectWriter<'_>,
    ) {
        let request = self.request;
        let mut choice = if has_tools { request.tool_choice.clone() } else { None };
        if let Some(tool) = text_tool {
            choice = match choice {
                None | Some(ToolChoice::Auto) if has_tools => Some(ToolChoice::Required),
                None | Some(ToolChoice::Auto | ToolChoice::None) => Some(ToolChoice::Tool(tool.name.clone())),
                other => other,
            };
        } else if is_past_only {
            choice = Some(ToolChoice::None);
        }
        let is_forced = matches!(choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
        if is_forced && self.thinking.is_on() && !self.is_ours {
            let path = if text_tool.is_some() { "response_format" } else { "tool_choice" };
            self.notes.changed(path, "Anthropic does not force a tool while thinking; the model may choose");
            choice = Some(ToolChoice::Auto);
        }
        let is_serial = request.parallel_tool_calls == Some(false) && has_tools;
        if choice.is_none() && is_serial {
            choice = Some(ToolChoice::Auto);
        }
        let (kind, name) = match choice {
            None => return,
            Some(ToolChoice::Auto) => ("auto", None),
            Some(ToolChoice::None) => ("none", None),
            Some(ToolChoice::Required) => ("any", None),
            Some(ToolChoice::Tool(name)) => ("tool", Some(self.tool_name(&name))),
            Some(ToolChoice::Opaque(_)) => return self.notes.dropped("tool_choice", "Anthropic has no such choice"),
        };
        object.object("tool_choice", |object| {
            object.str("type", kind);
            object.opt_str("name", name.as_deref());
            if kind != "none" && (is_serial || (self.is_ours && request.parallel_tool_calls.is_some())) {
                object.bool("disable_parallel_tool_use", is_serial);
            }
        });
    }

    fn write_function(&mut self, index: usize, tool: &FunctionTool, array: &mut ArrayWriter<'_>) {
        let path = format!("tools[{index}]");
        let name = self.tool_name(&tool.name);
        array.object(|object| {
            object.str("name", &name);
            object.opt_str("description", tool.description.as_deref());
            match &tool.parameters {
                None => object.literal("input_schema", EMPTY_SCHEMA),
                Some(schema) if self.is_ours => object.raw("input_schema", schema),
                Some(schema) => object.raw("input_schema", &self.fit_parameters(&path, tool, schema)),
            }
            match tool.strict {
                // Strictness is part of structured output: models without it refuse the field.
                Some(true) if !self.is_ours && self.options.json_schema == SchemaStyle::ForcedTool => {
                    self.notes.dropped(format!("{path}.function.strict"), "the model has no structured output");
                }
                Some(false) if !self.is_ours => {}
                strict => object.opt_bool("strict", strict),
            }
            cache_control::write(tool.cache, object);
            self.rest(&path, &tool.rest, object);
        });
    }

    /// A strict tool's schema must obey the rules of structured output.
    fn fit_parameters(&mut self, path: &str, tool: &FunctionTool, schema: &Raw) -> Raw {
        if tool.strict != Some(true) || self.options.json_schema == SchemaStyle::ForcedTool {
            return with_type(schema);
        }
        let path = format!("{path}.function.parameters");
        if let Some(fitted) = schema::fit(schema, &path, &mut self.notes.losses) {
            return with_type(&fitted);
        }
        self.notes.fail(&path, "the schema is nested too deeply; keep it under 128 levels");
        with_type(schema)
    }

    fn write_thinking(&mut self, object: &mut ObjectWriter<'_>) {
        let nested = self.request.rest.find("thinking").filter(|_| self.is_ours).and_then(fields_of);
        self.thinking.write(&nested.unwrap_or_default(), object);
    }

    fn write_output_config(&mut self, is_tool: bool, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let nested = request.rest.find("output_config").filter(|_| self.is_ours).and_then(fields_of);
        let nested = nested.unwrap_or_default();
        let effort = self.thinking.effort();
        let format = match &request.response_format {
            Some(ResponseFormat::JsonSchema(schema)) if !is_tool => self.fit_schema(schema),
            Some(ResponseFormat::Opaque(raw)) if self.is_ours => Some(raw.clone()),
            Some(ResponseFormat::Opaque(_)) => {
                self.notes.dropped("response_format", "Anthropic has no such format");
                None
            }
            _ => None,
        };
        if effort.is_none() && format.is_none() && nested.is_empty() {
            return;
        }
        object.object("output_config", |object| {
            object.opt_str("effort", effort.as_deref());
            object.opt_raw("format", format.as_ref());
            for (name, value) in &nested {
                object.raw(name, value);
            }
        });
    }

    fn fit_schema(&mut self, wanted: &JsonSchema) -> Option<Raw> {
        let schema = wanted.schema.as_ref()?;
        let path = "response_format.json_schema.schema";
        let fitted =
            if self.is_ours { Some(schema.clone()) } else { schema::fit(schema, path, &mut self.notes.losses) };
        let Some(fitted) = fitted else {
            self.notes.fail(path, "the schema is nested too deeply; keep it under 128 levels");
            return None;
        };
        if wanted.description.is_some() {
            self.notes.dropped("response_format.json_schema.description", "Anthropic's formats have no description");
        }
        Some(json::raw_object(|object| {
            object.str("type", "json_schema");
            object.raw("schema", &fitted);
            self.rest("response_format.json_schema", &wanted.rest, object);
        }))
    }
}

const EMPTY_SCHEMA: &str = r#"{"type":"object","properties":{}}"#;

struct TextTool {
    name: String,
    schema: Option<Raw>,
    description: Option<String>,
}

impl TextTool {
    fn write(&self, object: &mut ObjectWriter<'_>) {
        object.str("name", &self.name);
        let description = self.description.as_deref();
        object
            .str("description", description.unwrap_or("Gives the answer to the user as JSON. Always answer with it."));
        match &self.schema {
            Some(schema) => object.raw("input_schema", &with_type(schema)),
            None => object.literal("input_schema", r#"{"type":"object","additionalProperties":true}"#),
        }
    }
}

/// Anthropic requires `type` at the root of a tool's schema; OpenAI does not.
fn with_type(schema: &Raw) -> Raw {
    match fields_of(schema) {
        Some(fields) if !fields.iter().any(|(name, _)| &**name == "type") => json::raw_object(|object| {
            object.str("type", "object");
            object.rest(&Rest(fields));
        }),
        _ => schema.clone(),
    }
}

/// Names of the tools that were called earlier in the conversation.
fn tools_of_history(request: &ChatRequest) -> Vec<&str> {
    let mut names = Vec::new();
    for block in request.messages.iter().flat_map(|message| &message.content) {
        if let Content::ToolUse(call) = &block.content
            && !names.contains(&call.name.as_str())
        {
            names.push(call.name.as_str());
        }
    }
    names
}

pub(super) fn fields_of(raw: &Raw) -> Option<Vec<(Box<str>, Raw)>> {
    Some(json::root(raw.as_str().as_bytes()).ok()?.object().ok()?.rest().0)
}
