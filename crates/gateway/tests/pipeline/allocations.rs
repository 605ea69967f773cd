//! How often a call asks the allocator for memory: a regression shows here without a quiet machine.
//!
//! Client and upstream are raw sockets with canned bytes and buffers of their own, all on one thread whose allocations are
//! counted, so that what is counted is the gateway's. The bounds are what was measured, plus a little: raise one only with a
//! reason, lower it when the path gets leaner.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use allocation_counter::measure;
use arc_swap::ArcSwap;
use domain::NodeId;
use domain::rng::SeededEntropy;
use domain::route::{Cache, Timeouts};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway::{Gateway, GatewayConfig, Lane, Parts};
use link::usage::spool::{Spool, SpoolConfig};
use runtime::clock::SystemClock;
use runtime::health::Readiness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use upstream::client::SendError;
use upstream::dial::{Dial, Link, Origin};

use crate::harness::kept::Kept;
use crate::harness::policy::{World, token};
use crate::harness::remotes::Remotes;

/// Calls counted, after as many that warm up pools and buffers.
const N_CALLS: usize = 50;
const ROOM: usize = 64 * 1024;

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"up-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
const DELTA: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\ndata: [DONE]\n\n";

/// Connects everything to one address.
struct To(SocketAddr);

impl Dial for To {
    fn dial(&self, _: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        let to = self.0;
        async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Link { stream: Box::new(stream), is_h2: false })
        }
        .boxed()
    }
}

/// What the upstream says: in one write each, in the order given, the next when the one before has reached the client.
fn said(answer: Answer) -> Vec<String> {
    match answer {
        Answer::Whole => {
            vec![format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{WHOLE}",
                WHOLE.len()
            )]
        }
        Answer::Stream { n_chunks } => {
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut said = vec![format!("{head}{}", chunk(DELTA))];
            said.extend((1..n_chunks).map(|_| chunk(DELTA)));
            said.push(format!("{}0\r\n\r\n", chunk(LAST)));
            said
        }
        Answer::Held => said(Answer::Stream { n_chunks: 1 }).into_iter().take(1).collect(),
    }
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Whole,
    Stream {
        n_chunks: usize,
    },
    /// The first chunk of a stream that goes on for ever.
    Held,
}

/// Reads one message, whose end is known by what it ends with.
async fn read_until(stream: &mut TcpStream, room: &mut [u8], end: &[u8]) -> io::Result<bool> {
    let mut n_read = 0;
    while !room[..n_read].ends_with(end) {
        let n = stream.read(&mut room[n_read..]).await?;
        if n == 0 {
            return Ok(false);
        }
        n_read += n;
        // Only the end matters: what came before may go.
        if n_read > room.len() / 2 {
            room.copy_within(n_read - end.len()..n_read, 0);
            n_read = end.len();
        }
    }
    Ok(true)
}

/// Answers every request on every connection with the same bytes.
async fn serve_upstream(listener: TcpListener, said: Arc<[String]>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket option");
        let said = said.clone();
        runtime::tasks::spawn("test.upstream", async move {
            let mut room = vec![0; 4 * 1024];
            while read_until(&mut stream, &mut room, b"}").await.unwrap_or(false) {
                for part in &*said {
                    stream.write_all(part.as_bytes()).await.expect("the gateway reads");
                    // So that each part is a read of its own on the other side.
                    for _ in 0..8 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
    }
}

fn lane(upstream: SocketAddr, folder: &std::path::Path) -> Lane {
    let spool = Spool::open(folder, NodeId::from_uuid(1), 1, SpoolConfig::default()).expect("a folder");
    let mut world = World::standard();
    world.confirmed_at = domain::Clock::now(&SystemClock);
    world.route(9, "kept", &[1], 1, Timeouts::default());
    if let Some(policy::Content::Route(route)) = world.contents.last_mut() {
        route.rules.cache = Some(Cache::default());
    }
    let parts = Parts {
        config: GatewayConfig { worker_threads: 1, ..GatewayConfig::default() },
        node_id: NodeId::from_uuid(1),
        policy: Arc::new(ArcSwap::from_pointee(world.snapshot())),
        usage: Arc::new(spool),
        responses: Arc::new(Kept::default()),
        remotes: Arc::new(Remotes::default()),
        dial: Arc::new(To(upstream)),
        media_dial: Arc::new(To(upstream)),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SeededEntropy::new(1)),
        ephemeral: gateway::Ephemeral::default(),
        purse: purse::Purse::default(),
        readiness: Readiness::new(),
        more_metrics: Vec::new(),
    };
    Gateway::new(parts).lane()
}

fn request(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        token().expose(),
        body.len()
    )
}

/// Starts an upstream that always answers the same, and a lane that uses it; returns where the lane listens.
async fn start(answer: Answer, folder: &std::path::Path) -> SocketAddr {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let lane = lane(upstream.local_addr().expect("an address"), folder);
    runtime::tasks::spawn("test.upstreams", serve_upstream(upstream, said(answer).into()));
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = door.local_addr().expect("an address");
    runtime::tasks::spawn("test.door", async move {
        while let Ok((near, _)) = door.accept().await {
            near.set_nodelay(true).expect("a socket option");
            let lane = lane.clone();
            runtime::tasks::spawn("test.gateway", async move { lane.serve(near).await });
        }
    });
    address
}

/// Returns the allocations of one call, in the mean over many on one kept connection.
fn count(path: &str, body: &str, answer: Answer) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (request, mut room) = (request(path, body), vec![0; ROOM]);
    let end: &[u8] = match answer {
        Answer::Whole => b"}",
        Answer::Stream { .. } | Answer::Held => b"\r\n0\r\n\r\n",
    };
    let mut client =
        runtime.block_on(async { TcpStream::connect(start(answer, folder.path()).await).await }).expect("connects");
    let mut calls = |n: usize| {
        runtime.block_on(async {
            for _ in 0..n {
                client.write_all(request.as_bytes()).await.expect("the gateway reads");
                assert!(read_until(&mut client, &mut room, end).await.expect("the gateway answers"));
            }
        });
    };
    calls(N_CALLS);
    let counted = measure(|| calls(N_CALLS));
    assert!(String::from_utf8_lossy(&room).contains("HTTP/1.1 200") || matches!(answer, Answer::Stream { .. }));
    counted.count_total / N_CALLS as u64
}

