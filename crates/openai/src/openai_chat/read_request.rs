//! A chat completions body becomes a canonical request.

use hub::canonical::content::{
    Audio, Block, Content, Document, Image, Message, Opaque, Reasoning, Role, Source, Text, ToolResult, ToolUse,
};
use hub::canonical::error::DecodeError;
use hub::canonical::json::{Raw, Rest};
use hub::canonical::request::{
    ChatRequest, Effort, Logprobs, MaxTokens, MaxTokensField, ReasoningMode, ReasoningRequest, Sampling, Stream,
};
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, Node, Object};
use hub::dialect::{Dialect, cache_control};

/// Reads a request body.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let model = object.get("model")?.string()?;
    let mut messages = Vec::new();
    for node in object.get("messages")?.array()?.iter() {
        messages.push(read_message(&node)?);
    }
    let mut request = ChatRequest::new(Dialect::OpenAiChat, model, messages);
    if let Some(tools) = object.find("tools") {
        for node in tools.array()?.iter() {
            request.tools.push(read_tool(&node)?);
        }
    }
    request.tool_choice = object.find("tool_choice").map(|node| read_tool_choice(&node)).transpose()?;
    request.parallel_tool_calls = object.find_bool("parallel_tool_calls")?;
    request.response_format = object.find("response_format").map(|node| read_response_format(&node)).transpose()?;
    request.sampling = Sampling {
        temperature: object.find_f64("temperature")?,
        top_p: object.find_f64("top_p")?,
        top_k: object.find("top_k").and_then(|node| node.u64().ok()),
        frequency_penalty: object.find_f64("frequency_penalty")?,
        presence_penalty: object.find_f64("presence_penalty")?,
        seed: object.find("seed").map(|node| node.i64()).transpose()?,
        logit_bias: object.find("logit_bias").map(|node| node.raw()),
    };
    request.max_tokens = read_max_tokens(&object)?;
    request.stop = read_stop(&object)?;
    request.n = object.find("n").map(|node| node.u32()).transpose()?;
    if object.find_bool("logprobs")? == Some(true) {
        request.logprobs = Some(Logprobs { top: object.find("top_logprobs").map(|node| node.u32()).transpose()? });
    }
    request.user = object.find_string("user")?;
    request.metadata = object.find("metadata").map(|node| node.raw());
    request.service_tier = object.find_string("service_tier")?;
    request.cache = cache_control::read(&object)?;
    request.verbosity = object.find_string("verbosity")?;
    request.stream = read_stream(&object)?;
    request.reasoning = read_reasoning(&object)?;
    request.rest = object.rest();
    // The wish is understood, but an upstream of this dialect must get it in the caller's own words.
    for name in ["reasoning", "thinking"] {
        if let Some(node) = object.find(name) {
            request.rest.push(name, node.raw());
        }
    }
    Ok(request)
}

fn read_max_tokens(object: &Object<'_, '_>) -> Result<Option<MaxTokens>, DecodeError> {
    if let Some(tokens) = object.find_u64("max_completion_tokens")? {
        return Ok(Some(MaxTokens { tokens, field: MaxTokensField::MaxCompletionTokens }));
    }
    let tokens = object.find_u64("max_tokens")?;
    Ok(tokens.map(|tokens| MaxTokens { tokens, field: MaxTokensField::MaxTokens }))
}

pub(crate) fn read_stop(object: &Object<'_, '_>) -> Result<Vec<String>, DecodeError> {
    let Some(node) = object.find("stop") else { return Ok(Vec::new()) };
    if node.is_str() {
        return Ok(vec![node.string()?]);
    }
    if !node.is_array() {
        return Err(node.expected("a string or an array of strings"));
    }
    node.array()?.iter().map(|item| item.string()).collect()
}

pub(crate) fn read_stream(object: &Object<'_, '_>) -> Result<Option<Stream>, DecodeError> {
    let is_stream = object.find_bool("stream")?.unwrap_or(false);
    let mut stream = Stream { include_usage: false, rest: Rest::default() };
    if let Some(node) = object.find("stream_options") {
        let options = node.object()?;
        stream.include_usage = options.find_bool("include_usage")?.unwrap_or(false);
        stream.rest = options.rest();
    }
    Ok(is_stream.then_some(stream))
}

