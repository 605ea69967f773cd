//! The session loop: connect, hello, messages and pings both ways, reconnect with full jitter.
//!
//! One session is one stream. Everything it waits for has a deadline, and a silent link is cut. Invariant: sessions never decide
//! anything about policy; they carry messages to [`super::apply`] and its answers back.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Entropy, OrganizationId};
use policy::sign::Refusal;
use proto::v1;
use proto::v1::node_sync_client::NodeSyncClient;
use runtime::tasks;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::apply::{Applier, Outcome};
use super::identity::{Identity, IdentityError, certificate_request};
use super::last_known_good::{Entry, Vault};
use super::rejoin::Rejoin;
use super::transport::{LinkError, Tls};
use super::{Link, Ports, SyncConfig};

/// Messages that wait to be sent. The control plane reads all the time, so more than this means that the link stalls.
const OUTGOING: usize = 256;
/// Largest message from the control plane: a chunk of a full set, or one delta.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// A call that is answered at once must be answered within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Full sets asked for again in one session before it is given up.
const MAX_RESYNCS: u32 = 5;
/// A session that lived this long was a good one: the next delay starts small again.
const GOOD_SESSION: Duration = Duration::from_secs(30);
/// Changes of policy that come within this time share one write of the sealed copy.
const COPY_AFTER: Duration = Duration::from_millis(200);
/// How often freshness is written to disk.
const FRESHNESS_EVERY: Duration = Duration::from_secs(60);

/// Full jitter: each delay is uniform between zero and a bound that doubles.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    bound: Duration,
}

impl Backoff {
    pub(crate) const fn new((first, last): (Duration, Duration)) -> Self {
        Self { first, last, bound: first }
    }

    pub(crate) const fn reset(&mut self) {
        self.bound = self.first;
    }

