//! What every command and query may use: store, clock, ids, entropy, keys. One value per process.

use std::sync::Arc;
use std::time::Duration;

use domain::id::{self, IdMint};
use domain::{Clock, Entropy, OrganizationId, Timestamp};
use parking_lot::Mutex;
use store::Store;

use crate::audit_log::Signer;
use crate::auth::password::Passwords;
use crate::auth::throttle::LoginThrottle;
use crate::config::ControlConfig;
use crate::http::rate::RateLimits;
use crate::keyring::{Key, KeyError, Keyring};
use crate::metrics::Metrics;

/// How many secrets of the right form an address may show: a whole report at once, then one every two seconds.
const FOUND_SECRETS: (u32, Duration) = (100, Duration::from_secs(2));

/// The context of the control plane.
pub struct Cx {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for secrets.
    pub entropy: Arc<dyn Entropy>,
    /// Mints ids.
    pub mint: Mint,
    /// The root key and what hangs on it.
    pub keyring: Keyring,
    /// Signs audit checkpoints.
    pub audit_signer: Signer,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Slows down guessing.
    pub logins: LoginThrottle,
    /// Requests per actor.
    pub rates: RateLimits,
    /// Secrets that were found, per address.
    pub finds: RateLimits,
    /// Counters.
    pub metrics: Metrics,
    /// Settings.
    pub config: ControlConfig,
    authority: std::sync::OnceLock<String>,
    courier: std::sync::OnceLock<Arc<notify::Courier>>,
    /// Recently audited refusals, so that a loop of them does not fill the log.
    pub denials: Denials,
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The ports of a control plane.
pub struct Ports {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The root key.
    pub keyring: Keyring,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("keyring", &self.keyring).finish_non_exhaustive()
    }
}

impl Cx {
    /// Builds the context; computes one password hash (about 60 ms).
    pub fn new(ports: Ports, config: ControlConfig) -> Result<Arc<Self>, KeyError> {
        let Ports { store, clock, entropy, keyring } = ports;
        let peppers = keyring.password_peppers();
        let passwords = Passwords::new(peppers, entropy.as_ref()).map_err(|_| KeyError::Format)?;
        Ok(Arc::new(Self {
            store,
            mint: Mint::new(Arc::clone(&clock), Arc::clone(&entropy)),
            clock,
            entropy,
            audit_signer: Signer::new(&keyring)?,
            keyring,
            passwords,
            logins: LoginThrottle::default(),
            rates: RateLimits::default(),
            finds: RateLimits::new(FOUND_SECRETS.0, FOUND_SECRETS.1),
            metrics: Metrics::default(),
            config,
            authority: std::sync::OnceLock::new(),
            courier: std::sync::OnceLock::new(),
            denials: Denials::default(),
        }))
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// States the fingerprint of the node authority, once, at start; join tokens carry it, so that a node knows whom it joins.
    pub fn set_authority(&self, fingerprint: String) {
        if self.authority.set(fingerprint).is_err() {
            tracing::warn!("the node authority was stated twice; the first one stays");
        }
    }

    /// Returns the fingerprint of the node authority, if it was stated.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.get().map(String::as_str)
    }

    /// States who sends alerts, once, before the start; a process without one sends none.
    pub fn set_courier(&self, courier: Arc<notify::Courier>) {
        if self.courier.set(courier).is_err() {
            tracing::warn!("who sends alerts was stated twice; the first one stays");
        }
    }

    /// Returns who sends alerts, if anybody does.
    #[must_use]
    pub fn courier(&self) -> Option<&Arc<notify::Courier>> {
        self.courier.get()
    }

    /// Returns the office that sends what is due; `None` without a courier.
    #[must_use]
    pub fn office(&self) -> Option<notify::Office> {
        Some(notify::Office {
            store: self.store.clone(),
            courier: Arc::clone(self.courier()?),
            opener: Arc::new(self.keyring.clone()),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        })
    }

    /// Returns the pepper of an organization's virtual keys that new keys are stored under.
    #[must_use]
    pub fn key_pepper(&self, organization: OrganizationId) -> Key {
        self.keyring.key_pepper(organization, self.keyring.version())
    }
}

/// Mints ids in strictly ascending order within this process.
pub struct Mint {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    last: Mutex<u128>,
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mint").finish_non_exhaustive()
    }
}

impl Mint {
    /// Mints from a clock and entropy.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, last: Mutex::new(0) }
    }
}

impl IdMint for Mint {
    fn next_uuid(&self) -> u128 {
        let fresh = id::mint(self.clock.as_ref(), self.entropy.as_ref());
        let mut last = self.last.lock();
        // Within a millisecond, or when the clock steps back, the last value plus one keeps order and the layout's fixed bits:
        // the random tail has 62 bits of room.
        *last = if fresh > *last { fresh } else { *last + 1 };
        *last
    }
}

/// Remembers which refusals were audited within the last minute.
#[derive(Debug, Default)]
pub struct Denials(Mutex<std::collections::HashMap<(String, &'static str), Timestamp>>);

impl Denials {
    /// Returns whether this refusal should be written down: the first of its kind in a minute.
    #[must_use]
    pub fn is_new(&self, actor: String, operation: &'static str, now: Timestamp) -> bool {
        const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
        let mut seen = self.0.lock();
        if seen.len() > 10_000 {
            seen.retain(|_, at| now.since(*at) < MINUTE);
        }
        let is_recent = seen.get(&(actor.clone(), operation)).is_some_and(|at| now.since(*at) < MINUTE);
        if !is_recent {
            seen.insert((actor, operation), now);
        }
        !is_recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;
    use domain::time::ManualClock;

    #[test]
    fn ids_ascend_even_when_the_clock_goes_back() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000_000)));
        let mint = Mint::new(Arc::<ManualClock>::clone(&clock), Arc::new(SeededEntropy::new(1)));
        let mut last = 0;
        for n in 0..1_000 {
            if n == 500 {
                clock.set(Timestamp::from_micros(0));
            }
            let next = mint.next_uuid();
            assert!(next > last);
            last = next;
        }
    }
}
