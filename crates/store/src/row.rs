//! Reading columns back into the vocabulary. A value the schema should not hold is `Corrupt` and says where, never a panic.
//!
//! Integers are stored signed; the schema's checks keep them in range, so the saturating conversions below never bite.

use std::str::FromStr;

use domain::Timestamp;
use domain::page::{Cursor, Limit, Page};
use domain::secret::{RevocationCause, TokenMac};

use crate::{Result, StoreError};

/// Names the row being read, for errors.
pub(crate) struct Row<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: &'a str,
}

impl Row<'_> {
    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::Corrupt { table: self.table, column, id: self.id.to_owned() }
    }

    pub(crate) fn parse<T: FromStr>(&self, column: &'static str, text: &str) -> Result<T> {
        text.parse().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn parse_opt<T: FromStr>(&self, column: &'static str, text: Option<&str>) -> Result<Option<T>> {
        text.map(|text| self.parse(column, text)).transpose()
    }

    pub(crate) fn mac(&self, column: &'static str, bytes: &[u8]) -> Result<TokenMac> {
        self.bytes32(column, bytes).map(TokenMac::from_bytes)
    }

    pub(crate) fn bytes32(&self, column: &'static str, bytes: &[u8]) -> Result<[u8; 32]> {
        bytes.try_into().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn small<T: TryFrom<i32>>(&self, column: &'static str, number: i32) -> Result<T> {
        T::try_from(number).map_err(|_| self.corrupt(column))
    }
}

/// Reads why a secret was revoked.
pub(crate) fn cause(row: &Row<'_>, text: Option<&str>) -> Result<Option<RevocationCause>> {
    text.map(|text| RevocationCause::find(text).ok_or_else(|| row.corrupt("revoked_because"))).transpose()
}

/// A stored non-negative number.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number as it is stored.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) const fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn time_opt(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

pub(crate) fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

/// Reads a cursor that is an id of the listed kind.
pub(crate) fn after<T: FromStr + ToString>(cursor: Option<&Cursor>) -> Result<Option<String>> {
    let id = cursor.map(|cursor| cursor.0.parse::<T>().map_err(|_| StoreError::Cursor)).transpose()?;
    Ok(id.map(|id| id.to_string()))
}

/// The rows to ask for: one more than the page, which proves that there are more.
pub(crate) fn surplus(limit: Limit) -> i64 {
    i64::from(limit.rows()) + 1
}

/// Turns rows into entities and cuts the page.
pub(crate) fn page<R, T>(
    rows: Vec<R>,
    limit: Limit,
    read: impl FnMut(R) -> Result<T>,
    key: impl Fn(&T) -> String,
) -> Result<Page<T>> {
    let items = rows.into_iter().map(read).collect::<Result<Vec<T>>>()?;
    Ok(Page::from_surplus(items, limit, key))
}

/// A filter by ids, as text; `None` lets every row through.
pub(crate) fn texts<T: ToString>(ids: Option<&[T]>) -> Option<Vec<String>> {
    ids.map(|ids| ids.iter().map(ToString::to_string).collect())
}
