//! `headgate admin rotate-root-key`: replaces the root key by a new one, step by step, so that it can be interrupted anywhere.
//!
//! The new key is written beside the old one first, then the database goes over to it, then the files change places; the old
//! key is kept under its own name, because backups that were made before need it. Which step comes next is read from the
//! database and the files. Invariant: at every moment a file that this command left holds the key that seals the database.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use domain::{Clock as _, Entropy, Secret};
use operation::Keyring;
use operation::root_key::{KeyProvider as _, LocalKey};
use operation::rotation::{self, Rotated, Work};
use runtime::clock::SystemClock;
use runtime::config::Resolved;
use runtime::rng::SystemEntropy;
use serde_json::json;
use store::{PoolLimits, Store};

use crate::data_dir::DataDir;
use crate::{database, output};

/// Where a root key comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// From `root_key` itself: a variable or a flag.
    Given(LocalKey),
    /// From a file, which may not be there yet.
    File(PathBuf),
}

impl Source {
    /// Reads the settings.
    pub(crate) fn of(settings: &Resolved, data_dir: &Path) -> Result<Self> {
        if let Some(text) = settings.find("root_key") {
            return Self::given(text);
        }
        Ok(Self::File(settings.find_path("root_key_file", None).unwrap_or_else(|| data_dir.join("root.key"))))
    }

    /// Takes the key itself, or the path of a file that is there. The text is never shown: a key that was cut short is still most of one.
    fn given(text: &str) -> Result<Self> {
        match LocalKey::parse(text) {
            Ok(key) => Ok(Self::Given(key)),
            Err(_) if Path::new(text.trim()).is_file() => Ok(Self::File(PathBuf::from(text.trim()))),
            Err(error) => Err(error).context("root_key is neither a key nor the path of a file that is there"),
        }
    }

    /// Reads the key; one in the data directory is made when it is absent.
    pub(crate) fn read(self, data_dir: &Path, entropy: &dyn Entropy) -> Result<LocalKey> {
        let path = match self {
            Self::Given(key) => return Ok(key),
            Self::File(path) => path,
        };
        let is_own = path == data_dir.join("root.key");
        let read = if is_own { LocalKey::read_or_create(&path, entropy) } else { LocalKey::read(&path) };
        read.with_context(|| format!("reading the root key {}", path.display()))
    }

    /// Reads the key, which must be there.
    pub(crate) fn read_existing(self) -> Result<LocalKey> {
        match self {
            Self::Given(key) => Ok(key),
            Self::File(path) => {
                LocalKey::read(&path).with_context(|| format!("reading the root key {}", path.display()))
            }
        }
    }

