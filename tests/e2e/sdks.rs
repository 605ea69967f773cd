//! Unchanged vendor SDKs against Headgate, with aimock as the upstream of both providers: every client dialect reaches
//! every provider dialect.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::headgate::{Start, data_dir};
use testkit::{Aimock, Headgate, Script, until};

use crate::chat::LEDGER_WITHIN;

const OPENAI_MODEL: &str = "gpt-4o-mini";
const ANTHROPIC_MODEL: &str = "claude-opus-4-6";
const SCENARIOS: [&str; 7] = ["chat", "stream", "tools", "schema", "image", "error", "disconnect"];

async fn start(aimock: &Aimock, folder: &std::path::Path) -> Result<Headgate> {
    Start::role("up", folder)?
        .env("OPENAI_API_KEY", "sk-openai-upstream-secret")
        .env("OPENAI_BASE_URL", &format!("{}/v1", aimock.url()))
        .env("ANTHROPIC_API_KEY", "sk-ant-upstream-secret")
        .env("ANTHROPIC_BASE_URL", aimock.url())
        .ready()
        .await
}

/// Runs one SDK script against both providers and fails with every scenario that failed.
async fn run_matrix(script: &str) -> Result<()> {
    let aimock = Aimock::start().await?;
    let folder = data_dir()?;
    let mut headgate = start(&aimock, folder.path()).await?;
    let (gateway, key) = (headgate.field("gateway_url").to_owned(), headgate.field("virtual_key").to_owned());
    let mut failures = Vec::new();
    for model in [OPENAI_MODEL, ANTHROPIC_MODEL] {
        let results = Script::new(script)?.arg(&gateway).arg(&key).arg(model).run().await?;
        for scenario in SCENARIOS {
            if results[scenario]["ok"] != true {
                failures.push(format!("{script} → {model}: {scenario}: {}", results[scenario]["why"]));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}\n\n{}", failures.join("\n"), headgate.list_complaints().join("\n"));
    check_upstream(&aimock, &key).await?;
    check_disconnects(&headgate).await?;
    assert!(headgate.stop().await?.success());
    Ok(())
}

/// What reached the upstreams: each in its own dialect, images included, never the client's key.
async fn check_upstream(aimock: &Aimock, key: &str) -> Result<()> {
    let calls = aimock.calls().await?;
    assert!(!json!(calls).to_string().contains(key), "the virtual key was forwarded");
    for (path, secret_in) in [("/v1/chat/completions", "authorization"), ("/v1/messages", "x-api-key")] {
        let of_path: Vec<&Value> = calls.iter().filter(|call| call["path"] == path).collect();
        assert!(!of_path.is_empty(), "nothing reached {path}");
        for call in &of_path {
            let secret = call["headers"][secret_in].as_str().unwrap_or_default();
            assert!(secret.contains("upstream-secret"), "{path}: {secret_in} is `{secret}`");
        }
        let has_image = of_path.iter().any(|call| {
            let parts = call["body"]["messages"][0]["content"].as_array().cloned().unwrap_or_default();
            parts.iter().any(|part| match path {
                "/v1/messages" => part["source"]["type"] == "base64" && part["source"]["media_type"] == "image/png",
                _ => part["image_url"]["url"].as_str().is_some_and(|url| url.starts_with("data:image/png;base64,")),
            })
        });
        assert!(has_image, "no image reached {path}");
        let left = of_path.iter().filter(|call| call["ended"] == "hung up").count();
        assert!(left > 0, "{path}: the client's disconnect did not reach the upstream");
    }
    Ok(())
}

/// A client that leaves is still billed: its event is there, with that outcome.
async fn check_disconnects(headgate: &Headgate) -> Result<()> {
    let admin = headgate.as_admin()?;
    let path = format!("/api/v1/workspaces/{}/logs?outcome=client_closed&limit=100", headgate.field("workspace_id"));
    until("both disconnects are in the ledger", LEDGER_WITHIN, || async {
        let page = admin.get(&path).await?;
        let items = page["items"].as_array().context("a list has items")?;
        Ok((items.len() >= 2).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_openai_sdk_of_npm_reaches_both_providers() -> Result<()> {
    run_matrix("node/openai_client.mjs").await
}

#[tokio::test]
async fn the_anthropic_sdk_of_npm_reaches_both_providers() -> Result<()> {
    run_matrix("node/anthropic_client.mjs").await
}

#[tokio::test]
async fn the_openai_sdk_of_pypi_reaches_both_providers() -> Result<()> {
    run_matrix("python/openai_client.py").await
}

#[tokio::test]
async fn the_anthropic_sdk_of_pypi_reaches_both_providers() -> Result<()> {
    run_matrix("python/anthropic_client.py").await
}
