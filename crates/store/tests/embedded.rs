//! The private cluster itself: first and second start, crash, what a killed run leaves behind, and clear refusals.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::OrganizationId;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use store::embedded::{Cluster, ClusterError, Durability, Options};
use store::{PoolLimits, Store, migrate, settings};

use crate::support::NOON;

fn options(data_dir: &Path) -> Options {
    Options { durability: Durability::Ephemeral, ..Options::new(data_dir) }
}

async fn start(data_dir: &Path) -> Cluster {
    Cluster::start(options(data_dir)).await.expect("a running cluster")
}

async fn open(cluster: &Cluster) -> Store {
    migrate::run(cluster.database(), NOON).await.expect("migrated");
    Store::open(cluster.database(), PoolLimits::default()).await.expect("a store")
}

async fn remember(store: &Store, value: &str) {
    let mut system = store.system().await.expect("a transaction");
    settings::set(&mut system, "kept", &value, NOON).await.expect("set");
    system.commit().await.expect("committed");
}

async fn recall(store: &Store) -> Option<String> {
    let mut system = store.system().await.expect("a transaction");
    settings::find(&mut system, "kept").await.expect("found")
}

fn server_pid(home: &Path) -> Pid {
    let text = std::fs::read_to_string(home.join("data/postmaster.pid")).expect("a running server's file");
    let number = text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number");
    Pid::from_raw(number).expect("not zero")
}

/// Waits by condition, with a deadline.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !is_so() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect(what);
}

fn is_gone(pid: Pid) -> bool {
    // A child of ours that has ended but was not waited for still has a number; its state tells.
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    state.is_ok_and(|text| text.contains(") Z ")) || test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

#[tokio::test]
async fn a_second_start_finds_the_data_of_the_first_and_nobody_else_may_join() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = start(folder.path()).await;
    remember(&open(&cluster).await, "first").await;

    let second = Cluster::start(options(folder.path())).await.expect_err("one at a time");
    assert!(matches!(second, ClusterError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("--data-dir"), "says what to do: {second}");

    // No TCP, a closed socket, and no way in without the password.
    let home = cluster.home().to_owned();
    let socket = home.join("run/.s.PGSQL.5432");
    assert_eq!(std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o077, 0);
    assert_eq!(
        std::fs::metadata(folder.path().join("postgres.password")).expect("a file").permissions().mode() & 0o777,
        0o600
    );
    let listen = std::fs::read_to_string(home.join("data/postmaster.pid")).expect("readable");
    assert_eq!(listen.lines().nth(5).map(str::trim), Some(""), "no address is listened on");
    let host = home.join("run").display().to_string();
    for user in ["headgate_super", "headgate_owner", "headgate_app"] {
        let stranger = store::Database::from_url(&format!("postgres://{user}:wrong@localhost/postgres?host={host}"));
        let refused = migrate::check(&stranger.expect("an address")).await;
        assert!(refused.is_err(), "{user}");
    }

    cluster.stop().await.expect("stopped");
    let cluster = start(folder.path()).await;
    assert_eq!(recall(&open(&cluster).await).await.as_deref(), Some("first"));
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(Options::new(folder.path())).await.expect("a running cluster");
    let store = open(&cluster).await;
    remember(&store, "committed").await;
    let pid = server_pid(cluster.home());
    kill_process(pid, Signal::KILL).expect("killed");
    cluster.exited().await.expect("its end is noticed");
    let error = store.read(OrganizationId::from_uuid(1)).await.expect_err("nobody answers");
    assert!(matches!(error, store::StoreError::Unavailable(_)), "{error:?}");
    cluster.stop().await.expect("nothing left to stop");
    let cluster = Cluster::start(Options::new(folder.path())).await.expect("recovered");
    assert_eq!(recall(&open(&cluster).await).await.as_deref(), Some("committed"));
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_server_ends_with_its_headgate_and_a_quick_restart_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = start(folder.path()).await;
    let pid = server_pid(cluster.home());
    // What the kernel does to a killed Headgate: the pipe closes, nobody waits.
    drop(cluster);
    let cluster = start(folder.path()).await;
    assert!(is_gone(pid), "the old server made room");
    let pid = server_pid(cluster.home());
    drop(cluster);
    until("the server ends by itself", || is_gone(pid)).await;
}

#[tokio::test]
async fn a_process_file_whose_number_now_belongs_to_another_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = start(folder.path()).await;
    let file = cluster.home().join("data/postmaster.pid");
    cluster.stop().await.expect("stopped");
    std::fs::write(&file, format!("{}\n/elsewhere\n", std::process::id())).expect("written");
    start(folder.path()).await.stop().await.expect("stopped");
}

