//! The ledger's double entry: what moved for a call, whether the books keep their rules, and putting wrong prices right.

use domain::ledger::{PostingKind, Rule};
use domain::{NanoUsd, OrganizationId, Permission, PriceId, RequestId, Timestamp};

use super::OrganizationPath;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists what was posted for a call: what it cost, and what was put right since.
    ListPostings: Get "/organizations/{organization_id}/ledger/postings/{request_id}" as "ledger.postings"
        needs Access::Organization(Permission::OrganizationUsageRead), path PostingPath, query NoQuery, body Empty, gives 200 domain::Page<PostingView>;

    /// Says whether the books keep their rules, as of the last look at them.
    LedgerInvariants: Get "/organizations/{organization_id}/ledger/invariants" as "ledger.invariants"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body Empty, gives 200 InvariantsView;

    /// Bills calls of a time anew by another price of their model: differences are posted, nothing is changed.
    Rerate: Post "/organizations/{organization_id}/ledger/rerate" as "ledger.rerate"
        needs Access::Organization(Permission::PricesManage), path OrganizationPath, query NoQuery, body RerateRequest, gives 200 RerateReport;
}

shapes! {
    /// A call of an organization.
    #[derive(Eq, Copy)]
    pub struct PostingPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The call.
        pub request_id: RequestId,
    }

    /// Money that moved from one account to another.
    #[derive(Eq)]
    pub struct PostingView {
        /// The call.
        pub request_id: RequestId,
        /// Counts the postings of the call, from 0.
        pub n: u32,
        /// Why.
        pub kind: PostingKind,
        /// The account that took it: `spend/` and a workspace, or `owed/` and a provider.
        pub debit: String,
        /// The account that gave it.
        pub credit: String,
        /// How much; above zero.
        pub amount_usd: NanoUsd,
        /// Of an adjustment: the price that it comes from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub price_id: Option<PriceId>,
        /// Of an adjustment: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// When it was posted.
        pub posted_at: Timestamp,
    }

    /// Whether the books keep their rules.
    #[derive(Eq)]
    pub struct InvariantsView {
        /// Whether all rules were looked at and none was broken.
        pub is_kept: bool,
        /// Each rule.
        pub rules: Vec<InvariantView>,
    }

    /// What a rule of the books said when it was last looked at.
    #[derive(Eq)]
    pub struct InvariantView {
        /// The rule.
        pub rule: Rule,
        /// What must hold.
        pub about: String,
        /// When it was looked at; null for not yet.
        pub checked_at: Option<Timestamp>,
        /// What was looked at: calls that began from here on.
        pub since: Option<Timestamp>,
        /// How many things break it.
        pub broken: u64,
        /// One of them.
        pub sample: Option<String>,
    }

    /// What to bill anew, by which price, and why.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct RerateRequest {
        /// The price that should have held; of the price book. It says which model.
        pub price_id: PriceId,
        /// Calls that began from here on.
        pub from: Timestamp,
        /// Calls that began before this; not in the future.
        pub to: Timestamp,
        /// Why, for the audit log and the postings.
        pub reason: String,
        /// Only say what would be posted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub is_dry_run: bool,
        /// Go on after this call: `next_after` of the report before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub after: Option<RequestId>,
    }

    /// What was billed anew.
    #[derive(Eq, Default)]
    pub struct RerateReport {
        /// Calls that were looked at.
        pub requests: u64,
        /// Calls for which a difference was posted, or would be.
        pub changed: u64,
        /// Calls that were billed otherwise than by a price of the price book, and stay as they are.
        pub unexplained: u64,
        /// What the looked-at calls cost so far, as far as this model goes.
        pub before_usd: NanoUsd,
        /// What they cost now.
        pub after_usd: NanoUsd,
        /// There are more: repeat with `after`.
        pub next_after: Option<RequestId>,
    }
}
