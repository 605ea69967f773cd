//! A counter over a span that slides, in slots.
//!
//! A span is divided into [`SLOTS`], and one more is kept: the one that is being written. What was added counts until every span
//! that holds its moment is over, and at most a slot longer. So no span ever holds more than was allowed, and what was used is
//! there again after the span and at most one thirtieth of it.

use std::time::Duration;

/// Parts of a span.
pub(crate) const SLOTS: usize = 30;
const RING: usize = SLOTS + 1;

/// Returns the length of a slot of a span, in microseconds.
pub(crate) fn slot_us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).div_ceil(SLOTS as u64).max(1)
}

#[derive(Debug, Clone)]
pub(crate) struct Counter {
    slot_us: u64,
    /// The number of the slot that the latest moment fell into.
    newest: u64,
    sum: u64,
    slots: [u64; RING],
}

impl Counter {
    pub(crate) fn new(span: Duration) -> Self {
        Self { slot_us: slot_us(span), newest: 0, sum: 0, slots: [0; RING] }
    }

    /// The place of a slot in the ring.
    fn place(number: u64) -> usize {
        usize::try_from(number % RING as u64).unwrap_or(0)
    }

    fn advance(&mut self, now_us: u64) {
        let number = now_us / self.slot_us;
        if number <= self.newest {
            return;
        }
        if number - self.newest >= RING as u64 {
            (self.sum, self.slots) = (0, [0; RING]);
        } else {
            for passed in self.newest + 1..=number {
                let gone = std::mem::take(&mut self.slots[Self::place(passed)]);
                self.sum = self.sum.saturating_sub(gone);
            }
        }
        self.newest = number;
    }

    /// Returns what counts now.
    pub(crate) fn used(&mut self, now_us: u64) -> u64 {
        self.advance(now_us);
        self.sum
    }

    /// Adds, and returns the number of the slot that it went to.
    pub(crate) fn add(&mut self, now_us: u64, amount: u64) -> u64 {
        self.advance(now_us);
        let slot = &mut self.slots[Self::place(self.newest)];
        let before = *slot;
        *slot = slot.saturating_add(amount);
        self.sum = self.sum.saturating_add(*slot - before);
        self.newest
    }

    /// Takes back what was added to a slot, unless that counts no more.
    pub(crate) fn give_back(&mut self, now_us: u64, number: u64, amount: u64) {
        self.advance(now_us);
        if number > self.newest || self.newest - number >= RING as u64 {
            return;
        }
        let slot = &mut self.slots[Self::place(number)];
        let given = amount.min(*slot);
        *slot -= given;
        self.sum = self.sum.saturating_sub(given);
    }

    /// Returns the time after which `amount` fits below `limit` when nothing is added meanwhile; `None` when it never does.
    pub(crate) fn wait(&mut self, now_us: u64, amount: u64, limit: u64) -> Option<Duration> {
        self.advance(now_us);
        let room = limit.checked_sub(amount)?;
        let mut left = self.sum;
        let mut until = now_us;
        for number in self.numbers() {
            if left <= room {
                break;
            }
            left = left.saturating_sub(self.slots[Self::place(number)]);
            until = self.end(number);
        }
        Some(Duration::from_micros(until.saturating_sub(now_us)))
    }

    /// Returns the time after which nothing of what counts now does.
    pub(crate) fn reset(&mut self, now_us: u64) -> Duration {
        self.advance(now_us);
        let last = self.numbers().rev().find(|number| self.slots[Self::place(*number)] > 0);
        Duration::from_micros(last.map_or(0, |number| self.end(number).saturating_sub(now_us)))
    }

    /// The numbers of the slots that count, oldest first.
    fn numbers(&self) -> std::ops::RangeInclusive<u64> {
        self.newest.saturating_sub(SLOTS as u64)..=self.newest
    }

    /// When a slot counts no more.
    const fn end(&self, number: u64) -> u64 {
        (number + RING as u64) * self.slot_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN_US: u64 = 60_000_000;

    fn minute() -> Counter {
        Counter::new(Duration::from_secs(60))
    }

    #[test]
    fn spans_that_cannot_be_divided_are_never_too_short() {
        for span in [1, 60, 3_600, 86_400] {
            let counter = Counter::new(Duration::from_secs(span));
            assert!(counter.slot_us * SLOTS as u64 >= span * 1_000_000);
            assert!(counter.slot_us * SLOTS as u64 - span * 1_000_000 < SLOTS as u64);
        }
    }

    #[test]
    fn what_is_given_back_is_there_again_and_what_counts_no_more_is_not() {
        let mut counter = minute();
        let slot = counter.add(1_000, 10);
        counter.add(5_000_000, 1);
        counter.give_back(5_000_000, slot, 4);
        assert_eq!(counter.used(5_000_000), 7);
        counter.give_back(5_000_000, slot, 100);
        assert_eq!(counter.used(5_000_000), 1, "no more than was added");
        assert_eq!(counter.used(2 * SPAN_US), 0);
        counter.give_back(2 * SPAN_US, slot, 4);
        assert_eq!(counter.used(2 * SPAN_US), 0);
    }

    proptest! {
        /// Against a log of everything: in no span more than the limit, nothing withheld beyond a slot, and waits that are right.
        #[test]
        fn no_span_holds_more_than_the_limit_and_waits_are_right(
            steps in prop::collection::vec((0_u64..9_000_000, 1_u64..8), 1..120),
            limit in 8_u64..40,
        ) {
            let mut counter = minute();
            let slot_us = counter.slot_us;
            let mut log: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (pause, amount) in steps {
                now += pause;
                let fits = counter.used(now) + amount <= limit;
                let within = |span: u64| {
                    log.iter().filter(|(at, _)| at + span > now).map(|(_, amount)| amount).sum::<u64>()
                };
                if fits {
                    prop_assert!(within(SPAN_US) + amount <= limit, "too much in a span");
                    counter.add(now, amount);
                    log.push((now, amount));
                } else {
                    prop_assert!(within(SPAN_US + slot_us) + amount > limit, "refused too early");
                    let wait = counter.wait(now, amount, limit).expect("it fits an empty span");
                    let at = now + u64::try_from(wait.as_micros()).unwrap();
                    prop_assert!(counter.clone().used(at) + amount <= limit, "came when told to, and was refused");
                    prop_assert!(counter.clone().used(at - 1) + amount > limit, "was told to wait too long");
                }
                let reset = u64::try_from(counter.reset(now).as_micros()).unwrap();
                prop_assert_eq!(counter.clone().used(now + reset), 0);
            }
        }
    }
}
