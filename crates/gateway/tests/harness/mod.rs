//! A gateway, its policy, its upstreams and its clients, all in one thread.

pub(crate) mod client;
pub(crate) mod h2;
pub(crate) mod kept;
pub(crate) mod policy;
pub(crate) mod raw;
pub(crate) mod remotes;
pub(crate) mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use domain::rng::SeededEntropy;
use domain::usage::UsageEvent;
use domain::{Clock, NodeId, Timestamp};
use gateway::{Ephemeral, Gateway, GatewayConfig, Lane, Parts, UsageSink};
use link::SinkFull;
use link::usage::event::{Entry, OpenedCall};
use parking_lot::Mutex;
use runtime::health::Readiness;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::kept::Kept;
use self::policy::World;
use self::remotes::Remotes;
use self::upstream::Upstreams;

/// Keeps what is settled.
#[derive(Default)]
pub(crate) struct Ledger {
    pub events: Mutex<Vec<UsageEvent>>,
    pub opened: Mutex<Vec<OpenedCall>>,
    pub is_full: AtomicBool,
    /// How often it was told of one or more calls at once.
    pub n_told: AtomicUsize,
    changed: Notify,
}

impl UsageSink for Ledger {
    fn opened(&self, call: OpenedCall) {
        self.opened.lock().push(call);
    }

    fn record(&self, event: UsageEvent) -> Result<(), SinkFull> {
        self.events.lock().push(event);
        self.changed.notify_waiters();
        Ok(())
    }

    fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        self.n_told.fetch_add(1, Ordering::Relaxed);
        for entry in entries.drain(..) {
            match entry {
                Entry::Opened(call) => self.opened(call),
                Entry::Ended(event) => self.record(*event).expect("has room"),
            }
        }
        0
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}

impl Ledger {
    /// Waits until `n` events are settled and returns them.
    pub(crate) async fn wait(&self, n: usize) -> Vec<UsageEvent> {
        loop {
            let changed = self.changed.notified();
            if self.events.lock().len() >= n {
                return self.events.lock().clone();
            }
            changed.await;
        }
    }
}

/// Tells virtual time.
pub(crate) struct VirtualClock {
    started: Instant,
}

/// When every test starts.
pub(crate) const START: &str = "2026-11-22T12:00:00Z";

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        START.parse::<Timestamp>().expect("a valid instant").plus(self.started.elapsed())
    }
}

/// Everything of one test.
pub(crate) struct Bench {
    pub upstreams: Upstreams,
    pub ledger: Arc<Ledger>,
    pub kept: Kept,
    pub remotes: Remotes,
    pub policy: Arc<ArcSwap<::policy::Snapshot>>,
    pub purse: purse::Purse,
    pub gateway: Gateway,
    pub lane: Lane,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(GatewayConfig::default(), &World::standard())
    }

    pub(crate) fn of(world: &World) -> Self {
        Self::with(GatewayConfig::default(), world)
    }

    pub(crate) fn with(config: GatewayConfig, world: &World) -> Self {
        Self::among((Ephemeral::default(), Kept::default(), Remotes::default()), config, world)
    }

    /// Another node beside those that share what nodes may lose.
    pub(crate) fn beside(ephemeral: Ephemeral, config: GatewayConfig, world: &World) -> Self {
        Self::among((ephemeral, Kept::default(), Remotes::default()), config, world)
    }

    /// Another node of the fleet that keeps responses there.
    pub(crate) fn keeping(kept: Kept, world: &World) -> Self {
        Self::among((Ephemeral::default(), kept, Remotes::default()), GatewayConfig::default(), world)
    }

    /// Another node of the fleet that notes files and batches there.
    pub(crate) fn noting(remotes: Remotes, world: &World) -> Self {
        Self::among((Ephemeral::default(), Kept::default(), remotes), GatewayConfig::default(), world)
    }

    fn among((ephemeral, kept, remotes): (Ephemeral, Kept, Remotes), config: GatewayConfig, world: &World) -> Self {
        let (upstreams, ledger) = (Upstreams::default(), Arc::new(Ledger::default()));
        let purse = purse::Purse::default();
        let policy = Arc::new(ArcSwap::from_pointee(world.snapshot()));
        let parts = Parts {
            config: GatewayConfig { worker_threads: 1, ..config },
            node_id: NodeId::from_uuid(1),
            policy: policy.clone(),
            usage: ledger.clone(),
            responses: Arc::new(kept.clone()),
            remotes: Arc::new(remotes.clone()),
            dial: Arc::new(upstreams.clone()),
            media_dial: Arc::new(upstreams.clone()),
            clock: Arc::new(VirtualClock { started: Instant::now() }),
            entropy: Arc::new(SeededEntropy::new(1)),
            ephemeral,
            purse: purse.clone(),
            readiness: Readiness::new(),
            more_metrics: Vec::new(),
        };
        let gateway = Gateway::new(parts);
        let lane = gateway.lane();
        Self { upstreams, ledger, kept, remotes, policy, purse, gateway, lane }
    }

    /// Waits for the single event of a test that makes one call.
    pub(crate) async fn event(&self) -> UsageEvent {
        let events = self.ledger.wait(1).await;
        assert_eq!(events.len(), 1, "exactly one event");
        events.into_iter().next().expect("one event")
    }
}
