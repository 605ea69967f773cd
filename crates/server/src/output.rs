//! Standard output: results for the caller, one line at a time. Logs never go there.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

/// Writes one line and flushes it, so that a waiting reader has it at once.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("writing to standard output")
}
