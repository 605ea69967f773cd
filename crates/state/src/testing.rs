//! A private Redis server for a test: on a socket in a folder of its own, without files, gone with the value.

#![expect(clippy::missing_panics_doc, reason = "all of it is for tests, which panic")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a server may take to start.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one. Panics when there is no `redis-server` or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { folder, child: None };
        server.start_again();
        server
    }

    /// Starts the server anew at the same address, empty.
    pub fn start_again(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server starts; Debian's package is `redis-server`"));
        let client = redis::Client::open(self.url()).expect("an address");
        let since = Instant::now();
        while client.get_connection().is_err() {
            assert!(since.elapsed() < START_WITHIN, "redis-server does not answer");
            std::thread::yield_now();
        }
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Returns the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Runs a command and returns its answer as text.
    pub fn run(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection().expect("a connection");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer: redis::Value = command.query(&mut connection).expect("an answer");
        format!("{answer:?}")
    }

    /// Returns everything that the server holds: keys, and values as they lie there.
    #[must_use]
    pub fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection().expect("a connection");
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).expect("keys");
        let strings = keys.into_iter().filter_map(|key| {
            let value: Result<Vec<u8>, _> = redis::cmd("GET").arg(&key).query(&mut connection);
            Some((key, value.ok()?))
        });
        strings.collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
