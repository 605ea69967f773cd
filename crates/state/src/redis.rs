//! Redis, for what nodes share: answers, cooldowns, and the counters of rate limits. One connection per process, kept by one task.
//!
//! Calls use the connection while it stands and never wait for one: when it breaks, or three look-ups in a row take too long,
//! the keeper takes it away, and every look-up is a miss until a new connection has answered a PING. Writes go through a bounded
//! queue to the keeper, so no call waits for them either. Invariant: a Redis that is slow, full, restarting or gone costs a call
//! at most the patience it was opened with, three times, and then nothing.

mod counts;
mod cries;
mod keeper;
mod stats;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::{DeploymentId, Timestamp};
use parking_lot::{Mutex, RwLock};
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};
use throttle::joint::Settlement;
use tokio::sync::Notify;

use self::counts::Counts;
pub use self::cries::Ear;
pub use self::keeper::Keeper;
use self::stats::Stats;
use crate::seal;
use crate::{Answer, BoxFuture, Cache, CacheKey, Cooldowns};

/// The longest that a call waits for a look-up, unless told.
pub const LOOK_UP_WITHIN: Duration = Duration::from_millis(10);
/// Look-ups in a row that were too slow before nobody asks any more.
const SLOW_IN_A_ROW: u32 = 3;
/// Most that waits to be written, in bytes and in entries.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
const MAX_QUEUED: usize = 4_096;
/// Most that waits to be put right of rate limits: without it, what calls were guessed at counts on.
const MAX_SETTLED: usize = 65_536;
/// In front of every key, so that an access list can name what is ours.
const ANSWERS: &[u8] = b"headgate:answer:";
const COOLDOWNS: &str = "headgate:cooldowns";

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the address of Redis cannot be used: {0}")]
pub struct AddressError(#[from] RedisError);

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The first connection is still being made.
    Starting,
    /// It answers.
    Up,
    /// It does not; why.
    Down(String),
}

/// Redis, as calls see it. Clones share it.
#[derive(Debug, Clone)]
pub struct Redis(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: RwLock<Option<MultiplexedConnection>>,
    standing: RwLock<Standing>,
    slow: AtomicU32,
    within: Duration,
    queue: Mutex<Queue>,
    /// Something was queued.
    queued: Notify,
    /// The connection was taken away.
    broken: Notify,
    stats: Stats,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Queue {
    writes: VecDeque<Write>,
    n_bytes: usize,
}

#[derive(Debug)]
enum Write {
    Answer { name: Vec<u8>, value: Vec<u8>, lifetime_ms: u64 },
    Cooldown { deployment: DeploymentId, until: Timestamp },
    Settlement(Settlement),
    Cry(&'static str),
}

impl Write {
    fn weight(&self) -> usize {
        match self {
            Self::Answer { value, .. } => 256 + value.len(),
            Self::Cooldown { .. } | Self::Cry(_) => 64,
            Self::Settlement(settlement) => 64 + 96 * settlement.corrections.len(),
        }
    }
}

impl Redis {
    /// Reads an address (`redis://…` or `rediss://…`) and gives the handle for calls and the keeper to be run. Connects later.
    pub fn open(url: &str) -> Result<(Self, Keeper), AddressError> {
        Self::open_patiently(url, LOOK_UP_WITHIN)
    }

    /// The same with another patience.
    pub fn open_patiently(url: &str, within: Duration) -> Result<(Self, Keeper), AddressError> {
        let client = Client::open(url)?;
        let shared = Arc::new(Shared {
            connection: RwLock::default(),
            standing: RwLock::new(Standing::Starting),
            slow: AtomicU32::new(0),
            within,
            queue: Mutex::default(),
            queued: Notify::new(),
            broken: Notify::new(),
            stats: Stats::default(),
            counts: Counts::default(),
        });
        Ok((Self(Arc::clone(&shared)), Keeper::new(client, shared)))
    }

    /// Says how things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.standing.read().clone()
    }

    /// Says a word to the other nodes, some time soon; it is lost while Redis is away.
    pub fn cry(&self, word: &'static str) {
        self.0.push(Write::Cry(word));
    }

    /// Says what nodes do without: why Redis does not answer, or does not count.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self.standing() {
            Standing::Down(reason) => Some(reason),
            Standing::Starting => None,
            Standing::Up => self.0.counts.trouble().map(|reason| format!("it does not count rate limits: {reason}")),
        }
    }

    /// Finds an answer. Whatever goes wrong is a miss.
    pub(crate) async fn look(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Answer>> {
        let shared = &*self.0;
        let Some(mut connection) = shared.connection.read().clone() else {
            shared.stats.away.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let asked_at = Instant::now();
        let mut get = redis::cmd("GET");
        get.arg(answer_name(key));
        let got = tokio::time::timeout(shared.within, get.query_async::<Option<Vec<u8>>>(&mut connection)).await;
        shared.stats.took(asked_at.elapsed());
        match got {
            Err(_) => {
                shared.stats.failures.fetch_add(1, Ordering::Relaxed);
                shared.was_slow();
                None
            }
            Ok(Err(error)) => {
                shared.stats.failures.fetch_add(1, Ordering::Relaxed);
                shared.failed(&error);
                None
            }
            Ok(Ok(value)) => {
                shared.slow.store(0, Ordering::Relaxed);
                let found = value.and_then(|sealed| seal::open(key, sealed)).filter(|answer| answer.is_fresh(now));
                let counter = if found.is_some() { &shared.stats.hits } else { &shared.stats.misses };
                counter.fetch_add(1, Ordering::Relaxed);
                found.map(Arc::new)
            }
        }
    }

    /// Appends its look-ups to the metric of that name.
    pub(crate) fn write_lookups(&self, out: &mut String) {
        self.0.stats.write_lookups(out);
    }

    /// Appends its other counters.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        self.0.stats.write_metrics(matches!(self.standing(), Standing::Up), out);
        let counts = &self.0.counts;
        let results = [("taken", &counts.taken), ("refused", &counts.refused), ("failed", &counts.failed)];
        Stats::write_questions(results, out);
    }
}

