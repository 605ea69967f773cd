//! A client with one in-memory connection to the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway::Lane;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::Bench;
use super::policy::token;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        let read = serde_json::from_slice(&self.body);
        assert!(read.is_ok(), "not JSON: {:?}", self.body);
        read.expect("JSON")
    }

    /// The code of an error in either dialect.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// One request.
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: Method, path: &str, body: impl Into<Bytes>) -> Self {
        Self { method, path: path.to_owned(), headers: vec![], body: body.into() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the body asks for a stream.
    pub(crate) fn is_stream(&self) -> bool {
        serde_json::from_slice::<Value>(&self.body).is_ok_and(|body| body["stream"] == true)
    }

    /// A POST of JSON with the standard key.
    pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path, body)
            .header("authorization", format!("Bearer {}", token().expose()))
            .header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn build(self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a path");
        request.headers_mut().insert("host", "gateway.test".parse().expect("a host"));
        for (name, value) in self.headers {
            request.headers_mut().append(name, value.parse().expect("a header value"));
        }
        request
    }
}

/// A chat call in OpenAI's dialect.
pub(crate) fn chat(model: &str) -> Ask {
    Ask::post(
        "/v1/chat/completions",
        json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).to_string(),
    )
}

pub(crate) fn chat_stream(model: &str) -> Ask {
    let body = json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    Ask::post("/v1/chat/completions", body.to_string())
}

/// A call in Anthropic's dialect.
pub(crate) fn messages(model: &str) -> Ask {
    Ask::post("/v1/messages", messages_body(model, false).to_string())
}

pub(crate) fn messages_stream(model: &str) -> Ask {
    Ask::post("/v1/messages", messages_body(model, true).to_string())
}

fn messages_body(model: &str, is_stream: bool) -> Value {
    json!({"model": model, "max_tokens": 64, "stream": is_stream, "messages": [{"role": "user", "content": "Hi"}]})
}

/// A call in OpenAI's newer dialect.
pub(crate) fn responses(model: &str, more: &Value) -> Ask {
    let mut body = json!({"model": model, "input": "Hi"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    Ask::post("/v1/responses", body.to_string())
}

/// A call in Gemini's dialect; `operation` may have a query.
pub(crate) fn gemini(model: &str, operation: &str) -> Ask {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
    Ask::new(Method::POST, &format!("/v1beta/models/{model}:{operation}"), body.to_string())
        .header("x-goog-api-key", token().expose())
        .header("content-type", "application/json")
}

/// An open connection.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    ended: Arc<Notify>,
}

impl Connection {
    pub(crate) async fn open(lane: &Lane) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let lane = lane.clone();
        runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.expect("shakes hands");
        let ended = Arc::new(Notify::new());
        let told = ended.clone();
        runtime::tasks::spawn("test.client", async move {
            // The test sees what it needs in the answers.
            let _ = connection.await;
            told.notify_one();
        });
        Self { sender, ended }
    }

    /// Waits until the gateway has closed the connection.
    pub(crate) async fn closed(&self) {
        self.ended.notified().await;
    }

    /// Sends and waits for the head only.
    pub(crate) async fn start(&mut self, ask: Ask) -> Response<Incoming> {
        self.sender.ready().await.expect("is open");
        self.sender.send_request(ask.build()).await.expect("an answer")
    }

    pub(crate) async fn send(&mut self, ask: Ask) -> Answer {
        read(self.start(ask).await).await
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Reads the next piece of a body; `None` at its end.
pub(crate) async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = body.frame().await?.expect("a frame");
    Some(frame.into_data().expect("data"))
}

impl Bench {
    /// Makes one call on a connection of its own.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        Connection::open(&self.lane).await.send(ask).await
    }

    /// Sends raw bytes and returns whatever comes back until the gateway closes or has nothing more to say for long.
    pub(crate) async fn raw(&self, pieces: &[&[u8]]) -> String {
        let (mut near, far) = tokio::io::duplex(1024 * 1024);
        let lane = self.lane.clone();
        runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
        for piece in pieces {
            // The gateway may have answered and closed before everything was sent.
            if near.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut out = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(Ok(n @ 1..)) = tokio::time::timeout(Duration::from_secs(200), near.read(&mut buffer)).await {
            out.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}
