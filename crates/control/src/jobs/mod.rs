//! Recurring work, shared by all control processes of an installation: each piece is leased in the database, so exactly one
//! process does it at a time, and a process that was paused past its lease cannot finish under it.
//!
//! One file per job; every job may be run again at any time without harm.

mod audit_seal;
mod nodes;
mod price_book;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use store::StoreError;
use tokio_util::sync::CancellationToken;

use operation::cx::Cx;
use operation::error::{Outcome, chain};

/// A piece of recurring work.
struct Job {
    name: &'static str,
    every: Duration,
    /// Longer than a run ever takes; after that another process may take over.
    hold: Duration,
    run: for<'a> fn(&'a Cx) -> BoxFuture<'a, Outcome<()>>,
}

const JOBS: &[Job] = &[
    Job {
        name: "audit_seal",
        every: Duration::from_secs(10),
        hold: Duration::from_secs(60),
        run: |cx| Box::pin(audit_seal::run(cx)),
    },
    Job {
        name: "leases",
        every: Duration::from_secs(30),
        hold: Duration::from_secs(60),
        run: |cx| Box::pin(treasury::jobs::leases::run(cx)),
    },
    Job {
        name: "nodes",
        every: Duration::from_secs(10),
        hold: Duration::from_secs(60),
        run: |cx| Box::pin(nodes::run(cx)),
    },
    Job {
        name: "ledger",
        every: Duration::from_secs(3_600),
        hold: Duration::from_secs(600),
        run: |cx| Box::pin(treasury::jobs::ledger::run(cx)),
    },
    Job {
        name: "retention",
        every: Duration::from_secs(3_600),
        hold: Duration::from_secs(600),
        run: |cx| Box::pin(retention::run(cx)),
    },
    Job {
        name: "price_book",
        every: Duration::from_secs(24 * 3_600),
        hold: Duration::from_secs(600),
        run: |cx| Box::pin(price_book::run(cx)),
    },
];

/// How often the list is looked through.
const TICK: Duration = Duration::from_secs(5);

/// Runs jobs as they fall due, until told to stop. A job that fails is logged and tried again when it is next due.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    loop {
        run_due(&cx).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Runs every job that is due now, once, and returns the names of those that ran.
pub async fn run_due(cx: &Cx) -> Vec<&'static str> {
    let mut ran = Vec::new();
    for job in JOBS {
        match run_one(cx, job).await {
            Ok(true) => ran.push(job.name),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job = job.name, error = chain(&error), "a job could not be leased or given back");
            }
        }
    }
    ran
}

async fn run_one(cx: &Cx, job: &Job) -> Result<bool, StoreError> {
    let mut tx = cx.store.system().await?;
    let Some(lease) = store::jobs::claim(&mut tx, job.name, cx.now(), job.hold).await? else { return Ok(false) };
    tx.commit().await?;
    let error = (job.run)(cx).await.err().map(|failure| failure.to_string());
    if let Some(error) = &error {
        tracing::error!(job = job.name, error, "a job failed; it is tried again when it is next due");
    }
    let ended = cx.now();
    let mut tx = cx.store.system().await?;
    store::jobs::finish(&mut tx, job.name, lease, (ended, ended.plus(job.every)), error.as_deref()).await?;
    tx.commit().await?;
    Ok(true)
}
