//! A `generateContent` body becomes a canonical request.

use hub::canonical::content::{Message, Opaque};
use hub::canonical::error::DecodeError;
use hub::canonical::json::{Raw, Rest};
use hub::canonical::request::{
    ChatRequest, Effort, Logprobs, MaxTokens, MaxTokensField, ReasoningMode, ReasoningRequest,
};
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, Node, Object};
use hub::dialect::Dialect;

use super::read_contents::{Calls, read_content, read_system, with_nested};
use super::{OWN_SCHEMA, plain_schema};

/// Reads a request body of `generateContent` or `streamGenerateContent`. Model and streaming are said by the address:
/// see [`ChatRequest::with_address`].
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    read_request(&json::root(body)?.object()?.camel())
}

/// Reads a request body of `countTokens`: the contents alone, or a whole request in `generateContentRequest`.
pub fn decode_count_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?.camel();
    match object.find("generateContentRequest") {
        Some(inner) => read_request(&inner.object()?.camel()),
        None => read_request(&object),
    }
}

fn read_request(object: &Object<'_, '_>) -> Result<ChatRequest, DecodeError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut calls = Calls::default();
    if let Some(system) = object.find("systemInstruction") {
        messages.push(read_system(&system)?);
    }
    for node in object.get("contents")?.array()?.iter() {
        read_content(&node, &mut calls, &mut messages)?;
    }
    // Not a field of this endpoint, but of the requests inside `countTokens` and batches.
    let model = object.find_string("model")?.unwrap_or_default();
    let model = model.strip_prefix("models/").unwrap_or(&model);
    let mut request = ChatRequest::new(Dialect::Gemini, model, messages);
    if let Some(tools) = object.find("tools") {
        for node in tools.array()?.iter() {
            read_tool(&node, &mut request.tools)?;
        }
    }
    let mut nested = Rest::default();
    if let Some(config) = object.find("toolConfig") {
        read_tool_config(&config.object()?.camel(), &mut request, &mut nested)?;
    }
    if let Some(config) = object.find("generationConfig") {
        let config = config.object()?.camel();
        let thinking = read_config(&config, &mut request)?;
        nested = with_nested(nested, "generationConfig", &with_nested(config.rest(), "thinkingConfig", &thinking));
    }
    request.service_tier = object.find_string("serviceTier")?;
    request.rest = object.rest();
    request.rest.0.append(&mut nested.0);
    Ok(request)
}

fn read_tool(node: &Node<'_, '_>, tools: &mut Vec<Tool>) -> Result<(), DecodeError> {
    let object = node.object()?.camel();
    if let Some(declarations) = object.find("functionDeclarations") {
        for node in declarations.array()?.iter() {
            tools.push(Tool::Function(read_function(&node)?));
        }
    }
    // The other fields are tools of the vendor's own, each by itself.
    for (name, value) in object.rest().iter() {
        let raw = json::raw_object(|object| object.raw(name, value));
        tools.push(Tool::Opaque(Opaque { kind: name.to_owned(), raw }));
    }
    Ok(())
}

fn read_function(node: &Node<'_, '_>) -> Result<FunctionTool, DecodeError> {
    let object = node.object()?.camel();
    let mut own = None;
    let parameters = match (object.find("parametersJsonSchema"), object.find("parameters")) {
        (Some(schema), _) | (None, Some(schema)) if !schema.is_object() => {
            return Err(schema.expected("a schema object"));
        }
        (Some(schema), _) => Some(schema.raw()),
        (None, Some(schema)) => {
            own = Some(schema.raw());
            Some(read_schema(&schema)?)
        }
        (None, None) => None,
    };
    let name = object.get("name")?.string()?;
    let description = object.find_string("description")?;
    let mut rest = object.rest();
    if let Some(own) = own {
        rest.push(OWN_SCHEMA, own);
    }
    Ok(FunctionTool { name, description, parameters, strict: None, cache: None, rest })
}

fn read_schema(node: &Node<'_, '_>) -> Result<Raw, DecodeError> {
    plain_schema::read(&node.raw()).ok_or_else(|| node.expected("a schema with fewer than 128 levels"))
}

