//! Every rate of every model beside an independent table's, both ways: what differs, and what only one of the two has, is explained.
//!
//! `fixtures/pricing/genai_prices.csv` is their side, written anew by `cargo xtask prices`; `differences.csv` explains numbers that differ and
//! rates that only they have, `alone.csv` what only the catalog has. An explanation that explains nothing any more fails, too.

use std::collections::{BTreeMap, BTreeSet};

use domain::NanoUsd;

use super::super::*;

/// Provider, model, kind of rate.
type Key = (String, String, String);

/// Nano-dollars for a million tokens, or for one of a unit.
fn ours(at: Timestamp) -> BTreeMap<Key, i64> {
    let mut table = BTreeMap::new();
    for model in all() {
        let Some(price) = model.price_at(at) else { continue };
        let mut put = |prefix: &str, suffix: &str, rates: &Rates| {
            for (kind, nanos) in flat(rates) {
                let key = (model.provider.clone(), model.name.clone(), format!("{prefix}{kind}{suffix}"));
                table.insert(key, nanos);
            }
        };
        put("", "", &price.rates);
        for step in &price.long_context {
            put("", &format!(" above {}", step.above_input_tokens), &step.rates);
        }
        for tier in &price.tiers {
            let name = match tier.tier {
                ServiceTier::Batch => "batch ",
                ServiceTier::Flex => "flex ",
                ServiceTier::Priority => "priority ",
            };
            put(name, "", &tier.rates);
            for step in &tier.long_context {
                put(name, &format!(" above {}", step.above_input_tokens), &step.rates);
            }
        }
    }
    table
}

fn flat(rates: &Rates) -> Vec<(&'static str, i64)> {
    let (modal, units) = (&rates.modal, &rates.units);
    let tokens = [
        ("input", Some(rates.input)),
        ("cached_input", rates.cached_input),
        ("cache_write_5m", rates.cache_write_5m),
        ("cache_write_1h", rates.cache_write_1h),
        ("output", Some(rates.output)),
        ("reasoning", rates.reasoning),
        ("audio_input", modal.audio_input),
        ("cached_audio_input", modal.cached_audio_input),
        ("audio_output", modal.audio_output),
        ("image_input", modal.image_input),
        ("cached_image_input", modal.cached_image_input),
        ("image_output", modal.image_output),
    ];
    let each = [
        ("search", units.search),
        ("page", units.page),
        ("character", units.character),
        ("audio_second", units.audio_second),
        ("image", units.image),
    ];
    let of = |(kind, price): (&'static str, Option<Price>), scale: i64| {
        price.map(|price| (kind, price.nano_usd_per_million / scale)).filter(|(_, nanos)| *nanos != 0)
    };
    let tokens = tokens.into_iter().filter_map(|it| of(it, 1));
    tokens.chain(each.into_iter().filter_map(|it| of(it, 1_000_000))).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip(2).filter(|line| !line.is_empty())
}

fn nanos(dollars: &str) -> i64 {
    dollars.parse::<NanoUsd>().unwrap().as_nanos()
}

fn theirs() -> BTreeMap<Key, i64> {
    let line = |line: &str| {
        let [provider, model, kind, usd] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        ((provider.to_owned(), model.to_owned(), kind.to_owned()), nanos(usd))
    };
    lines(include_str!("../../fixtures/pricing/genai_prices.csv")).map(line).collect()
}

/// What only the catalog has, and why; `*` stands for all.
struct Alone {
    provider: &'static str,
    model: &'static str,
    kind: &'static str,
}

impl Alone {
    fn is_for(&self, key: &Key) -> bool {
        let is = |stated: &str, actual: &str| match stated.strip_suffix('*') {
            Some(beginning) => actual.starts_with(beginning),
            None => stated == actual,
        };
        is(self.provider, &key.0) && is(self.model, &key.1) && is(self.kind, &key.2)
    }
}

fn alone() -> Vec<Alone> {
    let line = |line: &'static str| {
        let [provider, model, kind, why] = line.splitn(4, ',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(!why.is_empty(), "{line}");
        Alone { provider, model, kind }
    };
    lines(include_str!("../../fixtures/pricing/alone.csv")).map(line).collect()
}

#[test]
fn every_difference_to_an_independent_table_is_explained() {
    let explained = lines(include_str!("../../fixtures/pricing/differences.csv")).map(|line| {
        let [provider, model, kind, ours, theirs, why] = line.splitn(6, ',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert!(!why.is_empty(), "{line}");
        let number = |text: &str| (text != "none").then(|| nanos(text));
        ((provider.to_owned(), model.to_owned(), kind.to_owned()), (number(ours), number(theirs)))
    });
    let mut explained: BTreeMap<Key, _> = explained.collect();
    let (ours, theirs, alone) = (ours("2026-11-23T00:00:00Z".parse().unwrap()), theirs(), alone());
    let keys: BTreeSet<&Key> = ours.keys().chain(theirs.keys()).collect();
    let mut used = vec![false; alone.len()];
    let (mut n_equal, mut wrong) = (0, Vec::new());
    for key in keys {
        match (ours.get(key).copied(), theirs.get(key).copied()) {
            (our, their) if our == their => n_equal += 1,
            (Some(_), None) => match alone.iter().position(|it| it.is_for(key)) {
                Some(at) => used[at] = true,
                None => wrong.push(format!("{key:?} is in the catalog alone")),
            },
            pair => {
                if explained.remove(key) != Some(pair) {
                    wrong.push(format!("{key:?}: ours and theirs are {pair:?}"));
                }
            }
        }
    }
    wrong.extend(explained.keys().map(|key| format!("{key:?} is explained and does not differ")));
    let idle = alone.iter().zip(used).filter(|(_, is_used)| !is_used);
    wrong.extend(idle.map(|(it, _)| format!("alone.csv: {},{},{} explains nothing", it.provider, it.model, it.kind)));
    assert!(wrong.is_empty(), "{} without a reason:\n{}", wrong.len(), wrong.join("\n"));
    assert!(n_equal > 2_000, "{n_equal}");
}
