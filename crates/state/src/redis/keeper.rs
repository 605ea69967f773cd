//! The task that keeps the connection: makes it, watches it, makes it anew, and writes what is queued.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{Clock, DeploymentId, Timestamp};
use futures_util::{Stream, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError};
use tokio_util::sync::CancellationToken;

use super::counts::{self, Counts};
use super::cries::{self, Ear};
use super::{COOLDOWNS, Shared, Standing, Write};
use crate::cooldown::Listener;

/// The longest that making a connection may take, and each command of the keeper's own.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const COMMAND_WITHIN: Duration = Duration::from_secs(1);
/// Pauses between two tries, from the first on.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often the connection is tried and the others' cooldowns are read.
const BEAT: Duration = Duration::from_secs(1);
/// Most writes that are sent at once, and most cooldowns that are read.
const BATCH: usize = 64;
const MAX_COOLDOWNS: usize = 1_000;
/// How long Redis keeps the set of cooldowns after the last was added, in milliseconds.
const COOLDOWNS_LAST_MS: u64 = 3_600_000;

/// Keeps the connection. Run it until the process ends.
pub struct Keeper {
    client: Client,
    shared: Arc<Shared>,
    ear: Option<Ear>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    pub(super) const fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared, ear: None }
    }

    /// Has somebody hear what other nodes cry.
    #[must_use]
    pub fn hearing(self, ear: Ear) -> Self {
        Self { ear: Some(ear), ..self }
    }

    /// Runs until the stop signal. `listener` hears of every cooldown that stands, again and again.
    pub async fn run(self, clock: Arc<dyn Clock>, listener: Listener, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let reason = match self.connect(clock.now()).await {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    *self.shared.connection.write() = Some(connection.clone());
                    self.shared.slow.store(0, Ordering::Relaxed);
                    self.shared.set_standing(&Standing::Up);
                    let ended = self.serve(connection.clone(), clock.as_ref(), &listener, &stop).await;
                    if stop.is_cancelled() {
                        self.leave(connection).await;
                    }
                    self.shared.counts.pause(None);
                    self.shared.connection.write().take();
                    ended.err().map(|error| error.to_string())
                }
                Err(error) => Some(error.to_string()),
            };
            if stop.is_cancelled() {
                return;
            }
            let reason = reason.unwrap_or_else(|| self.shared.stats.last_reason.lock().clone());
            self.shared.set_standing(&Standing::Down(reason));
            // What waited to be written is of no use to anybody by the time Redis is back.
            drop(self.shared.pop(usize::MAX));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// Makes a connection and has it answer once.
    async fn connect(&self, now: Timestamp) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(COMMAND_WITHIN));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        within(redis::cmd("PING").query_async::<()>(&mut connection)).await?;
        tracing::debug!(at = now.as_micros(), "connected to Redis");
        Ok(connection)
    }

    /// Serves until the connection is of no use; `Ok` when somebody else took it away or it is time to stop.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        clock: &dyn Clock,
        listener: &Listener,
        stop: &CancellationToken,
    ) -> Result<(), RedisError> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed_at = tokio::time::Instant::now();
        // Whoever may not listen does without.
        let mut cries = match &self.ear {
            Some(_) => {
                tokio::time::timeout(CONNECT_WITHIN, cries::listen(&self.client)).await.ok().and_then(Result::ok)
            }
            None => None,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.shared.broken.notified() => {
                    if self.shared.connection.read().is_none() {
                        return Ok(());
                    }
                }
                _ = beat.tick() => {
                    for (deployment, until) in read_cooldowns(&mut connection, clock.now()).await? {
                        listener(deployment, until);
                    }
                    self.count(&mut connection).await?;
                    if renewed_at.elapsed() >= counts::RENEW_EVERY {
                        renewed_at = tokio::time::Instant::now();
                        self.hear(within(self.shared.counts.renew(&mut connection)).await)?;
                    }
                }
                cry = next(&mut cries) => match (cry, &self.ear) {
                    (Some(text), Some(ear)) => {
                        if let Some(word) = cries::heard(self.shared.counts.process, &text) {
                            ear(word);
                        }
                    }
                    // The ticks of before are still there.
                    _ => cries = None,
                },
                () = self.shared.queued.notified() => self.write_queued(&mut connection, clock.now()).await?,
            }
        }
    }

    /// Says that this node counts rate limits here.
    async fn count(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let entered = within(self.shared.counts.enter(connection)).await;
        self.hear(entered)
    }

    /// Passes an error on that ends the connection; after another nobody asks the counters until the next trial.
    fn hear(&self, done: Result<(), RedisError>) -> Result<(), RedisError> {
        match done {
            Err(error) if is_end(&error) => Err(error),
            Err(error) => {
                self.shared.counts.pause(Some(&error.to_string()));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Leaves in order: what waits is written, and the others are told.
    async fn leave(&self, mut connection: MultiplexedConnection) {
        let writes = self.shared.pop(usize::MAX);
        if !writes.is_empty() {
            drop(
                within(
                    pipeline(&self.shared.counts, writes, Timestamp::from_micros(0)).query_async::<()>(&mut connection),
                )
                .await,
            );
        }
        drop(within(self.shared.counts.leave(&mut connection)).await);
    }

    async fn write_queued(&self, connection: &mut MultiplexedConnection, now: Timestamp) -> Result<(), RedisError> {
        loop {
            let writes = self.shared.pop(BATCH);
            if writes.is_empty() {
                return Ok(());
            }
            let n = writes.len() as u64;
            match within(pipeline(&self.shared.counts, writes, now).query_async::<()>(connection)).await {
                Ok(()) => self.shared.stats.written.fetch_add(n, Ordering::Relaxed),
                Err(error) if is_end(&error) => return Err(error),
                Err(error) => {
                    if error.code() == Some("NOSCRIPT") {
                        self.hear(within(self.shared.counts.load(connection)).await)?;
                    }
                    tracing::debug!(%error, "Redis refused to keep something");
                    self.shared.stats.skipped.fetch_add(n, Ordering::Relaxed)
                }
            };
        }
    }
}

fn pipeline(counts: &Counts, writes: Vec<Write>, now: Timestamp) -> Pipeline {
    let mut pipeline = redis::pipe();
    for write in writes {
        match write {
            Write::Answer { name, value, lifetime_ms } => {
                pipeline.cmd("SET").arg(name).arg(value).arg("PX").arg(lifetime_ms).ignore();
            }
            Write::Cooldown { deployment, until } => {
                let (until, now) = (until.as_millis(), now.as_millis());
                pipeline.cmd("ZADD").arg(COOLDOWNS).arg("GT").arg(until).arg(deployment.to_string()).ignore();
                pipeline.cmd("ZREMRANGEBYSCORE").arg(COOLDOWNS).arg("-inf").arg(now).ignore();
                pipeline.cmd("PEXPIRE").arg(COOLDOWNS).arg(COOLDOWNS_LAST_MS).ignore();
            }
            Write::Cry(word) => {
                pipeline.add_command(cries::publish(counts.process, word)).ignore();
            }
            Write::Settlement(settlement) => {
                pipeline.add_command(counts.correction(&settlement)).ignore();
            }
        }
    }
    pipeline
}

/// Returns the next cry, or waits for ever where nobody listens.
async fn next(cries: &mut Option<impl Stream<Item = String> + Unpin>) -> Option<String> {
    match cries {
        Some(cries) => cries.next().await,
        None => std::future::pending().await,
    }
}

/// Reads the cooldowns that stand; it is also how a dead connection is noticed while nobody calls.
async fn read_cooldowns(
    connection: &mut MultiplexedConnection,
    now: Timestamp,
) -> Result<Vec<(DeploymentId, Timestamp)>, RedisError> {
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(COOLDOWNS).arg(now.as_millis()).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(MAX_COOLDOWNS);
    let read: Vec<(String, f64)> = match within(range.query_async(connection)).await {
        Ok(read) => read,
        Err(error) if is_end(&error) => return Err(error),
        // Not allowed, or not a set: no cooldowns then, but answers still.
        Err(_) => Vec::new(),
    };
    let known = read.into_iter().filter_map(|(text, until)| {
        let until = Duration::try_from_secs_f64(until / 1_000.0).ok()?;
        Some((text.parse().ok()?, Timestamp::from_micros(0).plus(until)))
    });
    Ok(known.collect())
}

/// Whether the connection is of no further use.
pub(super) fn is_end(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() || error.is_timeout()
}

async fn within<T>(command: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(COMMAND_WITHIN, command).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