/// Reads OpenAI's `reasoning_effort`, `OpenRouter`'s `reasoning` object or Anthropic's `thinking` in an OpenAI body.
fn read_reasoning(object: &Object<'_, '_>) -> Result<Option<ReasoningRequest>, DecodeError> {
    let mut reasoning = ReasoningRequest {
        mode: ReasoningMode::Default,
        effort: object.find_string("reasoning_effort")?.map(|word| Effort::parse(&word)),
        budget_tokens: None,
        display: None,
    };
    if let Some(node) = object.find("reasoning") {
        let wish = node.object()?;
        if let Some(effort) = wish.find_string("effort")? {
            reasoning.effort = Some(Effort::parse(&effort));
        }
        reasoning.budget_tokens = wish.find_u64("max_tokens")?;
        reasoning.mode = match wish.find_bool("enabled")? {
            Some(true) => ReasoningMode::Enabled,
            Some(false) => ReasoningMode::Disabled,
            None => ReasoningMode::Default,
        };
    }
    if let Some(node) = object.find("thinking") {
        let wish = node.object()?;
        reasoning.mode = match &*wish.get("type")?.str()? {
            "disabled" => ReasoningMode::Disabled,
            "adaptive" => ReasoningMode::Adaptive,
            _ => ReasoningMode::Enabled,
        };
        reasoning.budget_tokens = wish.find_u64("budget_tokens")?;
    }
    if reasoning.effort == Some(Effort::None) {
        reasoning.mode = ReasoningMode::Disabled;
    }
    let is_said = reasoning.effort.is_some()
        || reasoning.budget_tokens.is_some()
        || !matches!(reasoning.mode, ReasoningMode::Default);
    Ok(is_said.then_some(reasoning))
}

fn read_message(node: &Node<'_, '_>) -> Result<Message, DecodeError> {
    let object = node.object()?;
    let role_node = object.get("role")?;
    let role = match &*role_node.str()?.to_ascii_lowercase() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return Err(role_node.expected("one of system, developer, user, assistant, tool")),
    };
    let mut message = Message::new(role, Vec::new());
    message.name = object.find_string("name")?;
    if role == Role::Assistant {
        read_reasoning_blocks(&object, &mut message.content)?;
    }
    let mut content = Vec::new();
    match object.find("content") {
        None if role == Role::Assistant => {}
        None => return Err(DecodeError::Missing { path: format!("{}.content", node.path()).into() }),
        Some(node) => read_content(&node, &mut content)?,
    }
    if role == Role::Tool {
        let call_id = object.get("tool_call_id")?.string()?;
        content = vec![Content::ToolResult(ToolResult { call_id, content, is_error: false }).into()];
    }
    message.content.append(&mut content);
    if role == Role::Assistant {
        if let Some(refusal) = object.find_string("refusal")? {
            message.content.push(Content::Refusal(refusal).into());
        }
        if let Some(calls) = object.find("tool_calls") {
            for call in calls.array()?.iter() {
                message.content.push(read_tool_call(&call)?);
            }
        }
    }
    if let Some(cache) = cache_control::read(&object)?
        && let Some(last) = message.content.last_mut()
    {
        last.cache = Some(cache);
    }
    message.rest = object.rest();
    Ok(message)
}

fn read_content(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    if node.is_str() {
        blocks.push(Block::text(node.string()?));
        return Ok(());
    }
    if !node.is_array() {
        return Err(node.expected("a string or an array of content parts"));
    }
    for part in node.array()?.iter() {
        blocks.push(read_part(&part)?);
    }
    Ok(())
}

