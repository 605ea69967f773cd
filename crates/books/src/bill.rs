//! Bills as data: what calls cost with what is added to it, line by line.
//!
//! Each line is rounded once, half up, to the nano-dollar; the sum is the sum of the lines.

use domain::NanoUsd;

/// Returns what is added to a cost: so many hundredths of a percent of it, rounded half up.
#[must_use]
pub fn markup(cost: NanoUsd, basis_points: i32) -> NanoUsd {
    let exact = i128::from(cost.as_nanos()) * i128::from(basis_points);
    let rounded = (exact + 5_000).div_euclid(10_000);
    NanoUsd::from_nanos(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_markup_is_rounded_half_up_once() {
        let of = |nanos, points| markup(NanoUsd::from_nanos(nanos), points).as_nanos();
        assert_eq!((of(10_000, 550), of(10, 500), of(9, 500), of(10, -500)), (550, 1, 0, 0));
        assert_eq!((of(1_000, -10_000), of(0, 500), of(i64::MAX, 100_000)), (-1_000, 0, i64::MAX));
    }

    proptest! {
        #[test]
        fn it_is_within_half_a_nano_dollar(nanos in -1_000_000_000_000_i64..1_000_000_000_000, points in -10_000_i32..100_000) {
            let added = i128::from(markup(NanoUsd::from_nanos(nanos), points).as_nanos());
            let apart = (i128::from(nanos) * i128::from(points) - added * 10_000).abs();
            prop_assert!(apart <= 5_000, "{apart}");
        }
    }
}
