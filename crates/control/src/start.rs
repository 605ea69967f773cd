//! Starts the control plane's own work in a process: the control address and the jobs. The node link starts beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use runtime::health::Readiness;
use runtime::tasks::Group;
use tokio::net::TcpListener;

use crate::http::{Assets, router};
use crate::jobs;
use operation::cx::Cx;
use operation::http::mount::TableMismatch;
use operation::server;

/// What the control plane is started from.
#[derive(Debug)]
pub struct Parts {
    /// The context.
    pub cx: Arc<Cx>,
    /// The control address, bound.
    pub listener: TcpListener,
    /// Console and documentation.
    pub assets: Assets,
    /// What holds readiness back, shared by the roles of the process.
    pub readiness: Arc<Readiness>,
}

/// A running control plane. It stops with the group that it was started in.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    /// The context, for the node link.
    pub cx: Arc<Cx>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operations and their handlers differ; a defect that tests find first.
    #[error(transparent)]
    Table(#[from] TableMismatch),
    /// The listener has no address.
    #[error("the control address cannot be read")]
    Address(#[from] std::io::Error),
}

/// Starts serving the control address and running the jobs.
pub fn start(parts: Parts, group: &Group) -> Result<ControlHandle, StartError> {
    let Parts { cx, listener, assets, readiness } = parts;
    let address = listener.local_addr()?;
    let router = router(Arc::clone(&cx), assets, readiness)?;
    group.spawn("control.http", |stop| server::serve(listener, router, stop));
    let jobs_cx = Arc::clone(&cx);
    group.spawn("control.jobs", |stop| jobs::run(jobs_cx, stop));
    if let Some(office) = cx.office() {
        group.spawn("control.alerts", |stop| office.run(stop));
    }
    Ok(ControlHandle { cx, address })
}

impl ControlHandle {
    /// Returns the counters as Prometheus text, for the admin address.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.cx.metrics.render()
    }
}
