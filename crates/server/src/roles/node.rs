//! One gateway node: its link to the control plane, its spool and reporter, its data plane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::{Clock, Entropy, NodeId};
use gateway::{Ephemeral, GatewayConfig, GatewayHandle, Limits, Metrics, MetricsWriter, Parts, RealtimeLimits};
use link::sync::identity::Identity;
use link::sync::transport::ControlAddress;
use link::sync::{self, Load, SyncConfig, TokenSource};
use link::usage::reporter::Reporter;
use link::usage::spool::{Spool, SpoolConfig};
use purse::{Cry, Purse};
use runtime::clock::SystemClock;
use runtime::config::Resolved;
use runtime::health::Readiness;
use runtime::rng::SystemEntropy;
use runtime::tasks::Group;
use state::redis::{Keeper, Redis};
use state::{Cache, Memory, Tiers};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use upstream::dial::Network;
use upstream::proxy::Proxy;

/// Where a node that was told its control plane once remembers it.
const CONTROL_FILE: &str = "control";
/// How long a node that leaves a fleet serves on, unless told: a few rounds of a load balancer's health check.
const DRAIN_GRACE_MS: u64 = 5_000;

/// How the node reaches its control plane.
pub(crate) enum LinkTo {
    /// In the same process.
    InProcess {
        /// Takes one end of each pipe.
        pipes: mpsc::Sender<DuplexStream>,
        /// For the node's first start.
        join_token: Option<String>,
        /// For a later one, when the machine was off for longer than its certificate lives.
        tokens: TokenSource,
        /// The control plane's counters, for the one admin address of the process.
        metrics: MetricsWriter,
    },
    /// Over the network.
    Remote {
        /// The address, as `https://host:port`.
        control: String,
        /// For the node's first start, or to come back when its certificate has ended.
        join_token: Option<String>,
    },
}

impl LinkTo {
    /// Reads the settings; later starts need none, since the first one remembered the address.
    pub(crate) fn read(settings: &Resolved, data_dir: &Path) -> Result<Self> {
        let remembered = std::fs::read_to_string(data_dir.join(CONTROL_FILE)).ok();
        let control = match settings.find("control") {
            Some(control) => control.to_owned(),
            None => remembered.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).context(
                "this node does not know its control plane yet: start it once with --control https://HOST:7401 --join-token \
                 TOKEN (the console makes the token under Nodes)",
            )?,
        };
        Ok(Self::Remote { control, join_token: settings.find("join_token").map(str::to_owned) })
    }

    fn address(&self) -> Result<ControlAddress> {
        Ok(match self {
            Self::InProcess { pipes, .. } => ControlAddress::InProcess(pipes.clone()),
            Self::Remote { control, .. } => ControlAddress::parse(control)?,
        })
    }

    fn join_token(&self) -> Option<String> {
        match self {
            Self::InProcess { join_token, .. } | Self::Remote { join_token, .. } => join_token.clone(),
        }
    }

    /// Remembers a remote control plane, once the node is enrolled there.
    fn remember(&self, data_dir: &Path) -> Result<()> {
        let Self::Remote { control, .. } = self else { return Ok(()) };
        let file = data_dir.join(CONTROL_FILE);
        std::fs::write(&file, format!("{control}\n")).with_context(|| format!("writing {}", file.display()))
    }
}

/// Turns port 0 into a free port, so that the control plane can name the gateway's address before the gateway listens.
pub(crate) fn choose_port(address: SocketAddr) -> Result<SocketAddr> {
    if address.port() != 0 {
        return Ok(address);
    }
    let probe =
        std::net::TcpListener::bind(address).with_context(|| format!("finding a free port on {}", address.ip()))?;
    Ok(probe.local_addr()?)
}

/// Tells whether the data directory holds a node's identity.
pub(crate) fn is_enrolled(data_dir: &Path) -> Result<bool> {
    Ok(Identity::load(&private_folder(data_dir, "node")?)?.is_some())
}

/// Longest time that money of budgets is given back when the node stops.
const PURSE_DRAIN: Duration = Duration::from_secs(3);

/// A running node.
pub(crate) struct Running {
    id: NodeId,
    handle: GatewayHandle,
    link: Group,
    reporter: Group,
    purse: Group,
}

