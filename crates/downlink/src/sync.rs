//! The control plane's side of the link to its nodes: listener, identity, services, and who is connected.
//!
//! TLS ends here, not in tonic, so that certificates can be replaced while connections stand and an in-process pipe can be a
//! connection like any other. A client may come without a certificate, because that is how nodes enrol; every other call reads
//! its node from the certificate and refuses to go on without one. Invariant: a revoked node has no stream a few seconds later.

pub(crate) mod nodes;
pub mod restored;
pub(crate) mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::audit::{Audit, AuditOutcome};
use domain::id::IdMint as _;
use domain::node::{Node, NodeGroup};
use domain::{ActorKind, AuditEntryId, OrganizationId};
use proto::v1::leases_server::LeasesServer;
use proto::v1::node_enrolment_server::NodeEnrolmentServer;
use proto::v1::node_sync_server::NodeSyncServer;
use proto::v1::remote_keeping_server::RemoteKeepingServer;
use proto::v1::response_keeping_server::ResponseKeepingServer;
use proto::v1::usage_ingest_server::UsageIngestServer;
use runtime::tasks::Group;
use runtime::tls::{CertificateSlot, ClientCertificates, TlsError, roots_of, server_config};
use store::{AuditDraft, StoreError};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::nodes::Nodes;
use self::transport::PeerInfo;
use crate::ca::{Authority, AuthorityError, Peer};
use crate::ingest::Ingest;
use crate::keeping::Keeping;
use crate::leases::Lending;
use crate::publisher::{PolicySigner, Publisher};
use crate::remotes::Remotes;
use crate::sync_service::{Enrolment, SyncService};
use operation::cx::Cx;

/// Connections that wait for a free place; more are refused by the pipe or the listener's backlog.
const WAITING: usize = 64;
/// Largest message from a node: a batch of usage.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Audit entries about nodes that may wait for the database.
const MAX_AUDITS: usize = 1_000;
/// First and longest pause before an audit entry is tried again.
const AUDIT_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Settings of the link.
#[derive(Debug, Clone)]
pub struct SyncServerConfig {
    /// How often nodes are pinged; a node that is silent for three and a half intervals is cut.
    pub ping: Duration,
    /// A stream lives this long at most; nodes reconnect, so that streams spread over control processes again.
    pub stream_life: Duration,
    /// A message that a node does not take within this time cuts the node: a slow node must not hold memory.
    pub send_within: Duration,
    /// How often revocations and groups are looked up.
    pub poll: Duration,
    /// Full sets that are sent at the same time: after an outage nodes queue for them instead of filling memory.
    pub full_sets: usize,
    /// Announcements that a stream may fall behind; one that falls further looks at everything.
    pub backlog: usize,
}

impl Default for SyncServerConfig {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(10),
            stream_life: Duration::from_secs(6 * 60 * 60),
            send_within: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            full_sets: 8,
            backlog: 4_096,
        }
    }
}

/// The link cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The authority or the signing key.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The listener's certificate.
    #[error("sync listener's certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The listener has no address.
    #[error("sync address cannot be read")]
    Address(#[from] std::io::Error),
}