#[tokio::test]
async fn another_version_and_a_lost_password_are_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("postgres/data");
    std::fs::create_dir_all(&data).expect("made");
    std::fs::write(data.join("PG_VERSION"), "9.6\n").expect("written");
    let error = Cluster::start(options(folder.path())).await.expect_err("too old");
    assert!(matches!(error, ClusterError::Version { cluster: 9, .. }), "{error}");
    assert!(error.to_string().contains("dump"), "says what to do: {error}");

    let empty = Options { postgres_bin: Some(folder.path().to_owned()), ..options(folder.path()) };
    let error = Cluster::start(empty).await.expect_err("no programs");
    assert!(matches!(error, ClusterError::BadBinaries { .. }), "{error}");

    let folder = tempfile::tempdir().expect("a folder");
    start(folder.path()).await.stop().await.expect("stopped");
    std::fs::remove_file(folder.path().join("postgres.password")).expect("removed");
    let error = Cluster::start(options(folder.path())).await.expect_err("no password");
    assert!(matches!(error, ClusterError::PasswordLost { .. }), "{error}");
}

#[tokio::test]
async fn an_interrupted_first_start_leaves_no_half_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let half = folder.path().join("postgres/data.partial/base");
    std::fs::create_dir_all(&half).expect("made");
    start(folder.path()).await.stop().await.expect("stopped");
    assert!(!half.exists());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("opened");
    let deep = folder.path().join("a-rather-long-name-for-a-folder".repeat(4));
    let cluster = start(&deep).await;
    let record = cluster.home().join("socket");
    let socket = PathBuf::from(std::fs::read_to_string(&record).expect("written down"));
    assert!(socket.join(".s.PGSQL.5432").exists());
    assert_eq!(std::fs::metadata(&socket).expect("a folder").permissions().mode() & 0o777, 0o700);
    open(&cluster).await;
    cluster.stop().await.expect("stopped");
    // The next start clears the folder of the last.
    start(&deep).await.stop().await.expect("stopped");
    assert!(!socket.exists());
    drop(std::fs::remove_dir_all(std::fs::read_to_string(&record).expect("written down")));
}

#[tokio::test]
async fn as_root_the_server_runs_as_somebody_else_and_owns_only_its_folder() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // The data directory lies in a closed folder, as root's home is.
    let data_dir = folder.path().join("closed/headgate");
    std::fs::create_dir_all(&data_dir).expect("made");
    std::fs::set_permissions(folder.path().join("closed"), std::fs::Permissions::from_mode(0o700)).expect("closed");
    let cluster = start(&data_dir).await;
    let home = cluster.home().to_owned();
    assert_eq!(std::fs::canonicalize(data_dir.join("postgres")).expect("a link"), home);
    assert!(!home.starts_with(folder.path()), "outside the closed folder");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server_pid(&home).as_raw_nonzero()));
    let uid = status.expect("readable").lines().find_map(|line| line.strip_prefix("Uid:\t").map(str::to_owned));
    assert!(uid.is_some_and(|uid| !uid.starts_with("0\t")), "not root");
    assert_eq!(std::fs::metadata(&data_dir).expect("a folder").uid(), 0);
    assert_eq!(std::fs::metadata(data_dir.join("postgres.password")).expect("a file").uid(), 0);
    remember(&open(&cluster).await, "outside").await;
    cluster.stop().await.expect("stopped");
    let cluster = start(&data_dir).await;
    assert_eq!(recall(&open(&cluster).await).await.as_deref(), Some("outside"));
    assert_eq!(cluster.home(), home);
    cluster.stop().await.expect("stopped");
    std::fs::remove_dir_all(home).expect("removed");
}
