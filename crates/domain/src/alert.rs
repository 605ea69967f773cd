//! Alerts: what happened that somebody wants to hear of, where it is sent, and how far the sending has come.
//!
//! An alert is a fact. Which destinations hear of it is decided by their filters, once, soon after it happened; each of them then
//! has a delivery of its own. Invariant: what happened once is one alert, whoever notices it and however often: its id and its
//! place are made from [`Alert::once`].

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::credential::SealedSecret;
use crate::id::uuid_v7;
use crate::usage::text_enum;
use crate::{AlertId, DeliveryId, DestinationId, DisplayName, Email, OrganizationId, Timestamp, WorkspaceId};

text_enum! {
    /// What kind of thing happened.
    AlertKind {
        /// What was spent of a budget's account reached a percent of its limit.
        BudgetThreshold = "budget_threshold",
        /// A budget began to refuse calls in a window.
        BudgetExhausted = "budget_exhausted",
        /// A key spends far more than it used to.
        SpendAnomaly = "spend_anomaly",
        /// Something was stopped.
        KillSwitchThrown = "kill_switch_thrown",
        /// What was stopped goes on.
        KillSwitchLifted = "kill_switch_lifted",
        /// Somebody found a secret of ours and showed it; it was revoked.
        SecretFound = "secret_found",
        /// The books do not keep a rule.
        LedgerRuleBroken = "ledger_rule_broken",
        /// Nothing was heard of a node for too long.
        NodeLost = "node_lost",
        /// A lost node is heard of again.
        NodeBack = "node_back",
        /// A node could not use what it was told.
        NodeRefusedPolicy = "node_refused_policy",
        /// Somebody tries a destination.
        Test = "test",
    }
}

text_enum! {
    /// How bad it is.
    Severity {
        /// Good to know.
        Info = "info",
        /// Somebody should look today.
        Warning = "warning",
        /// Somebody should look now.
        Critical = "critical",
    }
}

text_enum! {
    /// What language a destination speaks.
    DestinationKind {
        /// Signed JSON by HTTP (Standard Webhooks).
        Webhook = "webhook",
        /// An incoming webhook of Slack, or of what understands the same.
        Slack = "slack",
        /// Events API v2 of PagerDuty, or of what understands the same.
        Pagerduty = "pagerduty",
        /// E-mail by the installation's SMTP server.
        Email = "email",
    }
}

text_enum! {
    /// How far a delivery has come.
    DeliveryState {
        /// It is tried, or tried again later.
        Waiting = "waiting",
        /// The destination took it.
        Delivered = "delivered",
        /// It was given up.
        Dead = "dead",
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id; receivers tell repeats by it.
    pub id: AlertId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The only workspace it is about; absent when it is about all of them, or none.
    pub workspace_id: Option<WorkspaceId>,
    /// What kind of thing.
    pub kind: AlertKind,
    /// How bad.
    pub severity: Severity,
    /// What began and ends together, such as a kill switch: 1 to 220 bytes.
    pub subject: String,
    /// Whether it ends what an earlier alert of the same subject said.
    pub is_resolved: bool,
    /// One line for people.
    pub summary: String,
    /// Details by name, as text.
    pub facts: BTreeMap<String, String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What makes it one of a kind; a second alert with the same is none.
    pub once: String,
}

impl Alert {
    /// Makes an alert. `once` names the occasion and holds ids and times, no secrets; a subject that is too long is cut and
    /// told apart by a digest.
    #[must_use]
    pub fn new(
        organization_id: OrganizationId,
        (kind, severity): (AlertKind, Severity),
        subject: &str,
        once: &str,
        summary: &str,
        occurred_at: Timestamp,
    ) -> Self {
        let once = bounded(once, Self::MAX_ONCE);
        Self {
            id: AlertId::from_uuid(derived(occurred_at, &[&organization_id.to_string(), &once])),
            organization_id,
            workspace_id: None,
            kind,
            severity,
            subject: bounded(subject, Self::MAX_SUBJECT),
            is_resolved: false,
            summary: bounded(summary, Self::MAX_SUMMARY),
            facts: BTreeMap::new(),
            occurred_at,
            once,
        }
    }

    /// Says which workspace it is about.
    #[must_use]
    pub const fn within(mut self, workspace_id: Option<WorkspaceId>) -> Self {
        self.workspace_id = workspace_id;
        self
    }

    /// Adds a detail.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ids come by value and names by reference; both read well at the call"
    )]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        // No database text holds a NUL.
        self.facts.insert(name.to_owned(), value.to_string().replace('\0', "\u{fffd}"));
        self
    }

    /// Says that it ends what an earlier one began.
    #[must_use]
    pub const fn resolved(mut self) -> Self {
        self.is_resolved = true;
        self
    }

    /// Returns the id of its delivery to a destination.
    #[must_use]
    pub fn delivery_to(&self, destination_id: DestinationId) -> DeliveryId {
        DeliveryId::from_uuid(derived(self.occurred_at, &[&self.id.to_string(), &destination_id.to_string()]))
    }

    const MAX_ONCE: usize = 512;
    const MAX_SUBJECT: usize = 220;
    const MAX_SUMMARY: usize = 500;
}

/// Ids that everybody who notices the same thing makes alike.
fn derived(at: Timestamp, parts: &[&str]) -> u128 {
    let digest = Sha256::digest(parts.join("|").as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    uuid_v7(at, random)
}

/// Cuts a text that is too long, in bytes, and tells it apart from others by a digest.
fn bounded(text: &str, most: usize) -> String {
    let text = text.replace('\0', "\u{fffd}");
    if text.len() <= most {
        return text;
    }
    let digest = crate::audit::hex32::encode(&Sha256::digest(text.as_bytes())[..12]);
    let mut end = most - digest.len() - 1;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}#{digest}", &text[..end])
}

