//! What a month cost and who bears it: chargeback and showback.

use domain::usage::{TokenUsage, UnitUsage};
use domain::{NanoUsd, OrganizationId, Permission, Timestamp};

use super::OrganizationPath;
use super::models::{RatesView, UnitRatesView};
use crate::operation::{Access, Csv, Jsonl, NoQuery, operations, shapes};

operations! {
    /// Sums a month of an organization by any dimensions, shared costs put upon who bears them.
    MakeReport: Post "/organizations/{organization_id}/reports" as "reports.make"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body ReportRequest, gives 200 ReportView;

    /// The same as a table for spreadsheets.
    ReportTable: Post "/organizations/{organization_id}/reports/csv" as "reports.csv"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body ReportRequest, gives 200 Csv;

    /// The same as lines of JSON, one for each group.
    ReportLines: Post "/organizations/{organization_id}/reports/jsonl" as "reports.jsonl"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body ReportRequest, gives 200 Jsonl;

    /// Says what a month would have cost at other prices.
    WhatIf: Post "/organizations/{organization_id}/reports/what-if" as "reports.what_if"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body WhatIfRequest, gives 200 WhatIfView;
}

shapes! {
    /// Which month, by what, and who bears shared costs.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct ReportRequest {
        /// Year and month, such as `2026-11`.
        pub month: String,
        /// The time zone whose calendar the month follows, `UTC` unless told. Sums are kept by hours of UTC; an hour that midnight
        /// cuts in two counts for the month in which it begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub time_zone: Option<String>,
        /// Up to five of `workspace`, `environment`, `virtual_key`, `model`, `provider`, `deployment`, `route`, `end_user`, `tags` (all
        /// tags of a call together), and `metadata:` with the name of a pair.
        #[serde(default)]
        pub group_by: Vec<String>,
        /// Shared costs; at most 100.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub splits: Vec<ReportSplit>,
    }

    /// What one value of a dimension cost is borne by others of that dimension.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct ReportSplit {
        /// The dimension; one of `group_by`.
        pub dimension: String,
        /// The value whose cost is shared.
        pub from: String,
        /// Who bears it: all with a share, or none with one, then by what they cost themselves. Empty: all others of the report, by
        /// what they cost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub over: Vec<ReportBearer>,
    }

    /// Who bears a part of a shared cost.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct ReportBearer {
        /// The value of the dimension.
        pub to: String,
        /// The part, in relation to the others'.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub share: Option<u32>,
    }

    /// What a month cost, by groups.
    #[derive(Eq)]
    pub struct ReportView {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The month.
        pub month: String,
        /// The time zone whose calendar it follows.
        pub time_zone: String,
        /// Its first hour.
        pub from: Timestamp,
        /// The hour after its last.
        pub to: Timestamp,
        /// The dimensions, in the order asked.
        pub group_by: Vec<String>,
        /// The groups, in the order of their values.
        pub rows: Vec<ReportRow>,
        /// What the month cost, over all groups: exactly what was posted to the ledger for its calls.
        pub total: ReportSums,
        /// What `rows` leave out: cost of calls whose events were deleted at the end of their retention, when a dimension is asked for
        /// that sums do not keep.
        pub unattributed_usd: NanoUsd,
    }

    /// One group.
    #[derive(Eq)]
    pub struct ReportRow {
        /// The values of the dimensions, in the order asked; empty for none.
        pub group: Vec<String>,
        /// The names for people of the same values.
        pub labels: Vec<String>,
        /// What it counted and cost.
        pub sums: ReportSums,
    }

    /// Which month, at which prices.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct WhatIfRequest {
        /// Year and month, such as `2026-11`.
        pub month: String,
        /// The time zone whose calendar the month follows, `UTC` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub time_zone: Option<String>,
        /// The prices, 1 to 200; models without one stay as they were billed.
        pub prices: Vec<WhatIfPrice>,
    }

    /// The usual rates of a model.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct WhatIfPrice {
        /// The provider.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// Dollars per million tokens.
        #[serde(default)]
        pub usd_per_million_tokens: RatesView,
        /// Dollars for what is counted beside tokens.
        #[serde(default)]
        pub usd_per_unit: UnitRatesView,
    }

    /// What a month would have cost. Long inputs, tiers of service, sound and pictures among tokens are taken at the usual rates.
    #[derive(Eq)]
    pub struct WhatIfView {
        /// The month.
        pub month: String,
        /// The time zone whose calendar it follows.
        pub time_zone: String,
        /// Its first hour.
        pub from: Timestamp,
        /// The hour after its last.
        pub to: Timestamp,
        /// The models that have a price here and were called.
        pub rows: Vec<WhatIfRow>,
        /// What the month cost, all models together.
        pub booked_usd: NanoUsd,
        /// What it would have cost.
        pub then_usd: NanoUsd,
    }

    /// A model, at its price and at another.
    #[derive(Eq)]
    pub struct WhatIfRow {
        /// The provider.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// Calls that it answered.
        pub requests: u64,
        /// Their tokens.
        pub tokens: TokenUsage,
        /// What was counted beside tokens.
        pub units: UnitUsage,
        /// What they cost.
        pub booked_usd: NanoUsd,
        /// What they would have cost, rounded once.
        pub then_usd: NanoUsd,
    }

    /// What a group counted and cost.
    #[derive(Eq, Default)]
    pub struct ReportSums {
        /// Calls.
        pub requests: u64,
        /// Tokens read, cached or not.
        pub input_tokens: u64,
        /// Of these: from a cache of the provider.
        pub cached_input_tokens: u64,
        /// Tokens written.
        pub output_tokens: u64,
        /// What it cost itself.
        pub own_usd: NanoUsd,
        /// What it bears of shared costs; below zero for what others bear of it.
        pub shared_usd: NanoUsd,
        /// Both together: what is charged.
        pub cost_usd: NanoUsd,
    }
}
