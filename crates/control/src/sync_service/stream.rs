//! One node's sync stream: sends what the node may hold and lacks, hears what became of it.
//!
//! Nothing is queued per node but the names of organizations that changed: when the stream is free again, one delta leads to the
//! latest revision, so a slow node costs a few names, and a stalled one is cut. Revocations overtake: they are looked for between
//! any two messages, also inside a full set. Invariant: nothing of an organization outside the node's group is ever sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Audit, AuditOutcome};
use domain::node::{Holds, Nack, Node, NodeGroup, NodeStatus};
use domain::{NodeGroupId, OrganizationId};
use policy::set::SetHash;
use policy::sign::{KEY_GRANT_INFO, NodeScope, Revision, Signed, grant_place};
use policy::wire::frame;
use policy::{Kind, Resource};
use proto::v1;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{Hpke as _, HpkePublicKey};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::{Status, Streaming};
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use crate::publisher::{Announcement, Plan, Published};
use crate::sync::nodes::{Nodes, Place};
use crate::sync::{Plane, about};

/// Bytes of resources in one chunk of a full set, about.
const CHUNK_BYTES: usize = 512 * 1024;
/// An acknowledgement must come within this.
const ACK_WITHIN: Duration = Duration::from_secs(90);
/// Full sets that a node may ask for in one stream.
const MAX_RESYNCS: u32 = 16;
/// How often a contact is written down when nothing else changes.
const CONTACT_EVERY: Duration = Duration::from_secs(5);

/// What the node holds of an organization, as far as we sent it or it said so.
#[derive(Debug, Clone, Copy)]
struct Sent {
    revision: u64,
    hash: SetHash,
    count: u64,
    is_acked: bool,
    at: Instant,
}

pub(super) struct Session {
    plane: Arc<Plane>,
    node: Node,
    group: NodeGroup,
    place: Place,
    outgoing: mpsc::Sender<Result<v1::ControlMessage, Status>>,
    announcements: broadcast::Receiver<Announcement>,
    held: BTreeMap<OrganizationId, Sent>,
    granted: BTreeMap<OrganizationId, BTreeSet<u32>>,
    pending: BTreeSet<OrganizationId>,
    audited: BTreeSet<(OrganizationId, u64)>,
    resyncs: u32,
    nonce: u64,
    last_heard: Instant,
    last_noted: Instant,
}

/// Why a stream ends from this side.
enum End {
    /// With these last words.
    Drain { retry_after_ms: u64, reason: &'static str },
    /// With an error.
    Status(Status),
    /// The node is gone.
    Gone,
}

impl Session {
    /// Registers the stream. Errors: the node does not understand what we speak.
    pub(super) fn begin(
        plane: Arc<Plane>,
        node: Node,
        group: NodeGroup,
        hello: &v1::Hello,
        outgoing: mpsc::Sender<Result<v1::ControlMessage, Status>>,
    ) -> Result<Self, Status> {
        if hello.node_id != node.id.to_string() {
            return Err(Status::permission_denied("hello names another node than the certificate"));
        }
        if hello.protocol < 1 || hello.protocol_min > 1 {
            return Err(Status::failed_precondition("no common protocol revision; upgrade the older side"));
        }
        let kinds: BTreeSet<_> = hello.kinds.iter().filter_map(|kind| frame::kind(*kind)).collect();
        if Kind::ALL.iter().any(|kind| !kinds.contains(kind)) {
            return Err(Status::failed_precondition("the node does not understand every kind of resource; upgrade it"));
        }
        // Before anything is looked at, so that no change falls between looking and listening.
        let announcements = plane.publisher.subscribe();
        let status = NodeStatus {
            is_connected: true,
            build: hello.build.chars().take(80).collect(),
            last_contact_at: Some(plane.cx.now()),
            ..NodeStatus::default()
        };
        let (place, is_double) = Nodes::enter(&plane, &node, &hello.boot_id, status);
        if is_double {
            tracing::error!(node.id = %node.id, "two processes use the identity of {}; the later one stays", node.id);
            plane.audit(
                node.organization_id,
                node.id,
                Audit { outcome: AuditOutcome::Denied, ..about("node.double", &node) },
            );
        }
        let now = Instant::now();
        let mut session = Self {
            plane,
            node,
            group,
            place,
            outgoing,
            announcements,
            held: BTreeMap::new(),
            granted: BTreeMap::new(),
            pending: BTreeSet::new(),
            audited: BTreeSet::new(),
            resyncs: 0,
            nonce: 0,
            last_heard: now,
            last_noted: now,
        };
        session.take_held(&hello.held);
        Ok(session)
    }