const CHAT: &str = r#"{"model":"gpt","messages":[{"role":"user","content":"hello, how are you today?"}]}"#;
const CHAT_STREAM: &str =
    r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hello, how are you today?"}]}"#;
const MESSAGES: &str =
    r#"{"model":"gpt","max_tokens":64,"messages":[{"role":"user","content":"hello, how are you today?"}]}"#;
const MESSAGES_STREAM: &str = r#"{"model":"gpt","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hello, how are you today?"}]}"#;

#[test]
fn identifying_a_caller_allocates_nothing() {
    let (mut world, now) = (World::standard(), domain::Clock::now(&SystemClock));
    world.confirmed_at = now;
    let (snapshot, token) = (world.snapshot(), token());
    let counted = measure(|| assert!(snapshot.identify(token.expose(), now).is_ok()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_whole_answer_allocates_at_most_so_often() {
    let n = count("/v1/chat/completions", CHAT, Answer::Whole);
    assert!(n <= 50, "{n}");
}

#[test]
fn an_answer_given_again_allocates_at_most_so_often() {
    let n = count("/v1/chat/completions", &CHAT.replace("gpt", "kept"), Answer::Whole);
    assert!(n <= 37, "{n}");
}

#[test]
fn a_translated_answer_allocates_at_most_so_often() {
    let n = count("/v1/messages", MESSAGES, Answer::Whole);
    assert!(n <= 105, "{n}");
}

#[test]
fn a_chunk_of_a_stream_allocates_at_most_so_often() {
    let few = count("/v1/chat/completions", CHAT_STREAM, Answer::Stream { n_chunks: 10 });
    let many = count("/v1/chat/completions", CHAT_STREAM, Answer::Stream { n_chunks: 110 });
    let each = (many - few).div_ceil(100);
    assert!(each == 0 && few <= 57, "{each} a chunk, {few} for ten");
}

#[test]
fn a_translated_chunk_of_a_stream_allocates_at_most_so_often() {
    let few = count("/v1/messages", MESSAGES_STREAM, Answer::Stream { n_chunks: 10 });
    let many = count("/v1/messages", MESSAGES_STREAM, Answer::Stream { n_chunks: 110 });
    let each = (many - few).div_ceil(100);
    assert!(each <= 12 && few <= 227, "{each} a chunk, {few} for ten");
}

#[test]
fn an_open_stream_holds_at_most_so_much() {
    const N_STREAMS: u8 = 100;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (request, mut room) = (request("/v1/chat/completions", CHAT_STREAM), vec![0; ROOM]);
    let address = runtime.block_on(start(Answer::Held, folder.path()));
    let mut clients = Vec::with_capacity(2 * usize::from(N_STREAMS));
    let mut open = |n: u8| {
        runtime.block_on(async {
            for _ in 0..n {
                let mut client = TcpStream::connect(address).await.expect("connects");
                client.write_all(request.as_bytes()).await.expect("the gateway reads");
                assert!(read_until(&mut client, &mut room, b"\n\n\r\n").await.expect("the gateway answers"));
                clients.push(client);
            }
        });
    };
    open(N_STREAMS);
    let counted = measure(|| open(N_STREAMS));
    let each = counted.bytes_current / i64::from(N_STREAMS);
    // The upstream of this test takes 5 KB of it.
    assert!(each <= 14_550, "{each}");
}