fn read_part(node: &Node<'_, '_>) -> Result<Block, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    let content = match &*kind {
        "text" => Content::Text(Text { text: object.get("text")?.string()?, citations: None }),
        "refusal" => Content::Refusal(object.get("refusal")?.string()?),
        "image_url" => {
            let field = object.get("image_url")?;
            // Some clients send the address itself instead of an object.
            if field.is_str() {
                Content::Image(Image { source: read_url(&field.str()?), detail: None })
            } else {
                let image = field.object()?;
                let source = read_url(&image.get("url")?.str()?);
                Content::Image(Image { source, detail: image.find_string("detail")? })
            }
        }
        "input_audio" => {
            let audio = object.get("input_audio")?;
            let audio = audio.object()?;
            Content::Audio(Audio { data: audio.get("data")?.string()?, format: audio.get("format")?.string()? })
        }
        "file" => read_file(&object.get("file")?)?,
        _ => {
            let opaque = Opaque { kind: kind.into_owned(), raw: node.raw() };
            return Ok(Content::Opaque(opaque).into());
        }
    };
    Ok(Block { content, cache: cache_control::read(&object)?, rest: object.rest() })
}

fn read_file(node: &Node<'_, '_>) -> Result<Content, DecodeError> {
    let file = node.object()?;
    let source = if let Some(id) = file.find_string("file_id")? {
        Source::File(id)
    } else {
        let data = file.get("file_data")?.str()?;
        match read_url(&data) {
            // Bare base64 without a media type; PDFs are the only files the reference names.
            Source::Url(data) if !data.starts_with("http") => {
                Source::Base64 { media_type: "application/pdf".to_owned(), data }
            }
            source => source,
        }
    };
    let title = file.find_string("filename")?;
    Ok(Content::Document(Document { source, title, context: None, citations: None }))
}

/// Splits a data URL; anything else is an address.
pub(crate) fn read_url(url: &str) -> Source {
    let data_url = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    match data_url.and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data))) {
        Some((media_type, data)) => {
            let media_type = media_type.split(';').next().unwrap_or_default().to_owned();
            Source::Base64 { media_type, data: data.to_owned() }
        }
        None => Source::Url(url.to_owned()),
    }
}

/// Reads one entry of `tool_calls` of a message, in a request or a whole answer.
pub(super) fn read_tool_call(node: &Node<'_, '_>) -> Result<Block, DecodeError> {
    let object = node.object()?;
    let kind = object.find_string("type")?.unwrap_or_else(|| "function".to_owned());
    if kind != "function" {
        return Ok(Content::Opaque(Opaque { kind, raw: node.raw() }).into());
    }
    let field = object.get("function")?;
    let function = field.object()?;
    let arguments = match function.find("arguments") {
        None => String::new(),
        Some(arguments) if arguments.is_str() => arguments.string()?,
        // Some servers send the object itself.
        Some(arguments) => arguments.text().to_owned(),
    };
    let call = ToolUse { id: object.get("id")?.string()?, name: function.get("name")?.string()?, arguments };
    object.skip(&["index"]);
    Ok(Block { content: Content::ToolUse(call), cache: cache_control::read(&object)?, rest: object.rest() })
}

/// Reads reasoning of an assistant message: `reasoning_details`, else `thinking_blocks`, else the bare text.
pub(super) fn read_reasoning_blocks(message: &Object<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    let text = match message.find("reasoning_content").or_else(|| message.find("reasoning")) {
        Some(node) if node.is_str() => node.string()?,
        _ => String::new(),
    };
    message.skip(&["reasoning"]);
    let details = message.find("reasoning_details").map(|node| read_details(&node)).transpose()?.unwrap_or_default();
    let thinking = message.find("thinking_blocks").map(|node| read_thinking(&node)).transpose()?.unwrap_or_default();
    if !details.is_empty() {
        blocks.extend(details);
    } else if !thinking.is_empty() {
        blocks.extend(thinking);
    } else if !text.is_empty() {
        blocks.push(Content::Reasoning(Reasoning { text, signature: None }).into());
    }
    Ok(())
}

