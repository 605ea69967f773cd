//! Keyset paging: a bounded page and an opaque cursor that names the last row seen.

/// How many rows a page may hold: 1–200, 50 unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// The largest page.
    pub const MAX: u16 = 200;

    /// Checks the bound.
    #[must_use]
    pub fn new(rows: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&rows).then_some(Self(rows))
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn rows(self) -> u16 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// Where the next page begins: the sort key of the last row given, as text. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// One page of a list, in the order the list documents.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Present when there are more rows.
    pub next_cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page from up to `limit + 1` rows: the surplus row only proves that there are more.
    #[must_use]
    pub fn from_surplus(mut rows: Vec<T>, limit: Limit, key: impl Fn(&T) -> String) -> Self {
        let bound = usize::from(limit.rows());
        let more = rows.len() > bound;
        rows.truncate(bound);
        let next_cursor = if more { rows.last().map(|row| Cursor(key(row))) } else { None };
        Self { items: rows, next_cursor }
    }

    /// Changes every row.
    #[must_use]
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next_cursor: self.next_cursor }
    }
}
