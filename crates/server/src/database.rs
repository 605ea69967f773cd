//! The database of this process: the one it was told about, or a private cluster that it supervises.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use domain::Clock as _;
use runtime::clock::SystemClock;
use runtime::config::Resolved;
use store::embedded::{Cluster, Options};
use store::{Database, StoreError, migrate};

/// An opened database.
#[derive(Debug)]
pub(crate) struct Opened {
    /// How to reach it.
    pub(crate) database: Database,
    /// The private cluster, when there is one; stop it last.
    pub(crate) cluster: Option<Cluster>,
}

/// Opens the configured database, or starts the private cluster in `data_dir`.
pub(crate) async fn open(settings: &Resolved, data_dir: PathBuf) -> Result<Opened> {
    if let Some(url) = settings.find("database_url") {
        let database = Database::from_url(url).context("reading database_url")?;
        return Ok(Opened { database, cluster: None });
    }
    let mut options = Options::new(data_dir);
    options.postgres_bin = settings.find_path("postgres_bin", None);
    let cluster = Cluster::start(options).await.context("starting the private PostgreSQL")?;
    Ok(Opened { database: cluster.database().clone(), cluster: Some(cluster) })
}

/// Says what to do about a database that does not take us; what is wrong with a schema says so itself.
pub(crate) fn explained(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Schema(schema) => schema.into(),
        other => anyhow::Error::from(other).context(
            "the database cannot be used; it must run, and know the user, password and name in --database-url",
        ),
    }
}

impl Opened {
    /// Applies missing migrations, or only checks that none is missing.
    pub(crate) async fn bring_up_to_date(&self, may_migrate: bool) -> Result<()> {
        if !may_migrate {
            return migrate::check(&self.database).await.map_err(explained);
        }
        let applied = migrate::run(&self.database, SystemClock.now()).await.map_err(explained)?;
        if !applied.is_empty() {
            tracing::info!(n_applied = applied.len(), last = applied.last(), "migrations applied");
        }
        Ok(())
    }

    /// Stops the private cluster, if there is one.
    pub(crate) async fn close(self) -> Result<()> {
        match self.cluster {
            Some(cluster) => cluster.stop().await.context("stopping the private PostgreSQL"),
            None => Ok(()),
        }
    }
}
