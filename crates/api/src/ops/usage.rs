//! Who spent what: sums and single requests.

use domain::image::ImageKind;
use domain::usage::{AttemptOutcome, CacheOutcome, Endpoint, ModalUsage, Outcome, SkipReason, TokenUsage, UnitUsage};
use domain::{
    CredentialId, DeploymentId, EnvironmentId, NanoUsd, NodeId, Permission, PriceId, RequestId, RouteId, Timestamp,
    VirtualKeyId, WorkspaceId,
};

use super::{OrganizationPath, WorkspacePath};
use crate::operation::{Access, Csv, Empty, NoQuery, operations, shapes};

operations! {
    /// Sums the usage of a workspace.
    WorkspaceUsage: Get "/workspaces/{workspace_id}/usage" as "usage.workspace"
        needs Access::Workspace(Permission::UsageRead), path WorkspacePath, query UsageQuery, body Empty, gives 200 UsageReport;

    /// Sums the usage of an organization over all its workspaces.
    OrganizationUsage: Get "/organizations/{organization_id}/usage" as "usage.organization"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query UsageQuery, body Empty, gives 200 UsageReport;

    /// Exports the sums of a workspace as a table for spreadsheets.
    ExportWorkspaceUsage: Get "/workspaces/{workspace_id}/usage/export" as "usage.export_workspace"
        needs Access::Workspace(Permission::UsageRead), path WorkspacePath, query UsageQuery, body Empty, gives 200 Csv;

    /// Exports the sums of an organization over all its workspaces as a table for spreadsheets.
    ExportOrganizationUsage: Get "/organizations/{organization_id}/usage/export" as "usage.export_organization"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query UsageQuery, body Empty, gives 200 Csv;

    /// Sums the tries against upstreams over all workspaces: how each provider and deployment fares, also where another one answered in
    /// the end.
    OrganizationAttempts: Get "/organizations/{organization_id}/usage/attempts" as "usage.attempts"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query AttemptQuery, body Empty, gives 200 AttemptReport;

    /// Lists requests, newest first.
    ListRequests: Get "/workspaces/{workspace_id}/logs" as "requests.list"
        needs Access::Workspace(Permission::RequestsRead), path WorkspacePath, query RequestQuery, body Empty, gives 200 domain::Page<RequestView>;

    /// Shows a request with all its attempts.
    GetRequest: Get "/workspaces/{workspace_id}/logs/{request_id}" as "requests.get"
        needs Access::Workspace(Permission::RequestsRead), path RequestPath, query NoQuery, body Empty, gives 200 RequestView;
}

