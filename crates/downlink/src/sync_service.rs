//! The calls of nodes: enrol, renew, and the sync stream.
//!
//! Enrolment is the only call without a certificate. Its token is compared before anything is looked up by it, used up in the
//! transaction that makes the node, and audited there.

mod holding;
mod stream;
mod transfer;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Audit, AuditOutcome};
use domain::id::IdMint as _;
use domain::node::{JoinToken, Node};
use domain::secret::{TokenKind, TokenSecret};
use domain::{AuditEntryId, JobName, NodeId, Permit, Scope};
use proto::v1;
use proto::v1::node_enrolment_server::NodeEnrolment;
use proto::v1::node_sync_server::NodeSync;
use store::{AuditDraft, StoreError};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::ca::Issued;
use crate::sync::{Plane, about, printable};
use operation::auth::JOIN_SCOPE;

/// A stream must begin with its hello within this.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Messages that wait to be taken by the transport; more wait in the session, which merges them.
const OUTGOING: usize = 4;
/// Bytes of an X25519 public key.
const HPKE_KEY_BYTES: usize = 32;

/// Makes machines nodes.
pub(crate) struct Enrolment {
    plane: Arc<Plane>,
}

/// Serves nodes.
pub(crate) struct SyncService {
    plane: Arc<Plane>,
}

impl Enrolment {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }

    async fn check(&self, text: &str) -> Result<JoinToken, Status> {
        let refused = || Status::unauthenticated("join token is unknown, used or expired");
        let token = TokenSecret::parse(TokenKind::JoinToken, text).map_err(|_| refused())?;
        let cx = &self.plane.cx;
        let found = async {
            let mut tx = cx.store.system().await?;
            store::join_tokens::find_by_kid(&mut tx, token.kid()).await
        };
        let stored = found.await.map_err(|error| self.plane.unavailable(&error))?.ok_or_else(refused)?;
        // A token may have been made just before a change of the root key.
        let is_right = |version| stored.mac.matches(&token.mac(&cx.keyring.join_pepper(version), JOIN_SCOPE));
        if !cx.keyring.versions().any(is_right) || stored.expires_at <= cx.now() {
            self.refuse_audited(&stored).await;
            return Err(refused());
        }
        Ok(stored)
    }

    /// Somebody holds the public part of a real token, but not the rest, or came too late.
    async fn refuse_audited(&self, token: &JoinToken) {
        let cx = &self.plane.cx;
        if !cx.denials.is_new(token.id.to_string(), "node.enrol", cx.now()) {
            return;
        }
        let audit =
            Audit { outcome: AuditOutcome::Denied, ..Audit::new("node.enrol", "join_token", &token.id, &"join token") };
        let draft = AuditDraft {
            id: AuditEntryId::from_uuid(cx.mint.next_uuid()),
            at: cx.now(),
            actor_name: String::new(),
            audit,
        };
        let written = async {
            let mut tx = cx.store.write(token.organization_id).await?;
            tx.audit_denied(domain::ActorKind::Anonymous, draft);
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::error!(error = %runtime::telemetry::chain(&error), "refused enrolment could not be audited");
        }
    }

    /// Returns the node that asks to be certified again; `None` for a new one.
    ///
    /// Its certificate of before, from this authority, is the proof of who it was, and the request's signature that it still has
    /// the key. A node that this database does not know was enrolled after the backup that was restored.
    async fn returning(&self, token: &JoinToken, request: &v1::EnrolRequest) -> Result<Option<Returning>, Status> {
        if request.previous_certificate_der.is_empty() {
            return Ok(None);
        }
        let refused = |why: &'static str| Status::failed_precondition(why);
        let peer = self.plane.authority.read_previous(&request.previous_certificate_der, &request.csr_der);
        let peer = peer.ok_or_else(|| refused("its certificate is of another installation, or its key is another"))?;
        if peer.group != token.group_id {
            return Err(refused("the join token is for another node group"));
        }
        let found = async {
            let mut tx = self.plane.cx.store.system().await?;
            store::nodes::find(&mut tx, peer.node).await
        };
        match found.await.map_err(|error| self.plane.unavailable(&error))? {
            Some(node) if node.revoked_at.is_some() => Err(refused("it was revoked")),
            Some(node) if node.group_id != token.group_id || node.hpke_public_key != request.hpke_public_key => {
                Err(refused("it is known in another group or with another key"))
            }
            Some(node) => Ok(Some(Returning::Known(node))),
            None => Ok(Some(Returning::Unknown(peer.node))),
        }
    }

    /// Uses the token up and makes the node, in one transaction. `None`: somebody else was faster.
    async fn admit(&self, token: &JoinToken, node: &Node, is_known: bool) -> Result<Option<()>, StoreError> {
        let cx = &self.plane.cx;
        let permit = Permit::system(JobName::NodeSync, Scope::Organization(token.organization_id));
        let mut tx = cx.store.write(token.organization_id).await?;
        if store::join_tokens::redeem(&mut tx, &permit, token.id).await?.is_none() {
            return Ok(None);
        }
        if is_known {
            store::nodes::readmit(&mut tx, &permit, node, cx.now()).await?;
        } else {
            store::nodes::insert(&mut tx, &permit, node).await?;
        }
        let after = serde_json::json!({
            "group_id": node.group_id, "join_token_id": token.id, "serial": node.certificate_serial, "again": is_known
        });
        let audit = Audit { after: Some(after.to_string()), ..about("node.enrol", node) };
        let id = AuditEntryId::from_uuid(cx.mint.next_uuid());
        tx.audit(&permit, AuditDraft { id, at: cx.now(), actor_name: "node link".to_owned(), audit });
        tx.commit().await?;
        Ok(Some(()))
    }
}