/// Reads `OpenRouter`'s `reasoning_details`; pieces of one block (same `index`) as streams leave them are joined.
fn read_details(node: &Node<'_, '_>) -> Result<Vec<Block>, DecodeError> {
    let mut blocks: Vec<(Option<u64>, Block)> = Vec::new();
    for item in node.array()?.iter() {
        let object = item.object()?;
        let index = object.find("index").and_then(|node| node.u64().ok());
        let content = match &*object.get("type")?.str()? {
            "reasoning.encrypted" => Content::RedactedReasoning(object.find_string("data")?.unwrap_or_default()),
            "reasoning.summary" => Content::Reasoning(Reasoning {
                text: object.find_string("summary")?.unwrap_or_default(),
                signature: None,
            }),
            _ => Content::Reasoning(Reasoning {
                text: object.find_string("text")?.unwrap_or_default(),
                signature: object.find_string("signature")?,
            }),
        };
        if let (Content::Reasoning(more), Some((known, Block { content: Content::Reasoning(reasoning), .. }))) =
            (&content, blocks.last_mut())
            && index.is_some()
            && *known == index
        {
            reasoning.text.push_str(&more.text);
            if more.signature.is_some() {
                reasoning.signature.clone_from(&more.signature);
            }
            continue;
        }
        blocks.push((index, content.into()));
    }
    Ok(blocks.into_iter().map(|(_, block)| block).collect())
}

/// Reads LiteLLM's `thinking_blocks`: Anthropic blocks as they are.
fn read_thinking(node: &Node<'_, '_>) -> Result<Vec<Block>, DecodeError> {
    let mut blocks = Vec::new();
    for item in node.array()?.iter() {
        let object = item.object()?;
        let content = if &*object.get("type")?.str()? == "redacted_thinking" {
            Content::RedactedReasoning(object.get("data")?.string()?)
        } else {
            Content::Reasoning(Reasoning {
                text: object.find_string("thinking")?.unwrap_or_default(),
                signature: object.find_string("signature")?,
            })
        };
        blocks.push(content.into());
    }
    Ok(blocks)
}

fn read_tool(node: &Node<'_, '_>) -> Result<Tool, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    if kind != "function" {
        return Ok(Tool::Opaque(Opaque { kind: kind.into_owned(), raw: node.raw() }));
    }
    let field = object.get("function")?;
    let function = field.object()?;
    let parameters = function.find("parameters");
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_object()) {
        return Err(parameters.expected("a JSON Schema object"));
    }
    let mut tool = FunctionTool {
        name: function.get("name")?.string()?,
        description: function.find_string("description")?,
        parameters: parameters.map(|node| node.raw()),
        strict: function.find_bool("strict")?,
        cache: cache_control::read(&object)?,
        rest: object.rest(),
    };
    let inner = function.rest();
    if !inner.is_empty() {
        tool.rest.push("function", json::raw_object(|object| object.rest(&inner)));
    }
    Ok(Tool::Function(tool))
}

fn read_tool_choice(node: &Node<'_, '_>) -> Result<ToolChoice, DecodeError> {
    if node.is_str() {
        return match &*node.str()? {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(node.expected("one of auto, none, required, or an object that names a function")),
        };
    }
    if !node.is_object() {
        return Err(node.expected("one of auto, none, required, or an object that names a function"));
    }
    let object = node.object()?;
    match object.find("function") {
        Some(function) => Ok(ToolChoice::Tool(function.object()?.get("name")?.string()?)),
        None => Ok(ToolChoice::Opaque(node.raw())),
    }
}

fn read_response_format(node: &Node<'_, '_>) -> Result<ResponseFormat, DecodeError> {
    let object = node.object()?;
    match &*object.get("type")?.str()? {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let field = object.get("json_schema")?;
            let schema = field.object()?;
            Ok(ResponseFormat::JsonSchema(JsonSchema {
                name: schema.find_string("name")?,
                description: schema.find_string("description")?,
                schema: schema.find("schema").map(|node| node.raw()).filter(Raw::is_object),
                strict: schema.find_bool("strict")?,
                rest: schema.rest(),
            }))
        }
        _ => Ok(ResponseFormat::Opaque(node.raw())),
    }
}
