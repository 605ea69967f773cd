//! Keeps usage events from the request until the control plane has them, through crashes and full disks.
//!
//! A request thread writes its event itself, before it hands out the last byte of the answer: one short write that no crash of
//! the process takes back. A thread forces writes to the disk in groups, apart because a sync may take a second on a busy
//! disk. What the disk refuses waits in a bounded buffer, and another thread tries it again. Not exactly-once by itself: the
//! ledger drops what it has seen. Invariant: an event is either on disk, in the buffer, acknowledged, or counted as lost.

mod age;
mod boots;
mod log;
mod read;
mod segment;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use domain::NodeId;
use domain::usage::UsageEvent;
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use tokio::sync::Notify;

use super::event::{Entry, OpenedCall};
use crate::SinkFull;
use age::Ages;
use log::{Bounds, Log};
use read::Cursor;

pub use log::Recovered;
pub use read::Batch;

/// Longest time between a write and its sync.
const SYNC_EVERY: Duration = Duration::from_millis(50);
/// Bytes after which a sync does not wait.
const SYNC_BYTES: u64 = 1024 * 1024;
/// The part of the disk space that is kept for calls in flight once the spool counts as full.
const HEADROOM: u64 = 16;
/// Pause before a write is tried again that the disk refused.
const RETRY: Duration = Duration::from_millis(100);

/// Settings of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Most bytes on disk; what comes after is lost, counted and reported.
    pub max_bytes: u64,
    /// Length after which a new file is begun.
    pub segment_bytes: u64,
    /// Most events in memory, waiting for the disk.
    pub max_queued: usize,
    /// When written events are forced to the disk.
    pub sync: SyncPolicy,
}

/// When written events are forced to the disk. A crash of the process alone loses nothing that was written; this is about the
/// machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPolicy {
    /// As soon as the disk is free, whatever was written meanwhile with it.
    Always,
    /// Every 50 ms or 1 MiB.
    Group,
    /// When the operating system likes.
    Os,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * 1024 * 1024,
            segment_bytes: 8 * 1024 * 1024,
            max_queued: 65_536,
            sync: SyncPolicy::Group,
        }
    }
}

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("the usage spool in {} cannot be used; check that the folder is writable and has room", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the writer.
    #[error("the thread of the usage spool could not be started")]
    Thread(#[source] io::Error),
}

/// What the spool holds, for metrics and health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolState {
    /// Events waiting for the disk.
    pub queued_events: usize,
    /// Events on disk that are not acknowledged.
    pub pending_events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// How long the oldest event has waited for its acknowledgement; of what a former life left, how long this one has known.
    pub oldest: Duration,
    /// Whether the next event may be lost.
    pub is_full: bool,
    /// Calls that were opened and have not ended.
    pub open_calls: usize,
    /// Events this boot has lost.
    pub lost_events: u64,
    /// Events the ledger refused for good; kept in `refused`.
    pub refused_events: u64,
    /// The disk refuses writes at the moment.
    pub is_failing: bool,
}

/// The spool of one node. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    log: Mutex<Log>,
    ages: Mutex<Ages>,
    unsynced: Mutex<Unsynced>,
    unsynced_wake: Condvar,
    written: Notify,
    config: SpoolConfig,
    boot: u128,
    former_boots: Vec<u128>,
    recovered: Recovered,
    refused_dir: PathBuf,
    lost_in_queue: AtomicU64,
    refused: AtomicU64,
    is_failing: AtomicBool,
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    is_closed: bool,
}

