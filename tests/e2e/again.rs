//! Two nodes and one Redis: answers given again anywhere, and a Redis that dies under them without a call noticing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::{Answer, Control, Gateway, RedisServer, Upstream, until};

use crate::chat::{MODEL, chat, ledger_of, openai_at};

/// The longest that something between processes may take here.
const SOON: Duration = Duration::from_secs(30);

fn cache_of(answer: &Answer) -> &str {
    answer.headers.get("x-headgate-cache").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Makes the route `kept` over the model of the scripted upstream.
async fn make_route(control: &Control) -> Result<()> {
    let (admin, workspace) = (control.as_admin()?, control.first("workspace_id"));
    let deployments = testkit::fleet::list_all(&admin, &format!("/api/v1/workspaces/{workspace}/deployments")).await?;
    let id = deployments.iter().find(|it| it["upstream_model"] == MODEL).and_then(|it| it["id"].as_str());
    let target = json!({"deployment_id": id.context("the model is deployed")?, "priority": 0, "weight": 1});
    let rule = json!({"ttl_s": 600, "scope": "environment"});
    let body = json!({"name": "kept", "targets": [target], "rules": {"cache": rule}});
    admin.post(&format!("/api/v1/workspaces/{workspace}/routes"), &body).await?;
    Ok(())
}

/// Joins a node that shares a Redis with others, and waits for it as long as a busy machine may take.
pub(crate) async fn join(control: &Control, url: &str) -> Result<Gateway> {
    let mut gateway = Gateway::join(control, control.sync_address()).await?;
    gateway.process.stop().await?;
    gateway.process = gateway.describe_again()?.flag("--redis-url", url).flag("--redis-timeout", "5s").ready().await?;
    gateway.process.until_ready().await?;
    Ok(gateway)
}

/// Waits for a line of a node's metrics.
pub(crate) async fn until_metric(gateway: &Gateway, line: &str) -> Result<()> {
    let operator = gateway.process.as_operator()?;
    until(&format!("metrics say {line}"), SOON, || async {
        let answer = operator.send(Method::GET, "/metrics", &[], None).await?;
        Ok(answer.text().lines().any(|found| found == line).then_some(()))
    })
    .await
}

pub(crate) async fn readiness(gateway: &Gateway) -> Result<(u16, Value)> {
    let answer = gateway.process.as_operator()?.send(Method::GET, "/readyz", &[], None).await?;
    Ok((answer.status.as_u16(), answer.json()))
}

/// Asks a node for what it may give again, and nothing else, until it has it: a look-up that takes too long is a miss.
async fn until_kept(gateway: &Gateway, key: &str) -> Result<Answer> {
    let client = gateway.as_client(key)?;
    let body =
        json!({"model": "kept", "messages": [{"role": "user", "content": "A canary question"}], "max_tokens": 50});
    let found = until("the node gives the answer again", SOON, || async {
        let headers = [("x-headgate-cache", "only")];
        let answer = client.send(Method::POST, "/v1/chat/completions", &headers, Some(&body)).await?;
        Ok((answer.status == 200).then_some(answer))
    });
    match found.await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let metrics = gateway.process.as_operator()?.send(Method::GET, "/metrics", &[], None).await?.text();
            let of_cache: Vec<&str> = metrics.lines().filter(|line| line.contains("headgate_cache_lookups")).collect();
            Err(error.context(of_cache.join("\n")))
        }
    }
}

#[tokio::test]
async fn two_nodes_share_answers_until_redis_dies_and_then_each_has_its_own() -> Result<()> {
    let (upstream, mut redis) = (Upstream::counting().await?, RedisServer::start());
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    make_route(&control).await?;
    let key = control.first("virtual_key").to_owned();
    let (one, two) = (join(&control, &redis.url()).await?, join(&control, &redis.url()).await?);
    for gateway in [&one, &two] {
        until_metric(gateway, "headgate_redis_up 1").await?;
    }
    let first = chat(&one.as_client(&key)?, "kept", "A canary question").await?;
    assert_eq!((first.status.as_u16(), cache_of(&first)), (200, "miss"), "{}", first.text());
    until_metric(&one, "headgate_redis_writes_total{result=\"written\"} 1").await?;
    let again = until_kept(&two, &key).await?;
    assert_eq!((cache_of(&again), again.text()), ("hit", first.text()));
    assert_eq!(upstream.n_calls(), 1);
    for (name, value) in redis.dump() {
        let text = String::from_utf8_lossy(&value).into_owned() + &name;
        assert!(!text.contains("canary") && !text.contains("gpt"), "in clear: {name}");
    }

    redis.kill();
    for gateway in [&one, &two] {
        until_metric(gateway, "headgate_redis_up 0").await?;
        let (status, said) = readiness(gateway).await?;
        assert_eq!((status, said["ready"].as_bool()), (200, Some(true)), "{said}");
        assert!(said["degraded"]["redis"].is_string(), "{said}");
        // What is nearby is still given, and what is not is asked for.
        assert_eq!(cache_of(&chat(&gateway.as_client(&key)?, "kept", "A canary question").await?), "hit");
        let other = chat(&gateway.as_client(&key)?, "kept", "Another question").await?;
        assert_eq!((other.status.as_u16(), cache_of(&other)), (200, "miss"));
    }
    redis.start_again();
    until_metric(&one, "headgate_redis_up 1").await?;
    assert_eq!(readiness(&one).await?.1.get("degraded"), None);
    until_kept(&one, &key).await?;

    let ledger = ledger_of(&control, 6).await?;
    let hits: Vec<&Value> = ledger.iter().filter(|event| event["cache"] == "hit").collect();
    assert!(hits.len() >= 3, "{ledger:?}");
    for hit in hits {
        assert_eq!((hit["cost_usd"].as_str(), hit["attempts"].as_array().map(Vec::len)), (Some("0"), Some(0)), "{hit}");
        assert!(hit["saved_input"].as_u64() >= Some(1), "{hit}");
    }
    Ok(())
}
