//! `headgate audit verify FILE`: checks an exported audit log offline. Needs no database and no running Headgate.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::output;

/// Checks a file; an error names the first bad entry.
pub(crate) fn verify(file: &Path, public_key: Option<&str>, is_json: bool) -> Result<()> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let checked = control::audit_log::verify(BufReader::new(opened), public_key);
    let checked = checked.with_context(|| format!("{} does not verify", file.display()))?;
    if is_json {
        return output::line(&json!({ "is_valid": true, "verified": format!("{checked:?}") }).to_string());
    }
    output::line(&format!("{} verifies: {checked:?}", file.display()))
}
