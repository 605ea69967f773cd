//! A rolling restart behind a load balancer: every gateway is replaced under load, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;
use testkit::{Actor, Control, Gateway, Upstream, until};

use crate::chat::{MODEL, chat, ledger_of, openai_at};

/// The clients of the nodes that a load balancer would send calls to.
type Ready = Arc<Mutex<Vec<Option<Actor>>>>;

/// Calls one ready node after the other until told to stop; gives the number of answers, each of which must be good.
async fn call_until(ready: Ready, stop: Arc<AtomicBool>, seed: usize) -> Result<u64> {
    let mut n_answers = 0;
    for turn in seed.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let nodes: Vec<Actor> = ready.lock().iter().flatten().cloned().collect();
        let node = nodes.get(turn % nodes.len().max(1)).context("no node is ready")?;
        let answer = chat(node, MODEL, "Hi").await?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        n_answers += 1;
    }
    Ok(n_answers)
}

#[tokio::test]
async fn a_rolling_restart_of_all_gateways_loses_no_request() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let key = control.first("virtual_key").to_owned();
    let (mut gateways, ready) = (Vec::new(), Ready::default());
    for _ in 0..2 {
        let mut gateway = Gateway::join(&control, control.sync_address()).await?;
        gateway.process.stop().await?;
        gateway.process = gateway.describe_again()?.flag("--drain-grace", "2s").ready().await?;
        gateway.process.until_ready().await?;
        ready.lock().push(Some(gateway.as_client(&key)?));
        gateways.push(gateway);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..6)
        .map(|seed| runtime::tasks::spawn("test.caller", call_until(ready.clone(), stop.clone(), seed)))
        .collect();
    for (at, gateway) in gateways.iter_mut().enumerate() {
        let before = upstream.n_calls();
        until("calls are under way", Duration::from_secs(20), || async {
            Ok((upstream.n_calls() > before + 30).then_some(()))
        })
        .await?;
        gateway.process.signal("TERM").await?;
        let operator = gateway.process.as_operator()?;
        until("the node says that it leaves", Duration::from_secs(10), || async {
            Ok((operator.send(Method::GET, "/readyz", &[], None).await?.status == 503).then_some(()))
        })
        .await?;
        ready.lock()[at] = None;
        assert!(gateway.process.stop().await?.success(), "{}", gateway.process.log());
        gateway.again().await?;
        ready.lock()[at] = Some(gateway.as_client(&key)?);
    }
    stop.store(true, Ordering::Relaxed);
    let mut n_answers = 0;
    for caller in callers {
        n_answers += caller.await?.context("a caller panicked")??;
    }
    assert_eq!(n_answers, upstream.n_calls(), "each call was answered once");
    let ledger = ledger_of(&control, usize::try_from(n_answers)?).await?;
    let mut numbers: Vec<u64> = ledger.iter().filter_map(|event: &Value| event["usage"]["input"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=n_answers).collect::<Vec<_>>(), "each call is in the ledger once");
    Ok(())
}