    pub(crate) fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let micros = u64::try_from(self.bound.as_micros()).unwrap_or(u64::MAX);
        self.bound = (self.bound * 2).min(self.last);
        Duration::from_micros(u64::from_le_bytes(random) % micros.saturating_add(1))
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Connect(#[from] LinkError),
    #[error("control plane ended the stream")]
    Status(#[source] Box<tonic::Status>),
    #[error("control plane closed the stream")]
    Closed,
    #[error("control plane was silent for {silent_s} s")]
    Silent { silent_s: u64 },
    #[error("control plane asked to come back in {retry_after_ms} ms: {reason}")]
    Drained { retry_after_ms: u64, reason: String },
    #[error("policy was refused: {0}")]
    Refused(String),
    #[error("link stalled: answers are not being taken")]
    Stalled,
}

/// Keeps the node in step until `stop`.
pub(crate) async fn run(link: Link, mut applier: Applier, vault: Vault, stop: CancellationToken) {
    let copies = Copies::start(vault);
    let boot_id = boot_id(link.ports.entropy.as_ref());
    let mut backoff = Backoff::new(link.config.backoff);
    let renewal = stop.child_token();
    let renewer = tasks::spawn("sync.renew", keep_certificate(link.clone(), renewal.clone()));
    let mut rejoin = Rejoin::new(&link);
    link.show_readiness(&applier);
    while !stop.is_cancelled() {
        tokio::select! {
            () = rejoin.attempt(&link) => {}
            () = stop.cancelled() => break,
        }
        let started = Instant::now();
        let end = Session::open(&link, &mut applier, &copies, &boot_id, &stop).await;
        applier.disconnected();
        copies.freshness(&applier);
        let text = runtime::telemetry::chain(&end);
        link.status.change(|state| {
            state.is_connected = false;
            state.last_end = Some(text.clone());
        });
        if matches!(end, End::Stopped) {
            break;
        }
        if started.elapsed() >= GOOD_SESSION {
            backoff.reset();
        }
        if matches!(end, End::Refused(_)) {
            // The control plane may have begun to sign with a key that this node has not learned yet.
            learn_keys(&link).await;
        }
        let mut delay = backoff.next(link.ports.entropy.as_ref());
        if let End::Drained { retry_after_ms, .. } = &end {
            delay += Duration::from_millis(*retry_after_ms).min(link.config.backoff.1);
        }
        tracing::warn!(
            reason = text,
            delay_ms = delay.as_millis(),
            "link to the control plane is down; policy stays in force"
        );
        tokio::select! {
            () = wait(delay, &link, &applier) => {}
            () = stop.cancelled() => break,
        }
    }
    renewal.cancel();
    // The renewer only waits; a cancelled wait cannot fail.
    drop(renewer.await);
    copies.freshness(&applier);
    copies.finish().await;
}

/// Waits, and keeps readiness true to the age of the policy meanwhile.
async fn wait(delay: Duration, link: &Link, applier: &Applier) {
    let until = Instant::now() + delay;
    while Instant::now() < until {
        link.show_readiness(applier);
        tokio::time::sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
    }
}

fn boot_id(entropy: &dyn Entropy) -> String {
    domain::secret::random_base62(entropy, 16)
}

impl Link {
    pub(super) fn show_readiness(&self, applier: &Applier) {
        match applier.not_ready() {
            None => self.ports.readiness.clear("policy"),
            Some(reason) => self.ports.readiness.hold("policy", reason),
        }
    }

    fn status_message(&self, applier: &Applier) -> v1::NodeStatus {
        let load = (self.ports.load)();
        v1::NodeStatus {
            spool_events: load.spool_events,
            spool_bytes: load.spool_bytes,
            lost_events: load.lost_events,
            requests_total: load.requests_total,
            in_flight: load.in_flight,
            ready: applier.not_ready().is_none(),
            draining: load.is_draining,
            spool_age_ms: load.spool_age_ms,
            held: applier.held(),
        }
    }
}

struct Session<'a> {
    link: &'a Link,
    applier: &'a mut Applier,
    copies: &'a Copies,
    outgoing: mpsc::Sender<v1::NodeMessage>,
    last_heard: Instant,
    nonce: u64,
    resyncs: BTreeMap<String, u32>,
}

impl<'a> Session<'a> {
    async fn open(
        link: &'a Link,
        applier: &'a mut Applier,
        copies: &'a Copies,
        boot_id: &str,
        stop: &CancellationToken,
    ) -> End {
        applier.trust(&link.identity.read());
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let hello = v1::NodeMessage { body: Some(Up::Hello(applier.hello(boot_id))) };
        if outgoing.try_send(hello).is_err() {
            return End::Stalled;
        }
        let dial = async {
            let channel = link.tls.connect(&link.config.control).await?;
            let mut client = NodeSyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            let answer = client.sync(ReceiverStream::new(receiver)).await;
            answer.map(tonic::Response::into_inner).map_err(|status| End::Status(Box::new(status)))
        };
        let incoming = tokio::select! {
            dialled = tokio::time::timeout(ANSWER_WITHIN, dial) => match dialled {
                Ok(Ok(incoming)) => incoming,
                Ok(Err(end)) => return end,
                Err(_) => return End::Silent { silent_s: ANSWER_WITHIN.as_secs() },
            },
            () = stop.cancelled() => return End::Stopped,
        };
        link.status.change(|state| {
            state.is_connected = true;
            state.sessions += 1;
        });
        link.status.heard();
        let session =
            Self { link, applier, copies, outgoing, last_heard: Instant::now(), nonce: 0, resyncs: BTreeMap::new() };
        session.serve(incoming, stop).await
    }

    async fn serve(mut self, mut incoming: Streaming<v1::ControlMessage>, stop: &CancellationToken) -> End {
        let every = |period: Duration| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let mut pings = every(self.link.config.ping);
        let mut reports = every(self.link.config.report);
        let mut freshness = every(FRESHNESS_EVERY);
        loop {
            let step = tokio::select! {
                message = incoming.message() => self.received(message),
                _ = pings.tick() => self.ping(),
                _ = reports.tick() => self.report(),
                _ = freshness.tick() => { self.copies.freshness(self.applier); Ok(()) }
                () = stop.cancelled() => return End::Stopped,
            };
            if let Err(end) = step {
                if matches!(end, End::Refused(_)) {
                    self.flush(&mut incoming).await;
                }
                return end;
            }
        }
    }

    /// Lets the last refusal reach the control plane before the stream goes: half-close, then wait for its side.
    async fn flush(self, incoming: &mut Streaming<v1::ControlMessage>) {
        drop(self.outgoing);
        let drained = async { while let Ok(Some(_)) = incoming.message().await {} };
        // Whether it closed in time or not, the session is over.
        drop(tokio::time::timeout(Duration::from_secs(1), drained).await);
    }

