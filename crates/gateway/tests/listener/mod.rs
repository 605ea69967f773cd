//! Real sockets: start, drain, admin endpoints.

mod explain;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::NodeId;
use domain::rng::SeededEntropy;
use gateway::{GatewayConfig, GatewayHandle, Limits, Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use runtime::clock::SystemClock;
use runtime::health::Readiness;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::harness::Ledger;
use crate::harness::client::next;
use crate::harness::kept::Kept;
use crate::harness::policy::{World, token};
use crate::harness::remotes::Remotes;
use crate::harness::upstream::{Step, Upstreams, chunk, openai_end, stream};

struct Running {
    handle: GatewayHandle,
    ledger: Arc<Ledger>,
    upstreams: Upstreams,
    readiness: Readiness,
}

async fn start() -> Running {
    start_with(GatewayConfig::default()).await
}

async fn start_with(config: GatewayConfig) -> Running {
    start_in(config, World::standard()).await
}

async fn start_in(config: GatewayConfig, mut world: World) -> Running {
    let (upstreams, ledger, readiness) = (Upstreams::default(), Arc::new(Ledger::default()), Readiness::new());
    world.confirmed_at = domain::Clock::now(&SystemClock);
    let local = "127.0.0.1:0".parse().expect("an address");
    let parts = Parts {
        config: GatewayConfig { gateway_addr: local, admin_addr: local, worker_threads: 2, ..config },
        node_id: NodeId::from_uuid(1),
        policy: Arc::new(ArcSwap::from_pointee(world.snapshot())),
        usage: ledger.clone(),
        responses: Arc::new(Kept::default()),
        remotes: Arc::new(Remotes::default()),
        dial: Arc::new(upstreams.clone()),
        media_dial: Arc::new(upstreams.clone()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SeededEntropy::new(1)),
        ephemeral: gateway::Ephemeral::default(),
        purse: purse::Purse::default(),
        readiness: readiness.clone(),
        more_metrics: vec![Box::new(|out| out.push_str("more 1\n"))],
    };
    let handle = gateway::start(parts).await.expect("starts");
    Running { handle, ledger, upstreams, readiness }
}

async fn send(addr: SocketAddr, request: http::Request<Full<bytes::Bytes>>) -> http::Response<hyper::body::Incoming> {
    open(addr).await.send_request(request).await.expect("an answer")
}

async fn open(addr: SocketAddr) -> SendRequest<Full<bytes::Bytes>> {
    let stream = TcpStream::connect(addr).await.expect("connects");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("shakes hands");
    runtime::tasks::spawn("test.client", async move {
        let _ = connection.await;
    });
    sender
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let request = http::Request::get(path).header("host", "a").body(Full::default()).expect("a request");
    let response = send(addr, request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

fn chat_stream() -> http::Request<Full<bytes::Bytes>> {
    chat(r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#.to_owned())
}

fn chat_echo(is_stream: bool) -> http::Request<Full<bytes::Bytes>> {
    chat(format!(r#"{{"model":"echo/echo-1","stream":{is_stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#))
}

fn chat(body: String) -> http::Request<Full<bytes::Bytes>> {
    http::Request::post("/v1/chat/completions")
        .header("host", "a")
        .header("authorization", format!("Bearer {}", token().expose()))
        .body(Full::from(body))
        .expect("a request")
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_takes_no_new_ones() {
    let running = start().await;
    let gate = Upstreams::gate();
    let steps = [vec![chunk("Hello"), Step::Gate(gate.clone())], openai_end()].concat();
    running.upstreams.play("openai.test", stream(steps));
    let mut body = send(running.handle.addr, chat_stream()).await.into_body();
    assert!(next(&mut body).await.is_some());
    let (addr, readiness) = (running.handle.addr, running.readiness.clone());
    let drained = runtime::tasks::spawn("test.drain", running.handle.drain());
    while readiness.is_ready() {
        tokio::task::yield_now().await;
    }
    // The listener closes shortly after; a connection that is refused shows it.
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!drained.is_finished(), "a call is in flight");
    gate.notify_one();
    let mut rest = Vec::new();
    while let Some(bytes) = next(&mut body).await {
        rest.extend_from_slice(&bytes);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    tokio::time::timeout(Duration::from_secs(20), drained).await.expect("the drain ends").expect("no panic");
    assert_eq!(running.ledger.wait(1).await.len(), 1);
}

/// Two nodes behind something that sends calls to those that are ready.
struct Fleet {
    addrs: Vec<SocketAddr>,
    readiness: Vec<Readiness>,
}

impl Fleet {
    fn pick(&self, turn: usize) -> SocketAddr {
        let ready: Vec<_> = (0..self.addrs.len()).filter(|at| self.readiness[*at].is_ready()).collect();
        self.addrs[ready[turn % ready.len()]]
    }

    /// Calls on kept connections until told to stop; gives the number of answers.
    async fn call(&self, seed: usize, stop: &CancellationToken) -> usize {
        let (mut n_answers, mut kept) = (0, None);
        while !stop.is_cancelled() {
            if kept.is_none() {
                let addr = self.pick(seed + n_answers);
                kept = Some((open(addr).await, addr));
            }
            let Some((sender, addr)) = &mut kept else { continue };
            sender.ready().await.expect("a connection that was not ended by an answer stays");
            let answer = sender.send_request(chat_echo(n_answers % 2 == 0)).await.expect("an answer");
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            assert_eq!(parts.status, 200, "{addr}: {body:?}");
            n_answers += 1;
            if parts.headers.get("connection").is_some_and(|value| value == "close") {
                kept = None;
            }
        }
        n_answers
    }
}

#[tokio::test]
async fn a_rolling_restart_loses_no_request() {
    let config = GatewayConfig { drain_grace_ms: 1_500, ..GatewayConfig::default() };
    let (first, second) = (start_with(config.clone()).await, start_with(config).await);
    let fleet = Arc::new(Fleet {
        addrs: vec![first.handle.addr, second.handle.addr],
        readiness: vec![first.readiness.clone(), second.readiness.clone()],
    });
    let stop = CancellationToken::new();
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            let (fleet, stop) = (fleet.clone(), stop.clone());
            runtime::tasks::spawn("test.client", async move { fleet.call(seed, &stop).await })
        })
        .collect();
    let n_first = first.ledger.wait(50).await.len();
    first.handle.drain().await;
    let n_second = second.ledger.events.lock().len();
    second.ledger.wait(n_second + 50).await;
    stop.cancel();
    let mut n_answers = 0;
    for client in clients {
        n_answers += client.await.expect("joins").expect("no request was lost");
    }
    let n_events = first.ledger.events.lock().len() + second.ledger.events.lock().len();
    assert_eq!(n_answers, n_events, "each answer is on the bill of one node");
    assert!(first.ledger.events.lock().len() >= n_first);
    second.handle.drain().await;
}

#[tokio::test]
async fn connections_that_do_nothing_give_way_to_those_that_call() {
    let limits = Limits { max_connections: 4, idle_ms: 300, ..Limits::default() };
    let running = start_with(GatewayConfig { limits, ..GatewayConfig::default() }).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect(running.handle.addr).await.expect("connects"));
    }
    let answer = send(running.handle.addr, chat_echo(false)).await;
    assert_eq!(answer.status(), 200);
    let (_, metrics) = get(running.handle.admin_addr, "/metrics").await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("headgate_connections ")).expect("a gauge");
    assert!(open.parse::<u32>().expect("a number") <= 4, "{open}");
    drop(held);
    running.handle.drain().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let running = start().await;
    let parts = Parts {
        config: GatewayConfig { gateway_addr: running.handle.addr, ..GatewayConfig::default() },
        node_id: NodeId::from_uuid(1),
        policy: Arc::default(),
        usage: running.ledger.clone(),
        responses: Arc::new(Kept::default()),
        remotes: Arc::new(Remotes::default()),
        dial: Arc::new(running.upstreams.clone()),
        media_dial: Arc::new(running.upstreams.clone()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SeededEntropy::new(1)),
        ephemeral: gateway::Ephemeral::default(),
        purse: purse::Purse::default(),
        readiness: Readiness::new(),
        more_metrics: Vec::new(),
    };
    assert!(gateway::start(parts).await.is_err());
    running.handle.drain().await;
}

#[tokio::test]
async fn operators_see_health_sync_metrics_and_reasons() {
    let running = start().await;
    let admin = running.handle.admin_addr;
    assert_eq!(get(admin, "/livez").await.0, 200);
    assert_eq!(get(admin, "/readyz").await.0, 200);
    running.readiness.hold("policy", "no verified set yet");
    let (status, body) = get(admin, "/readyz").await;
    assert!(status == 503 && body.contains("no verified set yet"), "{body}");

    let (status, body) = get(admin, "/synced").await;
    let synced: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, synced["organizations"][0]["revision"].as_u64()), (200, Some(7)), "{body}");

    let (_, metrics) = get(admin, "/metrics").await;
    assert!(metrics.contains("headgate_requests_total{endpoint=\"messages\",outcome=\"success\"} 0"), "{metrics}");
    assert!(metrics.contains("headgate_policy_keys 1") && metrics.contains("more 1"), "{metrics}");

    let kid = token().kid();
    let (_, body) = get(admin, &format!("/explain?kid={kid}&model=chain")).await;
    let explained: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((explained["decision"].as_str(), explained["policy_revision"].as_u64()), (Some("dispatched"), Some(7)));
    let names: Vec<_> =
        explained["attempts"].as_array().expect("attempts").iter().map(|it| it["deployment"].as_str()).collect();
    assert_eq!(names, [Some("chain-a"), Some("chain-b"), Some("chain-c")]);
    assert!(!body.contains("canary"));
    let (_, body) = get(admin, &format!("/explain?kid={kid}&model=none")).await;
    assert!(body.contains("model_unknown"), "{body}");
    assert_eq!(get(admin, "/explain?kid=nobody&model=x").await.0, 404);
    running.handle.drain().await;
}
