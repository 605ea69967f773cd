//! Carries what a [`Live`] says: to a session on one side, to Gemini on the other.
//!
//! One message at a time, either way: who does not read holds up the other, and the session's own clocks end what stalls.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Live, Options};
use crate::session::{CLOSE_WITHIN, GONE_AFTER, LAST_WORD, PING_AFTER, STALLED_AFTER};
use crate::{Io, LOCAL_ROOM, Socket, to_client, to_upstream};

/// Longest time in which Gemini may agree to the settings.
const SETUP_WITHIN: Duration = Duration::from_secs(15);

/// Why it is over.
enum Over {
    /// The session is.
    Session,
    /// Gemini is, and said this.
    Gemini(Option<CloseFrame>),
}

/// Makes the near end of a session, which speaks OpenAI's events, and what serves it with Gemini behind `gemini`, where the handshake
/// is done.
pub fn connect(
    gemini: Box<dyn Io>,
    options: Options,
    max_message_bytes: usize,
) -> (Box<dyn Io>, impl Future<Output = ()>) {
    let (near, far) = tokio::io::duplex(LOCAL_ROOM);
    let serving = async move {
        let gemini = to_upstream(gemini, max_message_bytes).await;
        serve(Box::new(far), gemini, options, max_message_bytes).await;
    };
    (Box::new(near), serving)
}

async fn serve(session: Box<dyn Io>, mut gemini: Socket, options: Options, max_message_bytes: usize) {
    let mut session = to_client(session, max_message_bytes).await;
    let mut live = Live::new(options);
    let over = carry(&mut session, &mut gemini, &mut live).await;
    match over {
        Over::Session => {
            let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            // It has heard enough; what it says now is for nobody.
            let _ = timeout(CLOSE_WITHIN, gemini.close(Some(normal))).await;
        }
        Over::Gemini(frame) => {
            let reason = frame.as_ref().map(|frame| frame.reason.to_string()).unwrap_or_default();
            live.closed(&reason);
            // A session that ends as announced has not failed.
            let away = CloseFrame { code: CloseCode::Away, reason: "".into() };
            let frame = if live.is_going_away() { Some(away) } else { frame };
            let parting = async {
                while let Some(out) = live.take() {
                    if let (true, event) = out.into_text()
                        && session.send(Message::text(event)).await.is_err()
                    {
                        return;
                    }
                }
                // Without a word it was cut, and so is the session.
                if frame.is_some() && session.close(frame).await.is_ok() {
                    while let Some(Ok(_)) = session.next().await {}
                }
            };
            // A session that takes nothing is ending anyway.
            let _ = timeout(CLOSE_WITHIN, parting).await;
        }
    }
}

async fn carry(session: &mut Socket, gemini: &mut Socket, live: &mut Live) -> Over {
    let (mut heard_at, mut pinged_at) = (Instant::now(), Instant::now());
    let (mut asked_at, mut cut_at) = (None, None);
    loop {
        while let Some(out) = live.take() {
            let (is_for_client, text) = out.into_text();
            let side = if is_for_client { &mut *session } else { &mut *gemini };
            match timeout(STALLED_AFTER, side.send(Message::text(text))).await {
                Ok(Ok(())) => {}
                _ if is_for_client => return Over::Session,
                _ => return Over::Gemini(None),
            }
        }
        let now = Instant::now();
        let since = |begun: &mut Option<Instant>, is_so: bool| {
            *begun = is_so.then(|| begun.unwrap_or(now));
            *begun
        };
        let setup_by = since(&mut asked_at, !live.is_listening()).map(|at| at + SETUP_WITHIN);
        // A little before the session's own patience ends.
        let end_by = since(&mut cut_at, live.is_ending()).map(|at| at + LAST_WORD - Duration::from_millis(500));
        let ping_at = heard_at.max(pinged_at) + PING_AFTER;
        let gone_at = heard_at + GONE_AFTER;
        let next = [setup_by, end_by, Some(ping_at), Some(gone_at)].into_iter().flatten().min().unwrap_or(gone_at);
        tokio::select! {
            said = gemini.next() => {
                heard_at = Instant::now();
                match said {
                    Some(Ok(Message::Text(text))) => live.gemini_said(text.as_bytes()),
                    // Its JSON comes in binary messages.
                    Some(Ok(Message::Binary(bytes))) => live.gemini_said(&bytes),
                    Some(Ok(Message::Close(frame))) => return Over::Gemini(frame),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Over::Gemini(None),
                }
            }
            said = session.next(), if live.is_listening() => match said {
                Some(Ok(Message::Text(text))) => live.client_said(&text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Over::Session,
                Some(Ok(_)) => {}
            },
            () = sleep_until(next) => {
                let now = Instant::now();
                if now >= gone_at || setup_by.is_some_and(|by| now >= by) {
                    return Over::Gemini(None);
                }
                if end_by.is_some_and(|by| now >= by) {
                    live.give_up();
                }
                if now >= ping_at {
                    pinged_at = now;
                    if gemini.send(Message::Ping(Bytes::new())).await.is_err() {
                        return Over::Gemini(None);
                    }
                }
            }
        }
    }
}
