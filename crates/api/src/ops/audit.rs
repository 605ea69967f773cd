//! The audit log of an organization.

use domain::audit::AuditOutcome;
use domain::{AuditEntryId, Permission, Timestamp, WorkspaceId};

use super::OrganizationPath;
use crate::operation::{Access, Empty, Jsonl, NoQuery, operations, shapes};

operations! {
    /// Lists audit entries, newest first.
    ListAuditEntries: Get "/organizations/{organization_id}/audit" as "audit.list"
        needs Access::Organization(Permission::AuditRead), path OrganizationPath, query AuditQuery, body Empty, gives 200 domain::Page<AuditEntryView>;

    /// Checks the whole chain and its signed checkpoints in the database, and names the first bad entry.
    VerifyAudit: Get "/organizations/{organization_id}/audit/verification" as "audit.verify"
        needs Access::Organization(Permission::AuditRead), path OrganizationPath, query NoQuery, body Empty, gives 200 AuditVerificationView;

    /// Exports the log, oldest first, as lines of JSON that `headgate audit verify` checks offline.
    ExportAudit: Get "/organizations/{organization_id}/audit/export" as "audit.export"
        needs Access::Organization(Permission::AuditExport), path OrganizationPath, query NoQuery, body Empty, gives 200 Jsonl;
}

shapes! {
    /// Which entries.
    #[derive(Eq, Default)]
    pub struct AuditQuery {
        /// From this time on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<Timestamp>,
        /// Before this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub to: Option<Timestamp>,
        /// Only this action, or with a trailing `.` every action of an aggregate (`virtual_key.`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub action: Option<String>,
        /// Only this actor's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub actor_id: Option<String>,
        /// Only about this subject.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub subject_id: Option<String>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<domain::page::Cursor>,
    }

    /// Who did what to which subject.
    #[derive(Eq)]
    pub struct AuditEntryView {
        /// Its id.
        pub id: AuditEntryId,
        /// Its place in the chain.
        pub seq: u64,
        /// When.
        pub at: Timestamp,
        /// `user`, `access_token`, `node`, `system`, `finder` (whoever showed a secret that they found) or `anonymous`.
        pub actor_kind: String,
        /// The actor's id.
        pub actor_id: String,
        /// The actor's name at that time.
        pub actor_name: String,
        /// `noun.verb`.
        pub action: String,
        /// The subject's kind.
        pub subject_kind: String,
        /// The subject's id.
        pub subject_id: String,
        /// The subject's name at that time.
        pub subject_name: String,
        /// The workspace it belongs to.
        pub workspace_id: Option<WorkspaceId>,
        /// How it ended.
        pub outcome: AuditOutcome,
        /// The subject before, as JSON text.
        pub before: Option<String>,
        /// The subject after, as JSON text.
        pub after: Option<String>,
        /// The client's address.
        pub ip: Option<String>,
        /// The client's own description.
        pub user_agent: Option<String>,
        /// The hash of this entry, hexadecimal.
        pub hash: String,
    }

    /// Whether the log is whole.
    #[derive(Eq)]
    pub struct AuditVerificationView {
        /// Whether everything holds.
        pub is_valid: bool,
        /// How many entries were checked.
        pub n_entries: u64,
        /// The place of the newest signed checkpoint; 0 for none yet.
        pub checkpoint_seq: u64,
        /// When that was signed.
        pub checkpoint_at: Option<Timestamp>,
        /// The first bad entry.
        pub first_bad_seq: Option<u64>,
        /// What is wrong with it.
        pub detail: Option<String>,
    }
}
