//! One node's sync stream: sends what the node may hold and lacks, hears what became of it.
//!
//! Nothing is queued per node but the names of organizations that changed: when the stream is free again, one delta leads to the
//! latest revision, so a slow node costs a few names, and a stalled one is cut. What takes something out of use overtakes: it is
//! looked for between any two messages, also inside a full set. Invariant: nothing of an organization outside the node's group is ever sent.

mod hearing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Audit, AuditOutcome};
use domain::node::{Holds, Node, NodeGroup, NodeStatus};
use domain::{NodeGroupId, OrganizationId};
use policy::Kind;
use policy::sign::{KEY_GRANT_INFO, NodeScope, Signed, grant_place};
use policy::wire::frame;
use proto::v1;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{Hpke as _, HpkePublicKey};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::{Status, Streaming};
use v1::control_message::Body as Down;

use super::holding::{Holding, State};
use super::transfer::{Stalled, Transfer};
use crate::publisher::{Announcement, Plan, Published};
use crate::sync::nodes::{Nodes, Place};
use crate::sync::{Plane, about, printable};

/// Longest name of a life of a node.
const MAX_BOOT: usize = 64;
/// An acknowledgement must come within this.
const ACK_WITHIN: Duration = Duration::from_secs(90);

pub(super) struct Session {
    plane: Arc<Plane>,
    node: Node,
    group: NodeGroup,
    place: Place,
    outgoing: mpsc::Sender<Result<v1::ControlMessage, Status>>,
    announcements: broadcast::Receiver<Announcement>,
    /// What the node understands.
    kinds: BTreeSet<Kind>,
    holdings: BTreeMap<OrganizationId, Holding>,
    pending: BTreeSet<OrganizationId>,
    transfer: Option<Transfer>,
    /// Need a full set after the one under way.
    queued: BTreeSet<OrganizationId>,
    is_synced: bool,
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
    /// The node takes nothing.
    Slow,
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
        let withheld: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        if let Some(kind) = withheld.iter().find(|kind| !kind.may_be_withheld()) {
            let text = format!("the node does not understand resources of the kind {}; upgrade it", kind.as_str());
            return Err(Status::failed_precondition(text));
        }
        let holdings: BTreeMap<_, _> = said(&hello.held).collect();
        // Before anything is looked at, so that no change falls between looking and listening.
        let announcements = plane.publisher.subscribe();
        let status = NodeStatus {
            is_connected: true,
            build: printable(&hello.build, 80),
            last_contact_at: Some(plane.cx.now()),
            acknowledged: holdings
                .iter()
                .filter(|(organization, _)| group.holds.includes(**organization))
                .map(|(organization, holding)| (*organization, revision_of(holding)))
                .collect(),
            withheld: withheld.iter().map(|kind| kind.as_str().to_owned()).collect(),
            ..NodeStatus::default()
        };
        let (place, is_double) = Nodes::enter(&plane, (&node, &group), &printable(&hello.boot_id, MAX_BOOT), status);
        if is_double {
            tracing::error!(node.id = %node.id, "two processes use the identity of {}; the later one stays", node.id);
            plane.audit(
                node.organization_id,
                node.id,
                Audit { outcome: AuditOutcome::Denied, ..about("node.double", &node) },
            );
        }
        let now = Instant::now();
        Ok(Self {
            plane,
            node,
            group,
            place,
            outgoing,
            announcements,
            kinds,
            holdings,
            pending: BTreeSet::new(),
            transfer: None,
            queued: BTreeSet::new(),
            is_synced: false,
            audited: BTreeSet::new(),
            resyncs: 0,
            nonce: 0,
            last_heard: now,
            last_noted: now,
        })
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
            End::Slow => self.cut_slow(),
            End::Gone => {}
        }
    }

    /// The stream goes with its channel; nothing can be said to a node that takes nothing.
    fn cut_slow(&self) {
        let (node, cx) = (&self.node, &self.plane.cx);
        let within_ms = u64::try_from(self.plane.config.send_within.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(node.id = %node.id, within_ms, "{} takes messages too slowly; its stream is cut", node.name);
        if cx.denials.is_new(node.id.to_string(), "node.slow", cx.now()) {
            let audit = Audit { outcome: AuditOutcome::Denied, ..about("node.slow", node) };
            self.plane.audit(node.organization_id, node.id, audit);
        }
    }

    async fn run(&mut self, mut incoming: Streaming<v1::NodeMessage>) -> Result<std::convert::Infallible, End> {
        self.plane.publisher.loaded().await;
        self.welcome().await?;
        let mut pings = tokio::time::interval_at(Instant::now() + self.plane.config.ping, self.plane.config.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let life = tokio::time::sleep(self.plane.config.stream_life);
        tokio::pin!(life);
        let cancel = self.place.cancel.clone();
        let within = self.plane.config.send_within;
        loop {
            self.settle().await?;
            tokio::select! {
                // In this order: a full set goes on when nothing else is to be done.
                biased;
                () = cancel.cancelled() => return Err(self.cancelled()),
                announcement = self.announcements.recv() => self.announced(announcement).await?,
                message = incoming.message() => {
                    let message = message.map_err(|_| End::Gone)?.ok_or(End::Gone)?;
                    self.received(message).await?;
                }
                _ = pings.tick() => self.tick().await?,
                () = &mut life => return Err(End::Drain { retry_after_ms: 1_000, reason: "stream lifetime reached" }),
                ready = next_of(self.transfer.as_mut(), &self.outgoing, within) => {
                    ready.map_err(|Stalled| End::Slow)?;
                    self.go_on().await?;
                }
            }
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
    async fn send(&mut self, body: Down) -> Result<(), End> {
        let message = match self.outgoing.try_send(Ok(v1::ControlMessage { body: Some(body) })) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(End::Gone),
            Err(mpsc::error::TrySendError::Full(message)) => message,
        };
        // Others must not wait for this node.
        if let Some(transfer) = &mut self.transfer {
            transfer.give_back();
        }
        tokio::select! {
            sent = tokio::time::timeout(self.plane.config.send_within, self.outgoing.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Slow),
            },
            () = self.place.cancel.cancelled() => Err(self.cancelled()),
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.nonce += 1;
        let policy_age_ms = u64::try_from(self.plane.publisher.age().as_millis()).unwrap_or(u64::MAX);
        let unread = self.plane.publisher.unread().into_iter().filter(|id| self.may_hold(*id));
        let unread_organization_ids = unread.map(|id| id.to_string()).collect();
        let (nodes, place) =
            self.plane.nodes.share(self.node.id).map_or((0, 0), |share| (share.nodes(), share.place()));
        let ping = v1::Ping { nonce: self.nonce, policy_age_ms, unread_organization_ids, nodes, place };
        self.send(Down::Ping(ping)).await
    }

    async fn tick(&mut self) -> Result<(), End> {
        if self.last_heard.elapsed() > self.plane.config.ping * 7 / 2 {
            return Err(End::Status(Status::deadline_exceeded("the node is silent")));
        }
        let waiting = self.holdings.values().filter_map(Holding::waits_since);
        if waiting.min().is_some_and(|since| since.elapsed() > ACK_WITHIN) {
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
        let gone: BTreeSet<_> = self.holdings.keys().copied().filter(|id| !known.contains(id)).collect();
        // At once, since a node may name very many.
        self.place.report(|status| status.acknowledged.retain(|(id, _)| !gone.contains(id)));
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
        self.holdings.remove(&organization);
        self.pending.remove(&organization);
        self.queued.remove(&organization);
        if self.transfer.as_ref().is_some_and(|transfer| transfer.organization() == organization) {
            self.transfer = None;
        }
        self.send(Down::Forget(v1::Forget { organization_id: organization.to_string() })).await
    }

    /// Brings every organization that changed up to date, as far as that takes no full set; says so when all is sent.
    async fn settle(&mut self) -> Result<(), End> {
        while let Some(organization) = self.pending.pop_first() {
            self.bring_up(organization).await?;
            self.overtaken().await?;
        }
        if !self.is_synced && self.transfer.is_none() {
            self.is_synced = true;
            self.send(Down::Synced(v1::Synced {})).await?;
            self.ping().await?;
        }
        Ok(())
    }

    /// Sends the next message of the full set that is under way.
    async fn go_on(&mut self) -> Result<(), End> {
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        if let Some(message) = transfer.next() {
            let (organization, state, is_over) = (transfer.organization(), transfer.state(), transfer.is_over());
            self.send(message).await?;
            if is_over {
                self.transfer = None;
                self.holdings.entry(organization).or_default().sent(state, Instant::now());
                // It may have changed meanwhile; and now it is the others' turn.
                self.pending.insert(organization);
                self.pending.append(&mut self.queued);
            }
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
            // Whatever follows: a delta may be refused, withheld, or wait behind something large.
            Ok(Announcement::Urgent(organization, urgent)) if self.may_hold(organization) => {
                self.urge(organization, &urgent).await?;
            }
            Ok(Announcement::Shares) if self.is_synced => self.ping().await?,
            Ok(Announcement::Group(group)) if group == self.group.id => self.regroup(group).await?,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                let mut all = self.plane.publisher.organizations();
                all.retain(|id| self.group.holds.includes(*id));
                for organization in &all {
                    self.urge_again(*organization).await?;
                }
                self.pending.extend(all);
            }
            Err(RecvError::Closed) => {
                return Err(End::Drain { retry_after_ms: 1_000, reason: "control plane is stopping" });
            }
        }
        Ok(())
    }

    /// Tells what was taken out of use to a node that holds something which may still use it.
    async fn urge(&mut self, organization: OrganizationId, urgent: &v1::Urgent) -> Result<(), End> {
        if self.holdings.get(&organization).and_then(Holding::latest).is_none() {
            return Ok(());
        }
        // A replaced secret may be sealed with a data key that the node does not have yet.
        if let Some(published) = self.plane.publisher.get(organization, &self.kinds) {
            self.grant(organization, &published).await?;
        }
        let holding = self.holdings.entry(organization).or_default();
        holding.urged = holding.urged.max(urgent.revision);
        self.send(Down::Urgent(urgent.clone())).await
    }

    /// The same, of all that it may have missed: before a full set, which takes its time, and when announcements were lost.
    async fn urge_again(&mut self, organization: OrganizationId) -> Result<(), End> {
        let Some(holding) = self.holdings.get(&organization) else { return Ok(()) };
        let (Some(held), urged) = (holding.latest(), holding.urged) else { return Ok(()) };
        let missed = self.plane.publisher.urgent_after(organization, held.revision).await;
        let missed = missed.map_err(|error| End::Status(self.plane.unavailable(&error)))?;
        for urgent in missed.iter().filter(|urgent| urgent.revision >= urged) {
            self.urge(organization, urgent).await?;
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
        self.place.regrouped(&self.group.holds);
        // Boxed, because a welcome may meet another change of the group.
        Box::pin(self.welcome()).await
    }

    async fn bring_up(&mut self, organization: OrganizationId) -> Result<(), End> {
        if !self.may_hold(organization) {
            return Ok(());
        }
        if self.transfer.as_ref().is_some_and(|transfer| transfer.organization() == organization) {
            // Nothing of it comes between its chunks; the end looks again.
            return Ok(());
        }
        let Some(published) = self.plane.publisher.get(organization, &self.kinds) else { return Ok(()) };
        if let Some(held) = self.holdings.get(&organization).and_then(Holding::latest)
            && held.revision > published.revision()
        {
            self.ahead(organization, held.revision, published.revision());
            return Ok(());
        }
        self.grant(organization, &published).await?;
        let holding = self.holdings.get(&organization);
        let (held, base) = (holding.and_then(Holding::latest), holding.and_then(Holding::base));
        if holding.is_some_and(|holding| holding.is_at(published.revision(), published.set().hash())) {
            return Ok(());
        }
        let statement = self.plane.publisher.statement(&published, held.map(|held| (held.revision, held.count))).await;
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
        match published.plan(base) {
            Plan::Current => {
                self.send(Down::Confirm(v1::Confirm { held: Some(frame::revision_message(&signed)) })).await?;
            }
            Plan::Delta(delta) => {
                let target = Some(frame::revision_message(&signed));
                self.send(Down::Delta(v1::Delta { target, ..delta })).await?;
            }
            Plan::Full if self.transfer.is_some() => {
                self.queued.insert(organization);
                return self.urge_again(organization).await;
            }
            Plan::Full => {
                self.urge_again(organization).await?;
                let plane = Arc::clone(&self.plane);
                self.transfer = Some(Transfer::new(organization, published, signed, plane));
                return Ok(());
            }
        }
        let statement = signed.statement;
        let state = State { revision: statement.number, hash: statement.set_hash, count: statement.resource_count };
        self.holdings.entry(organization).or_default().sent(state, Instant::now());
        Ok(())
    }

    /// The node has seen later revisions than this process knows. Either this process is late, and will know them soon; or the
    /// database was restored from a backup, and only an operator can say so. The node is left as it is.
    fn ahead(&self, organization: OrganizationId, held: u64, known: u64) {
        let cx = &self.plane.cx;
        if !cx.denials.is_new(format!("{}|{organization}", self.node.id), "node.ahead", cx.now()) {
            return;
        }
        tracing::warn!(
            node.id = %self.node.id, organization.id = %organization, held, known,
            "node holds a later revision than the database has; if that was restored from a backup, run `headgate admin restored`"
        );
        let after = Some(serde_json::json!({ "held": held, "known": known }).to_string());
        let audit = Audit { outcome: AuditOutcome::Denied, after, ..about("node.ahead", &self.node) };
        self.plane.audit(organization, self.node.id, audit);
    }

    async fn grant(&mut self, organization: OrganizationId, published: &Published) -> Result<(), End> {
        for (version, key) in published.data_keys() {
            if self.holdings.get(&organization).is_some_and(|holding| holding.granted.contains(version)) {
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
            self.holdings.entry(organization).or_default().granted.insert(*version);
        }
        Ok(())
    }
}

/// Waits for a transfer's next step; without one, for ever.
async fn next_of(
    transfer: Option<&mut Transfer>,
    outgoing: &mpsc::Sender<Result<v1::ControlMessage, Status>>,
    within: Duration,
) -> Result<(), Stalled> {
    match transfer {
        Some(transfer) => transfer.ready(outgoing, within).await,
        None => std::future::pending().await,
    }
}

/// What a node says it holds.
fn said(held: &[v1::Held]) -> impl Iterator<Item = (OrganizationId, Holding)> {
    held.iter().filter_map(|it| {
        let (organization, hash) = (it.organization_id.parse().ok()?, frame::set_hash("set_hash", &it.set_hash).ok()?);
        let state = State { revision: it.revision, hash, count: it.resource_count };
        Some((organization, Holding::said(state, it.data_key_versions.iter().copied().collect())))
    })
}

fn revision_of(holding: &Holding) -> u64 {
    holding.acknowledged().map_or(0, |state| state.revision)
}
