//! Calls that are counted in common with those of other nodes.
//!
//! What is certain costs no question: a call that is larger than the limit, a refusal of a moment ago. Everything else is asked in
//! one question over all limits of the call. Without an answer the node's share decides, and what such a call used is told when it
//! ends. Invariant: a call that was let through here is settled there once, or its node died.

use std::sync::Arc;
use std::time::Duration;

use domain::OrganizationId;

use super::{Ask, Held, Inner, Need, Pass, Refused, Throttle, Use, is_worse, refused};
use crate::book::{Left, Portion, Refusal, SHORTLY};
use crate::gate::Why;
use crate::joint::{Answer, Common, Correction, Count, Question, Settlement, Stand};

/// What those who count in common know of a call, and have yet to be told.
#[derive(Debug)]
pub(super) struct Told {
    common: Arc<dyn Common>,
    ticket: Option<u64>,
    organization: OrganizationId,
    /// What was taken, in the order of the call's limits and their rates.
    taken: Vec<(Count, u64)>,
    corrections: Vec<Correction>,
}

impl Told {
    /// Of a call that was not asked about: all that it used is told when it ends.
    pub(super) fn nothing(inner: &Inner, held: &[Held]) -> Option<Self> {
        let common = inner.common.clone()?;
        let organization = held.first()?.ask.organization;
        Some(Self { common, ticket: None, organization, taken: Vec::new(), corrections: Vec::new() })
    }

    /// Notes what a call used of a limit; nothing of it stays without a use.
    pub(super) fn correct(&mut self, ask: &Ask, used: Option<&Use>) {
        let Some(mark) = ask.mark else { return };
        for rate in &*ask.rates {
            let at = self.taken.iter().position(|(count, _)| count.mark == mark && count.rate == *rate);
            let taken = at.map(|at| self.taken[at]);
            let count = taken.map_or(Count { mark, rate: *rate, part: 0, amount: 0 }, |(count, _)| count);
            let is_over = count.is_at_once() && taken.is_some();
            let used = if count.is_at_once() { 0 } else { used.map_or(0, |used| used.of(rate.measure)) };
            if is_over || used != count.amount {
                self.corrections.push(Correction { count, slot: taken.map(|(_, slot)| slot), used });
            }
        }
    }

    /// Tells it.
    pub(super) fn settle(self) {
        let Self { common, ticket, organization, corrections, .. } = self;
        if !corrections.is_empty() {
            common.settle(Settlement { organization, ticket, corrections });
        }
    }
}

/// A question, and whose counters it is about.
struct Asking {
    question: Question,
    /// The place of each counter's limit among the asks.
    of: Vec<usize>,
}

impl Asking {
    /// `None` when one of the limits has no name among nodes.
    fn new(asks: &[Ask], need: Option<&Need>, portion: Portion) -> Option<Self> {
        let organization = asks.first()?.organization;
        let (mut counts, mut of) = (Vec::with_capacity(2 * asks.len()), Vec::with_capacity(2 * asks.len()));
        for (at, ask) in asks.iter().enumerate() {
            let mark = ask.mark?;
            for rate in &*ask.rates {
                let part = portion.of(rate.amount);
                let amount = match need {
                    None => 0,
                    Some(need) if rate.per.is_none() && !need.occupies => continue,
                    Some(need) if rate.per.is_some() => need.of(rate.measure, part),
                    Some(_) => 1,
                };
                counts.push(Count { mark, rate: *rate, part, amount });
                of.push(at);
            }
        }
        Some(Self { question: Question { organization, counts }, of })
    }
}

fn left(count: &Count, stand: &Stand) -> Left {
    let reset = if count.is_at_once() && stand.used > 0 { SHORTLY } else { stand.reset };
    Left { rate: count.rate, part: count.part, left: count.part.saturating_sub(stand.used), reset }
}

