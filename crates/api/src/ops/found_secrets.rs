//! Secrets of ours that somebody found where they should not be.

use super::NoPath;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

/// The most that one report may hold.
pub const MAX_SECRETS: usize = 100;
/// Longest report, in bytes.
pub const MAX_BODY: usize = 128 * 1_024;

operations! {
    /// Revokes virtual keys, access tokens and join tokens that somebody found: whoever shows one may have it ended. The answer is always the same.
    ReportFoundSecrets: Post "/found-secrets" as "found_secrets.report"
        needs Access::Public, path NoPath, query NoQuery, body FoundSecrets, gives 202 Empty;
}

shapes! {
    /// What was found: one secret, or a list of up to 100, as secret scanners send it.
    #[derive(Eq)]
    #[serde(untagged)]
    pub enum FoundSecrets {
        /// Several.
        Many(Vec<FoundSecret>),
        /// One.
        One(FoundSecret),
    }

    /// A secret that was found. Fields that scanners send besides are passed over.
    #[derive(Eq)]
    pub struct FoundSecret {
        /// The whole secret.
        pub token: String,
        /// Where it was found; those who are told of the revocation are shown it, if it is a web address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
    }
}

impl FoundSecrets {
    /// Returns what was found, in the order of the report.
    #[must_use]
    pub fn as_slice(&self) -> &[FoundSecret] {
        match self {
            Self::Many(found) => found,
            Self::One(found) => std::slice::from_ref(found),
        }
    }
}
