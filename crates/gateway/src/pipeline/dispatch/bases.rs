//! Base addresses of credentials, checked once and kept for each worker.

use std::sync::Arc;

use domain::CredentialId;
use parking_lot::Mutex;
use policy::snapshot::CredentialUse;
use provider::{Base, BaseUrlError, Spec};
use rustc_hash::FxHashMap;

/// Addresses kept before they are all thrown away.
const SWEEP_AT: usize = 10_000;

/// The checked addresses of one worker.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    known: Mutex<FxHashMap<CredentialId, Known>>,
}

/// An address as it was checked.
#[derive(Debug)]
struct Known {
    text: Box<str>,
    base: Arc<Base>,
}

impl Bases {
    /// Returns the checked base address that a deployment's calls go to.
    pub(crate) fn base(&self, spec: &Spec, credential: &CredentialUse) -> Result<Arc<Base>, BaseUrlError> {
        let CredentialUse::Ready(credential) = credential else {
            let text = spec.base_url.ok_or(BaseUrlError::NotAbsolute)?;
            return Base::parse(spec, text).map(Arc::new);
        };
        let mut known = self.known.lock();
        if let Some(found) = known.get(&credential.id)
            && *found.text == *credential.base_url
        {
            return Ok(found.base.clone());
        }
        let base = Arc::new(Base::parse(spec, &credential.base_url)?);
        if known.len() >= SWEEP_AT {
            known.clear();
        }
        known.insert(credential.id, Known { text: credential.base_url.as_str().into(), base: base.clone() });
        Ok(base)
    }
}
