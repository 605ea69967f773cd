//! Amounts with more decimals than a nano-dollar has: added exactly, rounded once.

/// Billionths of a billionth of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Exact(i128);

const UNIT: i128 = 1_000_000_000_000_000_000;
const DECIMALS: usize = 18;

impl Exact {
    /// Reads `0.00012`, `-3`, `1.2e-7`. What is smaller than a unit is cut off: a billionth of a nano-dollar.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('$').unwrap_or(text);
        let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().ok().filter(|it| (-40..=15).contains(it))?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() + decimals.len() == 0 {
            return None;
        }
        // The digits, with the point so many places from the left; then as many as the unit has.
        let digits = format!("{whole}{decimals}");
        let point = i32::try_from(whole.len()).ok()? + exponent;
        let wanted = usize::try_from(point + i32::try_from(DECIMALS).ok()?).unwrap_or(0);
        let kept: String = digits.chars().chain(std::iter::repeat('0')).take(wanted.min(60)).collect();
        let size: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        (size <= 1_000_000_000_000 * UNIT).then_some(Self(sign * size))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns a hundredth of it.
    pub(super) const fn cents(self) -> Self {
        Self(self.0 / 100)
    }

    /// Returns the amount times a count of units, as a whole count, rounded half up.
    pub(super) fn times(self, unit: u32) -> Option<u64> {
        u64::try_from((self.0 * i128::from(unit) + UNIT / 2).div_euclid(UNIT)).ok()
    }

    /// Rounds half up to the nano-dollar.
    pub(super) fn to_nanos(self) -> i64 {
        const NANO: i128 = UNIT / 1_000_000_000;
        let nanos = (self.0 + NANO / 2).div_euclid(NANO);
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_as_providers_write_them() {
        let nanos = |text| Exact::parse(text).map(Exact::to_nanos);
        for (text, wanted) in [
            ("0.06", 60_000_000),
            ("-3", -3_000_000_000),
            ("$1.5", 1_500_000_000),
            ("1.2e-7", 120),
            ("1E2", 100_000_000_000),
            ("0.0000241500", 24_150),
            (".5", 500_000_000),
            ("0.0000000005", 1),
            ("0.00000000049999999999999999", 0),
            ("1e-30", 0),
        ] {
            assert_eq!(nanos(text), Some(wanted), "{text}");
        }
        for text in ["", "-", ".", "1,5", "abc", "1e99", "0x1", "9".repeat(40).as_str()] {
            assert_eq!(nanos(text), None, "{text}");
        }
        assert_eq!(Exact::parse("12378.912").map(|cents| cents.cents().to_nanos()), Some(123_789_120_000));
        assert_eq!(Exact::parse("1.2345").and_then(|amount| amount.times(1_000)), Some(1_235));
    }

    proptest! {
        #[test]
        fn whole_nano_dollars_are_exact(nanos in -1_000_000_000_000_000_i64..1_000_000_000_000_000) {
            let text = domain::NanoUsd::from_nanos(nanos).to_string();
            prop_assert_eq!(Exact::parse(&text).map(Exact::to_nanos), Some(nanos));
        }
    }
}
