//! The gate that calls go through: every limit that binds a call, or none of them.
//!
//! Limits are taken one after the other, each under its own lock; when one refuses, those before it are given back. For a moment
//! another call may so be refused that would have fitted; none is ever admitted that does not. Where nodes count in common, those
//! counters decide (`gate/shared.rs`), and these here are kept in step for when nobody answers.

mod shared;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::rate_limit::{Measure, Rate, Share};
use domain::{OrganizationId, RateLimitId};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use self::shared::Told;
use crate::book::{Book, Bounds, Home, Left, Portion, Refusal, Taken, longer};
use crate::joint::{Common, Mark};

/// Groups of one limit with counters of their own: about 5 MB for two rates.
const OF_LIMIT: usize = 16_384;
/// The same of all limits of a node.
const OF_ALL: usize = 131_072;

/// What a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// Calls.
    pub requests: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Nano-dollars.
    pub cost: u64,
}

/// What a call may use: at least, and at most as far as can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// What it uses in any case.
    pub least: Use,
    /// What is counted until it is known.
    pub most: Use,
    /// Whether it is one of the calls at once; what is done within another call is not.
    pub occupies: bool,
}

impl Need {
    /// Returns what is counted of a part. A call that may use more than all of it is let through when nothing else counts,
    /// unless it does so in any case: answers are mostly much shorter than they may be.
    #[must_use]
    pub(crate) fn of(&self, measure: Measure, part: u64) -> u64 {
        self.most.of(measure).min(part).max(self.least.of(measure))
    }
}

/// A limit that binds a call.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The tenant.
    pub organization: OrganizationId,
    /// The limit.
    pub limit: RateLimitId,
    /// Names its counters among nodes; absent for what this node counts by itself.
    pub mark: Option<Mark>,
    /// Its name for people.
    pub name: Arc<str>,
    /// Its rates.
    pub rates: Arc<[Rate]>,
    /// The group that the call belongs to.
    pub group: Arc<str>,
    /// The only providers whose answers count; `None` for all.
    pub providers: Option<Vec<Box<str>>>,
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Too much was used.
    Full,
    /// The call alone is larger than this node's part.
    TooLarge,
    /// There is less of the limit than nodes, and this one has none.
    NoPart,
}

/// A call that does not fit: the limit that refuses it longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The limit's name.
    pub name: Arc<str>,
    /// The rate.
    pub rate: Rate,
    /// The part of it that the call was held to.
    pub part: u64,
    /// Among how many nodes the limit is divided.
    pub nodes: u32,
    /// Whether it is the part of several that count in common.
    pub is_common: bool,
    /// Why.
    pub why: Why,
    /// After this time the call fits, when nothing else comes; `None` for never.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rate, part, nodes, is_common, why, .. } = self;
        let part = Rate { amount: *part, ..*rate };
        let shared = match nodes {
            1 => String::new(),
            _ if *is_common => {
                format!(", of which the nodes that count it in common have {part}: not all of {nodes} do")
            }
            _ => format!(", of which this node, one of {nodes}, has {part}"),
        };
        match why {
            Why::Full if rate.measure == Measure::Concurrent => {
                write!(f, "the rate limit \"{name}\" allows {rate}{shared}; wait for one to end")
            }
            Why::Full => {
                write!(f, "the rate limit \"{name}\" allows {rate}{shared}; try again after the time in Retry-After")
            }
            Why::TooLarge => write!(
                f,
                "this call alone is larger than the rate limit \"{name}\" allows ({rate}{shared}); send less at a time"
            ),
            Why::NoPart => write!(
                f,
                "the rate limit \"{name}\" ({rate}) is smaller than the number of nodes, {nodes}, and this one has no part of it"
            ),
        }
    }
}

/// How the limits of a call stand: the tightest of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// In calls.
    pub requests: Option<Left>,
    /// In tokens.
    pub tokens: Option<Left>,
}

