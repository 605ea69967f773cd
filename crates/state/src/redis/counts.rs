//! Rate limits that nodes count in common: one script, one round trip for all limits of a call, by the clock of Redis.
//!
//! Keys are of an organization (also as the hash tag, so that a call's keys lie together), a keyed hash of limit and group, and the
//! rate; each ends by itself soon after it counts nothing. A call at once lasts [`LASTS`] unless its node renews it, so those of a
//! killed node free themselves. Invariant: what is not answered in time is not waited for, and what Redis refuses to do (no room, not
//! allowed) is not asked again before a trial has succeeded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::OrganizationId;
use parking_lot::{Mutex, RwLock};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError};
use throttle::joint::{Answer, BoxFuture, Common, Correction, Count, Question, Settlement, Stand};

use super::{Redis, Shared, Write};

/// How long a call at once counts without being renewed, and how often it is.
const LASTS: Duration = Duration::from_secs(20);
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long a node is believed to count here without a word.
const PRESENT: Duration = Duration::from_secs(10);
/// Most calls that are renewed in one step.
const RENEWED_AT_ONCE: usize = 128;
const NODES: &str = "headgate:nodes";

const TAKE: &str = include_str!("scripts/take.lua");
const SETTLE: &str = include_str!("scripts/settle.lua");
const RENEW: &str = include_str!("scripts/renew.lua");
const ENTER: &str = include_str!("scripts/enter.lua");

/// The names that Redis gives the scripts.
#[derive(Debug, Default)]
struct Names {
    take: String,
    settle: String,
    renew: String,
}

/// A call at once: its tenant, and the counters that it stands in.
type Live = (OrganizationId, Vec<Vec<u8>>);

/// What this process knows of the counters.
#[derive(Debug)]
pub(super) struct Counts {
    names: RwLock<Arc<Names>>,
    /// How many nodes count here; 0 while it cannot be asked.
    members: AtomicU32,
    /// This process among others: the upper half of its tickets.
    pub(super) process: u32,
    next: AtomicU64,
    /// The calls at once, and their counters.
    live: Mutex<HashMap<u64, Live>>,
    trouble: Mutex<Option<String>>,
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Not answered in time, or not done.
    pub(super) failed: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        let mut random = [0; 4];
        // Without random bits two processes might take each other's calls at once for their own; the address differs as well.
        if aws_lc_rs::rand::fill(&mut random).is_err() {
            random = std::process::id().to_le_bytes();
        }
        Self {
            names: RwLock::default(),
            members: AtomicU32::new(0),
            process: u32::from_le_bytes(random),
            next: AtomicU64::new(0),
            live: Mutex::default(),
            trouble: Mutex::default(),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn key(organization: OrganizationId, count: &Count) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut key = format!("headgate:rate:{{{organization}}}:").into_bytes();
    key.extend(count.mark.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    let per = count.rate.per.map_or("at_once", |per| per.as_str());
    key.extend(format!(":{}:{per}", count.rate.measure).as_bytes());
    key
}

fn evalsha<'a>(name: &str, keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(name).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    command
}

impl Counts {
    fn ticket(&self) -> u64 {
        let low = self.next.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX);
        u64::from(self.process) << 32 | low
    }

    /// Says why limits are not counted in common although Redis answers.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Nobody asks until a trial has succeeded.
    pub(super) fn pause(&self, reason: Option<&str>) {
        self.members.store(0, Ordering::Relaxed);
        if let Some(reason) = reason {
            let mut trouble = self.trouble.lock();
            if trouble.is_none() {
                tracing::warn!(reason, "Redis does not count rate limits: each node counts its share until it does");
            }
            *trouble = Some(reason.to_owned());
        }
    }

    /// Makes the scripts known, after which they go by their names.
    pub(super) async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut names = Names::default();
        for (name, text) in [(&mut names.take, TAKE), (&mut names.settle, SETTLE), (&mut names.renew, RENEW)] {
            *name = redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(connection).await?;
        }
        *self.names.write() = Arc::new(names);
        Ok(())
    }

    /// Says that this node counts here; it is also the trial that allows calls to ask.
    pub(super) async fn enter(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.names.read().take.is_empty() || self.trouble.lock().is_some() {
            self.load(connection).await?;
        }
        let mut enter = redis::cmd("EVAL");
        enter.arg(ENTER).arg(1).arg(NODES).arg(self.process).arg(millis(PRESENT));
        let members: u32 = enter.query_async(connection).await?;
        if self.trouble.lock().take().is_some() {
            tracing::info!("Redis counts rate limits again");
        }
        self.members.store(members, Ordering::Relaxed);
        Ok(())
    }

    /// Says that this node counts here no more.
    pub(super) async fn leave(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        self.pause(None);
        redis::cmd("ZREM").arg(NODES).arg(self.process).query_async(connection).await
    }

    /// Lets the calls at once of this node count on.
    pub(super) async fn renew(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        // In a cluster keys of several organizations do not lie together.
        let mut by_organization: HashMap<OrganizationId, Vec<(u64, Vec<u8>)>> = HashMap::new();
        for (ticket, (organization, keys)) in &*self.live.lock() {
            let of = by_organization.entry(*organization).or_default();
            of.extend(keys.iter().map(|key| (*ticket, key.clone())));
        }
        let name = self.names.read().renew.clone();
        for some in by_organization.values().flat_map(|live| live.chunks(RENEWED_AT_ONCE)) {
            let mut renew = evalsha(&name, some.iter().map(|(_, key)| &**key));
            renew.arg(millis(LASTS));
            for (ticket, _) in some {
                renew.arg(*ticket);
            }
            renew.query_async::<()>(connection).await?;
        }
        Ok(())
    }

    /// Writes what is to be put right as a command.
    pub(super) fn correction(&self, settlement: &Settlement) -> Cmd {
        let keys: Vec<Vec<u8>> =
            settlement.corrections.iter().map(|it| key(settlement.organization, &it.count)).collect();
        let mut command = evalsha(&self.names.read().settle, keys.iter().map(|key| &**key));
        command.arg(settlement.ticket.unwrap_or(0));
        for it in &settlement.corrections {
            let slot = it.slot.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(-1);
            command.arg(it.count.slot_us()).arg(slot).arg(it.count.amount).arg(it.used);
        }
        command
    }
}

