//! The data plane: takes client calls, finds an upstream, relays the answer, settles the bill.
//!
//! ```text
//! client ─▶ server ─▶ admit ─▶ identify ─▶ resolve ─▶ reserve ─▶ dispatch ⇄ upstream ─▶ relay ─▶ client
//!                        │        │           │          │           │                   │
//!                        └────────┴───────────┴── meter ─┴───────────┴───────────────────┴─▶ settle ─▶ usage spool
//! ```
//!
//! Everything a request needs is in one immutable snapshot of policy; nothing on its way asks the control plane, a disk or a
//! lock that another thread holds for long.
//!
//! # Invariants
//!
//! - **Commit point.** Until the first byte of an answer has been handed to the client an attempt may be abandoned; after it,
//!   never. Whole answers commit when complete. Text may go on at another target then; what was given out stays.
//! - **Settle once.** An identified call of a model yields exactly one usage event, also when its client leaves or its code
//!   panics.
//! - **Keys stay here.** Upstream requests are built from nothing; a client's key is in none of them.
//! - **Known bad is 401, cannot verify is 503.**

#![deny(missing_docs)]

mod admin;
mod config;
mod pipeline;
pub mod responses;
mod server;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::{Clock, DeploymentId, Entropy, NodeId, Timestamp};
pub use ingress::Limits;
use policy::Snapshot;
use remote::store::RemoteStore;
use runtime::health::Readiness;
pub use runtime::telemetry::metrics::{self, Metrics};
use state::{Cache, Cooldowns};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use upstream::dial::Dial;

pub use crate::config::{GatewayConfig, RealtimeLimits};
pub use crate::pipeline::probes::Probing;
pub use crate::pipeline::settle::{CLIENT_CLOSED, UsageSink};
use crate::pipeline::{Shared, Worker};
use crate::responses::ResponseStore;
use crate::server::Stop;

/// The part under which a node that stops holds its readiness back.
pub const LEAVING: &str = "gateway";

/// Writes further metrics in the Prometheus text format.
pub type MetricsWriter = Box<dyn Fn(&mut String) + Send + Sync>;

/// What a node's data plane is made of.
pub struct Parts {
    /// Addresses and limits.
    pub config: GatewayConfig,
    /// The node's id, for usage events.
    pub node_id: NodeId,
    /// The policy in force; whoever syncs swaps it.
    pub policy: Arc<ArcSwap<Snapshot>>,
    /// Where usage events go.
    pub usage: Arc<dyn UsageSink>,
    /// Where answers are kept that later calls continue.
    pub responses: Arc<dyn ResponseStore>,
    /// Where it is noted whose the files and batches at upstreams are.
    pub remotes: Arc<dyn RemoteStore>,
    /// Opens upstream connections.
    pub dial: Arc<dyn Dial>,
    /// Opens connections to addresses that clients name; to public ones only, whatever upstreams may be at.
    pub media_dial: Arc<dyn Dial>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bits for ids.
    pub entropy: Arc<dyn Entropy>,
    /// What it may lose.
    pub ephemeral: Ephemeral,
    /// What budgets lent to this life of the node; whoever has the link runs it.
    pub purse: purse::Purse,
    /// Why the node should not get traffic; shown by `/readyz`.
    pub readiness: Readiness,
    /// Further metrics for `/metrics`, such as those of spool and sync.
    pub more_metrics: Vec<MetricsWriter>,
}

