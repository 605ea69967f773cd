//! Custom tools, which take free text instead of JSON: `apply_patch` of a coding agent. For vendors that have none they are
//! functions of one text, and the calls come back as custom calls.
//!
//! Not here: custom tools over OpenAI's responses themselves, which take them as they are. Invariant: what the model wrote as the
//! one text is the call's input, letter for letter; arguments of any other form are the input as they stand.

use std::fmt::Write as _;

use hub::canonical::content::{Content, Message, Opaque, Role, ToolResult, ToolUse};
use hub::canonical::error::DecodeError;
use hub::canonical::json::{Raw, Rest};
use hub::canonical::loss::Loss;
use hub::canonical::request::ChatRequest;
use hub::canonical::tool::{FunctionTool, Tool, ToolChoice};
use hub::codec::json;

use super::read_items::read_content;

/// The function's only parameter.
const INPUT: &str = "input";
const WHY: &str = "the upstream has no tools of free text; offered as a function of one text";

/// Makes functions of a request's custom tools, and function calls of their calls.
pub fn as_functions(request: &mut ChatRequest) -> Vec<Loss> {
    let mut losses = Vec::new();
    for (index, tool) in request.tools.iter_mut().enumerate() {
        if let Tool::Opaque(opaque) = tool
            && opaque.kind == "custom"
            && let Ok(function) = as_function(&opaque.raw)
        {
            *tool = Tool::Function(function);
            losses.push(Loss::changed(format!("tools[{index}]"), WHY));
        }
    }
    if let Some(ToolChoice::Opaque(raw)) = &request.tool_choice
        && let Ok(name) = chosen(raw)
    {
        request.tool_choice = Some(ToolChoice::Tool(name));
    }
    for message in &mut request.messages {
        take_items(message);
    }
    losses
}

/// Lists the custom tools among the tools that an answer repeats.
pub(super) fn list_custom(echo: &Rest) -> Vec<Box<str>> {
    let Some(tools) = echo.find("tools") else { return Vec::new() };
    let read = || -> Result<Vec<Box<str>>, DecodeError> {
        let mut names = Vec::new();
        for node in json::root(tools.as_str().as_bytes())?.array()?.iter() {
            let tool = node.object()?;
            if tool.find_string("type")?.as_deref() == Some("custom") {
                names.push(tool.get("name")?.boxed()?);
            }
        }
        Ok(names)
    };
    read().unwrap_or_default()
}

/// Reads the text out of a function's arguments.
pub(super) fn input_of(arguments: &str) -> String {
    let read = || {
        let root = json::root(arguments.as_bytes()).ok()?;
        root.object().ok()?.find_string(INPUT).ok()?
    };
    read().unwrap_or_else(|| arguments.to_owned())
}

fn as_function(raw: &Raw) -> Result<FunctionTool, DecodeError> {
    let root = json::root(raw.as_str().as_bytes())?;
    let tool = root.object()?;
    let mut description = tool.find_string("description")?.unwrap_or_default();
    if let Some(format) = tool.find("format").filter(hub::codec::json::Node::is_object) {
        let format = format.object()?;
        if let Some(grammar) = format.find_string("definition")? {
            let syntax = format.find_string("syntax")?.unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(description, "\n\n`{INPUT}` must be a text of this {syntax} grammar:\n{grammar}");
        }
    }
    let parameters = json::raw_object(|object| {
        object.str("type", "object");
        object.object("properties", |properties| {
            properties.object(INPUT, |input| {
                input.str("type", "string");
                input.str("description", "The whole input of the tool, as plain text.");
            });
        });
        object.array("required", |required| required.str(INPUT));
        object.bool("additionalProperties", false);
    });
    Ok(FunctionTool {
        name: tool.get("name")?.string()?,
        description: Some(description).filter(|description| !description.is_empty()),
        parameters: Some(parameters),
        strict: None,
        cache: None,
        rest: Rest::default(),
    })
}

fn chosen(raw: &Raw) -> Result<String, DecodeError> {
    let root = json::root(raw.as_str().as_bytes())?;
    let choice = root.object()?;
    let kind = choice.get("type")?;
    if &*kind.str()? == "custom" { choice.get("name")?.string() } else { Err(kind.expected("custom")) }
}

fn take_items(message: &mut Message) {
    for block in &mut message.content {
        let Content::Opaque(opaque) = &block.content else { continue };
        let content = match opaque.kind.as_str() {
            "custom_tool_call" => read_call(opaque),
            "custom_tool_call_output" => read_output(opaque),
            _ => continue,
        };
        if let Ok(content) = content {
            let is_result = matches!(content, Content::ToolResult(_));
            block.content = content;
            if is_result {
                message.role = Role::Tool;
            }
        }
    }
}

fn read_call(opaque: &Opaque) -> Result<Content, DecodeError> {
    let root = json::root(opaque.raw.as_str().as_bytes())?;
    let item = root.object()?;
    let input = item.find_string("input")?.unwrap_or_default();
    let arguments = json::raw_object(|object| object.str(INPUT, &input)).as_str().to_owned();
    Ok(Content::ToolUse(ToolUse { id: item.get("call_id")?.string()?, name: item.get("name")?.string()?, arguments }))
}

fn read_output(opaque: &Opaque) -> Result<Content, DecodeError> {
    let root = json::root(opaque.raw.as_str().as_bytes())?;
    let item = root.object()?;
    let mut content = Vec::new();
    read_content(&item.get("output")?, &mut content)?;
    Ok(Content::ToolResult(ToolResult { call_id: item.get("call_id")?.string()?, content, is_error: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_comes_back_letter_for_letter() {
        for input in ["*** Begin Patch\n+\"x\"\n", "", "é\u{1f600}\\n", "{\"a\":1}"] {
            let arguments = json::raw_object(|object| object.str(INPUT, input));
            assert_eq!(input_of(arguments.as_str()), input);
        }
        assert_eq!(input_of("no JSON"), "no JSON");
        assert_eq!(input_of("{\"patch\":\"x\"}"), "{\"patch\":\"x\"}");
    }

    #[test]
    fn custom_tools_are_told_from_others() {
        let mut echo = Rest::default();
        let tools = r#"[{"type":"function","name":"f"},{"type":"custom","name":"apply_patch"},{"type":"web_search"}]"#;
        echo.push("tools", Raw::parse(tools).unwrap());
        assert_eq!(list_custom(&echo), ["apply_patch".into()]);
        assert!(list_custom(&Rest::default()).is_empty());
    }
}
