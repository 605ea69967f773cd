//! Supervises a private PostgreSQL cluster inside a data directory, reachable through a Unix socket only.
//!
//! `initdb` runs once; the server runs as our child and stops fast when we stop, also when we are killed (a small shell
//! waits on a pipe for our end). Crash recovery is PostgreSQL's own. It is not a way to run production: give `--database-url`
//! there. Invariants: one Headgate per data directory (a lock file held open), no TCP, and never two servers on one folder.
//!
//! Layout: `<data-dir>/postgres/{data,run,postgres.log}`, `<data-dir>/postgres.lock`, `<data-dir>/postgres.password` (0600).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::pool::Database;
pub use postgres::ClusterError;
use postgres::binaries::{Binaries, Search};
use postgres::child::{self, Identity};

/// A Unix socket's path has at most 107 bytes on Linux (103 on macOS); the server adds its own file name.
const SOCKET_FOLDER_MAX: usize = 103 - "/.s.PGSQL.5432.lock".len();
/// Where a root process keeps a cluster whose data directory the child cannot enter.
const SYSTEM_HOME: &str = "/var/lib/headgate";
const READY_WITHIN: Duration = Duration::from_mins(5);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);
const LOG_KEPT: u64 = 8 << 20;

/// The superuser that owns the cluster; used for bootstrap alone.
const SUPERUSER: &str = "headgate_super";
/// The database of the product.
const DATABASE: &str = "headgate";

/// How careful the cluster is with what it was told to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit reaches the disk.
    Full,
    /// Nothing is flushed: for tests, whose data is thrown away.
    Ephemeral,
}

/// Where the cluster lives and which programs run it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory of this Headgate; created when absent.
    pub data_dir: PathBuf,
    /// A folder with `postgres`, `initdb` and `pg_ctl` (or the path of `postgres`), or the word `pinned` for the archive of
    /// this release; searched for when absent.
    pub postgres_bin: Option<PathBuf>,
    /// Where a fetched archive is kept; `<data-dir>/cache` when absent.
    pub cache_dir: Option<PathBuf>,
    /// Whether commits reach the disk.
    pub durability: Durability,
}

impl Options {
    /// Returns the defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), postgres_bin: None, cache_dir: None, durability: Durability::Full }
    }
}

/// A running private cluster. Dropping it stops the server fast in the background; [`Cluster::stop`] waits for its end.
#[derive(Debug)]
pub struct Cluster {
    server: tokio::process::Child,
    watchdog: Option<std::process::Child>,
    superuser: PgConnectOptions,
    database: Database,
    log: PathBuf,
    home: PathBuf,
    _lock: File,
}

impl Cluster {
    /// Starts the cluster of a data directory, creating it the first time, and returns when it answers.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        let place = options.data_dir.clone();
        let prepared = blocking(move || Prepared::new(&options)).await;
        let prepared = prepared.map_err(|source| ClusterError::io("prepare", &place, source))??;
        let mut cluster = prepared.launch()?;
        cluster.wait_ready().await?;
        cluster.bootstrap().await.map_err(|error| ClusterError::Bootstrap(Box::new(error)))?;
        Ok(cluster)
    }

    /// How to reach the product's database in the cluster.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The folder that holds the cluster, without symbolic links.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Waits until the server ends by itself, which it should not. Cancel-safe.
    pub async fn exited(&mut self) -> std::io::Result<ExitStatus> {
        self.server.wait().await
    }

    /// Stops the server fast (open transactions are rolled back) and waits for its end.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        // The shell's end of the pipe closes, and it interrupts the server: the same road as when we are killed.
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            blocking(move || watchdog.wait()).await.ok();
        }
        if let Some(pid) = self.server.id().and_then(process_id) {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
        }
        match tokio::time::timeout(STOPPED_WITHIN, self.server.wait()).await {
            Ok(ended) => ended.map(drop).map_err(|source| ClusterError::io("wait for", &self.home, source)),
            Err(_) => self.server.kill().await.map_err(|source| ClusterError::io("kill", &self.home, source)),
        }
    }

    /// Leaves the server running after this process; for tests, whose server outlives each of them.
    #[cfg(feature = "test-support")]
    pub(crate) fn detach(mut self) -> Option<u32> {
        if let Some(mut watchdog) = self.watchdog.take() {
            watchdog.kill().ok();
            watchdog.wait().ok();
        }
        self.server.id()
    }

    async fn wait_ready(&mut self) -> Result<(), ClusterError> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            match self.superuser.connect().await {
                Ok(connection) => {
                    return connection.close().await.map_err(|error| ClusterError::Bootstrap(Box::new(error)));
                }
                // Refused while it starts or recovers; a wrong password will not mend itself.
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("28")) => {
                    return Err(ClusterError::Bootstrap(Box::new(sqlx::Error::Database(error))));
                }
                Err(_) => {}
            }
            let ended = self.server.try_wait().map_err(|source| ClusterError::io("wait for", &self.home, source))?;
            if ended.is_some() || tokio::time::Instant::now() >= deadline {
                return Err(ClusterError::NotReady { detail: tail(&self.log) });
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Creates roles and the database the first time.
    async fn bootstrap(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.superuser.connect().await?;
        let password = self.database.password();
        for role in [crate::pool::OWNER, crate::pool::APP, crate::pool::JOBS] {
            let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
                .bind(role)
                .fetch_one(&mut connection)
                .await?;
            if !known {
                // Role names are constants; the password is hexadecimal by construction.
                let sql = format!(
                    "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{password}'"
                );
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            }
        }
        sqlx::raw_sql("GRANT headgate_app, headgate_jobs TO headgate_owner").execute(&mut connection).await?;
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await?;
        if !known {
            sqlx::raw_sql("CREATE DATABASE headgate OWNER headgate_owner").execute(&mut connection).await?;
        }
        connection.close().await
    }
}

