//! What is known of files and batches, in memory, shared by whatever gateways a test makes, and broken on demand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::remote::{RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use parking_lot::Mutex;
use remote::store::{Asked, Listing, RemoteError, RemoteStore};
use tokio::sync::Notify;

/// What a fleet knows.
#[derive(Default, Clone)]
pub(crate) struct Remotes {
    pub all: Arc<Mutex<BTreeMap<RemoteId, RemoteObject>>>,
    pub is_away: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Remotes {
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut BTreeMap<RemoteId, RemoteObject>) -> T + Send + 'static,
    ) -> Asked<T> {
        let this = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if this.is_away.load(Ordering::Relaxed) {
                return Err(RemoteError::Late);
            }
            let done = work(&mut this.all.lock());
            this.changed.notify_waiters();
            Ok(done)
        })
    }

    /// Waits until something is marked as booked.
    pub(crate) async fn booked(&self) {
        loop {
            let changed = self.changed.notified();
            if self.all.lock().values().any(|object| object.booked_at.is_some()) {
                return;
            }
            changed.await;
        }
    }

    /// Has everything be due from now on.
    pub(crate) fn hurry(&self) {
        for object in self.all.lock().values_mut().filter(|object| object.due_at.is_some()) {
            object.due_at = Some(Timestamp::from_micros(0));
        }
    }
}

impl RemoteStore for Remotes {
    fn note(&self, object: RemoteObject) -> Asked<()> {
        self.with(|all| {
            all.entry(object.id).or_insert(object);
        })
    }

    fn find(&self, scope: RemoteScope, id: RemoteId) -> Asked<Option<RemoteObject>> {
        self.with(move |all| all.get(&id).filter(|object| object.scope == scope).cloned())
    }

    fn list(&self, scope: RemoteScope, listing: Listing) -> Asked<Vec<RemoteObject>> {
        self.with(move |all| {
            let of_kind = all.values().filter(|object| object.scope == scope && object.kind == listing.kind);
            let mut listed: Vec<_> = of_kind.cloned().collect();
            if !listing.is_ascending {
                listed.reverse();
            }
            let behind = |object: &RemoteObject| match listing.after {
                None => true,
                Some(after) if listing.is_ascending => object.id > after,
                Some(after) => object.id < after,
            };
            listed.into_iter().filter(behind).take(listing.limit as usize).collect()
        })
    }

    fn forget(&self, scope: RemoteScope, id: RemoteId) -> Asked<bool> {
        self.with(move |all| {
            let is_there = all.get(&id).is_some_and(|object| object.scope == scope);
            is_there && all.remove(&id).is_some()
        })
    }

    fn take_due(&self, limit: u32) -> Asked<Vec<RemoteObject>> {
        self.with(move |all| {
            let epoch = Timestamp::from_micros(0);
            let due = all.values_mut().filter(|object| object.due_at == Some(epoch)).take(limit as usize);
            due.map(|object| {
                object.due_at = Some(object.expires_at);
                object.clone()
            })
            .collect()
        })
    }

    fn settle(&self, scope: RemoteScope, id: RemoteId, look_again_at: Option<Timestamp>) -> Asked<()> {
        self.with(move |all| {
            let Some(object) = all.get_mut(&id).filter(|it| it.scope == scope && it.booked_at.is_none()) else {
                return;
            };
            object.due_at = look_again_at;
            object.booked_at = look_again_at.is_none().then_some(object.created_at);
        })
    }
}
