//! From a wish to reason, in any vendor's words, to Gemini's `thinkingConfig`.
//!
//! Models of the 2.5 family take a budget, later ones a level, none takes both. Efforts become budgets by the table that
//! Anthropic's dialect uses. A budget never lifts the caller's own cap on tokens: that cap is money.

use hub::canonical::loss::Loss;
use hub::canonical::request::{ChatRequest, Effort, ReasoningMode, ReasoningRequest};
use hub::codec::json::ObjectWriter;
use hub::dialect::{Dialect, ReasoningStyle, RequestOptions};

/// The most that every model of the 2.5 family takes.
const LARGEST_BUDGET: u64 = 24_576;
/// The least that every model of the 2.5 family takes, other than none.
const LEAST_BUDGET: u64 = 512;

/// What to say about thinking.
pub(super) struct Thinking {
    budget: Option<i64>,
    level: Option<String>,
    is_shown: Option<bool>,
}

impl Thinking {
    const SILENT: Self = Self { budget: None, level: None, is_shown: None };

    pub(super) fn is_silent(&self) -> bool {
        self.budget.is_none() && self.level.is_none() && self.is_shown.is_none()
    }

    /// Writes the fields of `thinkingConfig`.
    pub(super) fn write(&self, object: &mut ObjectWriter<'_>) {
        if let Some(budget) = self.budget {
            object.i64("thinkingBudget", budget);
        }
        object.opt_str("thinkingLevel", self.level.as_deref());
        object.opt_bool("includeThoughts", self.is_shown);
    }
}

/// Decides what to say.
pub(super) fn plan(request: &ChatRequest, options: &RequestOptions, losses: &mut Vec<Loss>) -> Thinking {
    let Some(reasoning) = &request.reasoning else { return Thinking::SILENT };
    let path = if reasoning.effort.is_some() { "reasoning_effort" } else { "reasoning" };
    if options.reasoning == ReasoningStyle::Unsupported {
        if reasoning.mode != ReasoningMode::Disabled {
            losses.push(Loss::dropped(path, "the model does not reason"));
        }
        return Thinking::SILENT;
    }
    if request.origin == Dialect::Gemini {
        return verbatim(reasoning);
    }
    let mut changed = |reason: &str| losses.push(Loss::changed(path, reason));
    let is_off = reasoning.mode == ReasoningMode::Disabled || reasoning.effort == Some(Effort::None);
    if options.reasoning == ReasoningStyle::Effort {
        let level = level_of(reasoning, is_off, &mut changed);
        return Thinking { budget: None, level: level.map(str::to_owned), is_shown: Some(!is_off) };
    }
    if is_off && options.reasoning == ReasoningStyle::BudgetAlways {
        changed("the model always thinks; sent as the least budget");
        return Thinking { budget: Some(128), level: None, is_shown: Some(false) };
    }
    if is_off {
        return Thinking { budget: Some(0), level: None, is_shown: None };
    }
    let mut budget = match (reasoning.budget_tokens, &reasoning.effort) {
        (Some(budget), _) => budget,
        (None, Some(effort)) => budget_of(effort),
        (None, None) => return Thinking { budget: Some(-1), level: None, is_shown: Some(true) },
    };
    if !(LEAST_BUDGET..=LARGEST_BUDGET).contains(&budget) {
        changed("Gemini thinks with 512 to 24576 tokens; sent as the nearest of these");
        budget = budget.clamp(LEAST_BUDGET, LARGEST_BUDGET);
    }
    if let Some(cap) = request.max_tokens.map(|limit| limit.tokens).filter(|cap| *cap <= budget) {
        changed("half of the cap on tokens, which thinking counts against");
        budget = cap / 2;
    }
    Thinking { budget: i64::try_from(budget).ok(), level: None, is_shown: Some(true) }
}

fn verbatim(reasoning: &ReasoningRequest) -> Thinking {
    let budget = match (reasoning.mode, reasoning.budget_tokens) {
        (_, Some(budget)) => i64::try_from(budget).ok(),
        (ReasoningMode::Enabled, None) => Some(-1),
        _ => None,
    };
    Thinking {
        budget,
        level: reasoning.effort.as_ref().map(|effort| effort.as_str().to_ascii_uppercase()),
        is_shown: reasoning.display.as_deref().map(|display| display != "omitted"),
    }
}

fn level_of(reasoning: &ReasoningRequest, is_off: bool, changed: &mut dyn FnMut(&str)) -> Option<&'static str> {
    if is_off {
        changed("this family always thinks; sent as low");
        return Some("LOW");
    }
    Some(match (&reasoning.effort, reasoning.budget_tokens) {
        (Some(Effort::Minimal), _) => {
            changed("not every model of the family knows minimal; sent as low");
            "LOW"
        }
        (Some(Effort::Low), _) => "LOW",
        (Some(Effort::Medium), _) => "MEDIUM",
        (Some(Effort::High), _) => "HIGH",
        (Some(_), _) => {
            changed("Gemini knows low, medium and high; sent as high");
            "HIGH"
        }
        (None, Some(budget)) => {
            changed("this family takes a level, not a number");
            match budget {
                0..=1024 => "LOW",
                1025..=8192 => "MEDIUM",
                _ => "HIGH",
            }
        }
        (None, None) => return None,
    })
}

fn budget_of(effort: &Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => LEAST_BUDGET,
        Effort::Low => 1024,
        Effort::Medium | Effort::Other(_) => 2048,
        Effort::High => 4096,
        Effort::XHigh => 8192,
        Effort::Max => 16_384,
    }
}
