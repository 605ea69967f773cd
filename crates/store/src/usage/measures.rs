//! What a group of calls adds to a row of sums, whatever the row's key.
//!
//! Counted here and added by the database, which only ever adds. Invariant: measuring the parts of a group and adding them gives what
//! measuring the whole gives.

use domain::Timestamp;
use domain::usage::{Outcome, UsageEvent};

use super::histogram::Histogram;
use crate::row::signed;

/// The columns of a row of sums that are no key.
#[derive(Default, serde::Serialize)]
pub(super) struct Measures {
    requests: i64,
    errors: i64,
    failures: i64,
    input: i64,
    cached_input: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
    output: i64,
    reasoning: i64,
    images: i64,
    audio_ms: i64,
    characters: i64,
    searches: i64,
    pages: i64,
    cost_nanos: i64,
    reused: i64,
    saved_input: i64,
    saved_output: i64,
    saved_cost_nanos: i64,
    durations: String,
    first_bytes: String,
    overheads: String,
    last_received_at: i64,
}

impl Measures {
    /// Measures calls that were booked together.
    pub(super) fn of(events: &[&UsageEvent], received_at: Timestamp) -> Self {
        let (mut duration, mut first_byte, mut overhead) = <(Histogram, Histogram, Histogram)>::default();
        let mut sums = Self { last_received_at: received_at.as_micros(), ..Self::default() };
        for event in events {
            sums.requests += 1;
            sums.errors += i64::from(event.outcome != Outcome::Success);
            sums.failures += i64::from(is_failure(event));
            sums.input += signed(event.usage.input);
            sums.cached_input += signed(event.usage.cached_input);
            sums.cache_write_5m += signed(event.usage.cache_write_5m);
            sums.cache_write_1h += signed(event.usage.cache_write_1h);
            sums.output += signed(event.usage.output);
            sums.reasoning += signed(event.usage.reasoning);
            sums.images += signed(event.units.images);
            sums.audio_ms += signed(event.units.audio_ms);
            sums.characters += signed(event.units.characters);
            sums.searches += signed(event.units.searches);
            sums.pages += signed(event.units.pages);
            sums.cost_nanos += event.cost.as_nanos();
            sums.reused += i64::from(event.cache.is_reused());
            sums.saved_input += signed(event.cache.saved_input);
            sums.saved_output += signed(event.cache.saved_output);
            sums.saved_cost_nanos += event.cache.saved_cost.as_nanos();
            duration.add(event.duration_us);
            overhead.add(event.overhead_us);
            if let Some(micros) = event.first_byte_us {
                first_byte.add(micros);
            }
        }
        sums.durations = duration.pack();
        sums.first_bytes = first_byte.pack();
        sums.overheads = overhead.pack();
        sums
    }
}

/// Whether a request failed for a reason that is not the client's.
fn is_failure(event: &UsageEvent) -> bool {
    match event.outcome {
        Outcome::UpstreamFailed | Outcome::UpstreamBroken | Outcome::Interrupted => true,
        Outcome::Rejected => event.status >= 500,
        Outcome::Success | Outcome::UpstreamRejected | Outcome::ClientClosed => false,
    }
}
