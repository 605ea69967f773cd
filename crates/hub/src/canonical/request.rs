//! One chat call, as the caller meant it.
//!
//! Not checked against any model's abilities: that is the upstream's word. Unknown fields are in `rest` and belong to
//! the dialect named by `origin`.

use super::content::{CacheControl, Message};
use super::json::{Raw, Rest};
use super::tool::{ResponseFormat, Tool, ToolChoice};
use crate::dialect::Dialect;

/// A chat call.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The dialect it was written in; owner of every `rest` inside.
    pub origin: Dialect,
    /// The model as the caller named it.
    pub model: String,
    /// The conversation; instructions are messages too, where the caller put them.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Vec<Tool>,
    /// How the model may use them.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called in one turn.
    pub parallel_tool_calls: Option<bool>,
    /// Form of the answer.
    pub response_format: Option<ResponseFormat>,
    /// Randomness.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: Option<MaxTokens>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether and how hard to think.
    pub reasoning: Option<ReasoningRequest>,
    /// How many answers (OpenAI's `n`).
    pub n: Option<u32>,
    /// Token probabilities wanted.
    pub logprobs: Option<Logprobs>,
    /// The end user, opaque to us (`user`, `metadata.user_id`).
    pub user: Option<String>,
    /// OpenAI's `metadata` object, or Anthropic's without `user_id`.
    pub metadata: Option<Raw>,
    /// Upstream's service tier, such as `auto` or `flex`.
    pub service_tier: Option<String>,
    /// Anthropic's top-level automatic prompt caching.
    pub cache: Option<CacheControl>,
    /// How long the answer should be, in OpenAI's words.
    pub verbosity: Option<String>,
    /// What the upstream's memory has to do with the call.
    pub state: State,
    /// `Some` when the answer should be streamed.
    pub stream: Option<Stream>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

impl ChatRequest {
    /// A call with nothing but a model and messages.
    pub fn new(origin: Dialect, model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            origin,
            model: model.into(),
            messages,
            tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            response_format: None,
            sampling: Sampling::default(),
            max_tokens: None,
            stop: Vec::new(),
            reasoning: None,
            n: None,
            logprobs: None,
            user: None,
            metadata: None,
            service_tier: None,
            cache: None,
            verbosity: None,
            state: State::default(),
            stream: None,
            rest: Rest::default(),
        }
    }

    /// The same call with what the address says: Gemini's clients name the model there, and streaming by another endpoint.
    #[must_use]
    pub fn with_address(mut self, model: impl Into<String>, is_stream: bool) -> Self {
        self.model = model.into();
        self.stream = is_stream.then(|| Stream { include_usage: true, rest: Rest::default() });
        self
    }
}

/// What the upstream remembers of a call, or does beside answering it: OpenAI's responses.
///
/// A dialect without memory cannot say [`State::previous`]; whoever keeps the answers must put the earlier items into
/// `messages` first, after the first message when `has_instructions` says that it stands apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Id of the answer that this call continues.
    pub previous: Option<String>,
    /// Whether the answer should be kept for later calls.
    pub store: Option<bool>,
    /// Whether the answer is made after the call has returned.
    pub background: Option<bool>,
    /// The first message is the call's own instructions, which later calls do not inherit.
    pub has_instructions: bool,
    /// Extra parts of the answer that are asked for, in the vendor's words.
    pub include: Vec<String>,
}

/// Knobs of randomness; `None` means the upstream's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// OpenAI 0–2, Anthropic 0–1.
    pub temperature: Option<f64>,
    /// Nucleus, 0–1.
    pub top_p: Option<f64>,
    /// Only the k likeliest tokens.
    pub top_k: Option<u64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// For repeatable answers.
    pub seed: Option<i64>,
    /// Map of token id to bias.
    pub logit_bias: Option<Raw>,
}

/// Cap on the answer's tokens, with the field it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxTokens {
    /// The cap.
    pub tokens: u64,
    /// OpenAI has two names for it; Anthropic's is [`MaxTokensField::MaxTokens`].
    pub field: MaxTokensField,
}

/// The name a cap travels under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`, OpenAI's newer name, which counts reasoning too.
    MaxCompletionTokens,
}

/// Whether and how hard to think.
#[derive(Clone, Debug, PartialEq)]
pub struct ReasoningRequest {
    /// On, off or the model's choice.
    pub mode: ReasoningMode,
    /// How hard, in words.
    pub effort: Option<Effort>,
    /// How hard, in tokens.
    pub budget_tokens: Option<u64>,
    /// What to show of it: Anthropic's `display`.
    pub display: Option<String>,
}

/// Whether to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningMode {
    /// Nothing said; the effort or budget decides.
    Default,
    /// Always.
    Enabled,
    /// The model decides (Anthropic's `adaptive`).
    Adaptive,
    /// Never.
    Disabled,
}

/// How hard to think, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    None,
    /// The least.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More than `high`.
    XHigh,
    /// The most.
    Max,
    /// A word we do not know yet.
    Other(Box<str>),
}

impl Effort {
    /// Reads the word of either vendor.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::XHigh,
            "max" => Self::Max,
            other => Self::Other(other.into()),
        }
    }

    /// The effort that comes nearest to a budget of tokens, by the table that the other direction uses.
    #[must_use]
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=1024 => Self::Low,
            1025..=8192 => Self::Medium,
            _ => Self::High,
        }
    }

    /// Returns the word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
            Self::Other(word) => word,
        }
    }
}

/// Token probabilities wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// How many alternatives per token, 0–20.
    pub top: Option<u32>,
}

/// How to stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// OpenAI's `stream_options.include_usage`: a last chunk with the usage. Anthropic always reports it.
    pub include_usage: bool,
    /// Other `stream_options` of the origin dialect.
    pub rest: Rest,
}
