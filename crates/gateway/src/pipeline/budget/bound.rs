//! The most a call can take, before anybody has counted.
//!
//! Not bounded, and booked beyond the hold if it happens: what a provider's own tools read from the web, and files that are only
//! named by an id or an address, beyond an allowance for each.

use domain::image::ImageRate;
use domain::price::UnitRates;
use domain::{NanoUsd, Price as Rate, Timestamp};
use llm::dialect::Dialect;
use policy::resource::Price;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::catalog::ModelKind;
use provider::scan::{Scan, visit_fields};
use provider::task::{self, Task};
use provider::{Counting, Operation, estimate, pricing};
use purse::Spent;
use serde_json::Value;

use crate::pipeline::resolve::{Wanted, known};

/// Output of a model that states no bound, when the request states none either.
const UNSTATED_OUTPUT: u64 = 131_072;
/// Tokens of one picture made: the largest and best of today's models takes some 6,300.
const PICTURE_OUTPUT: u64 = 10_000;

/// The most that a target reads and writes for one call, whatever is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    input: u64,
    output: u64,
}

impl Window {
    /// The window of a session's turn; `None` for a model that is not known.
    pub(crate) fn of_turn(target: &DeploymentPolicy) -> Option<Self> {
        let model = known(target)?;
        let output = model.max_output_tokens.unwrap_or(UNSTATED_OUTPUT);
        (model.kind == ModelKind::Realtime).then_some(Self { input: model.context_tokens, output })
    }

    /// The window of a call in the provider's own form. A chat may read what the upstream keeps, and so as much as the model can.
    pub(crate) fn of_passage(
        target: &DeploymentPolicy,
        counting: Counting,
        scan: &Scan,
        n_bytes: usize,
    ) -> Option<Self> {
        if counting == Counting::Free {
            return Some(Self { input: 0, output: 0 });
        }
        let model = known(target)?;
        match model.kind {
            // Of these there may be many in one.
            ModelKind::Chat if counting == Counting::Dialect(Dialect::OpenAiCompletions) => None,
            ModelKind::Chat => {
                let output = asked(scan).or(model.max_output_tokens).unwrap_or(UNSTATED_OUTPUT);
                Some(Self { input: model.context_tokens, output: output.saturating_mul(scan.n.unwrap_or(1).max(1)) })
            }
            ModelKind::Embedding => Some(Self { input: n_bytes as u64, output: 0 }),
            _ => None,
        }
    }

    pub(super) const fn tokens(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Returns what it can cost; `None` without a price.
    pub(crate) fn cost(
        self,
        organization: &OrganizationPolicy,
        target: &DeploymentPolicy,
        at: Timestamp,
    ) -> Option<u64> {
        if self.tokens() == 0 {
            return Some(0);
        }
        let price = organization.price(target, at)?;
        Some(u64::try_from(dearest(self.input, self.output, price).as_nanos()).unwrap_or(0))
    }
}

/// Prices tokens at the dearest that a price holds for any of them.
fn dearest(input: u64, output: u64, price: &Price) -> NanoUsd {
    let usual = pricing::worst_case(input, output, &price.rates, &price.long_context);
    let tiers = price.tiers.iter().map(|tier| pricing::worst_case(input, output, &tier.rates, &tier.long_context));
    tiers.fold(usual, std::cmp::max)
}

/// The longest answer that a request lets be.
fn asked(scan: &Scan) -> Option<u64> {
    [scan.max_completion_tokens, scan.max_tokens, scan.max_output_tokens].into_iter().flatten().max()
}

/// One call, to be bounded at any target.
pub(super) struct Bound<'a> {
    wanted: &'a Wanted,
    n_at_once: u64,
}

impl<'a> Bound<'a> {
    pub(super) const fn of(wanted: &'a Wanted, n_at_once: u64) -> Self {
        Self { wanted, n_at_once }
    }