impl Running {
    /// Starts the link first, so that the data plane begins with the sealed copy when there is one.
    pub(crate) async fn start(
        settings: &Resolved,
        data_dir: &Path,
        link_to: LinkTo,
        gateway_addr: SocketAddr,
        readiness: Readiness,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let folder = private_folder(data_dir, "node")?;
        let (link_group, reporter_group) = (Group::new(), Group::new());
        let vitals = Vitals::default();
        let config = link_config(settings, &link_to, folder.clone())?;
        let ports = sync::Ports {
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            readiness: readiness.clone(),
            load: vitals.reading(),
        };
        let started =
            sync::start(config, ports, &link_group.stop_signal()).await.context("joining the control plane")?;
        link_to.remember(data_dir)?;
        let link = started.link();
        let id = link.node_id();

        let boot = domain::id::mint(clock.as_ref(), entropy.as_ref());
        let max_bytes = settings.get_bytes("spool_max")?;
        let spool_config = SpoolConfig { max_bytes, ..SpoolConfig::default() };
        let spool = Spool::open(&folder.join("spool"), id, boot, spool_config)?;
        let is_alone = matches!(link_to, LinkTo::InProcess { .. });
        let ca_file = settings.find("upstream_ca_file").map(Path::new);
        let rules = Arc::new(super::egress(settings, is_alone)?);
        let proxy = settings.find("upstream_proxy").map(Proxy::parse).transpose()?;
        let dial = Network::new(rules, ca_file).context("preparing TLS for upstreams")?.through(proxy.clone());
        // Clients name these addresses, so what the operator allows for upstreams is not allowed for them.
        let media_dial = Network::new(Arc::default(), ca_file).context("preparing TLS for media")?.through(proxy);
        let status = link.status();
        let mut more_metrics: Vec<MetricsWriter> =
            vec![Box::new(move |out| status.write_metrics(out)), spool_metrics(spool.clone())];
        if let LinkTo::InProcess { metrics, .. } = link_to {
            more_metrics.push(metrics);
        }
        let purse = Purse::default();
        let Kept { ephemeral, keeper, metrics: kept_metrics } = keep(settings, &purse)?;
        more_metrics.push(kept_metrics);
        let handle = gateway::start(Parts {
            config: gateway_config(settings, gateway_addr, is_alone)?,
            node_id: id,
            policy: link.policy(),
            usage: Arc::new(spool.clone()),
            responses: Arc::new(link.responses()),
            remotes: Arc::new(link.remotes()),
            dial: Arc::new(dial),
            media_dial: Arc::new(media_dial),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            ephemeral,
            purse: purse.clone(),
            readiness: readiness.clone(),
            more_metrics,
        })
        .await?;
        vitals.connect(Organs { spool: spool.clone(), metrics: handle.metrics.clone(), readiness });
        if let Some(keeper) = keeper {
            let heed = Box::new(handle.heed());
            link_group.spawn("state.redis", |stop| keeper.run(clock, heed, stop));
        }
        let (mut shares, take) = (link.status().share(), handle.share());
        link_group.spawn("sync.share", |stop| async move {
            while let Some(Ok(())) = stop.run_until_cancelled(shares.changed()).await {
                take(*shares.borrow_and_update());
            }
        });
        link_group.spawn("sync", |stop| started.run(stop));
        let purse_group = Group::new();
        let (leases, delivered) = (Arc::new(link.leases()), Arc::new(spool.clone()));
        purse_group.spawn("budgets.purse", |stop| async move {
            if stop.run_until_cancelled(purse.run(leases.clone(), delivered.clone())).await.is_none() {
                // What calls have left over goes back, so that others need not wait for it.
                purse.drain();
                purse.run(leases, delivered).await;
            }
        });
        let reporter = Reporter::new(spool, link.channel(), entropy);
        reporter_group.spawn("usage.reporter", |stop| reporter.run(stop));
        Ok(Self { id, handle, link: link_group, reporter: reporter_group, purse: purse_group })
    }

    /// Returns the node's id.
    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    /// Returns where clients call.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.handle.addr
    }

    /// Returns where operators look.
    pub(crate) const fn admin_address(&self) -> SocketAddr {
        self.handle.admin_addr
    }

    /// Ends calls in flight, reports what they used, then lets the link go.
    pub(crate) async fn stop(self) {
        self.handle.drain().await;
        super::drain(&self.reporter).await;
        self.purse.drain(PURSE_DRAIN).await;
        super::drain(&self.link).await;
    }
}

/// What the node reports of itself; the parts it reads come after the link that reports them.
#[derive(Clone, Default)]
struct Vitals(Arc<OnceLock<Organs>>);

/// What vitals are read from.
struct Organs {
    spool: Spool,
    metrics: Metrics,
    readiness: Readiness,
}

impl Vitals {
    fn connect(&self, organs: Organs) {
        // Only ever connected once; a second time would change nothing.
        drop(self.0.set(organs));
    }

    fn reading(&self) -> Arc<dyn Fn() -> Load + Send + Sync> {
        let parts = Arc::clone(&self.0);
        Arc::new(move || {
            let Some(Organs { spool, metrics, readiness }) = parts.get() else { return Load::default() };
            let state = spool.state();
            Load {
                spool_events: state.pending_events,
                spool_bytes: state.bytes,
                spool_age_ms: u64::try_from(state.oldest.as_millis()).unwrap_or(u64::MAX),
                lost_events: state.lost_events,
                requests_total: metrics.requests_total(),
                in_flight: u64::try_from(metrics.in_flight()).unwrap_or(0),
                is_draining: readiness.is_held(gateway::LEAVING),
            }
        })
    }
}

/// What the node may lose: memory alone, or Redis with it.
struct Kept {
    ephemeral: Ephemeral,
    keeper: Option<Keeper>,
    metrics: MetricsWriter,
}

