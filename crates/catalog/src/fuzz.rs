//! What must hold for any counts at any prices; the fuzz target and a normal test call this function.
//!
//! It panics when a promise is broken, which is how a fuzzer learns of it. Nothing of the product calls it.
#![expect(clippy::missing_panics_doc, reason = "panicking is what this function is for; the header says so")]

use domain::price::{LongContextRates, ModalRates, Rates, UnitRates};
use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use domain::{NanoUsd, Price};

use crate::pricing::{Cost, modal_cost, unit_cost, worst_case};

/// Twelve amounts of an answer are rounded apart, the worst case's two: half a nano-dollar each.
const ROUNDED: i64 = 7;

/// Counts and prices: nothing is negative or overflows, the parts add up to the total, what is not used costs nothing, and no
/// call costs more than the worst case that was set aside for it.
pub fn pricing(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let (rates, long) = (numbers.rates(), numbers.rates());
    let tiers = [LongContextRates { above_input_tokens: numbers.count(), rates: long }];
    let (usage, parts, units) = (numbers.tokens(), numbers.parts(), numbers.units());

    let cost = modal_cost(usage, parts, &rates, &tiers);
    let shown = shown(&cost);
    assert!(shown.iter().all(|amount| *amount >= NanoUsd::ZERO), "an amount is negative: {cost:?}");
    assert_eq!(cost.total(), sum(&shown), "the shown amounts are not the total: {cost:?}");
    assert_eq!(
        modal_cost(TokenUsage::default(), parts, &rates, &tiers).total(),
        NanoUsd::ZERO,
        "nothing costs something"
    );
    let total_input = u128::from(usage.input)
        + u128::from(usage.cached_input)
        + u128::from(usage.cache_write_5m)
        + u128::from(usage.cache_write_1h);
    if let Ok(total_input) = u64::try_from(total_input) {
        let most = worst_case(total_input, usage.output, &rates, &tiers).as_nanos().saturating_add(ROUNDED);
        assert!(cost.total().as_nanos() <= most, "{:?} is more than the worst case of {most}", cost.total());
    }

    let owed = unit_cost(units, &rates.units);
    let none = UnitUsage::default();
    let apart = [
        UnitUsage { images: units.images, ..none },
        UnitUsage { audio_ms: units.audio_ms, ..none },
        UnitUsage { characters: units.characters, ..none },
        UnitUsage { searches: units.searches, ..none },
        UnitUsage { pages: units.pages, ..none },
    ];
    let apart = apart.map(|units| unit_cost(units, &rates.units));
    assert!(apart.iter().all(|amount| *amount >= NanoUsd::ZERO), "an amount is negative: {apart:?}");
    assert_eq!(owed, sum(&apart), "units together cost what they cost apart");
    assert_eq!(unit_cost(none, &rates.units), NanoUsd::ZERO, "nothing costs something");
}

const fn shown(cost: &Cost) -> [NanoUsd; 6] {
    let Cost { input, cached_input, cache_write_5m, cache_write_1h, output, reasoning } = *cost;
    [input, cached_input, cache_write_5m, cache_write_1h, output, reasoning]
}

/// The exact sum, cut at the bound of what is written down.
fn sum(amounts: &[NanoUsd]) -> NanoUsd {
    let exact: i128 = amounts.iter().map(|amount| i128::from(amount.as_nanos())).sum();
    NanoUsd::from_nanos(i64::try_from(exact).unwrap_or(i64::MAX))
}

/// Numbers of a fuzzer's choice, small ones as easily as large: a byte says how many bytes the number has. Nothing is left after
/// the end but zeros.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn count(&mut self) -> u64 {
        let n_bytes = self.byte() % 9;
        (0..n_bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn price(&mut self) -> Price {
        Price::per_million(i64::try_from(self.count()).unwrap_or(i64::MAX))
    }

    fn perhaps(&mut self) -> Option<Price> {
        let is_set = self.byte() & 1 == 1;
        is_set.then(|| self.price())
    }

    fn rates(&mut self) -> Rates {
        Rates {
            input: self.price(),
            cached_input: self.perhaps(),
            cache_write_5m: self.perhaps(),
            cache_write_1h: self.perhaps(),
            output: self.price(),
            reasoning: self.perhaps(),
            units: UnitRates {
                image: self.perhaps(),
                audio_second: self.perhaps(),
                character: self.perhaps(),
                search: self.perhaps(),
                page: self.perhaps(),
            },
            modal: ModalRates {
                audio_input: self.perhaps(),
                cached_audio_input: self.perhaps(),
                audio_output: self.perhaps(),
                image_input: self.perhaps(),
                cached_image_input: self.perhaps(),
                image_output: self.perhaps(),
            },
        }
    }

    fn tokens(&mut self) -> TokenUsage {
        TokenUsage {
            input: self.count(),
            cached_input: self.count(),
            cache_write_5m: self.count(),
            cache_write_1h: self.count(),
            output: self.count(),
            reasoning: self.count(),
        }
    }

    fn parts(&mut self) -> ModalUsage {
        ModalUsage {
            audio_input: self.count(),
            cached_audio_input: self.count(),
            audio_output: self.count(),
            image_input: self.count(),
            cached_image_input: self.count(),
            image_output: self.count(),
        }
    }

    fn units(&mut self) -> UnitUsage {
        UnitUsage {
            images: self.count(),
            audio_ms: self.count(),
            characters: self.count(),
            searches: self.count(),
            pages: self.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// The kept inputs, as they are and with one byte changed.
    #[test]
    fn the_fuzz_target_holds_on_the_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pricing");
        let mut n_files = 0;
        for file in fs::read_dir(corpus).unwrap() {
            let mut bytes = fs::read(file.unwrap().path()).unwrap();
            n_files += 1;
            pricing(&bytes);
            for at in 0..bytes.len() {
                let before = bytes[at];
                for other in [0, 1, 8, 127, 255] {
                    bytes[at] = other;
                    pricing(&bytes);
                }
                bytes[at] = before;
            }
        }
        assert!(n_files > 1, "{n_files} kept inputs");
    }

    proptest! {
        #[test]
        fn the_fuzz_target_holds_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            pricing(&bytes);
        }
    }
}
