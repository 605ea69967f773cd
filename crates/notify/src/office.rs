//! The office: routes what was raised, takes up what is due, has it sent, and writes down what came of it. Any number of control
//! processes may run one at the same time.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::alert::{Alert, DeliveryState, Destination};
use domain::{Clock, DestinationId, Entropy, OrganizationId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use store::alerts::deliveries::{self, AT_ONCE, Claim, End};
use store::alerts::{self, destinations};
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::courier::{Answer, Courier, Parcel, TRY, Verdict};
use crate::schedule;

/// How often it is looked whether something is due.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// After this long a try whose process died is made by another. Longer than a try and its end ever take.
const HOLD: Duration = Duration::from_secs(60);
/// Tries under way in one process.
const UNDER_WAY: usize = 64;

/// Opens what is sealed of destinations.
pub trait Opener: Send + Sync {
    /// Opens `sealed`, bound to `place`, with a data key of the organization that is itself given `wrapped`. `None` when it does
    /// not open.
    fn open(
        &self,
        organization: OrganizationId,
        wrapped: &[u8],
        place: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>>;
}

/// What an office works with.
pub struct Office {
    /// The database.
    pub store: Store,
    /// Who sends.
    pub courier: Arc<Courier>,
    /// Who opens addresses.
    pub opener: Arc<dyn Opener>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes pauses differ.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").field("courier", &self.courier).finish_non_exhaustive()
    }
}

type Try<'a> = Pin<Box<dyn Future<Output = DestinationId> + Send + 'a>>;
type Look<'a> = Pin<Box<dyn Future<Output = Vec<Claim>> + Send + 'a>>;

/// Waits for the end of a look; for ever when there is none.
async fn ended(look: &mut Option<Look<'_>>) -> Vec<Claim> {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

impl Office {
    /// Works until told to stop. Tries that are under way then are cut; they are made again after their claim has run out.
    ///
    /// Looking for what is due goes on beside the tries: while it waits for a connection, those who hold one must be able to give it
    /// back.
    pub async fn run(self, stop: CancellationToken) {
        let mut under_way: FuturesUnordered<Try<'_>> = FuturesUnordered::new();
        let mut busy: HashMap<DestinationId, i64> = HashMap::new();
        let mut looking: Option<Look<'_>> = None;
        let mut looks = tokio::time::interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(destination) = under_way.next() => {
                    if let Some(count) = busy.get_mut(&destination) {
                        *count -= 1;
                    }
                    busy.retain(|_, count| *count > 0);
                }
                claims = ended(&mut looking) => {
                    looking = None;
                    for claim in claims {
                        *busy.entry(claim.destination_id).or_default() += 1;
                        under_way.push(Box::pin(self.attempt(claim)));
                    }
                }
                _ = looks.tick(), if looking.is_none() => {
                    let full = busy.iter().filter(|(_, count)| **count >= AT_ONCE).map(|(id, _)| *id).collect();
                    looking = Some(Box::pin(self.take_up(full, UNDER_WAY - under_way.len().min(UNDER_WAY))));
                }
            }
        }
    }

    /// Routes everything that was raised and makes one try of all that is due, to its end. Returns how many tries were made.
    pub async fn round(&self) -> usize {
        let mut count = 0;
        loop {
            let claims = self.take_up(Vec::new(), UNDER_WAY).await;
            if claims.is_empty() {
                return count;
            }
            count += claims.len();
            let mut tries: FuturesUnordered<_> = claims.into_iter().map(|claim| self.attempt(claim)).collect();
            while tries.next().await.is_some() {}
        }
    }

    /// Routes and claims; a database that does not answer is asked again later.
    async fn take_up(&self, busy: Vec<DestinationId>, limit: usize) -> Vec<Claim> {
        let taken = async {
            let mut tx = self.store.system().await?;
            let now = self.clock.now();
            while alerts::route(&mut tx, now).await? > 0 {}
            let claims =
                if limit == 0 { Vec::new() } else { deliveries::claim(&mut tx, now, HOLD, &busy, limit).await? };
            tx.commit().await?;
            Ok::<_, StoreError>(claims)
        };
        taken.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "alerts could not be taken up; it is tried again");
            Vec::new()
        })
    }

    /// Makes one try and writes down what came of it.
    async fn attempt(&self, claim: Claim) -> DestinationId {
        let answer = self.make(&claim).await;
        let end = self.end(&claim, answer);
        if end.state == DeliveryState::Dead {
            tracing::warn!(delivery.id = %claim.id, destination.id = %claim.destination_id, organization.id = %claim.organization_id, attempt.n = claim.attempt, status = end.status, "an alert was given up");
        }
        self.keep(&claim, &end).await;
        claim.destination_id
    }

    /// Reads what is sent and sends it.
    async fn make(&self, claim: &Claim) -> Answer {
        let (alert, destination, address) = match self.load(claim).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Answer::new(Verdict::Refused, None, "the destination was archived or switched off"),
            Err(error) => {
                tracing::warn!(delivery.id = %claim.id, %error, "an alert could not be read; it is tried again");
                return Answer::new(Verdict::Later(None), None, "the control plane could not read its database");
            }
        };
        let at = self.clock.now();
        self.courier.send(Parcel { alert: &alert, destination: &destination, address: address.as_ref(), at }).await
    }

    /// Writes down what came of a try.
    async fn keep(&self, claim: &Claim, end: &End) {
        let finished = async {
            let mut tx = self.store.system().await?;
            let is_ours = deliveries::finish(&mut tx, claim, end).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(is_ours)
        };
        match finished.await {
            Ok(true) => {}
            Ok(false) => tracing::info!(delivery.id = %claim.id, "another process took this delivery over"),
            // The claim runs out and it is tried again: at least once.
            Err(error) => tracing::warn!(delivery.id = %claim.id, %error, "what came of an alert could not be kept"),
        }
    }

    fn end(&self, claim: &Claim, answer: Answer) -> End {
        let Answer { verdict, status, text } = answer;
        let (state, next_at) = match verdict {
            Verdict::Taken => (DeliveryState::Delivered, None),
            Verdict::Refused => (DeliveryState::Dead, None),
            Verdict::Later(asked) => {
                let now = self.clock.now();
                let next = schedule::next(claim.attempt, asked, now, claim.gives_up_at, self.entropy.as_ref());
                (if next.is_some() { DeliveryState::Waiting } else { DeliveryState::Dead }, next)
            }
        };
        End { state, next_at, status, answer: text }
    }

    /// Reads what is sent and where to, as the organization itself would; `None` when nothing is sent there any more.
    async fn load(&self, claim: &Claim) -> Result<Option<(Alert, Destination, Option<Address>)>, StoreError> {
        let mut tx = self.store.read(claim.organization_id).await?;
        let alert = alerts::get(&mut tx, claim.alert_id).await?;
        let destination = destinations::get(&mut tx, claim.destination_id).await?;
        if destination.archived_at.is_some() || !destination.is_enabled {
            return Ok(None);
        }
        let keys = store::credentials::list_data_keys(&mut tx).await?;
        tx.end().await?;
        let address = open(self.opener.as_ref(), &destination, &keys);
        Ok(Some((alert, destination, address)))
    }
}

/// Opens the address of a destination; `None` for one that has none, or whose seal does not open.
#[must_use]
pub fn open(
    opener: &dyn Opener,
    destination: &Destination,
    keys: &[store::credentials::SealedDataKey],
) -> Option<Address> {
    let secret = destination.secret.as_ref()?;
    let key = keys.iter().find(|key| key.version == secret.key_version)?;
    let place = destination.seal_context();
    let plain = opener.open(destination.organization_id, &key.sealed, &place, &secret.ciphertext)?;
    serde_json::from_slice(&plain).ok()
}

// A try ends before its claim runs out.
const _: () = assert!(TRY.as_secs() * 3 < HOLD.as_secs());