/// What the link's services share.
pub(crate) struct Plane {
    pub(crate) cx: Arc<Cx>,
    pub(crate) config: SyncServerConfig,
    pub(crate) authority: Authority,
    pub(crate) publisher: Publisher,
    pub(crate) nodes: Nodes,
    pub(crate) full_sets: Arc<Semaphore>,
    /// Audit entries that wait to be written.
    pub(crate) audits: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

/// A running link. It stops with the group that it was started in.
#[derive(Clone)]
pub struct SyncHandle {
    /// Where it listens; `None` when only this process' own node is served.
    pub address: Option<SocketAddr>,
    /// The fingerprint that join tokens carry.
    pub fingerprint: String,
    /// Takes in-process connections: send one end of a pipe.
    pub pipes: mpsc::Sender<DuplexStream>,
    /// What nodes are told.
    pub publisher: Publisher,
}

impl std::fmt::Debug for SyncHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncHandle").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Starts the link: loads authority and signing key (made on the first start), then listens, publishes and keeps watch.
///
/// States the authority's fingerprint to `cx`, so that join tokens issued afterwards carry it.
pub async fn start(
    cx: Arc<Cx>,
    config: SyncServerConfig,
    listener: Option<TcpListener>,
    group: &Group,
) -> Result<SyncHandle, SyncError> {
    let authority = Authority::load(&cx.store, &cx.keyring, Arc::clone(&cx.entropy), cx.now()).await?;
    let fingerprint = authority.fingerprint();
    cx.set_authority(fingerprint.clone());
    let publisher = Publisher::new(Arc::clone(&cx), PolicySigner::load(&cx).await?, config.backlog);
    let (chain, key) = authority.certify_server(cx.now())?;
    let slot = CertificateSlot::new(chain, key)?;
    let clients = ClientCertificates::Optional(roots_of(authority.bundle())?);
    let tls = Arc::new(server_config(slot.clone(), clients, &[b"h2"])?);
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let full_sets = Arc::new(Semaphore::new(config.full_sets));
    let plane = Arc::new(Plane {
        cx,
        config,
        authority,
        publisher: publisher.clone(),
        nodes: Nodes::default(),
        full_sets,
        audits: Arc::new(Semaphore::new(MAX_AUDITS)),
        stop: group.stop_signal(),
    });
    let (pipes, incoming_pipes) = mpsc::channel(WAITING);
    let (connections, incoming) = mpsc::channel(WAITING);
    group.spawn("sync.accept", {
        let cx = Arc::clone(&plane.cx);
        |stop| transport::accept(listener, incoming_pipes, tls, connections, (cx, stop))
    });
    group.spawn("sync.publish", |stop| publisher.clone().run(stop));
    group.spawn("sync.nodes", {
        let plane = Arc::clone(&plane);
        |stop| nodes::watch(plane, stop)
    });
    group.spawn("sync.certificate", {
        let plane = Arc::clone(&plane);
        |stop| keep_certificate(plane, slot, stop)
    });
    group.spawn("sync.serve", |stop| serve(plane, ReceiverStream::new(incoming), stop));
    Ok(SyncHandle { address, fingerprint, pipes, publisher })
}

async fn serve(
    plane: Arc<Plane>,
    incoming: ReceiverStream<std::io::Result<transport::Connection>>,
    stop: CancellationToken,
) {
    let ingest = UsageIngestServer::new(Ingest::new(Arc::clone(&plane))).max_decoding_message_size(MAX_MESSAGE);
    let sync = NodeSyncServer::new(SyncService::new(Arc::clone(&plane))).max_decoding_message_size(MAX_MESSAGE);
    let keeping = ResponseKeepingServer::new(Keeping::new(Arc::clone(&plane))).max_decoding_message_size(MAX_MESSAGE);
    let remotes = RemoteKeepingServer::new(Remotes::new(Arc::clone(&plane))).max_decoding_message_size(MAX_MESSAGE);
    let leases = LeasesServer::new(Lending::new(Arc::clone(&plane))).max_decoding_message_size(MAX_MESSAGE);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(15)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .max_concurrent_streams(32)
        .add_service(NodeEnrolmentServer::new(Enrolment::new(plane)))
        .add_service(sync)
        .add_service(ingest)
        .add_service(keeping)
        .add_service(remotes)
        .add_service(leases)
        .serve_with_incoming_shutdown(incoming, stop.cancelled())
        .await;
    if let Err(error) = served {
        tracing::error!(error = %runtime::telemetry::chain(&error), "sync listener ended");
    }
}

/// Replaces the listener's certificate every day.
async fn keep_certificate(plane: Arc<Plane>, slot: CertificateSlot, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(24 * 60 * 60)) => {}
            () = stop.cancelled() => return,
        }
        let made = plane.authority.certify_server(plane.cx.now());
        let replaced = made.map_err(SyncError::from).and_then(|(chain, key)| Ok(slot.replace(chain, key)?));
        if let Err(error) = replaced {
            tracing::error!(error = %runtime::telemetry::chain(&error), "sync listener's certificate could not be replaced");
        }
    }
}

// === Who calls ===

