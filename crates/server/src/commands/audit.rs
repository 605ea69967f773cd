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
    let checked = operation::audit_log::verify(BufReader::new(opened), public_key);
    match (&checked, is_json) {
        (Ok(verified), true) => output::line(&json!({ "is_valid": true, "verified": verified }).to_string())?,
        (Ok(verified), false) => output::line(&format!("{} verifies: {verified}", file.display()))?,
        (Err(error), true) => {
            let first_bad_seq = error.first_bad_seq();
            output::line(
                &json!({ "is_valid": false, "first_bad_seq": first_bad_seq, "detail": error.to_string() }).to_string(),
            )?;
        }
        (Err(_), false) => {}
    }
    checked.map(drop).with_context(|| format!("{} does not verify", file.display()))
}
