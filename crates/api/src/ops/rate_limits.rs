//! Rate limits of an organization and of its workspaces.
//!
//! Below an organization every limit is reached, and those that are made there count the calls of all workspaces; below a
//! workspace only its own are.

use domain::budget::{Amount, Dimension, Subject};
use domain::rate_limit::{Measure, Per};
use domain::{DisplayName, OrganizationId, Permission, RateLimitId, Timestamp, WorkspaceId};

use super::{OrganizationPath, PageQuery, WorkspacePath};
use crate::field::Field;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the rate limits of a workspace, newest first.
    ListRateLimits: Get "/workspaces/{workspace_id}/rate-limits" as "rate_limits.list"
        needs Access::Workspace(Permission::RateLimitsRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<RateLimitView>;

    /// Creates a rate limit for calls of a workspace.
    CreateRateLimit: Post "/workspaces/{workspace_id}/rate-limits" as "rate_limits.create"
        needs Access::Workspace(Permission::RateLimitsManage), path WorkspacePath, query NoQuery, body NewRateLimit, gives 201 RateLimitView;

    /// Shows a rate limit of a workspace.
    GetRateLimit: Get "/workspaces/{workspace_id}/rate-limits/{rate_limit_id}" as "rate_limits.get"
        needs Access::Workspace(Permission::RateLimitsRead), path RateLimitPath, query NoQuery, body Empty, gives 200 RateLimitView;

    /// Changes a rate limit of a workspace; what was counted of a rate that stays is kept.
    UpdateRateLimit: Patch "/workspaces/{workspace_id}/rate-limits/{rate_limit_id}" as "rate_limits.update"
        needs Access::Workspace(Permission::RateLimitsManage), path RateLimitPath, query NoQuery, body RateLimitChange, gives 200 RateLimitView;

    /// Archives a rate limit of a workspace; it binds no call any more and its name is free.
    ArchiveRateLimit: Delete "/workspaces/{workspace_id}/rate-limits/{rate_limit_id}" as "rate_limits.archive"
        needs Access::Workspace(Permission::RateLimitsManage), path RateLimitPath, query NoQuery, body Empty, gives 204 Empty;

    /// Lists every rate limit of the organization, its workspaces' too, newest first.
    ListOrganizationRateLimits: Get "/organizations/{organization_id}/rate-limits" as "organization_rate_limits.list"
        needs Access::Organization(Permission::RateLimitsRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<RateLimitView>;

    /// Creates a rate limit for calls of all workspaces together.
    CreateOrganizationRateLimit: Post "/organizations/{organization_id}/rate-limits" as "organization_rate_limits.create"
        needs Access::Organization(Permission::RateLimitsManage), path OrganizationPath, query NoQuery, body NewRateLimit, gives 201 RateLimitView;

    /// Shows any rate limit of the organization.
    GetOrganizationRateLimit: Get "/organizations/{organization_id}/rate-limits/{rate_limit_id}" as "organization_rate_limits.get"
        needs Access::Organization(Permission::RateLimitsRead), path OrganizationRateLimitPath, query NoQuery, body Empty, gives 200 RateLimitView;

    /// Changes any rate limit of the organization; what was counted of a rate that stays is kept.
    UpdateOrganizationRateLimit: Patch "/organizations/{organization_id}/rate-limits/{rate_limit_id}" as "organization_rate_limits.update"
        needs Access::Organization(Permission::RateLimitsManage), path OrganizationRateLimitPath, query NoQuery, body RateLimitChange, gives 200 RateLimitView;

    /// Archives any rate limit of the organization; it binds no call any more and its name is free.
    ArchiveOrganizationRateLimit: Delete "/organizations/{organization_id}/rate-limits/{rate_limit_id}" as "organization_rate_limits.archive"
        needs Access::Organization(Permission::RateLimitsManage), path OrganizationRateLimitPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A rate limit of a workspace.
    #[derive(Copy, Eq)]
    pub struct RateLimitPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The rate limit.
        pub rate_limit_id: RateLimitId,
    }

    /// A rate limit of an organization.
    #[derive(Copy, Eq)]
    pub struct OrganizationRateLimitPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The rate limit.
        pub rate_limit_id: RateLimitId,
    }

    /// A rate limit.
    #[derive(Eq)]
    pub struct RateLimitView {
        /// Its id.
        pub id: RateLimitId,
        /// The only workspace whose calls count; null for those of all workspaces.
        pub workspace_id: Option<WorkspaceId>,
        /// Its name for people; errors name it.
        pub name: DisplayName,
        /// What it is for.
        pub description: Option<String>,
        /// Whether it holds at all.
        pub is_enabled: bool,
        /// Which calls count.
        pub subject: Subject,
        /// By what counters are kept apart; empty for a single one of each rate.
        pub group_by: Vec<Dimension>,
        /// The amounts.
        pub rates: Vec<RateAmount>,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// An amount in a span of time that slides; of calls at once, at any moment.
    #[derive(Copy, Eq)]
    #[serde(deny_unknown_fields)]
    pub struct RateAmount {
        /// What is counted.
        pub measure: Measure,
        /// In what span; absent for `concurrent` alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub per: Option<Per>,
        /// How much, above zero: dollars as text such as "12.50" for `cost`, otherwise a whole number.
        pub amount: Amount,
    }

    /// A new rate limit.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewRateLimit {
        /// Its name for people; unique in its workspace, or among those of the whole organization.
        pub name: DisplayName,
        /// What it is for; at most 1000 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// Whether it holds at all; it does unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
        /// Which calls count; all of its workspace or organization unless told.
        #[serde(default)]
        pub subject: Subject,
        /// By what counters are kept apart, at most 4: each end user, key or model has amounts of its own then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub group_by: Vec<Dimension>,
        /// The amounts; 1 to 8, each measure and span at most once.
        pub rates: Vec<RateAmount>,
    }

    /// Changes to a rate limit.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct RateLimitChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new description; null for none.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub description: Field<String>,
        /// Whether it holds at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
        /// Which calls count from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub subject: Option<Subject>,
        /// By what counters are kept apart from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub group_by: Option<Vec<Dimension>>,
        /// All amounts anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rates: Option<Vec<RateAmount>>,
    }
}
