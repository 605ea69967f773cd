//! The roles: a control plane, a node, or both in one process. Wires what the crates offer; decides nothing of its own.
//!
//! Order of stopping: calls in flight end first, then what they used is reported, then the link, the control plane and last
//! its database. Invariant: `up` joins both planes through the same link as two processes do.

pub(crate) mod control;
mod node;

use std::net::SocketAddr;
use std::time::Duration;

use ::control::bootstrap::FirstSecrets;
use anyhow::{Context as _, Result};
use runtime::config::{Environment, Resolved};
use runtime::egress::{Allow, Rules};
use runtime::health::Readiness;
use runtime::tasks::{self, Group};
use tokio::runtime::{Builder, Runtime};

use crate::cli::Task;
use crate::data_dir::DataDir;
use crate::ready::{self, ControlReady, Environments, GatewayReady, Shown, UpReady};

/// How long a part may take to stop once nothing needs it any more.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long the node of `headgate up` may take to hold the first policy.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Builds the runtime of a command. Calls of a node run on threads of their own, not here.
pub(crate) fn build_runtime(task: &Task) -> Result<Runtime> {
    let n_threads = match task {
        Task::Up | Task::Control => std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2),
        _ => 1,
    };
    let built = Builder::new_multi_thread().worker_threads(n_threads).thread_name("headgate").enable_all().build();
    built.context("starting the runtime")
}

/// Runs every role until a signal comes.
pub(crate) async fn up(settings: &Resolved, environment: &Environment, data_dir: DataDir, is_json: bool) -> Result<()> {
    let readiness = Readiness::new();
    let gateway_addr = node::choose_port(settings.get_address("gateway_addr")?)?;
    let options = control::Options { may_migrate: true, gateway_addr, is_alone: true };
    let mut control = control::Running::start(settings, environment, &data_dir, options, readiness.clone()).await?;
    let join_token =
        if node::is_enrolled(data_dir.path())? { None } else { Some(control.issue_local_join_token().await?) };
    let (pipes, tokens, metrics) = (control.local_link(), control.token_source(), control.metrics_writer());
    let link = node::LinkTo::InProcess { pipes, join_token, tokens, metrics };
    let node = node::Running::start(settings, data_dir.path(), link, gateway_addr, readiness.clone()).await?;
    until_ready(&readiness).await?;
    let ready = up_ready(&mut control, &node);
    let signal = take_signals()?;
    if is_json {
        ready::print_json(&ready)?;
    } else {
        ready::print_up(&ready, control.first_model())?;
    }
    let ended = until_ended(signal, control.database_ended()).await;
    Box::pin(node.stop()).await;
    Box::pin(control.stop()).await?;
    ended
}

/// Runs the control plane until a signal comes.
pub(crate) async fn control(
    settings: &Resolved,
    environment: &Environment,
    data_dir: DataDir,
    is_json: bool,
) -> Result<()> {
    let may_migrate = settings.is_on("auto_migrate") || settings.find("database_url").is_none();
    let readiness = Readiness::new();
    let options =
        control::Options { may_migrate, gateway_addr: settings.get_address("gateway_addr")?, is_alone: false };
    let mut control = control::Running::start(settings, environment, &data_dir, options, readiness.clone()).await?;
    let admin_address = control.serve_admin(settings, readiness).await?;
    let ready = control_ready(&mut control, admin_address);
    let signal = take_signals()?;
    if is_json {
        ready::print_json(&ready)?;
    } else {
        ready::print_control(&ready)?;
    }
    let ended = until_ended(signal, control.database_ended()).await;
    Box::pin(control.stop()).await?;
    ended
}

/// Runs a node until a signal comes.
pub(crate) async fn gateway(settings: &Resolved, data_dir: DataDir, is_json: bool) -> Result<()> {
    let link = node::LinkTo::read(settings, data_dir.path())?;
    let gateway_addr = settings.get_address("gateway_addr")?;
    let node = node::Running::start(settings, data_dir.path(), link, gateway_addr, Readiness::new()).await?;
    let ready = gateway_ready(&node);
    let signal = take_signals()?;
    if is_json {
        ready::print_json(&ready)?;
    } else {
        ready::print_gateway(&ready)?;
    }
    let ended = until_ended(signal, std::future::pending()).await;
    Box::pin(node.stop()).await;
    ended
}

