//! The control plane: its database, its root key, the first start, the control address, the link for nodes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use control::Assets;
use control::bootstrap::{self, FirstSecrets, Installation};
use domain::{Clock as _, Entropy, Secret};
use downlink::sync::{self, SyncHandle, SyncServerConfig};
use link::sync::TokenSource;
use notify::Courier;
use notify::smtp::Smtp;
use operation::rotation;
use operation::{ControlConfig, Cx, Keyring};
use runtime::clock::SystemClock;
use runtime::config::{Environment, Resolved};
use runtime::health::Readiness;
use runtime::rng::SystemEntropy;
use runtime::tasks::Group;
use store::{PoolLimits, Store};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use upstream::dial::{Dial, Network};
use upstream::proxy::Proxy;

use crate::commands::root_key::Source;
use crate::data_dir::DataDir;
use crate::database::{self, Opened};
use crate::{console, listing, reach, ready};

/// The management API, as checked in and proven fresh.
const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// What every command on a control plane's data needs.
pub(crate) struct Base {
    /// The context.
    pub(crate) cx: Arc<Cx>,
    /// The database; close it last.
    pub(crate) opened: Opened,
}

impl Base {
    /// Opens database and keys without serving anything.
    pub(crate) async fn open(
        settings: &Resolved,
        data_dir: &Path,
        config: ControlConfig,
        may_migrate: bool,
    ) -> Result<Self> {
        let opened = database::open(settings, data_dir.to_path_buf()).await?;
        opened.bring_up_to_date(may_migrate).await?;
        let store = Store::open(&opened.database, PoolLimits::default()).await.context("connecting to the database")?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let source = Source::of(settings, data_dir)?;
        let root_key = match rotation::active_root_key(&store).await.context("looking for the root key's name")? {
            // A new one would open nothing, and would lie where the lost one belongs.
            Some(active) => {
                let sealed = || format!("the database is sealed by the root key {active}, which must be put back");
                source.read_existing().with_context(sealed)?
            }
            None => source.read(data_dir, entropy.as_ref())?,
        };
        let keyring = Keyring::open(&root_key, &store, entropy.as_ref(), SystemClock.now()).await;
        let keyring = keyring.context("opening what the root key seals")?;
        let ports = operation::Ports { store, clock: Arc::new(SystemClock), entropy, keyring };
        let cx = Cx::new(ports, config).context("preparing keys")?;
        Ok(Self { cx, opened })
    }

    /// Lets go of the database.
    pub(crate) async fn close(self) -> Result<()> {
        self.cx.store.close().await;
        self.opened.close().await
    }
}

/// What a start needs beside the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Whether missing migrations are applied.
    pub(crate) may_migrate: bool,
    /// Where the gateway listens or will listen; shown to clients unless `gateway_url` says otherwise.
    pub(crate) gateway_addr: SocketAddr,
    /// Whether the node is in the same process, on a machine of one's own.
    pub(crate) is_alone: bool,
}

/// A running control plane.
pub(crate) struct Running {
    base: Base,
    installation: Installation,
    console_url: String,
    sync_address: SocketAddr,
    first_model: String,
    nodes: SyncHandle,
    group: Group,
}

impl Running {
    /// Starts everything; on an empty database it founds the installation first.
    pub(crate) async fn start(
        settings: &Resolved,
        environment: &Environment,
        data_dir: &DataDir,
        options: Options,
        readiness: Readiness,
    ) -> Result<Self> {
        let listener = bind(settings, "control_addr").await?;
        let sync_listener = bind(settings, "sync_addr").await?;
        let (address, sync_address) = (listener.local_addr()?, sync_listener.local_addr()?);
        let console_url = settings
            .find("public_url")
            .map_or_else(|| ready::url_of("http", address), |url| url.trim_end_matches('/').to_owned());
        let config = config(settings, sync_address, options.gateway_addr)?;
        if let Some(exposed) = reach::find_exposed(settings, address) {
            tracing::warn!(address = %address, "{exposed}");
        }
        let base = Base::open(settings, data_dir.path(), config, options.may_migrate).await?;
        base.cx.set_courier(Arc::new(courier(settings, options.is_alone)?));
        let fetch = listing::fetch(dial(settings, options.is_alone)?);
        let variables = bootstrap::variables(|name| environment.find(name).map(str::to_owned), read_key_file);
        let variables: Vec<_> = variables.into_iter().map(|found| found.asking(&fetch)).collect();
        let installation = bootstrap::run(&base.cx, &variables)
            .await
            .map_err(|failure| explained(&failure))
            .context("the first start")?;
        let group = Group::new();
        // The link first: it states the authority's fingerprint, which every join token carries.
        let nodes = sync::start(Arc::clone(&base.cx), SyncServerConfig::default(), Some(sync_listener), &group).await?;
        let assets = Assets { console: console_files(), openapi: OPENAPI };
        let parts = control::Parts { cx: Arc::clone(&base.cx), listener, assets, readiness: Arc::new(readiness) };
        control::start(parts, &group)?;
        let first_model = "echo/echo-1".to_owned();
        Ok(Self { base, installation, console_url, sync_address, first_model, nodes, group })
    }

    /// Serves health and metrics at an address of its own and returns it.
    pub(crate) async fn serve_admin(&self, settings: &Resolved, readiness: Readiness) -> Result<SocketAddr> {
        let listener = bind(settings, "control_admin_addr").await?;
        let address = listener.local_addr()?;
        let router = control::http::health::admin_router(Arc::clone(&self.base.cx), Arc::new(readiness));
        self.group.spawn("control.admin", |stop| operation::server::serve(listener, router, stop));
        Ok(address)
    }

