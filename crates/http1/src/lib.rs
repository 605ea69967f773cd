//! HTTP/1.1 on both sides of a gateway: requests of clients, answers of upstreams.
//!
//! ```text
//! server: head ─▶ body (read by whoever wants it) ─▶ answer, one after the other, on the task of the connection
//! client: request ─▶ head of the answer ─▶ body, spoken by whoever waits for it
//! ```
//!
//! What both share stands here and does no IO: where a head ends, where a body does (`framing`), what is refused. Not here:
//! sockets and TLS, pools, deadlines of calls, HTTP/2, and what a request means (`gateway`).
//!
//! # Invariants
//!
//! - What could be read in two ways is refused, or told to the caller, never guessed at.
//! - Any split of the same bytes gives the same messages.
//! - No task, no channel and no buffer is kept for a connection that waits.

#![deny(missing_docs)]

pub mod client;
mod framing;
pub mod fuzz;
pub mod preface;
pub mod server;
pub mod taken;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The head is not HTTP/1.1.
    #[error("the message is not HTTP/1.1")]
    Head,
    /// It is not clear where the body ends.
    #[error("the message does not say clearly where its body ends")]
    Framing,
    /// A chunk's frame is wrong.
    #[error("a chunk of the message is not framed as it has to be")]
    Chunk,
    /// The head, or what nobody reads of a body, has no end.
    #[error("the head of the message, or what surrounds its body, is too long")]
    TooLong,
}

/// Returns where the first empty line ends. `n_seen` bytes were looked at before.
pub(crate) fn find_end(buf: &[u8], n_seen: &mut usize) -> Option<usize> {
    while let Some(at) = memchr::memchr(b'\n', buf.get(*n_seen..)?) {
        let next = *n_seen + at + 1;
        match buf.get(next..)? {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            // Whether the next line is empty is not known yet: look at this line's end again.
            [] | [b'\r'] => return None,
            _ => *n_seen = next,
        }
    }
    *n_seen = buf.len();
    None
}

/// Reads the length; the same one may be given several times.
pub(crate) fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let length = digits(part.trim_ascii()).ok_or(Fault::Framing)?;
            if found.is_some_and(|earlier| earlier != length) {
                return Err(Fault::Framing);
            }
            found = Some(length);
        }
    }
    Ok(found)
}

/// Reads a number that is written as digits and nothing else.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// Says whether a list in headers of this name has a word.
pub(crate) fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().any(|value| lists(value.as_bytes(), word))
}

/// Says whether a list has a word.
pub(crate) fn lists(list: &[u8], word: &str) -> bool {
    list.split(|byte| *byte == b',').any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}