/// Which alerts a destination hears of. All conditions must hold; one that is empty holds for every alert.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    /// Of one of these kinds.
    pub kinds: Vec<AlertKind>,
    /// About one of these workspaces.
    pub workspace_ids: Vec<WorkspaceId>,
    /// At least as bad as this.
    pub least_severity: Severity,
}

impl Default for Filter {
    fn default() -> Self {
        Self { kinds: Vec::new(), workspace_ids: Vec::new(), least_severity: Severity::Info }
    }
}

impl Filter {
    /// Says whether an alert passes. What ends something passes whenever its beginning would have: its own severity says nothing.
    #[must_use]
    pub fn lets_pass(&self, alert: &Alert) -> bool {
        let is_here = |workspace: WorkspaceId| self.workspace_ids.contains(&workspace);
        (self.kinds.is_empty() || self.kinds.contains(&alert.kind))
            && (self.workspace_ids.is_empty() || alert.workspace_id.is_some_and(is_here))
            && (alert.is_resolved || alert.severity >= self.least_severity)
    }
}

/// Where alerts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// For people.
    pub name: DisplayName,
    /// What language it speaks.
    pub kind: DestinationKind,
    /// Whether anything is sent to it.
    pub is_enabled: bool,
    /// What it hears of.
    pub filter: Filter,
    /// The mailboxes of an e-mail destination.
    pub recipients: Vec<Email>,
    /// The address without what is secret in it, such as `https://hooks.slack.com`; empty for e-mail.
    pub hint: String,
    /// Address and secrets, sealed; absent for e-mail.
    pub secret: Option<SealedSecret>,
    /// Counts what was sealed, from 1; part of the seal.
    pub secret_version: u32,
    /// During a rotation: when the old signing secret is used no more.
    pub old_secret_retires_at: Option<Timestamp>,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

impl Destination {
    /// Most destinations of an organization.
    pub const MAX_IN_ORGANIZATION: usize = 50;
    /// Most mailboxes of one.
    pub const MAX_RECIPIENTS: usize = 10;
    /// Longest address, in bytes.
    pub const MAX_URL: usize = 1_024;

    /// Returns what binds its sealed secret to its row, so that ciphertexts cannot be moved.
    #[must_use]
    pub fn seal_context(&self) -> String {
        format!("v1|{}|{}|{}|alert-destination", self.organization_id, self.id, self.secret_version)
    }
}

/// An alert on its way to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// What is sent.
    pub alert_id: AlertId,
    /// Where to.
    pub destination_id: DestinationId,
    /// How far it has come.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it is tried next; absent when it is not.
    pub next_at: Option<Timestamp>,
    /// When it was tried last.
    pub attempted_at: Option<Timestamp>,
    /// The status of the last answer, by HTTP or SMTP.
    pub last_status: Option<u16>,
    /// What the destination said last, or why nothing came.
    pub last_answer: Option<String>,
}

impl Delivery {
    /// How long a delivery is tried.
    pub const TRIED_FOR: std::time::Duration = std::time::Duration::from_secs(3 * 24 * 3_600);
    /// Longest answer that is kept, in characters.
    pub const MAX_ANSWER: usize = 300;
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_795_348_800_000_000);

    fn alert(once: &str) -> Alert {
        let kind = (AlertKind::BudgetThreshold, Severity::Warning);
        Alert::new(OrganizationId::from_uuid(1), kind, "budget", once, "s", AT)
    }

    #[test]
    fn what_happened_once_has_one_id_whoever_notices_it() {
        assert_eq!(alert("a").id, alert("a").id);
        assert_ne!(alert("a").id, alert("b").id);
        let (one, two) = (DestinationId::from_uuid(1), DestinationId::from_uuid(2));
        assert_eq!(alert("a").delivery_to(one), alert("a").delivery_to(one));
        assert_ne!(alert("a").delivery_to(one), alert("a").delivery_to(two));
        assert_eq!(alert("a").id.minted_at(), AT);
    }

    #[test]
    fn long_texts_are_cut_and_stay_apart() {
        let (one, two) = ("ä".repeat(400) + "1", "ä".repeat(400) + "2");
        let (one, two) = (bounded(&one, 255), bounded(&two, 255));
        assert!(one.len() <= 255 && two.len() <= 255 && one != two);
        assert_eq!(bounded("short\0", 255), "short\u{fffd}");
    }

    #[test]
    fn a_filter_holds_in_all_its_conditions() {
        let everything = Filter::default();
        let (here, there) = (WorkspaceId::from_uuid(1), WorkspaceId::from_uuid(2));
        let seen = alert("a").within(Some(here));
        assert!(everything.lets_pass(&seen) && everything.lets_pass(&alert("a")));
        let other_kind = Filter { kinds: vec![AlertKind::NodeLost], ..Filter::default() };
        assert!(!other_kind.lets_pass(&seen));
        let only = |id| Filter { workspace_ids: vec![id], ..Filter::default() };
        assert!(only(here).lets_pass(&seen) && !only(there).lets_pass(&seen));
        assert!(!only(here).lets_pass(&alert("a")), "an alert about all workspaces is for those who hear of all");
        let severe = Filter { least_severity: Severity::Critical, ..Filter::default() };
        assert!(!severe.lets_pass(&seen) && severe.lets_pass(&seen.resolved()));
    }
}