/// Whoever reads that a role is ready may stop it in the next moment: signals are taken before it is said.
fn take_signals() -> Result<impl Future<Output = &'static str>> {
    tasks::take_signals().context("listening for signals")
}

/// Waits for a signal, a panic in a task, or the end of something that must not end.
async fn until_ended(
    signal: impl Future<Output = &'static str>,
    lost: impl Future<Output = anyhow::Error>,
) -> Result<()> {
    let fatal = tasks::fatal();
    tokio::select! {
        signal = signal => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
        () = fatal.cancelled() => anyhow::bail!("a task panicked; see the log"),
        error = lost => Err(error),
    }
}

async fn until_ready(readiness: &Readiness) -> Result<()> {
    let waiting = async {
        while !readiness.is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(READY_WITHIN, waiting).await;
    waited.with_context(|| format!("not ready after {READY_WITHIN:?}: {:?}", readiness.list_reasons()))
}

/// Which addresses that tenants enter may be called: public ones, and private ones that the operator lists. `headgate up` is made for
/// one machine and allows that machine itself unless told otherwise.
pub(crate) fn egress(settings: &Resolved, is_alone: bool) -> Result<Rules> {
    let listed = settings.list("egress_allow_private").into_iter().map(str::parse::<Allow>);
    let listed = listed.collect::<Result<Vec<_>, _>>()?;
    let is_told = settings.find("egress_allow_private").is_some();
    Ok(Rules::new(if is_told || !is_alone { listed } else { Rules::loopback() }))
}

/// Stops a group and waits for it.
async fn drain(group: &Group) {
    group.drain(STOP_WITHIN).await;
}

fn up_ready(control: &mut control::Running, node: &node::Running) -> UpReady {
    let ControlReady {
        console_url,
        api_url,
        sync_url,
        admin_url,
        organization_id,
        workspace_id,
        environments,
        admin_email,
        admin_password,
        access_token,
        virtual_key,
    } = control_ready(control, node.admin_address());
    UpReady {
        console_url,
        api_url,
        gateway_url: ready::url_of("http", node.address()),
        sync_url,
        admin_url,
        organization_id,
        workspace_id,
        environments,
        admin_email,
        admin_password,
        access_token,
        virtual_key,
    }
}

fn control_ready(control: &mut control::Running, admin_address: SocketAddr) -> ControlReady {
    // Taken, not copied: after they have been shown nothing in this process knows them.
    let secrets = control.take_secrets();
    let installation = control.installation();
    let environment = |slug: &str| {
        let found = installation.environments.iter().find(|(name, _)| name == slug);
        found.map(|(_, id)| id.to_string()).unwrap_or_default()
    };
    let (admin_password, access_token, virtual_key) = match secrets {
        Some(FirstSecrets { admin_password, access_token, virtual_key }) => {
            (Some(Shown(admin_password)), Some(Shown(access_token)), Some(Shown(virtual_key)))
        }
        None => (None, None, None),
    };
    ControlReady {
        console_url: control.console_url().to_owned(),
        api_url: format!("{}{}", control.console_url(), api_base()),
        sync_url: ready::url_of("https", control.sync_address()),
        admin_url: ready::url_of("http", admin_address),
        organization_id: installation.organization_id.to_string(),
        workspace_id: installation.workspace_id.to_string(),
        environments: Environments {
            development: environment("development"),
            staging: environment("staging"),
            production: environment("production"),
        },
        admin_email: installation.admin_email.clone(),
        admin_password,
        access_token,
        virtual_key,
    }
}

/// Where the management API begins; the console is beside it.
const fn api_base() -> &'static str {
    "/api/v1"
}

fn gateway_ready(node: &node::Running) -> GatewayReady {
    GatewayReady {
        gateway_url: ready::url_of("http", node.address()),
        admin_url: ready::url_of("http", node.admin_address()),
        node_id: node.id().to_string(),
    }
}
