//! Carries messages between a client and an upstream until one of them, the host or time says that it is over.
//!
//! One task, one loop: room is sought first, then a message, so that a peer that does not read holds up the other and nothing
//! piles up. Pings are answered on each side by itself and are not carried across; a side that stays silent in spite of ours
//! is gone. A turn that runs when the client leaves is cancelled and its end waited for, so that what it used is known.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use crate::Socket;
use crate::event::{self, Done, FromClient, FromUpstream, Transcribed, UpstreamError};

/// How often clocks are looked at and the host is asked whether the session may go on.
pub const TICK: Duration = Duration::from_secs(1);
/// Silence after which a side is asked for a sign of life: less than the 60 s after which common load balancers give up.
pub const PING_AFTER: Duration = Duration::from_secs(20);
/// Silence after which a side is gone, asked or not.
pub const GONE_AFTER: Duration = Duration::from_secs(60);
/// Longest time for which a side may take nothing of what is there for it.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Longest time for the words of parting and the other side's own.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Longest time in which an upstream may say what a turn used that was cancelled because its client left.
pub const LAST_WORD: Duration = Duration::from_secs(3);

/// Messages moved before other tasks get their turn.
const BURST: usize = 32;
/// Notices that wait for a client before nothing more is read of it.
const MOST_NOTICES: usize = 8;
/// Turns that are followed at a time; the vendor allows one, and a few beside the conversation.
const MOST_TURNS: usize = 64;

/// What a session asks and tells.
pub trait Host: Send {
    /// The client asks for a turn. An error keeps it from the upstream.
    fn may_respond(&mut self) -> Result<(), Refusal>;

    /// The client sets the session's model. Gives the name to put in its place, if another.
    fn may_set_model(&mut self, model: &str) -> Result<Option<String>, Refusal>;

    /// The client names the model that is to write down what is heard. An error keeps the event from the upstream.
    fn may_transcribe(&mut self, model: &str) -> Result<(), Refusal>;

    /// The upstream has begun a turn, which the client may have asked for or not. An error cancels it.
    fn began(&mut self, turn: &str) -> Result<(), Refusal>;

    /// A turn is over; the client has not seen it yet.
    fn done(&mut self, done: &Done);

    /// Something heard was written down, by a model; the client has not seen it yet.
    fn transcribed(&mut self, transcribed: &Transcribed, model: Option<&str>);

    /// The upstream complains.
    fn failed(&mut self, error: &UpstreamError);

    /// The upstream will not take more for this long.
    fn exhausted(&mut self, pause: Duration);

    /// Says whether the session may go on. Asked at every [`TICK`], so it has to be cheap.
    fn may_go_on(&mut self) -> Result<(), Refusal>;

    /// Says to the client why its session ends; `None` where nothing is to be said.
    fn explain(&mut self, end: &End) -> Option<Refusal>;
}

/// A no, in the words of an `error` event.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The event's `error` object.
    pub error: Value,
    /// The session ends with it. Otherwise only what was asked for is refused.
    pub is_final: bool,
}

impl Refusal {
    fn event(&self, client_event: Option<&str>, n: u64) -> Message {
        let mut error = self.error.clone();
        if let (Some(object), Some(id)) = (error.as_object_mut(), client_event) {
            object.insert("event_id".to_owned(), id.into());
        }
        let event = json!({"type": "error", "event_id": format!("event_headgate_{n}"), "error": error});
        Message::text(event.to_string())
    }

    fn code(&self) -> &str {
        self.error.get("code").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The client said goodbye.
    ClientClosed(Option<CloseFrame>),
    /// The client is gone without a word, or takes nothing any more.
    ClientGone,
    /// The client broke the protocol.
    ClientBroke(CloseCode),
    /// The client sent a message beyond the limit.
    TooLarge,
    /// The upstream said goodbye.
    UpstreamClosed(Option<CloseFrame>),
    /// The upstream is gone without a word, broke the protocol, or takes nothing any more.
    UpstreamGone,
    /// The host refused to go on.
    Refused(Refusal),
    /// This node stops.
    Draining,
    /// Nothing was said for too long.
    Idle,
    /// It lasted as long as a session may.
    Expired,
}

/// Bounds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time in which neither side says anything.
    pub idle: Duration,
    /// When the session ends at the latest.
    pub ends_at: Instant,
}

