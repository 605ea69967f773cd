//! Whether this process is alive and ready, and if not, why. Roles write reasons; the admin address reads them.
//!
//! Invariant: ready means *no* reason is standing, so a part that was never heard of cannot hold readiness back, and a part
//! that registers itself as pending cannot be forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// The reasons why this process should not get traffic yet; cheap to clone, shared by all parts of one role.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    standing: Arc<RwLock<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Starts with no reason standing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds readiness back under `part` until [`Readiness::clear`]; a second call replaces the reason.
    pub fn hold(&self, part: &'static str, reason: impl Into<String>) {
        self.standing.write().insert(part, reason.into());
    }

    /// Takes the reason of `part` away.
    pub fn clear(&self, part: &'static str) {
        self.standing.write().remove(part);
    }

    /// Tells whether no reason is standing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.standing.read().is_empty()
    }

    /// Tells whether `part` holds readiness back.
    #[must_use]
    pub fn is_held(&self, part: &'static str) -> bool {
        self.standing.read().contains_key(part)
    }

    /// Lists `(part, reason)` in order of the part's name.
    #[must_use]
    pub fn list_reasons(&self) -> Vec<(&'static str, String)> {
        self.standing.read().iter().map(|(part, reason)| (*part, reason.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_no_reason_is_standing() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        readiness.hold("policy", "no verified set yet");
        readiness.hold("spool", "disk full");
        readiness.hold("policy", "set is stale");
        assert!(!readiness.is_ready());
        let reasons = readiness.list_reasons();
        assert_eq!(reasons, [("policy", "set is stale".to_owned()), ("spool", "disk full".to_owned())]);
        readiness.clear("policy");
        assert!(readiness.is_held("spool") && !readiness.is_held("policy"));
        readiness.clear("spool");
        assert!(readiness.is_ready());
    }
}
