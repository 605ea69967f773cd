//! Sends a request whose body is still arriving, over a connection of its own.
//!
//! Uploads are few, long, and cannot be tried again, so they share no pool. Their length is not known beforehand: HTTP/1.1 sends
//! chunks. Invariant: a body that nobody ended is broken off, never ended for them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use crate::client::{Client, SendError};
use crate::dial::{Link, Origin};

/// Whoever made the body left before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upload was abandoned")]
pub struct Abandoned;

/// A part of a body.
#[derive(Debug)]
pub enum Part {
    /// Some of its bytes.
    Data(Bytes),
    /// Its end.
    End,
}

/// A body that is fed through a channel.
pub struct Chunks {
    receiver: mpsc::Receiver<Part>,
    is_over: bool,
}

impl Chunks {
    /// Makes a body and what feeds it. As many parts wait as are given.
    pub fn channel(n_waiting: usize) -> (mpsc::Sender<Part>, Self) {
        let (sender, receiver) = mpsc::channel(n_waiting);
        (sender, Self { receiver, is_over: false })
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let part = ready!(self.receiver.poll_recv(cx));
        self.is_over = !matches!(part, Some(Part::Data(_)));
        Poll::Ready(match part {
            Some(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Part::End) => None,
            None => Some(Err(Abandoned)),
        })
    }
}

impl Client {
    /// Sends a request with an absolute URL on a new connection, and returns the head of the answer.
    pub async fn upload(&self, request: Request<Chunks>, connect: Duration) -> Result<Response<Incoming>, SendError> {
        let is_tls = request.uri().scheme_str() == Some("https");
        let origin = Origin::parse(request.uri(), is_tls)?;
        let limit_ms = u64::try_from(connect.as_millis()).unwrap_or(u64::MAX);
        let dialled = Box::pin(tokio::time::timeout(connect, self.dialler().dial(&origin))).await;
        let Link { stream, is_h2 } = dialled.map_err(|_| SendError::ConnectTimeout { limit_ms })??;
        let failed = |error: hyper::Error| SendError::Closed { reason: error.to_string(), is_reused: false };
        if is_h2 {
            let shaken = Box::pin(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await;
            let (mut sender, connection) = shaken.map_err(failed)?;
            drive(connection);
            return sender.send_request(request).await.map_err(failed);
        }
        let (mut sender, connection) = Box::pin(http1::handshake(TokioIo::new(stream))).await.map_err(failed)?;
        drive(connection);
        sender.send_request(in_origin_form(request)?).await.map_err(failed)
    }
}

/// HTTP/1.1 has the path alone in its first line, and the host in a header.
fn in_origin_form(mut request: Request<Chunks>) -> Result<Request<Chunks>, SendError> {
    let url = |reason| SendError::Url { reason };
    let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let host = host.and_then(Result::ok).ok_or_else(|| url("its host is not valid"))?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| url("its path is not valid"))?;
    Ok(request)
}

fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    runtime::tasks::spawn("gateway.upload", async move {
        if let Err(error) = connection.await {
            // Whoever waits for the answer gets the same error and tells the caller.
            tracing::debug!(%error, "an upload's connection ended");
        }
    });
}