    fn take_held(&mut self, held: &[v1::Held]) {
        for it in held {
            let (Ok(organization), Ok(hash)) = (it.organization_id.parse(), frame::set_hash("set_hash", &it.set_hash))
            else {
                continue;
            };
            let sent =
                Sent { revision: it.revision, hash, count: it.resource_count, is_acked: true, at: Instant::now() };
            self.held.insert(organization, sent);
            self.granted.insert(organization, it.data_key_versions.iter().copied().collect());
        }
    }

    /// Serves until one side has enough.
    pub(super) async fn serve(mut self, incoming: Streaming<v1::NodeMessage>) {
        let end = match self.run(incoming).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        match end {
            End::Drain { retry_after_ms, reason } => {
                let drain = v1::ControlMessage {
                    body: Some(Down::Drain(v1::Drain { retry_after_ms, reason: reason.to_owned() })),
                };
                // Last words; a node that does not take them comes back by itself.
                drop(tokio::time::timeout(Duration::from_secs(1), self.outgoing.send(Ok(drain))).await);
            }
            End::Status(status) => {
                tracing::info!(node.id = %self.node.id, reason = status.message(), "sync stream cut");
                drop(self.outgoing.try_send(Err(status)));
            }
            End::Gone => {}
        }
    }

    async fn run(&mut self, mut incoming: Streaming<v1::NodeMessage>) -> Result<std::convert::Infallible, End> {
        self.plane.publisher.loaded().await;
        self.welcome().await?;
        self.settle().await?;
        self.send(Down::Synced(v1::Synced {})).await?;
        self.ping().await?;
        let mut pings = tokio::time::interval_at(Instant::now() + self.plane.config.ping, self.plane.config.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let life = tokio::time::sleep(self.plane.config.stream_life);
        tokio::pin!(life);
        let cancel = self.place.cancel.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Err(self.cancelled()),
                // Nothing is under way that a revocation would have to overtake: its delta goes out next.
                announcement = self.announcements.recv() => if !matches!(announcement, Ok(Announcement::Urgent(..))) {
                    self.announced(announcement).await?;
                },
                message = incoming.message() => {
                    let message = message.map_err(|_| End::Gone)?.ok_or(End::Gone)?;
                    self.received(message).await?;
                }
                _ = pings.tick() => self.tick().await?,
                () = &mut life => return Err(End::Drain { retry_after_ms: 1_000, reason: "stream lifetime reached" }),
            }
            self.settle().await?;
        }
    }

    fn cancelled(&self) -> End {
        if self.plane.nodes.is_revoked(self.node.id) {
            End::Status(Status::permission_denied("this node was revoked"))
        } else if self.plane.stop.is_cancelled() {
            End::Drain { retry_after_ms: 1_000, reason: "control plane is stopping" }
        } else {
            End::Status(Status::aborted("the node opened another stream"))
        }
    }

    // === Sending ===

    /// Hands one message to the transport. A node that does not take it in time is cut.
    async fn send(&self, body: Down) -> Result<(), End> {
        let message = Ok(v1::ControlMessage { body: Some(body) });
        tokio::select! {
            sent = tokio::time::timeout(self.plane.config.send_within, self.outgoing.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Status(Status::resource_exhausted("the node takes messages too slowly"))),
            },
            () = self.place.cancel.cancelled() => Err(self.cancelled()),
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.nonce += 1;
        let policy_age_ms = u64::try_from(self.plane.publisher.age().as_millis()).unwrap_or(u64::MAX);
        let unread = self.plane.publisher.unread().into_iter().filter(|id| self.may_hold(*id));
        let unread_organization_ids = unread.map(|id| id.to_string()).collect();
        self.send(Down::Ping(v1::Ping { nonce: self.nonce, policy_age_ms, unread_organization_ids })).await
    }

    async fn tick(&mut self) -> Result<(), End> {
        if self.last_heard.elapsed() > self.plane.config.ping * 7 / 2 {
            return Err(End::Status(Status::deadline_exceeded("the node is silent")));
        }
        if self.held.values().any(|sent| !sent.is_acked && sent.at.elapsed() > ACK_WITHIN) {
            return Err(End::Status(Status::deadline_exceeded("the node does not acknowledge")));
        }
        self.ping().await
    }

