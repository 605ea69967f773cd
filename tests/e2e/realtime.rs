//! Realtime sessions: the vendor's own SDK, a WebSocket to a real upstream, the bill of each turn, a key that is revoked meanwhile.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use testkit::{Aimock, Control, Gateway, Script, until};

use crate::chat::{LEDGER_WITHIN, MODEL, openai_at};

/// The model that is built in.
const ECHO: &str = "echo/echo-1";

fn script(gateway: &Gateway, key: &str, model: &str, scenario: &str) -> Result<Script> {
    let script = Script::new("python/realtime_client.py")?;
    let url = gateway.process.field("gateway_url").trim_end_matches('/').to_owned();
    Ok(script.arg(&url).arg(key).arg(model).arg(scenario))
}

/// The sessions that reached the upstream.
async fn sessions_at(aimock: &Aimock) -> Result<Vec<Value>> {
    let calls = aimock.calls().await?;
    Ok(calls
        .into_iter()
        .filter(|call| call["path"].as_str().is_some_and(|path| path.starts_with("/v1/realtime")))
        .collect())
}

/// The events of an endpoint in the ledger.
async fn booked(control: &Control, endpoint: &str, n: usize) -> Result<Vec<Value>> {
    until(&format!("{n} events of {endpoint}"), LEDGER_WITHIN, || async {
        let events = control.ledger().await?;
        let found: Vec<Value> = events.into_iter().filter(|event| event["endpoint"] == endpoint).collect();
        Ok((found.len() >= n).then_some(found))
    })
    .await
}

#[tokio::test]
async fn the_vendors_sdk_holds_sessions_that_are_billed_by_turns_and_end_with_their_key() -> Result<()> {
    let aimock = Aimock::start().await?;
    let variables = openai_at(aimock.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let gateway = Gateway::join(&control, control.sync_address()).await?;
    let (key_id, key) = control.issue_key("voice").await?;
    let client = gateway.as_client(&key)?;
    until("the node knows the key", Duration::from_secs(10), || async {
        Ok(client.get("/v1/models").await.is_ok().then_some(()))
    })
    .await?;

    let said = script(&gateway, &key, ECHO, "main")?.run().await?;
    assert_eq!(said["texts"], json!(["Hello there", "And once more"]), "{said}");
    assert!(said["refused"].as_str().is_some_and(|text| text.contains("404")), "{said}");
    let mut turns = booked(&control, "realtime", 2).await?;
    // Each has the conversation so far as its input.
    turns.sort_by_key(|turn| turn["usage"]["input"].as_u64());
    for (turn, usage) in turns.iter().zip(said["usages"].as_array().into_iter().flatten()) {
        let (input, output) = (&turn["usage"]["input"], &turn["usage"]["output"]);
        assert_eq!((input, output), (&usage["input"], &usage["output"]), "as the client was told: {turn}");
        assert_eq!((&turn["outcome"], &turn["model"]), (&json!("success"), &json!(ECHO)));
    }
    let sessions = booked(&control, "realtime_session", 2).await?;
    let mut ends: Vec<(u64, &str)> = sessions
        .iter()
        .map(|it| (it["status"].as_u64().unwrap_or(0), it["outcome"].as_str().unwrap_or_default()))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, [(101, "success"), (404, "rejected")], "{sessions:?}");

    let said = script(&gateway, &key, MODEL, "main")?.run().await?;
    assert_eq!(said["texts"], json!(["Hello from the upstream.", "Hello from the upstream."]), "{said}");
    let reached = sessions_at(&aimock).await?;
    assert_eq!(reached[0]["path"], format!("/v1/realtime?model={MODEL}"));
    assert_eq!(reached[0]["headers"]["authorization"], "Bearer sk-upstream-secret-000000");
    assert!(!json!(reached).to_string().contains(&key), "the virtual key was forwarded");

    let talking = script(&gateway, &key, MODEL, "revoked")?.run();
    let revoking = async {
        until("the session is open", Duration::from_secs(20), || async {
            Ok((sessions_at(&aimock).await?.len() >= 2).then_some(()))
        })
        .await?;
        let path = format!("/api/v1/workspaces/{}/virtual-keys/{key_id}/revoke", control.first("workspace_id"));
        control.as_admin()?.post(&path, &json!({})).await
    };
    let (told, revoked) = tokio::join!(talking, revoking);
    revoked?;
    assert_eq!(told?, json!({"code": "key_revoked", "close": 1008}));
    Ok(())
}

#[tokio::test]
async fn the_vendors_sdk_talks_with_a_model_of_geminis() -> Result<()> {
    let aimock = Aimock::start().await?;
    let control = Control::start(&[]).await?;
    let gateway = Gateway::join(&control, control.sync_address()).await?;
    let admin = control.as_admin()?;
    let credentials = format!("/api/v1/organizations/{}/credentials", control.first("organization_id"));
    let body =
        json!({"provider": "gemini", "name": "gemini", "base_url": aimock.url(), "secret": "AIza-upstream-000000"});
    let credential = admin.post(&credentials, &body).await?;
    let deployments = format!("/api/v1/workspaces/{}/deployments", control.first("workspace_id"));
    let body = json!({"name": "talk", "provider": "gemini", "upstream_model": "gemini-3.8-live", "credential_id": credential["id"]});
    admin.post(&deployments, &body).await?;
    let (_, key) = control.issue_key("voice").await?;
    let client = gateway.as_client(&key)?;
    until("the node knows the model", Duration::from_secs(10), || async {
        let listed = client.get("/v1/models").await;
        Ok(listed.is_ok_and(|listed| listed.to_string().contains("\"talk\"")).then_some(()))
    })
    .await?;

    let said = script(&gateway, &key, "talk", "main")?.run().await?;
    assert_eq!(said["texts"], json!(["Hello from the upstream.", "Hello from the upstream."]), "{said}");
    let calls = aimock.calls().await?;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let reached = calls.iter().find(|call| call["path"] == path).expect("it was reached");
    assert_eq!(reached["headers"]["x-goog-api-key"], "AIza-upstream-000000");
    assert!(!json!(calls).to_string().contains(&key), "the virtual key was forwarded");
    // This upstream never says what it used.
    for turn in booked(&control, "realtime", 2).await? {
        let facts = (&turn["outcome"], &turn["upstream_model"], &turn["is_estimated"]);
        assert_eq!(facts, (&json!("success"), &json!("gemini-3.8-live"), &json!(true)), "{turn}");
    }
    Ok(())
}
