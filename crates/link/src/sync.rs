//! The node's side of the link to the control plane: enrolment, the sync stream, the sealed copy, certificate renewal.
//!
//! ```text
//!  start ── identity on disk? ── no ─▶ enrol with a join token
//!    │                            yes ─▶ load the sealed copy ─▶ serve at once, also with the control plane dark
//!    │                         ended, or refused ─▶ come back by a fresh join token, under the same id if possible
//!  run ──▶ session ──▶ apply ──▶ compile ──▶ swap ──▶ ack │ nack        (again and again, with full jitter in between)
//! ```
//!
//! Not here: usage reporting, which has a stream of its own over [`Link::channel`]. Invariant: requests only ever see snapshots
//! compiled from state that the control plane signed (`policy::replica`).

pub mod apply;
pub mod crypto;
pub mod enrol;
pub mod identity;
pub mod last_known_good;
mod rejoin;
mod session;
pub mod status;
pub mod transport;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::{Clock, Entropy, NodeId};
use parking_lot::RwLock;
use policy::Snapshot;
use runtime::health::Readiness;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use self::apply::Applier;
use self::crypto::DataKeys;
use self::enrol::EnrolError;
use self::identity::{Identity, IdentityError};
use self::last_known_good::Vault;
use self::status::SyncStatus;
use self::transport::{ControlAddress, LinkError, Tls};
use crate::leases::Leases;
use crate::remotes::Remotes;
use crate::responses::Responses;

/// Settings of the link.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// Where the control plane listens for nodes.
    pub control: ControlAddress,
    /// Where identity and sealed copies are kept, mode 0700.
    pub data_dir: PathBuf,
    /// Needed once, when there is no identity yet, and again when the identity has ended or is refused.
    pub join_token: Option<String>,
    /// In the single binary, where a token comes from when the identity has ended.
    pub token_source: Option<TokenSource>,
    /// Name for people; the host name by default.
    pub name: String,
    /// Where the node runs, for people.
    pub region: String,
    /// Reconnect delays: full jitter between zero and a bound that doubles from the first to the second value.
    pub backoff: (Duration, Duration),
    /// How often the node pings; the link counts as dead after three and a half silent intervals.
    pub ping: Duration,
    /// How often the node reports its load.
    pub report: Duration,
}

impl SyncConfig {
    /// The usual settings.
    #[must_use]
    pub fn new(control: ControlAddress, data_dir: PathBuf) -> Self {
        Self {
            control,
            data_dir,
            join_token: None,
            token_source: None,
            name: String::new(),
            region: String::new(),
            backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            ping: Duration::from_secs(10),
            report: Duration::from_secs(5),
        }
    }
}

/// Gives a join token of the control plane in the same process.
#[derive(Clone)]
pub struct TokenSource(pub Arc<dyn Fn() -> TokenFuture + Send + Sync>);

/// What a [`TokenSource`] gives: a token's text, or `None` when the control plane cannot make one now.
pub type TokenFuture = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSource")
    }
}

/// What the link needs from its process.
#[derive(Clone)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where "policy" is held back until a verified set is in force.
    pub readiness: Readiness,
    /// Tells what the node has to report; called every few seconds.
    pub load: Arc<dyn Fn() -> Load + Send + Sync>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// What a node reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Usage events that wait in the spool.
    pub spool_events: u64,
    /// Their bytes.
    pub spool_bytes: u64,
    /// The age of the oldest of them, in milliseconds.
    pub spool_age_ms: u64,
    /// Usage events that were dropped since the process started.
    pub lost_events: u64,
    /// Calls since the process started.
    pub requests_total: u64,
    /// Calls at this moment.
    pub in_flight: u64,
    /// Whether the node is on its way out.
    pub is_draining: bool,
}

/// The policy that requests read: `handle.load()` is one atomic operation, the snapshot behind it never changes.
pub type PolicyHandle = Arc<ArcSwap<Snapshot>>;

/// Why a node cannot start its link.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no identity and no token.
    #[error(
        "this node is not enrolled; create a join token in the console under Nodes and start once with --join-token TOKEN"
    )]
    NotEnrolled,
    /// The control plane refused the enrolment.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Stopped while waiting for the control plane.
    #[error("stopped before the node was enrolled")]
    Stopped,
}

/// The link of one node. Clones share it.
#[derive(Clone)]
pub struct Link {
    config: Arc<SyncConfig>,
    ports: Ports,
    identity: Arc<RwLock<Arc<Identity>>>,
    tls: Tls,
    policy: PolicyHandle,
    status: SyncStatus,
    channel: Channel,
    keys: Arc<DataKeys>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("node", &self.node_id()).finish_non_exhaustive()
    }
}

/// What [`start`] found on disk and [`run`] continues from.
#[derive(Debug)]
pub struct Started {
    link: Link,
    applier: Applier,
    vault: Vault,
}

/// Loads or makes the node's identity, loads the sealed copy, and returns the link with its policy.
///
/// Waits for the control plane only when there is no identity yet, and for seconds when a fresh join token came with one. Cancel-safe: an enrolment that was cut off leaves nothing
/// behind but a used token.
pub async fn start(config: SyncConfig, ports: Ports, stop: &CancellationToken) -> Result<Started, StartError> {
    let identity = match Identity::load(&config.data_dir)? {
        Some(identity) => rejoin::settle(identity, &config, &ports).await?,
        None => enrol::enrol_with_patience(&config, &ports, stop).await?,
    };
    let tls = Tls::new(&identity)?;
    let channel = tls.lazy_channel(&config.control);
    let vault = Vault::open(&config.data_dir, &identity, Arc::clone(&ports.entropy))?;
    let mut applier = Applier::new(&identity, Arc::clone(&ports.clock));
    let status = SyncStatus::new(identity.node_id, Arc::clone(&ports.clock));
    applier.load(&vault, &status);
    let policy = applier.policy();
    status.change(|state| state.certificate_ends_at = Some(identity.not_after));
    let identity = Arc::new(RwLock::new(Arc::new(identity)));
    let keys = applier.keys();
    let link = Link { config: Arc::new(config), ports, identity, tls, policy, status, channel, keys };
    link.show_readiness(&applier);
    Ok(Started { link, applier, vault })
}

impl Started {
    /// Returns a handle on the link, for the request path, the usage reporter and the admin endpoints.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Keeps the node in step with the control plane until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        session::run(self.link, self.applier, self.vault, stop).await;
    }
}

impl Link {
    /// Returns the node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.identity.read().node_id
    }

    /// Returns the policy that requests read.
    #[must_use]
    pub fn policy(&self) -> PolicyHandle {
        Arc::clone(&self.policy)
    }

    /// Returns what the admin endpoints show.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        self.status.clone()
    }

    /// Returns the way to answers that later calls continue.
    #[must_use]
    pub fn responses(&self) -> Responses {
        Responses::new(self.channel(), Arc::clone(&self.keys), Arc::clone(&self.ports.entropy))
    }

    /// Returns the way to what is known of files and batches at upstreams.
    #[must_use]
    pub fn remotes(&self) -> Remotes {
        Remotes::new(self.channel())
    }

    /// Returns the way to money of budgets.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.channel())
    }

    /// Returns a connection to the control plane for other streams of this node; it connects when used, and again when lost.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}
