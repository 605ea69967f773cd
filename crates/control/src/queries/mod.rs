//! All reads, one file per aggregate, and the views that commands answer with.

pub mod access_tokens;
pub mod alerts;
pub mod audit;
pub mod auth;
pub mod billing;
pub mod budgets;
pub mod credentials;
pub mod deployments;
pub mod environments;
pub mod kill_switches;
pub mod ledger;
pub mod members;
pub mod models;
pub mod nodes;
pub mod organizations;
pub mod rate_limits;
pub mod reconciliations;
pub mod reports;
pub mod routes;
pub mod usage;
pub mod virtual_keys;
pub mod what_if;
pub mod workspaces;

use domain::page::{Cursor, Limit};

use crate::error::{Failure, Outcome};

/// Reads a page's bound.
pub(crate) fn limit(rows: Option<u16>) -> Outcome<Limit> {
    match rows {
        None => Ok(Limit::default()),
        Some(rows) => Limit::new(rows).ok_or_else(|| Failure::invalid("limit", format!("use 1 to {}", Limit::MAX))),
    }
}

/// Makes a page of a list that is whole in memory: rows after the cursor's key, in the order given.
pub(crate) fn slice<T>(
    rows: Vec<T>,
    cursor: Option<&Cursor>,
    limit: Limit,
    key: impl Fn(&T) -> String,
) -> Outcome<domain::Page<T>> {
    let start = match cursor {
        None => 0,
        Some(cursor) => {
            rows.iter().position(|row| key(row) == cursor.0).map(|at| at + 1).ok_or(store::StoreError::Cursor)?
        }
    };
    let rest = rows.into_iter().skip(start).take(usize::from(limit.rows()) + 1).collect();
    Ok(domain::Page::from_surplus(rest, limit, key))
}

/// Makes a page of a list that is always given whole.
pub(crate) fn whole<T>(items: Vec<T>) -> domain::Page<T> {
    domain::Page { items, next_cursor: None }
}
