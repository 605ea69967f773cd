//! `cargo xtask bench [NAME]`: builds the release server and the harness, then runs the named cases.
//!
//! `push` is the bench target of that name in the server crate, where both planes are at hand, `policy`,
//! `purse`, `throttle` and `counts` (of `state`) those of their crates, `ingest` and `usage-pages` those of the store; `console` is a
//! script that drives a browser; everything else is the target `load` of the tests crate. What they measure and how is said there.

use anyhow::{Context as _, Result, bail};

use crate::repo::{Step, cargo};
use crate::suite;

/// Builds what is measured and what measures, then measures; `arguments` go to the harness.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let [name, rest @ ..] = arguments
        && name == "console"
    {
        return console(rest);
    }
    let alone: Option<&[&str]> = match arguments.first().map(String::as_str) {
        Some("push") => Some(&["bench", "--package", "headgate-server", "--bench", "push", "--"]),
        Some("purse") => {
            Some(&["bench", "--package", "headgate-purse", "--features", "test-support", "--bench", "purse", "--"])
        }
        Some("ingest") => Some(&["bench", "--package", "headgate-store", "--bench", "ingest", "--"]),
        Some("usage-pages") => {
            Some(&["bench", "--package", "headgate-store", "--features", "test-support", "--bench", "pages", "--"])
        }
        Some("throttle") => Some(&["bench", "--package", "headgate-throttle", "--bench", "throttle", "--"]),
        Some("counts") => {
            Some(&["bench", "--package", "headgate-state", "--features", "test-support", "--bench", "counts", "--"])
        }
        Some("policy") => {
            Some(&["bench", "--package", "headgate-policy", "--features", "test-support", "--bench", "policy", "--"])
        }
        _ => None,
    };
    if let Some(harness) = alone {
        let rest = arguments.get(1..).unwrap_or_default();
        return cargo(harness).args(rest).run().context("running the benchmark");
    }
    // Without the console, which serves no call.
    cargo(&["build", "--package", "headgate-server", "--release"]).run().context("building the server")?;
    // The harness finds the executable beside itself.
    let harness = ["bench", "--package", "headgate-tests", "--bench", "load", "--"];
    cargo(&harness).args(arguments).run().context("running the benchmarks")
}

/// Measures the console of a Headgate that runs: its size, its first paint, and how soon it can be used.
fn console(arguments: &[String]) -> Result<()> {
    let [ready, rest @ ..] = arguments else {
        bail!("name the file that holds the line of `headgate up --json`: cargo xtask bench console ready.json")
    };
    // Relative to where the task was called, as a person means it; the script is started in the root of the checkout.
    let ready = std::path::absolute(ready)?.to_string_lossy().into_owned();
    suite::link_node_modules()?;
    let script = Step::new("node").args(&["tests/e2e/node/paint.mjs", &ready]).args(rest);
    script.run().context("measuring the console")
}
