//! Kept responses in memory, shared by whatever gateways a test makes, and broken on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use domain::Timestamp;
use futures_util::future::BoxFuture;
use gateway::responses::{KeepError, Place, ResponseStore};
use parking_lot::Mutex;

/// What a fleet keeps.
#[derive(Default, Clone)]
pub(crate) struct Kept {
    pub all: Arc<Mutex<HashMap<Place, (Bytes, Timestamp)>>>,
    pub is_away: Arc<AtomicBool>,
}

impl Kept {
    fn check(&self) -> Result<(), KeepError> {
        if self.is_away.load(Ordering::Relaxed) { Err(KeepError::Late) } else { Ok(()) }
    }
}

impl ResponseStore for Kept {
    fn keep(&self, place: Place, content: Bytes, expires_at: Timestamp) -> BoxFuture<'static, Result<(), KeepError>> {
        let this = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            this.check()?;
            this.all.lock().insert(place, (content, expires_at));
            Ok(())
        })
    }

    fn find(&self, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, KeepError>> {
        let this = self.clone();
        Box::pin(async move { this.check().map(|()| this.all.lock().get(&place).map(|(content, _)| content.clone())) })
    }

    fn delete(&self, place: Place) -> BoxFuture<'static, Result<bool, KeepError>> {
        let this = self.clone();
        Box::pin(async move { this.check().map(|()| this.all.lock().remove(&place).is_some()) })
    }
}
