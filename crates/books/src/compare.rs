//! Holds what a provider says against what the ledger says, by day, model and credential.
//!
//! Only what the export counts is compared. Models are matched without the date of their release, since both sides may name a model
//! or one of its snapshots. Invariant: every place of either side within the days of the export is matched or listed.

use std::collections::{BTreeMap, BTreeSet};

use domain::NanoUsd;
use domain::reconciliation::{Counted, Difference, Tolerance};

use crate::export::{Place, Statement};

/// What names of an export mean here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Models of the export, as the ledger names them.
    pub models: BTreeMap<String, String>,
    /// Keys, projects or accounts of the export, with the ids of credentials; when there are any, credentials are told apart.
    pub credentials: BTreeMap<String, String>,
}

/// Two sides, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Places on which both agree.
    pub matched: u64,
    /// Places on which they do not, the dearest difference first.
    pub differences: Vec<Difference>,
    /// Everything that the provider says.
    pub theirs: Counted,
    /// Everything that the ledger says.
    pub ours: Counted,
}

/// Returns a model's name without the date of its release, in lower case, with hyphens: `gpt-4o-2024-08-06`, `claude-haiku-4-5-20251001`
/// and `Claude Haiku 4.5` lose theirs.
#[must_use]
pub fn base_name(model: &str) -> String {
    let plain = |letter: char| if letter == ' ' || letter == '.' { '-' } else { letter.to_ascii_lowercase() };
    let name: String = model.trim().chars().map(plain).collect();
    let name = name.strip_suffix("-latest").unwrap_or(&name);
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = name.split('-').collect();
    let dated = match parts.as_slice() {
        [head @ .., year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => head,
        [head @ .., date] if digits(date, 8) => head,
        all => all,
    };
    if dated.is_empty() { name.to_owned() } else { dated.join("-") }
}

/// Compares. What the ledger has of days outside of the export is left out.
#[must_use]
pub fn compare(
    statement: &Statement,
    ours: &BTreeMap<Place, Counted>,
    names: &Names,
    tolerance: Tolerance,
) -> Comparison {
    let by_credential = !names.credentials.is_empty();
    let theirs = sides(&statement.counted, |place| {
        let model = names.models.get(&place.model).unwrap_or(&place.model);
        let key = names.credentials.get(&place.key).unwrap_or(&place.key);
        (base_name(model), if by_credential { key.clone() } else { String::new() })
    });
    let days: BTreeSet<i32> = theirs.keys().map(|place| place.day).collect();
    let (first, last) = (days.first().copied().unwrap_or(0), days.last().copied().unwrap_or(-1));
    let mut ours =
        sides(ours, |place| (base_name(&place.model), if by_credential { place.key.clone() } else { String::new() }));
    ours.retain(|place, _| (first..=last).contains(&place.day));
    let said = total(theirs.values());
    let places: BTreeSet<&Place> = theirs.keys().chain(ours.keys()).collect();
    let (mut matched, mut differences) = (0, Vec::new());
    for place in places {
        let of = |side: &BTreeMap<Place, Counted>| zeroed(side.get(place).copied().unwrap_or_default(), said);
        let (theirs, ours) = (of(&theirs), of(&ours));
        // What neither says of this place is not compared: an export may say something of some models only.
        if agree(theirs, ours, tolerance) {
            matched += 1;
        } else {
            let (day, model, credential) = (place.day, place.model.clone(), place.key.clone());
            differences.push(Difference { day, model, credential, theirs, ours });
        }
    }
    differences.sort_by_key(|it| std::cmp::Reverse(weight(it)));
    Comparison { matched, differences, theirs: said, ours: zeroed(total(ours.values()), said) }
}

/// Sums a side by other names.
fn sides(side: &BTreeMap<Place, Counted>, name: impl Fn(&Place) -> (String, String)) -> BTreeMap<Place, Counted> {
    let mut sums: BTreeMap<Place, Counted> = BTreeMap::new();
    for (place, counted) in side {
        let (model, key) = name(place);
        let sum = sums.entry(Place { day: place.day, model, key }).or_default();
        *sum = plus(*sum, *counted);
    }
    sums
}

/// Adds what was counted; what neither counted stays absent.
#[must_use]
pub fn plus(a: Counted, b: Counted) -> Counted {
    let count = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, other) => one.or(other),
    };
    let cost = match (a.cost, b.cost) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, other) => one.or(other),
    };
    Counted {
        requests: count(a.requests, b.requests),
        input: count(a.input, b.input),
        output: count(a.output, b.output),
        cost,
    }
}