/// The rate limits of a node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    books: RwLock<FxHashMap<RateLimitId, Arc<Book>>>,
    n_all: AtomicUsize,
    /// Nodes in the upper half, place in the lower.
    share: AtomicU64,
    bounds: Bounds,
    common: Option<Arc<dyn Common>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            books: RwLock::default(),
            n_all: AtomicUsize::new(0),
            share: AtomicU64::new(1 << 32),
            bounds: Bounds { of_limit: OF_LIMIT, of_all: OF_ALL },
            common: None,
        }
    }
}

/// A call that was admitted. Dropped, it has used nothing but the call itself.
#[derive(Debug)]
pub struct Pass {
    inner: Arc<Inner>,
    held: Vec<Held>,
    standing: Standing,
    told: Option<Told>,
}

#[derive(Debug)]
struct Held {
    ask: Ask,
    book: Arc<Book>,
    taken: Vec<Taken>,
    home: Home,
}

impl Throttle {
    /// Counts in common with other nodes, as long as `common` answers.
    #[must_use]
    pub fn in_common(common: Arc<dyn Common>) -> Self {
        Self { inner: Arc::new(Inner { common: Some(common), ..Inner::default() }) }
    }

    /// Says whether this node ever counts in common with others, so that calls have to say by which names.
    #[must_use]
    pub fn is_in_common(&self) -> bool {
        self.inner.common.is_some()
    }

    /// Says how many nodes share the limits, and which of them this one is.
    pub fn set_share(&self, share: Share) {
        let packed = u64::from(share.nodes()) << 32 | u64::from(share.place());
        self.inner.share.store(packed, Ordering::Relaxed);
    }

    /// Returns this node's share.
    #[must_use]
    pub fn share(&self) -> Share {
        self.inner.share()
    }

    /// Admits a call that all of its limits have room for in this node's share, and takes that room.
    pub fn admit(&self, now_us: u64, asks: Vec<Ask>, need: &Need) -> Result<Pass, Box<Refused>> {
        let (inner, share) = (&self.inner, self.share());
        let portion = Portion::Share(share);
        let mut pass = self.pass(asks.len());
        let mut asks = asks.into_iter();
        while let Some(ask) = asks.next() {
            let book = inner.book(ask.limit);
            match book.take((&ask.group, &ask.rates, now_us), inner.room(), need, portion) {
                Ok((taken, home)) => pass.held.push(Held { ask, book, taken, home }),
                Err(refusal) => {
                    pass.undo(now_us);
                    let mut worst = (ask.name, refusal);
                    // Who comes back must not find that another limit lasts longer.
                    for ask in asks {
                        let place = (&ask.group, &ask.rates, now_us);
                        let found = inner.book(ask.limit).look(place, inner.room(), need, portion);
                        if let Some(found) = found.filter(|found| is_worse(&worst.1, found)) {
                            worst = (ask.name, found);
                        }
                    }
                    return Err(Box::new(refused(worst, portion)));
                }
            }
        }
        pass.note_standing(now_us, portion);
        pass.told = Told::nothing(inner, &pass.held);
        Ok(pass)
    }

    fn pass(&self, n_asks: usize) -> Pass {
        let (inner, standing) = (self.inner.clone(), Standing::default());
        Pass { inner, held: Vec::with_capacity(n_asks), standing, told: None }
    }

    /// Lists how limits stand for a call, without taking anything.
    #[must_use]
    pub fn list(&self, now_us: u64, asks: &[Ask]) -> Vec<Vec<Left>> {
        let (inner, portion) = (&self.inner, Portion::Share(self.share()));
        let list = |ask: &Ask| inner.book(ask.limit).list((&ask.group, &ask.rates, now_us), inner.room(), portion);
        asks.iter().map(list).collect()
    }

    /// Throws away what counts nothing. To be called now and then.
    pub fn sweep(&self, now_us: u64) {
        let books: Vec<_> = self.inner.books.read().iter().map(|(id, book)| (*id, book.clone())).collect();
        let mut empty = Vec::new();
        for (id, book) in books {
            if book.sweep(now_us, &self.inner.n_all) {
                empty.push(id);
            }
        }
        if !empty.is_empty() {
            let mut books = self.inner.books.write();
            for id in empty {
                // Whoever has it in hand, or came meanwhile, keeps it.
                if books.get(&id).is_some_and(|book| Arc::strong_count(book) == 1 && book.n_groups() == 0) {
                    books.remove(&id);
                }
            }
        }
    }

