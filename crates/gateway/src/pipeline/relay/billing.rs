//! What one attempt used and cost, from what its answer said about itself.
//!
//! The upstream's own count is exact. Where it is missing the tokens are estimated and the event says so; an answer that the
//! upstream broke off without a count costs nothing, because nobody can show what it was.

use std::sync::Arc;

use domain::image::ImageKind;
use domain::price::ServiceTier;
use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use domain::{NanoUsd, PriceId, Timestamp};
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::pricing;
use provider::skim::Skimmed;

/// Bytes of a whole answer per output token, when it must be estimated: four of text, and the JSON around it.
const ANSWER_BYTES_PER_TOKEN: u64 = 5;
/// A count beyond this is no count: no answer has a trillion tokens.
const MOST_TOKENS: u64 = 1 << 40;

/// What an attempt used and cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) usage: TokenUsage,
    /// The parts of it that were sound or pictures.
    pub(crate) modal: ModalUsage,
    pub(crate) units: UnitUsage,
    /// The kind of the pictures made.
    pub(crate) image: Option<Box<ImageKind>>,
    pub(crate) cost: NanoUsd,
    pub(crate) price: Option<PriceId>,
    pub(crate) is_estimated: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Broken,
    ClientClosed,
    /// By a kill switch.
    Stopped,
}

/// What it takes to bill an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Billing {
    pub(crate) organization: Arc<OrganizationPolicy>,
    pub(crate) deployment: Arc<DeploymentPolicy>,
    /// The likely input tokens.
    pub(crate) input_guess: u64,
    /// Whether the answer came as a stream.
    pub(crate) is_stream: bool,
    /// The tier of service that the answer's headers name.
    pub(crate) tier: Option<ServiceTier>,
}

impl Billing {
    /// Bills an answer by what it said about itself.
    pub(crate) fn bill(&self, found: &Skimmed, end: End, at: Timestamp) -> Bill {
        let (usage, is_estimated) = self.usage(found, end);
        let units = found.units;
        if usage == TokenUsage::default() && units.is_empty() {
            return Bill { is_estimated, ..Bill::default() };
        }
        // An estimate has no parts, and a part never exceeds its whole.
        let modal = found.modal.as_deref().copied().unwrap_or_default().within(&usage);
        let image = found.image.clone().filter(|_| units.images > 0);
        let is_free = end == End::Broken && found.usage.is_none();
        let is_estimated = is_estimated || found.is_guessed;
        let price = self.organization.price(&self.deployment, at);
        let Some(price) = price.filter(|_| !is_free) else {
            return Bill { usage, modal, units, image, is_estimated, ..Bill::default() };
        };
        let tier = found.tier.or(self.tier).and_then(|tier| price.tiers.iter().find(|known| known.tier == tier));
        let (rates, long_context) =
            tier.map_or((&price.rates, &price.long_context), |tier| (&tier.rates, &tier.long_context));
        let tokens = pricing::modal_cost(usage, modal, rates, long_context).total();
        // A tier that says nothing of units has the usual ones.
        let units_of_tier = if rates.units.is_empty() { price.rates.units } else { rates.units };
        let kind = image.as_deref().filter(|_| tier.is_none_or(|tier| tier.rates.units.image.is_none()));
        let unit_rates = pricing::unit_rates(units_of_tier, &price.images, kind);
        let cost = tokens.saturating_add(pricing::unit_cost(units, &unit_rates));
        Bill { usage, modal, units, image, cost, price: Some(price.id), is_estimated }
    }

    /// Bills an answer made here, whose usage is known.
    pub(crate) fn bill_known(&self, usage: TokenUsage, at: Timestamp) -> Bill {
        self.bill(&Skimmed { usage: Some(usage), ..Skimmed::default() }, End::Complete, at)
    }

    fn usage(&self, found: &Skimmed, end: End) -> (TokenUsage, bool) {
        let usage = found.usage.filter(|usage| is_believable(usage, found));
        match (usage, end) {
            // A count that stands before the answer and is smaller than it was only the opening's.
            (Some(usage), End::Complete) if found.n_before_usage > 0 || usage.output >= found.n_output_events => {
                (usage, false)
            }
            // A running total that stopped early: the events seen are a lower bound of the output.
            (Some(usage), _) => (TokenUsage { output: usage.output.max(found.n_output_events), ..usage }, true),
            (None, _) if !found.has_output() || !found.units.is_empty() => (TokenUsage::default(), false),
            (None, _) => {
                let output =
                    if self.is_stream { found.n_output_events } else { found.n_bytes / ANSWER_BYTES_PER_TOKEN };
                (TokenUsage { input: self.input_guess, output: output.max(1), ..TokenUsage::default() }, true)
            }
        }
    }
}

/// Says whether an upstream's count can be meant: not of nothing for an answer that says something, and of no absurd size.
fn is_believable(usage: &TokenUsage, found: &Skimmed) -> bool {
    let TokenUsage { input, cached_input, cache_write_5m, cache_write_1h, output, reasoning } = *usage;
    let counts = [input, cached_input, cache_write_5m, cache_write_1h, output, reasoning];
    counts.iter().all(|count| *count <= MOST_TOKENS) && (usage.total() > 0 || !found.has_output())
}