fn total<'a>(side: impl Iterator<Item = &'a Counted>) -> Counted {
    side.copied().fold(Counted::default(), plus)
}

/// Nothing counted is zero where the export counts, and absent where it does not.
fn zeroed(counted: Counted, said: Counted) -> Counted {
    let count = |said: Option<u64>, it: Option<u64>| said.map(|_| it.unwrap_or(0));
    Counted {
        requests: count(said.requests, counted.requests),
        input: count(said.input, counted.input),
        output: count(said.output, counted.output),
        cost: said.cost.map(|_| counted.cost.unwrap_or_default()),
    }
}

fn agree(theirs: Counted, ours: Counted, tolerance: Tolerance) -> bool {
    let part = |larger: u128| larger * u128::from(tolerance.basis_points) / 10_000;
    let counts = [(theirs.requests, ours.requests), (theirs.input, ours.input), (theirs.output, ours.output)];
    let counts_agree = counts.into_iter().all(|(theirs, ours)| {
        let (theirs, ours) = (theirs.unwrap_or(0), ours.unwrap_or(0));
        u128::from(theirs.abs_diff(ours)) <= part(u128::from(theirs.max(ours)))
    });
    let (theirs, ours) = (theirs.cost.unwrap_or_default().as_nanos(), ours.cost.unwrap_or_default().as_nanos());
    let larger = u128::from(theirs.unsigned_abs().max(ours.unsigned_abs()));
    let bound = part(larger).max(u128::from(tolerance.amount.as_nanos().unsigned_abs()));
    counts_agree && u128::from(theirs.abs_diff(ours)) <= bound
}

