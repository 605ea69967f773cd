//! `cargo xtask bench [NAME]`: builds the release server and the harness, then runs the named cases.
//!
//! The harness is the bench target `load` of the tests crate; what it measures and how is said there.

use anyhow::{Context as _, Result};

use crate::console::Profile;
use crate::repo::cargo;
use crate::up;

/// Builds what is measured and what measures, then measures; `arguments` go to the harness.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    up::build(Profile::Release)?;
    // The harness finds the executable beside itself.
    let harness = ["bench", "--package", "headgate-tests", "--bench", "load", "--"];
    cargo(&harness).args(arguments).run().context("running the benchmarks")
}
