//! What the kernel accounts to a process: CPU time and resident memory.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks of the kernel's process accounting per second; 100 on every Linux that is not built for something special.
const TICKS_PER_SECOND: u64 = 100;

/// A helper process of the benchmark: this executable in another role. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

impl Helper {
    /// Starts a role and waits for the address that it prints.
    pub(crate) fn start(words: &[&str]) -> Result<Self> {
        let own = std::env::current_exe().context("finding this executable")?;
        let mut child = Command::new(own).args(words).stderr(Stdio::piped()).spawn().context("starting a helper")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let mut line = String::new();
        BufReader::new(stderr).read_line(&mut line).context("reading the helper's address")?;
        let address = line.trim().strip_prefix("listening ").with_context(|| format!("the helper said `{line}`"))?;
        Ok(Self { child, address: address.parse().context("parsing the helper's address")? })
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns user and system time of a process and all its threads, from `/proc/PID/stat` (fields 14 and 15).
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's accounting")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Returns the resident memory of a process in megabytes, from `/proc/PID/status`.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading the process's memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has VmRSS")?;
    let kilobytes: u32 = line.trim().trim_end_matches(" kB").parse().context("parsing VmRSS")?;
    Ok(f64::from(kilobytes) / 1024.0)
}