fn weight(it: &Difference) -> (u64, u64) {
    let nanos = |side: &Counted| side.cost.map_or(0, NanoUsd::as_nanos);
    let tokens = |side: &Counted| side.input.unwrap_or(0).saturating_add(side.output.unwrap_or(0));
    (nanos(&it.theirs).abs_diff(nanos(&it.ours)), tokens(&it.theirs).abs_diff(tokens(&it.ours)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXACT: Tolerance = Tolerance { basis_points: 0, amount: NanoUsd::ZERO };

    fn place(day: i32, model: &str, key: &str) -> Place {
        Place { day, model: model.to_owned(), key: key.to_owned() }
    }

    fn usage(input: u64, nanos: i64) -> Counted {
        Counted { requests: Some(1), input: Some(input), output: Some(1), cost: Some(NanoUsd::from_nanos(nanos)) }
    }

    fn says(counted: &[(Place, Counted)]) -> Statement {
        Statement { rows: 1, skipped: 0, counted: counted.iter().cloned().collect() }
    }

    #[test]
    fn snapshots_of_a_model_are_that_model() {
        for (name, base) in [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("gpt-4o", "gpt-4o"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("Claude Haiku 4.5", "claude-haiku-4-5"),
            ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
            ("20251001", "20251001"),
            ("o3-2025-04-16", "o3"),
        ] {
            assert_eq!(base_name(name), base);
        }
    }

    #[test]
    fn only_what_the_export_counts_is_compared() {
        let theirs = Counted { cost: None, requests: None, ..usage(10, 0) };
        let ours =
            [(place(1, "gpt-4o", "cred_1"), usage(6, 5)), (place(1, "gpt-4o-2024-08-06", "cred_2"), usage(4, 9))];
        let found =
            compare(&says(&[(place(1, "gpt-4o-2024-08-06", "k"), theirs)]), &ours.into(), &Names::default(), EXACT);
        assert_eq!((found.matched, found.differences.len()), (0, 1), "two outputs against one");
        assert_eq!(found.differences[0].ours, Counted { requests: None, input: Some(10), output: Some(2), cost: None });
    }

    #[test]
    fn each_side_alone_differs_and_days_beyond_the_export_do_not_count() {
        let ours =
            [(place(1, "b", ""), usage(1, 7)), (place(2, "b", ""), usage(1, 9)), (place(9, "b", ""), usage(1, 11))];
        let theirs = says(&[(place(1, "a", ""), usage(1, 5)), (place(2, "b", ""), usage(1, 9))]);
        let found = compare(&theirs, &ours.into(), &Names::default(), EXACT);
        assert_eq!(found.matched, 1);
        let listed: Vec<_> = found.differences.iter().map(|it| (it.day, it.model.as_str())).collect();
        assert_eq!(listed, [(1, "b"), (1, "a")], "the dearest first");
        assert_eq!(
            (found.theirs.cost, found.ours.cost),
            (Some(NanoUsd::from_nanos(14)), Some(NanoUsd::from_nanos(16)))
        );
    }

    #[test]
    fn names_are_mapped_and_credentials_told_apart_when_they_are() {
        let names = Names {
            models: [("NovaPro".to_owned(), "amazon.nova-pro-v1:0".to_owned())].into(),
            credentials: [("111".to_owned(), "cred_1".to_owned())].into(),
        };
        let theirs = says(&[(place(1, "NovaPro", "111"), usage(1, 5)), (place(1, "NovaPro", "222"), usage(1, 5))]);
        let ours = [(place(1, "amazon.nova-pro-v1:0", "cred_1"), usage(1, 5))];
        let found = compare(&theirs, &ours.into(), &names, EXACT);
        assert_eq!((found.matched, found.differences.len()), (1, 1));
        assert_eq!(found.differences[0].credential, "222", "a key that nobody mapped");
    }

    #[test]
    fn the_larger_of_both_bounds_is_what_may_differ() {
        let agree = |theirs, ours, basis_points, amount| {
            let tolerance = Tolerance { basis_points, amount: NanoUsd::from_nanos(amount) };
            agree(usage(1, theirs), usage(1, ours), tolerance)
        };
        assert!(agree(1_000, 990, 100, 0) && !agree(1_000, 989, 100, 0));
        assert!(agree(1_000, 500, 100, 500) && !agree(1_000, 499, 100, 500));
        assert!(agree(0, 0, 0, 0) && !agree(0, 1, 0, 0));
    }

    proptest! {
        /// Whatever both sides say: a place is matched or listed, and a side agrees with itself.
        #[test]
        fn every_place_is_matched_or_listed(
            theirs in proptest::collection::btree_map((0..4_i32, "[ab]"), (0..5_u64, 0..9_i64), 1..8),
            ours in proptest::collection::btree_map((0..4_i32, "[ab]"), (0..5_u64, 0..9_i64), 0..8),
        ) {
            let side = |it: &BTreeMap<(i32, String), (u64, i64)>| -> BTreeMap<Place, Counted> {
                it.iter().map(|((day, model), (input, nanos))| (place(*day, model, ""), usage(*input, *nanos))).collect()
            };
            let statement = Statement { rows: 1, skipped: 0, counted: side(&theirs) };
            let found = compare(&statement, &side(&ours), &Names::default(), EXACT);
            let (first, last) = (theirs.keys().next().unwrap().0, theirs.keys().last().unwrap().0);
            let within = ours.keys().filter(|(day, _)| (first..=last).contains(day));
            let places: BTreeSet<_> = theirs.keys().chain(within).collect();
            prop_assert_eq!(found.matched + found.differences.len() as u64, places.len() as u64);
            let same = compare(&statement, &statement.counted, &Names::default(), EXACT);
            prop_assert!(same.differences.is_empty());
        }
    }
}
