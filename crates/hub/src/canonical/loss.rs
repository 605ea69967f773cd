//! What a translation could not carry.
//!
//! A loss is a fact for the caller (response header, log, golden files), not an error: the call still goes through.

use std::fmt;

/// Names one field that the target dialect could not express as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it was: `messages[2].content[0].cache_control`. Messages are counted as in the canonical request, where a
    /// top-level `system` is message 0 and results of tools are messages of their own.
    pub path: Box<str>,
    /// What happened to it.
    pub effect: Effect,
    /// Why, in a few words for people.
    pub reason: Box<str>,
}

/// What a translation did with a field it could not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The field is gone.
    Dropped,
    /// The field was sent with another value or in another form that means nearly the same.
    Changed,
}

impl Loss {
    /// A field that was left out.
    pub fn dropped(path: impl Into<Box<str>>, reason: &str) -> Self {
        Self { path: path.into(), effect: Effect::Dropped, reason: reason.into() }
    }

    /// A field that was sent in another form.
    pub fn changed(path: impl Into<Box<str>>, reason: &str) -> Self {
        Self { path: path.into(), effect: Effect::Changed, reason: reason.into() }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Dropped => "dropped",
            Effect::Changed => "changed",
        };
        write!(f, "{} {effect}: {}", self.path, self.reason)
    }
}