/// Runs what waits for files and programs on a thread of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the named tasks of `runtime` are above this crate; each caller awaits its end"
)]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}

// === Preparation: everything before the server runs, blocking ===

struct Prepared {
    lock: File,
    home: PathBuf,
    socket: PathBuf,
    password: String,
    identity: Identity,
    binaries: Binaries,
    durability: Durability,
}

impl Prepared {
    fn new(options: &Options) -> Result<Self, ClusterError> {
        let data_dir = &options.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|source| ClusterError::io("create", data_dir, source))?;
        let data_dir = &child::real(data_dir)?;
        let lock = lock(data_dir)?;
        let identity = Identity::choose(&data_dir.join("postgres/data"))?;
        let home = place(data_dir, &identity)?;
        let wanted = cluster_major(&home)?;
        let cache = options.cache_dir.clone().unwrap_or_else(|| data_dir.join("cache"));
        let search = Search { given: options.postgres_bin.as_deref(), cache: &cache, identity: &identity, wanted };
        let binaries = search.run()?;
        let password = password(data_dir, wanted.is_some())?;
        if wanted.is_none() {
            init(&home, &identity, &binaries, &password, options.durability)?;
        }
        end_orphan(&home)?;
        let socket = socket_folder(&home, &identity)?;
        Ok(Self { lock, home, socket, password, identity, binaries, durability: options.durability })
    }

    fn launch(self) -> Result<Cluster, ClusterError> {
        let data = self.home.join("data");
        let log = self.home.join("postgres.log");
        let program = self.binaries.program("postgres");
        let mut command = std::process::Command::new(&program);
        let output = open_log(&log)?;
        let errors = output.try_clone().map_err(|source| ClusterError::io("open", &log, source))?;
        command.arg("-D").arg(&data).args(settings(&self.socket, self.durability));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        self.identity.apply(&mut command);
        let server = tokio::process::Command::from(command).spawn();
        let server = server.map_err(|source| ClusterError::io("start", &program, source))?;
        let watchdog = match server.id() {
            Some(pid) => Some(watch(pid, &data, &self.identity)?),
            None => None,
        };
        let base = PgConnectOptions::new_without_pgpass().socket(&self.socket).password(&self.password);
        let superuser = base.clone().username(SUPERUSER).database("postgres");
        let database = Database::login_roles(&base.database(DATABASE), self.password);
        Ok(Cluster { server, watchdog, superuser, database, log, home: self.home, _lock: self.lock })
    }
}

fn lock(data_dir: &Path) -> Result<File, ClusterError> {
    let path = data_dir.join("postgres.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|source| ClusterError::io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ClusterError::Locked { data_dir: data_dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(ClusterError::io("lock", &path, source)),
    }
}

