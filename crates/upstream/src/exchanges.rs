//! Secrets that are exchanged for short-lived ones: asks for them, keeps them until shortly before they end.
//!
//! What to ask, and how to read the answer, is the provider's; sending goes through the guarded client like everything else,
//! and nowhere but to the address in the secret. Invariants: one exchange of a credential at a time on a node, however many
//! calls wait for it; a result is used for no other secret than the one it was given for; no error shows a secret.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, CredentialId, Secret, Timestamp};
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use policy::snapshot::CredentialPolicy;
use provider::Provider;
use provider::auth::{ExchangeError, Exchanged, SecretForm, SignError, TokenExchange};
use provider::failure::{Failure, FailureKind, Scope};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::Client;

/// Longest time of one exchange, whoever waits for it.
const EXCHANGE_FOR: Duration = Duration::from_secs(10);
/// A new one is asked for this long before the last ends, at most; less for what lives shortly.
const AHEAD: Duration = Duration::from_secs(300);
/// Nothing is signed with what ends within this time: clocks differ, and calls are on their way for a while.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a failure stands before the next exchange is tried.
const PAUSE: Duration = Duration::from_secs(5);
/// Most of an answer that is read; tokens have a few kilobytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Credentials kept before they are all forgotten.
const SWEEP_AT: usize = 10_000;

/// What the exchanges of a node gave. Shared by all workers.
pub struct Exchanges {
    clock: Arc<dyn Clock>,
    slots: Mutex<FxHashMap<CredentialId, Arc<Slot>>>,
}

/// A short-lived secret.
#[derive(Debug)]
pub struct Kept {
    /// What to sign with.
    pub secret: Secret<String>,
    asked_at: Timestamp,
    renew_at: Timestamp,
    ends_at: Timestamp,
}

/// Why there is nothing to sign with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotGiven {
    /// The credential's secret is not one that can be exchanged.
    #[error(transparent)]
    Unreadable(#[from] SignError),
    /// The other side gave nothing for it.
    #[error(transparent)]
    Refused(#[from] ExchangeError),
    /// There was no answer.
    #[error("the address that exchanges the credential cannot be reached: {0}")]
    Unreachable(String),
    /// There was none in time.
    #[error("the exchange of the credential was not answered in time")]
    TimedOut,
}

impl NotGiven {
    /// Says what it means for the attempt: always something about the credential, and most of the time nothing that passes.
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Refused(ExchangeError::Refused { status: 429 | 500..=599, .. }) => FailureKind::Overloaded,
            Self::Unreadable(_) | Self::Refused(_) => FailureKind::Unauthorized,
            Self::Unreachable(_) => FailureKind::Connect,
            Self::TimedOut => FailureKind::Timeout,
        };
        let mut failure = Failure::transport(kind);
        failure.scope = Scope::Credential;
        failure
    }

    /// Says it to a client: without the other side's words.
    pub fn detail(&self) -> &'static str {
        match self.failure().kind {
            FailureKind::Unauthorized => {
                "the credential that Headgate holds for this upstream could not be exchanged for a token; an administrator has to \
                 enter a valid one"
            }
            _ => {
                "the address that gives tokens for this upstream's credential did not answer as it should; try again shortly"
            }
        }
    }
}

/// The exchanges of one credential.
struct Slot {
    credential: Arc<CredentialPolicy>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    is_plain: bool,
    is_running: bool,
    kept: Option<Arc<Kept>>,
    failed: Option<(NotGiven, Timestamp)>,
}

/// What a look at a slot gave.
enum Look {
    /// The secret is used as it is.
    Plain,
    Use {
        kept: Arc<Kept>,
        is_to_renew: bool,
    },
    Failed(NotGiven),
    Start,
    Wait,
}

impl Exchanges {
    /// Begins without any.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    /// Returns what to sign with in place of the credential's secret; `None` when that is used as it is. Waits for an exchange
    /// until the deadline, no longer; the exchange goes on, for those who come later.
    pub async fn get(
        &self,
        client: &Arc<Client>,
        provider: &'static dyn Provider,
        credential: &Arc<CredentialPolicy>,
        until: Instant,
    ) -> Result<Option<Arc<Kept>>, NotGiven> {
        if !may_need(provider, credential) {
            return Ok(None);
        }
        let slot = self.slot(credential);
        loop {
            // Made before the look, so that no change in between is missed.
            let changed = slot.changed.notified();
            match slot.look(self.clock.now()) {
                Look::Plain => return Ok(None),
                Look::Use { kept, is_to_renew } => {
                    if is_to_renew {
                        self.start(client, provider, &slot);
                    }
                    return Ok(Some(kept));
                }
                Look::Failed(error) => return Err(error),
                Look::Start => self.start(client, provider, &slot),
                Look::Wait => {}
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Err(NotGiven::TimedOut);
            }
        }
    }

