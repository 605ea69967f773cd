//! What the spool keeps of a call: that it was opened, and how it ended.
//!
//! The end of a call is the protocol's `UsageEvent` message, so a record is sent as it was written; its beginning, read only
//! after a crash, is a few fixed fields. Invariant: an opened call that never ended (the node died) becomes an event with
//! outcome `interrupted`, no tokens and no cost, flagged as not known; its holds are charges.

use domain::budget::{Charge, Window};
use domain::usage::{CacheUse, Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent};
use domain::{EnvironmentId, NanoUsd, NodeId, OrganizationId, RequestId, Timestamp, VirtualKeyId, WorkspaceId};

/// A call that is about to be sent upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCall {
    /// The request.
    pub id: RequestId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The workspace of the key.
    pub workspace_id: WorkspaceId,
    /// The environment of the key.
    pub environment_id: EnvironmentId,
    /// The key that called.
    pub virtual_key_id: VirtualKeyId,
    /// The node that serves.
    pub node_id: NodeId,
    /// What was called.
    pub endpoint: Endpoint,
    /// The model the client asked for.
    pub model: String,
    /// Whether the client asked for a stream.
    pub is_stream: bool,
    /// When the head of the request arrived.
    pub started_at: Timestamp,
    /// The revision of policy that decided.
    pub policy_revision: u64,
    /// What it may take from accounts of budgets at most. A call that was sent again with more is noted again; the last note counts.
    pub holds: Vec<Charge>,
}

/// One thing to be kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A call is about to be sent upstream.
    Opened(OpenedCall),
    /// A call has ended.
    Ended(Box<UsageEvent>),
}

impl Entry {
    pub(crate) fn request_id(&self) -> RequestId {
        match self {
            Self::Opened(call) => call.id,
            Self::Ended(event) => event.id,
        }
    }
}

impl OpenedCall {
    /// Returns the event that stands for this call if it never ends.
    #[must_use]
    pub fn interrupted(&self) -> UsageEvent {
        UsageEvent {
            id: self.id,
            organization_id: self.organization_id,
            workspace_id: self.workspace_id,
            environment_id: self.environment_id,
            virtual_key_id: self.virtual_key_id,
            node_id: self.node_id,
            endpoint: self.endpoint,
            model: self.model.clone(),
            route_id: None,
            deployment_id: None,
            provider: None,
            upstream_model: None,
            is_stream: self.is_stream,
            outcome: Outcome::Interrupted,
            // The client saw its connection break.
            status: 499,
            code: None,
            finish_reason: None,
            started_at: self.started_at,
            duration_us: 0,
            first_byte_us: None,
            overhead_us: 0,
            usage: TokenUsage::default(),
            units: UnitUsage::default(),
            // The upstream may have worked and billed; how much is not known, and a guess is never billed.
            is_estimated: true,
            is_unmetered: false,
            cost: NanoUsd::ZERO,
            price_id: None,
            cache: CacheUse::default(),
            policy_revision: self.policy_revision,
            end_user: None,
            conversation_id: None,
            trace_id: None,
            metadata: Vec::new(),
            routing: None,
            tags: Vec::new(),
            dropped: Vec::new(),
            attempts: Vec::new(),
            // What was set aside counts as taken, in full: money that may have been spent is not free.
            charges: self.holds.clone(),
            // What was shown is not noted before the end.
            is_by_old_secret: false,
        }
    }