shapes! {
    /// A request of a workspace.
    #[derive(Copy, Eq)]
    pub struct RequestPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The request.
        pub request_id: RequestId,
    }

    /// What to sum.
    #[derive(Eq, Default)]
    pub struct UsageQuery {
        /// From the hour of this time on; seven days ago unless told. By `minute`: from its minute on, an hour ago unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<Timestamp>,
        /// Before this time; now unless told. The hour that it falls into counts whole; by `minute`, the minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub to: Option<Timestamp>,
        /// Up to three, comma-separated, of `workspace`, `environment`, `virtual_key`, `model`, `provider`, `deployment`, `minute`, `hour`,
        /// `day`; one of the last three at most. Minutes are kept for three days, by `workspace` and `environment` alone, and asked for
        /// over up to a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub group_by: Option<String>,
        /// Where days begin when `day` is a dimension: minutes east of UTC, -840 to 840, 0 unless told. Sums are kept by the hour, so
        /// an hour that a zone's midnight cuts in two counts for the day in which it begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub utc_offset_minutes: Option<i16>,
        /// How many minutes a step of `minute` has, when that is a dimension: 1 unless told; 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub minutes: Option<u8>,
        /// Only this environment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub environment_id: Option<EnvironmentId>,
        /// Only this key's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub virtual_key_id: Option<VirtualKeyId>,
        /// Only this model's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
        /// Only this provider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
    }

    /// Sums by group, and over all.
    #[derive(Eq)]
    pub struct UsageReport {
        /// From this time on.
        pub from: Timestamp,
        /// Before this time.
        pub to: Timestamp,
        /// The dimensions, in the order asked.
        pub group_by: Vec<String>,
        /// One row per group; ordered by time where time is a dimension, then by cost, largest first; at most 5 000.
        pub rows: Vec<UsageRow>,
        /// Whether rows beyond the bound were left out (they are in `total`).
        pub is_truncated: bool,
        /// Over all groups.
        pub total: UsageSums,
        /// When the newest event in here was booked; events reach the ledger within seconds.
        pub fresh_at: Option<Timestamp>,
    }

    /// One group.
    #[derive(Eq)]
    pub struct UsageRow {
        /// The values of the dimensions, in the order asked: ids, names, or RFC 3339 times.
        pub group: Vec<String>,
        /// The names for people of the same values.
        pub labels: Vec<String>,
        /// The sums.
        pub sums: UsageSums,
    }

    /// Sums over requests.
    #[derive(Eq, Default)]
    pub struct UsageSums {
        /// All requests.
        pub requests: u64,
        /// Requests that did not succeed, client mistakes included.
        pub errors: u64,
        /// Requests that failed for a reason that is not the client's.
        pub failures: u64,
        /// Tokens by kind.
        pub tokens: TokenUsage,
        /// What was counted beside tokens.
        #[serde(default)]
        pub units: UnitUsage,
        /// Cost.
        pub cost_usd: NanoUsd,
        /// Requests that got an answer again.
        pub reused: u64,
        /// Input tokens that the first calls of those answers had used.
        pub saved_input: u64,
        /// Output tokens that they had used.
        pub saved_output: u64,
        /// What they had cost.
        pub saved_cost_usd: NanoUsd,
        /// Median duration in milliseconds, from a histogram with steps of about 12 %; absent without requests.
        pub p50_ms: Option<u64>,
        /// 95th percentile of the duration in milliseconds.
        pub p95_ms: Option<u64>,
        /// Median time to the first byte in milliseconds.
        pub first_byte_p50_ms: Option<u64>,
        /// Median time spent in Headgate itself, in microseconds.
        pub overhead_p50_us: Option<u64>,
    }

    /// Which tries to sum.
    #[derive(Eq, Default)]
    pub struct AttemptQuery {
        /// From the hour of this time on; a day ago unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<Timestamp>,
        /// Before this time; now unless told. The hour that it falls into counts whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub to: Option<Timestamp>,
        /// Up to three, comma-separated, of `provider`, `deployment`, `upstream_model`, `workspace`, `hour`; `provider` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub group_by: Option<String>,
        /// Only calls of this workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
        /// Only tries at this provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// Only tries at this deployment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deployment_id: Option<DeploymentId>,
    }

    /// Tries against upstreams by group, and over all.
    #[derive(Eq)]
    pub struct AttemptReport {
        /// From this time on.
        pub from: Timestamp,
        /// Before this time.
        pub to: Timestamp,
        /// The dimensions, in the order asked.
        pub group_by: Vec<String>,
        /// One row per group; ordered by hour where asked for, then by how many tries, most first; at most 5 000.
        pub rows: Vec<AttemptRow>,
        /// Whether rows beyond the bound were left out (they are in `total`).
        pub is_truncated: bool,
        /// Over all groups.
        pub total: AttemptTotals,
        /// When the newest in here was booked.
        pub fresh_at: Option<Timestamp>,
    }

    /// One group of tries.
    #[derive(Eq)]
    pub struct AttemptRow {
        /// The values of the dimensions, in the order asked: ids, names, or RFC 3339 times.
        pub group: Vec<String>,
        /// The names for people of the same values.
        pub labels: Vec<String>,
        /// The sums.
        pub sums: AttemptTotals,
    }

    /// Sums over tries: `attempts` is `succeeded`, `refused`, `rate_limited`, `cancelled` and `failures` together.
    #[derive(Eq, Default)]
    pub struct AttemptTotals {
        /// All of them.
        pub attempts: u64,
        /// Those that gave the answer.
        pub succeeded: u64,
        /// The upstream refused the request itself: 4xx, but for 401, 403, 408 and 429.
        pub refused: u64,
        /// The upstream had enough: 429.
        pub rate_limited: u64,
        /// Given up, because the client left or another target was faster.
        pub cancelled: u64,
        /// What counts against the target: the five kinds below.
        pub failures: u64,
        /// The upstream answered with another error status.
        pub failed: u64,
        /// No connection.
        pub unreachable: u64,
        /// One of the timeouts.
        pub timed_out: u64,
        /// The connection or the body broke.
        pub broken: u64,
        /// Not sent: its credential could not be used or its request not be made.
        pub unsendable: u64,
        /// Median duration of those that succeeded in milliseconds, from a histogram with steps of about 12 %.
        pub p50_ms: Option<u64>,
        /// 95th percentile of it.
        pub p95_ms: Option<u64>,
        /// Median time to the first byte of those that succeeded, in milliseconds.
        pub first_byte_p50_ms: Option<u64>,
        /// 95th percentile of it.
        pub first_byte_p95_ms: Option<u64>,
    }

    /// Which requests.
    #[derive(Eq, Default)]
    pub struct RequestQuery {
        /// From this time on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<Timestamp>,
        /// Before this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub to: Option<Timestamp>,
        /// Only this environment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub environment_id: Option<EnvironmentId>,
        /// Only this key's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub virtual_key_id: Option<VirtualKeyId>,
        /// Only this model's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
        /// Only what this provider answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// Only what this deployment answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deployment_id: Option<DeploymentId>,
        /// Only of this end user, as the caller named them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub end_user: Option<String>,
        /// Only of this conversation, as the caller named it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub conversation_id: Option<String>,
        /// Only of this trace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub trace_id: Option<String>,
        /// Only requests that ended so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub outcome: Option<Outcome>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<domain::page::Cursor>,
    }

    /// One client call.
    #[derive(Eq)]
    pub struct RequestView {
        /// Its id, as in `x-headgate-request-id`.
        pub id: RequestId,
        /// The environment of its key.
        pub environment_id: EnvironmentId,
        /// Its key.
        pub virtual_key_id: VirtualKeyId,
        /// The node that served.
        pub node_id: NodeId,
        /// What was called.
        pub endpoint: Endpoint,
        /// The model the client asked for.
        pub model: String,
        /// The route taken.
        pub route_id: Option<RouteId>,
        /// The deployment that answered.
        pub deployment_id: Option<DeploymentId>,
        /// The provider that answered.
        pub provider: Option<String>,
        /// The model that answered.
        pub upstream_model: Option<String>,
        /// Whether the client asked for a stream.
        pub is_stream: bool,
        /// How it ended.
        pub outcome: Outcome,
        /// The HTTP status the client saw.
        pub status: u16,
        /// The gateway code, when Headgate refused or gave up.
        pub code: Option<String>,
        /// Why the model stopped.
        pub finish_reason: Option<String>,
        /// When it arrived.
        pub started_at: Timestamp,
        /// To the last byte, in microseconds.
        pub duration_us: u64,
        /// To the first byte of the answer.
        pub first_byte_us: Option<u64>,
        /// Time spent in Headgate itself.
        pub overhead_us: u64,
        /// Tokens over all attempts.
        pub usage: TokenUsage,
        /// What was counted beside tokens.
        #[serde(default)]
        pub units: UnitUsage,
        /// Whether they are an estimate.
        pub is_estimated: bool,
        /// Nothing could be counted: a call of a provider's own API in a form that is not known.
        #[serde(default)]
        pub is_unmetered: bool,
        /// Cost over all attempts.
        pub cost_usd: NanoUsd,
        /// The price it was computed with.
        pub price_id: Option<PriceId>,
        /// Whether the answer was one given again: `off`, `miss`, `hit`, `coalesced`.
        pub cache: CacheOutcome,
        /// Input tokens that the first call of an answer given again used.
        pub saved_input: u64,
        /// Output tokens that it used.
        pub saved_output: u64,
        /// What it cost.
        pub saved_cost_usd: NanoUsd,
        /// The revision of policy that decided.
        pub policy_revision: u64,
        /// `x-headgate-user`.
        pub end_user: Option<String>,
        /// `x-headgate-conversation-id`.
        pub conversation_id: Option<String>,
        /// The trace.
        pub trace_id: Option<String>,
        /// `x-headgate-metadata`.
        pub metadata: Vec<(String, String)>,
        /// How it came to its target; absent for what was refused before.
        #[serde(default)]
        pub routing: Option<RoutingView>,
        /// `x-headgate-tags`.
        pub tags: Vec<String>,
        /// What could not be expressed at the target.
        pub dropped: Vec<String>,
        /// Every try.
        pub attempts: Vec<AttemptView>,
    }

    /// How a request came to its target.
    #[derive(Eq)]
    pub struct RoutingView {
        /// To the last byte of the request, in microseconds.
        pub received_us: u64,
        /// To the first attempt.
        pub dispatched_us: u64,
        /// Targets that were passed over or put last.
        pub skipped: Vec<SkippedView>,
        /// How often another target went on with an answer that had broken off.
        #[serde(default)]
        pub continued: u16,
    }

    /// A target that was passed over or put last.
    #[derive(Eq, Copy)]
    pub struct SkippedView {
        /// The deployment.
        pub deployment_id: DeploymentId,
        /// Why.
        pub reason: SkipReason,
    }

    /// One try.
    #[derive(Eq)]
    pub struct AttemptView {
        /// Counts from 1.
        pub n: u16,
        /// The deployment tried.
        pub deployment_id: DeploymentId,
        /// The credential used.
        pub credential_id: Option<CredentialId>,
        /// The provider.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// When it was sent.
        pub started_at: Timestamp,
        /// To its end, in microseconds.
        pub duration_us: u64,
        /// To the first byte of its answer.
        pub first_byte_us: Option<u64>,
        /// How it ended.
        pub outcome: AttemptOutcome,
        /// The upstream's HTTP status.
        pub status: Option<u16>,
        /// The upstream's request id.
        pub upstream_request_id: Option<String>,
        /// What the upstream counted.
        pub usage: TokenUsage,
        /// The parts of it that were sound or pictures, where they are billed apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub modal: Option<ModalUsage>,
        /// What was counted beside tokens.
        #[serde(default)]
        pub units: UnitUsage,
        /// The kind of the pictures among it, where one was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub image: Option<ImageKind>,
        /// What it cost.
        pub cost_usd: NanoUsd,
    }
}