/// Room for answers that are given again, unless told, in bytes.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What makes calls cheaper or wiser while it is there.
#[derive(Clone)]
pub struct Ephemeral {
    /// Answers that may be given again.
    pub cache: Arc<dyn Cache>,
    /// Where pauses that upstreams asked for are told.
    pub cooldowns: Arc<dyn Cooldowns>,
    /// Where rate limits are counted in common with other nodes; without it each counts its share.
    pub common: Option<Arc<dyn throttle::joint::Common>>,
    /// Says what is away, for `/readyz`; the node serves without it.
    pub degraded: Arc<dyn Fn() -> Option<(&'static str, String)> + Send + Sync>,
}

impl Default for Ephemeral {
    fn default() -> Self {
        Self {
            cache: Arc::new(state::Memory::new(CACHE_BYTES)),
            cooldowns: Arc::new(state::cooldown::Alone),
            common: None,
            degraded: Arc::new(|| None),
        }
    }
}

/// Why a data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("listening on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener thread could not be started.
    #[error("starting a listener thread")]
    Thread(#[source] io::Error),
}

/// A running data plane.
pub struct GatewayHandle {
    /// Where clients call; the real port when 0 was asked for.
    pub addr: SocketAddr,
    /// Where operators look.
    pub admin_addr: SocketAddr,
    /// What it counts.
    pub metrics: Metrics,
    shared: Arc<Shared>,
    stop: Stop,
    grace: Duration,
    drain: Duration,
    readiness: Readiness,
    workers: Vec<oneshot::Receiver<()>>,
    admin: runtime::tasks::Group,
}

/// Starts listener threads and the admin endpoints. Call inside a tokio runtime, which runs only the latter.
pub async fn start(parts: Parts) -> Result<GatewayHandle, StartError> {
    let Gateway { shared, dial, entropy, readiness, more_metrics } = Gateway::new(parts);
    let config = shared.config.clone();
    let n_workers = config.n_workers();
    let refuse = |addr| move |source| StartError::Listen { addr, source };
    let listeners = server::bind(config.gateway_addr, n_workers).map_err(refuse(config.gateway_addr))?;
    let addr = listeners.first().map_or(Ok(config.gateway_addr), std::net::TcpListener::local_addr);
    let addr = addr.map_err(refuse(config.gateway_addr))?;
    let admin_listener = TcpListener::bind(config.admin_addr).await.map_err(refuse(config.admin_addr))?;
    let admin_addr = admin_listener.local_addr().map_err(refuse(config.admin_addr))?;
    let stop = Stop::default();
    let mut workers = Vec::with_capacity(n_workers);
    let n_connections = u32::try_from(config.limits.max_connections / n_workers).unwrap_or(u32::MAX).max(1);
    for (index, listener) in listeners.into_iter().enumerate() {
        let worker = Arc::new(Worker::new(shared.clone(), index, dial.clone(), entropy.clone()));
        let (ended, end) = oneshot::channel();
        let stop = stop.clone();
        std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || server::run_worker(worker, listener, n_connections, &stop, ended))
            .map_err(StartError::Thread)?;
        workers.push(end);
    }
    let metrics = shared.metrics.clone();
    let admin = runtime::tasks::Group::new();
    let booker = Arc::new(Worker::new(shared.clone(), 0, dial, entropy));
    let prober = Arc::clone(&booker);
    admin.spawn("gateway.batches", |stop| remote::keep_booking(booker, stop));
    admin.spawn("gateway.probes", |stop| pipeline::probes::keep_probing(prober, stop));
    let cutter = Arc::clone(&shared);
    admin.spawn("gateway.cut", |stop| pipeline::cut::keep_cutting(cutter, stop));
    let state = admin::Admin::new(shared.clone(), readiness.clone(), more_metrics);
    admin.spawn("gateway.admin", |stop| admin::serve(admin_listener, state, stop));
    let (grace, drain) = (config.drain_grace(), config.drain());
    Ok(GatewayHandle { addr, admin_addr, metrics, shared, stop, grace, drain, readiness, workers, admin })
}

impl GatewayHandle {
    /// Returns what takes the pauses that upstreams asked other nodes for. Those of deployments that this node has not used yet
    /// are passed over; they come again while they last.
    pub fn heed(&self) -> impl Fn(DeploymentId, Timestamp) + Send + Sync + use<> {
        heed(Arc::clone(&self.shared))
    }

    /// Returns what takes the node's share of rate limits.
    pub fn share(&self) -> impl Fn(domain::rate_limit::Share) + Send + Sync + use<> {
        let throttle = self.shared.throttle.clone();
        move |share| throttle.set_share(share)
    }

    /// Stops. Not ready at once, but for the time of grace everybody is still served, so that load balancers notice before
    /// anybody is turned away. Then nothing new is accepted, calls in flight finish until the drain's deadline, the rest is cut.
    pub async fn drain(self) {
        self.readiness.hold(LEAVING, "the node is draining");
        self.stop.leave();
        tokio::time::sleep(self.grace).await;
        self.stop.drain();
        let mut all = pin!(async {
            for worker in self.workers {
                // An error means that the thread is gone, which is what is waited for.
                drop(worker.await);
            }
        });
        if tokio::time::timeout(self.drain, all.as_mut()).await.is_err() {
            tracing::warn!(drain_ms = self.drain.as_millis(), "calls still in flight at the end of the drain are cut");
            self.stop.cut();
            all.await;
        }
        self.admin.drain(Duration::from_secs(1)).await;
    }
}