    /// Appends the note that the spool keeps.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let ids = [
            self.id.as_uuid(),
            self.organization_id.as_uuid(),
            self.workspace_id.as_uuid(),
            self.environment_id.as_uuid(),
            self.virtual_key_id.as_uuid(),
            self.node_id.as_uuid(),
        ];
        for id in ids {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out.extend_from_slice(&self.started_at.as_micros().to_le_bytes());
        out.extend_from_slice(&self.policy_revision.to_le_bytes());
        out.push(u8::from(self.is_stream));
        out.extend_from_slice(self.endpoint.as_str().as_bytes());
        out.push(0);
        // The mark between the parts is in no model that is served.
        for (n, part) in self.model.split('\0').enumerate() {
            out.extend_from_slice(if n == 0 { &[] } else { "\u{fffd}".as_bytes() });
            out.extend_from_slice(part.as_bytes());
        }
        for hold in &self.holds {
            out.push(0);
            let lease = hold.lease_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let head = format!("{} {} {lease} {} ", hold.budget_id, hold.window, hold.amount);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(hold.group_key.as_bytes());
        }
    }

    /// Reads a note; `None` when another build wrote it in another form.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut id = || {
            let (id, after) = rest.split_first_chunk::<16>()?;
            rest = after;
            Some(u128::from_le_bytes(*id))
        };
        let ids = [id()?, id()?, id()?, id()?, id()?, id()?];
        let (started_at, rest) = rest.split_first_chunk::<8>()?;
        let (policy_revision, rest) = rest.split_first_chunk::<8>()?;
        let (is_stream, rest) = rest.split_first()?;
        let mut texts = std::str::from_utf8(rest).ok()?.split('\0');
        let (endpoint, model) = (texts.next()?, texts.next()?);
        Some(Self {
            id: RequestId::from_uuid(ids[0]),
            organization_id: OrganizationId::from_uuid(ids[1]),
            workspace_id: WorkspaceId::from_uuid(ids[2]),
            environment_id: EnvironmentId::from_uuid(ids[3]),
            virtual_key_id: VirtualKeyId::from_uuid(ids[4]),
            node_id: NodeId::from_uuid(ids[5]),
            endpoint: Endpoint::find(endpoint)?,
            model: model.to_owned(),
            is_stream: *is_stream != 0,
            started_at: Timestamp::from_micros(i64::from_le_bytes(*started_at)),
            policy_revision: u64::from_le_bytes(*policy_revision),
            holds: texts.map(read_hold).collect::<Option<_>>()?,
        })
    }
}

fn read_hold(text: &str) -> Option<Charge> {
    let mut words = text.splitn(5, ' ');
    Some(Charge {
        budget_id: words.next()?.parse().ok()?,
        window: Window::find(words.next()?)?,
        lease_id: match words.next()? {
            "-" => None,
            id => Some(id.parse().ok()?),
        },
        amount: words.next()?.parse().ok()?,
        group_key: words.next()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use domain::{BudgetId, LeaseId};

    use super::*;
    use crate::usage::samples::opened;

    #[test]
    fn a_note_round_trips_and_a_cut_one_is_refused() {
        let holds = vec![hold(Some(LeaseId::from_uuid(3)), "a b|c"), hold(None, "")];
        let call = OpenedCall { holds, ..opened(7) };
        let mut bytes = Vec::new();
        call.write(&mut bytes);
        assert_eq!(OpenedCall::read(&bytes), Some(call));
        assert_eq!(OpenedCall::read(&bytes[..100]), None);
        assert_eq!(OpenedCall::read(&bytes[..bytes.len() - 5]), None);
    }

    #[test]
    fn a_call_that_never_ended_takes_all_that_was_set_aside() {
        let holds = vec![hold(Some(LeaseId::from_uuid(3)), "a")];
        let event = OpenedCall { holds: holds.clone(), ..opened(7) }.interrupted();
        assert_eq!((event.charges, event.cost), (holds, NanoUsd::ZERO));
    }

    #[test]
    fn a_note_of_an_earlier_release_has_no_holds() {
        let mut bytes = Vec::new();
        opened(7).write(&mut bytes);
        assert_eq!(OpenedCall::read(&bytes).map(|call| call.holds), Some(Vec::new()));
    }

    fn hold(lease_id: Option<LeaseId>, group: &str) -> Charge {
        Charge {
            budget_id: BudgetId::from_uuid(2),
            window: Window::Month,
            group_key: group.into(),
            lease_id,
            amount: 9,
        }
    }
}
