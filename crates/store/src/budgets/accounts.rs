//! How a budget's accounts stand, for people. Reads what [`crate::leases`] keeps; nothing is changed here.

use std::sync::Arc;

use domain::budget::Window;
use domain::page::{Cursor, Limit, Page};
use domain::{BudgetId, Timestamp};

use crate::row::{self, Row, time, time_opt, unsigned};
use crate::{Result, StoreError, Tx};

/// One counter of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The window.
    pub window: Window,
    /// The values by which accounts are kept apart, as [`domain::budget::group_key`] writes them.
    pub group_key: Arc<str>,
    /// When the window began; 0 for one that never ends.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// What was left of the window before.
    pub carried: u64,
    /// What was spent.
    pub posted: u64,
    /// What nodes hold and have not spent.
    pub leased: u64,
    /// The part of what was spent that no lease covered.
    pub overdrawn: u64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    budget_id: String,
    window_name: String,
    group_key: String,
    starts_at: i64,
    ends_at: Option<i64>,
    carried: i64,
    posted: i64,
    leased: i64,
    overdrawn: i64,
    updated_at: i64,
}

impl AccountRow {
    fn read(self) -> Result<Account> {
        let row = Row { table: "budget_accounts", id: &self.budget_id };
        Ok(Account {
            window: Window::find(&self.window_name).ok_or_else(|| row.corrupt("window_name"))?,
            group_key: self.group_key.into(),
            starts_at: time(self.starts_at),
            ends_at: time_opt(self.ends_at),
            carried: unsigned(self.carried),
            posted: unsigned(self.posted),
            leased: unsigned(self.leased),
            overdrawn: unsigned(self.overdrawn),
            updated_at: time(self.updated_at),
        })
    }
}

/// Lists the accounts whose window holds an instant, by the names of windows and the group. An account is there since the first
/// call that counted, or was about to.
pub async fn list(
    tx: &mut Tx,
    budget_id: BudgetId,
    at: Timestamp,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Account>> {
    let (window, group) = cursor.map(|it| it.0.split_once(':').ok_or(StoreError::Cursor)).transpose()?.unzip();
    if window.is_some_and(|window| Window::find(window).is_none()) {
        return Err(StoreError::Cursor);
    }
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT budget_id, window_name, group_key, starts_at, ends_at, carried, posted, leased, overdrawn, updated_at
           FROM budget_accounts
          WHERE organization_id = $1 AND budget_id = $2 AND starts_at <= $3 AND (ends_at IS NULL OR ends_at > $3)
            AND ($4::text IS NULL OR (window_name, group_key) > ($4, $5))
          ORDER BY window_name, group_key LIMIT $6",
    )
    .bind(tx.org())
    .bind(budget_id.to_string())
    .bind(at.as_micros())
    .bind(window)
    .bind(group)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, AccountRow::read, |it| format!("{}:{}", it.window, it.group_key))
}
