//! Shared costs: what one key or workspace cost is borne by others, by fixed shares or by what they cost themselves.
//!
//! Invariants: parts sum exactly to the whole (largest remainder), so the sum over a report is the same before and after; what is
//! shared out is what a line cost itself, never what was put upon it, so the order of splits does not matter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use domain::NanoUsd;

/// Divides an amount by weights; the parts sum exactly to it. What does not divide goes, a nano-dollar each, to the parts that were
/// cut off most; of equals to the first. `None` when no weight is above zero.
#[must_use]
pub fn split(whole: NanoUsd, weights: &[u64]) -> Option<Vec<NanoUsd>> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return None;
    }
    let size = u128::from(whole.as_nanos().unsigned_abs());
    let exact = |weight: &u64| {
        let product = size * u128::from(*weight);
        (product / sum, product % sum)
    };
    let (mut parts, cut): (Vec<u128>, Vec<u128>) = weights.iter().map(exact).unzip();
    let left = size - parts.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|place| Reverse(cut[*place]));
    // Fewer are left than parts were cut off, so whoever gets one has a weight.
    for place in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[place] += 1;
    }
    let signed = |part: u128| {
        let nanos = i128::try_from(part).unwrap_or(i128::MAX) * i128::from(whole.as_nanos().signum());
        NanoUsd::from_nanos(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    };
    Some(parts.into_iter().map(signed).collect())
}

/// What a group of a report counted and cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Calls.
    pub requests: u64,
    /// Tokens read, cached or not.
    pub input: u64,
    /// Of these: from a cache of the provider.
    pub cached_input: u64,
    /// Tokens written.
    pub output: u64,
    /// What it cost.
    pub own: NanoUsd,
    /// What it bears of others' cost; less than zero for what others bear of it.
    pub shared: NanoUsd,
}

impl Line {
    /// Returns what is charged to it.
    #[must_use]
    pub fn charged(&self) -> NanoUsd {
        self.own.saturating_add(self.shared)
    }

    /// Adds what another counted and cost.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.own = self.own.saturating_add(other.own);
        self.shared = self.shared.saturating_add(other.shared);
    }
}

/// Lines by the values of a report's dimensions.
pub type Lines = BTreeMap<Vec<String>, Line>;

/// What one value of a dimension cost is borne by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The place of the dimension among those of the report.
    pub place: usize,
    /// The value whose cost is shared.
    pub from: String,
    /// Who bears it.
    pub over: Over,
}

/// Who bears a shared cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// These, by fixed shares.
    Shares(Vec<(String, u64)>),
    /// These, by what they cost themselves.
    Use(Vec<String>),
    /// All others of the report that share nothing themselves, by what they cost.
    Others,
}

/// Why splits contradict each other. The number is the place of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Two share the same thing.
    #[error("what this shares is shared by another")]
    Twice(usize),
    /// Somebody who bears a part shares it on.
    #[error("who bears a part cannot share its own cost: say directly who bears it")]
    Chain(usize),
    /// Shares of which none is above zero, or one that names somebody twice.
    #[error("name each bearer once, and give at least one of them a share above zero")]
    Shares(usize),
}

impl Flaw {
    /// Returns the place of the split that is wrong.
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::Twice(place) | Self::Chain(place) | Self::Shares(place) => place,
        }
    }
}

/// Looks whether splits can be done together.
pub fn check(splits: &[Split]) -> Result<(), Flaw> {
    let mut sources = BTreeSet::new();
    for (at, split) in splits.iter().enumerate() {
        if !sources.insert((split.place, split.from.as_str())) {
            return Err(Flaw::Twice(at));
        }
    }
    for (at, split) in splits.iter().enumerate() {
        let bearers: Vec<&str> = match &split.over {
            Over::Shares(shares) => {
                if shares.iter().all(|(_, share)| *share == 0) {
                    return Err(Flaw::Shares(at));
                }
                shares.iter().map(|(to, _)| to.as_str()).collect()
            }
            Over::Use(bearers) => bearers.iter().map(String::as_str).collect(),
            Over::Others => Vec::new(),
        };
        if bearers.iter().collect::<BTreeSet<_>>().len() != bearers.len() {
            return Err(Flaw::Shares(at));
        }
        if bearers.iter().any(|to| sources.contains(&(split.place, *to))) {
            return Err(Flaw::Chain(at));
        }
    }
    Ok(())
}