impl Throttle {
    /// Admits a call that all of its limits have room for, as counted in common with other nodes; by this node's share when nobody
    /// answers.
    pub async fn admit_in_common(&self, now_us: u64, asks: Vec<Ask>, need: &Need) -> Result<Pass, Box<Refused>> {
        let Some((common, portion)) = self.portion_in_common() else { return self.admit(now_us, asks, need) };
        if let Some((name, refusal)) = self.recall(now_us, &asks, need, portion) {
            return Err(Box::new(refused((name, refusal), portion)));
        }
        let Some(Asking { question, of }) = Asking::new(&asks, Some(need), portion) else {
            return self.admit(now_us, asks, need);
        };
        let (counts, organization) = (question.counts.clone(), question.organization);
        let answer = if counts.is_empty() {
            Some(Answer::Taken { ticket: 0, stands: Vec::new() })
        } else {
            common.take(question).await
        };
        match answer {
            Some(Answer::Taken { ticket, stands }) if stands.len() == counts.len() => {
                let mut pass = self.pass(asks.len());
                for (count, stand) in counts.iter().zip(&stands) {
                    pass.standing.note(left(count, stand));
                }
                for ask in asks {
                    let book = self.inner.book(ask.limit);
                    let place = (&ask.group, &ask.rates, now_us);
                    let (taken, home) = book.note(place, self.inner.room(), need, portion);
                    pass.held.push(Held { ask, book, taken, home });
                }
                let taken = counts.into_iter().zip(stands.iter().map(|stand| stand.slot)).collect();
                pass.told = Some(Told { common, ticket: Some(ticket), organization, taken, corrections: Vec::new() });
                Ok(pass)
            }
            Some(Answer::Refused { at, wait }) if at < counts.len() => {
                let (ask, count) = (&asks[of[at]], counts[at]);
                self.bar(now_us, ask, &count, wait);
                let refusal = Refusal { rate: count.rate, part: count.part, why: Why::Full, wait: Some(wait) };
                Err(Box::new(refused((ask.name.clone(), refusal), portion)))
            }
            _ => self.admit(now_us, asks, need),
        }
    }

    /// Lists how limits stand for a call, as counted in common with other nodes; in this node's share when nobody answers.
    pub async fn list_in_common(&self, now_us: u64, asks: &[Ask]) -> Vec<Vec<Left>> {
        let looked = match self.portion_in_common() {
            None => None,
            Some((common, portion)) => match Asking::new(asks, None, portion) {
                None => None,
                Some(Asking { question, of }) => {
                    let counts = question.counts.clone();
                    common.look(question).await.map(|stands| (counts, of, stands))
                }
            },
        };
        let Some((counts, of, stands)) = looked else { return self.list(now_us, asks) };
        let mut lists: Vec<Vec<Left>> = asks.iter().map(|_| Vec::new()).collect();
        for ((count, at), stand) in counts.iter().zip(of).zip(&stands) {
            lists[at].push(left(count, stand));
        }
        lists
    }

    fn portion_in_common(&self) -> Option<(Arc<dyn Common>, Portion)> {
        let common = self.inner.common.as_ref()?;
        let members = common.members()?;
        Some((common.clone(), Portion::Common { members, nodes: self.share().nodes() }))
    }

    /// Finds what refuses a call longest, of what is known without asking.
    fn recall(&self, now_us: u64, asks: &[Ask], need: &Need, portion: Portion) -> Option<(Arc<str>, Refusal)> {
        let mut worst: Option<(Arc<str>, Refusal)> = None;
        for ask in asks {
            let place = (&ask.group, &ask.rates, now_us);
            let found = self.inner.book(ask.limit).recall(place, self.inner.room(), need, portion);
            if let Some(found) = found
                && worst.as_ref().is_none_or(|(_, worst)| is_worse(worst, &found))
            {
                worst = Some((ask.name.clone(), found));
            }
        }
        worst
    }

    fn bar(&self, now_us: u64, ask: &Ask, count: &Count, wait: Duration) {
        let refusal = (count.rate, count.part, count.amount, wait);
        self.inner.book(ask.limit).bar((&ask.group, &ask.rates, now_us), self.inner.room(), refusal);
    }
}

#[cfg(test)]
mod tests;
