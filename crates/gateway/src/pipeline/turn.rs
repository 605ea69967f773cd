//! What the calls of one turn of a worker's event loop tell the spool, written together.
//!
//! A call that must be on file before it goes on waits until every other call that can run has come as far as it can; then one
//! write serves them all, and what they do next they do in one go, so that whoever is at the other end is woken once. No clock
//! is involved, and a call that is alone waits for nothing. Invariants: entries are written in the order in which
//! they were told; whoever has waited is on file; one that is given up leaves nobody waiting; leases stay open until what was
//! charged to them is on file.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use link::usage::event::{Entry, OpenedCall};
use parking_lot::Mutex;
use purse::Settled;

use super::Worker;
use super::settle::Ended;

/// What is told and not yet written.
#[derive(Default)]
pub(crate) struct Turn {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// What the calls among them were charged.
    settled: Vec<Settled>,
    /// Who waits, besides the first.
    waiting: Vec<Waker>,
    /// Turns that are written.
    n_written: u64,
}

/// What can be told.
pub(crate) enum Word {
    Opened(OpenedCall),
    Ended(Ended),
}

impl From<OpenedCall> for Word {
    fn from(call: OpenedCall) -> Self {
        Self::Opened(call)
    }
}

impl From<Ended> for Word {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl State {
    fn push(&mut self, word: Word) {
        match word {
            Word::Opened(call) => self.entries.push(Entry::Opened(call)),
            Word::Ended(Ended { event, settled }) => {
                self.entries.push(Entry::Ended(event));
                self.settled.extend(settled);
            }
        }
    }
}

/// Waits until what was told is on file.
#[must_use]
pub(crate) struct Told<'w> {
    worker: &'w Worker,
    turn: u64,
    /// It was the first of its turn, and writes it.
    leads: bool,
    has_waited: bool,
}

/// Tells something that may be written together with what others tell.
pub(crate) fn tell(worker: &Worker, word: impl Into<Word>) -> Told<'_> {
    let word = word.into();
    let mut state = worker.turn.state.lock();
    let leads = state.entries.is_empty();
    // Whoever has ended is not in flight any more.
    let n_own = i64::from(matches!(word, Word::Opened(_)));
    state.push(word);
    let told = Told { worker, turn: state.n_written, leads, has_waited: false };
    drop(state);
    if leads && worker.metrics.in_flight.get() <= n_own {
        write(worker);
    }
    told
}

/// Tells something that is on file when this returns, and all that was told before.
pub(crate) fn tell_now(worker: &Worker, word: impl Into<Word>) {
    worker.turn.state.lock().push(word.into());
    write(worker);
}

fn write(worker: &Worker) {
    let mut state = worker.turn.state.lock();
    let n_lost = worker.shared.usage.keep(&mut state.entries);
    state.n_written += 1;
    let mut waiting = std::mem::take(&mut state.waiting);
    let mut settled = std::mem::take(&mut state.settled);
    drop(state);
    if n_lost > 0 {
        worker.metrics.events_lost.add(n_lost);
        // Whose charges are lost is not said, so no lease of these counts as reported.
        settled.iter_mut().for_each(Settled::lose);
    }
    drop(settled);
    if waiting.is_empty() {
        return;
    }
    // Without the lock: nobody knows what a waker does.
    waiting.drain(..).for_each(Waker::wake);
    let mut state = worker.turn.state.lock();
    if state.waiting.capacity() == 0 {
        state.waiting = waiting;
    }
}

impl Told<'_> {
    fn is_written(&self) -> bool {
        self.worker.turn.state.lock().n_written != self.turn
    }
}

impl Future for Told<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_written() {
            self.leads = false;
            return Poll::Ready(());
        }
        let has_waited = std::mem::replace(&mut self.has_waited, true);
        if !self.leads {
            self.worker.turn.state.lock().waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        if !has_waited {
            // Who wakes itself comes after all who are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.leads = false;
        write(self.worker);
        Poll::Ready(())
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if self.leads && !self.is_written() {
            write(self.worker);
        }
    }
}
