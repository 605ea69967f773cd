//! A canonical request becomes a `generateContent` body: everything around the conversation itself.
//!
//! Content that Gemini cannot take at all (another vendor's file id) is an error, because the answer would be about
//! something else; everything smaller is a loss.

use std::collections::BTreeMap;

use bytes::BytesMut;

use hub::canonical::error::EncodeError;
use hub::canonical::json::{Raw, Rest};
use hub::canonical::request::ChatRequest;
use hub::canonical::tool::{FunctionTool, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, ArrayWriter, ObjectWriter, write_object};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{Dialect, EncodedRequest, Notes, RequestOptions, SchemaStyle};

use super::thinking::{self, Thinking};
use super::{OWN_SCHEMA, schema};

/// The most stop texts that the vendor takes.
const MAX_STOPS: usize = 5;

/// Writes a request body of `generateContent` or `streamGenerateContent`.
pub fn encode_request(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    encode(request, options, Writer::write)
}

/// How an upstream takes the instructions and tools of a prompt whose tokens it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountForm {
    /// In a whole request inside the body: Google AI Studio.
    Wrapped,
    /// In the body: Vertex AI.
    Flat,
}

/// Writes a request body of `countTokens`.
pub fn encode_count_request(
    request: &ChatRequest,
    options: &RequestOptions,
    form: CountForm,
) -> Result<EncodedRequest, EncodeError> {
    encode(request, options, |writer, object| match form {
        CountForm::Flat => writer.write_prompt(object),
        CountForm::Wrapped => object.object("generateContentRequest", |object| {
            object.str("model", &format!("models/{}", request.model));
            writer.write_prompt(object);
        }),
    })
}

fn encode<'r>(
    request: &'r ChatRequest,
    options: &'r RequestOptions,
    fill: impl FnOnce(&mut Writer<'r>, &mut ObjectWriter<'_>),
) -> Result<EncodedRequest, EncodeError> {
    let mut notes = Notes::default();
    let thinking = thinking::plan(request, options, &mut notes.losses);
    let is_ours = request.origin == Dialect::Gemini;
    let mut writer = Writer { request, options, is_ours, calls: BTreeMap::new(), thinking, notes };
    let mut body = BytesMut::with_capacity(1024);
    write_object(&mut body, |object| fill(&mut writer, object));
    writer.notes.finish(body)
}

pub(super) struct Writer<'r> {
    pub(super) request: &'r ChatRequest,
    pub(super) options: &'r RequestOptions,
    pub(super) is_ours: bool,
    /// Position and name of each call of the conversation, by id.
    pub(super) calls: BTreeMap<&'r str, (usize, &'r str)>,
    thinking: Thinking,
    pub(super) notes: Notes,
}

