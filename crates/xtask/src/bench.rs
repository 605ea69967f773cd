//! `cargo xtask bench [NAME]`: builds the release server and the harness, then runs the named cases.
//!
//! `push` is the bench target of that name in the server crate, where both planes are at hand; everything else is the target
//! `load` of the tests crate. What they measure and how is said there.

use anyhow::{Context as _, Result};

use crate::repo::cargo;

/// Builds what is measured and what measures, then measures; `arguments` go to the harness.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.first().is_some_and(|name| name == "push") {
        let harness = ["bench", "--package", "headgate-server", "--bench", "push"];
        return cargo(&harness).run().context("running the benchmark");
    }
    // Without the console, which serves no call.
    cargo(&["build", "--package", "headgate-server", "--release"]).run().context("building the server")?;
    // The harness finds the executable beside itself.
    let harness = ["bench", "--package", "headgate-tests", "--bench", "load", "--"];
    cargo(&harness).args(arguments).run().context("running the benchmarks")
}
