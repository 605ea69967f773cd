//! A scripted upstream: answers as told, at the moment it is told, and keeps count of what it handed out.
//!
//! Delays are gates that the test opens, never timers. Invariant: what is in [`Upstream::calls`] is what really arrived, in
//! order of arrival, but for questions after its models, which are in [`Upstream::asked`]; `n_output` of a call grows only when
//! bytes with that usage were given to the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// Order of arrival, from 1. The answers of [`Upstream::counting`] report it as their input tokens.
    pub number: u64,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as JSON; null when it is none.
    pub body: Value,
}

/// A moment that the test decides about.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// Makes a closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Lets one more through.
    pub fn pass_one(&self) {
        self.0.add_permits(1);
    }

    async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// One thing to do while answering.
#[derive(Debug, Clone)]
pub enum Step {
    /// Hand these bytes to the connection.
    Send(Bytes),
    /// Wait for the test.
    Wait(Gate),
    /// Close the connection in the middle of the body.
    HangUp,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The content type.
    pub content_type: &'static str,
    /// A gate before the head.
    pub before: Option<Gate>,
    /// The body, step by step.
    pub steps: Vec<Step>,
}

impl Reply {
    /// A whole JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let steps = vec![Step::Send(Bytes::from(body.to_string()))];
        Self { status, headers: Vec::new(), content_type: "application/json", before: None, steps }
    }

    /// A stream of server-sent events.
    #[must_use]
    pub fn stream(steps: Vec<Step>) -> Self {
        Self { status: 200, headers: Vec::new(), content_type: "text/event-stream", before: None, steps }
    }
}

type Answering = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// A running upstream; it stops when dropped.
#[derive(Clone)]
pub struct Upstream {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    n_calls: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<Call>>>,
    models: Arc<Mutex<Option<Reply>>>,
    _running: Arc<StopOnDrop>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("port", &self.port).finish_non_exhaustive()
    }
}

struct StopOnDrop(tokio::task::AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    /// Starts an upstream on a free port that answers every call as `answer` says.
    pub async fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the upstream")?;
        let port = listener.local_addr()?.port();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let n_calls = Arc::new(AtomicU64::new(0));
        let (asked, models) = (Arc::default(), Arc::default());
        let serving = Serving {
            calls: Arc::clone(&calls),
            n_calls: Arc::clone(&n_calls),
            asked: Arc::clone(&asked),
            models: Arc::clone(&models),
            answer: Arc::new(answer),
        };
        let accepting = accept(listener, Arc::new(serving));
        let running = StopOnDrop(runtime::tasks::spawn("testkit.upstream", accepting).abort_handle());
        Ok(Self { port, calls, n_calls, asked, models, _running: Arc::new(running) })
    }

    /// Answers whoever asks for the list of models from now on; before that there is none (404).
    pub fn list_models(&self, reply: Reply) {
        *self.models.lock() = Some(reply);
    }

    /// Returns the questions after models that arrived so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Call> {
        self.asked.lock().clone()
    }

    /// Starts an OpenAI-compatible upstream that answers every chat, whole or streamed, and reports the call's number as its
    /// input tokens: each answer can be told from every other in a ledger.
    pub async fn counting() -> Result<Self> {
        Self::start(
            |call| if call.body["stream"] == true { openai_stream(call.number, 3) } else { openai_whole(call.number) },
        )
        .await
    }

    /// Returns its address, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns what arrived so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// Returns how many calls arrived so far.
    #[must_use]
    pub fn n_calls(&self) -> u64 {
        self.n_calls.load(Ordering::SeqCst)
    }
}

/// What every connection of an upstream shares.
struct Serving {
    calls: Arc<Mutex<Vec<Call>>>,
    n_calls: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<Call>>>,
    models: Arc<Mutex<Option<Reply>>>,
    answer: Answering,
}

async fn accept(listener: TcpListener, serving: Arc<Serving>) {
    while let Ok((stream, _)) = listener.accept().await {
        let serving = Arc::clone(&serving);
        runtime::tasks::spawn("testkit.upstream.connection", async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&serving)));
            // A connection that breaks is what some tests want.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

type Body = StreamBody<Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send>>>;

