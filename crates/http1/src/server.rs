//! HTTP/1.1 with a client, spoken by the task of its connection: requests one after the other, each answered before the next.
//!
//! What a request means is the caller's. Invariants: while a call waits for something the connection keeps no buffer; a client
//! that leaves ends the call that it waits for; what cannot be read in one way only is refused, and nothing behind it is read.

mod answer;
mod body;
mod head;
mod timer;
mod upgrade;
mod wire;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body;
use parking_lot::Mutex;
use tokio::io::AsyncWrite as _;
use tokio::time::timeout;

use self::answer::{Broken, Sending};
pub use self::body::{BrokenOff, Reading};
pub use self::head::Refused;
use self::head::{Ending, Head};
pub use self::timer::Timer;
use self::upgrade::Offer;
pub use self::upgrade::{NotHandedOver, Takeover, Upgraded};
use self::wire::Wire;
use crate::framing::Framing;
use crate::{Stream, digits, names};

/// Most of an unread body that is read and thrown away, so that the client gets to read its answer.
const MAX_DISCARD: usize = 1024 * 1024;
/// Longest time for that.
const DISCARD_FOR: Duration = Duration::from_secs(2);

/// What a client may send, and how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest head of a request.
    pub max_header_bytes: usize,
    /// Most header lines of one request.
    pub max_headers: usize,
    /// Longest time from the first byte of a request's head to its last.
    pub header_read_ms: u64,
    /// How long a connection is kept that sends no request, or takes nothing of its answer.
    pub idle_ms: u64,
}

/// Reads the head of a request in words, for [`crate::fuzz`].
pub(crate) fn read_head(buf: &mut BytesMut, n_seen: &mut usize) -> Result<Option<(String, Framing)>, Refused> {
    let limits = Limits { max_header_bytes: 32 * 1024, max_headers: 100, header_read_ms: 0, idle_ms: 0 };
    Ok(head::read(buf, n_seen, limits)?.map(|head| {
        let facts = (head.is_kept, head.is_asking, head.wants_upgrade, head.is_double_framed);
        (format!("{:?} {facts:?}", head.parts), head.framing)
    }))
}

/// Answers requests.
pub trait Answers {
    /// What an answer's body is.
    type Body: Body<Data = Bytes>;

    /// Answers a request.
    fn answer(
        &self,
        parts: Box<Parts>,
        body: Reading,
        is_double_framed: bool,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers what is no request; the client may have asked for a path all the same.
    fn refuse(&self, refused: Refused) -> Response<Self::Body>;

    /// Notes that a request has come.
    fn note_request(&self);

    /// Says whether the connection is to end as soon as no request is under way.
    fn is_ending(&self) -> bool;

    /// Returns the time of day.
    fn now(&self) -> Timestamp;

    /// Returns the bounds on requests.
    fn limits(&self) -> Limits;
}

/// What it takes to speak with a client.
pub struct Connection<A> {
    wire: Arc<Mutex<Wire>>,
    answers: A,
    timer: Timer,
}

/// What a request says about its answer.
struct Asked {
    version: Version,
    is_head: bool,
    is_kept: bool,
    offer: Option<Offer>,
}

/// How an answer ended.
enum Sent {
    /// The next request may come.
    Kept,
    /// The connection ends, after what was said.
    Last,
    /// Another protocol begins.
    Upgraded(Offer),
}

impl<A: Answers> Connection<A> {
    /// Takes a connection of which `ahead` was read already. `timer` runs until its first request.
    pub fn new(stream: Box<dyn Stream>, ahead: BytesMut, answers: A, timer: Timer) -> Self {
        Self { wire: Arc::new(Mutex::new(Wire::new(stream, ahead))), answers, timer }
    }

    /// Serves requests until one side has had enough.
    pub async fn serve(mut self) {
        loop {
            let sent = match self.read_head().await {
                Ok(None) => return,
                Ok(Some(head)) => self.serve_one(head).await,
                Err(refused) => {
                    // Whatever it was, there may be more of it.
                    self.wire.lock().begin(Framing::Close, false);
                    let response = self.answers.refuse(refused);
                    let asked = Asked { version: Version::HTTP_11, is_head: false, is_kept: false, offer: None };
                    self.send(response, asked).await
                }
            };
            match sent {
                Ok(Sent::Kept) => self.timer.rest(self.answers.limits().idle_ms),
                Ok(Sent::Last) => return self.close().await,
                Ok(Sent::Upgraded(offer)) => {
                    let (stream, ahead) = self.wire.lock().give_up();
                    return offer.hand_over(stream, ahead).await;
                }
                Err(Broken) => return,
            }
        }
    }