    /// Returns what writes the control plane's counters in the Prometheus text format.
    pub(crate) fn metrics_writer(&self) -> gateway::MetricsWriter {
        let cx = Arc::clone(&self.base.cx);
        Box::new(move |out| out.push_str(&cx.metrics.render()))
    }

    /// Returns what the installation has.
    pub(crate) const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Gives away what was made at a first start, to be shown once.
    pub(crate) const fn take_secrets(&mut self) -> Option<FirstSecrets> {
        self.installation.secrets.take()
    }

    /// Returns where the console is.
    pub(crate) fn console_url(&self) -> &str {
        &self.console_url
    }

    /// Returns where nodes connect.
    pub(crate) const fn sync_address(&self) -> SocketAddr {
        self.sync_address
    }

    /// Returns a model that a first call can ask for.
    pub(crate) fn first_model(&self) -> &str {
        &self.first_model
    }

    /// Returns where a node of this process sends its ends of pipes.
    pub(crate) fn local_link(&self) -> mpsc::Sender<DuplexStream> {
        self.nodes.pipes.clone()
    }

    /// Issues a join token for the node of this process.
    pub(crate) async fn issue_local_join_token(&self) -> Result<String> {
        let issued = bootstrap::issue_local_join_token(&self.base.cx, &self.installation).await;
        issued.map_err(|failure| explained(&failure)).context("issuing a join token for the local node")
    }

    /// Returns what gives the node of this process a join token when its certificate has ended.
    pub(crate) fn token_source(&self) -> TokenSource {
        let (cx, installation) = (Arc::clone(&self.base.cx), Arc::new(self.installation.clone()));
        TokenSource(Arc::new(move || {
            let (cx, installation) = (Arc::clone(&cx), Arc::clone(&installation));
            Box::pin(async move {
                let issued = bootstrap::issue_local_join_token(&cx, &installation).await;
                issued.inspect_err(|failure| tracing::error!(error = %explained(failure), "a join token for the local node could not be issued")).ok()
            })
        }))
    }

    /// Waits until the private database ends by itself, which it should not.
    pub(crate) async fn database_ended(&mut self) -> anyhow::Error {
        match &mut self.base.opened.cluster {
            Some(cluster) => match cluster.exited().await {
                Ok(status) => anyhow::anyhow!(
                    "the private PostgreSQL ended by itself ({status}); see its log in the data directory"
                ),
                Err(error) => anyhow::anyhow!(error).context("watching the private PostgreSQL"),
            },
            None => std::future::pending().await,
        }
    }

    /// Stops serving, then lets go of the database.
    pub(crate) async fn stop(self) -> Result<()> {
        super::drain(&self.group).await;
        self.base.close().await
    }
}

/// Writes why an act of the control plane failed.
pub(crate) fn explained(failure: &operation::error::Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

/// Reads a provider's key out of a file that a variable names. One that cannot be read keeps nobody from starting.
fn read_key_file(path: &str) -> Option<Secret<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) => {
            tracing::warn!(path, %error, "a file that a provider's variable names cannot be read; the provider is left out");
            None
        }
    }
}

async fn bind(settings: &Resolved, name: &str) -> Result<TcpListener> {
    let address = settings.get_address(name)?;
    let flag = name.replace('_', "-");
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("listening on {address}; is another Headgate running? Choose another with --{flag}"))
}

/// Reads the settings of the control plane.
pub(crate) fn config(
    settings: &Resolved,
    sync_address: SocketAddr,
    gateway_address: SocketAddr,
) -> Result<ControlConfig> {
    let told = |name: &str| settings.find(name).map(|url| url.trim_end_matches('/').to_owned());
    Ok(ControlConfig {
        public_url: told("public_url"),
        trust_forwarded_for: settings.is_on("trust_forwarded_for"),
        usage_retention: settings.get_duration("usage_retention")?,
        gateway_url: told("gateway_url").unwrap_or_else(|| ready::url_of("http", gateway_address)),
        sync_url: told("sync_url").unwrap_or_else(|| ready::url_of("https", sync_address)),
        version: env!("CARGO_PKG_VERSION"),
        ..ControlConfig::default()
    })
}

/// What opens connections to addresses that others entered: within the egress rules, by the proxy if there is one.
fn dial(settings: &Resolved, is_alone: bool) -> Result<Arc<dyn Dial>> {
    let ca_file = settings.find("upstream_ca_file").map(Path::new);
    let proxy = settings.find("upstream_proxy").map(Proxy::parse).transpose()?;
    let rules = Arc::new(super::egress(settings, is_alone)?);
    Ok(Arc::new(Network::new(rules, ca_file).context("preparing TLS for calls of the control plane")?.through(proxy)))
}

/// Who sends alerts; e-mail by the installation's server.
fn courier(settings: &Resolved, is_alone: bool) -> Result<Courier> {
    let ca_file = settings.find("upstream_ca_file").map(Path::new);
    let smtp = match (settings.find("smtp_url"), settings.find("smtp_from")) {
        (Some(url), Some(from)) => Some(Smtp::new(&Secret::new(url.to_owned()), from, ca_file)?),
        (Some(_), None) => anyhow::bail!("smtp_url needs smtp_from: who e-mails come from"),
        (None, _) => None,
    };
    Ok(Courier::new(dial(settings, is_alone)?, smtp))
}

fn console_files() -> Option<control::http::console::ConsoleFiles> {
    console::find("index.html")?;
    Some(Arc::new(console::find))
}
