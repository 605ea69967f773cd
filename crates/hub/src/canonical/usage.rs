//! Token counts of one answer.
//!
//! Vendors send them once, at the end (OpenAI), or as running totals (Anthropic's `message_delta`). Both are totals, so
//! merging keeps the larger count and never adds. What is billed is [`Usage::billed`].

pub use domain::usage::{ModalUsage, TokenUsage, UnitUsage};

use super::json::Rest;

/// What an answer consumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens by kind.
    pub tokens: TokenUsage,
    /// The parts of them that were sound or pictures.
    pub modal: ModalUsage,
    /// The tier that served the call.
    pub service_tier: Option<Box<str>>,
    /// Other counters of the origin dialect (server tool calls, and audio tokens as it says them).
    pub rest: Rest,
    /// The report replaces earlier ones: vendors whose prompt count includes cached tokens may find out late that some
    /// were, and then one kind shrinks as the other grows.
    pub is_final: bool,
    /// Tokens that are billed with the answer and stand in none of the counts above: of summaries that the vendor made on the way.
    pub beside: TokenUsage,
    /// What was counted beside tokens.
    pub units: UnitUsage,
    /// Some of it has a price that is not known here, such as another model's.
    pub is_guessed: bool,
}

impl Usage {
    /// Returns all tokens that the vendor bills.
    #[must_use]
    pub const fn billed(&self) -> TokenUsage {
        self.tokens.plus(self.beside)
    }

    /// Takes a later report in: per kind the larger count wins unless the report replaces the earlier, and later words
    /// replace earlier ones.
    pub fn merge(&mut self, later: &Self) {
        self.tokens =
            if later.is_final { self.tokens.replaced_by(later.tokens) } else { self.tokens.max(later.tokens) };
        self.modal = if later.is_final { later.modal } else { self.modal.max(later.modal) };
        self.beside = self.beside.max(later.beside);
        self.units = self.units.max(later.units);
        self.is_guessed |= later.is_guessed;
        if later.service_tier.is_some() {
            self.service_tier.clone_from(&later.service_tier);
        }
        for (name, value) in later.rest.iter() {
            self.rest.0.retain(|(known, _)| &**known != name);
            self.rest.push(name, value.clone());
        }
    }
}
