//! Where things are in the checkout, and how a task runs another program.
//!
//! Every child inherits the terminal and is checked: a task never goes on after a step that failed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Returns the folder that cargo builds into.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Returns the folder for what tasks fetch and keep between runs, outside the checkout.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("headgate"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.context("neither HOME nor XDG_CACHE_HOME is set: there is no place for a cache")?;
    Ok(PathBuf::from(home).join(".cache/headgate"))
}

/// Finds a program on the `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

/// Installs Debian packages; an error that names them where this does not run as root or there is no `apt-get`.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let is_root = Step::new("id").args(&["-u"]).output().is_ok_and(|id| id.trim() == "0");
    if !is_root || find_program("apt-get").is_none() {
        bail!("please install these packages: {}", packages.join(" "));
    }
    // The packages' own servers would hold the default ports; the tests bring theirs.
    if packages.contains(&"postgresql") && !Path::new("/etc/postgresql-common/createcluster.conf").exists() {
        std::fs::create_dir_all("/etc/postgresql-common")?;
        std::fs::write("/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")?;
    }
    let _kept = NoServices::ask()?;
    let apt = |arguments: &[&str]| Step::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt(&["update", "-qq"]).run()?;
    apt(&["install", "-y", "-qq", "--no-install-recommends"]).args(packages).run()
}

/// While it lives, Debian's packages start no service: their scripts ask `policy-rc.d`, and 101 forbids it (deb-systemd-invoke(1p)).
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn ask() -> Result<Self> {
        let asked = Path::new("/usr/sbin/policy-rc.d");
        if asked.exists() {
            // Somebody has a policy already.
            return Ok(Self(None));
        }
        std::fs::write(asked, "#!/bin/sh\nexit 101\n")?;
        std::fs::set_permissions(asked, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self(Some(asked)))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(asked) = self.0
            && let Err(error) = std::fs::remove_file(asked)
        {
            eprintln!("{} could not be removed: {error}", asked.display());
        }
    }
}

/// Writes bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a `String` cannot fail");
        text
    })
}

/// One child process, started in the root of the checkout.
pub(crate) struct Step(Command);

/// Starts describing a `cargo` call.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: &[S]) -> Step {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(cargo).args(arguments)
}

impl Step {
    /// Describes a call of `program` with no arguments yet.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // `cargo run` tells its own settings to this process; a child cargo must not take them for its own, or it
        // rebuilds what it has.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
            command.env_remove(name);
        }
        command.current_dir(root()).stdin(Stdio::null());
        Self(command)
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: &[S]) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets one environment variable for the child.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Starts the child elsewhere.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs the child to its end; a status other than zero is an error that names the call.
    pub(crate) fn run(mut self) -> Result<()> {
        let shown = self.shown();
        // Standard output belongs to the task's own result (`up --json` prints one line there).
        let status = self.0.stdout(std::io::stderr()).status().with_context(|| format!("starting `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(())
    }

    /// Runs the child and returns what it printed.
    pub(crate) fn output(mut self) -> Result<String> {
        let shown = self.shown();
        let output = self.0.stderr(Stdio::inherit()).output().with_context(|| format!("starting `{shown}`"))?;
        if !output.status.success() {
            bail!("`{shown}` ended with {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something that is not UTF-8"))
    }

    /// Gives the command itself, for a caller that needs its streams.
    pub(crate) fn into_command(self) -> Command {
        self.0
    }

    fn shown(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}
