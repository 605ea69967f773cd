//! The console in real Chromium: sign in, create a key, make a call with it, see it in usage and audit, revoke it.
//!
//! The steps are in `node/console.mjs`; screenshots go to `screenshots/` in cargo's target folder, to be looked at.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use testkit::headgate::{Start, data_dir};
use testkit::{Script, Upstream};

use crate::chat::openai_at;

fn screenshots() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(3).context("the test lies in the target folder")?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[tokio::test]
async fn a_person_can_go_from_sign_in_to_a_revoked_key() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let folder = data_dir()?;
    let variables = openai_at(&upstream.url());
    let start = variables.iter().fold(Start::role("up", folder.path())?, |start, (name, value)| start.env(name, value));
    let mut headgate = start.ready().await?;
    let screenshots = screenshots()?;
    let results = Script::new("node/console.mjs")?
        .arg(&headgate.ready_line().to_string())
        .arg(&screenshots.to_string_lossy())
        .run()
        .await
        .with_context(|| headgate.list_complaints().join("\n"))?;
    let failed: Vec<String> = results["steps"]
        .as_array()
        .context("the story tells its steps")?
        .iter()
        .filter(|step| step["ok"] != true)
        .map(ToString::to_string)
        .collect();
    assert!(failed.is_empty(), "\n{}\n{}", failed.join("\n"), headgate.list_complaints().join("\n"));
    assert_eq!(results["violations"].as_array().map(Vec::len), Some(0), "{:#}", results["violations"]);
    assert!(results["n_screenshots"].as_u64() >= Some(10), "{results}");
    assert!(upstream.n_calls() > 0, "the call made with the new key reached the upstream");
    assert!(headgate.stop().await?.success());
    Ok(())
}
