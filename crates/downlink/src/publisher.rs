//! Keeps, per organization, what nodes must hold: the hashed set of its latest revision, signed, with the steps that led there.
//!
//! ```text
//!  commit ── NOTIFY ─▶ refresh ── one REPEATABLE READ transaction ─▶ set, signature, step ── broadcast ─▶ every node's stream
//!             poll  ─▶    │        revision N and the rows changed in (R, N]
//! ```
//!
//! Announcements are hints; polling the revisions is the truth. Invariant: what is published is always the whole state of one
//! committed revision, however many commits a refresh spans, and never an older one than before.

mod overtaking;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use domain::change::Change;
use domain::{NodeGroupId, OrganizationId, Timestamp};
use operation::cx::Cx;
use operation::keyring::KeyError;
use operation::resources::{self, PublishError};
use operation::signing_keys::{POLICY, load_or_make};
use parking_lot::{Mutex, RwLock};
use policy::sign::{FLAG_SHRINK, Revision, Signed, is_shrink};
use policy::{Kind, ResourceSet, Signer};
use proto::v1;
use store::StoreError;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::ca::AuthorityError;
use crate::sync::restored;

use self::overtaking::Overtaking;
pub(crate) use self::state::{Plan, Published};

/// How often the revisions are polled.
const POLL: Duration = Duration::from_secs(1);
/// Organizations that wait to be refreshed after an announced commit.
const HINTS: usize = 4_096;

/// What streams are told.
#[derive(Debug, Clone)]
pub(crate) enum Announcement {
    /// An organization has a new revision.
    Changed(OrganizationId),
    /// Ahead of it: what takes something out of use.
    Urgent(OrganizationId, Arc<v1::Urgent>),
    /// What a group's nodes may hold changed.
    Group(NodeGroupId),
    /// Rate limits are shared out anew.
    Shares,
}

/// Signs policy with the installation's Ed25519 key.
pub struct PolicySigner {
    key_id: String,
    pair: Ed25519KeyPair,
    public: Vec<v1::SigningKey>,
}

impl std::fmt::Debug for PolicySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer for PolicySigner {
    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn sign(&self, statement: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        // An Ed25519 signature has 64 bytes.
        out.copy_from_slice(self.pair.sign(statement).as_ref());
        out
    }
}

impl PolicySigner {
    /// Loads the installation's signing key, making it on the first start.
    pub async fn load(cx: &Cx) -> Result<Self, AuthorityError> {
        let wrong = |_| AuthorityError::Key(KeyError::Sealed);
        let make = |_: &str| {
            let mut seed = vec![0; 32];
            cx.entropy.fill(&mut seed);
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(wrong)?;
            Ok::<_, AuthorityError>((pair.public_key().as_ref().to_vec(), seed))
        };
        let keys = load_or_make(&cx.store, &cx.keyring, cx.entropy.as_ref(), (POLICY, cx.now()), make).await?;
        let public = keys
            .iter()
            .map(|(key, _)| v1::SigningKey { key_id: key.kid.clone(), public_key: key.public.clone().into() });
        let public = public.collect();
        let active = keys.iter().find(|(key, _)| key.retired_at.is_none()).or(keys.first());
        let (key, seed) = active.ok_or(AuthorityError::Key(KeyError::Sealed))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(wrong)?;
        Ok(Self { key_id: key.kid.clone(), pair, public })
    }

    /// Returns the keys that nodes verify by.
    #[must_use]
    pub fn public_keys(&self) -> Vec<v1::SigningKey> {
        self.public.clone()
    }
}

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

/// An organization without the kinds that some nodes do not understand.
type Narrowed = (OrganizationId, Vec<Kind>);

