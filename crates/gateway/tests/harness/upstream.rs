//! Scripted upstreams behind an in-memory dialler. What an upstream does next is queued by host name.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use upstream::client::SendError;
use upstream::dial::{Dial, Link, Origin};

use super::raw::{self, Raw};

/// What an upstream does with one call.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// Answers.
    Answer { status: u16, headers: Vec<(&'static str, String)>, steps: Vec<Step> },
    /// Takes the request and says nothing.
    Hang,
    /// Closes the connection without a word.
    Close,
}

/// What happens on the way of a body.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Chunk(Bytes),
    /// Nothing more, for ever.
    Hang,
    /// Nothing more until the test says so.
    Gate(Arc<Notify>),
    /// The connection breaks.
    Break,
}

/// A call as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub host: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    /// A call of which nothing was read.
    pub(super) fn unread(host: &str) -> Self {
        Self { host: host.to_owned(), path: String::new(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// What dialling a host does, when it is not simply opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    Refuse,
    /// The handshake fails, as the TLS library says.
    Tls(&'static str),
    Hang,
    Panic,
}

#[derive(Default)]
struct State {
    plays: HashMap<String, VecDeque<Play>>,
    troubles: HashMap<String, Trouble>,
    faults: HashMap<String, Raw>,
    calls: Vec<Call>,
    sockets: HashMap<String, VecDeque<hyper::upgrade::OnUpgrade>>,
    n_dials: usize,
    n_bodies_dropped: usize,
}

/// All upstreams of a test. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Upstreams {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Upstreams {
    /// Queues what `host` does next.
    pub(crate) fn play(&self, host: &str, play: Play) {
        self.state.lock().plays.entry(host.to_owned()).or_default().push_back(play);
    }

    /// Takes back what `host` was to do and did not.
    pub(crate) fn forget(&self, host: &str) {
        self.state.lock().plays.remove(host);
    }

    pub(crate) fn trouble(&self, host: &str, trouble: Trouble) {
        self.state.lock().troubles.insert(host.to_owned(), trouble);
    }

    /// Every connection to `host` behaves like this from now on.
    pub(crate) fn fault(&self, host: &str, raw: Raw) {
        self.state.lock().faults.insert(host.to_owned(), raw);
    }

    /// Notes a call as it arrived.
    pub(super) fn note(&self, call: Call) {
        self.state.lock().calls.push(call);
        self.changed.notify_waiters();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.state.lock().calls.iter().map(|call| call.host.clone()).collect()
    }

    /// Makes a gate for [`Step::Gate`].
    pub(crate) fn gate() -> Arc<Notify> {
        Arc::default()
    }

    pub(crate) fn n_dials(&self) -> usize {
        self.state.lock().n_dials
    }

    /// Waits until the gateway has taken the connection away from under a body.
    pub(crate) async fn wait_for_dropped_body(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state.lock().n_bodies_dropped > 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits until `n` calls have arrived.
    pub(crate) async fn wait_for_calls(&self, n: usize) {
        loop {
            let changed = self.changed.notified();
            if self.state.lock().calls.len() >= n {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a WebSocket is asked for at `host`, and speaks as its other side.
    pub(crate) async fn socket(&self, host: &str) -> realtime::Socket {
        let upgrade = loop {
            let changed = self.changed.notified();
            let waiting = self.state.lock().sockets.get_mut(host).and_then(VecDeque::pop_front);
            match waiting {
                Some(upgrade) => break upgrade,
                None => changed.await,
            }
        };
        let upgraded = upgrade.await.expect("a connection");
        realtime::to_client(Box::new(TokioIo::new(upgraded)), 1024 * 1024).await
    }

    /// Agrees to speak, unless something else was scripted.
    fn shake_hands(&self, host: &str, request: &mut Request<Incoming>) -> Option<Response<Script>> {
        let offer = realtime::handshake::Offer::read(request.method(), request.version(), request.headers()).ok()?;
        let upgrade = hyper::upgrade::on(&mut *request);
        let mut state = self.state.lock();
        if state.plays.get(host).is_some_and(|plays| !plays.is_empty()) {
            return None;
        }
        state.calls.push(Call {
            host: host.to_owned(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
            body: Bytes::new(),
        });
        state.sockets.entry(host.to_owned()).or_default().push_back(upgrade);
        drop(state);
        self.changed.notify_waiters();
        let script = Script { waiting: None, steps: VecDeque::new(), guard: None, close: Arc::default() };
        let mut response = Response::new(script);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        offer.answer(response.headers_mut());
        Some(response)
    }

    async fn serve(self, host: String, stream: tokio::io::DuplexStream) {
        let closing = Arc::new(Notify::new());
        let (this, close) = (self.clone(), closing.clone());
        let service = service_fn(move |request| this.clone().answer(host.clone(), close.clone(), request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::select! {
            _ = served => {}
            () = closing.notified() => {}
        }
    }

    async fn answer(
        self,
        host: String,
        close: Arc<Notify>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Script>, Infallible> {
        if let Some(agreed) = self.shake_hands(&host, &mut request) {
            return Ok(agreed);
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let play = {
            let mut state = self.state.lock();
            state.calls.push(Call { host: host.clone(), path: parts.uri.to_string(), headers: parts.headers, body });
            state.plays.get_mut(&host).and_then(VecDeque::pop_front).unwrap_or(Play::Close)
        };
        self.changed.notify_waiters();
        let (status, headers, steps) = match play {
            Play::Answer { status, headers, steps } => (status, headers, steps),
            Play::Hang => {
                let _guard = DropGuard(self.clone());
                std::future::pending().await
            }
            Play::Close => {
                close.notify_one();
                std::future::pending().await
            }
        };
        let mut response =
            Response::new(Script { waiting: None, steps: steps.into(), guard: Some(DropGuard(self)), close });
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        for (name, value) in headers {
            response.headers_mut().append(name, value.parse().expect("a header value"));
        }
        Ok(response)
    }
}

impl Dial for Upstreams {
    fn dial(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        let (this, host) = (self.clone(), origin.host.to_string());
        Box::pin(async move {
            let (trouble, fault) = {
                let mut state = this.state.lock();
                state.n_dials += 1;
                (state.troubles.get(&host).copied(), state.faults.get(&host).cloned())
            };
            if let (Some(raw), None) = (fault, trouble) {
                return Ok(raw::link(&this, &host, raw));
            }
            match trouble {
                Some(Trouble::Tls(said)) => return Err(SendError::Connect { reason: said.to_owned() }),
                Some(Trouble::Refuse) => return Err(SendError::Connect { reason: "refused".to_owned() }),
                Some(Trouble::Hang) => std::future::pending().await,
                Some(Trouble::Panic) => unreachable!("as asked by the test"),
                None => {}
            }
            let (near, far) = tokio::io::duplex(64 * 1024);
            let is_h2 = host.starts_with("h2.");
            runtime::tasks::spawn("test.upstream", this.serve(host, far));
            Ok(Link { stream: Box::new(near), is_h2 })
        })
    }
}

/// Counts bodies that were dropped before their end.
struct DropGuard(Upstreams);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.state.lock().n_bodies_dropped += 1;
        self.0.changed.notify_waiters();
    }
}

struct Script {
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    steps: VecDeque<Step>,
    guard: Option<DropGuard>,
    close: Arc<Notify>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        if let Some(Step::Gate(gate)) = self.steps.front().cloned() {
            self.steps.pop_front();
            self.waiting = Some(Box::pin(async move { gate.notified().await }));
            return self.poll_frame(cx);
        }
        match self.steps.front() {
            None => {
                // Read to its end: not a cancelled body.
                std::mem::forget(self.guard.take());
                Poll::Ready(None)
            }
            Some(Step::Hang) => Poll::Pending,
            Some(Step::Break) => {
                self.close.notify_one();
                Poll::Pending
            }
            Some(Step::Chunk(_) | Step::Gate(_)) => {
                let Some(Step::Chunk(chunk)) = self.steps.pop_front() else { return Poll::Ready(None) };
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
        }
    }
}

// === Plays ===

pub(crate) fn json_answer(status: u16, body: &Value) -> Play {
    raw_answer(status, "application/json", body.to_string())
}

pub(crate) fn raw_answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Play {
    let body = body.into();
    let headers = vec![
        ("content-type", content_type.to_owned()),
        ("content-length", body.len().to_string()),
        ("x-request-id", "up-req-1".to_owned()),
    ];
    Play::Answer { status, headers, steps: vec![Step::Chunk(body)] }
}

/// A whole OpenAI answer that used 10 + 5 tokens.
pub(crate) fn openai_whole() -> Play {
    raw_answer(200, "application/json", OPENAI_WHOLE)
}

pub(crate) const OPENAI_WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15},"x_unknown":{"kept":true}}"#;

/// A whole Anthropic answer that used 10 + 5 tokens.
pub(crate) fn anthropic_whole() -> Play {
    json_answer(
        200,
        &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [{"type": "text", "text": "Hello there"}],
            "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 5}}),
    )
}

pub(crate) fn openai_error(status: u16, message: &str) -> Play {
    json_answer(status, &json!({"error": {"message": message, "type": "x", "param": null, "code": null}}))
}

pub(crate) fn chunk(text: &str) -> Step {
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}], "usage": null});
    Step::Chunk(format!("data: {event}\n\n").into())
}

/// The end of an OpenAI stream that used 10 + 5 tokens.
pub(crate) fn openai_end() -> Vec<Step> {
    vec![finish_chunk(), usage_chunk(), Step::Chunk("data: [DONE]\n\n".into())]
}

pub(crate) fn finish_chunk() -> Step {
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": null});
    Step::Chunk(format!("data: {event}\n\n").into())
}

pub(crate) fn usage_chunk() -> Step {
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    Step::Chunk(format!("data: {event}\n\n").into())
}

pub(crate) fn stream(steps: Vec<Step>) -> Play {
    Play::Answer { status: 200, headers: vec![("content-type", "text/event-stream".to_owned())], steps }
}

/// A whole OpenAI stream: "Hello", " there", end.
pub(crate) fn openai_stream() -> Play {
    stream([vec![chunk("Hello"), chunk(" there")], openai_end()].concat())
}

/// A whole Anthropic stream that used 10 + 5 tokens.
pub(crate) fn anthropic_stream() -> Play {
    stream(anthropic_steps())
}

pub(crate) fn anthropic_steps() -> Vec<Step> {
    let events = [
        (
            "message_start",
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "up",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        ),
        (
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello there"}}),
        ),
        ("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
        (
            "message_delta",
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        ),
        ("message_stop", json!({"type": "message_stop"})),
    ];
    events.map(|(name, data)| Step::Chunk(format!("event: {name}\ndata: {data}\n\n").into())).to_vec()
}

/// A whole answer of OpenAI's responses that used 10 + 5 tokens.
pub(crate) fn responses_whole() -> Value {
    json!({"id": "resp_up", "object": "response", "created_at": 1, "status": "completed", "error": null, "incomplete_details": null,
        "model": "up", "output": [{"id": "msg_up", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}]}],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {}, "x_unknown": {"kept": true},
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}})
}

/// The same as a stream, cut down to what a reader needs.
pub(crate) fn responses_stream() -> Play {
    let begun = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_up", "object": "response",
        "created_at": 1, "status": "in_progress", "model": "up", "output": []}});
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_up", "output_index": 0,
        "content_index": 0, "delta": "Hello there"});
    let end = json!({"type": "response.completed", "sequence_number": 2, "response": responses_whole()});
    let events = [("response.created", begun), ("response.output_text.delta", delta), ("response.completed", end)];
    stream(events.map(|(name, data)| Step::Chunk(format!("event: {name}\ndata: {data}\n\n").into())).to_vec())
}

/// A piece of Gemini's answer; counts are running totals.
pub(crate) fn gemini_piece(text: &str, n_output: u64, finish: Option<&str>) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": n_output, "totalTokenCount": 10 + n_output},
        "modelVersion": "up", "responseId": "g-1"})
}

/// A whole stream of Gemini's that used 10 + 5 tokens.
pub(crate) fn gemini_stream() -> Play {
    let pieces = [gemini_piece("Hello", 2, None), gemini_piece(" there", 5, Some("STOP"))];
    stream(pieces.map(|data| Step::Chunk(format!("data: {data}\r\n\r\n").into())).to_vec())
}
