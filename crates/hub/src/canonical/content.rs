//! Messages and the blocks they are made of; used by requests and, for the assistant's side, by answers.
//!
//! System and developer messages stay where the caller put them: moving one destroys upstream prompt caches.
//! Invariant: a [`Role::Tool`] message holds only [`Content::ToolResult`] blocks.

use super::json::{Raw, Rest};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// OpenAI's participant name.
    pub name: Option<String>,
    /// What is said, in order.
    pub content: Vec<Block>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

impl Message {
    /// A message without name or unknown fields.
    #[must_use]
    pub fn new(role: Role, content: Vec<Block>) -> Self {
        Self { role, name: None, content, rest: Rest::default() }
    }
}

/// Who a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// OpenAI's newer name for the operator; kept apart so that it returns unchanged.
    Developer,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// Results of tool calls.
    Tool,
}

impl Role {
    /// Says whether this is an operator's instruction.
    #[must_use]
    pub fn is_instruction(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What it is.
    pub content: Content,
    /// Where the caller asked for a prompt cache breakpoint.
    pub cache: Option<CacheControl>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

impl Block {
    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Content::Text(Text { text: text.into(), citations: None }).into()
    }

    /// Takes fields of the origin dialect in. Those of an opaque block replace its own, save [`Block::ITEM`].
    pub fn take_fields(&mut self, fields: Rest) {
        let is_opaque = matches!(self.content, Content::Opaque(_));
        let (inner, own): (Vec<_>, Vec<_>) =
            fields.0.into_iter().partition(|(name, _)| is_opaque && **name != *Self::ITEM);
        for (name, value) in own {
            self.rest.set(&name, value);
        }
        if let Content::Opaque(opaque) = &mut self.content
            && !inner.is_empty()
            && let Some(raw) = opaque.raw.with_fields(Rest(inner))
        {
            opaque.raw = raw;
        }
    }

    /// The name in [`Block::rest`] under which a dialect whose content is a list of items, each of several blocks, keeps
    /// what names the item (its id). Present on the first block of each item, so it marks where items begin. It means
    /// nothing elsewhere and is no loss.
    pub const ITEM: &str = "item";
}

impl From<Content> for Block {
    fn from(content: Content) -> Self {
        Self { content, cache: None, rest: Rest::default() }
    }
}

/// The kinds of block.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Plain text.
    Text(Text),
    /// A picture.
    Image(Image),
    /// Sound, OpenAI's `input_audio`.
    Audio(Audio),
    /// A PDF, a text document or an uploaded file.
    Document(Document),
    /// The model calls a tool.
    ToolUse(ToolUse),
    /// What a tool answered.
    ToolResult(ToolResult),
    /// The model's thinking.
    Reasoning(Reasoning),
    /// Thinking that only the upstream can read; must go back unchanged.
    RedactedReasoning(String),
    /// The model declines, in words.
    Refusal(String),
    /// A block of the origin dialect that this model does not know, whole.
    Opaque(Opaque),
}

/// Text with what it cites.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Citations (Anthropic) or annotations (OpenAI), as the origin dialect wrote them.
    pub citations: Option<Raw>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Where its bytes are.
    pub source: Source,
    /// OpenAI's `low`, `high` or `auto`.
    pub detail: Option<String>,
}

/// A sound clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Base64 bytes.
    pub data: String,
    /// `wav` or `mp3`.
    pub format: String,
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where its bytes are.
    pub source: Source,
    /// File name (OpenAI) or title (Anthropic).
    pub title: Option<String>,
    /// Anthropic's context text.
    pub context: Option<String>,
    /// Whether the model should cite it (Anthropic's `citations.enabled`).
    pub citations: Option<bool>,
}

/// Where the bytes of an image or document are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Inline.
    Base64 {
        /// MIME type, such as `image/png`.
        media_type: String,
        /// Base64 text, not decoded here.
        data: String,
    },
    /// At an address; whoever sends the call knows whether the upstream fetches it.
    Url(String),
    /// Uploaded to the upstream before.
    File(String),
    /// Inline text of a plain-text document.
    Text(String),
    /// A source this model does not know, as the origin dialect wrote it.
    Opaque(Raw),
}

/// One tool call of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse {
    /// Id that the result refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text as the model wrote it: may be empty, partial or no object at all.
    pub arguments: String,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// Id of the [`ToolUse`] it answers.
    pub call_id: String,
    /// Text, images or documents.
    pub content: Vec<Block>,
    /// The tool failed and `content` says how.
    pub is_error: bool,
}

/// Thinking in the open.
#[derive(Clone, Debug, PartialEq)]
pub struct Reasoning {
    /// The thought; may be empty when the upstream shows nothing of it.
    pub text: String,
    /// The upstream's proof that it wrote this; without it Anthropic refuses the block in a request.
    pub signature: Option<String>,
}

/// A block of one dialect that no other can express.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// Its `type`.
    pub kind: String,
    /// The whole block, `type` included.
    pub raw: Raw,
}

/// A prompt cache breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheControl {
    /// How long the prefix should live.
    pub ttl: CacheTtl,
}

/// How long a cached prefix lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTtl {
    /// The upstream's default, five minutes.
    Default,
    /// Five minutes, said explicitly.
    FiveMinutes,
    /// One hour.
    OneHour,
}
