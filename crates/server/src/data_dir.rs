//! The data directory: made private, and held by one process at a time.
//!
//! The lock is the kernel's: it ends with the process, however that ends, so there is no stale lock to clean up.

use std::error::Error;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A data directory that this process holds; dropping it lets go.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Another process holds the directory.
#[derive(Debug)]
pub(crate) struct Held {
    holder: String,
    path: PathBuf,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holder, path) = (&self.holder, self.path.display());
        write!(f, "another Headgate (process {holder}) runs on {path}: stop it, or give this one its own --data-dir")
    }
}

impl Error for Held {}

impl DataDir {
    /// Makes the directory when it is absent and takes it for this process.
    ///
    /// Errors: [`Held`] when another process has it; whatever else says what to do.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        make(path)?;
        let file = path.join("headgate.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&file)
            .with_context(|| {
            format!(
                "opening {}; the data directory must belong to whoever runs Headgate, or give another with --data-dir",
                file.display()
            )
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).unwrap_or_default();
                let (holder, path) = (holder.trim().to_owned(), path.to_path_buf());
                return Err(Held { holder, path }.into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", file.display()));
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id()).with_context(|| format!("writing {}", file.display()))?;
        Ok(Self { path: fs::canonicalize(path)?, _lock: lock })
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn make(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // Keys live here: nobody else has any business in it.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making the data directory {}; give another with --data-dir", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_process() {
        let folder = std::env::temp_dir().join(format!("headgate-lock-{}", std::process::id()));
        let held = DataDir::take(&folder).expect("the first one");
        let refused = DataDir::take(&folder).expect_err("the second one").to_string();
        assert!(refused.contains(&std::process::id().to_string()) && refused.contains("--data-dir"), "{refused}");
        drop(held);
        assert!(DataDir::take(&folder).is_ok());
        fs::remove_dir_all(&folder).expect("cleans up");
    }
}