/// Shares out. A line whose cost nobody can bear (nobody who should costs anything) keeps it.
pub fn apply(lines: &mut Lines, splits: &[Split]) {
    let own = lines.clone();
    for split_up in splits {
        let weights = weights(&own, splits, split_up);
        let (bearers, weights): (Vec<&String>, Vec<u64>) = weights.iter().map(|(to, weight)| (to, *weight)).unzip();
        for (key, line) in own.iter().filter(|(key, _)| key.get(split_up.place) == Some(&split_up.from)) {
            let Some(parts) = split(line.own, &weights) else { continue };
            if line.own == NanoUsd::ZERO {
                continue;
            }
            let source = lines.entry(key.clone()).or_default();
            source.shared = NanoUsd::from_nanos(source.shared.as_nanos().saturating_sub(line.own.as_nanos()));
            for (to, part) in bearers.iter().zip(parts).filter(|(_, part)| *part != NanoUsd::ZERO) {
                let mut key = key.clone();
                key[split_up.place].clone_from(to);
                let bearer = lines.entry(key).or_default();
                bearer.shared = bearer.shared.saturating_add(part);
            }
        }
    }
}

/// Returns who bears a split's cost, with weights.
fn weights(own: &Lines, splits: &[Split], split_up: &Split) -> BTreeMap<String, u64> {
    let mut costs: BTreeMap<&str, i128> = BTreeMap::new();
    for (key, line) in own {
        if let Some(value) = key.get(split_up.place) {
            *costs.entry(value).or_default() += i128::from(line.own.as_nanos());
        }
    }
    let cost = |value: &str| u64::try_from(costs.get(value).copied().unwrap_or(0).max(0)).unwrap_or(u64::MAX);
    match &split_up.over {
        Over::Shares(shares) => shares.iter().cloned().collect(),
        Over::Use(bearers) => bearers.iter().map(|to| (to.clone(), cost(to))).collect(),
        Over::Others => {
            let shares = |value: &str| splits.iter().any(|it| it.place == split_up.place && it.from == value);
            costs.keys().filter(|value| !shares(value)).map(|value| ((*value).to_owned(), cost(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(nanos: i64) -> Line {
        Line { own: NanoUsd::from_nanos(nanos), ..Line::default() }
    }

    fn lines(costs: &[(&str, &str, i64)]) -> Lines {
        costs.iter().map(|(a, b, nanos)| (vec![(*a).to_owned(), (*b).to_owned()], cost(*nanos))).collect()
    }

    fn charged(lines: &Lines, a: &str, b: &str) -> i64 {
        lines.get(&vec![a.to_owned(), b.to_owned()]).map_or(0, |line| line.charged().as_nanos())
    }

    fn shared(from: &str, over: Over) -> Split {
        Split { place: 0, from: from.to_owned(), over }
    }

    #[test]
    fn what_does_not_divide_goes_to_the_parts_that_were_cut_off_most() {
        let nanos = |whole, weights: &[u64]| {
            let parts = split(NanoUsd::from_nanos(whole), weights);
            parts.map(|parts| parts.into_iter().map(NanoUsd::as_nanos).collect::<Vec<_>>())
        };
        assert_eq!(nanos(10, &[1, 1, 1]), Some(vec![4, 3, 3]));
        assert_eq!(nanos(-10, &[1, 1, 1]), Some(vec![-4, -3, -3]));
        assert_eq!(nanos(100, &[50, 0, 30, 20]), Some(vec![50, 0, 30, 20]));
        assert_eq!(nanos(1, &[1, 2]), Some(vec![0, 1]));
        assert_eq!(nanos(7, &[]), None);
        assert_eq!(nanos(7, &[0, 0]), None);
        assert_eq!(nanos(i64::MIN, &[u64::MAX]), Some(vec![i64::MIN]));
    }

    #[test]
    fn a_shared_key_is_borne_by_fixed_shares_line_by_line() {
        let mut report = lines(&[("shared", "gpt", 100), ("shared", "claude", 11), ("a", "gpt", 5)]);
        let splits = [shared("shared", Over::Shares(vec![("a".to_owned(), 3), ("b".to_owned(), 1)]))];
        assert_eq!(check(&splits), Ok(()));
        apply(&mut report, &splits);
        assert_eq!((charged(&report, "a", "gpt"), charged(&report, "b", "gpt")), (80, 25));
        assert_eq!((charged(&report, "a", "claude"), charged(&report, "b", "claude")), (8, 3));
        assert_eq!((charged(&report, "shared", "gpt"), charged(&report, "shared", "claude")), (0, 0));
    }

    #[test]
    fn by_use_who_costs_more_bears_more_and_nobody_bears_what_is_shared_too() {
        let mut report = lines(&[("shared", "m", 90), ("other", "m", 10), ("a", "m", 20), ("b", "m", 10)]);
        let splits =
            [shared("shared", Over::Others), shared("other", Over::Use(vec!["a".to_owned(), "idle".to_owned()]))];
        apply(&mut report, &splits);
        assert_eq!((charged(&report, "a", "m"), charged(&report, "b", "m")), (20 + 60 + 10, 10 + 30));
        assert_eq!((charged(&report, "shared", "m"), charged(&report, "other", "m")), (0, 0));
        // Nobody to bear it: it stays.
        let mut alone = lines(&[("shared", "m", 90)]);
        apply(&mut alone, &[shared("shared", Over::Others)]);
        assert_eq!(charged(&alone, "shared", "m"), 90);
    }

    #[test]
    fn splits_that_contradict_each_other_are_named() {
        let by = |to: &str, share| Over::Shares(vec![(to.to_owned(), share)]);
        assert_eq!(check(&[shared("a", Over::Others), shared("a", by("b", 1))]), Err(Flaw::Twice(1)));
        assert_eq!(check(&[shared("a", by("b", 1)), shared("b", by("c", 1))]), Err(Flaw::Chain(0)));
        assert_eq!(check(&[shared("a", by("a", 1))]), Err(Flaw::Chain(0)));
        assert_eq!(check(&[shared("a", by("b", 0))]), Err(Flaw::Shares(0)));
        let twice = Over::Use(vec!["b".to_owned(), "b".to_owned()]);
        assert_eq!(check(&[shared("a", twice)]), Err(Flaw::Shares(0)));
    }

    proptest! {
        #[test]
        fn parts_sum_exactly_to_the_whole_and_are_as_near_as_they_can_be(
            whole in any::<i64>(), weights in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            let Some(parts) = split(NanoUsd::from_nanos(whole), &weights) else {
                prop_assert_eq!(sum, 0);
                return Ok(());
            };
            prop_assert_eq!(parts.iter().map(|part| i128::from(part.as_nanos())).sum::<i128>(), i128::from(whole));
            for (part, weight) in parts.iter().zip(&weights) {
                let fair = u128::from(whole.unsigned_abs()) * u128::from(*weight) / sum;
                let size = u128::from(part.as_nanos().unsigned_abs());
                prop_assert!(size == fair || size == fair + 1);
                prop_assert!(*weight > 0 || size == 0, "who has no share bears nothing");
            }
        }

        #[test]
        fn sharing_out_leaves_the_sum_as_it_was(
            costs in proptest::collection::vec((0..5_u8, 0..3_u8, -1_000_000_i64..1_000_000_000), 0..30),
            shares in proptest::collection::vec((2..8_u8, 0..100_u64), 0..6), by_use in any::<bool>(),
        ) {
            let mut report = Lines::new();
            for (a, b, nanos) in costs {
                report.entry(vec![a.to_string(), b.to_string()]).or_default().add(&cost(nanos));
            }
            let total = |report: &Lines| report.values().map(|line| line.charged().as_nanos()).sum::<i64>();
            let before = total(&report);
            let shares: BTreeMap<String, u64> = shares.into_iter().map(|(to, share)| (to.to_string(), share)).collect();
            let first = if by_use { Over::Others } else { Over::Shares(shares.into_iter().collect()) };
            let splits = [shared("0", first), shared("1", Over::Others)];
            apply(&mut report, &splits);
            prop_assert_eq!(total(&report), before);
        }
    }
}
