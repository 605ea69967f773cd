//! A messages body becomes a canonical request.

use hub::canonical::content::{
    Block, Content, Document, Image, Message, Opaque, Reasoning, Role, Source, Text, ToolResult, ToolUse,
};
use hub::canonical::error::DecodeError;
use hub::canonical::json::Rest;
use hub::canonical::request::{
    ChatRequest, Effort, MaxTokens, MaxTokensField, ReasoningMode, ReasoningRequest, Stream,
};
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, Node, Object};
use hub::dialect::{Dialect, cache_control};

/// Reads a request body of `/v1/messages`.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let request = read_request(body)?;
    if request.max_tokens.is_none() {
        return Err(DecodeError::Missing { path: "max_tokens".into() });
    }
    Ok(request)
}

/// Reads a request body of `/v1/messages/count_tokens`: the same without a cap on tokens.
pub fn decode_count_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    read_request(body)
}

fn read_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let model = object.get("model")?.string()?;
    let mut messages = Vec::new();
    if let Some(system) = object.find("system") {
        let mut content = Vec::new();
        read_content(&system, &mut content)?;
        messages.push(Message::new(Role::System, content));
    }
    for node in object.get("messages")?.array()?.iter() {
        read_message(&node, &mut messages)?;
    }
    let mut request = ChatRequest::new(Dialect::AnthropicMessages, model, messages);
    if let Some(tools) = object.find("tools") {
        for node in tools.array()?.iter() {
            request.tools.push(read_tool(&node)?);
        }
    }
    if let Some(choice) = object.find("tool_choice") {
        let choice = choice.object()?;
        request.tool_choice = Some(read_tool_choice(&choice)?);
        request.parallel_tool_calls = choice.find_bool("disable_parallel_tool_use")?.map(|is_off| !is_off);
    }
    request.sampling.temperature = object.find_f64("temperature")?;
    request.sampling.top_p = object.find_f64("top_p")?;
    request.sampling.top_k = object.find_u64("top_k")?;
    let cap = object.find_u64("max_tokens")?;
    request.max_tokens = cap.map(|tokens| MaxTokens { tokens, field: MaxTokensField::MaxTokens });
    if let Some(stops) = object.find("stop_sequences") {
        request.stop = stops.array()?.iter().map(|item| item.string()).collect::<Result<_, _>>()?;
    }
    if object.find_bool("stream")?.unwrap_or(false) {
        request.stream = Some(Stream { include_usage: true, rest: Rest::default() });
    }
    if let Some(metadata) = object.find("metadata") {
        let metadata = metadata.object()?;
        request.user = metadata.find_string("user_id")?;
        let rest = metadata.rest();
        request.metadata = (!rest.is_empty()).then(|| json::raw_object(|object| object.rest(&rest)));
    }
    request.service_tier = object.find_string("service_tier")?;
    request.cache = cache_control::read(&object)?;
    read_thinking(&object, &mut request)?;
    read_output_config(&object, &mut request)?;
    for (name, value) in object.rest().iter() {
        request.rest.push(name, value.clone());
    }
    Ok(request)
}

fn read_thinking(object: &Object<'_, '_>, request: &mut ChatRequest) -> Result<(), DecodeError> {
    let Some(node) = object.find("thinking") else { return Ok(()) };
    let thinking = node.object()?;
    let kind = thinking.get("type")?;
    let mode = match &*kind.str()? {
        "enabled" => ReasoningMode::Enabled,
        "adaptive" => ReasoningMode::Adaptive,
        "disabled" => ReasoningMode::Disabled,
        _ => return Err(kind.expected("one of enabled, adaptive, disabled")),
    };
    let budget_tokens = thinking.find_u64("budget_tokens")?;
    let display = thinking.find_string("display")?;
    request.reasoning = Some(ReasoningRequest { mode, effort: None, budget_tokens, display });
    push_nested(&mut request.rest, "thinking", &thinking.rest());
    Ok(())
}

/// Reads `output_config` and the beta's `output_format`.
fn read_output_config(object: &Object<'_, '_>, request: &mut ChatRequest) -> Result<(), DecodeError> {
    if let Some(format) = object.find("output_format") {
        request.response_format = Some(read_format(&format)?);
    }
    let Some(node) = object.find("output_config") else { return Ok(()) };
    let config = node.object()?;
    if let Some(format) = config.find("format") {
        request.response_format = Some(read_format(&format)?);
    }
    if let Some(word) = config.find_string("effort")? {
        let reasoning = request.reasoning.get_or_insert(ReasoningRequest {
            mode: ReasoningMode::Default,
            effort: None,
            budget_tokens: None,
            display: None,
        });
        reasoning.effort = Some(Effort::parse(&word));
    }
    push_nested(&mut request.rest, "output_config", &config.rest());
    Ok(())
}

/// Keeps unknown fields of a nested object as one unknown field of the outer.
fn push_nested(rest: &mut Rest, name: &str, inner: &Rest) {
    if !inner.is_empty() {
        rest.push(name, json::raw_object(|object| object.rest(inner)));
    }
}

fn read_format(node: &Node<'_, '_>) -> Result<ResponseFormat, DecodeError> {
    let format = node.object()?;
    if &*format.get("type")?.str()? != "json_schema" {
        return Ok(ResponseFormat::Opaque(node.raw()));
    }
    let schema = format.get("schema")?;
    if !schema.is_object() {
        return Err(schema.expected("a JSON Schema object"));
    }
    let schema = Some(schema.raw());
    let rest = format.rest();
    Ok(ResponseFormat::JsonSchema(JsonSchema { name: None, description: None, schema, strict: Some(true), rest }))
}

