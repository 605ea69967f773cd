//! Money in whole nano-dollars. No floating point; every rounding is stated and tested.
//!
//! Prices are per **million** units, because $0.0125 per million tokens is 12.5 nano-dollars a token, which is not an integer.

use std::fmt;
use std::str::FromStr;

/// An amount in billionths of a US dollar; ±9.2 billion dollars. JSON form is a decimal string such as `"0.0012345"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoUsd(i64);

/// A price in nano-dollars per million units (tokens, unless a price says otherwise). JSON form is the integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Price {
    /// Nano-dollars per million units; 12 500 000 is $0.0125 per million.
    pub nano_usd_per_million: i64,
}

/// The text is not an amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected dollars with at most nine decimals, such as 12.50")]
pub struct ParseMoneyError;

impl NanoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Wraps nano-dollars.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns nano-dollars.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Adds; `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Adds, saturating at the bounds.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Price {
    /// Wraps nano-dollars per million units.
    #[must_use]
    pub const fn per_million(nano_usd_per_million: i64) -> Self {
        Self { nano_usd_per_million }
    }

    /// Returns what `units` cost, rounded half up to the nano-dollar, saturating at the bounds of [`NanoUsd`].
    #[must_use]
    pub fn cost(self, units: u64) -> NanoUsd {
        let exact = i128::from(units) * i128::from(self.nano_usd_per_million);
        let rounded = (exact + 500_000).div_euclid(1_000_000);
        NanoUsd(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl std::iter::Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let (dollars, nanos) = (size / 1_000_000_000, size % 1_000_000_000);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if nanos == 0 {
            return write!(f, "{dollars}");
        }
        let (mut decimals, mut n_digits) = (nanos, 9);
        while decimals % 10 == 0 {
            (decimals, n_digits) = (decimals / 10, n_digits - 1);
        }
        write!(f, "{dollars}.{decimals:0n_digits$}")
    }
}

impl fmt::Debug for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${self}")
    }
}

impl FromStr for NanoUsd {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let (sign, size) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (dollars, decimals) = size.split_once('.').unwrap_or((size, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(dollars) || !all_digits(decimals) || decimals.len() > 9 {
            return Err(ParseMoneyError);
        }
        let nanos: i128 = format!("{decimals:0<9}").parse().map_err(|_| ParseMoneyError)?;
        let dollars: i128 = dollars.parse().map_err(|_| ParseMoneyError)?;
        let total =
            dollars.checked_mul(1_000_000_000).and_then(|value| value.checked_add(nanos)).ok_or(ParseMoneyError)?;
        i64::try_from(total * sign).map(Self).map_err(|_| ParseMoneyError)
    }
}

impl serde::Serialize for NanoUsd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for NanoUsd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_rounds_half_up_once() {
        assert_eq!(Price::per_million(12_500_000).cost(1), NanoUsd::from_nanos(13));
        assert_eq!(Price::per_million(12_500_000).cost(2), NanoUsd::from_nanos(25));
        assert_eq!(Price::per_million(2_500_000_000).cost(1_000_000).to_string(), "2.5");
        assert_eq!(Price::per_million(499_999).cost(1), NanoUsd::ZERO);
    }

    #[test]
    fn the_largest_call_saturates_instead_of_wrapping() {
        assert_eq!(Price::per_million(i64::MAX).cost(u64::MAX), NanoUsd::from_nanos(i64::MAX));
    }

    #[test]
    fn decimal_text_round_trips() {
        for text in ["0", "0.0012345", "-3.5", "9223372036.854775807", "-9223372036.854775808", "12"] {
            assert_eq!(text.parse::<NanoUsd>().map(|amount| amount.to_string()).as_deref(), Ok(text));
        }
        for text in ["", ".5", "1.", "1e3", "0.0000000001", "9223372036.854775808", "+1", " 1"] {
            assert!(text.parse::<NanoUsd>().is_err(), "{text}");
        }
    }
}
