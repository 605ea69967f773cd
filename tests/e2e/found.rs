//! A key that somebody found and posted is refused on gateways that are processes of their own.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::json;
use testkit::{Actor, Control, Gateway, Upstream, until};

use crate::chat::{MODEL, chat, openai_at};

#[tokio::test]
async fn a_key_that_was_found_is_refused_on_a_separate_gateway_soon_after_it_is_posted() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let gateway = Gateway::join(&control, control.sync_address()).await?;
    let (key_id, key) = control.issue_key("to be found").await?;
    let client = gateway.as_client(&key)?;
    until("the new key works", Duration::from_secs(5), || async {
        Ok((chat(&client, MODEL, "Hi").await?.status == 200).then_some(()))
    })
    .await?;

    let finder = Actor::new(control.first("api_url").trim_end_matches("/api/v1"), None)?;
    let told = finder.get("/.well-known/secret-scanning").await?;
    let place = told["report"]["url"].as_str().unwrap_or_default().to_owned();
    let path = place.find("/api/").map_or("", |at| &place[at..]);
    let answer = finder.send(Method::POST, path, &[], Some(&json!({ "token": key }))).await?;
    assert_eq!(answer.status, 202, "{}", answer.text());

    let refused = until("the found key is refused", Duration::from_secs(5), || async {
        let answer = chat(&client, MODEL, "Hi").await?;
        Ok((answer.status == 401).then_some(answer))
    })
    .await?;
    assert_eq!(refused.code(), "key_revoked", "{}", refused.text());
    let path = format!("/api/v1/workspaces/{}/virtual-keys/{key_id}", control.first("workspace_id"));
    assert_eq!(control.as_admin()?.get(&path).await?["revoked_because"], "found");
    Ok(())
}