impl Spool {
    /// Opens the spool in a folder of its own and starts its writer. `boot` is a fresh UUIDv7, so that boots sort by age.
    pub fn open(dir: &Path, node: NodeId, boot: u128, config: SpoolConfig) -> Result<Self, OpenError> {
        let bounds = Bounds {
            max_bytes: config.max_bytes,
            segment_bytes: config.segment_bytes,
            is_synced: config.sync != SyncPolicy::Os,
        };
        let refuse = |source| OpenError::Folder { dir: dir.to_owned(), source };
        let (log, recovered) = Log::open(dir, node, boot, bounds).map_err(refuse)?;
        let former_boots = boots::note(dir, boot).map_err(refuse)?;
        if recovered != Recovered::default() {
            tracing::info!(?recovered, "usage spool: found what a former life left");
        }
        if recovered.damaged + recovered.unreadable > 0 {
            tracing::error!(
                spool.damaged = recovered.damaged,
                spool.unreadable = recovered.unreadable,
                "usage spool: damaged files; sound events are reported, the files are kept in quarantine"
            );
        }
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            log: Mutex::new(log),
            ages: Mutex::new(Ages::new(Instant::now())),
            unsynced: Mutex::default(),
            unsynced_wake: Condvar::new(),
            written: Notify::new(),
            config,
            boot,
            former_boots,
            recovered,
            refused_dir: dir.join("refused"),
            lost_in_queue: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        });
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let own = Arc::clone(&shared);
        let syncer = named("usage.sync").spawn(move || own.sync_until_closed()).map_err(OpenError::Thread)?;
        let own = Arc::clone(&shared);
        let writer = named("usage.spool").spawn(move || own.write_until_closed()).map_err(OpenError::Thread)?;
        Ok(Self { shared, threads: Arc::new(Mutex::new(vec![writer, syncer])) })
    }

    /// Notes that a call is about to be sent upstream, so that a crash leaves a trace of it.
    ///
    /// Written before it returns (one write, no sync): a process that is killed in the same millisecond has told its disk of
    /// every call that an upstream saw. A note that the disk refuses waits with the events; one that finds no room is dropped,
    /// since the event itself counts.
    pub fn opened(&self, call: OpenedCall) {
        let entry = Entry::Opened(call);
        if self.shared.log.lock().append(std::slice::from_ref(&entry)).is_err() {
            let _no_room = self.shared.push(entry);
        }
    }

    /// Keeps what several calls tell at once, in the order given: as [`Spool::opened`] and [`Spool::record`] do, but in one
    /// write. Leaves the vector empty. Returns how many events are lost.
    pub fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        if self.shared.is_idle() && self.shared.write(entries) {
            entries.clear();
            return 0;
        }
        let mut n_lost = 0;
        for entry in entries.drain(..) {
            let is_event = matches!(entry, Entry::Ended(_));
            if self.shared.push(entry).is_err() {
                n_lost += u64::from(is_event);
            }
        }
        self.shared.lost_in_queue.fetch_add(n_lost, Ordering::Relaxed);
        n_lost
    }

    /// Keeps the event of a call: written when it returns (one write, no sync), so that an answer whose last byte goes out
    /// afterwards is in the ledger whatever becomes of the process. An event that the disk refuses waits in memory. Errors:
    /// `SinkFull`, counted as lost.
    pub fn record(&self, event: UsageEvent) -> Result<(), SinkFull> {
        let entry = Entry::Ended(Box::new(event));
        let taken = if self.shared.is_idle() && self.shared.write(std::slice::from_ref(&entry)) {
            Ok(())
        } else {
            self.shared.push(entry)
        };
        if taken.is_err() {
            self.shared.lost_in_queue.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Says whether the next event may be lost: reason to refuse calls that must be billed. Room for calls in flight is kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Relaxed)
            || self.shared.is_failing.load(Ordering::Relaxed) && self.shared.is_queue_full()
    }

    /// Returns what a former life of the node left.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.shared.recovered
    }

    /// Returns this life of the node.
    #[must_use]
    pub fn boot(&self) -> u128 {
        self.shared.boot
    }

    /// Returns the former lives of which everything is acknowledged.
    #[must_use]
    pub fn delivered_boots(&self) -> Vec<u128> {
        let log = self.shared.log.lock();
        self.shared.former_boots.iter().copied().filter(|boot| !log.is_pending(*boot)).collect()
    }

    /// Returns the sequence of the last event of this life; `None` while some wait for the disk.
    #[must_use]
    pub fn last_written(&self) -> Option<u64> {
        // In this order: an event leaves the buffer only after it is in the log.
        let is_idle = self.shared.is_idle();
        is_idle.then(|| self.shared.log.lock().last_sequence())
    }

    /// Returns the sequence up to which the ledger has all events of this life.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.log.lock().acknowledged()
    }

    /// Returns what the spool holds.
    #[must_use]
    pub fn state(&self) -> SpoolState {
        let queued_events = self.shared.queue.lock().entries.len();
        let is_full = self.is_full();
        let log = self.shared.log.lock();
        SpoolState {
            queued_events,
            pending_events: log.n_pending(),
            bytes: log.len(),
            oldest: self.shared.ages.lock().oldest(log.acknowledged(), log.n_pending(), Instant::now()),
            is_full,
            open_calls: log.n_open(),
            lost_events: log.lost(self.shared.boot) + self.shared.lost_in_queue.load(Ordering::Relaxed),
            refused_events: self.shared.refused.load(Ordering::Relaxed),
            is_failing: self.shared.is_failing.load(Ordering::Relaxed),
        }
    }

    /// Returns a reader that begins with the oldest event that is not acknowledged.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared), cursor: Cursor::default() }
    }

    /// Returns how many events a boot has lost.
    #[must_use]
    pub fn lost(&self, boot: u128) -> u64 {
        let queued = if boot == self.shared.boot { self.shared.lost_in_queue.load(Ordering::Relaxed) } else { 0 };
        self.shared.log.lock().lost(boot) + queued
    }

    /// Waits until something was written since the last call; may wake for nothing.
    pub async fn written(&self) {
        self.shared.written.notified().await;
    }

    /// Notes that the ledger has everything of a boot up to a sequence. Blocks on the disk.
    pub fn acknowledge(&self, boot: u128, watermark: u64) -> io::Result<()> {
        let mut log = self.shared.log.lock();
        let cleanup = log.acknowledge(boot, watermark)?;
        self.shared.is_full.store(self.shared.is_nearly_full(&log), Ordering::Relaxed);
        drop(log);
        cleanup.run()
    }

    /// Keeps an event aside that the ledger will never take. Blocks on the disk.
    pub fn keep_refused(&self, boot: u128, sequence: u64, reason: &str, event: &[u8]) -> io::Result<()> {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        log::keep_refused(&self.shared.refused_dir, boot, sequence, reason, event)
    }

    /// Writes and syncs what is buffered and stops both threads. Events recorded afterwards are lost and counted. Blocks.
    pub fn close(&self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.wake.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("usage spool: a thread panicked; what was buffered is lost");
            }
        }
    }
}

