//! A canonical request becomes a Converse body: everything around the conversation itself.

use bytes::BytesMut;

use hub::canonical::content::{CacheControl, CacheTtl, Content};
use hub::canonical::error::EncodeError;
use hub::canonical::json::Raw;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode};
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, ArrayWriter, ObjectWriter, write_object};
use hub::dialect::{EncodedRequest, ReasoningStyle, RequestOptions, SchemaStyle};

use crate::Notes;

/// The least budget of thinking that is taken.
const LEAST_BUDGET: u64 = 1_024;

pub(super) fn encode(request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    let notes = Notes::new(request, "Bedrock");
    let mut writer = Writer { request, options, notes, family: Family::of(&request.model) };
    let mut body = BytesMut::with_capacity(1_024);
    write_object(&mut body, |object| writer.write(object));
    writer.notes.finish(body)
}

/// Whose model it is, which decides the fields outside the common form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Claude,
    Nova,
    Other,
}

impl Family {
    fn of(model: &str) -> Self {
        if model.contains("anthropic.") || model.contains("claude") {
            Self::Claude
        } else if model.contains("amazon.nova") {
            Self::Nova
        } else {
            Self::Other
        }
    }
}

pub(super) struct Writer<'r> {
    pub(super) request: &'r ChatRequest,
    pub(super) options: &'r RequestOptions,
    pub(super) notes: Notes<'r>,
    family: Family,
}

/// Writes a cache point where the caller set a breakpoint.
pub(super) fn cache_point(cache: Option<CacheControl>, array: &mut ArrayWriter<'_>) {
    let Some(cache) = cache else { return };
    array.object(|object| {
        object.object("cachePoint", |object| {
            object.str("type", "default");
            match cache.ttl {
                CacheTtl::Default => {}
                CacheTtl::FiveMinutes => object.str("ttl", "5m"),
                CacheTtl::OneHour => object.str("ttl", "1h"),
            }
        });
    });
}

