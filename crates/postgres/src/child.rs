//! Who the PostgreSQL child runs as, and how programs are run in that name.
//!
//! PostgreSQL refuses to run as root. As root, the child runs as `postgres` or else `nobody`; otherwise as ourselves.
//! Invariant: a file or folder handed to the child is proven reachable by a probe in its name, never by reading modes.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ClusterError;

/// The operating system user of the child; `None` inside means ourselves.
#[derive(Debug, Clone)]
pub struct Identity(Option<Account>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Identity {
    /// Chooses the user: ourselves; as root the owner of an existing cluster at `data`, else `postgres`, else `nobody`.
    pub fn choose(data: &Path) -> Result<Self, ClusterError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        if let Ok(meta) = std::fs::metadata(data)
            && meta.uid() != 0
        {
            return Ok(Self(Some(Account { name: format!("{}", meta.uid()), uid: meta.uid(), gid: meta.gid() })));
        }
        let path = Path::new("/etc/passwd");
        let passwd = std::fs::read_to_string(path).map_err(|source| ClusterError::io("read", path, source))?;
        let account = ["postgres", "nobody"].iter().find_map(|name| find_account(&passwd, name));
        account.map(|account| Self(Some(account))).ok_or(ClusterError::NoAccount)
    }

    /// Whether another user than ourselves runs the child.
    pub const fn is_other(&self) -> bool {
        self.0.is_some()
    }

    /// The user's name for messages.
    pub fn name(&self) -> &str {
        self.0.as_ref().map_or("the current user", |account| &account.name)
    }

    /// Makes `command` run in the child's name, outside our process group, so that a terminal's Ctrl-C reaches only us.
    pub fn apply(&self, command: &mut Command) {
        command.process_group(0).current_dir("/");
        if let Some(account) = &self.0 {
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Runs a program to its end and returns its standard output.
    pub fn run<S: AsRef<OsStr>>(&self, program: &Path, args: &[S]) -> Result<String, ClusterError> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).env("LC_ALL", "C");
        self.apply(&mut command);
        let output = command.output().map_err(|source| ClusterError::io("run", program, source))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ClusterError::Command { program: program.to_owned(), status: output.status.to_string(), detail })
    }

    /// Whether the child can enter `folder`.
    pub fn can_enter(&self, folder: &Path) -> bool {
        let script = OsStr::new("cd \"$1\" && ls . >/dev/null");
        self.run(Path::new("/bin/sh"), &[OsStr::new("-c"), script, OsStr::new("sh"), folder.as_os_str()]).is_ok()
    }

    /// Creates `folder` (and its parents) with mode 0700, owned by the child.
    pub fn own_folder(&self, folder: &Path) -> Result<(), ClusterError> {
        std::fs::create_dir_all(folder).map_err(|source| ClusterError::io("create", folder, source))?;
        set_mode(folder, 0o700)?;
        self.own(folder)
    }

    /// Gives `path` to the child.
    pub fn own(&self, path: &Path) -> Result<(), ClusterError> {
        let Some(account) = &self.0 else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .map_err(|source| ClusterError::io("give away", path, source))
    }
}

/// Sets the mode bits of `path`.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), ClusterError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|source| ClusterError::io("set the mode of", path, source))
}

/// Returns `path` without symbolic links.
pub fn real(path: &Path) -> Result<PathBuf, ClusterError> {
    std::fs::canonicalize(path).map_err(|source| ClusterError::io("resolve", path, source))
}

fn find_account(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_exact_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\npostgresql:x:5:5::/:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n";
        assert_eq!(find_account(passwd, "postgres"), None);
        assert_eq!(find_account(passwd, "root"), None);
        let nobody = find_account(passwd, "nobody");
        assert_eq!(nobody, Some(Account { name: "nobody".to_owned(), uid: 65_534, gid: 65_533 }));
    }
}
