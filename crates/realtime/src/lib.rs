//! Realtime sessions: a WebSocket to a client, one to an upstream, and what passes between them.
//!
//! ```text
//! client ⇄ Session ⇄ upstream
//!             │
//!            Host: may this turn be made? this answer used so much; is the key still good?
//! ```
//!
//! Messages pass as they came; of those in text only the few are read that begin, end or bill a turn. Not here: who may call,
//! what a token costs, how a target is chosen; that is the [`Host`]'s, which the gateway implements.
//!
//! # Invariants
//!
//! - **Told first, then shown.** The host has booked an answer before the client sees that it is done.
//! - **Asked before every turn**, whoever made it: the client by an event, or the upstream by hearing the end of speech.
//! - **Bounded.** Each direction holds at most one message and a few notices; whoever does not read holds up the other side.
//! - **Both ends end.** However a session ends, both peers are told why, within [`session::CLOSE_WITHIN`].

#![deny(missing_docs)]

pub mod client_secret;
pub mod echo;
pub mod event;
pub mod handshake;
pub mod live;
pub mod session;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub use crate::event::{Done, Status, Transcribed, UpstreamError};
pub use crate::session::{End, Host, Limits, Refusal, Session};
pub use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
pub use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
pub use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};

/// The bytes of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One side of a session.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// Most bytes that are read from a peer at once: enough for a few events, little enough for many sessions.
const READ_BUFFER: usize = 16 * 1024;

/// Room between a session and an upstream that is served here.
const LOCAL_ROOM: usize = 64 * 1024;

/// Makes a socket to a client, after the handshake.
pub async fn to_client(io: Box<dyn Io>, max_message_bytes: usize) -> Socket {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config(max_message_bytes))).await
}

/// Makes a socket to an upstream, after the handshake.
pub async fn to_upstream(io: Box<dyn Io>, max_message_bytes: usize) -> Socket {
    WebSocketStream::from_raw_socket(io, Role::Client, Some(config(max_message_bytes))).await
}

fn config(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Written at once: a message that waits for the next is latency that can be heard.
        .write_buffer_size(0)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}
