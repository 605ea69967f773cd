//! Pages of answers: the bound that a caller may ask for, and lists that are whole in memory.

use domain::page::{Cursor, Limit};

use crate::error::{Failure, Outcome};

/// Reads a page's bound.
pub fn limit(rows: Option<u16>) -> Outcome<Limit> {
    match rows {
        None => Ok(Limit::default()),
        Some(rows) => Limit::new(rows).ok_or_else(|| Failure::invalid("limit", format!("use 1 to {}", Limit::MAX))),
    }
}

/// Makes a page of a list that is whole in memory: rows after the cursor's key, in the order given.
pub fn slice<T>(
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
#[must_use]
pub fn whole<T>(items: Vec<T>) -> domain::Page<T> {
    domain::Page { items, next_cursor: None }
}
