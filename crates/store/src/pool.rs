//! How the database is reached, and the pools over it: one per role.
//!
//! Three roles: `headgate_owner` migrates and owns the tables, `headgate_app` serves one organization at a time under row
//! security, `headgate_jobs` does what crosses organizations under policies of its own. Invariant: neither `headgate_app`
//! nor `headgate_jobs` owns a table, is a superuser or bypasses row security, and no session setting outlives a transaction.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgPool};

use crate::error::StoreError;

/// The role that owns the schema of a private cluster.
pub(crate) const OWNER: &str = "headgate_owner";
/// The role of ordinary work.
pub(crate) const APP: &str = "headgate_app";
/// The role of work that crosses organizations.
pub(crate) const JOBS: &str = "headgate_jobs";

/// An idle connection older than this is pinged before use: the server may have gone in the meantime.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Where the database is and how each role signs in. Its `Debug` form shows no password.
#[derive(Clone)]
pub struct Database {
    pub(crate) owner: PgConnectOptions,
    app: PgConnectOptions,
    jobs: PgConnectOptions,
    password: String,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.owner.get_database().unwrap_or_default();
        f.debug_struct("Database").field("host", &self.owner.get_host()).field("name", &name).finish_non_exhaustive()
    }
}

impl Database {
    /// Reads a `postgres://…` address. Its user migrates; ordinary work takes the roles `headgate_app` and `headgate_jobs`,
    /// of which that user must be a member ([`crate::migrate::run`] sees to it when the user may create roles).
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(StoreError::Address);
        }
        let base: PgConnectOptions = url.parse().map_err(|_| StoreError::Address)?;
        let role = |name: &str| base.clone().options([("role", name)]);
        Ok(Self { app: role(APP), jobs: role(JOBS), owner: base, password: String::new() })
    }

    /// A private cluster, where each role signs in by itself.
    pub(crate) fn login_roles(base: &PgConnectOptions, password: String) -> Self {
        let role = |name: &str| base.clone().username(name);
        Self { owner: role(OWNER), app: role(APP), jobs: role(JOBS), password }
    }

    /// The same server and roles, another database.
    #[cfg(feature = "test-support")]
    pub(crate) fn named(&self, name: &str) -> Self {
        Self {
            owner: self.owner.clone().database(name),
            app: self.app.clone().database(name),
            jobs: self.jobs.clone().database(name),
            password: self.password.clone(),
        }
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

/// How many connections each role may hold and how long a caller waits for one.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Connections of ordinary work.
    pub app: u32,
    /// Connections of jobs, the publisher and sign-in look-ups.
    pub jobs: u32,
    /// After this long without a free connection the call fails as unavailable.
    pub acquire_within: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { app: 16, jobs: 8, acquire_within: Duration::from_secs(5) }
    }
}

/// The two pools.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) app: PgPool,
    pub(crate) jobs: PgPool,
}

impl Pools {
    /// Opens both pools and proves that each signs in with its own role.
    pub(crate) async fn open(database: &Database, limits: PoolLimits) -> Result<Self, StoreError> {
        let app = pool(database.app.clone(), limits.app, limits.acquire_within);
        let jobs = pool(database.jobs.clone(), limits.jobs, limits.acquire_within);
        for (pool, role) in [(&app, APP), (&jobs, JOBS)] {
            let (current, strong): (String, bool) = sqlx::query_as(
                "SELECT r.rolname::text, r.rolsuper OR r.rolbypassrls FROM pg_roles r WHERE r.rolname = current_user",
            )
            .fetch_one(pool)
            .await?;
            if current != role || strong {
                return Err(StoreError::Role { expected: role, found: current });
            }
        }
        Ok(Self { app, jobs })
    }
}

fn pool(options: PgConnectOptions, size: u32, acquire_within: Duration) -> PgPool {
    let options = options.application_name("headgate").options([
        ("timezone", "UTC"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(acquire_within)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}