impl Shared {
    /// Queues a write, or not: there is no room, or nobody to write to.
    fn push(&self, write: Write) {
        let weight = write.weight();
        let is_up = self.connection.read().is_some();
        let mut queue = self.queue.lock();
        let most = if matches!(write, Write::Settlement(_)) { MAX_SETTLED } else { MAX_QUEUED };
        if !is_up || queue.writes.len() >= most || queue.n_bytes + weight > MAX_QUEUED_BYTES {
            drop(queue);
            self.stats.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.n_bytes += weight;
        queue.writes.push_back(write);
        drop(queue);
        self.queued.notify_one();
    }

    /// Takes up to `most` writes.
    fn pop(&self, most: usize) -> Vec<Write> {
        let mut queue = self.queue.lock();
        let n = queue.writes.len().min(most);
        let writes: Vec<Write> = queue.writes.drain(..n).collect();
        queue.n_bytes = queue.n_bytes.saturating_sub(writes.iter().map(Write::weight).sum());
        writes
    }

    /// Judges an error: one of the command (out of memory, not allowed, read-only) leaves the connection standing. Returns whether
    /// it was taken away.
    fn failed(&self, error: &RedisError) -> bool {
        let is_end = keeper::is_end(error);
        if is_end {
            self.take_away(&error.to_string());
        } else {
            tracing::debug!(%error, "Redis refused a command");
        }
        is_end
    }

    /// Counts an answer that did not come in time.
    fn was_slow(&self) {
        if self.slow.fetch_add(1, Ordering::Relaxed) + 1 >= SLOW_IN_A_ROW {
            self.take_away("it is too slow");
        }
    }

    fn take_away(&self, reason: &str) {
        if self.connection.write().take().is_some() {
            reason.clone_into(&mut self.stats.last_reason.lock());
            self.broken.notify_one();
        }
    }

    fn set_standing(&self, standing: &Standing) {
        let before = std::mem::replace(&mut *self.standing.write(), standing.clone());
        match (&before, standing) {
            (Standing::Down(_), Standing::Up) => tracing::info!("Redis answers again"),
            (Standing::Starting | Standing::Up, Standing::Down(reason)) => {
                tracing::warn!(
                    reason,
                    "Redis is away: until it comes back answers are kept in this process only, and each node counts its share of limits"
                );
            }
            _ => {}
        }
    }
}

impl Cache for Redis {
    fn find<'a>(&'a self, key: &'a CacheKey, now: Timestamp) -> BoxFuture<'a, Option<Arc<Answer>>> {
        Box::pin(self.look(key, now))
    }

    fn keep(&self, key: &CacheKey, answer: Arc<Answer>, now: Timestamp) {
        let lifetime_ms = u64::try_from(answer.remaining(now).as_millis()).unwrap_or(u64::MAX);
        if lifetime_ms == 0 || self.0.connection.read().is_none() {
            return;
        }
        let Some(value) = seal::seal(key, &answer) else { return };
        self.0.push(Write::Answer { name: answer_name(key), value, lifetime_ms });
    }
}

impl Cooldowns for Redis {
    fn share(&self, deployment: DeploymentId, until: Timestamp) {
        self.0.push(Write::Cooldown { deployment, until });
    }
}

/// The key's text: the prefix and the name in hexadecimal digits.
fn answer_name(key: &CacheKey) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = key.name().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]);
    ANSWERS.iter().copied().chain(digits).collect()
}