    /// Notes that an upstream did not take a short-lived secret: it is asked for anew, unless it was just given.
    pub fn refused(&self, credential: CredentialId, refused: &Arc<Kept>, now: Timestamp) {
        let Some(slot) = self.slots.lock().get(&credential).cloned() else { return };
        let mut state = slot.state.lock();
        if state.kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, refused)) && now.since(refused.asked_at) > PAUSE {
            state.kept = None;
        }
    }

    fn start(&self, client: &Arc<Client>, provider: &'static dyn Provider, slot: &Arc<Slot>) {
        let (running, client, clock) = (Running(slot.clone()), client.clone(), self.clock.clone());
        runtime::tasks::spawn("gateway.exchange", async move {
            let slot = &running.0;
            let asked = ask(&client, provider, &slot.credential, &*clock);
            let asked = tokio::time::timeout(EXCHANGE_FOR, asked).await;
            let now = clock.now();
            let mut state = slot.state.lock();
            match asked.unwrap_or(Err(NotGiven::TimedOut)) {
                Ok(None) => state.is_plain = true,
                Ok(Some(given)) => {
                    tracing::debug!(credential.id = %slot.credential.id, ends_at = %given.expires_at, "a credential was exchanged");
                    state.kept = Some(Arc::new(Kept::of(given, now)));
                    state.failed = None;
                }
                Err(error) => {
                    tracing::warn!(credential.id = %slot.credential.id, %error, "a credential could not be exchanged");
                    state.failed = Some((error, now));
                }
            }
        });
    }

    fn slot(&self, credential: &Arc<CredentialPolicy>) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if slots.len() >= SWEEP_AT {
            slots.clear();
        }
        match slots.entry(credential.id) {
            Entry::Occupied(found) if is_same(&found.get().credential, credential) => found.get().clone(),
            Entry::Occupied(mut other) => {
                other.insert(Slot::new(credential));
                other.get().clone()
            }
            Entry::Vacant(vacant) => vacant.insert(Slot::new(credential)).clone(),
        }
    }
}

/// Says whether a secret may be one that is exchanged: a form of several fields, which no key begins like.
fn may_need(provider: &dyn Provider, credential: &CredentialPolicy) -> bool {
    provider.spec().secret_form() != SecretForm::Key
        && credential.secret.as_ref().is_some_and(|secret| secret.expose().trim_start().starts_with('{'))
}

fn is_same(known: &Arc<CredentialPolicy>, credential: &Arc<CredentialPolicy>) -> bool {
    Arc::ptr_eq(known, credential)
        || (known.provider == credential.provider
            && known.base_url == credential.base_url
            && known.secret.as_ref().map(Secret::expose) == credential.secret.as_ref().map(Secret::expose))
}

impl Slot {
    fn new(credential: &Arc<CredentialPolicy>) -> Arc<Self> {
        Arc::new(Self { credential: credential.clone(), state: Mutex::default(), changed: Notify::new() })
    }

    fn look(&self, now: Timestamp) -> Look {
        let mut state = self.state.lock();
        if state.is_plain {
            return Look::Plain;
        }
        let failed = state.failed.as_ref().filter(|(_, at)| now.since(*at) < PAUSE).map(|(error, _)| error.clone());
        if let Some(kept) = state.kept.clone().filter(|kept| now < kept.ends_at) {
            let is_to_renew = now >= kept.renew_at && failed.is_none() && !state.is_running;
            state.is_running |= is_to_renew;
            return Look::Use { kept, is_to_renew };
        }
        match failed {
            _ if state.is_running => Look::Wait,
            Some(error) => Look::Failed(error),
            None => {
                state.is_running = true;
                Look::Start
            }
        }
    }
}

/// Says that an exchange is over, however it ended.
struct Running(Arc<Slot>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state.lock().is_running = false;
        self.0.changed.notify_waiters();
    }
}

impl Kept {
    fn of(given: Exchanged, now: Timestamp) -> Self {
        let life = given.expires_at.since(now);
        let before = |margin: Duration| now.plus(life.saturating_sub(margin));
        Self {
            secret: given.secret,
            asked_at: now,
            renew_at: before(AHEAD.min(life / 4)),
            ends_at: before(MARGIN.min(life / 10)),
        }
    }
}

async fn ask(
    client: &Client,
    provider: &'static dyn Provider,
    credential: &CredentialPolicy,
    clock: &dyn Clock,
) -> Result<Option<Exchanged>, NotGiven> {
    let Some(secret) = &credential.secret else { return Ok(None) };
    let Some(mut exchange) = provider.exchange(secret, clock.now())? else { return Ok(None) };
    let (status, body) = send(client, &mut exchange).await.map_err(NotGiven::Unreachable)?;
    Ok(Some(exchange.parse(status, &body, clock.now())?))
}

async fn send(client: &Client, exchange: &mut TokenExchange) -> Result<(u16, bytes::Bytes), String> {
    let request = std::mem::take(&mut exchange.request);
    let sent = client.send(Box::new(request), EXCHANGE_FOR).await;
    let (parts, answer) = sent.map_err(|error| error.to_string())?.into_parts();
    let body = Limited::new(answer, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((parts.status.as_u16(), body))
}
