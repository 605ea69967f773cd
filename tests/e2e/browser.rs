//! The console in real Chromium: sign in, create a key, make a call with it, see it in usage and audit, revoke it.
//!
//! The steps are in `node/console.mjs` and `node/revoke.mjs`; screenshots go to `screenshots/` in cargo's target folder, to be looked at.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::headgate::{Start, data_dir};
use testkit::{Control, Gateway, Script, Upstream};

use crate::chat::openai_at;

fn screenshots() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(3).context("the test lies in the target folder")?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn failed_of(results: &Value) -> Result<Vec<String>> {
    let steps = results["steps"].as_array().context("the story tells its steps")?;
    Ok(steps.iter().filter(|step| step["ok"] != true).map(ToString::to_string).collect())
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
    let failed = failed_of(&results)?;
    assert!(failed.is_empty(), "\n{}\n{}", failed.join("\n"), headgate.list_complaints().join("\n"));
    assert_eq!(results["violations"].as_array().map(Vec::len), Some(0), "{:#}", results["violations"]);
    assert!(results["n_screenshots"].as_u64() >= Some(10), "{results}");
    assert!(upstream.n_calls() > 0, "the call made with the new key reached the upstream");
    assert!(headgate.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_key_revoked_in_the_console_is_refused_on_separate_gateways_within_a_second() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
    ];
    let mut ready = control.process.ready_line().clone();
    ready["gateway_urls"] = json!(gateways.each_ref().map(|gateway| gateway.process.field("gateway_url")));
    let results =
        Script::new("node/revoke.mjs")?.arg(&ready.to_string()).arg(&screenshots()?.to_string_lossy()).run().await?;
    let failed = failed_of(&results)?;
    assert!(failed.is_empty(), "\n{}\n{}", failed.join("\n"), control.process.list_complaints().join("\n"));
    Ok(())
}
