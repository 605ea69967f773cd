//! The purse as calls see it: synchronous while there is money here, else one request for all that wait.
//!
//! A call that is dropped while it waits leaves nothing behind: what it was just given goes back. Invariant: no lock is held
//! across an await, nor while a waiting call is answered.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use domain::budget::{AccountKey, Charge};
use domain::lease::Tell;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, oneshot};

use crate::account::{Item, Known, Refused, Spent};
use crate::book::{Book, Cry, Held, PATIENCE, Served, Tried};
use crate::source::{Delivered, LeaseSource};

/// Longest wait for the answer to a word.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Pause before the next word after one without an answer.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(250);

/// How often is looked whether former lives are delivered, while there is nothing else to say.
const LOOK_EVERY: Duration = Duration::from_secs(2);

type Given = Result<Hold, Box<Refused>>;

/// The money of one node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Purse {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inside: Mutex<Inside>,
    wake: Notify,
    crier: OnceLock<Crier>,
}

/// Tells the other nodes.
#[derive(Clone)]
struct Crier(Arc<dyn Fn(Cry) + Send + Sync>);

impl std::fmt::Debug for Crier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crier").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Inside {
    book: Book,
    waiting: FxHashMap<u64, oneshot::Sender<Given>>,
}

/// Money set aside for one call. Dropped, all of it goes back.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    held: Vec<Held>,
}

/// What a call was charged. Its leases stay open until it is dropped; that is to be after the charges were written down.
#[derive(Debug)]
pub struct Settled {
    shared: Arc<Shared>,
    charges: Vec<Charge>,
    open: Vec<u32>,
    is_lost: bool,
}

impl Purse {
    /// Holds at once when there is money for it here, or refuses at once when that is known; `None` when it has to be asked for.
    #[must_use]
    pub fn try_reserve(&self, items: &[Item]) -> Option<Given> {
        self.shared.try_reserve(items)
    }

    /// Holds what a call wants, all of it or nothing. Waits for the control plane, and for other nodes to give back what they do
    /// not need, no longer than [`PATIENCE`]. Cancel-safe: dropped, it holds nothing.
    pub async fn reserve(&self, items: Vec<Item>) -> Given {
        match self.shared.try_reserve(&items) {
            Some(given) => given,
            None => self.shared.wait(items).await,
        }
    }

    /// Returns what an account has left, as far as this node knows: how it stood when last heard of, and what nobody holds.
    #[must_use]
    pub fn left(&self, account: &AccountKey) -> Option<(Known, u64)> {
        self.shared.inside.lock().book.left(account)
    }

    /// Has other nodes told what is worth a word of theirs; once, before [`Purse::run`]. `cry` waits for nothing.
    pub fn tell_others(&self, cry: impl Fn(Cry) + Send + Sync + 'static) {
        // A second one would change nothing.
        drop(self.shared.crier.set(Crier(Arc::new(cry))));
    }

    /// Hears what another node has told.
    pub fn hear(&self, cry: Cry) {
        if self.shared.inside.lock().book.hear(cry, now()) {
            self.shared.wake.notify_one();
        }
    }

    /// Gives back all that is unused, and what calls in flight will leave over; [`Purse::run`] then ends.
    pub fn drain(&self) {
        self.shared.inside.lock().book.drain();
        self.shared.wake.notify_one();
    }

    /// Speaks with the control plane until the purse is drained. One runs for each purse.
    pub async fn run(&self, source: Arc<dyn LeaseSource>, delivered: Arc<dyn Delivered>) {
        let boot = delivered.boot();
        let mut told_boots: Vec<String> = Vec::new();
        loop {
            let mut news = delivered.delivered_boots();
            news.retain(|former| !told_boots.contains(former));
            let word = {
                let mut inside = self.shared.inside.lock();
                // What a former life held is free as soon as this is known.
                if !news.is_empty() {
                    inside.book.wish_word();
                }
                inside.book.next_word(now(), &*delivered)
            };
            if let Some(mut word) = word {
                word.boot.clone_from(&boot);
                word.delivered_boots.clone_from(&news);
                if self.say(&*source, word).await {
                    told_boots.extend(news);
                }
                continue;
            }
            let (is_draining, due_at) = {
                let inside = self.shared.inside.lock();
                (inside.book.is_draining(), inside.book.due_at(now()))
            };
            match due_at {
                Some(at) => {
                    // Whatever comes first; a wake-up for nothing does no harm.
                    let _woken = tokio::time::timeout_at(at.into(), self.shared.wake.notified()).await;
                }
                None if is_draining => return,
                None => {
                    let _woken = tokio::time::timeout(LOOK_EVERY, self.shared.wake.notified()).await;
                }
            }
        }
    }

    /// Says a word; says whether it was heard.
    async fn say(&self, source: &dyn LeaseSource, word: Tell) -> bool {
        let asked_at = now();
        let answer = tokio::time::timeout(ANSWER_WITHIN, source.tell(word.clone())).await;
        match answer {
            Ok(Ok(reply)) => {
                let (given, cry) = {
                    let mut inside = self.shared.inside.lock();
                    let served = inside.book.apply(&word, reply, asked_at, now());
                    (self.shared.give(&mut inside, served), inside.book.take_cry())
                };
                hand_out(given);
                if let (Some(cry), Some(Crier(tell))) = (cry, self.shared.crier.get()) {
                    tell(cry);
                }
                return true;
            }
            Ok(Err(error)) => {
                let cause: &dyn std::error::Error = &error;
                if self.shared.inside.lock().book.unanswered(asked_at) {
                    tracing::warn!(error = cause, "the control plane could not be asked for money of budgets");
                }
            }
            Err(_) => {
                if self.shared.inside.lock().book.unanswered(asked_at) {
                    tracing::warn!("the control plane did not say in time what budgets have left");
                }
            }
        }
        tokio::time::sleep(UNANSWERED_PAUSE).await;
        false
    }
}

