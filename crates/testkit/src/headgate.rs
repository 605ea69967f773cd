//! The real executable, as a user runs it: started with flags, waited for by its JSON line, stopped by signals.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::actor::Actor;
use crate::wait::until;

/// The first start makes a database cluster; on a busy machine that takes its time.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Of the executable and the console, as far as the suite has not built them.
const BUILT_WITHIN: Duration = Duration::from_mins(5);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const UP_ADDRESSES: &[&str] = &["--control-addr", "--sync-addr", "--gateway-addr", "--admin-addr"];
const LINES_KEPT: usize = 50_000;

/// One running process of Headgate.
#[derive(Debug)]
pub struct Headgate {
    child: Child,
    ready: Value,
    /// Lines of standard output so far, and those to come.
    said: Vec<String>,
    saying: mpsc::UnboundedReceiver<String>,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// How a process is to be started.
#[derive(Debug)]
pub struct Start {
    command: Command,
    ready_within: Duration,
}

/// Returns the executable, built beside the test that runs.
pub fn executable() -> Result<PathBuf> {
    let test = std::env::current_exe().context("finding the test's own executable")?;
    // target/debug/deps/e2e-… or target/release/bench: the executable is in the profile's folder.
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("headgate"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.context("there is no `headgate` beside the tests: run them with `cargo xtask test`, which builds it")
}

impl Start {
    /// Describes `headgate ROLE` with every listener on a free port and no setting from this process's environment.
    pub fn role(role: &str, data_dir: &Path) -> Result<Self> {
        let mut start = Self::for_people(role, data_dir)?;
        start.command.arg("--json");
        Ok(start)
    }

    /// The same for a person, who is told what to do in words.
    pub fn for_people(role: &str, data_dir: &Path) -> Result<Self> {
        let mut command = Command::new(executable()?);
        command.arg(role).arg("--data-dir").arg(data_dir);
        command.env_clear();
        for name in ["PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"] {
            if let Some(value) = runtime::config::Environment::of_process().find(name) {
                command.env(name, value);
            }
        }
        command.env("HEADGATE_LOG", "info");
        let addresses: &[&str] = match role {
            "control" => &["--control-addr", "--sync-addr", "--control-admin-addr"],
            "gateway" => &["--gateway-addr", "--admin-addr"],
            _ => UP_ADDRESSES,
        };
        for flag in addresses {
            command.arg(flag).arg("127.0.0.1:0");
        }
        if role == "gateway" {
            // No load balancer has to notice that it stops.
            command.arg("--drain-grace").arg("0ms");
        }
        Ok(Self { command, ready_within: READY_WITHIN })
    }

    /// Describes `cargo xtask up --debug --json` in the checkout, as somebody who has just read the README runs it, but for the ports.
    ///
    /// It builds with this process's own environment, so that what the suite has built is used, and starts without its settings.
    #[must_use]
    pub fn from_checkout(data_dir: &Path) -> Self {
        let environment = runtime::config::Environment::of_process();
        let mut command = Command::new(environment.find("CARGO").unwrap_or("cargo"));
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        for (name, _) in environment.iter() {
            let is_of_a_package = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
            let is_setting = name.starts_with("HEADGATE_") || name.starts_with("OTEL_") || name.ends_with("_API_KEY");
            if is_of_a_package || is_setting {
                command.env_remove(name);
            }
        }
        command.args(["xtask", "up", "--debug", "--json", "--data-dir"]).arg(data_dir);
        for flag in UP_ADDRESSES {
            command.arg(flag).arg("127.0.0.1:0");
        }
        Self { command, ready_within: BUILT_WITHIN }
    }

    /// Adds a flag with its value; given twice, the later one counts.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// Adds a flag that stands by itself.
    #[must_use]
    pub fn switch(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the process and waits until it says that it is ready.
    ///
    /// Errors: it ended or said nothing in time; its log is part of the error.
    pub async fn ready(self) -> Result<Headgate> {
        let ready_within = self.ready_within;
        let mut headgate = self.spawn()?;
        let line = headgate.heard(ready_within, |_| true).await?;
        headgate.ready = serde_json::from_str(&line).with_context(|| format!("reading the ready line `{line}`"))?;
        Ok(headgate)
    }

    /// Starts the process and waits until it has written a line that `is_last`, as a person would.
    ///
    /// Errors: as for [`Start::ready`].
    pub async fn told(self, is_last: impl Fn(&str) -> bool) -> Result<Headgate> {
        let ready_within = self.ready_within;
        let mut headgate = self.spawn()?;
        headgate.heard(ready_within, is_last).await?;
        Ok(headgate)
    }

    /// Runs a process that is expected to end by itself; gives its status and everything it said on both streams.
    pub async fn ended(mut self) -> Result<(ExitStatus, String)> {
        self.command.stdin(Stdio::null()).kill_on_drop(true);
        let ending = self.command.output();
        let output = tokio::time::timeout(READY_WITHIN, ending).await.context("headgate did not end")??;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok((output.status, said.join("\n")))
    }

    fn spawn(mut self) -> Result<Headgate> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().context("starting headgate")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        runtime::tasks::spawn("testkit.log", async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock();
                if kept.len() == LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let (saying_to, saying) = mpsc::unbounded_channel();
        runtime::tasks::spawn("testkit.said", async move {
            let mut lines = BufReader::new(stdout).lines();
            // Nobody listens any more: the process may say what it likes.
            while let Ok(Some(line)) = lines.next_line().await {
                drop(saying_to.send(line));
            }
        });
        Ok(Headgate { child, ready: Value::Null, said: Vec::new(), saying, log })
    }
}

impl Headgate {
    /// Starts every role on a data directory.
    pub async fn up(data_dir: &Path) -> Result<Self> {
        Start::role("up", data_dir)?.ready().await
    }

    /// Waits for a line of standard output that `is_last`, and returns it.
    async fn heard(&mut self, within: Duration, is_last: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            match tokio::time::timeout(within, self.saying.recv()).await {
                Ok(Some(line)) => {
                    self.said.push(line.clone());
                    if is_last(&line) {
                        return Ok(line);
                    }
                }
                Ok(None) => {
                    let status = self.child.wait().await;
                    bail!("headgate ended before it was ready ({:?}, {status:?}):\n{}", self.said, self.log());
                }
                Err(_) => bail!("headgate was not ready within {within:?}:\n{}", self.log()),
            }
        }
    }

    /// Returns the lines of standard output that have been waited for.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Stops the process and returns everything that it ever wrote to standard output.
    pub async fn said_to_the_end(&mut self) -> Result<&[String]> {
        self.stop().await?;
        while let Some(line) = self.saying.recv().await {
            self.said.push(line);
        }
        Ok(&self.said)
    }

    /// Returns a field of the ready line as text; null is empty.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_default()
    }

    /// Returns the whole ready line.
    #[must_use]
    pub const fn ready_line(&self) -> &Value {
        &self.ready
    }

    /// Returns what the process logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Lists logged lines at WARN or ERROR.
    #[must_use]
    pub fn list_complaints(&self) -> Vec<String> {
        let is_complaint = |line: &&String| line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"");
        self.log.lock().iter().filter(is_complaint).cloned().collect()
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// The administrator of the first start, at the management API.
    pub fn as_admin(&self) -> Result<Actor> {
        Actor::new(self.field("api_url").trim_end_matches("/api/v1"), Some(self.field("access_token")))
    }

    /// A client with the key of the first start, at the gateway.
    pub fn as_client(&self) -> Result<Actor> {
        Actor::new(self.field("gateway_url"), Some(self.field("virtual_key")))
    }

    /// Nobody in particular, at the node's admin address.
    pub fn as_operator(&self) -> Result<Actor> {
        Actor::new(self.field("admin_url"), None)
    }

    /// Asks the process to stop and waits for its end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            self.signal("TERM").await?;
        }
        let ended = tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await;
        ended
            .with_context(|| format!("headgate did not stop within {STOPPED_WITHIN:?}:\n{}", self.log()))?
            .map_err(Into::into)
    }

    /// Ends the process without a word, as a power cut would.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing headgate")
    }

    /// Sends a signal by name.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await.context("running kill")?;
        if sent.success() { Ok(()) } else { bail!("kill -s {name} {pid} ended with {sent}") }
    }

    /// Waits until the node's admin address says that it is ready.
    pub async fn until_ready(&self) -> Result<()> {
        let operator = self.as_operator()?;
        until("the node is ready", Duration::from_secs(30), || async {
            let answer = operator.send(http::Method::GET, "/readyz", &[], None).await;
            Ok(answer.is_ok_and(|answer| answer.status.is_success()).then_some(()))
        })
        .await
    }
}

/// Makes a directory that a database server running as another user can enter.
pub fn data_dir() -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("headgate-").tempdir().context("making a data directory")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}