    async fn welcome(&mut self) -> Result<(), End> {
        let now = self.plane.cx.now();
        let statement = NodeScope { group: self.group.id, holds: self.group.holds.clone(), issued_at: now };
        let scope = Signed::new(statement, self.plane.publisher.signer());
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.send(Down::Welcome(v1::Welcome {
            protocol: 1,
            control_build: self.plane.cx.config.version.to_owned(),
            scope: Some(frame::scope_message(&scope)),
            ping_interval_ms: u32::try_from(millis(self.plane.config.ping)).unwrap_or(u32::MAX),
            stream_lifetime_ms: millis(self.plane.config.stream_life),
            now_us: now.as_micros(),
        }))
        .await?;
        let known: BTreeSet<_> =
            self.plane.publisher.organizations().into_iter().filter(|id| self.may_hold(*id)).collect();
        let gone: Vec<_> = self.held.keys().copied().filter(|id| !known.contains(id)).collect();
        for organization in gone {
            self.forget(organization).await?;
        }
        self.pending = known;
        Ok(())
    }

    fn may_hold(&self, organization: OrganizationId) -> bool {
        self.group.holds.includes(organization)
    }

    async fn forget(&mut self, organization: OrganizationId) -> Result<(), End> {
        self.held.remove(&organization);
        self.granted.remove(&organization);
        self.pending.remove(&organization);
        self.place.report(|status| status.acknowledged.retain(|(id, _)| *id != organization));
        self.send(Down::Forget(v1::Forget { organization_id: organization.to_string() })).await
    }

    /// Brings every organization that changed up to date.
    async fn settle(&mut self) -> Result<(), End> {
        while let Some(organization) = self.pending.pop_first() {
            self.bring_up(organization).await?;
            self.overtaken().await?;
        }
        Ok(())
    }

