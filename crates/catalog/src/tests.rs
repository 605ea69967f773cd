//! The files hold what they promise, and what they state agrees with tables that others keep.

mod compare;

use domain::usage::TokenUsage;

use super::*;
use crate::pricing::cost;

fn at(day_text: &str) -> Timestamp {
    day(day_text).unwrap()
}

/// Whose files hold models without a price, and say in `prices_source` why.
const UNPRICED: &[&str] = &["nvidia"];

#[test]
fn every_file_parses() {
    for text in FILES {
        assert!(!read(text).unwrap().is_empty());
    }
    assert!(all().len() > 40);
}

#[test]
fn names_are_unique_and_prices_ascend() {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for model in all() {
        names.push((&model.provider, &model.name));
        names.extend(model.aliases.iter().map(|alias| (model.provider.as_str(), alias.as_str())));
        assert!(!model.prices.is_empty() || UNPRICED.contains(&&*model.provider), "{}", model.name);
        assert!(model.prices.is_sorted_by(|a, b| a.effective_at < b.effective_at), "{}", model.name);
        let first = model.prices.first().map(|price| price.effective_at);
        assert_eq!(first.unwrap_or_default(), Timestamp::default(), "{}", model.name);
        assert!(model.facts.max_output_tokens.unwrap_or(0) <= model.facts.context_tokens, "{}", model.name);
        for price in &model.prices {
            assert!(price.long_context.is_sorted_by(|a, b| a.above_input_tokens < b.above_input_tokens));
            let is_dearer = |tier: &LongContextRates| tier.rates.input >= price.rates.input;
            assert!(price.long_context.iter().all(is_dearer), "{}", model.name);
            for (at, rate) in price.images.iter().enumerate() {
                assert!(!rate.kind.is_empty(), "{}", model.name);
                assert!(price.images[..at].iter().all(|earlier| earlier.kind != rate.kind), "{}", model.name);
            }
            for tier in &price.tiers {
                let is_dearer = tier.rates.input >= price.rates.input;
                let is_cheaper = tier.rates.input <= price.rates.input;
                let is_sound = if tier.tier == ServiceTier::Priority { is_dearer } else { is_cheaper };
                assert!(is_sound, "{} {:?}", model.name, tier.tier);
                assert!(tier.long_context.is_sorted_by(|a, b| a.above_input_tokens < b.above_input_tokens));
                let is_dearer = |long: &LongContextRates| long.rates.input >= tier.rates.input;
                assert!(tier.long_context.iter().all(is_dearer), "{} {:?}", model.name, tier.tier);
                let bounds =
                    |of: &[LongContextRates]| of.iter().map(|long| long.above_input_tokens).collect::<Vec<_>>();
                let is_whole =
                    tier.long_context.is_empty() || bounds(&tier.long_context) == bounds(&price.long_context);
                assert!(is_whole, "{} {:?}", model.name, tier.tier);
            }
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn prices_agree_with_a_second_source() {
    let mut n_compared = 0;
    for line in include_str!("../fixtures/pricing/second_source.csv").lines().skip(2) {
        let [provider, name, kind, dollars] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let model = find(provider, name).unwrap_or_else(|| panic!("{line}"));
        let rates = model.prices.last().unwrap().rates;
        let ours = match kind {
            "input" => Some(rates.input),
            "cached_input" => rates.cached_input,
            "cache_write_5m" => rates.cache_write_5m,
            "cache_write_1h" => rates.cache_write_1h,
            "output" => Some(rates.output),
            _ => panic!("{line}"),
        };
        let theirs = dollars.parse::<domain::NanoUsd>().unwrap().as_nanos();
        assert_eq!(ours, Some(Price::per_million(theirs)), "{line}");
        n_compared += 1;
    }
    assert!(n_compared > 100);
}

#[test]
fn a_price_holds_from_its_day() {
    let o3 = find("openai", "o3").unwrap();
    let usage = TokenUsage { input: 1_000_000, output: 1_000_000, ..TokenUsage::default() };
    let dollars = |day_text| {
        let price = o3.price_at(at(day_text)).unwrap();
        cost(usage, &price.rates, &price.long_context).total().to_string()
    };
    assert_eq!((dollars("2025-06-09"), dollars("2025-06-10")), ("50".to_owned(), "10".to_owned()));
}

#[test]
fn tiers_of_service_have_their_rates() {
    let price = find("anthropic", "claude-haiku-4-5").unwrap().price_at(at("2026-11-22")).unwrap();
    let batch = price.tier(ServiceTier::Batch).unwrap();
    assert_eq!((batch.input, batch.output), (Price::per_million(500_000_000), Price::per_million(2_500_000_000)));
    assert_eq!(price.tier(ServiceTier::Flex), None);
}

#[test]
fn pictures_cost_by_size_and_quality() {
    let price = find("azure_openai", "dall-e-3").unwrap().price_at(at("2026-11-22")).unwrap();
    let cents = |size, quality| {
        let rate = domain::image::find_rate(&price.images, &ImageKind::of(size, quality));
        rate.or(price.rates.units.image).map(|each| each.nano_usd_per_million / 1_000_000 / 1_000_000)
    };
    assert_eq!(cents(None, None), Some(44));
    assert_eq!(cents(Some("1024x1792"), None), Some(88));
    assert_eq!(cents(Some("1024x1024"), Some("hd")), Some(88));
    assert_eq!(cents(Some("1792x1024"), Some("hd")), Some(132));
}

#[test]
fn dated_names_find_their_model() {
    assert_eq!(find("openai", "gpt-4o-mini-2024-07-18").unwrap().name, "gpt-4o-mini");
    assert_eq!(find("anthropic", "claude-haiku-4-5-20251001").unwrap().name, "claude-haiku-4-5");
    // The first snapshot of gpt-4o costs twice as much, so it is no alias.
    assert!(find("openai", "gpt-4o-2024-05-13").is_none());
    assert!(find("anthropic", "gpt-4o").is_none());
}

#[test]
fn the_built_in_provider_has_a_price() {
    let echo = find("echo", "echo-1").unwrap();
    assert!(echo.facts.can(Capability::Tools) && echo.facts.can(Capability::JsonSchema));
    assert_eq!(find("echo", "echo-embed").unwrap().facts.dimensions, Some(256));
}
