//! Where it is noted whose the files and batches at upstreams are: the port, and the link as what stands behind it.

use domain::remote::{RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use futures_util::future::BoxFuture;
use link::remotes::Remotes;

pub use link::remotes::{Listing, RemoteError};

/// What comes of asking.
pub type Asked<T> = BoxFuture<'static, Result<T, RemoteError>>;

/// Knows the files and batches at upstreams. A node's link is one; what it notes, every node of the organization finds.
pub trait RemoteStore: Send + Sync {
    /// Notes an object; durable when it returns.
    fn note(&self, object: RemoteObject) -> Asked<()>;

    /// Finds an object.
    fn find(&self, scope: RemoteScope, id: RemoteId) -> Asked<Option<RemoteObject>>;

    /// Lists objects of an environment.
    fn list(&self, scope: RemoteScope, listing: Listing) -> Asked<Vec<RemoteObject>>;

    /// Forgets an object; false when there was none.
    fn forget(&self, scope: RemoteScope, id: RemoteId) -> Asked<bool>;

    /// Takes objects whose output this node should look after now; no other gets them for a while.
    fn take_due(&self, limit: u32) -> Asked<Vec<RemoteObject>>;

    /// Says that an object's output was booked, or when to look again.
    fn settle(&self, scope: RemoteScope, id: RemoteId, look_again_at: Option<Timestamp>) -> Asked<()>;
}

impl RemoteStore for Remotes {
    fn note(&self, object: RemoteObject) -> Asked<()> {
        let this = self.clone();
        Box::pin(async move { Self::note(&this, &object).await })
    }

    fn find(&self, scope: RemoteScope, id: RemoteId) -> Asked<Option<RemoteObject>> {
        let this = self.clone();
        Box::pin(async move { Self::find(&this, scope, id).await })
    }

    fn list(&self, scope: RemoteScope, listing: Listing) -> Asked<Vec<RemoteObject>> {
        let this = self.clone();
        Box::pin(async move { Self::list(&this, scope, listing).await })
    }

    fn forget(&self, scope: RemoteScope, id: RemoteId) -> Asked<bool> {
        let this = self.clone();
        Box::pin(async move { Self::forget(&this, scope, id).await })
    }

    fn take_due(&self, limit: u32) -> Asked<Vec<RemoteObject>> {
        let this = self.clone();
        Box::pin(async move { Self::take_due(&this, limit).await })
    }

    fn settle(&self, scope: RemoteScope, id: RemoteId, look_again_at: Option<Timestamp>) -> Asked<()> {
        let this = self.clone();
        Box::pin(async move { Self::settle(&this, scope, id, look_again_at).await })
    }
}
