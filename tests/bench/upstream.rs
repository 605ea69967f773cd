//! The mock upstream of the benchmarks: canned OpenAI chat answers, whole or streamed at a steady pace.
//!
//! What it gives is chosen by a word in the request's `user` field: `stream` (100 chunks, one each 10 ms), `hold` (chunks for
//! as long as a memory reading needs), anything else a whole answer of one kilobyte.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream;
use http::{Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

/// Chunks of one `stream` answer.
pub(crate) const STREAM_CHUNKS: u64 = 100;
const STREAM_PACE: Duration = Duration::from_millis(10);
const HOLD_CHUNKS: u64 = 60;
const HOLD_PACE: Duration = Duration::from_millis(250);

/// Serves on a free port, which is printed.
#[expect(clippy::disallowed_methods, reason = "the mock shares nothing with the product, not even its tasks")]
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a port")?;
    eprintln!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            drop(serving.await);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let has = |word: &[u8]| memmem::find(&body, word).is_some();
    let (kind, body) = if has(b"\"bench-stream\"") {
        ("text/event-stream", chunks(STREAM_CHUNKS, STREAM_PACE))
    } else if has(b"\"bench-hold\"") {
        ("text/event-stream", chunks(HOLD_CHUNKS, HOLD_PACE))
    } else {
        ("application/json", Full::new(whole()).boxed())
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(answer)
}

fn whole() -> Bytes {
    let head = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let tail =
        r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":180,"total_tokens":430}}"#;
    Bytes::from(format!("{head}{}{tail}", "word ".repeat(150)))
}

fn chunk(delta: &str, finish: &str, rest: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]{rest}}}"#
    ) + "\n\n"
}

fn chunks(n_chunks: u64, pace: Duration) -> BoxBody<Bytes, Infallible> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let middle = Bytes::from(chunk(r#"{"content":"word "}"#, "null", ""));
    let usage = r#","usage":{"prompt_tokens":250,"completion_tokens":100,"total_tokens":350}"#;
    let end = Bytes::from(chunk("{}", "\"stop\"", usage) + "data: [DONE]\n\n");
    let steps = stream::unfold((0, ticks), move |(n, mut ticks)| {
        let bytes = if n < n_chunks { middle.clone() } else { end.clone() };
        async move {
            if n > n_chunks {
                return None;
            }
            ticks.tick().await;
            Some((Ok(Frame::data(bytes)), (n + 1, ticks)))
        }
    });
    BodyExt::boxed(StreamBody::new(steps))
}