    fn send(&self, body: Up) -> Result<(), End> {
        match self.outgoing.try_send(v1::NodeMessage { body: Some(body) }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(End::Stalled),
            // The control plane has hung up; its last words are still to be read and say why.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn ping(&mut self) -> Result<(), End> {
        let silent = self.last_heard.elapsed();
        if silent > self.link.config.ping * 7 / 2 {
            return Err(End::Silent { silent_s: silent.as_secs() });
        }
        self.nonce += 1;
        self.send(Up::Ping(v1::Ping { nonce: self.nonce, ..v1::Ping::default() }))
    }

    fn report(&mut self) -> Result<(), End> {
        self.link.show_readiness(self.applier);
        self.send(Up::Status(self.link.status_message(self.applier)))
    }

    fn received(&mut self, message: Result<Option<v1::ControlMessage>, tonic::Status>) -> Result<(), End> {
        let message = message.map_err(|status| End::Status(Box::new(status)))?.ok_or(End::Closed)?;
        self.last_heard = Instant::now();
        self.link.status.heard();
        let Some(body) = message.body else { return Ok(()) };
        if let Down::Drain(drain) = body {
            return Err(End::Drained { retry_after_ms: drain.retry_after_ms, reason: drain.reason });
        }
        if let Down::Ping(ping) = &body
            && ping.nodes > 0
        {
            self.link.status.take_share(domain::rate_limit::Share::new(ping.nodes, ping.place));
        }
        let is_synced = matches!(body, Down::Synced(_));
        let outcome = self.applier.take(body);
        self.concluded(outcome)?;
        if is_synced {
            self.link.status.change(|state| {
                state.is_synced = true;
                state.is_from_copy = false;
            });
            self.copies.freshness(self.applier);
            self.report()?;
        }
        Ok(())
    }

    fn concluded(&mut self, outcome: Outcome) -> Result<(), End> {
        for organization in outcome.to_save {
            if let Some(entry) = self.applier.entry(organization) {
                self.copies.save(organization, entry);
            }
        }
        for organization in outcome.to_drop {
            self.copies.drop(organization);
        }
        let n_applied = outcome.applied;
        self.link.status.change(|state| state.applied += n_applied);
        if !outcome.answers.is_empty() {
            self.link.show_readiness(self.applier);
        }
        for answer in outcome.answers {
            if let Up::Resync(request) = &answer {
                let asked = self.resyncs.entry(request.organization_id.clone()).or_default();
                *asked += 1;
                if *asked > MAX_RESYNCS {
                    return Err(End::Refused(format!(
                        "{} does not add up after {MAX_RESYNCS} full sets",
                        request.organization_id
                    )));
                }
            }
            self.send(answer)?;
        }
        let Some(refused) = outcome.refused else { return Ok(()) };
        let text = refused.to_string();
        tracing::error!(organization.id = %refused.organization, revision = refused.revision, reason = text, "policy refused; the last good one stays in force");
        self.link.status.change(|state| {
            state.refused += 1;
            state.last_refusal = Some(text.clone());
        });
        // Nothing that follows a forged statement on the same stream can be believed.
        if refused.refusal == Refusal::Signature { Err(End::Refused(text)) } else { Ok(()) }
    }
}

// === Certificate renewal ===

/// Renews the certificate at two thirds of its life; a failed renewal is tried again every minute at most.
async fn keep_certificate(link: Link, stop: CancellationToken) {
    loop {
        let identity = link.identity.read().clone();
        link.status.change(|state| state.certificate_ends_at = Some(identity.not_after));
        let now = link.ports.clock.now();
        // In steps, because the clock may be set while we sleep.
        let delay = identity.renew_at().since(now).clamp(Duration::from_millis(200), Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        if link.ports.clock.now() < identity.renew_at() {
            continue;
        }
        match tokio::time::timeout(ANSWER_WITHIN, renew(&link)).await {
            Ok(Ok(())) => tracing::info!("node certificate renewed"),
            outcome => {
                let reason = outcome.map_or_else(
                    |_| "no answer".to_owned(),
                    |result| result.err().map_or_else(String::new, |error| runtime::telemetry::chain(&error)),
                );
                tracing::warn!(reason, ends_at = %identity.not_after, "node certificate could not be renewed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(30)) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("control plane refused")]
    Refused(#[source] Box<tonic::Status>),
}

async fn learn_keys(link: &Link) {
    match tokio::time::timeout(ANSWER_WITHIN, renew(link)).await {
        Ok(Ok(())) => tracing::info!("signing keys learned anew"),
        Ok(Err(error)) => {
            tracing::warn!(error = %runtime::telemetry::chain(&error), "signing keys could not be learned");
        }
        Err(_) => tracing::warn!("signing keys could not be learned: no answer"),
    }
}

/// Asks for the next certificate and uses it from the next handshake on.
pub(crate) async fn renew(link: &Link) -> Result<(), RenewError> {
    let current = link.identity.read().clone();
    let renewed = renewed(&current, &link.tls, &link.config, &link.ports).await?;
    link.tls.renew(&renewed)?;
    *link.identity.write() = std::sync::Arc::new(renewed);
    Ok(())
}

/// Asks for the next certificate of an identity and keeps it on disk.
pub(crate) async fn renewed(
    identity: &Identity,
    tls: &Tls,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Identity, RenewError> {
    let (private_key, csr) = certificate_request()?;
    let channel = tls.connect(&config.control).await?;
    let request = v1::RenewRequest { csr_der: csr.into(), build: crate::BUILD.to_owned() };
    let answer =
        NodeSyncClient::new(channel).renew(request).await.map_err(|status| RenewError::Refused(Box::new(status)))?;
    let renewed = identity.renewed(private_key, answer.into_inner(), ports.clock.now())?;
    renewed.save(&config.data_dir)?;
    Ok(renewed)
}

// === Sealed copies ===

/// Writes sealed copies behind the session's back, the latest of each organization.
struct Copies {
    wanted: watch::Sender<Wanted>,
    writer: tokio::task::JoinHandle<Option<()>>,
}

#[derive(Debug, Clone, Default)]
struct Wanted {
    entries: BTreeMap<OrganizationId, Option<std::sync::Arc<Entry>>>,
    freshness: Option<Vec<(OrganizationId, domain::Timestamp)>>,
    is_last: bool,
}

impl Copies {
    fn start(vault: Vault) -> Self {
        let (wanted, mut changed) = watch::channel(Wanted::default());
        let take = wanted.clone();
        let writer = tasks::spawn("sync.copies", async move {
            loop {
                let work = take.send_replace(Wanted::default());
                changed.mark_unchanged();
                let is_last = work.is_last;
                let is_idle = work.entries.is_empty() && work.freshness.is_none();
                if !is_idle {
                    let vault = vault.clone();
                    tasks::blocking("sync.copies.write", move || write(&vault, work)).await;
                }
                if is_last {
                    return;
                }
                let is_more = {
                    let next = take.borrow();
                    !next.entries.is_empty() || next.freshness.is_some() || next.is_last
                };
                if !is_more && changed.changed().await.is_err() {
                    return;
                }
                // Unless it is the end, let a burst become one write.
                let last = take.borrow().is_last;
                if !last {
                    let mut end = take.subscribe();
                    drop(tokio::time::timeout(COPY_AFTER, end.wait_for(|wanted| wanted.is_last)).await);
                }
            }
        });
        Self { wanted, writer }
    }

    fn save(&self, organization: OrganizationId, entry: Entry) {
        self.wanted.send_modify(|wanted| drop(wanted.entries.insert(organization, Some(std::sync::Arc::new(entry)))));
    }

    fn drop(&self, organization: OrganizationId) {
        self.wanted.send_modify(|wanted| drop(wanted.entries.insert(organization, None)));
    }

    fn freshness(&self, applier: &Applier) {
        let confirmations = applier.confirmations();
        self.wanted.send_modify(|wanted| wanted.freshness = Some(confirmations));
    }

    async fn finish(self) {
        self.wanted.send_modify(|wanted| wanted.is_last = true);
        // A panic in the writer ends the process by itself.
        drop(self.writer.await);
    }
}

fn write(vault: &Vault, work: Wanted) {
    for (organization, entry) in work.entries {
        let result = entry.map_or_else(|| vault.remove(organization), |entry| vault.save(&entry));
        if let Err(error) = result {
            tracing::error!(organization.id = %organization, error = %runtime::telemetry::chain(&error), "sealed copy could not be written; a restart without the control plane would use an older one");
        }
    }
    if let Some(confirmations) = work.freshness
        && let Err(error) = vault.save_freshness(&confirmations)
    {
        tracing::warn!(error = %runtime::telemetry::chain(&error), "freshness of the sealed copies could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

    #[test]
    fn delays_are_spread_below_a_doubling_bound() {
        let entropy = SeededEntropy::new(3);
        let mut backoff = Backoff::new((Duration::from_millis(500), Duration::from_secs(60)));
        let mut bound = Duration::from_millis(500);
        for _ in 0..20 {
            assert!(backoff.next(&entropy) <= bound);
            bound = (bound * 2).min(Duration::from_secs(60));
        }
        backoff.reset();
        let first: Vec<_> = (0..50)
            .map(|_| {
                backoff.reset();
                backoff.next(&entropy)
            })
            .collect();
        assert!(
            first.iter().max() > Some(&Duration::from_millis(350))
                && first.iter().min() < Some(&Duration::from_millis(150))
        );
    }
}
