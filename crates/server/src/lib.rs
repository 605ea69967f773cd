//! The executable's library: reads the command line and the settings, starts telemetry, runs commands and roles.
//!
//! Nothing of the product is decided here; it wires the planes together. Invariant: standard output carries results only
//! (`--json` prints one line), everything else goes to standard error.

mod cli;
mod commands;
mod console;
mod data_dir;
mod database;
mod listing;
mod memory;
mod output;
mod reach;
mod ready;
mod roles;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use runtime::config::{Environment, Resolved};
use runtime::telemetry;

use crate::cli::{Invocation, Task};
use crate::data_dir::DataDir;

/// Runs what the command line asks for and returns the exit code.
#[must_use]
pub fn run() -> ExitCode {
    runtime::tls::install_crypto_provider();
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help goes to standard output with success, a mistake to standard error with 2. A closed pipe is nobody's loss.
            error.print().unwrap_or_default();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(&invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", telemetry::mask_secrets(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn perform(invocation: &Invocation) -> Result<()> {
    if let Task::AuditVerify { file, public_key } = &invocation.task {
        return commands::audit::verify(file, public_key.as_deref(), invocation.is_json);
    }
    let environment = Environment::of_process();
    let settings = read_settings(invocation, &environment)?;
    if invocation.task == Task::Config {
        return commands::config::run(&settings, invocation.is_json);
    }
    let runtime = roles::build_runtime(&invocation.task)?;
    runtime.block_on(perform_async(invocation, &settings, &environment))
}

async fn perform_async(invocation: &Invocation, settings: &Resolved, environment: &Environment) -> Result<()> {
    let path = data_dir_of(settings, environment)?;
    let is_role = matches!(invocation.task, Task::Up | Task::Control | Task::Gateway);
    let running = if is_role { Some(start_telemetry(settings, environment)?) } else { None };
    if !settings.is_on("core_dumps") {
        memory::close();
    }
    if is_role {
        warn_of_idle_settings(environment);
    }
    let is_json = invocation.is_json;
    // Boxed: the largest of these futures would otherwise be the size of all.
    let done = match &invocation.task {
        Task::Up => Box::pin(roles::up(settings, environment, DataDir::take(&path)?, is_json)).await,
        Task::Control => Box::pin(roles::control(settings, environment, DataDir::take(&path)?, is_json)).await,
        Task::Gateway => Box::pin(roles::gateway(settings, DataDir::take(&path)?, is_json)).await,
        Task::Migrate => Box::pin(commands::migrate::run(settings, &DataDir::take(&path)?, is_json)).await,
        Task::AdminRestored => Box::pin(commands::admin::restored(settings, &DataDir::take(&path)?, is_json)).await,
        Task::AdminReset => Box::pin(commands::admin::reset(settings, &DataDir::take(&path)?, is_json)).await,
        Task::AdminResetPassword { email } => {
            Box::pin(commands::admin::reset_password(settings, &DataDir::take(&path)?, email, is_json)).await
        }
        Task::AdminRotateRootKey => {
            Box::pin(commands::root_key::rotate(settings, &DataDir::take(&path)?, is_json)).await
        }
        Task::Doctor => Box::pin(commands::doctor::run(settings, &path, is_json)).await,
        Task::Config | Task::AuditVerify { .. } => Ok(()),
    };
    if let Some(running) = running {
        running.stop().await;
    }
    done
}

/// Says which settings were given and do nothing.
fn warn_of_idle_settings(environment: &Environment) {
    for name in runtime::config::list_unknown_variables(settings::all(), environment) {
        if name != "HEADGATE_CONFIG" {
            tracing::warn!(variable = name, "an environment variable looks like a setting, but is none");
        }
    }
}

fn read_settings(invocation: &Invocation, environment: &Environment) -> Result<Resolved> {
    let path = invocation.config.clone().or_else(|| environment.find("HEADGATE_CONFIG").map(PathBuf::from));
    let file = match &path {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?),
        None => None,
    };
    Ok(runtime::config::resolve(settings::all(), &invocation.flags, environment, file.as_deref())?)
}

fn data_dir_of(settings: &Resolved, environment: &Environment) -> Result<PathBuf> {
    let path = settings.find_path("data_dir", environment.find("HOME")).context("data_dir has a default")?;
    if path.starts_with("~") {
        anyhow::bail!("HOME is not set, so there is no place for the data directory: give one with --data-dir");
    }
    Ok(path)
}

fn start_telemetry(settings: &Resolved, environment: &Environment) -> Result<telemetry::Telemetry> {
    let format = match settings.find("log_format") {
        None => None,
        Some("json") => Some(telemetry::Format::Json),
        Some("text") => Some(telemetry::Format::Text),
        Some(other) => anyhow::bail!("`log_format` cannot be `{other}`: expected json or text"),
    };
    let collector = find_collector(settings, environment);
    let started = telemetry::start(&telemetry::Settings {
        filter: settings.get("log")?.to_owned(),
        format,
        collector,
        instance: format!("{}-{}", environment.find("HOSTNAME").unwrap_or("headgate"), std::process::id()),
        version: env!("CARGO_PKG_VERSION"),
    })?;
    Ok(started)
}

/// Reads where traces go. What operators set for every program counts here, too, after our own setting; what is said of traces alone
/// counts more than what is said of all signals.
fn find_collector(settings: &Resolved, environment: &Environment) -> Option<telemetry::Collector> {
    let of_traces = |name: &str| environment.find(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
    let standard = |name: &str| of_traces(name).or_else(|| environment.find(&format!("OTEL_EXPORTER_OTLP_{name}")));
    let endpoint = match (settings.find("otlp_endpoint"), of_traces("ENDPOINT")) {
        (None, Some(exact)) => telemetry::Endpoint::Traces(exact.to_owned()),
        (given, _) => telemetry::Endpoint::Base(given.or_else(|| standard("ENDPOINT"))?.to_owned()),
    };
    let batches = |name: &str| environment.find(&format!("OTEL_BSP_{name}")).map(str::to_owned);
    Some(telemetry::Collector {
        endpoint,
        ca_file: standard("CERTIFICATE").map(PathBuf::from),
        protocol: standard("PROTOCOL").map(str::to_owned),
        timeout_ms: standard("TIMEOUT").map(str::to_owned),
        headers: standard("HEADERS").map(telemetry::Headers::new),
        compression: standard("COMPRESSION").map(str::to_owned),
        every_ms: batches("SCHEDULE_DELAY"),
        batch: batches("MAX_EXPORT_BATCH_SIZE"),
        waiting: batches("MAX_QUEUE_SIZE"),
    })
}