fn read_tool_config(object: &Object<'_, '_>, request: &mut ChatRequest, nested: &mut Rest) -> Result<(), DecodeError> {
    let mut inner = Rest::default();
    if let Some(node) = object.find("functionCallingConfig") {
        let config = node.object()?.camel();
        let names = match config.find("allowedFunctionNames") {
            Some(names) => names.array()?.iter().map(|name| name.string()).collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        let mode = config.find("mode").map(|mode| mode.str()).transpose()?;
        let mut rest = config.rest();
        request.tool_choice = match (mode.as_deref(), &*names) {
            (Some("AUTO" | "auto"), []) => Some(ToolChoice::Auto),
            (Some("NONE" | "none"), _) => Some(ToolChoice::None),
            (Some("ANY" | "any"), [name]) => Some(ToolChoice::Tool(name.clone())),
            (Some("ANY" | "any"), []) => Some(ToolChoice::Required),
            (Some("ANY" | "any"), _) => {
                rest.0.extend(Raw::of(&names).map(|names| ("allowedFunctionNames".into(), names)));
                Some(ToolChoice::Required)
            }
            (None | Some("MODE_UNSPECIFIED"), []) => None,
            _ => {
                rest = Rest::default();
                Some(ToolChoice::Opaque(node.raw()))
            }
        };
        inner = with_nested(inner, "functionCallingConfig", &rest);
    }
    inner.0.append(&mut object.rest().0);
    *nested = with_nested(std::mem::take(nested), "toolConfig", &inner);
    Ok(())
}

/// Reads the parameters, and returns the unknown ones of thinking.
fn read_config(config: &Object<'_, '_>, request: &mut ChatRequest) -> Result<Rest, DecodeError> {
    let sampling = &mut request.sampling;
    sampling.temperature = config.find_f64("temperature")?;
    sampling.top_p = config.find_f64("topP")?;
    // A float in the vendor's reference; nobody has half a token.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let top_k = config.find_f64("topK")?.map(|top_k| top_k.round() as u64);
    sampling.top_k = top_k;
    sampling.presence_penalty = config.find_f64("presencePenalty")?;
    sampling.frequency_penalty = config.find_f64("frequencyPenalty")?;
    sampling.seed = config.find("seed").map(|node| node.i64()).transpose()?;
    request.n = config.find("candidateCount").map(|node| node.u32()).transpose()?;
    let cap = config.find_u64("maxOutputTokens")?;
    request.max_tokens = cap.map(|tokens| MaxTokens { tokens, field: MaxTokensField::MaxCompletionTokens });
    if let Some(stops) = config.find("stopSequences") {
        request.stop = stops.array()?.iter().map(|item| item.string()).collect::<Result<_, _>>()?;
    }
    if config.find_bool("responseLogprobs")? == Some(true) {
        request.logprobs = Some(Logprobs { top: config.find("logprobs").map(|node| node.u32()).transpose()? });
    }
    request.response_format = read_format(config)?;
    let Some(thinking) = config.find("thinkingConfig") else { return Ok(Rest::default()) };
    let thinking = thinking.object()?.camel();
    request.reasoning = Some(read_thinking(&thinking)?);
    Ok(thinking.rest())
}

fn read_thinking(thinking: &Object<'_, '_>) -> Result<ReasoningRequest, DecodeError> {
    let budget = thinking.find("thinkingBudget").map(|node| node.i64()).transpose()?;
    let level = thinking.find_string("thinkingLevel")?;
    let is_shown = thinking.find_bool("includeThoughts")?;
    let (mode, budget_tokens) = match budget {
        Some(0) => (ReasoningMode::Disabled, Some(0)),
        // The model decides, as far as it likes.
        Some(budget) if budget < 0 => (ReasoningMode::Enabled, None),
        Some(budget) => (ReasoningMode::Enabled, u64::try_from(budget).ok()),
        None if level.is_some() => (ReasoningMode::Default, None),
        // Thinking is on in this family unless it is turned off.
        None => (ReasoningMode::Adaptive, None),
    };
    Ok(ReasoningRequest {
        mode,
        effort: level.map(|word| Effort::parse(&word.to_ascii_lowercase())),
        budget_tokens,
        display: is_shown.map(|is_shown| if is_shown { "summarized" } else { "omitted" }.to_owned()),
    })
}

fn read_format(config: &Object<'_, '_>) -> Result<Option<ResponseFormat>, DecodeError> {
    let mime = config.find_string("responseMimeType")?;
    let plain = config.find("responseJsonSchema");
    let own = config.find("responseSchema");
    let is_json = mime.as_deref().is_none_or(|mime| mime == "application/json");
    Ok(match (plain, own) {
        (Some(schema), _) | (None, Some(schema)) if !schema.is_object() => {
            return Err(schema.expected("a schema object"));
        }
        (Some(schema), _) if is_json => Some(format_of(schema.raw(), Rest::default())),
        (None, Some(schema)) if is_json => {
            let rest = Rest(vec![(OWN_SCHEMA.into(), schema.raw())]);
            Some(format_of(read_schema(&schema)?, rest))
        }
        (None, None) => match mime.as_deref() {
            None => None,
            Some("application/json") => Some(ResponseFormat::JsonObject),
            Some("text/plain") => Some(ResponseFormat::Text),
            Some(mime) => Some(opaque_format(mime, None)),
        },
        (_, own) => Some(opaque_format(mime.as_deref().unwrap_or_default(), own)),
    })
}

fn format_of(schema: Raw, rest: Rest) -> ResponseFormat {
    ResponseFormat::JsonSchema(JsonSchema {
        name: None,
        description: None,
        schema: Some(schema),
        strict: Some(true),
        rest,
    })
}

fn opaque_format(mime: &str, schema: Option<Node<'_, '_>>) -> ResponseFormat {
    ResponseFormat::Opaque(json::raw_object(|object| {
        object.str("responseMimeType", mime);
        object.opt_raw("responseSchema", schema.map(|schema| schema.raw()).as_ref());
    }))
}
