//! Amounts as people write them: dollars as a decimal text, everything else as a whole number.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::{Budget, Measure};
use crate::NanoUsd;

/// An amount in JSON: `"12.50"` of money, `1000000` of tokens or requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// Tokens or requests.
    Count(u64),
    /// Money.
    Money(NanoUsd),
}

impl Amount {
    /// Gives an amount its form.
    #[must_use]
    pub fn new(measure: Measure, amount: u64) -> Self {
        match measure {
            Measure::Cost => Self::Money(NanoUsd::from_nanos(i64::try_from(amount).unwrap_or(i64::MAX))),
            Measure::Tokens | Measure::Requests => Self::Count(amount),
        }
    }

    /// Reads it back; says in words what is wrong.
    pub fn read(self, measure: Measure) -> Result<u64, &'static str> {
        let amount = match (self, measure) {
            (Self::Money(amount), Measure::Cost) => {
                u64::try_from(amount.as_nanos()).map_err(|_| "must not be negative")?
            }
            (Self::Count(amount), Measure::Tokens | Measure::Requests) => amount,
            (Self::Count(_), Measure::Cost) => return Err("give dollars as text, such as \"12.50\""),
            (Self::Money(_), _) => return Err("give a whole number"),
        };
        if amount > Budget::MAX_AMOUNT { Err("is too large") } else { Ok(amount) }
    }
}

/// Reads either form, and says what to write when it is neither.
struct Either;

impl Visitor<'_> for Either {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dollars as text, such as \"12.50\", or a whole number of tokens or requests")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Amount, E> {
        Ok(Amount::Count(count))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
        text.parse().map(Amount::Money).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}
