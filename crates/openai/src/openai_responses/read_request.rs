//! A responses body becomes a canonical request.

use hub::canonical::content::{Block, Message, Opaque, Role};
use hub::canonical::error::DecodeError;
use hub::canonical::json::Raw;
use hub::canonical::request::{
    ChatRequest, Effort, Logprobs, MaxTokens, MaxTokensField, ReasoningMode, ReasoningRequest, State, Stream,
};
use hub::canonical::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
use hub::codec::json::{self, Node, Object};
use hub::dialect::Dialect;

use super::read_items::read_item;

/// Reads a request body.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let model = object.get("model")?.string()?;
    let mut request = ChatRequest::new(Dialect::OpenAiResponses, model, Vec::new());
    request.state = read_state(&object)?;
    read_messages(&root, &object, &mut request)?;
    if let Some(tools) = object.find("tools") {
        for node in tools.array()?.iter() {
            request.tools.push(read_tool(&node)?);
        }
    }
    request.tool_choice = object.find("tool_choice").map(|node| read_tool_choice(&node)).transpose()?;
    request.parallel_tool_calls = object.find_bool("parallel_tool_calls")?;
    read_text(&object, &mut request)?;
    request.sampling.temperature = object.find_f64("temperature")?;
    request.sampling.top_p = object.find_f64("top_p")?;
    let cap = object.find_u64("max_output_tokens")?;
    request.max_tokens = cap.map(|tokens| MaxTokens { tokens, field: MaxTokensField::MaxCompletionTokens });
    let top = object.find("top_logprobs").map(|node| node.u32()).transpose()?;
    if request.state.include.iter().any(|name| name == super::LOGPROBS) || top.is_some_and(|top| top > 0) {
        request.logprobs = Some(Logprobs { top });
    }
    request.user = object.find_string("user")?;
    request.metadata = object.find("metadata").map(|node| node.raw());
    request.service_tier = object.find_string("service_tier")?;
    let is_stream = object.find_bool("stream")?.unwrap_or(false);
    let options = object.find("stream_options").map(|node| node.object().map(|object| object.rest())).transpose()?;
    // The last event of a stream always has the usage.
    request.stream = is_stream.then(|| Stream { include_usage: true, rest: options.unwrap_or_default() });
    let more = read_reasoning(&object, &mut request)?;
    request.rest = object.rest();
    if let Some(more) = more {
        request.rest.push("reasoning", more);
    }
    Ok(request)
}

fn read_state(object: &Object<'_, '_>) -> Result<State, DecodeError> {
    let mut include = Vec::new();
    if let Some(node) = object.find("include") {
        for name in node.array()?.iter() {
            include.push(name.string()?);
        }
    }
    Ok(State {
        previous: object.find_string("previous_response_id")?,
        store: object.find_bool("store")?,
        background: object.find_bool("background")?,
        has_instructions: false,
        include,
    })
}

fn read_messages(root: &Node<'_, '_>, object: &Object<'_, '_>, request: &mut ChatRequest) -> Result<(), DecodeError> {
    let messages = &mut request.messages;
    if let Some(text) = object.find("instructions") {
        messages.push(Message::new(Role::System, vec![Block::text(text.string()?)]));
        request.state.has_instructions = true;
    }
    let Some(input) = object.find("input") else {
        // Asking whether these are there makes them known, so `rest` would lose them.
        let is_elsewhere = root.object()?;
        let is_elsewhere = ["conversation", "prompt"].iter().any(|name| is_elsewhere.find(name).is_some());
        if is_elsewhere || request.state.previous.is_some() || request.state.has_instructions {
            return Ok(());
        }
        return Err(DecodeError::Missing { path: "input".into() });
    };
    if input.is_str() {
        messages.push(Message::new(Role::User, vec![Block::text(input.string()?)]));
        return Ok(());
    }
    if !input.is_array() {
        return Err(input.expected("a string or an array of items"));
    }
    for node in input.array()?.iter() {
        read_item(&node, messages)?;
    }
    Ok(())
}

/// Reads `reasoning`, and gives what of it is unknown.
fn read_reasoning(object: &Object<'_, '_>, request: &mut ChatRequest) -> Result<Option<Raw>, DecodeError> {
    let Some(node) = object.find("reasoning") else { return Ok(None) };
    let wish = node.object()?;
    let effort = wish.find_string("effort")?.map(|word| Effort::parse(&word));
    let display = wish.find_string("summary")?;
    let mode = if effort == Some(Effort::None) { ReasoningMode::Disabled } else { ReasoningMode::Default };
    if effort.is_some() || display.is_some() {
        request.reasoning = Some(ReasoningRequest { mode, effort, budget_tokens: None, display });
    }
    let more = wish.rest();
    Ok((!more.is_empty()).then(|| json::raw_object(|object| object.rest(&more))))
}

fn read_text(object: &Object<'_, '_>, request: &mut ChatRequest) -> Result<(), DecodeError> {
    let Some(node) = object.find("text") else { return Ok(()) };
    let text = node.object()?;
    request.verbosity = text.find_string("verbosity")?;
    if let Some(node) = text.find("format") {
        let format = node.object()?;
        request.response_format = Some(match &*format.get("type")?.str()? {
            "text" => ResponseFormat::Text,
            "json_object" => ResponseFormat::JsonObject,
            "json_schema" => ResponseFormat::JsonSchema(JsonSchema {
                name: format.find_string("name")?,
                description: format.find_string("description")?,
                schema: format.find("schema").map(|node| node.raw()).filter(Raw::is_object),
                strict: format.find_bool("strict")?,
                rest: format.rest(),
            }),
            _ => ResponseFormat::Opaque(node.raw()),
        });
    }
    Ok(())
}

fn read_tool(node: &Node<'_, '_>) -> Result<Tool, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    if kind != "function" {
        return Ok(Tool::Opaque(Opaque { kind: kind.into_owned(), raw: node.raw() }));
    }
    let parameters = object.find("parameters");
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_object()) {
        return Err(parameters.expected("a JSON Schema object"));
    }
    Ok(Tool::Function(FunctionTool {
        name: object.get("name")?.string()?,
        description: object.find_string("description")?,
        parameters: parameters.map(|node| node.raw()),
        strict: object.find_bool("strict")?,
        cache: None,
        rest: object.rest(),
    }))
}

fn read_tool_choice(node: &Node<'_, '_>) -> Result<ToolChoice, DecodeError> {
    let wanted = "one of auto, none, required, or an object that names a tool";
    if node.is_str() {
        return match &*node.str()? {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(node.expected(wanted)),
        };
    }
    if !node.is_object() {
        return Err(node.expected(wanted));
    }
    let object = node.object()?;
    if object.find("type").is_some_and(|kind| kind.text() == "\"function\"") {
        return Ok(ToolChoice::Tool(object.get("name")?.string()?));
    }
    Ok(ToolChoice::Opaque(node.raw()))
}
