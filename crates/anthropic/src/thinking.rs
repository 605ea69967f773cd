//! From a wish to reason, in either vendor's words, to Anthropic's `thinking`.
//!
//! Efforts become budgets by a fixed table. A budget never lifts the caller's own cap on tokens: that cap is money.

use hub::canonical::content::{Content, Role};
use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode, ReasoningRequest};
use hub::codec::json::ObjectWriter;
use hub::dialect::{Dialect, ReasoningStyle, RequestOptions, proof};

/// The least budget that Anthropic takes.
const LEAST_BUDGET: u64 = 1024;

/// What to say about thinking.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thinking {
    /// Nothing.
    Silent,
    /// What Anthropic's own client said.
    Verbatim(ReasoningRequest),
    /// So many tokens.
    Budget(u64),
    /// As hard as the word says.
    Adaptive(Option<Effort>),
}

impl Thinking {
    /// Says whether the model will, or may, think.
    pub(super) fn is_on(&self) -> bool {
        match self {
            Self::Silent => false,
            Self::Verbatim(reasoning) => matches!(reasoning.mode, ReasoningMode::Enabled | ReasoningMode::Adaptive),
            Self::Budget(_) | Self::Adaptive(_) => true,
        }
    }

    /// The cap on tokens; the default leaves room for the budget.
    pub(super) fn cap(&self, cap: Option<u64>, default: u64) -> u64 {
        match (cap, self) {
            (Some(cap), _) => cap,
            // A large default may be all the model can write; only a small one needs lifting.
            (None, Self::Budget(budget)) if default / 4 < *budget => default.saturating_add(*budget),
            (None, _) => default,
        }
    }

    /// The word for `output_config.effort`.
    pub(super) fn effort(&self) -> Option<String> {
        let effort = match self {
            Self::Verbatim(reasoning) => reasoning.effort.as_ref()?,
            Self::Adaptive(effort) => effort.as_ref()?,
            Self::Silent | Self::Budget(_) => return None,
        };
        Some(effort.as_str().to_owned())
    }

    /// Writes the `thinking` field; `more` are unknown fields of the caller's own.
    pub(super) fn write(&self, more: &[(Box<str>, Raw)], object: &mut ObjectWriter<'_>) {
        let (kind, budget, display) = match self {
            Self::Silent => return,
            Self::Verbatim(reasoning) => {
                let kind = match reasoning.mode {
                    ReasoningMode::Default => return,
                    ReasoningMode::Enabled => "enabled",
                    ReasoningMode::Adaptive => "adaptive",
                    ReasoningMode::Disabled => "disabled",
                };
                (kind, reasoning.budget_tokens, reasoning.display.as_deref())
            }
            Self::Budget(budget) => ("enabled", Some(*budget), None),
            // Shown by default elsewhere, so asked for here, where the default is to show nothing.
            Self::Adaptive(_) => ("adaptive", None, Some("summarized")),
        };
        object.object("thinking", |object| {
            object.str("type", kind);
            if let Some(budget) = budget {
                object.u64("budget_tokens", budget);
            }
            object.opt_str("display", display);
            for (name, value) in more {
                object.raw(name, value);
            }
        });
    }
}

/// Decides what to say.
pub(super) fn plan(request: &ChatRequest, options: &RequestOptions, losses: &mut Vec<Loss>) -> Thinking {
    let Some(reasoning) = &request.reasoning else { return Thinking::Silent };
    if request.origin == Dialect::AnthropicMessages && options.reasoning != ReasoningStyle::Unsupported {
        return Thinking::Verbatim(reasoning.clone());
    }
    if reasoning.mode == ReasoningMode::Disabled {
        return Thinking::Silent;
    }
    let is_budget = options.reasoning == ReasoningStyle::Budget;
    let path = if reasoning.effort.is_some() { "reasoning_effort" } else { "reasoning" };
    let mut drop = |reason: &str| {
        losses.push(Loss::dropped(path, reason));
        Thinking::Silent
    };
    if options.reasoning == ReasoningStyle::Unsupported {
        return drop("the model does not reason");
    }
    if has_unsigned_call(request) {
        return drop("the conversation's last tool calls come without their thinking, which Anthropic wants back");
    }
    if !is_budget {
        let effort = match &reasoning.effort {
            Some(Effort::Minimal) => Some(Effort::Low),
            effort => effort.clone(),
        };
        return Thinking::Adaptive(effort);
    }
    let budget = reasoning.budget_tokens.unwrap_or_else(|| budget_of(reasoning.effort.as_ref())).max(LEAST_BUDGET);
    match request.max_tokens.map(|limit| limit.tokens) {
        Some(cap) if budget < cap => Thinking::Budget(budget),
        Some(cap) if cap >= 2 * LEAST_BUDGET => {
            losses.push(Loss::changed(path, "half of the cap on tokens, which thinking counts against"));
            Thinking::Budget(cap / 2)
        }
        Some(_) => drop("the cap on tokens leaves no room to think; raise it to 2048 or more"),
        None => Thinking::Budget(budget),
    }
}

fn budget_of(effort: Option<&Effort>) -> u64 {
    match effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => 1024,
        Some(Effort::High) => 4096,
        Some(Effort::XHigh) => 8192,
        Some(Effort::Max) => 16_384,
        Some(Effort::Medium | Effort::Other(_)) | None => 2048,
    }
}

/// Says whether the turn in progress called tools without signed thinking before them, as a client sends it that does
/// not keep `reasoning_details`. Anthropic refuses that while thinking is on.
fn has_unsigned_call(request: &ChatRequest) -> bool {
    let is_in_progress = |role: Role| matches!(role, Role::Tool | Role::Assistant);
    let turn = request.messages.iter().rev().take_while(|message| is_in_progress(message.role));
    let calls = |content: &Content| matches!(content, Content::ToolUse(_));
    let is_thought = |content: &Content| match content {
        Content::Reasoning(reasoning) => reasoning.signature.as_deref().is_some_and(proof::is_anthropic),
        Content::RedactedReasoning(_) => true,
        _ => false,
    };
    let with_calls = turn.filter(|message| message.content.iter().any(|block| calls(&block.content)));
    // The turn's first message with calls is the one that must begin with thinking.
    with_calls.last().is_some_and(|first| !first.content.iter().any(|block| is_thought(&block.content)))
}
