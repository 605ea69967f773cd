//! What tokens cost, exactly.
//!
//! Prices are data (`catalog`, or an organization's own); this is only the arithmetic. Invariant: each component is computed
//! in `i128` and rounded half up once, and the total is the sum of the shown components, so an invoice adds up.

use domain::image::{ImageKind, ImageRate, find_rate};
use domain::price::{LongContextRates, ModalRates, Rates, UnitRates};
use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use domain::{NanoUsd, Price};

/// The cost of one answer, by kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Input at the full price, sound and pictures included.
    pub input: NanoUsd,
    /// Input read from a cache, sound and pictures included.
    pub cached_input: NanoUsd,
    /// Input written to a cache of five minutes.
    pub cache_write_5m: NanoUsd,
    /// Input written to a cache of one hour.
    pub cache_write_1h: NanoUsd,
    /// Output; without its reasoning part when that has a price of its own.
    pub output: NanoUsd,
    /// Reasoning, when it has a price of its own.
    pub reasoning: NanoUsd,
}

impl Cost {
    /// Returns the sum of the components, saturating at the bounds of [`NanoUsd`].
    #[must_use]
    pub fn total(&self) -> NanoUsd {
        [self.input, self.cached_input, self.cache_write_5m, self.cache_write_1h, self.output, self.reasoning]
            .into_iter()
            .sum()
    }
}

/// Computes what an answer costs.
///
/// `long_context` is ascending by bound; the last bound that the total input exceeds decides the rates of the **whole** call,
/// output included. A kind without its own price costs what `Rates` says it falls back to.
#[must_use]
pub fn cost(usage: TokenUsage, rates: &Rates, long_context: &[LongContextRates]) -> Cost {
    modal_cost(usage, ModalUsage::default(), rates, long_context)
}

/// Computes what an answer costs of which these parts were sound or pictures.
#[must_use]
pub fn modal_cost(usage: TokenUsage, parts: ModalUsage, rates: &Rates, long_context: &[LongContextRates]) -> Cost {
    let rates = applicable(usage.total_input(), rates, long_context);
    let reasoning = usage.reasoning.min(usage.output);
    let ModalUsage { audio_input, cached_audio_input, audio_output, image_input, cached_image_input, image_output } =
        parts;
    let modal = &rates.modal;
    let (said, reasoning) = match rates.reasoning {
        Some(price) => (usage.output - reasoning, price.cost(reasoning)),
        None => (usage.output, NanoUsd::ZERO),
    };
    let cached = rates.cached_input.unwrap_or(rates.input);
    let fresh = [(audio_input, modal.audio_input), (image_input, modal.image_input)];
    let read = [(cached_audio_input, modal.cached_audio_input), (cached_image_input, modal.cached_image_input)];
    Cost {
        input: split(usage.input, rates.input, fresh),
        cached_input: split(usage.cached_input, cached, read),
        cache_write_5m: rates.cache_write_5m.unwrap_or(rates.input).cost(usage.cache_write_5m),
        cache_write_1h: rates.cache_write_1h.unwrap_or(rates.input).cost(usage.cache_write_1h),
        output: split(said, rates.output, [(audio_output, modal.audio_output), (image_output, modal.image_output)]),
        reasoning,
    }
}

/// Prices a count of which parts may have a price of their own.
fn split<const N: usize>(whole: u64, price: Price, parts: [(u64, Option<Price>); N]) -> NanoUsd {
    let mut text = whole;
    let mut sum = NanoUsd::ZERO;
    for (part, own) in parts {
        if let Some(own) = own {
            // A part beyond its whole was not understood, and is not billed twice.
            let part = part.min(text);
            text -= part;
            sum = sum.saturating_add(own.cost(part));
        }
    }
    sum.saturating_add(price.cost(text))
}

/// Returns the prices of units where pictures are of a kind that may have a price of its own.
#[must_use]
pub fn unit_rates(rates: UnitRates, images: &[ImageRate], kind: Option<&ImageKind>) -> UnitRates {
    UnitRates { image: kind.and_then(|kind| find_rate(images, kind)).or(rates.image), ..rates }
}