impl Shared {
    fn try_reserve(self: &Arc<Self>, items: &[Item]) -> Option<Given> {
        let (tried, wishes) = {
            let mut inside = self.inside.lock();
            let tried = inside.book.reserve(items, now());
            (tried, inside.book.take_wish())
        };
        if wishes {
            self.wake.notify_one();
        }
        match tried {
            Tried::Held(held) => Some(Ok(self.hold(held))),
            Tried::Refused(refused) => Some(Err(refused)),
            Tried::Short => None,
        }
    }

    async fn wait(self: &Arc<Self>, items: Vec<Item>) -> Given {
        let (sender, mut receiver) = oneshot::channel();
        let (ticket, given) = {
            let mut inside = self.inside.lock();
            // Somebody may have given money back since it was found to be short.
            let (ticket, served) = inside.book.wait(items, now());
            inside.waiting.insert(ticket, sender);
            (ticket, self.give(&mut inside, served))
        };
        hand_out(given);
        let waiting = Waiting { shared: self, ticket };
        self.wake.notify_one();
        if let Ok(Ok(given)) = tokio::time::timeout(PATIENCE, &mut receiver).await {
            return given;
        }
        let (ended, given) = {
            let mut inside = self.inside.lock();
            inside.waiting.remove(&ticket);
            match inside.book.give_up(ticket, now()) {
                Some((result, served)) => (Some(result), self.give(&mut inside, served)),
                None => (None, Vec::new()),
            }
        };
        hand_out(given);
        drop(waiting);
        match ended {
            Some(result) => result.map(|held| self.hold(held)),
            // Answered in the very moment; what is being handed over arrives without another wait for anybody.
            None => match receiver.await {
                Ok(given) => given,
                Err(_) => Ok(self.hold(Vec::new())),
            },
        }
    }

    fn hold(self: &Arc<Self>, held: Vec<Held>) -> Hold {
        Hold { shared: Arc::clone(self), held }
    }

    /// Pairs what was decided with those who wait for it; to be handed out without the lock.
    fn give(
        self: &Arc<Self>,
        inside: &mut Inside,
        served: Vec<Served>,
    ) -> Vec<(Option<oneshot::Sender<Given>>, Given)> {
        let pair =
            |Served { ticket, result }: Served| (inside.waiting.remove(&ticket), result.map(|held| self.hold(held)));
        served.into_iter().map(pair).collect()
    }

    fn release(self: &Arc<Self>, held: Vec<Held>) {
        let given = {
            let mut inside = self.inside.lock();
            let served = inside.book.release(held, now());
            self.give(&mut inside, served)
        };
        hand_out(given);
    }
}

/// Answers waiting calls. What nobody takes any more goes back when it is dropped here.
fn hand_out(given: Vec<(Option<oneshot::Sender<Given>>, Given)>) {
    for (sender, given) in given {
        if let Some(sender) = sender {
            drop(sender.send(given));
        }
    }
}

/// A call that waits; dropped, it waits no more.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let given = {
            let mut inside = self.shared.inside.lock();
            inside.waiting.remove(&self.ticket);
            let served = inside.book.cancel(self.ticket, now());
            self.shared.give(&mut inside, served)
        };
        hand_out(given);
    }
}

impl Hold {
    /// Raises the hold to a higher bound, before a further attempt. What it has stays held when more is refused.
    pub async fn raise(&mut self, bound: Spent) -> Result<(), Box<Refused>> {
        let lacks = self.shared.inside.lock().book.lacks(&self.held, bound);
        if lacks.is_empty() {
            return Ok(());
        }
        let mut more = match self.shared.try_reserve(&lacks) {
            Some(given) => given?,
            None => self.shared.wait(lacks).await?,
        };
        self.held.append(&mut more.held);
        Ok(())
    }

    /// Raises the hold if that takes no wait.
    #[must_use]
    pub fn try_raise(&mut self, bound: Spent) -> bool {
        let lacks = self.shared.inside.lock().book.lacks(&self.held, bound);
        match self.shared.try_reserve(&lacks) {
            Some(Ok(mut more)) => {
                self.held.append(&mut more.held);
                true
            }
            _ => false,
        }
    }

    /// Returns what is left of the tightest account in money, without what is held here; `None` when none is held of.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.shared.inside.lock().book.left_of(&self.held)
    }

    /// Returns what the call is to be charged if nothing is ever heard of it again: all that is held.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        self.shared.inside.lock().book.as_charges(&self.held)
    }

    /// Charges what the call took of each account; the rest goes back. `spent` is asked under the lock, and asks nothing back.
    #[must_use]
    pub fn settle(mut self, spent: &dyn Fn(&AccountKey) -> Spent) -> Settled {
        let held = std::mem::take(&mut self.held);
        let (settling, given) = {
            let mut inside = self.shared.inside.lock();
            let (settling, served) = inside.book.settle(&held, spent, now());
            (settling, self.shared.give(&mut inside, served))
        };
        hand_out(given);
        Settled { shared: Arc::clone(&self.shared), charges: settling.charges, open: settling.open, is_lost: false }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.shared.release(held);
        }
    }
}

impl Settled {
    /// Takes the charges out, to be written down.
    pub fn take_charges(&mut self) -> Vec<Charge> {
        std::mem::take(&mut self.charges)
    }

    /// Notes that the charges could not be written down.
    pub fn lose(&mut self) {
        self.is_lost = true;
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.shared.inside.lock().book.reported(&self.open, !self.is_lost);
        }
    }
}

/// The time that leases are measured by; a test's own when it holds the clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
