//! Control plane and gateways as separate processes: revocation, loss of the control plane, the ledger afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::{Control, Gateway, Upstream, until};

use crate::chat::{MODEL, chat, ledger_of, openai_at};

async fn start(upstream: &Upstream) -> Result<Control> {
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Control::start(&variables).await
}

/// The numbers of the upstream's answers, as the ledger has them. Each must stand once.
fn numbers_in(ledger: &[Value]) -> BTreeSet<u64> {
    let numbers: Vec<u64> = ledger.iter().filter_map(|event| event["usage"]["input"].as_u64()).collect();
    let unique: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), unique.len(), "an event stands twice: {numbers:?}");
    unique
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_a_separate_gateway_within_a_second() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
    ];
    let (key_id, key) = control.issue_key("to be revoked").await?;
    let clients = [gateways[0].as_client(&key)?, gateways[1].as_client(&key)?];
    for client in &clients {
        until("the new key works", Duration::from_secs(5), || async {
            Ok((chat(client, MODEL, "Hi").await?.status == 200).then_some(()))
        })
        .await?;
    }

    let path = format!("/api/v1/workspaces/{}/virtual-keys/{key_id}/revoke", control.first("workspace_id"));
    let started = Instant::now();
    control.as_admin()?.post(&path, &json!({})).await?;
    for client in &clients {
        let answer = until("the revoked key is refused", Duration::from_secs(5), || async {
            let answer = chat(client, MODEL, "Hi").await?;
            Ok((answer.status == 401).then_some(answer))
        })
        .await?;
        assert_eq!(answer.code(), "key_revoked", "{}", answer.text());
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "both gateways refused it only after {took:?}");

    // The control plane has counters and health of its own, at its admin address.
    let operator = control.process.as_operator()?;
    let metrics = operator.send(Method::GET, "/metrics", &[], None).await?;
    assert!(metrics.status.is_success() && metrics.text().contains("headgate_control_"), "{}", metrics.text());
    assert!(operator.send(Method::GET, "/readyz", &[], None).await?.status.is_success());
    Ok(())
}

#[tokio::test]
async fn calls_go_on_without_the_control_plane_and_the_ledger_is_whole_afterwards() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let mut control = start(&upstream).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let key = control.first("virtual_key").to_owned();
    for _ in 0..3 {
        assert_eq!(chat(&gateway.as_client(&key)?, MODEL, "with a control plane").await?.status, 200);
    }

    control.process.kill().await?;
    for _ in 0..4 {
        assert_eq!(chat(&gateway.as_client(&key)?, MODEL, "without one").await?.status, 200);
    }

    // A node that starts while the control plane is down serves from its sealed copy.
    assert!(gateway.process.stop().await?.success());
    gateway.again().await?;
    for _ in 0..5 {
        let answer = chat(&gateway.as_client(&key)?, MODEL, "from the sealed copy").await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let unknown =
        chat(&gateway.as_client("hgk_l1_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_AAAAAA")?, MODEL, "x").await?;
    assert_eq!(unknown.status, 401);

    control.again().await?;
    let ledger = ledger_of(&control, 12).await?;
    let expected: BTreeSet<u64> = (1..=upstream.n_calls()).collect();
    assert_eq!(expected.len(), 12);
    assert_eq!(numbers_in(&ledger), expected, "the ledger is not the upstream's own count");
    let usage = control.as_admin()?.get(&format!("/api/v1/workspaces/{}/usage", control.first("workspace_id"))).await?;
    assert_eq!(usage["total"]["requests"], 12, "{usage}");
    assert_eq!(usage["total"]["tokens"]["input"], expected.iter().sum::<u64>());
    assert_eq!(usage["total"]["tokens"]["output"], 3 * 12);
    Ok(())
}

