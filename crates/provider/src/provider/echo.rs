//! The built-in provider: answers with what it was sent. No network, no account.
//!
//! Real product, for first calls, demonstrations and health checks: it speaks every chat surface, streams, calls tools with
//! arguments that obey their schema, answers a JSON schema with JSON that obeys it, embeds, ranks, draws, sounds, counts tokens and has a price.
//! Invariant: the same request gives the same answer, byte for byte, save for id and time.

mod embed;
mod pattern;
mod sample;
mod task;

use bytes::BytesMut;
use domain::usage::{TokenUsage, UnitUsage};
use serde_json::Value;

use super::{Call, LocalAnswer, Operation, PrepareError, Provider, Quirks, Spec, Stamp, count};
use crate::auth::Scheme;
use crate::estimate;
use llm::canonical::content::{Content, Role};
use llm::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use llm::canonical::json::{Raw, Rest};
use llm::canonical::request::ChatRequest;
use llm::canonical::tool::{FunctionTool, ResponseFormat, Tool, ToolChoice};
use llm::canonical::usage::Usage;
use llm::dialect::{AnswerOptions, Dialect, Mode, Speak as _, openai_responses};

/// Most choices of one call.
const MAX_CHOICES: u32 = 16;
/// Bytes of text that are answered at most; the rest counts as cut by the model's length.
const MAX_TEXT: usize = 1 << 20;
/// Chunks of a stream at most; longer answers have longer chunks.
const MAX_CHUNKS: usize = 64;
/// Longest piece that counts as one token.
const PIECE: usize = 12;

/// The built-in provider.
pub(super) struct Echo(Spec);

/// The registry's entry.
pub(super) static ECHO: Echo = Echo(Spec {
    name: "echo",
    title: "Echo",
    needs_credential: false,
    auth: Scheme::None,
    dialects: &[Dialect::OpenAiChat, Dialect::AnthropicMessages],
    places: &[],
    quirks: Quirks::NONE,
    listing: None,
    ..Spec::OPENAI_LIKE
});

impl Provider for Echo {
    fn spec(&self) -> &'static Spec {
        &ECHO.0
    }

    fn holds_sessions(&self) -> bool {
        true
    }

    fn local(
        &self,
        call: &Call<'_>,
        upstream_model: &str,
        stamp: &Stamp<'_>,
    ) -> Option<Result<LocalAnswer, PrepareError>> {
        Some(match call.operation {
            Operation::Chat(dialect) => chat(call, dialect, upstream_model, stamp),
            Operation::Embeddings => embed::answer(call, upstream_model),
            Operation::Task(task) => return task::answer(call, task, upstream_model, stamp),
            // Ours to say, so it is the count that an answer is billed by, not an estimate of another's.
            Operation::CountTokens(client) => Ok(count::answer(call, client, false)),
        })
    }
}

fn chat(
    call: &Call<'_>,
    dialect: Dialect,
    upstream_model: &str,
    stamp: &Stamp<'_>,
) -> Result<LocalAnswer, PrepareError> {
    let request = call.decode(dialect, upstream_model)?;
    let n = request.n.unwrap_or(1);
    if n == 0 || n > MAX_CHOICES {
        return Err(PrepareError::Invalid { field: "n", reason: format!("echo gives 1 to {MAX_CHOICES} answers") });
    }
    let said = Said::of(&request)?;
    let usage = TokenUsage {
        input: estimate::input_guess(call.scan),
        output: u64::from(n).saturating_mul(said.pieces.len() as u64),
        ..TokenUsage::default()
    };
    let mode = if request.stream.is_some() { Mode::Stream } else { Mode::Whole };
    let options = AnswerOptions {
        model: Some(upstream_model.into()),
        id: stamp.id.into(),
        created: stamp.now.as_secs(),
        include_usage: call.scan.wants_usage(),
        echo: openai_responses::echo_of(dialect, call.body),
    };
    let mut encoder = dialect.encoder(mode, options);
    let mut chunks = Vec::new();
    let mut out = BytesMut::new();
    for event in events(&said, n, dialect, upstream_model, stamp, usage) {
        encoder.push(event, &mut out);
        if mode == Mode::Stream && !out.is_empty() {
            chunks.push(out.split().freeze());
        }
    }
    if !out.is_empty() {
        chunks.push(out.freeze());
    }
    let content_type = if mode == Mode::Stream { "text/event-stream" } else { "application/json" };
    Ok(LocalAnswer { content_type, chunks, usage, units: UnitUsage::default(), is_estimated: false })
}

/// What echo answers, cut into the pieces that it counts as tokens.
struct Said {
    tool: Option<String>,
    pieces: Vec<String>,
    finish: FinishReason,
}