    /// Looks for announcements without waiting: revocations go out at once, the rest is noted.
    async fn overtaken(&mut self) -> Result<(), End> {
        loop {
            match self.announcements.try_recv() {
                Ok(announcement) => self.announced(Ok(announcement)).await?,
                Err(TryRecvError::Lagged(missed)) => self.announced(Err(RecvError::Lagged(missed))).await?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn announced(&mut self, announcement: Result<Announcement, RecvError>) -> Result<(), End> {
        match announcement {
            Ok(Announcement::Changed(organization)) if self.may_hold(organization) => {
                self.pending.insert(organization);
            }
            Ok(Announcement::Urgent(organization, urgent))
                if self.held.contains_key(&organization) && self.may_hold(organization) =>
            {
                self.send(Down::Urgent((*urgent).clone())).await?;
            }
            Ok(Announcement::Group(group)) if group == self.group.id => self.regroup(group).await?,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                let all = self.plane.publisher.organizations();
                self.pending.extend(all.into_iter().filter(|id| self.group.holds.includes(*id)));
            }
            Err(RecvError::Closed) => {
                return Err(End::Drain { retry_after_ms: 1_000, reason: "control plane is stopping" });
            }
        }
        Ok(())
    }

    /// What the group may hold changed: say so, forget what left, send what came.
    async fn regroup(&mut self, id: NodeGroupId) -> Result<(), End> {
        let found = async {
            let mut tx = self.plane.cx.store.system().await?;
            store::nodes::find_group(&mut tx, id).await
        };
        let group = found.await.map_err(|error| End::Status(self.plane.unavailable(&error)))?;
        self.group = group.unwrap_or_else(|| NodeGroup { holds: Holds::Only(Vec::new()), ..self.group.clone() });
        // Boxed, because a welcome may meet another change of the group.
        Box::pin(self.welcome()).await
    }

    async fn bring_up(&mut self, organization: OrganizationId) -> Result<(), End> {
        if !self.may_hold(organization) {
            return Ok(());
        }
        let Some(published) = self.plane.publisher.get(organization) else { return Ok(()) };
        self.grant(organization, &published).await?;
        let held = self.held.get(&organization).copied();
        let statement = self.plane.publisher.statement(&published, held.map(|sent| (sent.revision, sent.count))).await;
        let statement = statement.map_err(|error| End::Status(self.plane.unavailable(&error)))?;
        let Some(signed) = statement else {
            tracing::error!(
                organization.id = %organization,
                node.id = %self.node.id,
                revision = published.revision(),
                "policy of {organization} shrinks by more than half without changes that explain it; withheld from nodes until it is looked into"
            );
            return Ok(());
        };
        match published.plan(held.map(|sent| (sent.revision, sent.hash))) {
            Plan::Current => {
                self.send(Down::Confirm(v1::Confirm { held: Some(frame::revision_message(&signed)) })).await?;
            }
            Plan::Delta(delta) => {
                let target = Some(frame::revision_message(&signed));
                self.send(Down::Delta(v1::Delta { target, ..delta })).await?;
            }
            Plan::Full => self.full_set(organization, &published, &signed).await?,
        }
        let Revision { number: revision, set_hash: hash, resource_count: count, .. } = signed.statement;
        self.held.insert(organization, Sent { revision, hash, count, is_acked: false, at: Instant::now() });
        Ok(())
    }

    async fn grant(&mut self, organization: OrganizationId, published: &Published) -> Result<(), End> {
        for (version, key) in published.data_keys() {
            if self.granted.get(&organization).is_some_and(|granted| granted.contains(version)) {
                continue;
            }
            let place = grant_place(organization, *version, self.node.id);
            let public = HpkePublicKey(self.node.hpke_public_key.clone());
            let sealed = SUITE.seal(KEY_GRANT_INFO, place.as_bytes(), key.as_ref(), &public);
            let (encapsulated, ciphertext) = sealed.map_err(|_| {
                End::Status(Status::failed_precondition("the node's HPKE key cannot be used; enrol anew"))
            })?;
            self.send(Down::KeyGrant(v1::KeyGrant {
                organization_id: organization.to_string(),
                data_key_version: *version,
                encapsulated: encapsulated.0.into(),
                ciphertext: ciphertext.into(),
            }))
            .await?;
            self.granted.entry(organization).or_default().insert(*version);
        }
        Ok(())
    }

    async fn full_set(
        &mut self,
        organization: OrganizationId,
        published: &Published,
        signed: &Signed<Revision>,
    ) -> Result<(), End> {
        let plane = Arc::clone(&self.plane);
        // The semaphore is never closed.
        let _place = plane.full_sets.acquire().await.map_err(|_| End::Gone)?;
        let chunks = chunks(published.set().iter());
        let chunk_count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let target = Some(frame::revision_message(signed));
        self.send(Down::FullSetBegin(v1::FullSetBegin { target, chunk_count })).await?;
        for (resources, index) in chunks.into_iter().zip(0..) {
            self.overtaken().await?;
            let organization_id = organization.to_string();
            self.send(Down::FullSetChunk(v1::FullSetChunk { organization_id, index, resources })).await?;
        }
        let (organization_id, revision) = (organization.to_string(), signed.statement.number);
        self.send(Down::FullSetEnd(v1::FullSetEnd { organization_id, revision })).await
    }

    // === Receiving ===

    async fn received(&mut self, message: v1::NodeMessage) -> Result<(), End> {
        self.last_heard = Instant::now();
        if self.last_noted.elapsed() > CONTACT_EVERY {
            self.last_noted = Instant::now();
            let now = self.plane.cx.now();
            self.place.report(|status| status.last_contact_at = Some(now));
        }
        match message.body {
            Some(Up::Ack(ack)) => self.acknowledged(&ack.organization_id, ack.revision, None),
            Some(Up::Nack(nack)) => self.refused(&nack),
            Some(Up::Resync(request)) => self.resync(&request)?,
            Some(Up::Status(status)) => self.reported(&status),
            Some(Up::Ping(ping)) => self.send(Down::Pong(v1::Pong { nonce: ping.nonce })).await?,
            Some(Up::Hello(_)) => return Err(End::Status(Status::invalid_argument("hello comes once"))),
            Some(Up::Pong(_)) | None => {}
        }
        Ok(())
    }

    /// Reads an organization that a node names; one outside its group is refused and written down.
    fn named(&self, organization: &str) -> Option<OrganizationId> {
        let id = organization.parse().ok()?;
        if self.may_hold(id) {
            return Some(id);
        }
        let cx = &self.plane.cx;
        if cx.denials.is_new(format!("{}|{id}", self.node.id), "node.scope", cx.now()) {
            tracing::warn!(node.id = %self.node.id, organization.id = %id, "node asked about an organization outside its group");
            let after = Some(serde_json::json!({ "organization_id": id }).to_string());
            let audit = Audit { outcome: AuditOutcome::Denied, after, ..about("node.scope", &self.node) };
            self.plane.audit(self.node.organization_id, self.node.id, audit);
        }
        None
    }

    fn acknowledged(&mut self, organization: &str, revision: u64, nack: Option<Nack>) {
        let Some(organization) = self.named(organization) else { return };
        if let Some(sent) = self.held.get_mut(&organization).filter(|sent| sent.revision == revision) {
            sent.is_acked = true;
        }
        let now = self.plane.cx.now();
        self.place.report(|status| {
            status.last_contact_at = Some(now);
            match status.acknowledged.iter_mut().find(|(id, _)| *id == organization) {
                Some((_, acknowledged)) => *acknowledged = revision,
                None => status.acknowledged.push((organization, revision)),
            }
            // A whole acknowledgement mends what was refused before.
            if nack.is_some() || status.last_nack.as_ref().is_some_and(|nack| nack.organization_id == organization) {
                status.last_nack = nack;
            }
        });
    }

    fn refused(&mut self, nack: &v1::Nack) {
        let Some(organization) = self.named(&nack.organization_id) else { return };
        let now = self.plane.cx.now();
        let is_whole = nack.refusal != i32::from(v1::Refusal::Unspecified);
        let mut reasons: Vec<_> = nack.bad.iter().map(reason).collect();
        if is_whole {
            let refusal = v1::Refusal::try_from(nack.refusal).map_or("unknown", |refusal| refusal.as_str_name());
            reasons
                .push((format!("organization/{organization}"), format!("{}: {}", refusal.to_lowercase(), nack.detail)));
        }
        reasons.truncate(100);
        let detail = Nack { organization_id: organization, revision: nack.revision, at: now, reasons };
        tracing::warn!(node.id = %self.node.id, organization.id = %organization, revision = nack.revision, reasons = ?detail.reasons, "node refused policy");
        if self.audited.insert((organization, nack.revision)) {
            let after = serde_json::json!({ "revision": nack.revision, "reasons": detail.reasons });
            let audit = Audit { after: Some(after.to_string()), ..about("node.nack", &self.node) };
            self.plane.audit(organization, self.node.id, audit);
        }
        if is_whole {
            // What it holds is no longer known here; the next change or its own request brings a full set.
            self.held.remove(&organization);
            self.place.report(|status| status.last_nack = Some(detail));
        } else {
            self.acknowledged(&nack.organization_id, nack.revision, Some(detail));
        }
    }

    fn resync(&mut self, request: &v1::ResyncRequest) -> Result<(), End> {
        let Some(organization) = self.named(&request.organization_id) else { return Ok(()) };
        self.resyncs += 1;
        if self.resyncs > MAX_RESYNCS {
            return Err(End::Drain { retry_after_ms: 30_000, reason: "too many full sets asked for" });
        }
        tracing::info!(node.id = %self.node.id, organization.id = %organization, reason = request.reason, "node asks for the full set");
        self.held.remove(&organization);
        self.pending.insert(organization);
        Ok(())
    }

    fn reported(&self, report: &v1::NodeStatus) {
        let now = self.plane.cx.now();
        self.place.report(|status| {
            status.last_contact_at = Some(now);
            status.spool_depth = report.spool_events;
            status.spool_dropped = report.lost_events;
        });
        for it in &report.held {
            let Some(organization) = self.named(&it.organization_id) else { continue };
            let sent = self.held.get(&organization).filter(|sent| sent.is_acked && sent.revision == it.revision);
            // Drift: the node says that it holds a revision, but not what the revision is.
            if let Some(sent) = sent
                && sent.hash.0[..] != it.set_hash[..]
            {
                tracing::error!(node.id = %self.node.id, organization.id = %organization, revision = it.revision, "node holds another state than the one it acknowledged");
            }
        }
    }
}

fn reason(bad: &v1::BadResource) -> (String, String) {
    let kind = frame::kind(bad.kind).map_or("unknown", Kind::as_str);
    (format!("{kind}/{}", bad.id), format!("{}: {}", bad.reason, bad.detail))
}

fn chunks(resources: impl Iterator<Item = Resource>) -> Vec<Vec<v1::Resource>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for resource in resources {
        bytes += resource.content.len() + 128;
        if bytes > CHUNK_BYTES {
            bytes = resource.content.len() + 128;
            chunks.push(Vec::new());
        }
        if let Some(last) = chunks.last_mut() {
            last.push(frame::resource_message(&resource));
        }
    }
    chunks
}
