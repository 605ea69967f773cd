//! Two nodes that count rate limits in one Redis: together exactly what a limit allows, and each its share while Redis is gone.

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::{Control, Gateway, RedisServer, Upstream, until};

use crate::again::{join, readiness, until_metric};
use crate::chat::{MODEL, chat, openai_at};

/// The longest that something between processes may take here.
const SOON: Duration = Duration::from_secs(60);

/// Waits until a node may take so much of the one limit there is.
async fn until_part(gateway: &Gateway, key: &str, part: u64) -> Result<()> {
    let client = gateway.as_client(key)?;
    until(&format!("the node's part is {part}"), SOON, || async {
        let answer = client.send(Method::GET, "/v1/headgate/limits", &[], None).await?;
        Ok((answer.json()["rate_limits"][0]["share"] == part).then_some(()))
    })
    .await
}

#[tokio::test]
async fn two_nodes_admit_exactly_the_limit_together_and_their_shares_without_redis() -> Result<()> {
    let (upstream, mut redis) = (Upstream::counting().await?, RedisServer::start());
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let (one, two) = (join(&control, &redis.url()).await?, join(&control, &redis.url()).await?);
    let nodes = [&one, &two];
    let key = control.first("virtual_key").to_owned();
    let path = format!("/api/v1/workspaces/{}/rate-limits", control.first("workspace_id"));
    let rates = json!([{"measure": "requests", "per": "day", "amount": 14}]);
    control.as_admin()?.post(&path, &json!({"name": "Fair use", "rates": rates})).await?;
    for node in nodes {
        until_metric(node, "headgate_redis_up 1").await?;
        until_part(node, &key, 14).await?;
    }
    // Neither is held to a half.
    let clients = [one.as_client(&key)?, two.as_client(&key)?];
    for _ in 0..9 {
        assert_eq!(chat(&clients[0], MODEL, "Hello").await?.status, 200);
    }
    let calls = (0..40).map(|n| chat(&clients[n % 2], MODEL, "Hello"));
    let answers = futures_util::future::try_join_all(calls).await?;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, upstream.n_calls()), (5, 14));
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (refused.status.as_u16(), refused.header("x-ratelimit-limit-requests")),
            (429, "14"),
            "{}",
            refused.text()
        );
        let wait: u64 = refused.header("retry-after").parse().context("a time")?;
        assert!((80_000..=90_000).contains(&wait), "{wait}");
    }

    redis.kill();
    for node in nodes {
        until_metric(node, "headgate_redis_up 0").await?;
        until_part(node, &key, 7).await?;
        let (status, said): (u16, Value) = readiness(node).await?;
        assert_eq!((status, said["degraded"]["redis"].is_string()), (200, true), "{said}");
    }
    // What this one let through is more than its share.
    assert_eq!(chat(&clients[0], MODEL, "Hello").await?.status, 429);
    redis.start_again();
    for node in nodes {
        until_metric(node, "headgate_redis_up 1").await?;
        until_part(node, &key, 14).await?;
        assert_eq!(readiness(node).await?.1.get("degraded"), None);
    }
    Ok(())
}