impl Said {
    fn of(request: &ChatRequest) -> Result<Self, PrepareError> {
        let text = heard(request);
        if let Some(tool) = called_tool(request) {
            let schema = tool
                .parameters
                .as_ref()
                .map_or(Ok(Value::Object(serde_json::Map::new())), |raw| parse(raw, "tools"))?;
            let arguments =
                sample::object(&schema, &text).map_err(|reason| PrepareError::Invalid { field: "tools", reason })?;
            // Arguments are never cut: half a JSON object helps nobody.
            let pieces = pieces(&arguments.to_string());
            return Ok(Self { tool: Some(tool.name.clone()), pieces, finish: FinishReason::ToolUse });
        }
        let text = match &request.response_format {
            Some(ResponseFormat::JsonObject) => serde_json::json!({ "echo": text }).to_string(),
            Some(ResponseFormat::JsonSchema(format)) => {
                let schema =
                    format.schema.as_ref().map_or(Ok(Value::Bool(true)), |raw| parse(raw, "response_format"))?;
                let value = sample::value(&schema, &text)
                    .map_err(|reason| PrepareError::Invalid { field: "response_format", reason })?;
                value.to_string()
            }
            _ => text,
        };
        let mut pieces = pieces(&text);
        let cap = request.max_tokens.map_or(usize::MAX, |cap| usize::try_from(cap.tokens).unwrap_or(usize::MAX));
        let finish = if pieces.len() > cap { FinishReason::Length } else { FinishReason::Stop };
        pieces.truncate(cap);
        Ok(Self { tool: None, pieces, finish })
    }
}

fn parse(raw: &Raw, field: &'static str) -> Result<Value, PrepareError> {
    serde_json::from_str(raw.as_str()).map_err(|error| PrepareError::Invalid { field, reason: error.to_string() })
}

/// Returns the text of the last message that has any: what the user said, or what a tool gave back.
fn heard(request: &ChatRequest) -> String {
    let mut text = request
        .messages
        .iter()
        .rev()
        .filter(|message| matches!(message.role, Role::User | Role::Tool))
        .map(|message| {
            message.content.iter().filter_map(|block| text_of(&block.content)).collect::<Vec<_>>().join("\n")
        })
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| "(nothing was said)".to_owned());
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn text_of(content: &Content) -> Option<String> {
    match content {
        Content::Text(text) => Some(text.text.clone()),
        Content::ToolResult(result) => {
            Some(result.content.iter().filter_map(|block| text_of(&block.content)).collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    }
}

/// Returns the tool to call: the named one, else the first. After a tool's result echo speaks instead, so that agents end.
fn called_tool(request: &ChatRequest) -> Option<&FunctionTool> {
    let last = request.messages.last()?;
    let has_result = last.content.iter().any(|block| matches!(block.content, Content::ToolResult(_)));
    if has_result && !matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_))) {
        return None;
    }
    let mut functions = request.tools.iter().filter_map(|tool| match tool {
        Tool::Function(function) => Some(function),
        Tool::Opaque(_) => None,
    });
    match &request.tool_choice {
        Some(ToolChoice::None) => None,
        Some(ToolChoice::Tool(name)) => functions.find(|function| function.name == *name),
        _ => functions.next(),
    }
}

/// Cuts text into words with the space that follows, and long words into parts.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let mut piece = String::new();
        for letter in word.chars() {
            piece.push(letter);
            if piece.len() >= PIECE {
                pieces.push(std::mem::take(&mut piece));
            }
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    pieces
}

fn events(said: &Said, n: u32, dialect: Dialect, model: &str, stamp: &Stamp<'_>, usage: TokenUsage) -> Vec<Event> {
    let mut events = vec![Event::Start(Start {
        origin: dialect,
        id: stamp.id.into(),
        model: model.into(),
        created: Some(stamp.now.as_secs()),
        rest: Rest::default(),
    })];
    // Right after the start, so that it becomes part of it: Anthropic's clients read the input's count there.
    let input = TokenUsage { output: 0, ..usage };
    events.push(Event::Usage(Usage { tokens: input, ..Usage::default() }));
    let group = said.pieces.len().div_ceil(MAX_CHUNKS).max(1);
    for choice in 0..n {
        let block = match &said.tool {
            Some(name) => BlockStart::ToolUse {
                id: format!("call_{}_{choice}", call_id(stamp.id)).into(),
                name: name.as_str().into(),
            },
            None => BlockStart::Text,
        };
        events.push(Event::BlockStart { index: choice, choice, block });
        for part in said.pieces.chunks(group) {
            let part = part.concat().into();
            let delta = if said.tool.is_some() { Delta::Arguments(part) } else { Delta::Text(part) };
            events.push(Event::Delta { index: choice, delta });
        }
        events.push(Event::BlockStop { index: choice });
    }
    events.extend((0..n).map(|choice| Event::Finish(Finish { choice, ..Finish::new(said.finish) })));
    events.push(Event::Usage(Usage { tokens: usage, ..Usage::default() }));
    events.push(Event::Done);
    events
}

/// Tool call ids may hold only letters, digits, `_` and `-`.
fn call_id(id: &str) -> String {
    id.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}