/// What is known of one side.
#[derive(Debug)]
struct Side {
    heard_at: Instant,
    pinged_at: Instant,
    /// Since when it takes nothing.
    blocked_since: Option<Instant>,
    has_unflushed: bool,
}

impl Side {
    fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: now, blocked_since: None, has_unflushed: false }
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
    }

    /// Says whether the side is to be pinged, or is gone.
    fn look(&mut self, now: Instant, is_read: bool) -> Look {
        if self.blocked_since.is_some_and(|since| now - since >= STALLED_AFTER) {
            return Look::Gone;
        }
        if !is_read {
            // What nobody listened for was not silence.
            self.heard_at = now;
            return Look::Fine;
        }
        if now - self.heard_at >= GONE_AFTER {
            return Look::Gone;
        }
        if now - self.heard_at.max(self.pinged_at) >= PING_AFTER {
            self.pinged_at = now;
            return Look::Ping;
        }
        Look::Fine
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Fine,
    Ping,
    Gone,
}

/// A session.
pub struct Session<H> {
    client: Socket,
    upstream: Socket,
    host: H,
    limits: Limits,
    /// What the upstream had said before the client was there to hear it.
    first: Option<Message>,
    /// What is said for the client before it says anything itself.
    opening: Option<Utf8Bytes>,
    to_client: VecDeque<Message>,
    to_upstream: VecDeque<Message>,
    /// The turns under way.
    open: Vec<Box<str>>,
    transcription: Option<Box<str>>,
    client_side: Side,
    upstream_side: Side,
    is_leaving: bool,
    said_at: Instant,
    n_events: u64,
}

