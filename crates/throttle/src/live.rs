//! Calls under way that may be ended from outside.
//!
//! A call enters with what is known of it and asks its ticket whenever it is polled; whoever cuts it wakes it. Leaving is
//! dropping the ticket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

const SHARDS: usize = 16;

/// The calls under way of a node.
#[derive(Debug)]
pub struct Calls<T> {
    shards: [Mutex<FxHashMap<u64, Arc<Line<T>>>>; SHARDS],
    next: AtomicU64,
}

#[derive(Debug)]
struct Line<T> {
    /// Holds the line while the call is under way; leaving breaks the ring.
    calls: Arc<Calls<T>>,
    id: u64,
    facts: T,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

/// A call's place among those under way.
#[derive(Debug)]
pub struct Ticket<T>(Arc<Line<T>>);

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), next: AtomicU64::new(0) }
    }
}

impl<T> Calls<T> {
    /// Enters a call.
    pub fn enter(self: &Arc<Self>, facts: T) -> Ticket<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (is_cut, waker) = (AtomicBool::new(false), AtomicWaker::new());
        let line = Arc::new(Line { calls: self.clone(), id, facts, is_cut, waker });
        self.shard(id).lock().insert(id, line.clone());
        Ticket(line)
    }

    /// Cuts the calls for which `is_over` holds, and returns how many.
    pub fn cut(&self, is_over: impl Fn(&T) -> bool) -> usize {
        let mut n_cut = 0;
        for shard in &self.shards {
            let found: Vec<_> = shard.lock().values().filter(|line| is_over(&line.facts)).cloned().collect();
            for line in found {
                if !line.is_cut.swap(true, Ordering::SeqCst) {
                    n_cut += 1;
                    line.waker.wake();
                }
            }
        }
        n_cut
    }

    /// Returns how many calls are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Says whether no call is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, id: u64) -> &Mutex<FxHashMap<u64, Arc<Line<T>>>> {
        &self.shards[usize::try_from(id).unwrap_or(0) % SHARDS]
    }
}

impl<T> Ticket<T> {
    /// Returns what is known of the call.
    #[must_use]
    pub fn facts(&self) -> &T {
        &self.0.facts
    }

    /// Says whether the call is cut; if not, the task is woken when it is. One task asks at a time.
    pub fn poll_cut(&self, cx: &Context<'_>) -> bool {
        self.0.poll_cut(cx)
    }

    /// Returns what watches the call and may outlive the ticket.
    #[must_use]
    pub fn watch(&self) -> Watch<T> {
        Watch(self.0.clone())
    }
}

/// Watches a call.
#[derive(Debug)]
pub struct Watch<T>(Arc<Line<T>>);

impl<T> Watch<T> {
    /// Returns what is known of the call.
    #[must_use]
    pub fn facts(&self) -> &T {
        &self.0.facts
    }

    /// Says whether the call is cut; if not, the task is woken when it is. One task asks at a time.
    pub fn poll_cut(&self, cx: &Context<'_>) -> bool {
        self.0.poll_cut(cx)
    }
}

impl<T> Line<T> {
    fn poll_cut(&self, cx: &Context<'_>) -> bool {
        if self.is_cut.load(Ordering::SeqCst) {
            return true;
        }
        self.waker.register(cx.waker());
        // Between looking and leaving word.
        self.is_cut.load(Ordering::SeqCst)
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        // The line goes after the lock: what it holds may take locks of its own.
        let gone = self.0.calls.shard(self.0.id).lock().remove(&self.0.id);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use futures_util::task::noop_waker;

    use super::*;

    fn context(waker: &Waker) -> Context<'_> {
        Context::from_waker(waker)
    }

    #[test]
    fn only_what_is_meant_is_cut_and_who_leaves_is_forgotten() {
        let calls = Arc::new(Calls::default());
        let (one, two) = (calls.enter(1), calls.enter(2));
        let waker = noop_waker();
        assert!(!one.poll_cut(&context(&waker)) && !two.poll_cut(&context(&waker)));
        assert_eq!(calls.cut(|facts| *facts == 1), 1);
        assert!(one.poll_cut(&context(&waker)) && !two.poll_cut(&context(&waker)));
        assert_eq!(calls.cut(|facts| *facts == 1), 0, "once");
        drop(one);
        assert_eq!((calls.len(), *two.facts()), (1, 2));
    }

    #[test]
    fn who_waits_is_woken_by_the_cut() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (calls, woken) = (Arc::new(Calls::default()), Arc::new(Woken(AtomicBool::new(false))));
        let ticket = calls.enter(());
        let (watch, waker) = (ticket.watch(), Waker::from(woken.clone()));
        assert!(!watch.poll_cut(&context(&waker)) && !woken.0.load(Ordering::SeqCst));
        calls.cut(|()| true);
        assert!(woken.0.load(Ordering::SeqCst) && watch.poll_cut(&context(&waker)));
    }
}
