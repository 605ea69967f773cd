//! When a delivery is tried again: pauses that triple from five seconds to three hours, each a little different, so that many that
//! failed together do not come back together.

use std::time::Duration;

use domain::{Entropy, Timestamp};

/// The pause after the first try.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3 * 3_600);

/// Returns when to try next after try `attempt` failed, or `None` when that would be too late. `asked` is what the destination
/// asked for: it is not tried before that.
#[must_use]
pub fn next(
    attempt: u32,
    asked: Option<Duration>,
    now: Timestamp,
    gives_up_at: Timestamp,
    entropy: &dyn Entropy,
) -> Option<Timestamp> {
    let tripled = 3_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| FIRST.checked_mul(factor));
    let pause = tripled.map_or(LONGEST, |pause| pause.min(LONGEST));
    let mut byte = [0];
    entropy.fill(&mut byte);
    // Four fifths to six fifths.
    let pause = pause * (4 * 255 + 2 * u32::from(byte[0])) / (5 * 255);
    let at = now.plus(pause.max(asked.unwrap_or_default()));
    (at <= gives_up_at).then_some(at)
}

#[cfg(test)]
mod tests {
    use domain::alert::Delivery;
    use domain::rng::SeededEntropy;

    use super::*;

    fn pauses() -> Vec<Duration> {
        let entropy = SeededEntropy::new(7);
        let mut now = Timestamp::from_micros(0);
        let end = now.plus(Delivery::TRIED_FOR);
        let mut pauses = Vec::new();
        for attempt in 1.. {
            let Some(at) = next(attempt, None, now, end, &entropy) else { return pauses };
            pauses.push(at.since(now));
            now = at;
        }
        pauses
    }

    #[test]
    fn pauses_grow_to_hours_and_end_after_three_days() {
        let pauses = pauses();
        assert!((25..=40).contains(&pauses.len()), "{}", pauses.len());
        assert!(pauses[0] >= FIRST * 4 / 5 && pauses[0] <= FIRST * 6 / 5, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST * 6 / 5));
        let whole: Duration = pauses.iter().sum();
        assert!(whole + LONGEST * 2 > Delivery::TRIED_FOR && whole <= Delivery::TRIED_FOR, "{whole:?}");
        assert!(pauses.iter().rev().take(10).any(|pause| pause != &pauses[pauses.len() - 1]), "they differ");
    }

    #[test]
    fn what_the_destination_asks_for_is_kept() {
        let (now, entropy) = (Timestamp::from_micros(0), SeededEntropy::new(1));
        let end = now.plus(Delivery::TRIED_FOR);
        let asked = Duration::from_secs(600);
        assert_eq!(next(1, Some(asked), now, end, &entropy), Some(now.plus(asked)));
        assert_eq!(next(1, Some(Delivery::TRIED_FOR * 2), now, end, &entropy), None);
        // A pause of its own that is longer stays.
        assert!(next(9, Some(asked), now, end, &entropy).expect("a time").since(now) > Duration::from_secs(8_000));
    }
}
