//! What providers say they billed, held against the ledger.

use std::collections::BTreeMap;

use domain::reconciliation::ExportFormat;
use domain::{CredentialId, NanoUsd, OrganizationId, Permission, ReconciliationId, Timestamp};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

/// Longest export, in bytes.
pub const MAX_CONTENT: usize = 16 * 1_024 * 1_024;

operations! {
    /// Lists exports that were held against the ledger, newest first, without their differences.
    ListReconciliations: Get "/organizations/{organization_id}/reconciliations" as "reconciliations.list"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<ReconciliationView>;

    /// Holds a provider's export of usage or costs against the ledger, by day and model, and keeps what differs.
    Reconcile: Post "/organizations/{organization_id}/reconciliations" as "reconciliations.create"
        needs Access::Organization(Permission::BillingManage), path OrganizationPath, query NoQuery, body NewReconciliation, gives 201 ReconciliationView;

    /// Shows what an export and the ledger did not agree on.
    GetReconciliation: Get "/organizations/{organization_id}/reconciliations/{reconciliation_id}" as "reconciliations.get"
        needs Access::Organization(Permission::OrganizationUsageRead), path ReconciliationPath, query NoQuery, body Empty, gives 200 ReconciliationView;
}

shapes! {
    /// An export of an organization.
    #[derive(Copy, Eq)]
    pub struct ReconciliationPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The export.
        pub reconciliation_id: ReconciliationId,
    }

    /// A provider's export, and what its names mean.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewReconciliation {
        /// Its form.
        pub format: ExportFormat,
        /// The provider as the ledger names it, where it is not the one that the form is of: `azure`, a gateway of yours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// What the file is called, for people.
        pub file_name: String,
        /// The text of the file, at most 16 MiB.
        pub content: String,
        /// Models as the export names them, with the upstream's name. A release date at the end of a name needs no entry.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub models: BTreeMap<String, String>,
        /// Keys, projects, workspaces or accounts as the export names them, with the credential that has them. When there are any,
        /// credentials are compared apart.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub credentials: BTreeMap<String, CredentialId>,
        /// How far apart counts and money may be and still agree, in hundredths of a percent; 100 (one percent) unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tolerance_basis_points: Option<u32>,
        /// How far apart money may be, where that is more; 0.01 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tolerance_usd: Option<NanoUsd>,
    }

    /// An export that was held against the ledger.
    #[derive(Eq)]
    pub struct ReconciliationView {
        /// Its id.
        pub id: ReconciliationId,
        /// The provider, as the ledger names it.
        pub provider: String,
        /// Its form.
        pub format: ExportFormat,
        /// What the file is called.
        pub file_name: String,
        /// SHA-256 of its content, which is not kept.
        pub sha256: String,
        /// The first day that it tells of, by UTC.
        pub first_day: String,
        /// The last.
        pub last_day: String,
        /// Rows that were read.
        pub rows: u64,
        /// Rows that tell of something else: taxes, other products, empty times.
        pub skipped: u64,
        /// How far apart still agrees, in hundredths of a percent of the larger side.
        pub tolerance_basis_points: u32,
        /// How far apart money may be, where that is more.
        pub tolerance_usd: NanoUsd,
        /// Whether nothing differs.
        pub agrees: bool,
        /// Days and models on which both sides agree.
        pub matched: u64,
        /// Days and models on which they do not.
        pub differing: u64,
        /// What the provider says altogether.
        pub theirs: CountedView,
        /// What the ledger says altogether of these days.
        pub ours: CountedView,
        /// The differences, the dearest first, at most 2,000; empty in lists.
        pub differences: Vec<DifferenceView>,
        /// Who brought it.
        pub uploaded_by: String,
        /// When.
        pub created_at: Timestamp,
    }

    /// What one side counted; null for what the export does not say.
    #[derive(Copy, Eq)]
    pub struct CountedView {
        /// Calls; of ours, attempts at the provider.
        pub requests: Option<u64>,
        /// Tokens read, cached or not.
        pub input_tokens: Option<u64>,
        /// Tokens written.
        pub output_tokens: Option<u64>,
        /// Cost.
        pub cost_usd: Option<NanoUsd>,
    }

    /// A day and a model on which both sides do not agree.
    #[derive(Eq)]
    pub struct DifferenceView {
        /// The day, by UTC.
        pub day: String,
        /// The model, without the date of its release.
        pub model: String,
        /// The credential, or what the export names in its place; empty when credentials are not told apart.
        pub credential: String,
        /// What the provider says.
        pub theirs: CountedView,
        /// What the ledger says.
        pub ours: CountedView,
    }
}