/// Returns the cluster's folder: `<data-dir>/postgres`, or where a symbolic link of that name points.
fn place(data_dir: &Path, identity: &Identity) -> Result<PathBuf, ClusterError> {
    let near = data_dir.join("postgres");
    if near.is_symlink() {
        let far = child::real(&near)?;
        identity.own_folder(&far)?;
        return Ok(far);
    }
    identity.own_folder(&near)?;
    if !identity.is_other() || identity.can_enter(&near) {
        return Ok(near);
    }
    // The data directory is ours: others may pass through it, but still not list or read it.
    let meta = std::fs::metadata(data_dir).map_err(|source| ClusterError::io("look at", data_dir, source))?;
    child::set_mode(data_dir, meta.permissions().mode() & 0o7777 | 0o011)?;
    if identity.can_enter(&near) {
        return Ok(near);
    }
    child::set_mode(data_dir, meta.permissions().mode() & 0o7777)?;
    // A folder above is closed (root's home usually is). A fresh name, so that a new data directory is a new cluster.
    let far = Path::new(SYSTEM_HOME).join(&random_hex()?[..16]);
    std::fs::create_dir_all(SYSTEM_HOME)
        .map_err(|source| ClusterError::io("create", Path::new(SYSTEM_HOME), source))?;
    child::set_mode(Path::new(SYSTEM_HOME), 0o711)?;
    identity.own_folder(&far)?;
    std::fs::remove_dir(&near).map_err(|source| ClusterError::io("replace", &near, source))?;
    std::os::unix::fs::symlink(&far, &near).map_err(|source| ClusterError::io("link", &near, source))?;
    tracing::info!(user = identity.name(), folder = %far.display(), "the cluster lives outside the data directory, which its user cannot enter");
    Ok(far)
}

fn cluster_major(home: &Path) -> Result<Option<u32>, ClusterError> {
    let path = home.join("data/PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().split('.').next().and_then(|major| major.parse().ok())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClusterError::io("read", &path, source)),
    }
}

fn random_hex() -> Result<String, ClusterError> {
    use std::fmt::Write as _;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 32];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| ClusterError::io("read", path, source))?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    }))
}

/// Returns the password of all roles of the private cluster, made the first time.
fn password(data_dir: &Path, cluster_exists: bool) -> Result<String, ClusterError> {
    let path = data_dir.join("postgres.password");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => return Ok(text),
        Ok(_) if cluster_exists => return Err(ClusterError::PasswordLost { file: path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && cluster_exists => {
            return Err(ClusterError::PasswordLost { file: path });
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ClusterError::io("read", &path, error));
        }
        Ok(_) | Err(_) => {}
    }
    let made = random_hex()?;
    write_secret(&path, &made)?;
    Ok(made)
}

fn write_secret(path: &Path, text: &str) -> Result<(), ClusterError> {
    let opened = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| ClusterError::io("write", path, source))
}

/// Runs `initdb` into a folder of its own and renames it, so that an interrupted first start leaves no half cluster.
fn init(
    home: &Path,
    identity: &Identity,
    binaries: &Binaries,
    password: &str,
    care: Durability,
) -> Result<(), ClusterError> {
    let fresh = home.join("data.partial");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(|source| ClusterError::io("remove", &fresh, source))?;
    }
    let secret = home.join("password.partial");
    write_secret(&secret, password)?;
    identity.own(&secret)?;
    let mut args: Vec<OsString> =
        ["--username", SUPERUSER, "--encoding", "UTF8", "--no-locale", "--auth", "scram-sha-256", "--no-instructions"]
            .map(OsString::from)
            .to_vec();
    args.extend([OsString::from("--pwfile"), secret.clone().into(), OsString::from("-D"), fresh.clone().into()]);
    if care == Durability::Ephemeral {
        args.push(OsString::from("--no-sync"));
    }
    tracing::info!(folder = %home.display(), "creating the private PostgreSQL cluster");
    let made = identity.run(&binaries.program("initdb"), &args);
    std::fs::remove_file(&secret).map_err(|source| ClusterError::io("remove", &secret, source))?;
    made?;
    let data = home.join("data");
    std::fs::rename(&fresh, &data).map_err(|source| ClusterError::io("rename", &fresh, source))
}