/// Reads events in order, oldest boot first. Blocks on the disk, so it runs where blocking is allowed.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    cursor: Cursor,
}

impl Reader {
    /// Reads the next events; `None` when all that is written has been read.
    pub fn next(&mut self, max_events: usize) -> io::Result<Option<Batch>> {
        let files = self.shared.log.lock().unread(&self.cursor);
        read::read(&files, &mut self.cursor, max_events)
    }

    /// Goes back to the oldest event that is not acknowledged.
    pub fn rewind(&mut self) {
        self.cursor = Cursor::default();
    }
}

impl Shared {
    /// Says whether nothing waits that has to be written first.
    fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.entries.is_empty() && !queue.is_closed && !self.is_failing.load(Ordering::Relaxed)
    }

    fn push(&self, entry: Entry) -> Result<(), SinkFull> {
        let mut queue = self.queue.lock();
        if queue.is_closed || queue.entries.len() >= self.config.max_queued {
            return Err(SinkFull);
        }
        // The writer sleeps only while the buffer is empty, so only the first entry has to wake it.
        let is_first = queue.entries.is_empty();
        queue.entries.push(entry);
        drop(queue);
        if is_first {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn is_nearly_full(&self, log: &Log) -> bool {
        let headroom = self.config.max_bytes / HEADROOM;
        log.len() + headroom >= self.config.max_bytes
    }

    fn is_queue_full(&self) -> bool {
        self.queue.lock().entries.len() + self.config.max_queued / 16 >= self.config.max_queued
    }

    fn write_until_closed(&self) {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let is_closed = self.wait(&mut entries);
            if !entries.is_empty() {
                if self.write(&entries) {
                    entries.clear();
                } else if is_closed {
                    self.give_up(&entries);
                    break;
                } else {
                    thread::sleep(RETRY);
                    continue;
                }
            }
            if is_closed && self.queue.lock().entries.is_empty() {
                break;
            }
        }
        self.unsynced.lock().is_closed = true;
        self.unsynced_wake.notify_all();
        self.sync();
        if let Err(error) = self.log.lock().close() {
            tracing::warn!(%error, "usage spool: the last file stays; it is read at the next start");
        }
    }

    /// Waits for entries and takes them all. Returns whether the spool is closed.
    fn wait(&self, entries: &mut Vec<Entry>) -> bool {
        let mut queue = self.queue.lock();
        if entries.is_empty() {
            while queue.entries.is_empty() && !queue.is_closed {
                self.wake.wait(&mut queue);
            }
            std::mem::swap(entries, &mut queue.entries);
        }
        queue.is_closed
    }

    fn write(&self, entries: &[Entry]) -> bool {
        let mut log = self.log.lock();
        match log.append(entries) {
            Ok(done) => {
                self.is_full.store(done.lost > 0 || self.is_nearly_full(&log), Ordering::Relaxed);
                if done.events > 0 {
                    self.ages.lock().wrote(log.last_sequence(), Instant::now());
                }
                drop(log);
                let is_news = done.events + done.lost > 0;
                if done.lost > 0 {
                    tracing::error!(
                        spool.lost = done.lost,
                        "usage spool: full, events are lost; connect the control plane or raise spool_max"
                    );
                }
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("usage spool: the disk takes writes again");
                }
                // What was only opened is of no interest to the ledger.
                if is_news {
                    self.note_unsynced(done.bytes);
                    self.written.notify_one();
                }
                true
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "usage spool: the disk refuses writes; events wait in memory");
                }
                false
            }
        }
    }

    /// Wakes the syncing thread for the first byte, and once more when there are enough.
    fn note_unsynced(&self, n_bytes: u64) {
        let mut unsynced = self.unsynced.lock();
        let before = unsynced.bytes;
        unsynced.bytes += n_bytes;
        let is_first = unsynced.since.is_none();
        unsynced.since.get_or_insert_with(Instant::now);
        let is_enough = before < SYNC_BYTES && unsynced.bytes >= SYNC_BYTES;
        drop(unsynced);
        if is_first || is_enough {
            self.unsynced_wake.notify_one();
        }
    }

    fn give_up(&self, entries: &[Entry]) {
        let n_events = entries.iter().filter(|entry| matches!(entry, Entry::Ended(_))).count();
        tracing::error!(spool.lost = n_events, "usage spool: events could not be written before the stop");
        self.log.lock().lose(n_events as u64);
    }

    /// Forces writes to the disk in groups, on a thread of its own.
    fn sync_until_closed(&self) {
        let every = match self.config.sync {
            SyncPolicy::Always => Duration::ZERO,
            SyncPolicy::Group => SYNC_EVERY,
            SyncPolicy::Os => return,
        };
        while self.wait_until_due(every) {
            self.sync();
        }
    }

    /// Waits until enough or old enough writes are not synced. Returns false when the spool is closed.
    fn wait_until_due(&self, every: Duration) -> bool {
        let mut unsynced = self.unsynced.lock();
        while !unsynced.is_closed && unsynced.bytes < SYNC_BYTES {
            match unsynced.since {
                None => self.unsynced_wake.wait(&mut unsynced),
                Some(since) => {
                    if self.unsynced_wake.wait_until(&mut unsynced, since + every).timed_out() {
                        break;
                    }
                }
            }
        }
        !unsynced.is_closed
    }

    fn sync(&self) {
        let mut unsynced = self.unsynced.lock();
        unsynced.bytes = 0;
        unsynced.since = None;
        drop(unsynced);
        let (file, dir) = self.log.lock().unsynced();
        let synced = file.map_or(Ok(()), |file| file.sync_data()).and(dir.map_or(Ok(()), |dir| log::sync_dir(&dir)));
        if let Err(error) = synced {
            tracing::error!(%error, "usage spool: the disk did not confirm a write");
        }
    }
}

/// What was written and not yet synced.
#[derive(Debug, Default)]
struct Unsynced {
    bytes: u64,
    since: Option<Instant>,
    is_closed: bool,
}

#[cfg(test)]
mod tests;
