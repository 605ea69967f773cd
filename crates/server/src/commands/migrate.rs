//! `headgate migrate`: applies what is missing to the database and says what it applied.

use anyhow::Result;
use domain::Clock as _;
use runtime::clock::SystemClock;
use runtime::config::Resolved;
use serde_json::json;

use crate::data_dir::DataDir;
use crate::{database, output};

/// Applies missing migrations.
pub(crate) async fn run(settings: &Resolved, data_dir: &DataDir, is_json: bool) -> Result<()> {
    let opened = database::open(settings, data_dir.path().to_path_buf()).await?;
    let applied = store::migrate::run(&opened.database, SystemClock.now()).await.map_err(database::explained);
    opened.close().await?;
    let applied = applied?;
    if is_json {
        return output::line(&json!({ "applied": applied }).to_string());
    }
    for name in &applied {
        output::line(&format!("applied {name}"))?;
    }
    output::line(if applied.is_empty() { "the schema is up to date" } else { "the schema is now up to date" })
}