impl<H: Host> Session<H> {
    /// Puts a session together. `first` is what the upstream has said already.
    pub fn new(client: Socket, upstream: Socket, first: Option<Message>, host: H, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            client,
            upstream,
            host,
            limits,
            first,
            opening: None,
            to_client: VecDeque::new(),
            to_upstream: VecDeque::new(),
            open: Vec::new(),
            transcription: None,
            client_side: Side::new(now),
            upstream_side: Side::new(now),
            is_leaving: false,
            said_at: now,
            n_events: 0,
        }
    }

    /// Says an event for the client before it says anything itself; it is read as if the client had sent it.
    #[must_use]
    pub fn opened_with(mut self, event: Option<String>) -> Self {
        self.opening = event.map(Utf8Bytes::from);
        self
    }

    /// Runs to the end, parting included. When `leave` is ready the session ends with the turns under way, when `cut` is, at once.
    pub async fn run(mut self, leave: impl Future<Output = ()>, cut: impl Future<Output = ()>) -> (End, H) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = {
            let (mut leave, mut cut) = (pin!(leave), pin!(cut));
            std::future::poll_fn(|cx| self.poll(cx, &mut ticks, leave.as_mut(), cut.as_mut())).await
        };
        self.part(&end).await;
        (end, self.host)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ticks: &mut Interval,
        leave: Pin<&mut impl Future<Output = ()>>,
        cut: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<End> {
        if !self.is_leaving && leave.poll(cx).is_ready() {
            self.is_leaving = true;
        }
        if cut.poll(cx).is_ready() {
            return Poll::Ready(End::Draining);
        }
        while ticks.poll_tick(cx).is_ready() {
            if let Err(end) = self.tick() {
                return Poll::Ready(end);
            }
        }
        for _ in 0..BURST {
            let moved = match (self.poll_up(cx), self.poll_down(cx)) {
                (Err(end), _) | (_, Err(end)) => return Poll::Ready(end),
                (Ok(up), Ok(down)) => up || down,
            };
            if self.is_leaving && self.open.is_empty() && self.to_client.is_empty() {
                return Poll::Ready(End::Draining);
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Looks at the clocks.
    fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.limits.ends_at {
            return Err(End::Expired);
        }
        if now - self.said_at >= self.limits.idle {
            return Err(End::Idle);
        }
        self.host.may_go_on().map_err(End::Refused)?;
        // A side is only read while the other takes what it says.
        let (reads_client, reads_upstream) =
            (self.upstream_side.blocked_since.is_none(), self.client_side.blocked_since.is_none());
        match self.client_side.look(now, reads_client) {
            Look::Gone => return Err(End::ClientGone),
            Look::Ping => self.to_client.push_back(Message::Ping(Bytes::new())),
            Look::Fine => {}
        }
        match self.upstream_side.look(now, reads_upstream) {
            Look::Gone => return Err(End::UpstreamGone),
            Look::Ping => self.to_upstream.push_back(Message::Ping(Bytes::new())),
            Look::Fine => {}
        }
        Ok(())
    }

    // === From the client to the upstream ===

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !has_room(&mut self.upstream, &mut self.upstream_side, cx).map_err(|_| End::UpstreamGone)? {
            return Ok(false);
        }
        if let Some(order) = self.to_upstream.pop_front() {
            return self.send_up(order).map(|()| true);
        }
        if self.to_client.len() >= MOST_NOTICES {
            return Ok(false);
        }
        if self.opening.is_some() && self.first.is_some() {
            // A refusal of it comes after the upstream's greeting.
            return Ok(false);
        }
        if let Some(text) = self.opening.take() {
            return self.carry_up(text).map(|()| true);
        }
        let message = match self.client.poll_next_unpin(cx) {
            Poll::Pending => {
                flush(&mut self.upstream, &mut self.upstream_side, cx).map_err(|_| End::UpstreamGone)?;
                return Ok(false);
            }
            Poll::Ready(None) => return Err(End::ClientGone),
            Poll::Ready(Some(Err(error))) => return Err(client_failed(&error)),
            Poll::Ready(Some(Ok(message))) => message,
        };
        self.client_side.heard();
        match message {
            Message::Close(frame) => Err(End::ClientClosed(frame)),
            Message::Text(text) => {
                self.said_at = Instant::now();
                self.carry_up(text).map(|()| true)
            }
            Message::Binary(_) => {
                self.said_at = Instant::now();
                self.send_up(message).map(|()| true)
            }
            // Answered by the socket itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(true),
        }
    }

    fn carry_up(&mut self, text: Utf8Bytes) -> Result<(), End> {
        match self.read_client(&text)? {
            Passage::AsItCame => self.send_up(Message::Text(text)),
            Passage::Instead(other) => self.send_up(other),
            Passage::Stopped => Ok(()),
        }
    }

    fn send_up(&mut self, message: Message) -> Result<(), End> {
        self.upstream_side.has_unflushed = true;
        self.upstream.start_send_unpin(message).map_err(|_| End::UpstreamGone)
    }

    fn read_client(&mut self, text: &str) -> Result<Passage, End> {
        match event::from_client(text) {
            FromClient::Other => Ok(Passage::AsItCame),
            FromClient::Unreadable => {
                let message = "the event is not one JSON object with each name once";
                let error = json!({"type": "invalid_request_error", "code": "request_invalid", "message": message, "param": null});
                self.refuse(Refusal { error, is_final: false }, None)
            }
            FromClient::ResponseCreate { event_id } => {
                let asked = if self.is_leaving {
                    self.host
                        .explain(&End::Draining)
                        .map_or(Ok(()), |refusal| Err(Refusal { is_final: false, ..refusal }))
                } else {
                    self.host.may_respond()
                };
                match asked {
                    Ok(()) => Ok(Passage::AsItCame),
                    Err(refusal) => self.refuse(refusal, event_id.as_deref()),
                }
            }
            FromClient::SessionUpdate { event_id, model, transcription } => {
                match self.may_update(model.as_deref(), transcription.as_deref()) {
                    Ok(None) => Ok(Passage::AsItCame),
                    Ok(Some(name)) => Ok(event::with_model(text, &name)
                        .map_or(Passage::AsItCame, |text| Passage::Instead(Message::text(text)))),
                    Err(refusal) => self.refuse(refusal, event_id.as_deref()),
                }
            }
        }
    }

    /// Asks about the models that an update names; gives the name to put in the place of the session's.
    fn may_update(&mut self, model: Option<&str>, transcription: Option<&str>) -> Result<Option<String>, Refusal> {
        if let Some(model) = transcription {
            self.host.may_transcribe(model)?;
        }
        model.map_or(Ok(None), |model| self.host.may_set_model(model))
    }

    fn refuse(&mut self, refusal: Refusal, event_id: Option<&str>) -> Result<Passage, End> {
        if refusal.is_final {
            return Err(End::Refused(refusal));
        }
        self.notify(&refusal, event_id);
        Ok(Passage::Stopped)
    }

    fn notify(&mut self, refusal: &Refusal, event_id: Option<&str>) {
        self.n_events += 1;
        self.to_client.push_back(refusal.event(event_id, self.n_events));
    }

    // === From the upstream to the client ===

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !has_room(&mut self.client, &mut self.client_side, cx).map_err(|_| End::ClientGone)? {
            return Ok(false);
        }
        if let Some(notice) = self.to_client.pop_front() {
            return self.send_down(notice).map(|()| true);
        }
        let message = match self.first.take() {
            Some(first) => first,
            None => match self.upstream.poll_next_unpin(cx) {
                Poll::Pending => {
                    flush(&mut self.client, &mut self.client_side, cx).map_err(|_| End::ClientGone)?;
                    return Ok(false);
                }
                Poll::Ready(None | Some(Err(_))) => return Err(End::UpstreamGone),
                Poll::Ready(Some(Ok(message))) => message,
            },
        };
        self.upstream_side.heard();
        match message {
            Message::Close(frame) => return Err(End::UpstreamClosed(frame)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(true),
            Message::Text(ref text) => self.read_upstream(text)?,
            Message::Binary(_) => {}
        }
        self.said_at = Instant::now();
        self.send_down(message).map(|()| true)
    }

    fn send_down(&mut self, message: Message) -> Result<(), End> {
        self.client_side.has_unflushed = true;
        self.client.start_send_unpin(message).map_err(|_| End::ClientGone)
    }

    fn read_upstream(&mut self, text: &str) -> Result<(), End> {
        match event::from_upstream(text) {
            FromUpstream::Began { id } if self.open.len() < MOST_TURNS => {
                self.open.push(id.as_ref().into());
                let Err(refusal) = self.host.began(&id) else { return Ok(()) };
                if refusal.is_final {
                    return Err(End::Refused(refusal));
                }
                self.to_upstream.push_back(cancel(&id));
                self.notify(&refusal, None);
            }
            FromUpstream::Session { transcription } => self.transcription = transcription,
            FromUpstream::Failed(error) => self.host.failed(&error),
            FromUpstream::Exhausted(pause) => self.host.exhausted(pause),
            other => book(other, &mut self.host, &mut self.open, self.transcription.as_deref()),
        }
        Ok(())
    }

    // === The end ===

    /// Tells both sides, and waits for what the turns under way have used.
    async fn part(&mut self, end: &End) {
        let refusal = match end {
            End::Refused(refusal) => Some(refusal.clone()),
            other => self.host.explain(other),
        };
        if let Some(refusal) = &refusal {
            self.notify(refusal, None);
        }
        let (to_client, to_upstream) = frames(end, refusal.as_ref());
        let Self { client, upstream, host, open, transcription, to_client: notices, .. } = self;
        let tell_client = async {
            if *end != End::ClientGone {
                // Whoever takes nothing loses the words, not the session's end.
                let _ = timeout(CLOSE_WITHIN, farewell(client, std::mem::take(notices), to_client)).await;
            }
        };
        let tell_upstream = async {
            if *end == End::UpstreamGone {
                return;
            }
            if !open.is_empty() && !matches!(end, End::UpstreamClosed(_)) {
                let _ = timeout(LAST_WORD, last_word(upstream, host, open, transcription.as_deref())).await;
            }
            let _ = timeout(CLOSE_WITHIN, farewell(upstream, VecDeque::new(), to_upstream)).await;
        };
        tokio::join!(tell_client, tell_upstream);
    }
}

