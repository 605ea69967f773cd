//! What the languages of clients and upstreams have in common: their names, what a translation must know, the two halves of one.
//!
//! No language itself is here, nor models, providers, sockets or money: what depends on a model comes in as [`RequestOptions`].

pub mod annotation;
pub mod cache_control;
pub mod call_id;
pub mod json_progress;
mod model_entry;
mod notes;
pub mod proof;
pub mod tool_name;
pub mod whole;

pub use call_id::is_proof;
pub use model_entry::{ModelEntry, ModelFacts};
pub use notes::{Notes, Placed};

use bytes::{Bytes, BytesMut};

use crate::canonical::error::DecodeError;
use crate::canonical::event::Event;
use crate::canonical::json::{Raw, Rest};
use crate::canonical::loss::Loss;

/// A chat dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's `/v1/chat/completions` and everything compatible with it.
    OpenAiChat,
    /// Anthropic's `/v1/messages`.
    AnthropicMessages,
    /// OpenAI's `/v1/responses`.
    OpenAiResponses,
    /// OpenAI's legacy `/v1/completions`.
    OpenAiCompletions,
    /// Gemini's `generateContent`; model and streaming stand in the address.
    Gemini,
}

/// Whether an answer comes in one piece or as a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One JSON body.
    Whole,
    /// Server-sent events; Gemini's upstreams may also send the items of a JSON array.
    Stream,
}

/// What a translation must know of the model and upstream it writes for; from the provider's spec and the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one independent ability of the upstream")]
pub struct RequestOptions {
    /// Sent to Anthropic when the caller gave no cap, because the field is required there.
    pub default_max_tokens: u64,
    /// The name under which an OpenAI-style upstream takes the cap.
    pub max_tokens_field: MaxTokensStyle,
    /// How a JSON schema reaches Anthropic.
    pub json_schema: SchemaStyle,
    /// How reasoning is asked for.
    pub reasoning: ReasoningStyle,
    /// Whether an OpenAI-style upstream takes reasoning back (`reasoning_content`, `reasoning_details`) in messages that
    /// came from another dialect. OpenAI itself refuses unknown message fields.
    pub replay_reasoning: bool,
    /// Whether an OpenAI-style upstream understands `cache_control` on content parts and tools.
    pub cache_control: bool,
    /// Whether an OpenAI-style upstream knows the `developer` role; `system` is sent otherwise.
    pub developer_role: bool,
    /// Whether an OpenAI-style upstream takes `stream_options`. When it does, `include_usage` is always asked for, so
    /// that the call can be billed, and the extra chunk is kept from a client that did not ask.
    pub stream_options: bool,
    /// Whether the model takes `temperature`, `top_p` and `top_k`.
    pub sampling: bool,
}

impl RequestOptions {
    /// For upstreams that behave as the vendor's current documentation says.
    pub const STANDARD: Self = Self {
        default_max_tokens: 4096,
        max_tokens_field: MaxTokensStyle::AsGiven,
        json_schema: SchemaStyle::Native,
        reasoning: ReasoningStyle::Budget,
        replay_reasoning: false,
        cache_control: false,
        developer_role: true,
        stream_options: true,
        sampling: true,
    };
}

/// The name under which an OpenAI-style upstream takes the cap on tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensStyle {
    /// As the caller wrote it; `max_completion_tokens` when it comes from another dialect.
    AsGiven,
    /// Always `max_tokens`: most compatible servers.
    MaxTokens,
    /// Always `max_completion_tokens`: OpenAI's reasoning models.
    MaxCompletionTokens,
}

/// How a JSON schema reaches Anthropic or Gemini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaStyle {
    /// `output_config.format`.
    Native,
    /// A tool with the schema that the model must call; for models without structured output. Gemini: its own schema
    /// fields, for models that do not read JSON Schema.
    ForcedTool,
}

/// How reasoning is asked for upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningStyle {
    /// Anthropic: `thinking.budget_tokens`; OpenAI: `reasoning_effort`; Gemini: `thinkingBudget`, the 2.5 family.
    Budget,
    /// Gemini: `thinkingBudget`, of a model that cannot be kept from thinking (2.5 Pro).
    BudgetAlways,
    /// Anthropic: `thinking.type = adaptive` with `output_config.effort`; OpenAI: `reasoning_effort`; Gemini:
    /// `thinkingLevel` and signed calls, from the third family on.
    Effort,
    /// The model does not reason: the wish is a loss.
    Unsupported,
}

/// A request body in a dialect, with what it took to write it.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedRequest {
    /// The JSON body.
    pub body: Bytes,
    /// What could not be said.
    pub losses: Vec<Loss>,
    /// What the decoder of the answer must undo.
    pub undo: Undo,
}

/// Changes made to a request that show in the answer; the decoder turns them back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// Tool names that had to be rewritten: (sent, original).
    pub tool_names: Vec<(Box<str>, Box<str>)>,
    /// The tool whose arguments are really the answer's text (a schema sent as a forced tool).
    pub text_tool: Option<Box<str>>,
}

/// How to write an answer for one client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerOptions {
    /// The model name to show; `None` shows what the upstream said.
    pub model: Option<Box<str>>,
    /// Id to use when the upstream gave none.
    pub id: Box<str>,
    /// Seconds since the epoch to use when the upstream gave none.
    pub created: i64,
    /// OpenAI streams: whether the client asked for the last chunk with the usage.
    pub include_usage: bool,
    /// OpenAI's responses: fields of the request that the answer repeats.
    pub echo: Rest,
}

/// Turns response bytes into events, one chunk at a time.
///
/// Invariant: any split of the same bytes gives the same events. After an error the decoder must not be used again.
pub trait Decoder: Send {
    /// Reads the next bytes and appends what they complete.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError>;

    /// The body is over: appends what is left, or says that something is missing.
    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError>;

    /// Says whether all that an answer must say has come in a dialect that has no end mark: more may follow, but nothing has to,
    /// so [`Self::finish`] is right however the body ends. Where there is a mark, [`Event::Done`] says it.
    fn is_said(&self) -> bool {
        false
    }
}

/// Turns events into response bytes, one at a time.
pub trait Encoder: Send {
    /// Writes what can be written now; a whole-answer encoder writes everything at [`Event::Done`] or [`Event::Error`].
    fn push(&mut self, event: Event, out: &mut BytesMut);

    /// Adds an `x_headgate` object to the last event or body; to be called before `Done` is pushed.
    fn annotate(&mut self, extra: Raw);

    /// What of the answer could not be said in the client's dialect so far.
    fn losses(&self) -> &[Loss];
}

impl Dialect {
    /// Returns the dialect's stable name, for logs and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiCompletions => "openai_completions",
            Self::Gemini => "gemini",
        }
    }

    /// Says whether OpenAI defined it: files, metadata and tiers mean the same in all of these.
    #[must_use]
    pub fn is_openai(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OpenAiResponses)
    }
}
