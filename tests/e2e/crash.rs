//! `kill -9` of a gateway, mid-stream and mid-load, many times: no call is lost from the ledger and none stands twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use testkit::{Actor, Control, Gateway, Upstream, until};

use crate::chat::{LEDGER_WITHIN, MODEL, openai_at};

const ROUNDS: u64 = 6;
const CLIENTS: u64 = 8;

/// A call whose head reached its client, and the usage that the client saw when the answer was whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    request_id: String,
    n_input: Option<u64>,
}

/// Calls again and again until told to stop or the node dies; reports what its client saw.
async fn load(client: Actor, is_stream: bool, stop: Arc<AtomicBool>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "load"}]});
        if is_stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
        }
        let opened = client.open(Method::POST, "/v1/chat/completions", &[], body.to_string().into()).await;
        let Ok(answer) = opened else { break };
        if answer.status() != 200 {
            continue;
        }
        let request_id = answer.headers()["x-headgate-request-id"].to_str().unwrap_or_default().to_owned();
        let whole = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let n_input = whole.ok().and_then(|bytes| n_input_of(&bytes));
        let is_whole = n_input.is_some();
        seen.push(Seen { request_id, n_input });
        if !is_whole {
            break;
        }
    }
    seen
}

/// Reads the input tokens out of a whole answer or of the last chunk of a whole stream.
fn n_input_of(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let from_json = |text: &str| serde_json::from_str::<Value>(text).ok()?["usage"]["prompt_tokens"].as_u64();
    if let Some(n) = from_json(text) {
        return Some(n);
    }
    let is_whole = text.trim_end().ends_with("data: [DONE]");
    text.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(from_json).next_back().filter(|_| is_whole)
}

/// A small generator (xorshift64*, Vigna 2016): the same seed kills at the same counts.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

pub(crate) fn seed() -> u64 {
    let given =
        runtime::config::Environment::of_process().find("HEADGATE_TEST_SEED").and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) | 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_gateway_loses_nothing_and_counts_nothing_twice() -> Result<()> {
    let seed = seed();
    println!("seed {seed}: repeat with HEADGATE_TEST_SEED={seed}");
    let mut random = Seeded(seed);
    let upstream = Upstream::counting().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let key = control.first("virtual_key").to_owned();
    let mut seen: Vec<Seen> = Vec::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            let client = gateway.as_client(&key)?;
            clients.push(runtime::tasks::spawn("load", load(client, n % 2 == 0, Arc::clone(&stop))));
        }
        let kill_at = upstream.n_calls() + 20 + random.below(200);
        until(&format!("round {round}: the upstream saw call {kill_at}"), Duration::from_secs(30), || async {
            Ok((upstream.n_calls() >= kill_at).then_some(()))
        })
        .await?;
        gateway.process.kill().await?;
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            seen.extend(client.await?.context("the load client did not panic")?);
        }
        gateway.again().await?;
    }
    check_ledger(&control, &upstream, &seen).await
}

async fn check_ledger(control: &Control, upstream: &Upstream, seen: &[Seen]) -> Result<()> {
    let whole: BTreeMap<&str, u64> =
        seen.iter().filter_map(|call| Some((call.request_id.as_str(), call.n_input?))).collect();
    assert!(whole.len() > 100, "only {} whole answers: the load was no load", whole.len());
    // Every call whose head reached a client is in the ledger, as soon as the spool has been taken.
    let ledger = until("the ledger has every call that a client saw", LEDGER_WITHIN, || async {
        let ledger = control.ledger().await?;
        let ids: std::collections::BTreeSet<&str> = ledger.iter().filter_map(|event| event["id"].as_str()).collect();
        Ok(seen.iter().all(|call| ids.contains(call.request_id.as_str())).then_some(ledger.clone()))
    })
    .await?;
    let mut n_of: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &ledger {
        *n_of.entry(event["id"].as_str().unwrap_or_default()).or_default() += 1;
    }
    assert!(n_of.values().all(|n| *n == 1), "an event stands twice");
    // A call that was noted and then killed may never have left the node; every other one did, and each once.
    let numbers: Vec<u64> = ledger
        .iter()
        .filter(|event| event["outcome"] == "success")
        .filter_map(|event| event["usage"]["input"].as_u64())
        .collect();
    let unique: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), unique.len(), "an answer of the upstream is billed twice");
    assert!(unique.last().is_none_or(|last| *last <= upstream.n_calls()), "an answer is billed that was never given");
    // What a client saw whole is billed with exactly the usage that the upstream handed out for it: the event is written before
    // the last byte goes out, so no kill falls between the two.
    for event in &ledger {
        let id = event["id"].as_str().unwrap_or_default();
        let Some(n_input) = whole.get(id) else { continue };
        assert_eq!(event["outcome"], "success", "{event}");
        assert_eq!(event["usage"]["input"].as_u64(), Some(*n_input), "{event}");
    }
    Ok(())
}