/// What becomes of a client's message.
enum Passage {
    AsItCame,
    Instead(Message),
    Stopped,
}

/// Tells the host of what is to be billed.
fn book(event: FromUpstream<'_>, host: &mut impl Host, open: &mut Vec<Box<str>>, transcription: Option<&str>) {
    match event {
        FromUpstream::Done(done) => {
            open.retain(|id| *id != done.id);
            host.done(&done);
        }
        // What says that it used nothing is a part of the turn that says it did.
        FromUpstream::Transcribed(transcribed) if !transcribed.is_free() => {
            host.transcribed(&transcribed, transcription);
        }
        _ => {}
    }
}

/// Says whether a side takes a message now.
fn has_room(socket: &mut Socket, side: &mut Side, cx: &mut Context<'_>) -> Result<bool, Error> {
    match socket.poll_ready_unpin(cx)? {
        Poll::Pending => {
            side.blocked_since.get_or_insert_with(Instant::now);
            Ok(false)
        }
        Poll::Ready(()) => {
            side.blocked_since = None;
            Ok(true)
        }
    }
}

fn flush(socket: &mut Socket, side: &mut Side, cx: &mut Context<'_>) -> Result<(), Error> {
    if side.has_unflushed && socket.poll_flush_unpin(cx)?.is_ready() {
        side.has_unflushed = false;
    }
    Ok(())
}