/// Computes what is owed for what is counted beside tokens. Seconds are billed by the millisecond.
#[must_use]
pub fn unit_cost(units: UnitUsage, rates: &UnitRates) -> NanoUsd {
    let of = |rate: Option<domain::Price>, count: u64| rate.map_or(NanoUsd::ZERO, |price| price.cost(count));
    let audio = rates.audio_second.map_or(NanoUsd::ZERO, |price| {
        let exact = i128::from(units.audio_ms) * i128::from(price.nano_usd_per_million);
        NanoUsd::from_nanos(i64::try_from((exact + 500_000_000).div_euclid(1_000_000_000)).unwrap_or(i64::MAX))
    });
    let counted = [
        of(rates.image, units.images),
        audio,
        of(rates.character, units.characters),
        of(rates.search, units.searches),
        of(rates.page, units.pages),
    ];
    counted.into_iter().sum()
}

/// Computes the most a call can cost: all of `input_tokens` at the dearest kind of input, `output_tokens` at the dearest kind
/// of output, at the dearest of the rates that the input may reach.
#[must_use]
pub fn worst_case(input_tokens: u64, output_tokens: u64, rates: &Rates, long_context: &[LongContextRates]) -> NanoUsd {
    let reachable = long_context.iter().filter(|tier| input_tokens > tier.above_input_tokens).map(|tier| &tier.rates);
    std::iter::once(rates)
        .chain(reachable)
        .map(|rates| {
            let ModalRates {
                audio_input,
                cached_audio_input,
                audio_output,
                image_input,
                cached_image_input,
                image_output,
            } = rates.modal;
            let kinds =
                [rates.cached_input, rates.cache_write_5m, rates.cache_write_1h, audio_input, cached_audio_input];
            let kinds = kinds.into_iter().chain([image_input, cached_image_input]);
            let input = kinds.flatten().fold(rates.input, Price::max);
            let output =
                [rates.reasoning, audio_output, image_output].into_iter().flatten().fold(rates.output, Price::max);
            input.cost(input_tokens).saturating_add(output.cost(output_tokens))
        })
        .max()
        .unwrap_or(NanoUsd::ZERO)
}

