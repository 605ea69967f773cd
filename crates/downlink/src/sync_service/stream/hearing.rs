//! What a node says on its stream: acknowledgements, refusals, requests for everything, and how it fares.
//!
//! Nothing is sent from here but answers to pings; what follows from a message is noted and the session's loop acts on it.
//! Invariant: what a node says about an organization outside its group has no effect but an audit entry.

use std::time::Duration;

use domain::OrganizationId;
use domain::audit::{Audit, AuditOutcome};
use domain::node::{Drift, Nack};
use policy::Kind;
use policy::wire::frame;
use proto::v1;
use tokio::time::Instant;
use tonic::Status;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::super::holding::Holding;
use super::{End, Session};
use crate::sync::{about, printable};

/// Full sets that a node may need in one stream.
const MAX_RESYNCS: u32 = 16;
/// Refusals of one stream that are written into audit logs; a node has no reason for more.
const MAX_AUDITED: usize = 256;
/// Reasons of one refusal that are kept, and the length of each.
const MAX_REASONS: usize = 100;
const MAX_REASON: usize = 500;
/// How often a contact is written down when nothing else changes.
const CONTACT_EVERY: Duration = Duration::from_secs(5);

impl Session {
    pub(super) async fn received(&mut self, message: v1::NodeMessage) -> Result<(), End> {
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
            Some(Up::Status(status)) => self.reported(&status)?,
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
            // Of one that nobody knows nothing was sent, and nothing is kept for it.
            return Some(id).filter(|id| self.plane.publisher.is_known(*id));
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
        let Some(holding) = self.holdings.get_mut(&organization) else { return };
        // What was never sent cannot be held.
        if !holding.acknowledge(revision) {
            return;
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
        let mut reasons: Vec<_> = nack.bad.iter().take(MAX_REASONS - 1).map(reason).collect();
        if is_whole {
            let refusal = v1::Refusal::try_from(nack.refusal).map_or("unknown", |refusal| refusal.as_str_name());
            let text = printable(&format!("{}: {}", refusal.to_lowercase(), nack.detail), MAX_REASON);
            reasons.push((format!("organization/{organization}"), text));
        }
        let detail = Nack { organization_id: organization, revision: nack.revision, at: now, reasons };
        tracing::warn!(node.id = %self.node.id, organization.id = %organization, revision = nack.revision, reasons = ?detail.reasons, "node refused policy");
        let is_first = self.audited.len() < MAX_AUDITED && self.audited.insert((organization, nack.revision));
        if is_first {
            let after = serde_json::json!({ "revision": nack.revision, "reasons": detail.reasons });
            let audit = Audit { after: Some(after.to_string()), ..about("node.nack", &self.node) };
            self.plane.audit(organization, self.node.id, audit);
        }
        if is_whole {
            // It serves what it acknowledged last; the next change or its own request brings everything.
            self.holdings.entry(organization).or_default().refuse();
            self.place.report(|status| status.last_nack = Some(detail));
            // Measured against what it really holds, the shrinking may be confirmed.
            if is_first && nack.refusal == i32::from(v1::Refusal::Shrink) {
                self.pending.insert(organization);
            }
        } else {
            self.acknowledged(&nack.organization_id, nack.revision, Some(detail));
        }
    }

    fn resync(&mut self, request: &v1::ResyncRequest) -> Result<(), End> {
        let Some(organization) = self.named(&request.organization_id) else { return Ok(()) };
        tracing::info!(node.id = %self.node.id, organization.id = %organization, reason = printable(&request.reason, MAX_REASON), "node asks for the full set");
        self.send_everything(organization)
    }

    fn send_everything(&mut self, organization: OrganizationId) -> Result<(), End> {
        self.resyncs += 1;
        if self.resyncs > MAX_RESYNCS {
            return Err(End::Drain { retry_after_ms: 30_000, reason: "too many full sets needed" });
        }
        self.holdings.entry(organization).or_default().refuse();
        self.pending.insert(organization);
        Ok(())
    }

    fn reported(&mut self, report: &v1::NodeStatus) -> Result<(), End> {
        let now = self.plane.cx.now();
        self.place.report(|status| {
            status.last_contact_at = Some(now);
            status.spool_depth = report.spool_events;
            status.spool_dropped = report.lost_events;
            status.is_draining = report.draining;
        });
        for it in &report.held {
            let Some(organization) = self.named(&it.organization_id) else { continue };
            let acknowledged = self.holdings.get(&organization).and_then(Holding::acknowledged);
            // The node says that it holds a revision, but not what the revision is.
            if acknowledged.is_some_and(|state| state.revision == it.revision && state.hash.0[..] != it.set_hash[..]) {
                self.drifted(organization, it.revision)?;
            }
        }
        Ok(())
    }

    /// What the node holds is not what it acknowledged: say so, and replace it as a whole.
    fn drifted(&mut self, organization: OrganizationId, revision: u64) -> Result<(), End> {
        let cx = &self.plane.cx;
        let drift = Drift { organization_id: organization, revision, at: cx.now() };
        tracing::error!(node.id = %self.node.id, organization.id = %organization, revision, "node holds another state than the one it acknowledged; it gets the whole set");
        if cx.denials.is_new(format!("{}|{organization}", self.node.id), "node.drift", cx.now()) {
            let after = Some(serde_json::json!({ "revision": revision }).to_string());
            let audit = Audit { outcome: AuditOutcome::Denied, after, ..about("node.drift", &self.node) };
            self.plane.audit(organization, self.node.id, audit);
        }
        self.place.report(|status| status.drift = Some(drift));
        self.send_everything(organization)
    }
}

fn reason(bad: &v1::BadResource) -> (String, String) {
    let kind = frame::kind(bad.kind).map_or("unknown", Kind::as_str);
    (
        printable(&format!("{kind}/{}", bad.id), MAX_REASON),
        printable(&format!("{}: {}", bad.reason, bad.detail), MAX_REASON),
    )
}
