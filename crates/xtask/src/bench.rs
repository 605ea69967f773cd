//! `cargo xtask bench [NAME]`: builds the release server and the load harness, then runs the named cases.
//!
//! The harness is the executable `bench` of the tests crate; what it measures and how is said there.

use anyhow::{Context as _, Result};

use crate::console::Profile;
use crate::repo::{Step, cargo, target_dir};
use crate::up;

/// Builds what is measured and what measures, then measures; `arguments` go to the harness.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let headgate = up::build(Profile::Release)?;
    cargo(&["build", "--release", "--package", "headgate-tests", "--bin", "bench"])
        .run()
        .context("building the harness")?;
    let harness = target_dir().join("release/bench");
    Step::new(harness).env("HEADGATE_BENCH_SERVER", headgate).args(arguments).run()
}
