//! A canonical request becomes a responses body: everything around the input itself.
//!
//! A request of another dialect asks nothing to be kept (`store: false`), as its own vendor would not keep it.

use bytes::BytesMut;

use hub::canonical::error::EncodeError;
use hub::canonical::json::Rest;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode};
use hub::canonical::tool::{FunctionTool, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, ArrayWriter, ObjectWriter, write_object};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{Dialect, EncodedRequest, Notes, ReasoningStyle, RequestOptions, call_id};

/// The least cap that OpenAI takes here.
const LEAST_TOKENS: u64 = 16;

/// Writes a request body.
pub fn encode_request(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    let mut writer =
        Writer { request, options, is_ours: request.origin == Dialect::OpenAiResponses, notes: Notes::default() };
    let mut body = BytesMut::with_capacity(1024);
    write_object(&mut body, |object| writer.write(object));
    writer.notes.finish(body)
}

pub(super) struct Writer<'r> {
    pub(super) request: &'r ChatRequest,
    options: &'r RequestOptions,
    pub(super) is_ours: bool,
    pub(super) notes: Notes,
}

impl Writer<'_> {
    /// Writes unknown fields back into their own dialect, or reports each as lost.
    pub(super) fn rest(&mut self, path: &str, rest: &Rest, object: &mut ObjectWriter<'_>) {
        if self.is_ours {
            object.rest(rest);
        } else {
            self.notes.unknown(path, rest, "OpenAI's responses have no such field");
        }
    }

    pub(super) fn tool_name(&mut self, name: &str) -> String {
        if self.is_ours { name.to_owned() } else { NameRule::OPENAI.apply(name, &mut self.notes.undo).into_owned() }
    }

    pub(super) fn call_id(&self, id: &str) -> String {
        let id = call_id::bare(id);
        if self.is_ours { id.to_owned() } else { NameRule::OPENAI.rewrite(id).into_owned() }
    }

    fn write(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        object.str("model", &request.model);
        self.write_input(object);
        self.write_state(object);
        self.write_tools(object);
        self.write_text(object);
        self.write_reasoning(object);
        self.write_limits(object);
        self.write_sampling(object);
        object.opt_str("user", request.user.as_deref());
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
            self.notes.dropped("cache_control", "the upstream caches prompts by itself");
        }
        if let Some(stream) = &request.stream {
            object.bool("stream", true);
            if self.is_ours && !stream.rest.is_empty() {
                object.object("stream_options", |object| object.rest(&stream.rest));
            } else {
                self.rest("stream_options", &stream.rest, object);
            }
        }
        self.write_unknown(object);
    }

    fn write_unknown(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        for (name, value) in request.rest.iter() {
            // Written inside its object.
            if name == "reasoning" && (self.is_ours || request.reasoning.is_some()) {
                continue;
            }
            if self.is_ours || (request.origin.is_openai() && super::COMMON.contains(&name)) {
                object.raw(name, value);
            } else {
                self.notes.dropped(name, "OpenAI's responses have no such field");
            }
        }
    }

    fn write_state(&mut self, object: &mut ObjectWriter<'_>) {
        let state = &self.request.state;
        object.opt_str("previous_response_id", state.previous.as_deref());
        object.opt_bool("background", state.background);
        let mut include: Vec<&str> = state.include.iter().map(String::as_str).collect();
        if self.is_ours {
            object.opt_bool("store", state.store);
        } else {
            object.bool("store", false);
            let reasoning = self.request.reasoning.as_ref();
            if reasoning.is_some_and(|reasoning| reasoning.mode != ReasoningMode::Disabled)
                && self.options.reasoning != ReasoningStyle::Unsupported
            {
                include.push(super::ENCRYPTED_REASONING);
            }
            if self.request.logprobs.is_some() {
                include.push(super::LOGPROBS);
            }
        }
        if !include.is_empty() {
            object.array("include", |array| include.iter().for_each(|name| array.str(name)));
        }
    }

    // === Parameters ===

    fn write_tools(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let mut is_any = false;
        for (index, tool) in request.tools.iter().enumerate() {
            match tool {
                Tool::Opaque(opaque) if !self.is_ours => {
                    let reason = format!("OpenAI's responses have no tool of type {} in this form", opaque.kind);
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
                    object.str("name", &name);
                });
            }
            Some(ToolChoice::Opaque(raw)) if self.is_ours => object.raw("tool_choice", raw),
            Some(ToolChoice::Opaque(_)) => self.notes.dropped("tool_choice", "OpenAI's responses have no such choice"),
        }
        if is_any || self.is_ours {
            object.opt_bool("parallel_tool_calls", request.parallel_tool_calls);
        }
    }

    fn write_function(&mut self, index: usize, tool: &FunctionTool, array: &mut ArrayWriter<'_>) {
        let path = format!("tools[{index}]");
        let name = self.tool_name(&tool.name);
        if tool.cache.is_some() {
            self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
        }
        array.object(|object| {
            object.str("type", "function");
            object.str("name", &name);
            object.opt_str("description", tool.description.as_deref());
            match &tool.parameters {
                Some(parameters) => object.raw("parameters", parameters),
                None if self.is_ours => {}
                None => object.null("parameters"),
            }
            match tool.strict {
                Some(is_strict) => object.bool("strict", is_strict),
                None if self.is_ours => {}
                // Strict is the default here and nowhere else.
                None => object.bool("strict", false),
            }
            self.rest(&path, &tool.rest, object);
        });
    }

    fn write_text(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let format = match &request.response_format {
            None => None,
            Some(ResponseFormat::Text) => Some(json::raw_object(|object| object.str("type", "text"))),
            Some(ResponseFormat::JsonObject) => Some(json::raw_object(|object| object.str("type", "json_object"))),
            Some(ResponseFormat::JsonSchema(schema)) => Some(json::raw_object(|object| {
                object.str("type", "json_schema");
                // OpenAI requires a name and does not look at it.
                object.str("name", schema.name.as_deref().unwrap_or("answer"));
                object.opt_str("description", schema.description.as_deref());
                match &schema.schema {
                    Some(schema) => object.raw("schema", schema),
                    None if self.is_ours => {}
                    None => object.literal("schema", r#"{"type":"object"}"#),
                }
                object.opt_bool("strict", schema.strict);
                self.rest("response_format.json_schema", &schema.rest, object);
            })),
            Some(ResponseFormat::Opaque(raw)) if self.is_ours => Some(raw.clone()),
            Some(ResponseFormat::Opaque(_)) => {
                self.notes.dropped("response_format", "OpenAI's responses have no such format");
                None
            }
        };
        if format.is_some() || request.verbosity.is_some() {
            object.object("text", |object| {
                object.opt_raw("format", format.as_ref());
                object.opt_str("verbosity", request.verbosity.as_deref());
            });
        }
    }

    fn write_reasoning(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let more = request.rest.find("reasoning").filter(|_| self.is_ours).and_then(super::fields_of);
        let (mut effort, mut summary) = (None, None);
        if let Some(reasoning) = &request.reasoning {
            let is_off = reasoning.mode == ReasoningMode::Disabled;
            if self.options.reasoning == ReasoningStyle::Unsupported {
                if !is_off {
                    self.notes.dropped("reasoning", "the model does not reason");
                }
                return;
            }
            effort.clone_from(&reasoning.effort);
            if effort.is_none() && !is_off {
                effort = reasoning.budget_tokens.map(Effort::of_budget);
                if effort.is_some() {
                    self.notes.changed("thinking.budget_tokens", "OpenAI takes an effort, not a number");
                }
            }
            if !request.origin.is_openai() && is_off {
                effort = None;
            }
            summary = match reasoning.display.as_deref() {
                summary if self.is_ours => summary,
                Some("summarized") => Some("auto"),
                _ => None,
            };
        }
        if effort.is_none() && summary.is_none() && more.is_none() {
            return;
        }
        object.object("reasoning", |object| {
            object.opt_str("effort", effort.as_ref().map(Effort::as_str));
            object.opt_str("summary", summary);
            for (name, value) in more.unwrap_or_default() {
                object.raw(&name, &value);
            }
        });
    }

    fn write_limits(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        if request.n.is_some_and(|n| n > 1) {
            self.notes.fail("n", "the upstream gives one answer per call; send several calls instead");
        }
        if let Some(limit) = request.max_tokens {
            let mut tokens = limit.tokens;
            if !self.is_ours && tokens < LEAST_TOKENS {
                self.notes.changed("max_tokens", "OpenAI's responses take 16 or more; sent as 16");
                tokens = LEAST_TOKENS;
            }
            object.u64("max_output_tokens", tokens);
        }
        if !request.stop.is_empty() {
            self.notes.dropped("stop", "OpenAI's responses have no stop texts");
        }
        if let Some(top) = request.logprobs.and_then(|logprobs| logprobs.top) {
            object.u64("top_logprobs", top.into());
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
        for (name, is_set) in [
            ("top_k", sampling.top_k.is_some()),
            ("frequency_penalty", sampling.frequency_penalty.is_some_and(|value| value != 0.0)),
            ("presence_penalty", sampling.presence_penalty.is_some_and(|value| value != 0.0)),
            ("seed", sampling.seed.is_some()),
            ("logit_bias", sampling.logit_bias.as_ref().is_some_and(|raw| raw.as_str() != "{}")),
        ] {
            if is_set {
                self.notes.dropped(name, "OpenAI's responses have no such parameter");
            }
        }
    }
}
