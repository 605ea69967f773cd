//! `headgate doctor`: looks at everything a start needs, changes nothing, and says what to mend.

mod redis;

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Result, bail};
use operation::keyring::KeyError;
use operation::root_key::{KeyProvider as _, LocalKey};
use operation::rotation;
use runtime::config::Resolved;
use runtime::telemetry::chain;
use rustix::fs::Access;
use serde::Serialize;
use store::{PoolLimits, Store};

use crate::commands::root_key::Source;
use crate::data_dir::{DataDir, Held};
use crate::database::Opened;
use crate::{database, output, reach};

/// What one look found.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    is_ok: bool,
    detail: String,
}

/// Looks at everything; an error tells how many things need mending.
pub(crate) async fn run(settings: &Resolved, data_dir: &Path, is_json: bool) -> Result<()> {
    let mut findings = vec![check_data_dir(data_dir), check_root_key(settings, data_dir), check_reach(settings)];
    // A Headgate that runs holds the directory, and then its ports and its cluster are in use as they should be.
    let held = if data_dir.is_dir() { Some(DataDir::take(data_dir)) } else { None };
    let refused = held.as_ref().and_then(|held| held.as_ref().err());
    let is_running = refused.is_some_and(anyhow::Error::is::<Held>);
    match refused {
        Some(_) if is_running => findings.push(found("process", true, "a Headgate runs on this data directory")),
        // Whatever else is wrong with it, nothing in it can be opened.
        Some(error) => findings[0] = found("data_dir", false, format!("{error:#}")),
        None => {}
    }
    let can_open = refused.is_none();
    findings.extend(
        ["control_addr", "sync_addr", "gateway_addr", "admin_addr"].map(|name| check_port(settings, name, is_running)),
    );
    if let Some(url) = settings.find("redis_url") {
        findings.push(check_redis(url).await);
    }
    if settings.find("database_url").is_some() || (can_open && data_dir.join("postgres").is_dir()) {
        findings.extend(check_database(settings, data_dir).await);
    } else if can_open {
        findings.push(found("database", true, "none yet: the first start makes a private cluster"));
    }
    report(&findings, is_json)
}

fn report(findings: &[Finding], is_json: bool) -> Result<()> {
    if is_json {
        output::line(&serde_json::to_string(findings)?)?;
    } else {
        for finding in findings {
            output::line(&format!(
                "{:4} {:12} {}",
                if finding.is_ok { "ok" } else { "MEND" },
                finding.what,
                finding.detail
            ))?;
        }
    }
    match findings.iter().filter(|finding| !finding.is_ok).count() {
        0 => Ok(()),
        n => bail!("{n} of {} checks need mending", findings.len()),
    }
}

fn found(what: &'static str, is_ok: bool, detail: impl Into<String>) -> Finding {
    Finding { what, is_ok, detail: detail.into() }
}

fn check_data_dir(path: &Path) -> Finding {
    // A folder that is to be made needs what is above it.
    let nearest = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    let may_write = rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK);
    match std::fs::metadata(nearest) {
        Ok(data) if !data.is_dir() => found(
            "data_dir",
            false,
            format!("{} is not a folder: give another place with --data-dir", nearest.display()),
        ),
        Ok(_) if may_write.is_err() => found(
            "data_dir",
            false,
            format!(
                "{} cannot be written by this user: give it to the user that runs Headgate (chown), or give another place with \
                 --data-dir",
                nearest.display()
            ),
        ),
        Ok(_) if nearest == path => found("data_dir", true, path.display().to_string()),
        _ => found("data_dir", true, format!("{} is not there yet: the first start makes it", path.display())),
    }
}