/// A machine that was a node before.
enum Returning {
    /// And still is.
    Known(Node),
    /// Under this id, which the database does not know.
    Unknown(NodeId),
}

/// What a machine calls itself, fit for a list: printable, bounded, never empty.
fn readable(name: &str, fallback: NodeId) -> String {
    let name = printable(name, 80);
    if name.trim().is_empty() { fallback.to_string() } else { name.trim().to_owned() }
}

fn der(chain: &[rustls_pki_types::CertificateDer<'_>]) -> Vec<bytes::Bytes> {
    chain.iter().map(|certificate| bytes::Bytes::copy_from_slice(certificate)).collect()
}

#[tonic::async_trait]
impl NodeEnrolment for Enrolment {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let token = self.check(&request.join_token).await?;
        if request.hpke_public_key.len() != HPKE_KEY_BYTES {
            return Err(Status::invalid_argument("hpke_public_key must be a raw X25519 key"));
        }
        let (plane, now) = (&self.plane, self.plane.cx.now());
        let returning = self.returning(&token, &request).await?;
        let id = match &returning {
            Some(Returning::Known(node)) => node.id,
            Some(Returning::Unknown(id)) => *id,
            None => NodeId::from_uuid(plane.cx.mint.next_uuid()),
        };
        let issued = plane.authority.certify_node(&request.csr_der, id, token.group_id, now);
        let Issued { chain, serial, not_after } =
            issued.map_err(|_| Status::invalid_argument("csr_der cannot be certified"))?;
        let is_known = matches!(returning, Some(Returning::Known(_)));
        let node = match returning {
            Some(Returning::Known(node)) => {
                Node { certificate_serial: serial, certificate_expires_at: not_after, ..node }
            }
            _ => Node {
                id,
                group_id: token.group_id,
                organization_id: token.organization_id,
                name: readable(&request.name, id),
                hpke_public_key: request.hpke_public_key.to_vec(),
                certificate_serial: serial,
                certificate_expires_at: not_after,
                created_at: now,
                revoked_at: None,
            },
        };
        let admitted = self.admit(&token, &node, is_known).await.map_err(|error| plane.unavailable(&error))?;
        admitted.ok_or_else(|| Status::unauthenticated("join token is unknown, used or expired"))?;
        tracing::info!(node.id = %id, node.group = %token.group_id, "node enrolled as {id}");
        Ok(Response::new(v1::EnrolResponse {
            node_id: id.to_string(),
            node_group_id: token.group_id.to_string(),
            certificate_chain_der: der(&chain),
            ca_bundle_der: der(plane.authority.bundle()),
            signing_keys: plane.publisher.signer().public_keys(),
            not_after_us: not_after.as_micros(),
        }))
    }
}

impl SyncService {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }
}

#[tonic::async_trait]
impl NodeSync for SyncService {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<v1::ControlMessage, Status>> + Send>>;

    async fn sync(&self, request: Request<Streaming<v1::NodeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let (node, group) = self.plane.identify(&request).await?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(HELLO_WITHIN, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("a stream must begin with its hello"))??;
        let Some(v1::node_message::Body::Hello(hello)) = first.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("a stream must begin with its hello"));
        };
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let session = stream::Session::begin(Arc::clone(&self.plane), node, group, &hello, outgoing)?;
        let task = runtime::tasks::spawn("sync.stream", session.serve(incoming));
        // It ends with its stream, its node's revocation, or the server.
        drop(task);
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (mut node, _) = self.plane.identify(&request).await?;
        let (plane, now) = (&self.plane, self.plane.cx.now());
        let issued = plane.authority.certify_node(&request.get_ref().csr_der, node.id, node.group_id, now);
        let Issued { chain, serial, not_after } =
            issued.map_err(|_| Status::invalid_argument("csr_der cannot be certified"))?;
        node.certificate_serial = serial;
        node.certificate_expires_at = not_after;
        let booked = async {
            let mut tx = plane.cx.store.system().await?;
            store::nodes::renew(&mut tx, &node, now).await?;
            tx.commit().await
        };
        booked.await.map_err(|error| match error {
            StoreError::NotFound(_) => Status::permission_denied("this node was revoked"),
            error => plane.unavailable(&error),
        })?;
        Ok(Response::new(v1::RenewResponse {
            certificate_chain_der: der(&chain),
            ca_bundle_der: der(plane.authority.bundle()),
            signing_keys: plane.publisher.signer().public_keys(),
            not_after_us: not_after.as_micros(),
        }))
    }
}
