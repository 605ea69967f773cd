//! The console in real Chromium: every page in each of its states, every flow as a person goes it, by mouse and by keyboard alone.
//!
//! The steps are in `node/console/*.mjs`, a story each with a Headgate of its own; screenshots go to `screenshots/` in cargo's target
//! folder, to be looked at. Invariant: a story fails for a step, for a serious finding of axe, and for every complaint in the
//! browser's own console that its step did not mean to provoke.

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

fn list<'a>(results: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    results[name].as_array().with_context(|| format!("the story tells its {name}"))
}

/// Tells a story to Headgate as its ready line describes it, and returns what the story gave back.
async fn tell(story: &str, ready: &Value, complaints: impl Fn() -> Vec<String>) -> Result<Value> {
    let script = Script::new(&format!("node/console/{story}.mjs"))?;
    let script = script.arg(&ready.to_string()).arg(&screenshots()?.to_string_lossy());
    let results = script.run().await.with_context(|| complaints().join("\n"))?;
    let steps = list(&results, "steps")?;
    let failed: Vec<String> = steps.iter().filter(|step| step["ok"] != true).map(ToString::to_string).collect();
    assert!(!steps.is_empty() && failed.is_empty(), "\n{}\n{}", failed.join("\n"), complaints().join("\n"));
    assert!(list(&results, "violations")?.is_empty(), "{:#}", results["violations"]);
    assert!(list(&results, "console_errors")?.is_empty(), "{:#}", results["console_errors"]);
    Ok(results["told"].clone())
}

/// Tells a story to a fresh Headgate of one process with an upstream of its own.
async fn tell_of_one(story: &str) -> Result<()> {
    let upstream = Upstream::counting().await?;
    let folder = data_dir()?;
    let variables = openai_at(&upstream.url());
    let start = variables.iter().fold(Start::role("up", folder.path())?, |start, (name, value)| start.env(name, value));
    let mut headgate = start.ready().await?;
    tell(story, headgate.ready_line(), || headgate.list_complaints()).await?;
    assert!(headgate.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_person_can_go_from_sign_in_to_a_revoked_key() -> Result<()> {
    tell_of_one("keys").await
}

#[tokio::test]
async fn the_main_way_can_be_gone_by_keyboard_alone() -> Result<()> {
    tell_of_one("keyboard").await
}

#[tokio::test]
async fn every_page_with_things_on_it_is_sound_in_both_themes_and_widths() -> Result<()> {
    tell_of_one("pages").await
}

#[tokio::test]
async fn every_page_says_that_it_loads_has_failed_or_is_empty() -> Result<()> {
    tell_of_one("states").await
}

#[tokio::test]
async fn people_roles_tokens_and_workspaces_are_managed() -> Result<()> {
    tell_of_one("people").await
}

#[tokio::test]
async fn credentials_routes_and_prices_are_managed() -> Result<()> {
    tell_of_one("routes").await
}

#[tokio::test]
async fn a_key_is_held_to_its_budget_its_rate_and_a_kill_switch_made_by_their_forms() -> Result<()> {
    tell_of_one("money").await
}

#[tokio::test]
async fn nodes_join_with_a_token_of_the_console_and_refuse_a_key_within_a_second_of_its_end() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let complaints = || control.process.list_complaints();
    let told = tell("join", control.process.ready_line(), complaints).await?;
    let token = told["join_token"].as_str().context("the story made a join token")?;
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join_with(control.sync_address(), token).await?,
    ];
    let mut ready = control.process.ready_line().clone();
    ready["gateway_urls"] = json!(gateways.each_ref().map(|gateway| gateway.process.field("gateway_url")));
    // So that it can damage what a node is sent.
    let password = std::fs::read_to_string(control.folder().join("postgres.password"))?;
    ready["database"] = json!({"host": control.folder().join("postgres/run"), "password": password.trim()});
    tell("nodes", &ready, complaints).await?;
    Ok(())
}
