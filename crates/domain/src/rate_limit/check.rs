//! Which rate limits are sound. Says where the first flaw is, as a JSON pointer into the limit's document.

use std::collections::BTreeSet;

use super::{Measure, Rate, RateLimit};
use crate::budget::{Flaw, check_grouping, check_subject, flaw};

pub(super) fn check(it: &RateLimit) -> Result<(), Flaw> {
    if it.description.as_ref().is_some_and(|text| text.chars().count() > RateLimit::MAX_DESCRIPTION) {
        return flaw("/description", format!("must be at most {} characters long", RateLimit::MAX_DESCRIPTION));
    }
    check_rates(&it.rates)?;
    check_subject(&it.subject)?;
    check_grouping(&it.group_by)
}

fn check_rates(rates: &[Rate]) -> Result<(), Flaw> {
    if rates.is_empty() || rates.len() > RateLimit::MAX_RATES {
        return flaw("/rates", format!("give 1 to {} amounts", RateLimit::MAX_RATES));
    }
    let mut seen = BTreeSet::new();
    for (at, rate) in rates.iter().enumerate() {
        match (rate.measure, rate.per) {
            (Measure::Concurrent, Some(_)) => {
                return flaw(format!("/rates/{at}/per"), "calls under way are counted at any moment; leave it out");
            }
            (Measure::Concurrent, None) | (_, Some(_)) => {}
            (_, None) => return flaw(format!("/rates/{at}/per"), "say in what span of time"),
        }
        if rate.amount == 0 {
            return flaw(format!("/rates/{at}/amount"), "must be above zero; a kill switch lets nothing through");
        }
        if rate.amount > RateLimit::MAX_AMOUNT {
            return flaw(format!("/rates/{at}/amount"), "is too large");
        }
        if !seen.insert((rate.measure, rate.per)) {
            return flaw(format!("/rates/{at}"), "has an amount already; each measure and span at most once");
        }
    }
    Ok(())
}