    /// Returns how many groups have counters of their own.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.inner.n_all.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn bounded(of_limit: usize, of_all: usize) -> Self {
        Self { inner: Arc::new(Inner { bounds: Bounds { of_limit, of_all }, ..Inner::default() }) }
    }
}

fn is_worse(one: &Refusal, other: &Refusal) -> bool {
    longer(Some(*one), Some(*other)).is_some_and(|longer| longer.wait != one.wait)
}

fn refused((name, refusal): (Arc<str>, Refusal), portion: Portion) -> Refused {
    let Refusal { rate, part, why, wait } = refusal;
    let (nodes, is_common) = match portion {
        Portion::Share(share) => (share.nodes(), false),
        Portion::Common { members, nodes } => (if members >= nodes { 1 } else { nodes }, true),
    };
    Refused { name, rate, part, nodes, is_common, why, retry_after: wait }
}

impl Inner {
    fn share(&self) -> Share {
        let packed = self.share.load(Ordering::Relaxed);
        let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Share::new(half(packed >> 32), half(packed))
    }

    fn book(&self, id: RateLimitId) -> Arc<Book> {
        if let Some(book) = self.books.read().get(&id) {
            return book.clone();
        }
        self.books.write().entry(id).or_insert_with(|| Arc::new(Book::new())).clone()
    }

    const fn room(&self) -> (Bounds, &AtomicUsize) {
        (self.bounds, &self.n_all)
    }
}

impl Pass {
    /// Returns how the limits stood with the call in them.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Replaces what was guessed by what was used. `provider` is who answered, if anybody did.
    pub fn settle(mut self, now_us: u64, used: &Use, provider: Option<&str>) {
        self.end(now_us, |ask| {
            let is_of_it = ask.providers.as_ref().is_none_or(|counted| {
                provider.is_some_and(|provider| counted.iter().any(|known| **known == *provider))
            });
            is_of_it.then_some(used)
        });
    }

    fn end<'a>(&mut self, now_us: u64, used: impl Fn(&Ask) -> Option<&'a Use>) {
        for Held { ask, book, taken, home } in std::mem::take(&mut self.held) {
            let used = used(&ask);
            if let Some(told) = &mut self.told {
                told.correct(&ask, used);
            }
            book.settle((&ask.group, &ask.rates, now_us), self.inner.room(), (&taken, home), used);
        }
        if let Some(told) = self.told.take() {
            told.settle();
        }
    }

    fn undo(&mut self, now_us: u64) {
        for Held { ask, book, taken, home } in std::mem::take(&mut self.held) {
            book.settle((&ask.group, &ask.rates, now_us), self.inner.room(), (&taken, home), None);
        }
    }

    fn note_standing(&mut self, now_us: u64, portion: Portion) {
        for Held { ask, book, .. } in &self.held {
            for left in book.list((&ask.group, &ask.rates, now_us), self.inner.room(), portion) {
                self.standing.note(left);
            }
        }
    }
}

impl Standing {
    /// Keeps what is tighter.
    fn note(&mut self, left: Left) {
        let slot = match left.rate.measure {
            Measure::Requests => &mut self.requests,
            Measure::Tokens | Measure::InputTokens | Measure::OutputTokens => &mut self.tokens,
            Measure::Cost | Measure::Concurrent => return,
        };
        // By what is left in proportion: 1 of 2 is tighter than 50 of 1,000.
        let is_tighter =
            |than: &Left| u128::from(left.left) * u128::from(than.part) < u128::from(than.left) * u128::from(left.part);
        if slot.as_ref().is_none_or(is_tighter) {
            *slot = Some(left);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // At no moment that is known here: what is given back goes to the slot that it came from, and nothing is added.
        let used = Use { requests: 1, ..Use::default() };
        self.end(0, |_| Some(&used));
    }
}

#[cfg(test)]
mod tests;