fn keep(settings: &Resolved, purse: &Purse) -> Result<Kept> {
    let tiers = Tiers::alone(Memory::new(settings.get_bytes("cache_memory")?));
    let Some(url) = settings.find("redis_url") else {
        let tiers = Arc::new(tiers);
        let ephemeral = Ephemeral { cache: Arc::clone(&tiers) as Arc<dyn Cache>, ..Ephemeral::default() };
        return Ok(Kept { ephemeral, keeper: None, metrics: Box::new(move |out| tiers.write_metrics(out)) });
    };
    let patience = settings.get_duration("redis_timeout")?;
    let (redis, keeper) = Redis::open_patiently(url, patience).context("reading redis_url")?;
    let (crier, hearer) = (redis.clone(), purse.clone());
    purse.tell_others(move |cry| crier.cry(cry.as_str()));
    let keeper = keeper.hearing(Box::new(move |word| {
        if let Some(cry) = Cry::find(word) {
            hearer.hear(cry);
        }
    }));
    let tiers = Arc::new(tiers.with(redis.clone()));
    let (standing, common) = (redis.clone(), redis.clone());
    let ephemeral = Ephemeral {
        cache: Arc::clone(&tiers) as Arc<dyn Cache>,
        cooldowns: Arc::new(redis),
        common: Some(Arc::new(common)),
        degraded: Arc::new(move || standing.trouble().map(|trouble| ("redis", trouble))),
    };
    Ok(Kept { ephemeral, keeper: Some(keeper), metrics: Box::new(move |out| tiers.write_metrics(out)) })
}

fn spool_metrics(spool: Spool) -> gateway::MetricsWriter {
    use std::fmt::Write as _;
    Box::new(move |out| {
        let state = spool.state();
        let gauges = [
            (
                "headgate_spool_pending_events",
                "Usage events on disk that the ledger has not acknowledged.",
                state.pending_events,
            ),
            ("headgate_spool_bytes", "Bytes of the usage spool on disk.", state.bytes),
            (
                "headgate_spool_oldest_seconds",
                "How long the oldest of them has waited for its acknowledgement.",
                state.oldest.as_secs(),
            ),
            ("headgate_spool_full", "Whether the next usage event may be lost.", u64::from(state.is_full)),
            ("headgate_spool_lost_events", "Usage events lost since the process started.", state.lost_events),
            ("headgate_spool_refused_events", "Usage events the ledger refused for good.", state.refused_events),
        ];
        for (name, help, value) in gauges {
            // Writing to a `String` cannot fail.
            write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n").unwrap_or_default();
        }
    })
}

fn link_config(settings: &Resolved, link_to: &LinkTo, folder: PathBuf) -> Result<SyncConfig> {
    let mut config = SyncConfig::new(link_to.address()?, folder);
    config.join_token = link_to.join_token();
    if let LinkTo::InProcess { tokens, .. } = link_to {
        config.token_source = Some(tokens.clone());
    }
    config.name = match (link_to, settings.find("node_name")) {
        (_, Some(name)) => name.to_owned(),
        (LinkTo::InProcess { .. }, None) => "local".to_owned(),
        (LinkTo::Remote { .. }, None) => host_name(),
    };
    settings.find("region").unwrap_or_default().clone_into(&mut config.region);
    Ok(config)
}

fn host_name() -> String {
    let read = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = read.trim();
    if name.is_empty() { "gateway".to_owned() } else { name.to_owned() }
}

fn gateway_config(settings: &Resolved, gateway_addr: SocketAddr, is_alone: bool) -> Result<GatewayConfig> {
    let defaults = GatewayConfig::default();
    let ms = |name| anyhow::Ok(u64::try_from(settings.get_duration(name)?.as_millis()).unwrap_or(u64::MAX));
    // A single process has nobody to hand its clients over to.
    let drain_grace_ms = match settings.find("drain_grace") {
        Some(_) => ms("drain_grace")?,
        None if is_alone => 0,
        None => DRAIN_GRACE_MS,
    };
    let refuses_when_full = match settings.get("spool_full")? {
        "serve" => false,
        "refuse" => true,
        other => anyhow::bail!("`spool_full` cannot be `{other}`: expected serve or refuse"),
    };
    Ok(GatewayConfig {
        gateway_addr,
        admin_addr: settings.get_address("admin_addr")?,
        worker_threads: settings.get_count("worker_threads")?,
        limits: Limits {
            max_body_bytes: usize::try_from(settings.get_bytes("max_body")?).unwrap_or(usize::MAX),
            max_connections: settings.get_count("max_connections")?,
            max_in_flight: settings.get_count("max_in_flight")?,
            max_in_flight_per_key: settings.get_count("max_in_flight_per_key")?,
            header_read_ms: ms("header_timeout")?,
            idle_ms: ms("idle_timeout")?,
            body_read_ms: ms("body_timeout")?,
            ..defaults.limits
        },
        realtime: RealtimeLimits {
            idle_ms: ms("realtime_idle")?,
            total_ms: ms("realtime_timeout")?,
            ..defaults.realtime
        },
        refuses_when_full,
        drain_grace_ms,
        drain_ms: ms("drain_timeout")?,
    })
}

fn private_folder(data_dir: &Path, name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = data_dir.join(name);
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