impl Writer<'_> {
    fn write(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        self.write_conversation(object);
        let budget = self.budget();
        self.write_inference(budget, object);
        let text_tool = self.text_tool();
        self.write_tools(text_tool.as_ref(), budget.is_some(), object);
        self.write_format(text_tool.is_some(), object);
        self.write_additional(budget, object);
        match request.service_tier.as_deref() {
            None | Some("auto") => {}
            Some(tier @ ("default" | "priority" | "flex")) => {
                object.object("serviceTier", |object| object.str("type", tier));
            }
            Some(_) => self.notes.dropped("service_tier", "Bedrock has default, priority and flex"),
        }
        let sampling = &request.sampling;
        self.notes.drop_set(&[
            ("frequency_penalty", sampling.frequency_penalty.is_some_and(|value| value != 0.0)),
            ("presence_penalty", sampling.presence_penalty.is_some_and(|value| value != 0.0)),
            ("seed", sampling.seed.is_some()),
            ("logit_bias", sampling.logit_bias.as_ref().is_some_and(|raw| raw.as_str() != "{}")),
            ("logprobs", request.logprobs.is_some()),
            ("user", request.user.is_some()),
        ]);
        if request.n.is_some_and(|n| n > 1) {
            self.notes.fail("n", "Bedrock gives one answer per call; send several calls instead");
        }
        self.notes.drop_unknown();
    }

    // === Parameters ===

    fn write_inference(&mut self, budget: Option<u64>, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let sampling = &request.sampling;
        let cap = request.max_tokens.map(|limit| limit.tokens).or_else(|| {
            // Claude wants a cap; the others have their own.
            let default = self.options.default_max_tokens;
            let lifted = budget.filter(|budget| default / 4 < *budget).map(|budget| default.saturating_add(budget));
            (self.family == Family::Claude).then(|| lifted.unwrap_or(default))
        });
        let takes = self.options.sampling && budget.is_none();
        let set = |value: Option<f64>| value.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON);
        let mut temperature = sampling.temperature;
        if takes && temperature.is_some_and(|value| value > 1.0) {
            self.notes.changed("temperature", "Bedrock takes 0 to 1; sent as 1");
            temperature = Some(1.0);
        }
        if !takes {
            for (name, is_set) in [("temperature", set(temperature)), ("top_p", set(sampling.top_p))] {
                if is_set {
                    self.notes.dropped(name, "the model does not take it, or not together with thinking");
                }
            }
        }
        let stops: Vec<&str> = request.stop.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect();
        if cap.is_none() && stops.is_empty() && !(takes && (temperature.is_some() || sampling.top_p.is_some())) {
            return;
        }
        object.object("inferenceConfig", |object| {
            if let Some(cap) = cap {
                object.u64("maxTokens", cap);
            }
            if takes {
                object.opt_f64("temperature", temperature);
                object.opt_f64("topP", sampling.top_p);
            }
            if !stops.is_empty() {
                object.array("stopSequences", |array| stops.iter().for_each(|stop| array.str(stop)));
            }
        });
    }

    /// The budget of thinking, for models that are told one.
    fn budget(&mut self) -> Option<u64> {
        let reasoning = self.request.reasoning.as_ref()?;
        if self.family != Family::Claude
            || self.options.reasoning != ReasoningStyle::Budget
            || matches!(reasoning.mode, ReasoningMode::Disabled)
            || reasoning.effort == Some(Effort::None)
        {
            return None;
        }
        let budget = reasoning.budget_tokens.unwrap_or(match reasoning.effort {
            Some(Effort::Minimal | Effort::Low) => 1_024,
            Some(Effort::High) => 4_096,
            Some(Effort::XHigh) => 8_192,
            Some(Effort::Max) => 16_384,
            _ => 2_048,
        });
        let budget = budget.max(LEAST_BUDGET);
        match self.request.max_tokens.map(|limit| limit.tokens) {
            Some(cap) if budget < cap => Some(budget),
            Some(cap) if cap >= 2 * LEAST_BUDGET => {
                self.notes.changed("reasoning", "half of the cap on tokens, which thinking counts against");
                Some(cap / 2)
            }
            Some(_) => {
                self.notes.dropped("reasoning", "the cap on tokens leaves no room to think; raise it to 2048 or more");
                None
            }
            None => Some(budget),
        }
    }

    /// Writes the fields of the model's own vendor.
    fn write_additional(&mut self, budget: Option<u64>, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let mut fields: Vec<(&str, Raw)> = Vec::new();
        match (request.sampling.top_k, self.family) {
            (None, _) => {}
            (Some(top_k), Family::Claude) => fields.extend(Raw::of(&top_k).map(|raw| ("top_k", raw))),
            (Some(top_k), Family::Nova) => {
                fields.push(("inferenceConfig", json::raw_object(|object| object.u64("topK", top_k))));
            }
            (Some(_), Family::Other) => self.notes.dropped("top_k", "each vendor on Bedrock has its own name for it"),
        }
        if let Some(budget) = budget {
            fields.push((
                "thinking",
                json::raw_object(|object| {
                    object.str("type", "enabled");
                    object.u64("budget_tokens", budget);
                }),
            ));
        } else if let Some(reasoning) = &request.reasoning {
            let is_off = reasoning.mode == ReasoningMode::Disabled || reasoning.effort == Some(Effort::None);
            let word = reasoning.effort.as_ref().map_or("medium", Effort::as_str).to_owned();
            match (self.family, self.options.reasoning) {
                (_, ReasoningStyle::Unsupported) if !is_off => {
                    self.notes.dropped("reasoning", "the model does not reason");
                }
                (Family::Claude, ReasoningStyle::Effort) if !is_off => {
                    fields.push((
                        "thinking",
                        json::raw_object(|object| {
                            object.str("type", "adaptive");
                            object.str("display", "summarized");
                        }),
                    ));
                    fields.push(("output_config", json::raw_object(|object| object.str("effort", &word))));
                }
                (Family::Nova, _) if !is_off => {
                    let word = if matches!(&*word, "minimal" | "low") {
                        "low"
                    } else if word == "medium" {
                        "medium"
                    } else {
                        "high"
                    };
                    fields.push((
                        "reasoningConfig",
                        json::raw_object(|object| {
                            object.str("type", "enabled");
                            object.str("maxReasoningEffort", word);
                        }),
                    ));
                }
                (Family::Other, _) if !is_off => {
                    fields.extend(Raw::of(&word).map(|raw| ("reasoning_effort", raw)));
                }
                _ => {}
            }
        }
        if !fields.is_empty() {
            object.object("additionalModelRequestFields", |object| {
                for (name, value) in &fields {
                    object.raw(name, value);
                }
            });
        }
    }

    // === Tools and format ===

    /// The tool that stands for a wanted form of the answer, where the model has no structured output for it.
    fn text_tool(&mut self) -> Option<(String, Option<Raw>, Option<String>)> {
        let (schema, description) = match &self.request.response_format {
            Some(ResponseFormat::JsonObject) => (None, None),
            Some(ResponseFormat::JsonSchema(JsonSchema { schema, description, .. }))
                if schema.is_none() || self.options.json_schema == SchemaStyle::ForcedTool =>
            {
                (schema.clone(), description.clone())
            }
            _ => return None,
        };
        let mut name = String::from("json_tool_call");
        while self.request.tools.iter().any(|tool| matches!(tool, Tool::Function(tool) if tool.name == name)) {
            name.push('_');
        }
        self.notes.kept.undo.text_tool = Some(name.as_str().into());
        Some((name, schema, description))
    }

    fn write_tools(
        &mut self,
        text_tool: Option<&(String, Option<Raw>, Option<String>)>,
        is_thinking: bool,
        object: &mut ObjectWriter<'_>,
    ) {
        let request = self.request;
        for (index, tool) in request.tools.iter().enumerate() {
            if let Tool::Opaque(opaque) = tool {
                let reason = format!("Bedrock has no tool of type {} in this form", opaque.kind);
                self.notes.dropped(format!("tools[{index}]"), &reason);
            }
        }
        let is_off = request.tool_choice == Some(ToolChoice::None);
        let past = called(request);
        let offered: Vec<(usize, &FunctionTool)> = (request.tools.iter().enumerate())
            .filter_map(|(index, tool)| match tool {
                Tool::Function(tool) if !is_off || past.contains(&tool.name.as_str()) => Some((index, tool)),
                _ => None,
            })
            .collect();
        let missing: Vec<&str> = if offered.is_empty() && text_tool.is_none() { past.clone() } else { Vec::new() };
        if is_off && !past.is_empty() {
            self.notes.changed("tool_choice", "Bedrock cannot forbid tools that the conversation has called");
        }
        if !missing.is_empty() {
            self.notes.changed("tools", "Bedrock wants the tools of past calls declared; they were");
        }
        if offered.is_empty() && missing.is_empty() && text_tool.is_none() {
            return;
        }
        object.object("toolConfig", |object| {
            object.array("tools", |array| {
                for (index, tool) in &offered {
                    self.write_tool(*index, tool, array);
                }
                for name in &missing {
                    let name = self.notes.tool_name(name);
                    write_spec(&name, None, None, None, array);
                }
                if let Some((name, schema, description)) = text_tool {
                    let description = description
                        .as_deref()
                        .unwrap_or("Gives the answer to the user as JSON. Always answer with it.");
                    write_spec(name, Some(description), schema.as_ref(), None, array);
                }
            });
            let has_tools = !offered.is_empty() && !is_off;
            self.write_choice(text_tool.map(|(name, ..)| name.as_str()), has_tools, is_thinking, object);
        });
        if request.parallel_tool_calls == Some(false) {
            self.notes.dropped("parallel_tool_calls", "Bedrock cannot forbid several calls at once");
        }
    }

    fn write_tool(&mut self, index: usize, tool: &FunctionTool, array: &mut ArrayWriter<'_>) {
        let name = self.notes.tool_name(&tool.name);
        let strict = tool.strict.filter(|strict| *strict && self.options.json_schema == SchemaStyle::Native);
        if tool.strict == Some(true) && strict.is_none() {
            self.notes.dropped(format!("tools[{index}].function.strict"), "the model has no structured output");
        }
        for (field, _) in tool.rest.unknown() {
            self.notes.dropped(format!("tools[{index}].{field}"), "Bedrock has no such field");
        }
        write_spec(&name, tool.description.as_deref(), tool.parameters.as_ref(), strict, array);
        cache_point(tool.cache, array);
    }

    fn write_choice(
        &mut self,
        text_tool: Option<&str>,
        has_tools: bool,
        is_thinking: bool,
        object: &mut ObjectWriter<'_>,
    ) {
        let choice = match (self.request.tool_choice.as_ref().filter(|_| has_tools), text_tool) {
            (None | Some(ToolChoice::Auto), Some(_)) if has_tools => Some(ToolChoice::Required),
            (None | Some(ToolChoice::Auto), Some(name)) => Some(ToolChoice::Tool(name.to_owned())),
            (choice, _) => choice.cloned(),
        };
        if is_thinking && matches!(choice, Some(ToolChoice::Required | ToolChoice::Tool(_))) {
            return self.notes.changed("tool_choice", "a tool is not forced while thinking; the model may choose");
        }
        object.object("toolChoice", |object| match choice {
            Some(ToolChoice::Required) => object.literal("any", "{}"),
            Some(ToolChoice::Tool(name)) => {
                let name = self.notes.tool_name(&name);
                object.object("tool", |object| object.str("name", &name));
            }
            Some(ToolChoice::Opaque(_)) => {
                self.notes.dropped("tool_choice", "Bedrock has no such choice");
                object.literal("auto", "{}");
            }
            _ => object.literal("auto", "{}"),
        });
    }

    fn write_format(&mut self, is_tool: bool, object: &mut ObjectWriter<'_>) {
        match &self.request.response_format {
            Some(ResponseFormat::JsonSchema(wanted)) if !is_tool => {
                let Some(schema) = &wanted.schema else { return };
                object.object("outputConfig", |object| {
                    object.object("textFormat", |object| {
                        object.str("type", "json_schema");
                        object.object("structure", |object| {
                            object.object("jsonSchema", |object| {
                                object.str("schema", schema.as_str());
                                object.opt_str("name", wanted.name.as_deref());
                                object.opt_str("description", wanted.description.as_deref());
                            });
                        });
                    });
                });
            }
            Some(ResponseFormat::Opaque(_)) => self.notes.dropped("response_format", "Bedrock has no such format"),
            _ => {}
        }
    }
}

fn write_spec(
    name: &str,
    description: Option<&str>,
    schema: Option<&Raw>,
    strict: Option<bool>,
    array: &mut ArrayWriter<'_>,
) {
    array.object(|object| {
        object.object("toolSpec", |object| {
            object.str("name", name);
            object.opt_str("description", description.filter(|text| !text.is_empty()));
            object.object("inputSchema", |object| match schema {
                Some(schema) => object.raw("json", schema),
                None => object.literal("json", r#"{"type":"object","properties":{}}"#),
            });
            object.opt_bool("strict", strict);
        });
    });
}

/// Names of the tools that were called earlier in a conversation.
fn called(request: &ChatRequest) -> Vec<&str> {
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