    /// Where the key is kept that will take its place.
    fn next(&self, data_dir: &Path) -> PathBuf {
        match self {
            Self::Given(_) => data_dir.join("root.key.next"),
            Self::File(path) => beside(path, "next"),
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Rotates, and tells where which key is now.
pub(crate) async fn rotate(settings: &Resolved, data_dir: &DataDir, is_json: bool) -> Result<()> {
    let entropy = SystemEntropy;
    let source = Source::of(settings, data_dir.path())?;
    let next_path = source.next(data_dir.path());
    let opened = database::open(settings, data_dir.path().to_path_buf()).await?;
    let done = async {
        opened.bring_up_to_date(false).await?;
        let store = Store::open(&opened.database, PoolLimits::default()).await.context("connecting to the database")?;
        let rotated = go_over(&store, &source, &next_path, &entropy).await;
        store.close().await;
        rotated
    };
    let done = done.await;
    opened.close().await?;
    let rotated = done?;
    let kept = match &source {
        Source::Given(_) => None,
        Source::File(path) => Some(change_places(path, &next_path)?),
    };
    report(&rotated, &source, &next_path, kept.as_deref(), is_json)
}

async fn go_over(store: &Store, source: &Source, next_path: &Path, entropy: &dyn Entropy) -> Result<Rotated> {
    let now = SystemClock.now();
    let old = source.clone().read_existing()?;
    if rotation::active_root_key(store).await?.is_none() {
        Keyring::open(&old, store, entropy, now).await.context("sealing this database for the first time")?;
    }
    let new = LocalKey::read_or_create(next_path, entropy)
        .with_context(|| format!("making the new root key {}", next_path.display()))?;
    if new.key_id() == old.key_id() {
        bail!("{} holds the root key that is in use already; delete it to make another", next_path.display());
    }
    let clock: std::sync::Arc<dyn domain::Clock> = std::sync::Arc::new(SystemClock);
    let mint = operation::cx::Mint::new(clock, std::sync::Arc::new(SystemEntropy));
    let work = Work { store, entropy, mint: &mint, now };
    rotation::rotate(&work, &old, &new).await.context("rotating; the same command goes on where it stopped")
}

/// Keeps the old key under its own name and puts the new one in its place; returns where the old one is.
fn change_places(path: &Path, next_path: &Path) -> Result<PathBuf> {
    let old = LocalKey::read(path)?;
    let kept = beside(path, old.key_id());
    if !kept.exists() {
        let text = Secret::new(std::fs::read(path)?);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept)?;
        file.write_all(text.expose())?;
        file.sync_all()?;
    }
    std::fs::rename(next_path, path).with_context(|| format!("putting the new key at {}", path.display()))?;
    if let Some(folder) = path.parent() {
        // The rename itself must outlive a power cut.
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(kept)
}

fn report(rotated: &Rotated, source: &Source, next_path: &Path, kept: Option<&Path>, is_json: bool) -> Result<()> {
    if is_json {
        let file = match source {
            Source::File(path) => path.as_path(),
            Source::Given(_) => next_path,
        };
        return output::line(
            &json!({
                "root_key_id": rotated.root_key_id,
                "root_key_file": file,
                "old_root_key_file": kept,
                "version": rotated.version,
                "organizations": rotated.organizations,
            })
            .to_string(),
        );
    }
    output::line(&format!("The root key is now {}, version {}.", rotated.root_key_id, rotated.version))?;
    match kept {
        Some(kept) => output::line(&format!(
            "The old one is kept in {}: backups made before now need it. Move it to where they are.",
            kept.display()
        )),
        None => output::line(&format!(
            "It is in {}: put it where HEADGATE_ROOT_KEY comes from, start every control process anew, then delete the file. \
             Backups made before now need the old one.",
            next_path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_variable_is_a_key_or_the_path_of_its_file_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        let key = LocalKey::read_or_create(&path, &SystemEntropy).expect("a key");
        let text = std::fs::read_to_string(&path).expect("its text");
        for given in [text.as_str(), &path.display().to_string(), &format!(" {}\n", path.display())] {
            let read = Source::given(given).and_then(Source::read_existing).expect("the key");
            assert_eq!(read.key_id(), key.key_id());
        }
        let cut = &text.trim()[..20];
        for wrong in [cut, "/nowhere/root.key", ""] {
            let Err(error) = Source::given(wrong) else { panic!("{wrong} is no key") };
            let said = format!("{error:#}");
            assert!(
                said.contains("neither a key nor the path") && (wrong.is_empty() || !said.contains(wrong)),
                "{said}"
            );
        }
    }

    #[test]
    fn the_files_change_places_and_the_old_key_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        let old = LocalKey::read_or_create(&path, &SystemEntropy).expect("a key");
        let next = beside(&path, "next");
        let new = LocalKey::read_or_create(&next, &SystemEntropy).expect("a key");
        let kept = change_places(&path, &next).expect("changed");
        assert_eq!(LocalKey::read(&path).expect("the new one").key_id(), new.key_id());
        assert_eq!(LocalKey::read(&kept).expect("the old one").key_id(), old.key_id());
        assert!(!next.exists() && kept.display().to_string().ends_with(old.key_id()));
        assert_eq!(std::fs::metadata(&kept).expect("its mode").permissions().mode() & 0o777, 0o600);
    }
}