fn applicable<'a>(total_input: u64, rates: &'a Rates, long_context: &'a [LongContextRates]) -> &'a Rates {
    long_context.iter().rev().find(|tier| total_input > tier.above_input_tokens).map_or(rates, |tier| &tier.rates)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn usd_per_million(cents: i64) -> Price {
        Price::per_million(cents * 10_000_000)
    }

    fn sonnet() -> Rates {
        Rates {
            input: usd_per_million(300),
            cached_input: Some(usd_per_million(30)),
            cache_write_5m: Some(usd_per_million(375)),
            cache_write_1h: Some(usd_per_million(600)),
            output: usd_per_million(1500),
            ..Rates::default()
        }
    }

    #[test]
    fn each_kind_has_its_price_and_the_total_is_their_sum() {
        let usage = TokenUsage {
            input: 1_000,
            cached_input: 10_000,
            cache_write_5m: 200,
            cache_write_1h: 100,
            output: 500,
            reasoning: 300,
        };
        let cost = cost(usage, &sonnet(), &[]);
        let shown =
            [cost.input, cost.cached_input, cost.cache_write_5m, cost.cache_write_1h, cost.output, cost.reasoning];
        assert_eq!(shown.map(|amount| amount.to_string()), ["0.003", "0.003", "0.00075", "0.0006", "0.0075", "0"]);
        assert_eq!(cost.total().to_string(), "0.01485");
    }

    #[test]
    fn a_kind_without_a_price_costs_what_it_falls_back_to() {
        let rates = Rates { input: usd_per_million(100), output: usd_per_million(200), ..Rates::default() };
        let usage =
            TokenUsage { input: 1, cached_input: 1, cache_write_5m: 1, cache_write_1h: 1, output: 2, reasoning: 2 };
        assert_eq!(cost(usage, &rates, &[]).total(), NanoUsd::from_nanos(4 * 1_000 + 2 * 2_000));
        let dear = Rates { reasoning: Some(usd_per_million(900)), ..rates };
        assert_eq!(cost(usage, &dear, &[]).total(), NanoUsd::from_nanos(4 * 1_000 + 2 * 9_000));
    }

    #[test]
    fn sound_and_pictures_have_prices_of_their_own_within_their_kind() {
        let modal = ModalRates {
            audio_input: Some(usd_per_million(3_200)),
            audio_output: Some(usd_per_million(6_400)),
            image_input: Some(usd_per_million(500)),
            image_output: Some(usd_per_million(3_000)),
            ..ModalRates::default()
        };
        let text = Rates { input: usd_per_million(400), output: usd_per_million(1_600), ..Rates::default() };
        let heard = ModalUsage {
            audio_input: 50,
            image_input: 10,
            cached_audio_input: 5,
            audio_output: 20,
            image_output: 4,
            ..ModalUsage::default()
        };
        let usage = TokenUsage { input: 100, cached_input: 8, output: 30, ..TokenUsage::default() };
        let spoken = modal_cost(usage, heard, &Rates { modal, ..text }, &[]);
        assert_eq!(spoken.input, NanoUsd::from_nanos(40 * 4_000 + 50 * 32_000 + 10 * 5_000));
        assert_eq!(
            spoken.cached_input,
            NanoUsd::from_nanos(8 * 4_000),
            "without a price of its own it costs what text does"
        );
        assert_eq!(spoken.output, NanoUsd::from_nanos(6 * 16_000 + 20 * 64_000 + 4 * 30_000));
        assert_eq!(modal_cost(usage, heard, &text, &[]).total(), NanoUsd::from_nanos(108 * 4_000 + 30 * 16_000));
        // Parts beyond their whole are billed as far as it goes.
        let odd = ModalUsage { audio_input: 50, image_input: 9, ..ModalUsage::default() };
        let ten = TokenUsage { input: 10, ..TokenUsage::default() };
        assert_eq!(modal_cost(ten, odd, &Rates { modal, ..text }, &[]).total(), NanoUsd::from_nanos(10 * 32_000));
    }

    #[test]
    fn a_long_prompt_pays_the_long_rates_for_everything() {
        let long = Rates { input: usd_per_million(600), output: usd_per_million(2250), ..Rates::default() };
        let tiers = [LongContextRates { above_input_tokens: 200_000, rates: long }];
        let at = |cached_input| TokenUsage { input: 100_000, cached_input, output: 1_000_000, ..TokenUsage::default() };
        assert_eq!(cost(at(100_000), &sonnet(), &tiers).output.to_string(), "15");
        assert_eq!(cost(at(100_001), &sonnet(), &tiers).output.to_string(), "22.5");
    }

    #[test]
    fn sub_nano_prices_round_half_up_once() {
        // $0.0125 a million is 12.5 nano-dollars a token.
        let rates = Rates { input: Price::per_million(12_500_000), ..Rates::default() };
        let of = |input| cost(TokenUsage { input, ..TokenUsage::default() }, &rates, &[]).total().as_nanos();
        assert_eq!([of(1), of(2), of(3)], [13, 25, 38]);
    }

    #[test]
    fn units_cost_by_the_piece_and_sound_by_the_millisecond() {
        let each = |nanos: i64| Some(Price::per_million(nanos * 1_000_000));
        let rates = UnitRates {
            image: each(40_000_000),
            audio_second: each(100_000),
            character: each(15_000),
            search: each(2_000_000),
            page: None,
        };
        let units = UnitUsage { images: 2, audio_ms: 1_500, characters: 10, searches: 1, pages: 7 };
        assert_eq!(unit_cost(units, &rates).as_nanos(), 80_000_000 + 150_000 + 150_000 + 2_000_000);
        assert_eq!(unit_cost(units, &UnitRates::default()), NanoUsd::ZERO);
    }

    fn any_price() -> impl Strategy<Value = Price> {
        (0..100_000_000_000_i64).prop_map(Price::per_million)
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let maybe = || proptest::option::of(any_price());
        (any_price(), maybe(), maybe(), maybe(), any_price(), maybe()).prop_map(
            |(input, cached_input, cache_write_5m, cache_write_1h, output, reasoning)| Rates {
                input,
                cached_input,
                cache_write_5m,
                cache_write_1h,
                output,
                reasoning,
                units: UnitRates::default(),
                modal: ModalRates::default(),
            },
        )
    }

    proptest! {
        #[test]
        fn no_call_costs_more_than_its_worst_case(
            rates in any_rates(), long in any_rates(), bound in 0..300_000_u64,
            kinds in proptest::array::uniform4(0..200_000_u64), output in 0..200_000_u64, reasoning in 0..200_000_u64,
        ) {
            let [input, cached_input, cache_write_5m, cache_write_1h] = kinds;
            let usage = TokenUsage { input, cached_input, cache_write_5m, cache_write_1h, output, reasoning: reasoning.min(output) };
            let tiers = [LongContextRates { above_input_tokens: bound, rates: long }];
            let most = worst_case(usage.total_input(), output, &rates, &tiers);
            // Six components are rounded apart, the worst case two: at most half a nano-dollar each.
            prop_assert!(cost(usage, &rates, &tiers).total().as_nanos() <= most.as_nanos() + 3);
        }
    }
}
