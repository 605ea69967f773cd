//! `kill -9` of a gateway, mid-stream and mid-load, many times: no call is lost from the ledger and none stands twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use testkit::upstream::{Gate, Reply, Step, openai_chunk, openai_stream, openai_whole};
use testkit::{Actor, Control, Gateway, Upstream, until};

use crate::chat::{LEDGER_WITHIN, MODEL, openai_at};

/// Kills of one run; `HEADGATE_TEST_ROUNDS` asks for more.
const ROUNDS: u64 = 20;
/// Content of the calls whose answer never ends.
const ENDLESS: &str = "endless";
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

fn number_of(variable: &str) -> Option<u64> {
    runtime::config::Environment::of_process().find(variable).and_then(|text| text.parse().ok())
}

pub(crate) fn seed() -> u64 {
    number_of("HEADGATE_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1)
}

/// Answers like [`Upstream::counting`], but for the streams that are to be cut in the middle for sure.
async fn upstream() -> Result<Upstream> {
    let never = Gate::closed();
    Upstream::start(move |call| {
        if call.body["messages"][0]["content"] == ENDLESS {
            Reply::stream(vec![Step::Send(openai_chunk(call.number, "one ")), Step::Wait(never.clone())])
        } else if call.body["stream"] == true {
            openai_stream(call.number, 3)
        } else {
            openai_whole(call.number)
        }
    })
    .await
}

/// Opens a stream that does not end and reads its first words; returns its request id and the rest of it.
async fn endless(client: &Actor) -> Result<(String, hyper::body::Incoming)> {
    let body = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": ENDLESS}]}).to_string();
    let answer = client.open(Method::POST, "/v1/chat/completions", &[], body.into()).await?;
    assert_eq!(answer.status(), 200);
    let request_id = answer.headers()["x-headgate-request-id"].to_str()?.to_owned();
    let mut rest = answer.into_body();
    rest.frame().await.context("a first frame")??;
    Ok((request_id, rest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_gateway_loses_nothing_and_counts_nothing_twice() -> Result<()> {
    let (seed, rounds) = (seed(), number_of("HEADGATE_TEST_ROUNDS").unwrap_or(ROUNDS));
    println!("seed {seed}: repeat with HEADGATE_TEST_SEED={seed} HEADGATE_TEST_ROUNDS={rounds}");
    let mut random = Seeded(seed);
    let upstream = upstream().await?;
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let control = Control::start(&variables).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let key = control.first("virtual_key").to_owned();
    let (mut seen, mut cut): (Vec<Seen>, Vec<String>) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            let client = gateway.as_client(&key)?;
            clients.push(runtime::tasks::spawn("load", load(client, n % 2 == 0, Arc::clone(&stop))));
        }
        let (request_id, rest) = endless(&gateway.as_client(&key)?).await?;
        let kill_at = upstream.n_calls() + 20 + random.below(120);
        until(&format!("round {round}: the upstream saw call {kill_at}"), Duration::from_secs(30), || async {
            Ok((upstream.n_calls() >= kill_at).then_some(()))
        })
        .await?;
        gateway.process.kill().await?;
        stop.store(true, Ordering::SeqCst);
        assert!(rest.collect().await.is_err(), "the stream ended, though its upstream never ended it");
        cut.push(request_id);
        for client in clients {
            seen.extend(client.await?.context("the load client did not panic")?);
        }
        gateway.again().await?;
    }
    let by_chance = seen.iter().filter(|call| call.n_input.is_none()).count();
    println!("{rounds} kills, {} calls of the upstream, {} + {by_chance} cut answers", upstream.n_calls(), cut.len());
    let ledger = ledger_with_every_call(&control, &upstream).await?;
    check_ledger(&ledger, &upstream, &seen);
    for request_id in &cut {
        let event = ledger.iter().find(|event| event["id"] == request_id.as_str());
        let outcome = event.map(|event| &event["outcome"]);
        assert_eq!(outcome, Some(&json!("interrupted")), "{request_id} was cut in the middle: {event:?}");
    }
    Ok(())
}

/// Waits until as many events are booked as the upstream served calls. The note that goes before each call promises one for
/// each, whether or not anything of the answer reached a client.
async fn ledger_with_every_call(control: &Control, upstream: &Upstream) -> Result<Vec<Value>> {
    let (admin, n_calls) = (control.as_admin()?, upstream.n_calls());
    let sums = format!("/api/v1/workspaces/{}/usage", control.first("workspace_id"));
    // By the sums, since a long run has a long ledger.
    until(&format!("{n_calls} calls are booked"), LEDGER_WITHIN, || async {
        let usage = admin.get(&sums).await?;
        Ok((usage["total"]["requests"].as_u64() >= Some(n_calls)).then_some(()))
    })
    .await?;
    let ledger = control.ledger().await?;
    assert_eq!(admin.get(&sums).await?["total"]["requests"].as_u64(), Some(ledger.len() as u64), "sums and events");
    Ok(ledger)
}

fn check_ledger(ledger: &[Value], upstream: &Upstream, seen: &[Seen]) {
    let whole: BTreeMap<&str, u64> =
        seen.iter().filter_map(|call| Some((call.request_id.as_str(), call.n_input?))).collect();
    assert!(whole.len() > 100, "only {} whole answers: the load was no load", whole.len());
    let ids: BTreeSet<&str> = ledger.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), ledger.len(), "an event stands twice");
    let unknown = seen.iter().find(|call| !ids.contains(call.request_id.as_str()));
    assert_eq!(unknown, None, "a client got the head of an answer that the ledger does not know");
    // A call that was noted and then killed may never have left the node; every other one did, and each once.
    let ended = |outcome: &'static str| ledger.iter().filter(move |event| event["outcome"] == outcome);
    let numbers: Vec<u64> = ended("success").filter_map(|event| event["usage"]["input"].as_u64()).collect();
    let billed: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), billed.len(), "an answer of the upstream is billed twice");
    assert!(billed.last().is_none_or(|last| *last <= upstream.n_calls()), "an answer is billed that was never given");
    let not_whole = (1..=upstream.n_calls()).filter(|number| !billed.contains(number)).count();
    let interrupted = ended("interrupted").count();
    assert!(interrupted >= not_whole, "{not_whole} calls were cut, only {interrupted} stand in the ledger as that");
    assert_eq!(interrupted + numbers.len(), ledger.len(), "an event that is neither");
    // What a client saw whole is billed with exactly the usage that the upstream handed out for it: the event is written before
    // the last byte goes out, so no kill falls between the two.
    for event in ledger {
        let id = event["id"].as_str().unwrap_or_default();
        let Some(n_input) = whole.get(id) else { continue };
        assert_eq!(event["outcome"], "success", "{event}");
        assert_eq!(event["usage"]["input"].as_u64(), Some(*n_input), "{event}");
    }
}
