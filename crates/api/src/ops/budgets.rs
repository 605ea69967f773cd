//! Budgets of an organization and of its workspaces, and how they stand.
//!
//! Below an organization every budget is reached, and those that are made there count the calls of all workspaces; below a
//! workspace only its own are.

use domain::budget::{Amount, Dimension, Enforcement, Measure, Subject, WhenUnreachable, Window};
use domain::page::Cursor;
use domain::{BudgetId, DisplayName, OrganizationId, Permission, Timestamp, WorkspaceId};

use super::{OrganizationPath, PageQuery, WorkspacePath};
use crate::field::Field;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the budgets of a workspace, newest first.
    ListBudgets: Get "/workspaces/{workspace_id}/budgets" as "budgets.list"
        needs Access::Workspace(Permission::BudgetsRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<BudgetView>;

    /// Creates a budget for calls of a workspace.
    CreateBudget: Post "/workspaces/{workspace_id}/budgets" as "budgets.create"
        needs Access::Workspace(Permission::BudgetsManage), path WorkspacePath, query NoQuery, body NewBudget, gives 201 BudgetView;

    /// Shows a budget of a workspace.
    GetBudget: Get "/workspaces/{workspace_id}/budgets/{budget_id}" as "budgets.get"
        needs Access::Workspace(Permission::BudgetsRead), path BudgetPath, query NoQuery, body Empty, gives 200 BudgetView;

    /// Changes a budget of a workspace; what was spent of it stays counted.
    UpdateBudget: Patch "/workspaces/{workspace_id}/budgets/{budget_id}" as "budgets.update"
        needs Access::Workspace(Permission::BudgetsManage), path BudgetPath, query NoQuery, body BudgetChange, gives 200 BudgetView;

    /// Archives a budget of a workspace; it binds no call any more and its name is free.
    ArchiveBudget: Delete "/workspaces/{workspace_id}/budgets/{budget_id}" as "budgets.archive"
        needs Access::Workspace(Permission::BudgetsManage), path BudgetPath, query NoQuery, body Empty, gives 204 Empty;

    /// Says how each account of a workspace's budget stands: what was spent, what is held for calls, what remains.
    ListBudgetAccounts: Get "/workspaces/{workspace_id}/budgets/{budget_id}/accounts" as "budgets.accounts"
        needs Access::Workspace(Permission::BudgetsRead), path BudgetPath, query AccountQuery, body Empty, gives 200 domain::Page<AccountView>;

    /// Lists every budget of the organization, its workspaces' too, newest first.
    ListOrganizationBudgets: Get "/organizations/{organization_id}/budgets" as "organization_budgets.list"
        needs Access::Organization(Permission::BudgetsRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<BudgetView>;

    /// Creates a budget for calls of all workspaces together.
    CreateOrganizationBudget: Post "/organizations/{organization_id}/budgets" as "organization_budgets.create"
        needs Access::Organization(Permission::BudgetsManage), path OrganizationPath, query NoQuery, body NewBudget, gives 201 BudgetView;

    /// Shows any budget of the organization.
    GetOrganizationBudget: Get "/organizations/{organization_id}/budgets/{budget_id}" as "organization_budgets.get"
        needs Access::Organization(Permission::BudgetsRead), path OrganizationBudgetPath, query NoQuery, body Empty, gives 200 BudgetView;

    /// Changes any budget of the organization; what was spent of it stays counted.
    UpdateOrganizationBudget: Patch "/organizations/{organization_id}/budgets/{budget_id}" as "organization_budgets.update"
        needs Access::Organization(Permission::BudgetsManage), path OrganizationBudgetPath, query NoQuery, body BudgetChange, gives 200 BudgetView;

    /// Archives any budget of the organization; it binds no call any more and its name is free.
    ArchiveOrganizationBudget: Delete "/organizations/{organization_id}/budgets/{budget_id}" as "organization_budgets.archive"
        needs Access::Organization(Permission::BudgetsManage), path OrganizationBudgetPath, query NoQuery, body Empty, gives 204 Empty;

    /// Says how each account of any budget of the organization stands: what was spent, what is held for calls, what remains.
    ListOrganizationBudgetAccounts: Get "/organizations/{organization_id}/budgets/{budget_id}/accounts" as "organization_budgets.accounts"
        needs Access::Organization(Permission::BudgetsRead), path OrganizationBudgetPath, query AccountQuery, body Empty, gives 200 domain::Page<AccountView>;
}

shapes! {
    /// A budget of a workspace.
    #[derive(Copy, Eq)]
    pub struct BudgetPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The budget.
        pub budget_id: BudgetId,
    }

    /// A budget of an organization.
    #[derive(Copy, Eq)]
    pub struct OrganizationBudgetPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The budget.
        pub budget_id: BudgetId,
    }

    /// A page of accounts, by window and group.
    #[derive(Eq, Default)]
    pub struct AccountQuery {
        /// The windows that hold this instant; those of now unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub at: Option<Timestamp>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<Cursor>,
    }

    /// A budget.
    #[derive(Eq)]
    pub struct BudgetView {
        /// Its id.
        pub id: BudgetId,
        /// The only workspace whose calls count; null for those of all workspaces.
        pub workspace_id: Option<WorkspaceId>,
        /// Its name for people; errors name it.
        pub name: DisplayName,
        /// What it is for.
        pub description: Option<String>,
        /// Whether it counts at all.
        pub is_enabled: bool,
        /// Which calls count.
        pub subject: Subject,
        /// By what accounts are kept apart; empty for a single one of each window.
        pub group_by: Vec<Dimension>,
        /// What is counted.
        pub measure: Measure,
        /// The amounts.
        pub limits: Vec<BudgetLimit>,
        /// The time zone whose calendar the windows follow.
        pub time_zone: String,
        /// What happens at the end.
        pub enforcement: Enforcement,
        /// What happens while the control plane cannot be asked.
        pub when_unreachable: WhenUnreachable,
        /// Percents of an amount that are worth a word.
        pub alert_at: Vec<u8>,
        /// More for a while; still shown when its time is over.
        pub increase: Option<BudgetIncrease>,
        /// Whether what was left of a window is added to the next.
        pub carries_over: bool,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// An amount and the window after which it is there anew.
    #[derive(Copy, Eq)]
    #[serde(deny_unknown_fields)]
    pub struct BudgetLimit {
        /// The window; each at most once in a budget.
        pub window: Window,
        /// The amount, as the measure says: dollars as text such as "12.50", or a whole number. Zero lets nothing through.
        pub amount: Amount,
    }

    /// More for a while, on top of each limit.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct BudgetIncrease {
        /// How much more, as the measure says.
        pub amount: Amount,
        /// Until when; later than now when it is set.
        pub expires_at: Timestamp,
        /// Why, for people and for the audit log.
        pub reason: String,
    }

    /// A new budget.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewBudget {
        /// Its name for people; unique in its workspace, or among those of the whole organization.
        pub name: DisplayName,
        /// What it is for; at most 1000 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// Whether it counts at all; it does unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
        /// Which calls count; all of its workspace or organization unless told.
        #[serde(default)]
        pub subject: Subject,
        /// By what accounts are kept apart, at most 4: each end user, key or model has amounts of its own then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub group_by: Vec<Dimension>,
        /// What is counted.
        pub measure: Measure,
        /// The amounts; 1 to 6, of different windows.
        pub limits: Vec<BudgetLimit>,
        /// The IANA name of the time zone whose calendar the windows follow; UTC unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub time_zone: Option<String>,
        /// What happens at the end; `hard` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enforcement: Option<Enforcement>,
        /// What happens while the control plane cannot be asked; `refuse` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub when_unreachable: Option<WhenUnreachable>,
        /// Percents of an amount that are worth a word; at most 8, ascending.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub alert_at: Vec<u8>,
        /// More for a while.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub increase: Option<BudgetIncrease>,
        /// Whether what was left of a window is added to the next, at most one amount; not unless told.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub carries_over: bool,
    }

    /// Changes to a budget. What it measures, its grouping and its time zone stay, because they say where a call counted.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct BudgetChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new description; null for none.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub description: Field<String>,
        /// Whether it counts at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
        /// Which calls count from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub subject: Option<Subject>,
        /// All amounts anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limits: Option<Vec<BudgetLimit>>,
        /// What happens at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enforcement: Option<Enforcement>,
        /// What happens while the control plane cannot be asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub when_unreachable: Option<WhenUnreachable>,
        /// All percents anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub alert_at: Option<Vec<u8>>,
        /// More for a while; null takes it back.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub increase: Field<BudgetIncrease>,
        /// Whether what was left of a window is added to the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub carries_over: Option<bool>,
    }

    /// One counter of a budget: of one window and one group. It begins with the first call that counts.
    #[derive(Eq)]
    pub struct AccountView {
        /// The window.
        pub window: Window,
        /// The values that this account is for, in the order of the budget's grouping.
        pub group: Vec<GroupValue>,
        /// When the window began; null for one that never ends.
        pub starts_at: Option<Timestamp>,
        /// When the amount is there anew; null for never.
        pub resets_at: Option<Timestamp>,
        /// All that may be spent: the amount, what was carried over, and what was added for a while. Null when the budget has no
        /// limit of this window any more.
        pub limit: Option<Amount>,
        /// What was left of the window before; part of the limit.
        pub carried_over: Amount,
        /// What was spent.
        pub posted: Amount,
        /// What nodes hold for calls and have not spent, as far as is known.
        pub held: Amount,
        /// What nobody has spent or holds; null without a limit.
        pub remaining: Option<Amount>,
        /// The part of what was spent that went beyond what was held for it.
        pub overdrawn: Amount,
        /// When it last changed.
        pub updated_at: Timestamp,
    }

    /// One value by which accounts are kept apart.
    #[derive(Eq)]
    pub struct GroupValue {
        /// What it is a value of.
        pub by: Dimension,
        /// The value; empty for calls that name none.
        pub value: String,
    }
}
