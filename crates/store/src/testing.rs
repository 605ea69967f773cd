//! A real PostgreSQL for tests: one private cluster shared by all test processes of a run, a fresh database per test.
//!
//! nextest runs every test in its own process, so the cluster outlives each of them: the first to come starts it, a small
//! shell ends it when no test process has been alive for a while. Its data is thrown away at the next start, so nothing a
//! killed run left behind can break the next one. Only for tests: nothing is flushed to disk.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use crate::embedded::{Cluster, ClusterError, Durability, Options, blocking};
use crate::pool::{Database, PoolLimits};
use crate::{Store, StoreError, migrate};

/// Seconds without any living test process after which the cluster ends.
const IDLE_SECONDS: &str = "120";

/// A migrated database of its own. It is dropped by a later test of the run, or with the cluster.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    database: Database,
    url: String,
}

impl TestDatabase {
    /// Creates a migrated database (0.1–0.5 s). Panics are left to the caller: every error says what is missing.
    pub async fn create() -> Result<Self, TestError> {
        let shared = Shared::attach().await?;
        let name = format!("t_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = shared.superuser.connect().await?;
        execute(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {} OWNER headgate_owner", shared.template))
            .await?;
        admin.close().await?;
        let url = format!(
            "postgres://headgate_owner:{}@localhost/{name}?host={}",
            shared.database.password(),
            shared.socket.display()
        );
        Ok(Self { database: shared.database.named(&name), url })
    }

    /// Copies it as it is now, as a backup would; nobody may be connected to it.
    pub async fn copy(&self) -> Result<Self, TestError> {
        let shared = Shared::attach().await?;
        let name = format!("t_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = shared.superuser.connect().await?;
        let original = self.database.owner.get_database().unwrap_or_default();
        execute(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {original} OWNER headgate_owner")).await?;
        admin.close().await?;
        Ok(Self { database: shared.database.named(&name), url: self.url.replace(original, &name) })
    }

    /// How to reach it in each role.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Its address, as `--database-url` takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens a store with small pools.
    pub async fn store(&self) -> Result<Store, StoreError> {
        Store::open(&self.database, PoolLimits { app: 8, jobs: 4, ..PoolLimits::default() }).await
    }

    /// Opens a connection as the owner of the tables: for catalog checks and for tampering.
    pub async fn owner(&self) -> Result<PgConnection, sqlx::Error> {
        self.database.owner.connect().await
    }

    /// Changes stored rows past every policy, as somebody with the disk in hand could; returns how many.
    pub async fn tamper(&self, sql: &'static str) -> Result<u64, sqlx::Error> {
        let mut connection = self.superuser().await?;
        let done = sqlx::raw_sql(sql).execute(&mut connection).await?;
        connection.close().await?;
        Ok(done.rows_affected())
    }

    /// Opens a connection as the superuser of the cluster, past every policy.
    pub async fn superuser(&self) -> Result<PgConnection, sqlx::Error> {
        let name = self.database.owner.get_database().unwrap_or_default();
        self.database.owner.clone().username("headgate_super").database(name).connect().await
    }
}

/// Why there is no test database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The shared cluster did not start.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A migration failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster refused.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The file system refused.
    #[error("test folder {folder}")]
    Io {
        /// The folder of the shared cluster.
        folder: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static SHARED: tokio::sync::OnceCell<Shared> = tokio::sync::OnceCell::const_new();

#[derive(Debug, Clone)]
struct Shared {
    superuser: PgConnectOptions,
    database: Database,
    template: String,
    socket: PathBuf,
}

impl Shared {
    async fn attach() -> Result<&'static Self, TestError> {
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, TestError> {
        let folder = folder();
        let users = folder.join("users");
        let failed = |source| TestError::Io { folder: folder.clone(), source };
        std::fs::create_dir_all(&users).map_err(failed)?;
        std::fs::write(users.join(std::process::id().to_string()), b"").map_err(failed)?;
        // One process at a time starts the cluster or makes the template.
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(failed)?;
        let lock: File =
            blocking(move || lock.lock().map(|()| lock)).await.and_then(|locked| locked).map_err(failed)?;
        let shared = match Self::running(&folder).await {
            Some(shared) => shared,
            None => Self::start_cluster(&folder).await?,
        };
        shared.prepare_template().await?;
        shared.drop_leftovers(&users).await?;
        drop(lock);
        Ok(shared)
    }

    /// Attaches to the cluster of another process of this run.
    async fn running(folder: &Path) -> Option<Self> {
        let socket = PathBuf::from(std::fs::read_to_string(folder.join("socket")).ok()?);
        let password = std::fs::read_to_string(folder.join("data/postgres.password")).ok()?;
        let shared = Self::at(socket, password);
        shared.superuser.connect().await.ok()?.close().await.ok()?;
        Some(shared)
    }

    async fn start_cluster(folder: &Path) -> Result<Self, TestError> {
        let failed = |source| TestError::Io { folder: folder.to_owned(), source };
        let data_dir = folder.join("data");
        match std::fs::remove_dir_all(&data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let options = Options { durability: Durability::Ephemeral, ..Options::new(&data_dir) };
        let cluster = Cluster::start(Options { cache_dir: Some(folder.join("cache")), ..options }).await?;
        let shared = Self::at(cluster.home().join("run"), cluster.database().password().to_owned());
        std::fs::write(folder.join("socket"), shared.socket.as_os_str().as_encoded_bytes()).map_err(failed)?;
        if let Some(pid) = cluster.detach() {
            reap_when_idle(folder, pid).map_err(failed)?;
        }
        Ok(shared)
    }

    fn at(socket: PathBuf, password: String) -> Self {
        let base = PgConnectOptions::new_without_pgpass().socket(&socket).password(&password);
        let superuser = base.clone().username("headgate_super").database("postgres");
        let mut hash = Sha256::new();
        for migration in migrate::ALL {
            hash.update(migration.sql);
        }
        let template = hash.finalize().iter().take(6).fold("template_".to_owned(), |mut name, byte| {
            write!(name, "{byte:02x}").ok();
            name
        });
        Self { superuser, database: Database::login_roles(&base.database("headgate"), password), template, socket }
    }

    async fn prepare_template(&self) -> Result<(), TestError> {
        let mut admin = self.superuser.connect().await?;
        let ready: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate)")
                .bind(&self.template)
                .fetch_one(&mut admin)
                .await?;
        if !ready {
            execute(&mut admin, format!("DROP DATABASE IF EXISTS {}", self.template)).await?;
            execute(&mut admin, format!("CREATE DATABASE {} OWNER headgate_owner", self.template)).await?;
            migrate::run(&self.database.named(&self.template), Timestamp::from_micros(0)).await?;
            execute(&mut admin, format!("ALTER DATABASE {} IS_TEMPLATE true", self.template)).await?;
        }
        admin.close().await?;
        Ok(())
    }

    /// Drops a few databases of test processes that have ended.
    async fn drop_leftovers(&self, users: &Path) -> Result<(), TestError> {
        let mut admin = self.superuser.connect().await?;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE 't\\_%' ORDER BY oid")
                .fetch_all(&mut admin)
                .await?;
        let dead = |name: &&String| name.split('_').nth(1).is_some_and(|pid| !is_alive(pid));
        for name in names.iter().filter(dead).take(4) {
            // Another process may be faster, or a connection may still be closing; the next test tries again.
            execute(&mut admin, format!("DROP DATABASE IF EXISTS {name}")).await.ok();
        }
        for entry in std::fs::read_dir(users).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|pid| !is_alive(pid)) {
                std::fs::remove_file(entry.path()).ok();
            }
        }
        admin.close().await?;
        Ok(())
    }
}

/// The shared folder: one per user and build folder, below the system's temporary folder, because a root run's server must be
/// able to enter it.
fn folder() -> PathBuf {
    let build =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_owned())).unwrap_or_default();
    let key = Sha256::digest(build.as_os_str().as_encoded_bytes());
    let name = format!(
        "headgate-test-{}-{:02x}{:02x}{:02x}{:02x}",
        rustix::process::geteuid().as_raw(),
        key[0],
        key[1],
        key[2],
        key[3]
    );
    std::env::temp_dir().join(name)
}

fn is_alive(pid: &str) -> bool {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    // Names are made of our own prefixes, process ids and hexadecimal digits.
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// Starts the shell that interrupts the server when no process listed in `users` has lived for a while.
fn reap_when_idle(folder: &Path, pid: u32) -> std::io::Result<()> {
    const SCRIPT: &str = r#"
        trap "" INT TERM HUP
        idle=0
        while kill -0 "$1" 2>/dev/null; do
            live=0
            for file in "$2"/*; do
                if kill -0 "${file##*/}" 2>/dev/null; then live=1; break; fi
            done
            if [ "$live" = 1 ]; then idle=0; else idle=$((idle + 1)); fi
            if [ "$idle" -ge "$3" ]; then kill -INT "$1"; fi
            sleep 1
        done"#;
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh", &pid.to_string()]).arg(folder.join("users")).arg(IDLE_SECONDS);
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}
