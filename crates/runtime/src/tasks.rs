//! Named background work that stops in order: a soft signal first, a hard deadline after it.
//!
//! Every task has a name, an owner (a [`Group`]) and a stop signal. Invariant: a panic in a task never goes unseen. It ends
//! the process through [`fatal`], so that a half-dead server does not keep answering.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

static FATAL: OnceLock<CancellationToken> = OnceLock::new();

/// Returns the token that a panicking task cancels. The executable waits for it, drains and exits with an error.
///
/// Until the first call nobody is waiting, and a panic aborts the process at once.
pub fn fatal() -> CancellationToken {
    FATAL.get_or_init(CancellationToken::new).clone()
}

fn report_panic(name: &'static str, payload: &(dyn Any + Send)) {
    let reason = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned());
    tracing::error!(task.name = name, panic = reason, "task panicked; the process ends");
    match FATAL.get() {
        Some(token) => token.cancel(),
        None => std::process::abort(),
    }
}

/// Spawns `future` on the current runtime under a name.
///
/// The result is `None` when the task panicked or was aborted; a panic also trips [`fatal`].
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    tokio::spawn(watch(name, future))
}

/// Spawns a future that stays on this thread; only inside a `LocalSet` or a local runtime.
pub fn spawn_local<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    tokio::task::spawn_local(watch(name, future))
}

/// Runs `work` on the pool for blocking calls (password hashing, file synchronisation).
///
/// Errors: `None` when the work panicked, which also trips [`fatal`], or when the runtime is shutting down.
pub async fn blocking<T: Send + 'static>(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    let handle = tokio::task::spawn_blocking(work);
    match handle.await {
        Ok(value) => Some(value),
        Err(failure) => {
            if let Ok(payload) = failure.try_into_panic() {
                report_panic(name, payload.as_ref());
            }
            None
        }
    }
}

/// Not an async function: it would have room for `future` twice, as what it was given and as what it waits for.
fn watch<F: Future>(name: &'static str, future: F) -> impl Future<Output = Option<F::Output>> {
    AssertUnwindSafe(future).catch_unwind().map(move |outcome| match outcome {
        Ok(value) => Some(value),
        Err(payload) => {
            report_panic(name, payload.as_ref());
            None
        }
    })
}

type Named = (&'static str, JoinHandle<()>);

/// The background work of one owner. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Group {
    stop: CancellationToken,
    running: Arc<Mutex<Vec<Named>>>,
}

/// What was left when a group had to be cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// Names of the tasks that did not stop by themselves; empty after a clean drain.
    pub cut_off: Vec<&'static str>,
}

impl Group {
    /// Makes an empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the soft stop signal: take no new work, finish what is under way.
    #[must_use]
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Spawns a task of this group; it gets the soft stop signal.
    pub fn spawn<F>(&self, name: &'static str, make: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = make(self.stop.clone());
        #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
        let handle = tokio::spawn(async move {
            watch(name, future).await;
        });
        let mut running = self.running.lock();
        running.retain(|(_, task)| !task.is_finished());
        running.push((name, handle));
    }

    /// Sends the soft signal, waits up to `grace` for every task, then aborts the rest.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + grace;
        let mut cut_off = Vec::new();
        let tasks = std::mem::take(&mut *self.running.lock());
        for (name, mut task) in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                cut_off.push(name);
            }
        }
        if !cut_off.is_empty() {
            tracing::warn!(tasks = ?cut_off, grace_ms = grace.as_millis(), "tasks did not stop in time and were cut off");
        }
        Drained { cut_off }
    }
}

/// Takes SIGTERM and SIGINT from now on; what is returned waits for the first of them and names it.
///
/// Until it is called either ends the process where it stands: call it before anybody is told that the process is ready, and so
/// may be told to stop. Errors: the signal handler cannot be installed.
pub fn take_signals() -> std::io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_heeds_the_signal_is_not_cut_off() {
        let group = Group::new();
        group.spawn("heeds", |stop| async move { stop.cancelled().await });
        assert_eq!(group.drain(Duration::from_secs(1)).await, Drained { cut_off: vec![] });
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_cut_off_at_the_deadline() {
        let group = Group::new();
        let (dropped, gone) = tokio::sync::oneshot::channel::<()>();
        group.spawn("stubborn", |_| async move {
            let _held = dropped;
            std::future::pending::<()>().await;
        });
        assert_eq!(group.drain(Duration::from_secs(1)).await, Drained { cut_off: vec!["stubborn"] });
        assert!(gone.await.is_err(), "the aborted task drops what it held");
    }

    #[tokio::test]
    async fn a_panic_trips_the_fatal_token() {
        let fatal = fatal();
        let result = spawn("panics", async { panic!("as asked") }).await.expect("joins");
        let result: Option<()> = result;
        assert!(result.is_none());
        fatal.cancelled().await;
    }
}