fn check_root_key(settings: &Resolved, data_dir: &Path) -> Finding {
    let given = match Source::of(settings, data_dir) {
        Ok(given) => given,
        Err(error) => return found("root_key", false, format!("{error:#}: give 32 bytes in hexadecimal or base64")),
    };
    let Source::File(path) = given else { return found("root_key", true, "given by the environment") };
    let is_own = settings.find("root_key_file").is_none();
    let has_cluster = settings.find("database_url").is_none() && data_dir.join("postgres/data").exists();
    let shown = path.display();
    match LocalKey::read(&path) {
        Ok(_) => found("root_key", true, shown.to_string()),
        Err(KeyError::Exposed { .. }) => {
            found("root_key", false, format!("{shown} is readable by others: chmod 600 it"))
        }
        Err(KeyError::File { source, .. }) if is_absent(&source) && is_own && !has_cluster => {
            found("root_key", true, format!("{shown} is not there yet: the first start makes it"))
        }
        Err(KeyError::File { source, .. }) if source.kind() == ErrorKind::NotFound => found(
            "root_key",
            false,
            format!("{shown} is missing: put it back from a backup, nothing opens what it sealed without it"),
        ),
        Err(error) => found("root_key", false, format!("{shown}: {}", chain(&error))),
    }
}

/// Says that there is no such file; a place below a file is none, either.
fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A listener that others reach in clear is as wrong as one that nobody reaches.
fn check_reach(settings: &Resolved) -> Finding {
    match settings.get_address("control_addr").ok().and_then(|address| reach::find_exposed(settings, address)) {
        Some(exposed) => found("https", false, exposed),
        None => found("https", true, "the console is reached over https, or on this machine only"),
    }
}

async fn check_redis(url: &str) -> Finding {
    match redis::ping(url).await {
        Ok(said) => found("redis_url", true, said),
        Err(error) => found("redis_url", false, format!("{error:#}: mend the address or take the setting away")),
    }
}

fn check_port(settings: &Resolved, name: &'static str, is_running: bool) -> Finding {
    let address: SocketAddr = match settings.get_address(name) {
        Ok(address) => address,
        Err(error) => return found(name, false, error.to_string()),
    };
    match TcpListener::bind(address) {
        Ok(_) => found(name, true, format!("{address} is free")),
        Err(_) if is_running => found(name, true, format!("{address} is in use, as it should be")),
        Err(error) => {
            found(name, false, format!("{address} cannot be used ({error}): stop what uses it or choose another"))
        }
    }
}

async fn check_database(settings: &Resolved, data_dir: &Path) -> Vec<Finding> {
    let opened = match database::open(settings, data_dir.to_path_buf()).await {
        Ok(opened) => opened,
        Err(error) => return vec![found("database", false, format!("{error:#}"))],
    };
    let checked = opened.bring_up_to_date(false).await;
    let mut findings = match &checked {
        Ok(()) => vec![found("database", true, "reachable, its schema is that of this release")],
        Err(error) => vec![found("database", false, format!("{error:#}"))],
    };
    if checked.is_ok() {
        findings.push(check_seal(settings, data_dir, &opened).await);
    }
    if let Err(error) = opened.close().await {
        findings.push(found("database", false, format!("{error:#}")));
    }
    findings
}

/// Says which root key seals the database, and whether it is the one at hand.
async fn check_seal(settings: &Resolved, data_dir: &Path, opened: &Opened) -> Finding {
    let looked = async {
        let store = Store::open(&opened.database, PoolLimits::default()).await?;
        let active = rotation::active_root_key(&store).await;
        store.close().await;
        anyhow::Ok(active?)
    };
    let active = match looked.await {
        Ok(Some(active)) => active,
        Ok(None) => return found("seal", true, "nothing is sealed yet: the first start does"),
        Err(error) => return found("seal", false, format!("{error:#}")),
    };
    let given = match Source::of(settings, data_dir).and_then(Source::read_existing) {
        Ok(key) => key,
        Err(error) => return found("seal", false, format!("the database is sealed by {active}: {error:#}")),
    };
    if given.key_id() == active {
        return found("seal", true, format!("{active} is the active root key"));
    }
    found(
        "seal",
        false,
        format!(
            "the database is sealed by {active}, the root key at hand is {}: give the other one, or run `headgate admin \
             rotate-root-key` again if a rotation was interrupted",
            given.key_id()
        ),
    )
}