impl Shared {
    /// Asks the counters, for as long as a call may wait.
    async fn ask(&self, question: &Question, mode: &str, ticket: u64) -> Option<Vec<i64>> {
        let mut connection = self.connection.read().clone()?;
        let keys: Vec<Vec<u8>> = question.counts.iter().map(|count| key(question.organization, count)).collect();
        let mut place = Place { shared: self, question, ticket, is_known: true };
        if mode == "take" && question.counts.iter().any(Count::is_at_once) {
            // Before it is asked: a call that is given up while it waits is then let go, whatever Redis made of it.
            let of = |(count, key): (&Count, &Vec<u8>)| count.is_at_once().then(|| key.clone());
            let at_once: Vec<Vec<u8>> = question.counts.iter().zip(&keys).filter_map(of).collect();
            self.counts.live.lock().insert(ticket, (question.organization, at_once));
            place.is_known = false;
        }
        let asked_at = Instant::now();
        let asking = self.ask_of(&mut connection, question, &keys, (mode, ticket));
        let asked = tokio::time::timeout(self.within, asking).await;
        self.stats.took(asked_at.elapsed());
        match asked {
            Ok(Ok(answer)) => {
                self.slow.store(0, Ordering::Relaxed);
                if answer.first() != Some(&1) {
                    self.counts.live.lock().remove(&ticket);
                }
                place.is_known = true;
                return Some(answer);
            }
            Ok(Err(error)) => {
                let reason = (!self.failed(&error)).then(|| error.to_string());
                self.counts.pause(reason.as_deref());
            }
            Err(_) => self.was_slow(),
        }
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        None
    }

    async fn ask_of(
        &self,
        connection: &mut MultiplexedConnection,
        question: &Question,
        keys: &[Vec<u8>],
        (mode, ticket): (&str, u64),
    ) -> Result<Vec<i64>, RedisError> {
        let command = |name: &str| {
            let mut command = evalsha(name, keys.iter().map(|key| &**key));
            command.arg(mode).arg(ticket).arg(millis(LASTS));
            for count in &question.counts {
                command.arg(count.slot_us()).arg(count.part).arg(count.amount);
            }
            command
        };
        let names = Arc::clone(&self.counts.names.read());
        match command(&names.take).query_async(connection).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.counts.load(connection).await?;
                let names = Arc::clone(&self.counts.names.read());
                command(&names.take).query_async(connection).await
            }
            answered => answered,
        }
    }

    fn settle(&self, settlement: Settlement) {
        if let Some(ticket) = settlement.ticket {
            self.counts.live.lock().remove(&ticket);
        }
        self.push(Write::Settlement(settlement));
    }
}

/// The place of a call among those at once, until it is known whether it has one.
struct Place<'a> {
    shared: &'a Shared,
    question: &'a Question,
    ticket: u64,
    is_known: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_known {
            return;
        }
        let Question { organization, counts } = self.question;
        let of = |count: &Count| Correction { count: *count, slot: Some(0), used: 0 };
        let corrections = counts.iter().filter(|count| count.is_at_once()).map(of).collect();
        self.shared.settle(Settlement { organization: *organization, ticket: Some(self.ticket), corrections });
    }
}

fn stands(numbers: &[i64]) -> Option<Vec<Stand>> {
    let stand = |three: &[i64]| {
        let [slot, used, reset] = three else { return None };
        Some(Stand {
            slot: u64::try_from(*slot).ok()?,
            used: u64::try_from(*used).unwrap_or(0),
            reset: Duration::from_micros(u64::try_from(*reset).unwrap_or(0)),
        })
    };
    numbers.chunks(3).map(stand).collect()
}

impl Common for Redis {
    fn members(&self) -> Option<u32> {
        let members = self.0.counts.members.load(Ordering::Relaxed);
        (members > 0 && self.0.connection.read().is_some()).then_some(members)
    }

    fn take(&self, question: Question) -> BoxFuture<'_, Option<Answer>> {
        Box::pin(async move {
            let counts = &self.0.counts;
            let ticket = counts.ticket();
            let answer = self.0.ask(&question, "take", ticket).await?;
            match answer.split_first()? {
                (1, rest) => {
                    counts.taken.fetch_add(1, Ordering::Relaxed);
                    Some(Answer::Taken { ticket, stands: stands(rest)? })
                }
                (_, [at, wait]) => {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    let wait = Duration::from_micros(u64::try_from(*wait).unwrap_or(0));
                    Some(Answer::Refused { at: usize::try_from(*at).ok()?.checked_sub(1)?, wait })
                }
                _ => None,
            }
        })
    }

    fn look(&self, question: Question) -> BoxFuture<'_, Option<Vec<Stand>>> {
        Box::pin(async move {
            let answer = self.0.ask(&question, "look", 0).await?;
            let (_, rest) = answer.split_first()?;
            stands(rest).filter(|stands| stands.len() == question.counts.len())
        })
    }

    fn settle(&self, settlement: Settlement) {
        self.0.settle(settlement);
    }
}