struct Inner {
    cx: Arc<Cx>,
    signer: PolicySigner,
    organizations: RwLock<HashMap<OrganizationId, Arc<Published>>>,
    /// For nodes of earlier releases, which do not understand every kind.
    narrowed: Mutex<HashMap<Narrowed, Arc<Published>>>,
    announcements: broadcast::Sender<Announcement>,
    is_loaded: watch::Sender<bool>,
    polled_at: AtomicI64,
    unread: RwLock<BTreeSet<OrganizationId>>,
    wake: Notify,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("organizations", &self.0.organizations.read().len()).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes a publisher that has published nothing yet; [`Publisher::run`] makes it work. `backlog`: announcements that a
    /// stream may fall behind.
    #[must_use]
    pub fn new(cx: Arc<Cx>, signer: PolicySigner, backlog: usize) -> Self {
        Self(Arc::new(Inner {
            cx,
            signer,
            organizations: RwLock::default(),
            narrowed: Mutex::default(),
            announcements: broadcast::channel(backlog).0,
            is_loaded: watch::channel(false).0,
            polled_at: AtomicI64::new(0),
            unread: RwLock::default(),
            wake: Notify::new(),
        }))
    }

    /// Looks for changes now instead of at the next poll.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    pub(crate) fn signer(&self) -> &PolicySigner {
        &self.0.signer
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Announcement> {
        self.0.announcements.subscribe()
    }

    pub(crate) fn announce(&self, announcement: Announcement) {
        // No stream is listening: nobody to tell.
        drop(self.0.announcements.send(announcement));
    }

    /// Waits until everything was published once.
    pub(crate) async fn loaded(&self) {
        // The sender lives as long as this publisher.
        drop(self.0.is_loaded.subscribe().wait_for(|is_loaded| *is_loaded).await);
    }

    pub(crate) fn organizations(&self) -> Vec<OrganizationId> {
        self.0.organizations.read().keys().copied().collect()
    }

    pub(crate) fn is_known(&self, organization: OrganizationId) -> bool {
        self.0.organizations.read().contains_key(&organization)
    }

    fn whole(&self, organization: OrganizationId) -> Option<Arc<Published>> {
        self.0.organizations.read().get(&organization).cloned()
    }

    /// Returns what a node that understands `kinds` is to hold: a narrower one gets a set, a hash and a signature of its own.
    pub(crate) fn get(&self, organization: OrganizationId, kinds: &BTreeSet<Kind>) -> Option<Arc<Published>> {
        let whole = self.whole(organization)?;
        if Kind::ALL.iter().all(|kind| kinds.contains(kind)) {
            return Some(whole);
        }
        let mut narrowed = self.0.narrowed.lock();
        let key = (organization, kinds.iter().copied().collect::<Vec<_>>());
        let before = narrowed.get(&key);
        if let Some(current) = before.filter(|it| it.signed().statement.number == whole.revision()) {
            return Some(Arc::clone(current));
        }
        let set = whole.set().only(kinds);
        let (signed, data_keys) = (self.sign(&set, whole.revision(), 0), whole.data_keys().to_vec());
        let next = match before {
            None => Published::first(signed, set, data_keys),
            Some(before) => {
                let (upserts, removals) = before.set().difference(&set);
                before.next(signed, set, (upserts, removals), Vec::new(), data_keys)
            }
        };
        let next = Arc::new(next);
        narrowed.insert(key, Arc::clone(&next));
        Some(next)
    }

    /// Returns how old this process' view of the database is.
    pub(crate) fn age(&self) -> Duration {
        self.0.cx.now().since(Timestamp::from_micros(self.0.polled_at.load(Ordering::Relaxed)))
    }

    /// Lists the organizations whose present policy could not be read at the last poll.
    pub(crate) fn unread(&self) -> Vec<OrganizationId> {
        self.0.unread.read().iter().copied().collect()
    }

