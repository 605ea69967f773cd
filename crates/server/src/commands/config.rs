//! `headgate config`: every setting with its value and where it came from, secrets hidden.

use anyhow::Result;
use runtime::config::Resolved;
use serde_json::{Map, Value, json};

use crate::output;

/// Prints the effective configuration.
pub(crate) fn run(settings: &Resolved, is_json: bool) -> Result<()> {
    let shown = settings.list_shown();
    if is_json {
        let fields = shown
            .into_iter()
            .map(|(name, value, origin)| (name.to_owned(), json!({"value": value, "from": origin.to_string()})));
        return output::line(&Value::Object(fields.collect::<Map<_, _>>()).to_string());
    }
    let widest = shown.iter().map(|(name, _, _)| name.len()).max().unwrap_or(0);
    for (name, value, origin) in shown {
        output::line(&format!("{name:widest$} = {value}  # {origin}"))?;
    }
    Ok(())
}