/// A data plane without listeners: serves connections that are handed to it, on the current runtime.
pub struct Gateway {
    shared: Arc<Shared>,
    dial: Arc<dyn Dial>,
    entropy: Arc<dyn Entropy>,
    readiness: Readiness,
    more_metrics: Vec<MetricsWriter>,
}

/// One worker of a [`Gateway`].
#[derive(Clone)]
pub struct Lane {
    worker: Arc<Worker>,
    stop: Stop,
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            config,
            node_id,
            policy,
            usage,
            responses,
            remotes,
            dial,
            media_dial,
            clock,
            entropy,
            ephemeral,
            purse,
            readiness,
            more_metrics,
        } = parts;
        let metrics = Metrics::new(config.n_workers(), provider::ALL.iter().map(|provider| provider.spec().name));
        let shared = Shared {
            config,
            node_id,
            decisions: pipeline::decisions::Decisions::default(),
            shadows: pipeline::dispatch::Shadows::default(),
            policy,
            exchanges: upstream::exchanges::Exchanges::new(clock.clone()),
            clock,
            usage,
            responses,
            remotes,
            health: upstream::health::Health::default(),
            metrics,
            in_flight: pipeline::reserve::InFlight::default(),
            live: pipeline::cut::Live::default(),
            throttle: ephemeral.common.clone().map_or_else(throttle::Throttle::default, throttle::Throttle::in_common),
            began: tokio::time::Instant::now(),
            retries: pipeline::retry::RetryBudgets::default(),
            ephemeral,
            purse,
            flights: state::flights::Flights::default(),
            fetching: pipeline::fetch::Fetching::new(media_dial),
        };
        Self { shared: Arc::new(shared), dial, entropy, readiness, more_metrics }
    }

    /// Returns what it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Returns what takes the pauses that upstreams asked other nodes for.
    pub fn heed(&self) -> impl Fn(DeploymentId, Timestamp) + Send + Sync + use<> {
        heed(Arc::clone(&self.shared))
    }

    /// Cuts the calls under way that policy stops now, and returns how many they were.
    #[must_use]
    pub fn cut_stopped(&self) -> usize {
        pipeline::cut::cut_stopped(&self.shared, &mut None)
    }

    /// Says how many nodes share rate limits, and which of them this one is.
    pub fn set_share(&self, share: domain::rate_limit::Share) {
        self.shared.throttle.set_share(share);
    }

    /// Looks after the batches that are due now, and returns how many they were.
    pub async fn book_due(&self) -> usize {
        let worker = Arc::new(Worker::new(self.shared.clone(), 0, self.dial.clone(), self.entropy.clone()));
        let host: Arc<dyn remote::port::Host> = worker;
        Box::pin(remote::book_due(&host)).await
    }

    /// Sends the probes of a second, and returns how many they were. `probing` holds what is to be remembered until the next.
    pub async fn probe_due(&self, probing: &mut Probing) -> usize {
        let worker = Arc::new(Worker::new(self.shared.clone(), 0, self.dial.clone(), self.entropy.clone()));
        Box::pin(probing.run_due(&worker)).await
    }

    /// Makes a worker with its own upstream connections.
    #[must_use]
    pub fn lane(&self) -> Lane {
        let worker = Worker::new(self.shared.clone(), 0, self.dial.clone(), self.entropy.clone());
        Lane { worker: Arc::new(worker), stop: Stop::default() }
    }
}

fn heed(shared: Arc<Shared>) -> impl Fn(DeploymentId, Timestamp) + Send + Sync {
    move |deployment, until| {
        let now = shared.clock.now();
        shared.health.look(deployment, |target| target.pause(now, until.since(now)));
    }
}

impl Lane {
    /// Serves one connection until it ends.
    pub async fn serve<T>(&self, stream: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        server::serve(self.worker.clone(), stream, self.stop.clone()).await;
    }

    /// Still serves, but ends connections with their answers.
    pub fn leave(&self) {
        self.stop.leave();
    }

    /// Lets calls in flight finish and ends their connections.
    pub fn stop(&self) {
        self.stop.drain();
    }

    /// Cuts what still runs.
    pub fn cut(&self) {
        self.stop.cut();
    }
}
