//! Foreign programs that take part in a test: vendor SDKs in Node and Python, the mock provider, the browser.
//!
//! `cargo xtask test` installs what they need and links it beside the scripts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::actor::Actor;

const LONGEST: Duration = Duration::from_secs(300);

/// A script of `tests/e2e/node` or `tests/e2e/python`.
#[derive(Debug)]
pub struct Script {
    command: Command,
    name: String,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e")
}

impl Script {
    /// A script by its path below `tests/e2e`: `node/openai_client.mjs`, `python/openai_client.py`. A folder of Python scripts
    /// has an environment of its own.
    pub fn new(path: &str) -> Result<Self> {
        let file = scripts().join(path);
        let (program, needs) = match path.split('/').next() {
            Some("python") => {
                let python = file.with_file_name(".venv").join("bin/python");
                (python.clone(), python)
            }
            _ => (PathBuf::from("node"), scripts().join("node/node_modules")),
        };
        if !needs.exists() {
            bail!("{} is not there: run the tests with `cargo xtask test`, which installs it", needs.display());
        }
        let mut command = Command::new(program);
        command.arg(file);
        Ok(Self::started_with(command, path))
    }

    /// A program as a document shows it: `language` is the word behind its fence.
    pub fn of_document(language: &str, text: &str) -> Result<Self> {
        let mut command = match language {
            "bash" | "sh" => {
                let mut command = Command::new("bash");
                command.arg("-euc");
                command
            }
            "python" => {
                let mut command = Command::new(scripts().join("python/.venv/bin/python"));
                command.arg("-c");
                command
            }
            "typescript" | "ts" => {
                let mut command = Command::new("node");
                // Packages are looked for from the folder that it runs in.
                command.current_dir(scripts().join("node")).args(["--input-type=module", "-e"]);
                command
            }
            other => bail!("nothing here runs `{other}`"),
        };
        command.arg(text);
        Ok(Self::started_with(command, language))
    }

    fn started_with(mut command: Command, name: &str) -> Self {
        command.stdin(Stdio::null()).kill_on_drop(true);
        // What all of them share lies beside the first folder's.
        command.env("PYTHONPATH", scripts().join("python"));
        // The SDKs read these; only what the test says may count.
        for name in [
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "AWS_BEARER_TOKEN_BEDROCK",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "AWS_ENDPOINT_URL",
            "CO_API_KEY",
            "CO_API_URL",
            "HTTP_PROXY",
            "HTTPS_PROXY",
        ] {
            command.env_remove(name);
        }
        Self { command, name: name.to_owned() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the script to its end and reads the last line it printed as JSON, whatever its exit code.
    ///
    /// Errors: it printed no JSON; what it said is part of the error.
    pub async fn run(self) -> Result<Value> {
        let name = self.name.clone();
        let output = self.ended().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .with_context(|| format!("{name} ended with {}:\n{said}\n{complained}", output.status))
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// Errors: it failed; what it said is part of the error.
    pub async fn text(self) -> Result<String> {
        let name = self.name.clone();
        let output = self.ended().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{name} ended with {}:\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    async fn ended(mut self) -> Result<std::process::Output> {
        let running = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = tokio::time::timeout(LONGEST, running).await;
        Ok(output.with_context(|| format!("{} did not end within {LONGEST:?}", self.name))??)
    }

    /// Starts the script as a server that says where it is in its first line, as JSON: `{"url"}`.
    pub async fn serve(mut self) -> Result<Peer> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = self.command.spawn().with_context(|| format!("starting {}", self.name))?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let line = tokio::time::timeout(LONGEST, BufReader::new(stdout).lines().next_line()).await??;
        let line = line.with_context(|| format!("{} ended before it was ready", self.name))?;
        let ready: Value = serde_json::from_str(&line)?;
        let url = ready["url"].as_str().context("the script says its address")?.to_owned();
        Ok(Peer { url, _stdin: child.stdin.take(), _child: child })
    }
}

/// A script that serves HTTP until it is dropped.
#[derive(Debug)]
pub struct Peer {
    url: String,
    _child: Child,
    // The script ends with its standard input.
    _stdin: Option<ChildStdin>,
}

impl Peer {
    /// Returns its address, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The npm package `@copilotkit/aimock` as the upstream of every provider, behind a recorder.
#[derive(Debug)]
pub struct Aimock(Peer);

impl Aimock {
    /// Starts it on a free port.
    pub async fn start() -> Result<Self> {
        Ok(Self(Script::new("node/upstream.mjs")?.serve().await?))
    }

    /// Returns its address, without `/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Returns every request it saw: `method`, `path`, `headers`, `body`, `status`, `ended`.
    pub async fn calls(&self) -> Result<Vec<Value>> {
        let seen = Actor::new(self.url(), None)?.get("/__record").await?;
        Ok(seen.as_array().cloned().unwrap_or_default())
    }

    /// Forgets every request it saw.
    pub async fn forget(&self) -> Result<()> {
        Actor::new(self.url(), None)?.send(http::Method::DELETE, "/__record", &[], None).await?;
        Ok(())
    }
}
