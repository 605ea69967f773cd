//! An answer as it happens: the one form that every decoder gives and every encoder takes.
//!
//! Invariant kept by decoders: `Start` first; blocks have unique, rising indexes over all choices; each block is
//! `BlockStart`, its `Delta`s, `BlockStop`; then one `Finish` per choice; `Done` last. Blocks may overlap (parallel tool
//! calls), `Usage` and `Ping` may come anywhere, an `Error` ends the stream without `Done`.

use super::content::Opaque;
use super::error::AnswerError;
use super::json::{Raw, Rest};
use super::probability::Probabilities;
use super::usage::Usage;
use crate::dialect::Dialect;

/// One step of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start(Start),
    /// A block begins.
    BlockStart {
        /// Its number in the answer.
        index: u32,
        /// The choice it belongs to; 0 unless the caller asked for several.
        choice: u32,
        /// What it is.
        block: BlockStart,
    },
    /// A block grows.
    Delta {
        /// The block's number.
        index: u32,
        /// By what.
        delta: Delta,
    },
    /// A block is complete.
    BlockStop {
        /// The block's number.
        index: u32,
    },
    /// Token probabilities of a choice, or of a piece of it.
    Logprobs {
        /// The choice.
        choice: u32,
        /// What the upstream said of them.
        found: Box<Probabilities>,
    },
    /// A choice is complete.
    Finish(Finish),
    /// Totals so far.
    Usage(Usage),
    /// A sign of life.
    Ping,
    /// The upstream failed in mid-answer; nothing follows.
    Error(AnswerError),
    /// The answer is complete; nothing follows.
    Done,
}

/// How an answer begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The dialect it came in; owner of every `rest`.
    pub origin: Dialect,
    /// The upstream's id of the answer.
    pub id: Box<str>,
    /// The model that answers, in the upstream's words.
    pub model: Box<str>,
    /// Seconds since the epoch, when the upstream said so.
    pub created: Option<i64>,
    /// Fields of the origin dialect, such as `system_fingerprint`.
    pub rest: Rest,
}

/// What kind of block begins.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockStart {
    /// Text.
    Text,
    /// Thinking.
    Reasoning,
    /// Thinking only the upstream can read; complete at once.
    RedactedReasoning(Box<str>),
    /// A refusal in words.
    Refusal,
    /// A tool call.
    ToolUse {
        /// Id for the result.
        id: Box<str>,
        /// The tool's name.
        name: Box<str>,
    },
    /// A block of the origin dialect that this model does not know.
    Opaque(Opaque),
}

/// How a block grows.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More text.
    Text(Box<str>),
    /// More of a tool call's arguments: a piece of JSON text.
    Arguments(Box<str>),
    /// More thinking.
    Reasoning(Box<str>),
    /// The proof of the thinking; whole, not a piece.
    Signature(Box<str>),
    /// More refusal.
    Refusal(Box<str>),
    /// One citation (Anthropic) or annotation (OpenAI).
    Citation(Raw),
    /// A delta of the origin dialect that this model does not know, whole.
    Opaque(Raw),
    /// Fields of the origin dialect that belong to the block; of an opaque block, fields of the block itself.
    Fields(Rest),
}

/// How a choice ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// The choice.
    pub choice: u32,
    /// Why it ended.
    pub reason: FinishReason,
    /// The vendor's own word, when `reason` says less.
    pub native: Option<Box<str>>,
    /// The stop text that was hit.
    pub stop_sequence: Option<Box<str>>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

impl Finish {
    /// The end of the only choice.
    #[must_use]
    pub fn new(reason: FinishReason) -> Self {
        Self { choice: 0, reason, native: None, stop_sequence: None, rest: Rest::default() }
    }
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// A stop text was hit.
    StopSequence,
    /// The token cap was reached.
    Length,
    /// The context window is full.
    ContextWindow,
    /// The model wants tools run.
    ToolUse,
    /// A filter cut it or the model refused.
    ContentFilter,
    /// The vendor paused a long turn that the caller may continue.
    Pause,
    /// Something else; see `native`.
    Other,
}

impl FinishReason {
    /// Returns its stable word, as in usage events and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopSequence => "stop_sequence",
            Self::Length => "length",
            Self::ContextWindow => "context_window",
            Self::ToolUse => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Pause => "pause",
            Self::Other => "other",
        }
    }
}
