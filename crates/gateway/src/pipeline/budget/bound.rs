//! The most a call can take, before anybody has counted.
//!
//! Not bounded, and booked beyond the hold if it happens: what a provider's own tools read from the web, and files that are only
//! named by an id or an address, beyond an allowance for each.

use domain::image::ImageRate;
use domain::price::UnitRates;
use domain::usage::UnitUsage;
use domain::{NanoUsd, Price, Timestamp};
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::task::Task;
use provider::{Operation, catalog, estimate, pricing};
use purse::Spent;

use crate::pipeline::resolve::Wanted;

/// Output of a model that states no bound, when the request states none either.
const UNSTATED_OUTPUT: u64 = 131_072;
/// Tokens of one picture made: the largest and best of today's models takes some 6,300.
const PICTURE_OUTPUT: u64 = 10_000;
/// The least bytes of a second of sound: speech at 4 kbit/s.
const SOUND_BYTES_PER_SECOND: u64 = 500;
/// The least bytes of a document that is ranked, and how many of them are billed as one search at the most.
const SEARCH_BYTES: u64 = 256;

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
            let price = organization.price(&target.provider, &target.upstream_model, at).ok_or(*target)?;
            let output = self.output(target);
            let usual = pricing::worst_case(input, output, &price.rates, &price.long_context);
            let tiers = price.tiers.iter().map(|tier| pricing::worst_case(input, output, &tier.rates, &[]));
            let tokens = tiers.fold(usual, std::cmp::max);
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

    fn n(&self) -> u64 {
        self.wanted.scan.n.unwrap_or(1).max(1)
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
                let asked = [scan.max_completion_tokens, scan.max_tokens, scan.max_output_tokens];
                let asked = asked.into_iter().flatten().max();
                let known = catalog::find(&target.provider, &target.upstream_model);
                let stated = || known.and_then(|model| model.max_output_tokens).unwrap_or(UNSTATED_OUTPUT);
                asked.unwrap_or_else(stated).saturating_mul(self.n())
            }
        }
    }

    /// What is counted beside tokens, each picture of the dearest kind.
    fn unit_cost(&self, rates: &UnitRates, images: &[ImageRate]) -> NanoUsd {
        let image = images.iter().map(|rate| rate.each).chain(rates.image).reduce(Price::max);
        pricing::unit_cost(self.units(), &UnitRates { image, ..*rates })
    }

    fn units(&self) -> UnitUsage {
        let bytes = self.wanted.body.len() as u64;
        match self.wanted.surface.operation() {
            Operation::Task(Task::Rerank) => UnitUsage { searches: 1 + bytes / SEARCH_BYTES, ..UnitUsage::default() },
            Operation::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => {
                UnitUsage { images: self.n(), ..UnitUsage::default() }
            }
            Operation::Task(Task::Speech) => {
                // Ten characters a second is slow speech.
                UnitUsage { characters: bytes, audio_ms: bytes.saturating_mul(1_000), ..UnitUsage::default() }
            }
            Operation::Task(Task::Transcription | Task::Translation) => {
                let audio_ms = bytes.saturating_mul(1_000) / SOUND_BYTES_PER_SECOND;
                UnitUsage { audio_ms, ..UnitUsage::default() }
            }
            _ => UnitUsage::default(),
        }
    }
}