    /// Reads the head of the next request; `None` when there is none.
    async fn read_head(&mut self) -> Result<Option<Head>, Refused> {
        let (mut n_seen, mut has_begun) = (0, false);
        let limits = self.answers.limits();
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            loop {
                if !wire.ahead.is_empty() {
                    if let Some(head) = head::read(&mut wire.ahead, &mut n_seen, limits)? {
                        wire.let_go();
                        return Poll::Ready(Ok(Some(head)));
                    }
                    if !wire.ahead.is_empty() && !std::mem::replace(&mut has_begun, true) {
                        self.timer.hurry(limits.header_read_ms);
                    }
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(Ok(None)),
                    Poll::Pending => break,
                }
            }
            if self.answers.is_ending() || self.timer.poll(cx).is_ready() {
                let has_begun = !wire.ahead.is_empty();
                return Poll::Ready(if has_begun { Err(Refused::SLOW) } else { Ok(None) });
            }
            Poll::Pending
        })
        .await
    }

    async fn serve_one(&mut self, head: Head) -> Result<Sent, Broken> {
        self.answers.note_request();
        let Head { mut parts, framing, is_kept, is_asking, wants_upgrade, is_double_framed } = head;
        let asked = Asked {
            version: parts.version,
            is_head: parts.method == Method::HEAD,
            is_kept,
            offer: wants_upgrade.then(|| upgrade::offer(&mut parts)),
        };
        self.wire.lock().begin(framing, is_asking);
        let body = Reading::new(self.wire.clone());
        // On the heap, and gone when the answer begins: the connection would otherwise keep room for it while a stream runs.
        let mut call = Box::pin(self.answers.answer(parts, body, is_double_framed));
        let response = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => self.poll_gone(cx).map(|()| Err(Broken)),
        });
        let response = response.await?;
        drop(call);
        self.send(response, asked).await
    }

    /// Says when the client has left. While a body is read its reader sees to that.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_read_elsewhere = || Arc::strong_count(&self.wire) > 1;
        let mut wire = self.wire.lock();
        if !wire.framing.is_complete() && is_read_elsewhere() {
            return Poll::Pending;
        }
        wire.poll_gone(cx)
    }

    /// Writes an answer to its end.
    async fn send(&mut self, response: Response<A::Body>, asked: Asked) -> Result<Sent, Broken> {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS && asked.offer.is_some();
        let length = body.size_hint().exact();
        let ending = match length {
            _ if is_upgrade => Ending::Upgrade,
            _ if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
                Ending::None
            }
            _ if asked.is_head => {
                // Who knows the length without the body says it; none is no reason to say so.
                let said = headers.get(CONTENT_LENGTH).and_then(|value| digits(value.as_bytes()));
                said.or(length.filter(|length| *length > 0)).map_or(Ending::None, Ending::Told)
            }
            Some(length) => Ending::Length(length),
            None if asked.version == Version::HTTP_11 => Ending::Chunked,
            None => Ending::Close,
        };
        let is_kept = asked.is_kept
            && ending != Ending::Close
            && !names(&headers, &CONNECTION, "close")
            && !self.wire.lock().is_asked();
        let mut sending = Sending::new(ending);
        let mut body = pin!(body);
        // Gone once it is written: a stream has no use of it.
        let mut head = Some((status, headers));
        let mut n_written = None;
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            let write_head = head.take().map(|(status, headers)| {
                let now = self.answers.now();
                move |out: &mut Vec<u8>| {
                    head::write(out, (status, &headers), (asked.version, ending, is_kept), now);
                }
            });
            let polled = sending.poll(&mut wire.stream, body.as_mut(), write_head, cx);
            drop(wire);
            if polled.is_ready() {
                return polled;
            }
            // A client that takes nothing for as long as it may be silent is given up.
            if sending.is_stalled() {
                if n_written.replace(sending.n_written()) != Some(sending.n_written()) {
                    self.timer.rest(self.answers.limits().idle_ms);
                }
                // Who closes its side only is still sent what there is; who is gone shows in the next write.
                return self.timer.poll(cx).map(|()| Err(Broken));
            }
            self.poll_gone(cx).map(|()| Err(Broken))
        })
        .await?;
        match asked.offer {
            Some(offer) if is_upgrade => Ok(Sent::Upgraded(offer)),
            _ if is_kept && self.discard().await => Ok(Sent::Kept),
            _ => Ok(Sent::Last),
        }
    }

    /// Reads what is left of the request's body, within bounds; false when that is not all.
    async fn discard(&mut self) -> bool {
        if self.wire.lock().framing.is_complete() {
            return true;
        }
        let discarding = async {
            let mut n_bytes = 0;
            while n_bytes < MAX_DISCARD {
                match poll_fn(|cx| self.wire.lock().poll_body(cx)).await {
                    Some(Ok(data)) => n_bytes += data.len(),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        timeout(DISCARD_FOR, discarding).await.unwrap_or(false)
    }

    /// Ends the connection. What the client is still sending is read for a while: it would otherwise see the connection reset
    /// before it has read its answer.
    async fn close(self) {
        let is_shut = poll_fn(|cx| Pin::new(&mut self.wire.lock().stream).poll_shutdown(cx)).await.is_ok();
        let is_quiet = {
            let wire = self.wire.lock();
            wire.framing.is_complete() && wire.ahead.is_empty()
        };
        if is_quiet || !is_shut {
            return;
        }
        let lingering = async {
            let mut n_bytes = 0;
            while n_bytes < MAX_DISCARD {
                let read = poll_fn(|cx| {
                    let mut wire = self.wire.lock();
                    wire.ahead.clear();
                    wire.poll_fill(cx)
                });
                match read.await {
                    Ok(n @ 1..) => n_bytes += n,
                    _ => return,
                }
            }
        };
        // Out of time is as good an end as any.
        let _ = timeout(DISCARD_FOR, lingering).await;
    }
}

#[cfg(test)]
mod tests;