    /// Publishes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (hint, mut hints) = mpsc::channel(HINTS);
        let listener = runtime::tasks::spawn("publisher.listen", listen(Arc::clone(&self.0.cx), hint, stop.clone()));
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A hint names the organization, so the common case is one transaction and no poll.
                Some(first) = hints.recv() => {
                    let mut named = BTreeSet::from([first]);
                    while let Ok(more) = hints.try_recv() {
                        named.insert(more);
                    }
                    for organization in named {
                        self.refresh_logged(organization).await;
                    }
                }
                _ = ticks.tick() => self.poll().await,
                () = self.0.wake.notified() => self.poll().await,
                () = stop.cancelled() => break,
            }
        }
        // The listener only waits; it ends with `stop`.
        drop(listener.await);
    }

    async fn poll(&self) {
        let started = self.0.cx.now();
        let revisions = async {
            let mut tx = self.0.cx.store.system().await?;
            store::changes::revisions(&mut tx).await
        };
        let revisions = match revisions.await {
            Ok(revisions) => revisions,
            Err(error) => {
                tracing::warn!(error = %runtime::telemetry::chain(&error), "policy revisions could not be read; nodes keep what they have");
                return;
            }
        };
        let mut unread = BTreeSet::new();
        for (organization, revision) in revisions {
            let is_current = self.whole(organization).is_some_and(|published| published.revision() == revision);
            if !is_current && !self.refresh_logged(organization).await {
                unread.insert(organization);
            }
        }
        // One organization that cannot be read holds up no other; nodes are told not to take its policy for current.
        *self.0.unread.write() = unread;
        self.0.polled_at.store(started.as_micros(), Ordering::Relaxed);
        self.0.is_loaded.send_if_modified(|is_loaded| !std::mem::replace(is_loaded, true));
    }

    async fn refresh_logged(&self, organization: OrganizationId) -> bool {
        match self.refresh(organization).await {
            Ok(()) => true,
            Err(error) => {
                let error = runtime::telemetry::chain(&error);
                tracing::error!(organization.id = %organization, error, "policy could not be published; nodes keep what they have");
                false
            }
        }
    }

    /// Brings one organization up to its latest committed revision.
    async fn refresh(&self, organization: OrganizationId) -> Result<(), PublishError> {
        let cx = &self.0.cx;
        let held = self.whole(organization);
        let mut tx = cx.store.read(organization).await?;
        let changed = match &held {
            Some(held) => store::changes::list_after(&mut tx, held.revision()).await?,
            None => None,
        };
        let next = match (held, changed) {
            (Some(_), Some(changed)) if changed.changes.is_empty() => return Ok(()),
            (Some(held), Some(changed)) => {
                let loaded = resources::changed(&mut tx, cx, &changed.changes).await?;
                let data_keys = resources::data_keys(&mut tx, cx).await?;
                let removals: Vec<_> = loaded.gone.iter().filter_map(|key| held.set().find(*key)).collect();
                let mut set = held.set().clone();
                set.apply(loaded.resources.clone(), &removals)?;
                let signed = self.sign(&set, changed.revision, 0);
                let overtaking = Overtaking::of(held.set(), &loaded.resources, &removals);
                let urgent = self.urgent(organization, changed.revision, overtaking);
                held.next(signed, set, (loaded.resources, removals), urgent, data_keys)
            }
            (held, _) => {
                let revision = store::changes::revision(&mut tx).await?;
                if held.as_ref().is_some_and(|held| held.revision() >= revision) {
                    return Ok(());
                }
                let set = ResourceSet::from_resources(organization, resources::all(&mut tx, cx).await?)?;
                let data_keys = resources::data_keys(&mut tx, cx).await?;
                let signed = self.sign(&set, revision, 0);
                match held {
                    None => Published::first(signed, set, data_keys),
                    Some(held) => {
                        // The change log no longer reaches back, as after a restoration; what overtakes does so all the same.
                        let (upserts, removals) = held.set().difference(&set);
                        let overtaking = Overtaking::of(held.set(), &upserts, &removals);
                        let urgent = self.urgent(organization, revision, overtaking);
                        held.next(signed, set, (upserts, removals), urgent, data_keys)
                    }
                }
            }
        };
        tx.end().await?;
        let urgent = next.urgent().to_vec();
        self.0.organizations.write().insert(organization, Arc::new(next));
        for message in urgent {
            self.announce(Announcement::Urgent(organization, message));
        }
        self.announce(Announcement::Changed(organization));
        Ok(())
    }

    fn sign(&self, set: &ResourceSet, number: u64, flags: u32) -> Signed<Revision> {
        let statement = Revision {
            organization: set.organization(),
            number,
            issued_at: self.0.cx.now(),
            set_hash: set.hash(),
            resource_count: set.len(),
            flags,
        };
        Signed::new(statement, &self.0.signer)
    }

    fn urgent(&self, organization: OrganizationId, revision: u64, overtaking: Overtaking) -> Vec<Arc<v1::Urgent>> {
        overtaking.into_messages(organization, revision, self.0.cx.now(), &self.0.signer)
    }

    /// Returns what was taken out of use after a revision, for a node that holds it and did not hear, or that only a full set
    /// will bring up to date. What this process published is remembered, before that the change log knows.
    pub(crate) async fn urgent_after(
        &self,
        organization: OrganizationId,
        revision: u64,
    ) -> Result<Vec<Arc<v1::Urgent>>, PublishError> {
        let Some(published) = self.whole(organization) else { return Ok(Vec::new()) };
        if let Some(known) = published.urgent_after(revision) {
            return Ok(known);
        }
        let cx = &self.0.cx;
        let mut tx = cx.store.read(organization).await?;
        let (now, overtaking) = match store::changes::list_after(&mut tx, revision).await? {
            Some(mut changed) => {
                changed.changes.retain(|change| {
                    matches!(change, Change::VirtualKey(_) | Change::Credential(_) | Change::KillSwitch(_))
                });
                (changed.revision, Overtaking::since(resources::changed(&mut tx, cx, &changed.changes).await?))
            }
            None => (published.revision(), Overtaking::all(published.set())),
        };
        tx.end().await?;
        Ok(self.urgent(organization, now, overtaking))
    }

    /// Returns the statement for a node that holds `count` resources of `revision`.
    ///
    /// A set that shrinks by more than half is confirmed only when the change log names at least as many subjects as are gone:
    /// a fault that loses rows, or a permission that hides them, leaves no such trace; or when an operator declared that the
    /// database was restored. `None`: not confirmed, do not send.
    pub(crate) async fn statement(
        &self,
        published: &Published,
        held: Option<(u64, u64)>,
    ) -> Result<Option<Signed<Revision>>, StoreError> {
        let statement = &published.signed().statement;
        let Some((revision, count)) = held.filter(|(_, count)| is_shrink(*count, statement.resource_count)) else {
            return Ok(Some(published.signed().clone()));
        };
        let mut tx = self.0.cx.store.read(statement.organization).await?;
        let changed = store::changes::list_after(&mut tx, revision).await?;
        let named = changed.map_or(0, |changed| changed.changes.len() as u64);
        if named < count - statement.resource_count {
            drop(tx);
            let store = &self.0.cx.store;
            if !restored::lies_between(store, statement.organization, revision, statement.number).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.sign(published.set(), statement.number, FLAG_SHRINK)))
    }
}

/// Passes announced commits on; reconnects for as long as the database is away.
async fn listen(cx: Arc<Cx>, hint: mpsc::Sender<OrganizationId>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let listening = async {
            let mut announcements = cx.store.listen().await?;
            loop {
                if let Some(organization) = announcements.next().await? {
                    // A full queue is no loss: whoever is in it will be refreshed, the rest is found by the poll.
                    let _ = hint.try_send(organization);
                }
            }
        };
        let ended: Result<std::convert::Infallible, StoreError> = tokio::select! {
            ended = listening => ended,
            () = stop.cancelled() => return,
        };
        let Err(error) = ended;
        tracing::warn!(error = %runtime::telemetry::chain(&error), "commits are no longer announced; polling until they are");
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.cancelled() => return,
        }
    }
}