#[tokio::test]
async fn a_node_says_in_the_api_which_revision_it_holds() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let _gateway = Gateway::join(&control, control.sync_address()).await?;
    let admin = control.as_admin()?;
    let nodes = format!("/api/v1/organizations/{}/nodes", control.first("organization_id"));
    control.issue_key("makes a revision").await?;
    until("the node acknowledges the newest revision", Duration::from_secs(5), || async {
        let page = admin.get(&nodes).await?;
        let node =
            page["items"].as_array().context("a list")?.iter().find(|node| node["is_connected"] == true).cloned();
        Ok(node.filter(|node| {
            node["acknowledged_revision"].as_u64() > Some(0)
                && node["acknowledged_revision"] == node["desired_revision"]
        }))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_drained_gateway_finishes_the_stream_it_is_in() -> Result<()> {
    use http_body_util::BodyExt as _;
    use testkit::upstream::{Gate, Reply, Step, openai_chunk, openai_end};

    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |call| {
        let mut steps = vec![Step::Send(openai_chunk(call.number, "first ")), Step::Wait(held.clone())];
        steps.extend(openai_end(call.number, 7));
        Reply::stream(steps)
    })
    .await?;
    let control = start(&upstream).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let client = gateway.as_client(control.first("virtual_key"))?;
    let body = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let answer = client.open(Method::POST, "/v1/chat/completions", &[], body.into()).await?;
    assert_eq!(answer.status(), 200);
    let mut stream = answer.into_body();
    stream.frame().await.context("a first frame")??;

    gateway.process.signal("TERM").await?;
    // Each look with a connection of its own: the standing one may finish what it is in.
    until("a draining node takes no new connection", Duration::from_secs(10), || async {
        let newcomer = gateway.as_client(control.first("virtual_key"))?;
        let answer = newcomer.send(Method::GET, "/v1/models", &[], None).await;
        Ok((!answer.is_ok_and(|answer| answer.status.is_success())).then_some(()))
    })
    .await?;
    gate.open();
    let rest = stream.collect().await?.to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"), "{rest:?}");
    assert!(gateway.process.stop().await?.success(), "{}", gateway.process.log());
    let ledger = ledger_of(&control, 1).await?;
    let whole = ledger.iter().find(|event| event["usage"]["output"] == 7);
    assert_eq!(whole.map(|event| &event["outcome"]), Some(&json!("success")), "{ledger:?}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_has_to_start_over_brings_the_usage_of_its_earlier_life_along_once() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let key = control.first("virtual_key").to_owned();
    for _ in 0..3 {
        assert_eq!(chat(&gateway.as_client(&key)?, MODEL, "before").await?.status, 200);
    }
    let before = gateway.process.field("node_id").to_owned();
    let revoke = format!("/api/v1/organizations/{}/nodes/{before}/revoke", control.first("organization_id"));
    control.as_admin()?.post(&revoke, &json!({})).await?;
    // It goes on serving from what it holds; what that uses is no longer taken from it.
    for _ in 0..4 {
        assert_eq!(chat(&gateway.as_client(&key)?, MODEL, "revoked").await?.status, 200);
    }
    assert!(gateway.process.stop().await?.success());

    gateway.rejoin(&control).await?;
    assert_ne!(gateway.process.field("node_id"), before, "a revoked id is never given again");
    assert_eq!(chat(&gateway.as_client(&key)?, MODEL, "after").await?.status, 200);
    let ledger = ledger_of(&control, 8).await?;
    let expected: BTreeSet<u64> = (1..=8).collect();
    assert_eq!(numbers_in(&ledger), expected, "the ledger is not the upstream's own count");
    Ok(())
}

#[tokio::test]
async fn a_kill_switch_stops_a_key_on_every_gateway_within_a_second_ends_its_streams_and_can_be_lifted() -> Result<()> {
    use http_body_util::BodyExt as _;
    use testkit::upstream::{Gate, Reply, Step, openai_chunk, openai_whole};

    let never = Gate::closed();
    let upstream = Upstream::start(move |call| {
        if call.body["stream"] == true {
            Reply::stream(vec![Step::Send(openai_chunk(call.number, "one ")), Step::Wait(never.clone())])
        } else {
            openai_whole(call.number)
        }
    })
    .await?;
    let control = start(&upstream).await?;
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
    ];
    let (key_id, key) = control.issue_key("leaked").await?;
    let clients = [gateways[0].as_client(&key)?, gateways[1].as_client(&key)?];
    for client in &clients {
        until("the new key works", Duration::from_secs(5), || async {
            Ok((chat(client, MODEL, "Hi").await?.status == 200).then_some(()))
        })
        .await?;
    }

    let mut streams = Vec::new();
    for client in &clients {
        let body = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let answer = client.open(Method::POST, "/v1/chat/completions", &[], body.into()).await?;
        assert_eq!(answer.status(), 200);
        let mut stream = answer.into_body();
        stream.frame().await.context("a first frame")??;
        streams.push(stream);
    }

    let path = format!("/api/v1/organizations/{}/kill-switches", control.first("organization_id"));
    let body = json!({"target": {"kind": "virtual_key", "id": key_id}, "reason": "found in a public repository"});
    let thrown = control.as_admin()?.post(&path, &body).await?;
    let started = Instant::now();
    for client in &clients {
        let answer = until("the stopped key is refused", Duration::from_secs(5), || async {
            let answer = chat(client, MODEL, "Hi").await?;
            Ok((answer.status == 401).then_some(answer))
        })
        .await?;
        assert_eq!(answer.code(), "key_revoked", "{}", answer.text());
        assert!(!answer.text().contains("public repository"), "the reason is for the organization's people");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "both gateways refused it only after {took:?}");
    println!("refused on both after {took:?}");
    for stream in streams {
        // Its upstream never ends it: the switch does, in words or by cutting the connection.
        let rest = tokio::time::timeout(Duration::from_secs(5), stream.collect()).await.context("a cut stream")?;
        assert!(rest.is_err() || String::from_utf8_lossy(&rest?.to_bytes()).contains("key_revoked"));
    }

    let id = thrown["id"].as_str().context("the switch has an id")?;
    let lifted = control.as_admin()?.send(Method::DELETE, &format!("{path}/{id}"), &[], None).await?;
    assert_eq!(lifted.status, 204, "{}", lifted.text());
    for client in &clients {
        until("the key works again", Duration::from_secs(5), || async {
            Ok((chat(client, MODEL, "Hi").await?.status == 200).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_rotated_without_overlap_and_a_replaced_credential_count_on_every_gateway_within_a_second()
-> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
    ];
    let admin = control.as_admin()?;
    let (key_id, old) = control.issue_key("rotated at once").await?;
    for gateway in &gateways {
        until("the new key works", Duration::from_secs(5), || async {
            Ok((chat(&gateway.as_client(&old)?, MODEL, "Hi").await?.status == 200).then_some(()))
        })
        .await?;
    }

    let path = format!("/api/v1/workspaces/{}/virtual-keys/{key_id}/rotate", control.first("workspace_id"));
    let started = Instant::now();
    let rotated = admin.post(&path, &json!({"overlap_secs": 0})).await?;
    let new = rotated["secret"].as_str().context("the new secret is shown once")?;
    for gateway in &gateways {
        let refused = until("the old secret is refused", Duration::from_secs(5), || async {
            let answer = chat(&gateway.as_client(&old)?, MODEL, "Hi").await?;
            Ok((answer.status == 401).then_some(answer))
        })
        .await?;
        assert_eq!(refused.code(), "key_invalid", "{}", refused.text());
        // Where the old one ends the new one works: they change together.
        assert_eq!(chat(&gateway.as_client(new)?, MODEL, "Hi").await?.status, 200);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "both gateways refused the old secret only after {took:?}");

    let credentials = format!("/api/v1/organizations/{}/credentials", control.first("organization_id"));
    let listed = admin.get(&credentials).await?;
    let credential = listed["items"].as_array().context("a list")?.iter().find(|it| it["provider"] == "openai");
    let id = credential.and_then(|it| it["id"].as_str()).context("a credential of OpenAI")?;
    let started = Instant::now();
    let version = credential.map(|it| &it["version"]);
    let body = json!({"version": version, "secret": "sk-another-secret-000001"});
    let changed = admin.send(Method::PATCH, &format!("{credentials}/{id}"), &[], Some(&body)).await?;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for gateway in &gateways {
        until("calls go out with the new secret", Duration::from_secs(5), || async {
            assert_eq!(chat(&gateway.as_client(new)?, MODEL, "Hi").await?.status, 200, "no call fails in between");
            let sent = upstream.calls().last().map(|call| call.headers["authorization"].clone());
            Ok(sent.filter(|sent| sent == "Bearer sk-another-secret-000001"))
        })
        .await?;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "both gateways used the new secret only after {took:?}");
    Ok(())
}
