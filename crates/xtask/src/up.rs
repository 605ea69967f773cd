//! `build` and `up`: the console, then the server with the console inside, then `headgate up`.
//!
//! Everything that is built reports to standard error; standard output belongs to `headgate up`.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::console::{self, Profile};
use crate::repo::{Step, cargo, root, target_dir};
use crate::suite;

/// Builds the executable with the console inside and returns its path.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    console::build(profile)?;
    let wanted: &[&str] = match profile {
        // Dependencies with the features that the suite gives them, and no target besides the executable (there are no examples;
        // naming them makes cargo count what only tests need): whoever runs the tests, too, does not compile everything twice.
        Profile::Debug => &["build", "--workspace", "--bin", "headgate", "--examples", "--features", suite::FEATURES],
        Profile::Release => &["build", "--package", "headgate-server", "--features", "console", "--release"],
    };
    cargo(wanted).run().context("building the server")?;
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    Ok(target_dir().join(folder).join("headgate"))
}

/// Builds everything, then becomes `headgate up` with the flags given.
pub(crate) fn up(flags: &[String]) -> Result<()> {
    let profile = if flags.iter().any(|flag| flag == "--debug") { Profile::Debug } else { Profile::Release };
    let flags: Vec<&String> = flags.iter().filter(|flag| *flag != "--debug").collect();
    let headgate = build(profile)?;
    let mut command = Step::new(&headgate).args(&["up"]).args(&flags).into_command();
    command.current_dir(std::env::current_dir().unwrap_or_else(|_| root()));
    // Becoming it, and not starting it: signals and the exit code need no relay.
    let error = command.exec();
    Err(error).with_context(|| format!("starting {}", headgate.display()))
}