impl Writer<'_> {
    /// Writes unknown fields back into their own dialect, or reports each as lost.
    pub(super) fn rest(&mut self, path: &str, rest: &Rest, object: &mut ObjectWriter<'_>) {
        for (name, value) in rest.unknown() {
            if self.is_ours {
                object.raw(name, value);
            } else {
                let dot = if path.is_empty() { "" } else { "." };
                self.notes.dropped(format!("{path}{dot}{name}"), "Gemini has no such field");
            }
        }
    }

    /// Returns the unknown fields of a nested object of the caller's own.
    fn nested(&self, name: &str) -> Rest {
        self.request.rest.find(name).filter(|_| self.is_ours).map(fields_of).unwrap_or_default()
    }

    /// The vendor wants a letter or `_` first.
    pub(super) fn tool_name(&mut self, name: &str) -> String {
        if self.is_ours {
            return name.to_owned();
        }
        if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return NameRule::OPENAI.apply(name, &mut self.notes.undo).into_owned();
        }
        let prefixed = format!("_{name}");
        let sent = NameRule::OPENAI.rewrite(&prefixed).into_owned();
        if !self.notes.undo.tool_names.iter().any(|(known, _)| **known == *sent) {
            self.notes.undo.tool_names.push((sent.as_str().into(), name.into()));
        }
        sent
    }

    fn write(&mut self, object: &mut ObjectWriter<'_>) {
        self.write_prompt(object);
        let mut config = BytesMut::new();
        write_object(&mut config, |object| self.write_config(object));
        if config.len() > 2 {
            object.literal("generationConfig", std::str::from_utf8(&config).unwrap_or("{}"));
        }
        self.write_around(object);
    }

    fn write_prompt(&mut self, object: &mut ObjectWriter<'_>) {
        self.write_conversation(object);
        self.write_tools(object);
    }

    /// What stands beside the prompt and the parameters, and what cannot be said at all.
    fn write_around(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        match request.service_tier.as_deref() {
            Some(tier) if self.is_ours => object.str("serviceTier", tier),
            Some(tier @ ("flex" | "priority")) => object.str("serviceTier", tier),
            None | Some("auto" | "default") => {}
            Some(_) => self.notes.dropped("service_tier", "the tiers of the two vendors have nothing in common"),
        }
        for (name, is_set) in [
            ("user", request.user.is_some()),
            ("metadata", request.metadata.is_some()),
            ("logit_bias", request.sampling.logit_bias.as_ref().is_some_and(|raw| raw.as_str() != "{}")),
        ] {
            if is_set {
                self.notes.dropped(name, "Gemini has no such parameter");
            }
        }
        if request.cache.is_some() {
            self.notes.dropped("cache_control", "the upstream caches prompts by itself");
        }
        if request.parallel_tool_calls == Some(false) {
            self.notes.dropped("parallel_tool_calls", "Gemini has no switch for it");
        }
        let rest = request.rest.iter().filter(|(name, _)| {
            // Written inside their objects, or already understood.
            let known = if self.is_ours { ["generationConfig", "toolConfig"] } else { ["thinking", "reasoning"] };
            !known.contains(name)
        });
        let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
        self.rest("", &rest, object);
        if let Some(stream) = &request.stream {
            self.rest("stream_options", &stream.rest, object);
        }
    }

    // === Parameters ===

    fn write_config(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        self.write_sampling(object);
        if let Some(n) = request.n {
            object.u64("candidateCount", n.into());
        }
        if let Some(cap) = request.max_tokens {
            object.u64("maxOutputTokens", cap.tokens);
        }
        let n_stops = if self.is_ours { request.stop.len() } else { request.stop.len().min(MAX_STOPS) };
        if n_stops < request.stop.len() {
            self.notes.changed("stop", "Gemini takes five; the first five were sent");
        }
        if n_stops > 0 {
            object.array("stopSequences", |array| request.stop[..n_stops].iter().for_each(|stop| array.str(stop)));
        }
        if let Some(logprobs) = request.logprobs {
            object.bool("responseLogprobs", true);
            if let Some(top) = logprobs.top {
                object.u64("logprobs", top.into());
            }
        }
        self.write_format(object);
        let mut rest = self.nested("generationConfig");
        let more = rest.0.iter().position(|(name, _)| &**name == "thinkingConfig").map(|at| rest.0.remove(at).1);
        if more.is_some() || !self.thinking.is_silent() {
            object.object("thinkingConfig", |object| {
                self.thinking.write(object);
                object.rest(&more.as_ref().map(fields_of).unwrap_or_default());
            });
        }
        object.rest(&rest);
    }

    fn write_sampling(&mut self, object: &mut ObjectWriter<'_>) {
        let sampling = &self.request.sampling;
        if self.options.sampling {
            object.opt_f64("temperature", sampling.temperature);
            object.opt_f64("topP", sampling.top_p);
            if let Some(top_k) = sampling.top_k {
                object.u64("topK", top_k);
            }
        } else {
            for (name, is_set) in [
                ("temperature", sampling.temperature.is_some()),
                ("top_p", sampling.top_p.is_some()),
                ("top_k", sampling.top_k.is_some()),
            ] {
                if is_set {
                    self.notes.dropped(name, "the model does not take it");
                }
            }
        }
        object.opt_f64("presencePenalty", sampling.presence_penalty);
        object.opt_f64("frequencyPenalty", sampling.frequency_penalty);
        match sampling.seed {
            Some(seed) if self.is_ours || i32::try_from(seed).is_ok() => object.i64("seed", seed),
            Some(_) => self.notes.dropped("seed", "Gemini takes seeds of 32 bits"),
            None => {}
        }
    }

    fn write_format(&mut self, object: &mut ObjectWriter<'_>) {
        match &self.request.response_format {
            Some(ResponseFormat::Text) if self.is_ours => object.str("responseMimeType", "text/plain"),
            None | Some(ResponseFormat::Text) => {}
            Some(ResponseFormat::JsonObject) => object.str("responseMimeType", "application/json"),
            Some(ResponseFormat::JsonSchema(wanted)) => {
                object.str("responseMimeType", "application/json");
                let path = "response_format.json_schema";
                if wanted.description.is_some() {
                    self.notes.dropped(format!("{path}.description"), "Gemini's formats have no description");
                }
                let own = wanted.rest.find(OWN_SCHEMA).filter(|_| self.is_ours);
                match (own, &wanted.schema) {
                    (Some(own), _) => object.raw("responseSchema", own),
                    (None, Some(schema)) if self.options.json_schema == SchemaStyle::Native => {
                        object.raw("responseJsonSchema", schema);
                    }
                    (None, Some(schema)) => {
                        let fitted = self.fit(schema, &format!("{path}.schema"));
                        object.opt_raw("responseSchema", fitted.as_ref());
                    }
                    (None, None) => {}
                }
                self.rest(path, &wanted.rest, object);
            }
            Some(ResponseFormat::Opaque(raw)) if self.is_ours => object.rest(&fields_of(raw)),
            Some(ResponseFormat::Opaque(_)) => self.notes.dropped("response_format", "Gemini has no such format"),
        }
    }

    fn fit(&mut self, schema: &Raw, path: &str) -> Option<Raw> {
        let fitted = schema::fit(schema, path, &mut self.notes.losses);
        if fitted.is_none() {
            self.notes.fail(path, "the schema is nested too deeply; keep it under 128 levels");
        }
        fitted
    }

    // === Tools ===

    fn write_tools(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let has_functions = request.tools.iter().any(|tool| matches!(tool, Tool::Function(_)));
        let is_any = has_functions || (self.is_ours && !request.tools.is_empty());
        if is_any {
            object.array("tools", |array| {
                if has_functions {
                    array.object(|object| {
                        object.array("functionDeclarations", |array| {
                            for (index, tool) in request.tools.iter().enumerate() {
                                if let Tool::Function(tool) = tool {
                                    self.write_function(index, tool, array);
                                }
                            }
                        });
                    });
                }
                for tool in &request.tools {
                    match tool {
                        Tool::Opaque(opaque) if self.is_ours => array.raw(&opaque.raw),
                        _ => {}
                    }
                }
            });
        }
        for (index, tool) in request.tools.iter().enumerate() {
            if let Tool::Opaque(opaque) = tool
                && !self.is_ours
            {
                self.notes.dropped(format!("tools[{index}]"), &format!("Gemini has no tool of type {}", opaque.kind));
            }
        }
        self.write_tool_config(has_functions, object);
    }

    fn write_function(&mut self, index: usize, tool: &FunctionTool, array: &mut ArrayWriter<'_>) {
        let path = format!("tools[{index}]");
        let name = self.tool_name(&tool.name);
        let own = tool.rest.find(OWN_SCHEMA).filter(|_| self.is_ours);
        array.object(|object| {
            object.str("name", &name);
            object.opt_str("description", tool.description.as_deref());
            match (own, &tool.parameters) {
                (Some(own), _) => object.raw("parameters", own),
                (None, Some(schema)) if self.options.json_schema == SchemaStyle::Native => {
                    object.raw("parametersJsonSchema", schema);
                }
                (None, Some(schema)) => {
                    let fitted = self.fit(schema, &format!("{path}.function.parameters"));
                    // No properties means no parameters, which the vendor wants said by silence.
                    object.opt_raw("parameters", fitted.filter(|schema| !schema::is_empty(schema)).as_ref());
                }
                (None, None) => {}
            }
            if tool.strict == Some(true) {
                self.notes.dropped(format!("{path}.function.strict"), "Gemini does not enforce schemas of arguments");
            }
            if tool.cache.is_some() {
                self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
            }
            self.rest(&path, &tool.rest, object);
        });
    }

    fn write_tool_config(&mut self, has_functions: bool, object: &mut ObjectWriter<'_>) {
        let mut outer = self.nested("toolConfig");
        let at = outer.0.iter().position(|(name, _)| &**name == "functionCallingConfig");
        let mut inner = at.map(|at| fields_of(&outer.0.remove(at).1)).unwrap_or_default();
        if let Some(at) = inner.0.iter().position(|(name, _)| &**name == "streamFunctionCallArguments") {
            inner.0.remove(at);
            self.notes.changed("toolConfig", "calls come whole when the answer is translated");
        }
        let mut whole = None;
        // A choice without tools is a mistake that only the vendor's own clients may make.
        let choice = self.request.tool_choice.as_ref().filter(|_| has_functions || self.is_ours);
        let (mode, name) = match choice {
            None => (None, None),
            Some(ToolChoice::Auto) => (Some("AUTO"), None),
            Some(ToolChoice::None) => (Some("NONE"), None),
            Some(ToolChoice::Required) => (Some("ANY"), None),
            Some(ToolChoice::Tool(name)) => (Some("ANY"), Some(self.tool_name(name))),
            Some(ToolChoice::Opaque(raw)) if self.is_ours => {
                whole = Some(raw);
                (None, None)
            }
            Some(ToolChoice::Opaque(_)) => {
                self.notes.dropped("tool_choice", "Gemini has no such choice");
                (None, None)
            }
        };
        if mode.is_none() && whole.is_none() && inner.is_empty() && outer.is_empty() {
            return;
        }
        object.object("toolConfig", |object| {
            if let Some(raw) = whole {
                object.raw("functionCallingConfig", raw);
            } else if mode.is_some() || !inner.is_empty() {
                object.object("functionCallingConfig", |object| {
                    object.opt_str("mode", mode);
                    if let Some(name) = &name {
                        object.array("allowedFunctionNames", |array| array.str(name));
                    }
                    object.rest(&inner);
                });
            }
            object.rest(&outer);
        });
    }
}

pub(super) fn fields_of(raw: &Raw) -> Rest {
    let fields = json::root(raw.as_str().as_bytes()).and_then(|root| Ok(root.object()?.rest()));
    fields.unwrap_or_default()
}