async fn serve(request: Request<Incoming>, serving: Arc<Serving>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let is_question = head.method == Method::GET && head.uri.path().ends_with("/models");
    let call = Call {
        number: if is_question { 0 } else { serving.n_calls.fetch_add(1, Ordering::SeqCst) + 1 },
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let reply = if is_question {
        let none = || Reply::json(404, &json!({"error": {"message": "there is no list"}}));
        serving.asked.lock().push(call);
        serving.models.lock().clone().unwrap_or_else(none)
    } else {
        let reply = (serving.answer)(&call);
        serving.calls.lock().push(call);
        reply
    };
    if let Some(gate) = &reply.before {
        gate.pass().await;
    }
    let frames = futures_util::stream::iter(reply.steps).filter_map(perform);
    let mut response = Response::builder()
        .status(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header("content-type", reply.content_type);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let body: Body = StreamBody::new(Box::pin(frames));
    Ok(response.body(body).expect("a scripted head is valid"))
}

async fn perform(step: Step) -> Option<Result<Frame<Bytes>, std::io::Error>> {
    match step {
        Step::Send(bytes) => Some(Ok(Frame::data(bytes))),
        Step::Wait(gate) => {
            gate.pass().await;
            None
        }
        Step::HangUp => {
            // The connection flushes what it was given when the body has nothing more for now.
            tokio::task::yield_now().await;
            Some(Err(std::io::Error::other("the script hangs up")))
        }
    }
}

/// A whole OpenAI chat answer of three output tokens that reports `n_input` input tokens.
#[must_use]
pub fn openai_whole(n_input: u64) -> Reply {
    Reply::json(
        200,
        &json!({
            "id": format!("chatcmpl-{n_input}"), "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "one two three"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": n_input, "completion_tokens": 3, "total_tokens": n_input + 3}
        }),
    )
}

/// An OpenAI chat stream of `n_words` chunks that reports `n_input` input tokens at its end.
#[must_use]
pub fn openai_stream(n_input: u64, n_words: u64) -> Reply {
    let mut steps: Vec<Step> = (0..n_words).map(|n| Step::Send(openai_chunk(n_input, &format!("word{n} ")))).collect();
    steps.extend(openai_end(n_input, n_words));
    Reply::stream(steps)
}

/// One chunk of an OpenAI chat stream.
#[must_use]
pub fn openai_chunk(n_input: u64, content: &str) -> Bytes {
    let chunk = json!({
        "id": format!("chatcmpl-{n_input}"), "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]
    });
    Bytes::from(format!("data: {chunk}\n\n"))
}

/// The end of an OpenAI chat stream: finish reason, usage, `[DONE]`.
#[must_use]
pub fn openai_end(n_input: u64, n_output: u64) -> Vec<Step> {
    let head = json!({
        "id": format!("chatcmpl-{n_input}"), "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    });
    let mut usage = head.clone();
    usage["choices"] = json!([]);
    usage["usage"] =
        json!({"prompt_tokens": n_input, "completion_tokens": n_output, "total_tokens": n_input + n_output});
    vec![Step::Send(Bytes::from(format!("data: {head}\n\ndata: {usage}\n\ndata: [DONE]\n\n")))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;

    #[tokio::test]
    async fn a_gate_holds_a_stream_until_the_test_opens_it() {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::start(move |call| {
            let mut steps = vec![Step::Send(openai_chunk(call.number, "one")), Step::Wait(held.clone())];
            steps.extend(openai_end(call.number, 1));
            Reply::stream(steps)
        })
        .await
        .expect("starts");
        let client = Actor::new(&upstream.url(), None).expect("a client");
        let answer = client.open(http::Method::POST, "/v1/x", &[], Bytes::from("{}")).await.expect("an answer");
        let mut body = answer.into_body();
        let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert!(first.starts_with(b"data: ") && !first.ends_with(b"[DONE]\n\n"));
        gate.open();
        let rest = body.collect().await.expect("the rest").to_bytes();
        assert!(rest.ends_with(b"[DONE]\n\n"));
        assert_eq!((upstream.n_calls(), upstream.calls().len()), (1, 1));
    }

    #[tokio::test]
    async fn a_hang_up_breaks_the_body() {
        let upstream =
            Upstream::start(|call| Reply::stream(vec![Step::Send(openai_chunk(call.number, "one")), Step::HangUp]))
                .await
                .expect("starts");
        let client = Actor::new(&upstream.url(), None).expect("a client");
        let answer = client.open(http::Method::POST, "/v1/x", &[], Bytes::from("{}")).await.expect("an answer");
        assert!(answer.into_body().collect().await.is_err());
    }
}
