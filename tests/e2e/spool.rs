//! A node that may not serve what it cannot bill: with its spool full it refuses, with room again it serves.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use testkit::{Control, Gateway, Upstream, until};

use crate::chat::{MODEL, chat, openai_at};

#[tokio::test]
async fn a_full_spool_refuses_calls_before_anything_is_lost() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut control = Control::start(&variables).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    gateway.process.stop().await?;
    let again = gateway.describe_again()?.flag("--spool-max", "512KiB").flag("--spool-full", "refuse");
    gateway.process = again.ready().await?;
    gateway.process.until_ready().await?;
    let client = gateway.as_client(control.first("virtual_key"))?;
    control.process.kill().await?;

    let mut n_served = 0;
    let refused = loop {
        let answer = chat(&client, MODEL, "Hi").await?;
        if answer.status != 200 {
            break answer;
        }
        n_served += 1;
        ensure!(n_served < 5_000, "512 KiB hold no 5,000 calls");
    };
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "usage_full"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(upstream.n_calls(), n_served, "a refused call costs nothing");
    let metrics = gateway.process.as_operator()?.send(Method::GET, "/metrics", &[], None).await?.text();
    for line in ["headgate_spool_full 1", "headgate_spool_lost_events 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }

    control.again().await?;
    until("the node serves again", Duration::from_secs(60), || async {
        Ok((chat(&client, MODEL, "Hi").await?.status == 200).then_some(()))
    })
    .await?;
    let operator = gateway.process.as_operator()?;
    let metrics = until("everything is reported", Duration::from_secs(30), || async {
        let metrics = operator.send(Method::GET, "/metrics", &[], None).await?.text();
        Ok(metrics.lines().any(|line| line == "headgate_spool_pending_events 0").then_some(metrics))
    })
    .await?;
    let spool: Vec<&str> = metrics.lines().filter(|line| line.starts_with("headgate_spool")).collect();
    let ledger = control.ledger().await?;
    assert!(ledger.iter().all(|event| event["outcome"] == "success"), "{ledger:?}");
    assert_eq!(u64::try_from(ledger.len())?, upstream.n_calls(), "what was served is in the ledger: {spool:?}");
    Ok(())
}
