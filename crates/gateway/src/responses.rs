//! Where answers of the responses surface are kept for later calls: the port, and the link as what stands behind it.

use bytes::Bytes;
use domain::Timestamp;
use futures_util::future::BoxFuture;
use link::responses::Responses;

pub use link::responses::{KeepError, Place};

/// Keeps answers that later calls continue. A node's link is one; what it kept, every node of the organization finds.
pub trait ResponseStore: Send + Sync {
    /// Keeps content until an instant; durable when it returns.
    fn keep(&self, place: Place, content: Bytes, expires_at: Timestamp) -> BoxFuture<'static, Result<(), KeepError>>;

    /// Finds content; `None` when nothing is kept there.
    fn find(&self, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, KeepError>>;

    /// Deletes content; false when there was none.
    fn delete(&self, place: Place) -> BoxFuture<'static, Result<bool, KeepError>>;
}

impl ResponseStore for Responses {
    fn keep(&self, place: Place, content: Bytes, expires_at: Timestamp) -> BoxFuture<'static, Result<(), KeepError>> {
        let this = self.clone();
        Box::pin(async move { Self::keep(&this, place, content, expires_at).await })
    }

    fn find(&self, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, KeepError>> {
        let this = self.clone();
        Box::pin(async move { Self::find(&this, place).await })
    }

    fn delete(&self, place: Place) -> BoxFuture<'static, Result<bool, KeepError>> {
        let this = self.clone();
        Box::pin(async move { Self::delete(&this, place).await })
    }
}