/// Reads one message; results of tools become a message of their own before the rest of it.
fn read_message(node: &Node<'_, '_>, messages: &mut Vec<Message>) -> Result<(), DecodeError> {
    let object = node.object()?;
    let role_node = object.get("role")?;
    let role = match &*role_node.str()? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(role_node.expected("one of user, assistant, system")),
    };
    let mut content = Vec::new();
    read_content(&object.get("content")?, &mut content)?;
    let (results, content): (Vec<_>, Vec<_>) =
        content.into_iter().partition(|block| matches!(block.content, Content::ToolResult(_)));
    let has_results = !results.is_empty();
    if has_results {
        messages.push(Message::new(Role::Tool, results));
    }
    if !content.is_empty() || !has_results {
        let mut message = Message::new(role, content);
        message.rest = object.rest();
        messages.push(message);
    }
    Ok(())
}

fn read_content(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    if node.is_str() {
        blocks.push(Block::text(node.string()?));
        return Ok(());
    }
    if !node.is_array() {
        return Err(node.expected("a string or an array of content blocks"));
    }
    for block in node.array()?.iter() {
        blocks.push(read_block(&block)?);
    }
    Ok(())
}

fn read_block(node: &Node<'_, '_>) -> Result<Block, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    let content = match &*kind {
        "text" => {
            let citations = object.find("citations").map(|node| node.raw());
            Content::Text(Text { text: object.get("text")?.string()?, citations })
        }
        "image" => Content::Image(Image { source: read_source(&object.get("source")?)?, detail: None }),
        "document" => {
            let citations = match object.find("citations") {
                Some(citations) => citations.object()?.find_bool("enabled")?,
                None => None,
            };
            Content::Document(Document {
                source: read_source(&object.get("source")?)?,
                title: object.find_string("title")?,
                context: object.find_string("context")?,
                citations,
            })
        }
        "tool_use" => {
            let arguments = object.get("input")?.text().to_owned();
            Content::ToolUse(ToolUse {
                id: object.get("id")?.string()?,
                name: object.get("name")?.string()?,
                arguments,
            })
        }
        "tool_result" => {
            let mut content = Vec::new();
            if let Some(inner) = object.find("content") {
                read_result_content(&inner, &mut content)?;
            }
            let is_error = object.find_bool("is_error")?.unwrap_or(false);
            Content::ToolResult(ToolResult { call_id: object.get("tool_use_id")?.string()?, content, is_error })
        }
        "thinking" => Content::Reasoning(Reasoning {
            text: object.get("thinking")?.string()?,
            signature: object.find_string("signature")?.filter(|proof| !proof.is_empty()),
        }),
        "redacted_thinking" => Content::RedactedReasoning(object.get("data")?.string()?),
        _ => {
            let opaque = Opaque { kind: kind.into_owned(), raw: node.raw() };
            return Ok(Content::Opaque(opaque).into());
        }
    };
    Ok(Block { content, cache: cache_control::read(&object)?, rest: object.rest() })
}

/// Reads the content of a result, which never holds results itself, so there is no recursion to bound.
fn read_result_content(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    if node.is_str() {
        blocks.push(Block::text(node.string()?));
        return Ok(());
    }
    if !node.is_array() {
        return Err(node.expected("a string or an array of content blocks"));
    }
    for item in node.array()?.iter() {
        let kind = item.object()?.get("type")?.str()?;
        if matches!(&*kind, "text" | "image" | "document") {
            blocks.push(read_block(&item)?);
        } else {
            blocks.push(Content::Opaque(Opaque { kind: kind.into_owned(), raw: item.raw() }).into());
        }
    }
    Ok(())
}

fn read_source(node: &Node<'_, '_>) -> Result<Source, DecodeError> {
    let source = node.object()?;
    Ok(match &*source.get("type")?.str()? {
        "base64" => {
            Source::Base64 { media_type: source.get("media_type")?.string()?, data: source.get("data")?.string()? }
        }
        "url" => Source::Url(source.get("url")?.string()?),
        "file" => Source::File(source.get("file_id")?.string()?),
        "text" => Source::Text(source.get("data")?.string()?),
        _ => Source::Opaque(node.raw()),
    })
}

fn read_tool(node: &Node<'_, '_>) -> Result<Tool, DecodeError> {
    let object = node.object()?;
    let kind = object.find_string("type")?;
    if let Some(kind) = kind.filter(|kind| kind != "custom") {
        return Ok(Tool::Opaque(Opaque { kind, raw: node.raw() }));
    }
    let schema = object.get("input_schema")?;
    if !schema.is_object() {
        return Err(schema.expected("a JSON Schema object"));
    }
    Ok(Tool::Function(FunctionTool {
        name: object.get("name")?.string()?,
        description: object.find_string("description")?,
        parameters: Some(schema.raw()),
        strict: object.find_bool("strict")?,
        cache: cache_control::read(&object)?,
        rest: object.rest(),
    }))
}

fn read_tool_choice(choice: &Object<'_, '_>) -> Result<ToolChoice, DecodeError> {
    let kind = choice.get("type")?;
    Ok(match &*kind.str()? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Tool(choice.get("name")?.string()?),
        _ => return Err(kind.expected("one of auto, any, none, tool")),
    })
}
