//! The only place where generated messages become our types and back.
//!
//! Decoding names the field that was wrong and never guesses: an unknown enum value, a missing id or a bound exceeded is an
//! error of that resource. Encoding is canonical: equal values give equal bytes, since the bytes are hashed and signed.

mod budget;
pub mod content;
pub mod copy;
pub mod frame;
pub mod lease;
mod limit;
pub mod remote;
pub mod usage;

pub use content::{decode, encode};

/// The field of a message that was wrong, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct WireError {
    /// The field's name in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Required and absent or empty.
    #[error("is missing")]
    Missing,
    /// Not an id, name, or number of the expected form.
    #[error("is malformed")]
    Malformed,
    /// Outside of its bounds.
    #[error("is out of bounds")]
    OutOfBounds,
    /// An enum value this build does not know.
    #[error("has a value this build does not know")]
    Unknown,
    /// Disagrees with the key or the parents of the resource.
    #[error("does not fit the resource's key or parent")]
    Mismatch,
    /// The bytes are not a message.
    #[error("cannot be decoded")]
    Encoding,
}

impl Reason {
    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::OutOfBounds => "out_of_bounds",
            Self::Unknown => "unknown",
            Self::Mismatch => "mismatch",
            Self::Encoding => "encoding",
        }
    }
}

pub(crate) const fn wrong(field: &'static str, reason: Reason) -> WireError {
    WireError { field, reason }
}

pub(crate) fn id<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, WireError> {
    text.parse().map_err(|_| wrong(field, if text.is_empty() { Reason::Missing } else { Reason::Malformed }))
}

pub(crate) fn optional_id<T: std::str::FromStr>(
    field: &'static str,
    text: Option<&String>,
) -> Result<Option<T>, WireError> {
    text.map(|text| id(field, text)).transpose()
}

/// Reads the group of an account. It has no U+0000, which no database text holds.
pub(crate) fn group_key(field: &'static str, text: &str) -> Result<std::sync::Arc<str>, WireError> {
    if text.len() > domain::budget::MAX_GROUP_KEY || text.contains('\0') {
        return Err(wrong(field, Reason::OutOfBounds));
    }
    Ok(text.into())
}

pub(crate) fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, WireError> {
    T::try_from(value).map_err(|_| wrong(field, Reason::OutOfBounds))
}

/// Reads a text that is not empty. It has no U+0000, which no database text holds.
pub(crate) fn bounded(field: &'static str, text: String, max: usize) -> Result<String, WireError> {
    match text.len() {
        0 => Err(wrong(field, Reason::Missing)),
        length if length > max => Err(wrong(field, Reason::OutOfBounds)),
        _ if text.contains('\0') => Err(wrong(field, Reason::Malformed)),
        _ => Ok(text),
    }
}
