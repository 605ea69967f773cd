//! The sealed copy of one organization: what a node writes down and reads back.

use domain::Timestamp;
use proto::v1;

use super::{WireError, frame};
use crate::replica::Copy;
use crate::set::{ResourceSet, SetError};
use crate::sign::{NodeScope, Signed};

/// What was opened is not a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A field is wrong.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// Its resources do not make a set.
    #[error("{0}")]
    Set(#[from] SetError),
}

/// Turns a copy into its message.
#[must_use]
pub fn encode(scope: &Signed<NodeScope>, copy: &Copy, grants: Vec<v1::KeyGrant>) -> v1::PolicyCopy {
    v1::PolicyCopy {
        scope: Some(frame::scope_message(scope)),
        revision: Some(frame::revision_message(&copy.revision)),
        resources: copy.set.iter().map(|resource| frame::resource_message(&resource)).collect(),
        last_good: copy.last_good.iter().map(frame::resource_message).collect(),
        grants,
        confirmed_at_us: copy.confirmed_at.as_micros(),
    }
}

/// Reads a copy; its signatures and its hash are checked when it is loaded.
pub fn decode(it: v1::PolicyCopy) -> Result<(Signed<NodeScope>, Copy, Vec<v1::KeyGrant>), CopyError> {
    let revision = frame::revision(it.revision)?;
    let resources = it.resources.into_iter().map(frame::resource).collect::<Result<Vec<_>, _>>()?;
    let set = ResourceSet::from_resources(revision.statement.organization, resources)?;
    let last_good = it.last_good.into_iter().map(frame::resource).collect::<Result<_, _>>()?;
    let confirmed_at = Timestamp::from_micros(it.confirmed_at_us);
    Ok((frame::scope(it.scope)?, Copy { revision, set, last_good, confirmed_at }, it.grants))
}