/// Ends a server that outlived the Headgate that started it, and clears a stale process file.
fn end_orphan(home: &Path) -> Result<(), ClusterError> {
    let data = home.join("data");
    let file = data.join("postmaster.pid");
    let pid_in_file = || std::fs::read_to_string(&file).ok()?.lines().next()?.trim().parse::<i32>().ok();
    let Some(number) = pid_in_file() else { return Ok(()) };
    let Some(pid) = rustix::process::Pid::from_raw(number.abs()) else { return Ok(()) };
    let runs =
        || rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH) && serves(number.abs(), &data);
    if !runs() {
        // The number now belongs to somebody else: PostgreSQL alone could not tell, and would refuse to start.
        return remove_if_there(&file);
    }
    let steps = |time: Duration| time.as_millis() / STEP.as_millis();
    for step in 0..steps(STOPPED_WITHIN) {
        // Its watchdog may be stopping it this moment; after two seconds we do it ourselves.
        if step == steps(Duration::from_secs(2)) {
            tracing::warn!(pid = number, "stopping the PostgreSQL server of an earlier run");
            rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
        }
        if !runs() {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
    Err(ClusterError::Orphan { pid: number })
}

fn remove_if_there(file: &Path) -> Result<(), ClusterError> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ClusterError::io("remove", file, source)),
        _ => Ok(()),
    }
}

/// Whether the process is a server of this cluster, by its command line. Without `/proc`, `ps` tells.
fn serves(pid: i32, data: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok().or_else(|| {
        let pid = pid.to_string();
        std::process::Command::new("ps").args(["-o", "command=", "-p", &pid]).output().ok().map(|output| output.stdout)
    });
    let (line, data) = (line.unwrap_or_default(), data.as_os_str().as_encoded_bytes());
    line.windows(data.len()).any(|window| window == data)
}

/// Returns the folder of the socket: inside the cluster, or a fresh short one when that path is too long for a socket.
fn socket_folder(home: &Path, identity: &Identity) -> Result<PathBuf, ClusterError> {
    let near = home.join("run");
    let record = home.join("socket");
    if let Ok(old) = std::fs::read_to_string(&record) {
        // What an earlier run left elsewhere: only a folder of the child's own, and only when it is empty of others' files.
        let old = Path::new(&old);
        let owner = std::fs::metadata(home).map(|meta| meta.uid()).ok();
        if old.symlink_metadata().is_ok_and(|meta| meta.is_dir() && Some(meta.uid()) == owner) {
            drop(std::fs::remove_file(old.join(".s.PGSQL.5432")));
            drop(std::fs::remove_file(old.join(".s.PGSQL.5432.lock")));
            drop(std::fs::remove_dir(old));
        }
        remove_if_there(&record)?;
    }
    if near.as_os_str().len() <= SOCKET_FOLDER_MAX {
        identity.own_folder(&near)?;
        return Ok(near);
    }
    let far = Path::new("/tmp").join(format!("headgate-{}", &random_hex()?[..16]));
    std::fs::create_dir(&far).map_err(|source| ClusterError::io("create", &far, source))?;
    identity.own_folder(&far)?;
    std::fs::write(&record, far.as_os_str().as_encoded_bytes())
        .map_err(|source| ClusterError::io("write", &record, source))?;
    Ok(far)
}

fn settings(socket: &Path, durability: Durability) -> Vec<OsString> {
    let mut list = vec![
        "listen_addresses=".to_owned(),
        "unix_socket_permissions=0700".to_owned(),
        "max_connections=100".to_owned(),
        "password_encryption=scram-sha-256".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
        "log_checkpoints=off".to_owned(),
        "min_wal_size=32MB".to_owned(),
        "max_wal_size=512MB".to_owned(),
        "jit=off".to_owned(),
    ];
    if durability == Durability::Ephemeral {
        list.extend(
            ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"].map(str::to_owned),
        );
    }
    let mut args: Vec<OsString> = list.into_iter().flat_map(|item| [OsString::from("-c"), item.into()]).collect();
    let mut folder = OsString::from("unix_socket_directories=");
    folder.push(socket);
    args.extend([OsString::from("-c"), folder]);
    args
}

fn open_log(path: &Path) -> Result<File, ClusterError> {
    let full = std::fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_KEPT);
    if full {
        remove_if_there(path)?;
    }
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    opened.map_err(|source| ClusterError::io("open", path, source))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Starts the shell that interrupts the server when our end of its pipe closes, for whatever reason we end.
fn watch(pid: u32, data: &Path, identity: &Identity) -> Result<std::process::Child, ClusterError> {
    const SCRIPT: &str = r#"
        trap "" INT TERM HUP
        read -r _
        [ "$(head -n 1 "$2/postmaster.pid" 2>/dev/null)" = "$1" ] && kill -INT "$1""#;
    let shell = Path::new("/bin/sh");
    let mut command = std::process::Command::new(shell);
    command.args(["-c", SCRIPT, "sh", &pid.to_string()]).arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    identity.apply(&mut command);
    command.spawn().map_err(|source| ClusterError::io("start", shell, source))
}

fn process_id(number: u32) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(number).ok()?)
}