    /// Returns the bound at the dearest of these targets, or the first that has no price.
    pub(super) fn of_targets<'t>(
        &self,
        organization: &OrganizationPolicy,
        targets: &[&'t DeploymentPolicy],
        at: Timestamp,
    ) -> Result<Spent, &'t DeploymentPolicy> {
        let mut bound = self.without_price(targets);
        if matches!(self.wanted.surface.operation(), Operation::CountTokens(_)) {
            // Counting is free everywhere.
            return Ok(bound);
        }
        let input = self.input();
        for target in targets {
            let price = organization.price(target, at).ok_or(*target)?;
            let output = self.output(target);
            let tokens = dearest(input, output, price);
            let units = std::iter::once(&price.rates).chain(price.tiers.iter().map(|tier| &tier.rates));
            let units =
                units.map(|rates| self.unit_cost(&rates.units, &price.images)).fold(NanoUsd::ZERO, std::cmp::max);
            let cost = tokens.saturating_add(units);
            let cost = u64::try_from(cost.as_nanos()).unwrap_or(0).saturating_mul(self.n_at_once);
            bound.cost = bound.cost.max(cost);
        }
        Ok(bound)
    }

    /// Returns the bound in everything but money.
    pub(super) fn without_price(&self, targets: &[&DeploymentPolicy]) -> Spent {
        if matches!(self.wanted.surface.operation(), Operation::CountTokens(_)) {
            return Spent { requests: 1, ..Spent::default() };
        }
        let output = targets.iter().map(|target| self.output(target)).max().unwrap_or(0);
        let tokens = self.input().saturating_add(output).saturating_mul(self.n_at_once);
        Spent { cost: 0, tokens, requests: 1 }
    }

    fn input(&self) -> u64 {
        match self.wanted.surface.operation() {
            // What is in a form was not scanned.
            Operation::Task(_) => self.wanted.body.len() as u64,
            _ => estimate::input_bound(&self.wanted.scan),
        }
    }

    /// How many answers are asked for. Completions may be of several prompts, each as often.
    fn n(&self) -> u64 {
        let Wanted { scan, body, .. } = self.wanted;
        let n = scan.n.unwrap_or(1).max(1);
        if self.wanted.surface.operation() != Operation::Chat(Dialect::OpenAiCompletions) {
            return n;
        }
        let prompt = scan.input.and_then(|span| serde_json::from_slice::<Vec<Value>>(span.of(body)).ok());
        let n_prompts = prompt.filter(|all| !all.iter().all(Value::is_number)).map_or(1, |all| all.len() as u64);
        let mut best_of = None;
        // It was scanned before, so it reads again.
        let _read = visit_fields(body, |key, span| {
            if key == "best_of" {
                best_of = serde_json::from_slice::<u64>(span.of(body)).ok();
            }
        });
        n.max(best_of.unwrap_or(1)).saturating_mul(n_prompts.max(1))
    }

    fn output(&self, target: &DeploymentPolicy) -> u64 {
        let scan = &self.wanted.scan;
        match self.wanted.surface.operation() {
            Operation::CountTokens(_) | Operation::Embeddings | Operation::Task(Task::Rerank | Task::Moderation) => 0,
            Operation::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => {
                self.n().saturating_mul(PICTURE_OUTPUT)
            }
            // A byte of text is spoken in, and a byte of sound written down as, less than a token of each.
            Operation::Task(Task::Speech | Task::Transcription | Task::Translation) => {
                (self.wanted.body.len() as u64).saturating_mul(4)
            }
            Operation::Chat(_) | Operation::Task(Task::Compaction) => {
                let stated = || known(target).and_then(|model| model.max_output_tokens).unwrap_or(UNSTATED_OUTPUT);
                asked(scan).unwrap_or_else(stated).saturating_mul(self.n())
            }
        }
    }

    /// What is counted beside tokens, each picture of the dearest kind.
    fn unit_cost(&self, rates: &UnitRates, images: &[ImageRate]) -> NanoUsd {
        let image = images.iter().map(|rate| rate.each).chain(rates.image).reduce(Rate::max);
        let units = task::most_units(self.wanted.surface.operation(), self.n(), self.wanted.body.len() as u64);
        pricing::unit_cost(units, &UnitRates { image, ..*rates })
    }
}
