//! Answers in this process, bounded by bytes. What is asked for often stays; what expired goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::Timestamp;
use moka::Expiry;
use moka::sync::Cache as Table;

use crate::{Answer, BoxFuture, Cache, CacheKey};

/// Answers in memory.
#[derive(Debug)]
pub struct Memory {
    table: Table<[u8; 32], Kept>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct Kept {
    answer: Arc<Answer>,
    /// Until when the table holds it; the answer's own end decides whether it is given.
    lifetime: Duration,
}

struct Ends;

impl Expiry<[u8; 32], Kept> for Ends {
    fn expire_after_create(&self, _: &[u8; 32], kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(&self, _: &[u8; 32], kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

impl Memory {
    /// Makes an empty store that holds at most about `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let table = Table::builder()
            .max_capacity(max_bytes)
            .weigher(|_, kept: &Kept| u32::try_from(kept.answer.weight()).unwrap_or(u32::MAX))
            .expire_after(Ends)
            .build();
        Self { table, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Finds an answer at once.
    #[must_use]
    pub fn look(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Answer>> {
        let found = self.table.get(key.name()).map(|kept| kept.answer).filter(|answer| answer.is_fresh(now));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Returns `(hits, misses)` so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Returns `(answers, bytes)` held, a moment ago.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.table.entry_count(), self.table.weighted_size())
    }

    /// Does now what is otherwise done by and by: throws out what is too much or has expired.
    pub fn tidy(&self) {
        self.table.run_pending_tasks();
    }
}

impl Cache for Memory {
    fn find<'a>(&'a self, key: &'a CacheKey, now: Timestamp) -> BoxFuture<'a, Option<Arc<Answer>>> {
        Box::pin(std::future::ready(self.look(key, now)))
    }

    fn keep(&self, key: &CacheKey, answer: Arc<Answer>, now: Timestamp) {
        let lifetime = answer.remaining(now);
        if !lifetime.is_zero() {
            self.table.insert(*key.name(), Kept { answer, lifetime });
        }
    }
}
