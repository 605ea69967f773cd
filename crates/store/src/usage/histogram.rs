//! Histograms of microseconds with logarithmic buckets, in integers only, so that percentiles can be merged over hours.
//!
//! Values below 8 have a bucket each; above, every power of two is cut into eight, so a bucket is at most 12.5 % wide.
//! Invariant: `place` grows with the value, and the bounds of a bucket contain every value placed in it.

use std::fmt::Write as _;

/// Sub-buckets per power of two, as a power of two.
const SUB_BITS: u32 = 3;
/// Decimals of a bucket in the packed form: up to a million million values.
const WIDTH: usize = 12;
/// The last bucket holds everything from about 71 minutes on.
const LAST: usize = 239;

/// Counts by bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// Wraps stored counts.
    #[must_use]
    pub const fn from_counts(counts: Vec<u64>) -> Self {
        Self(counts)
    }

    /// Returns the counts, without trailing zeros.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// Adds one value.
    pub fn add(&mut self, micros: u64) {
        let place = place(micros);
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += 1;
    }

    /// Writes the counts as decimals of one number, twelve for each bucket: the database adds histograms as it adds numbers.
    #[must_use]
    pub fn pack(&self) -> String {
        let mut text = String::with_capacity(2 + WIDTH * self.0.len());
        text.push('0');
        for (place, count) in self.0.iter().enumerate() {
            let point = if place == 0 { "." } else { "" };
            // Writing to a string does not fail.
            write!(text, "{point}{count:0WIDTH$}").ok();
        }
        text
    }

    /// Reads what was packed, or a sum of it.
    #[must_use]
    pub fn unpack(text: &str) -> Self {
        let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
        let count =
            |bucket: &[u8]| bucket.iter().fold(0, |count, digit| count * 10 + u64::from(digit.saturating_sub(b'0')));
        let mut counts: Vec<u64> = decimals.as_bytes().chunks(WIDTH).map(count).collect();
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self(counts)
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// Returns how many values it holds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the value below which `per_cent` of the values lie, interpolated inside its bucket; `None` when empty.
    #[must_use]
    pub fn percentile(&self, per_cent: u32) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        // The rank of the wanted value, from 1.
        let rank = (u128::from(total) * u128::from(per_cent)).div_ceil(100).max(1);
        let mut below = 0_u128;
        for (place, count) in self.0.iter().enumerate() {
            let through = below + u128::from(*count);
            if through >= rank && *count > 0 {
                let (low, high) = bounds(place);
                let share = u128::from(high - low) * (rank - below) / u128::from(*count);
                return Some(low + u64::try_from(share).unwrap_or(0));
            }
            below = through;
        }
        None
    }
}

fn place(micros: u64) -> usize {
    if micros < 1 << SUB_BITS {
        return usize::try_from(micros).unwrap_or(LAST);
    }
    let power = micros.ilog2();
    let sub = (micros >> (power - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let place = (u64::from(power - SUB_BITS + 1) << SUB_BITS) + sub;
    usize::try_from(place).unwrap_or(LAST).min(LAST)
}

/// Returns the least value of a bucket and the least of the next.
fn bounds(place: usize) -> (u64, u64) {
    let low = |place: usize| {
        let (group, sub) = (place >> SUB_BITS, place as u64 & ((1 << SUB_BITS) - 1));
        if group == 0 { sub } else { ((1 << SUB_BITS) + sub) << (group - 1) }
    };
    (low(place), low(place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_the_bounds_of_its_bucket() {
        let mut last = 0;
        for power in 0..32_u32 {
            for step in 0..64_u64 {
                let value = (1_u64 << power) + (step << power) / 64;
                let (low, high) = bounds(place(value));
                assert!(low <= value && value < high, "{value} in {low}..{high}");
                assert!(place(value) >= last, "{value}");
                last = place(value);
            }
        }
        assert_eq!(place(u64::MAX), LAST);
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let mut histogram = Histogram::default();
        for value in 1..=1_000 {
            histogram.add(value * 1_000);
        }
        for (per_cent, exact) in [(50, 500_000_u64), (95, 950_000), (99, 990_000)] {
            let found = histogram.percentile(per_cent).expect("not empty");
            assert!(found.abs_diff(exact) * 8 <= exact, "p{per_cent} = {found}");
        }
        assert_eq!(Histogram::default().percentile(50), None);
    }

    #[test]
    fn what_is_packed_is_read_back_and_adds_as_numbers_do() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 1, 9, 1_000, 70_000_000, u64::MAX] {
            histogram.add(value);
        }
        assert_eq!(Histogram::unpack(&histogram.pack()), histogram);
        assert_eq!(Histogram::default().pack(), "0");
        assert_eq!(Histogram::unpack("0"), Histogram::default());
        // Sums have as many decimals as the longest part.
        assert_eq!(Histogram::unpack("0.000000000001000000000000"), Histogram(vec![1]));
        let bucket = Histogram(vec![999_999, 3]);
        assert_eq!(bucket.pack(), "0.000000999999000000000003");
    }

    #[test]
    fn merging_equals_adding_everything_to_one() {
        let (mut left, mut right, mut both) = Default::default();
        let fill = |histogram: &mut Histogram, values: &[u64]| values.iter().for_each(|value| histogram.add(*value));
        fill(&mut left, &[1, 50, 7_000]);
        fill(&mut right, &[50, 900_000]);
        fill(&mut both, &[1, 50, 7_000, 50, 900_000]);
        left.merge(&right);
        assert_eq!(left, both);
    }
}