impl Plane {
    /// Returns the node behind a call, with its group, after looking both up: nothing about them is believed but the key.
    pub(crate) async fn identify<T>(&self, request: &tonic::Request<T>) -> Result<(Node, NodeGroup), Status> {
        let peer = request.extensions().get::<PeerInfo>().and_then(|info| info.peer.clone());
        let peer = peer
            .ok_or_else(|| Status::unauthenticated("a node certificate is required; enrol with a join token first"))?;
        self.look_up(&peer).await
    }

    async fn look_up(&self, peer: &Peer) -> Result<(Node, NodeGroup), Status> {
        let found = async {
            let mut tx = self.cx.store.system().await?;
            let node = match store::nodes::find_by_serial(&mut tx, &peer.serial).await? {
                None => restored::recognize(&self.cx, peer).await?,
                node => node,
            };
            let Some(node) = node else { return Ok(None) };
            let group = store::nodes::find_group(&mut tx, node.group_id).await?;
            Ok::<_, StoreError>(group.map(|group| (node, group)))
        };
        let found = found.await.map_err(|error| self.unavailable(&error))?;
        let (node, group) =
            found.ok_or_else(|| Status::permission_denied("this certificate was not issued here; enrol anew"))?;
        if node.id != peer.node || group.id != peer.group {
            return Err(Status::permission_denied("certificate does not fit its node; enrol anew"));
        }
        if node.revoked_at.is_some() {
            self.cx.metrics.nodes_refused.fetch_add(1, Ordering::Relaxed);
            // It comes back again and again; the log says so once in a while.
            if self.cx.denials.is_new(node.id.to_string(), "node.refused", self.cx.now()) {
                let audit = Audit { outcome: AuditOutcome::Denied, ..about("node.refused", &node) };
                self.audit(node.organization_id, node.id, audit);
            }
            return Err(Status::permission_denied("this node was revoked"));
        }
        Ok((node, group))
    }

    /// Answers that the database is away; the node keeps its policy and comes back.
    #[expect(clippy::unused_self, reason = "reads like the plane's other answers")]
    pub(crate) fn unavailable(&self, error: &dyn std::error::Error) -> Status {
        tracing::error!(error = %runtime::telemetry::chain(error), "a node's call failed because of the database");
        Status::unavailable("control plane's database is not available; try again")
    }

    /// Records in an organization's log what a node did, behind the caller's back; again and again while the database is away, since
    /// a node says most things once.
    pub(crate) fn audit(&self, organization: OrganizationId, node: domain::NodeId, audit: Audit) {
        let (cx, stop) = (Arc::clone(&self.cx), self.stop.clone());
        let Ok(place) = Arc::clone(&self.audits).try_acquire_owned() else {
            tracing::error!(node.id = %node, action = audit.action, "too many audit entries about nodes wait for the database; this one is lost");
            return;
        };
        let task = runtime::tasks::spawn("sync.audit", async move {
            let _place = place;
            let draft = AuditDraft {
                id: AuditEntryId::from_uuid(cx.mint.next_uuid()),
                at: cx.now(),
                actor_name: audit.subject_name.clone(),
                audit,
            };
            let mut pause = AUDIT_PAUSE.0;
            while let Err(error) = write_audit(&cx, organization, node, &draft).await {
                tracing::error!(node.id = %node, error = %runtime::telemetry::chain(&error), "audit entry about a node could not be written");
                if matches!(error, StoreError::NotFound(_)) {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(AUDIT_PAUSE.1),
                    () = stop.cancelled() => return,
                }
            }
        });
        // It runs to its end by itself.
        drop(task);
    }
}

async fn write_audit(
    cx: &Cx,
    organization: OrganizationId,
    node: domain::NodeId,
    draft: &AuditDraft,
) -> Result<(), StoreError> {
    let mut tx = cx.store.write(organization).await?;
    tx.audit_denied(ActorKind::Node(node), draft.clone());
    tx.commit().await.map(drop)
}

/// What a node says in words, fit to be kept and shown: without control characters (no database text holds U+0000), bounded.
pub(crate) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}

/// Begins an audit record about a node.
pub(crate) fn about(action: &'static str, node: &Node) -> Audit {
    Audit::new(action, "node", &node.id, &node.name)
}
