//! A PostgreSQL server of a test's own, which the test may stop and start again as an operator or a power cut would.
//!
//! For stories about a database that goes away; tests of statements take `store::testing`, whose server is shared.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use store::embedded::{Cluster, Options};
use tempfile::TempDir;
use tokio::process::Command;

use crate::headgate::data_dir;

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Connections are ended and what is open is rolled back.
    Fast,
    /// It drops everything where it stands, and recovers at its next start.
    Immediate,
}

impl Stop {
    const fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

/// See the module. It ends with the test.
#[derive(Debug)]
pub struct Postgres {
    // Before the folder, which goes with everything in it.
    cluster: Option<Cluster>,
    folder: TempDir,
    url: String,
}

impl Postgres {
    /// Makes a server with an empty database.
    pub async fn start() -> Result<Self> {
        let folder = data_dir()?;
        let cluster = Cluster::start(options(&folder)).await.context("starting PostgreSQL")?;
        let password = std::fs::read_to_string(folder.path().join("postgres.password"))?;
        let socket = cluster.home().join("run");
        let url = format!("postgres://headgate_owner:{}@localhost/headgate?host={}", password.trim(), socket.display());
        Ok(Self { cluster: Some(cluster), folder, url })
    }

    /// Returns its address, as `--database-url` takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and waits for its end.
    pub async fn stop(&mut self, how: Stop) -> Result<()> {
        let mut cluster = self.cluster.take().context("it runs")?;
        let lock: PathBuf = cluster.home().join("data/postmaster.pid");
        let lines = std::fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
        let pid = lines.lines().next().context("the first line is its process id")?.trim();
        let sent = Command::new("kill").args(["-s", how.signal(), pid]).status().await.context("running kill")?;
        anyhow::ensure!(sent.success(), "kill ended with {sent}");
        cluster.exited().await.context("waiting for the server's end")?;
        Ok(())
    }

    /// Starts the server again on what it kept.
    pub async fn again(&mut self) -> Result<()> {
        self.cluster = Some(Cluster::start(options(&self.folder)).await.context("starting PostgreSQL again")?);
        Ok(())
    }
}

fn options(folder: &TempDir) -> Options {
    Options::new(folder.path())
}
