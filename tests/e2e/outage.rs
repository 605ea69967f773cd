//! PostgreSQL goes away and comes back under a running control plane, while gateways serve and changes are made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::database::Stop;
use testkit::{Actor, Control, Gateway, Postgres, Upstream, until};

use crate::chat::{MODEL, chat, openai_at};

/// A database that is back is noticed within this; a pool waits up to five seconds for a connection.
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// Calls until told to stop; each call must be answered well. Gives the number of calls.
async fn call_until(client: Actor, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut n_calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = chat(&client, MODEL, "Hi").await?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        n_calls += 1;
    }
    Ok(n_calls)
}

/// Waits until `n` more calls have arrived upstream.
async fn until_more(upstream: &Upstream, n: u64) -> Result<()> {
    let before = upstream.n_calls();
    until("calls are under way", Duration::from_secs(20), || async {
        Ok((upstream.n_calls() >= before + n).then_some(()))
    })
    .await
}

async fn until_readiness(control: &Control, what: &str, is_ready: bool) -> Result<()> {
    let operator = control.process.as_operator()?;
    until(what, BACK_WITHIN, || async {
        let answer = operator.send(Method::GET, "/readyz", &[], None).await?;
        Ok((answer.status.is_success() == is_ready).then_some(()))
    })
    .await
}

/// A key that is issued reaches every gateway, and so does its end.
async fn changes_arrive(control: &Control, gateways: &[Gateway], name: &str) -> Result<()> {
    let (id, key) = control.issue_key(name).await?;
    for gateway in gateways {
        let client = gateway.as_client(&key)?;
        until("a key issued after the outage works", Duration::from_secs(10), || async {
            Ok((client.send(Method::GET, "/v1/models", &[], None).await?.status == 200).then_some(()))
        })
        .await?;
    }
    let path = format!("/api/v1/workspaces/{}/virtual-keys/{id}/revoke", control.first("workspace_id"));
    control.as_admin()?.post(&path, &json!({})).await?;
    for gateway in gateways {
        let client = gateway.as_client(&key)?;
        until("its revocation counts", Duration::from_secs(10), || async {
            Ok((client.send(Method::GET, "/v1/models", &[], None).await?.status == 401).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// What the list of nodes says of one.
async fn listed(control: &Control, node: &str) -> Result<Value> {
    let nodes = format!("/api/v1/organizations/{}/nodes", control.first("organization_id"));
    let page = control.as_admin()?.get(&nodes).await?;
    let found = page["items"].as_array().context("a list")?.iter().find(|it| it["id"] == node);
    found.cloned().context("the node is in the list")
}

/// The ledger has each call once, as the upstream counted it, and the audit chain holds.
async fn books_are_whole(control: &Control, n_calls: u64) -> Result<()> {
    let path = format!("/api/v1/workspaces/{}/usage", control.first("workspace_id"));
    let admin = control.as_admin()?;
    let usage = until("every call is booked", Duration::from_secs(60), || async {
        let usage = admin.get(&path).await?;
        Ok((usage["total"]["requests"].as_u64() >= Some(n_calls)).then_some(usage))
    })
    .await?;
    let ledger = control.ledger().await?;
    let numbers: Vec<u64> = ledger.iter().filter_map(|event| event["usage"]["input"].as_u64()).collect();
    assert_eq!(numbers.len(), ledger.len());
    assert_eq!(numbers.iter().copied().collect::<BTreeSet<_>>(), (1..=n_calls).collect(), "the upstream's own count");
    assert_eq!(numbers.len() as u64, n_calls, "each call is in the ledger once");
    assert_eq!(usage["total"]["requests"], n_calls, "{usage}");
    assert_eq!(usage["total"]["tokens"]["input"], (1..=n_calls).sum::<u64>());
    let chain = format!("/api/v1/organizations/{}/audit/verification", control.first("organization_id"));
    let verified = admin.get(&chain).await?;
    assert_eq!(verified["is_valid"], true, "{verified}");
    Ok(())
}

#[tokio::test]
async fn postgresql_restarts_under_load_and_nothing_fails_or_is_lost() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let upstream = Upstream::counting().await?;
    let openai = openai_at(&upstream.url());
    let mut variables: Vec<(&str, &str)> = openai.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("HEADGATE_DATABASE_URL", postgres.url()));
    let control = Control::start(&variables).await?;
    let key = control.first("virtual_key").to_owned();
    let gateways = [
        Gateway::join(&control, control.sync_address()).await?,
        Gateway::join(&control, control.sync_address()).await?,
    ];
    let mut leaver = Gateway::join(&control, control.sync_address()).await?;
    let leaver_id = leaver.process.field("node_id").to_owned();
    until("all are listed as connected", Duration::from_secs(10), || async {
        Ok((listed(&control, &leaver_id).await?["is_connected"] == true).then_some(()))
    })
    .await?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for gateway in &gateways {
        let client = gateway.as_client(&key)?;
        callers.push(runtime::tasks::spawn("test.caller", call_until(client, Arc::clone(&stop))));
    }
    for (how, name) in [(Stop::Fast, "after a fast stop"), (Stop::Immediate, "after an immediate stop")] {
        until_more(&upstream, 30).await?;
        postgres.stop(how).await?;
        until_readiness(&control, "the control plane says that its database is away", false).await?;
        let refused = control
            .as_admin()?
            .send(Method::GET, &format!("/api/v1/organizations/{}/nodes", control.first("organization_id")), &[], None)
            .await?;
        assert_eq!(refused.status, 503, "{}", refused.text());
        if how == Stop::Fast {
            // Said while nobody can write it down.
            leaver.process.kill().await?;
        }
        until_more(&upstream, 30).await?;
        for gateway in &gateways {
            let operator = gateway.process.as_operator()?;
            assert!(operator.send(Method::GET, "/readyz", &[], None).await?.status.is_success(), "policy is kept");
        }
        postgres.again().await?;
        until_readiness(&control, "the control plane is ready again by itself", true).await?;
        changes_arrive(&control, &gateways, name).await?;
        until("the node that left meanwhile is listed as gone", Duration::from_secs(10), || async {
            Ok((listed(&control, &leaver_id).await?["is_connected"] == false).then_some(()))
        })
        .await?;
        for gateway in &gateways {
            assert_eq!(listed(&control, gateway.process.field("node_id")).await?["is_connected"], true);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut n_calls = 0;
    for caller in callers {
        n_calls += caller.await?.context("a caller panicked")??;
    }
    assert_eq!(n_calls, upstream.n_calls(), "each call went upstream once");

    books_are_whole(&control, n_calls).await?;
    println!("{n_calls} calls, each answered and booked once");
    Ok(())
}