fn client_failed(error: &Error) -> End {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => End::TooLarge,
        Error::Utf8(_) => End::ClientBroke(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::ClientGone,
        Error::Protocol(_) => End::ClientBroke(CloseCode::Protocol),
        _ => End::ClientGone,
    }
}

fn cancel(turn: &str) -> Message {
    Message::text(json!({"type": "response.cancel", "response_id": turn}).to_string())
}

/// Cancels the turns under way and reads until each has said what it used.
async fn last_word(upstream: &mut Socket, host: &mut impl Host, open: &mut Vec<Box<str>>, transcription: Option<&str>) {
    for turn in open.iter() {
        if upstream.feed(cancel(turn)).await.is_err() {
            return;
        }
    }
    if upstream.flush().await.is_err() {
        return;
    }
    while !open.is_empty()
        && let Some(Ok(message)) = upstream.next().await
    {
        if let Message::Text(text) = message {
            book(event::from_upstream(&text), host, open, transcription);
        }
    }
}

/// Says what is left to be said and closes, waiting for the other side to do so.
async fn farewell(socket: &mut Socket, words: VecDeque<Message>, frame: Option<CloseFrame>) {
    for word in words {
        if socket.send(word).await.is_err() {
            break;
        }
    }
    // One that has closed already is only waited for.
    let _ = socket.send(Message::Close(frame)).await;
    while let Some(Ok(_)) = socket.next().await {}
}

/// The frames that end both sides.
fn frames(end: &End, refusal: Option<&Refusal>) -> (Option<CloseFrame>, Option<CloseFrame>) {
    let frame = |code: CloseCode, reason: &str| Some(CloseFrame { code, reason: reason.into() });
    let code_word = refusal.map_or("", Refusal::code);
    let away = || frame(CloseCode::Away, "");
    match end {
        End::ClientClosed(theirs) => (None, theirs.clone()),
        End::UpstreamClosed(theirs) => (theirs.clone(), None),
        End::ClientGone => (None, away()),
        End::ClientBroke(code) => (frame(*code, code_word), away()),
        End::TooLarge => (frame(CloseCode::Size, code_word), away()),
        End::UpstreamGone => (frame(CloseCode::Error, code_word), None),
        End::Refused(_) | End::Idle | End::Expired => (frame(CloseCode::Policy, code_word), away()),
        End::Draining => (frame(CloseCode::Away, code_word), away()),
    }
}
