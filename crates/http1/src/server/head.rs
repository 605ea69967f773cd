//! The heads of HTTP/1.1 messages as a server has them: reads a request's, writes an answer's. **Sans-IO.**
//!
//! Invariants: any split of the same bytes gives the same requests; a request that somebody on the way may have framed in
//! another way is refused; what is written is one head, since no value that passed the `http` crate's types holds a line end.

use std::cell::Cell;
use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use domain::Timestamp;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use httparse::{Header, Status};

use super::Limits;
use crate::framing::{Chunked, Framing};
use crate::{digits, find_end, lists};

/// Headers that are read into room on the stack.
const USUAL_HEADERS: usize = 128;
/// Least that a head may have, whatever the limit says.
const LEAST_HEAD: usize = 8 * 1024;
/// Longest path of a head that is not served which is looked at.
const MAX_SHOWN_PATH: usize = 1_024;

/// The head of a request.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the message")]
pub(super) struct Head {
    pub(super) parts: Box<Parts>,
    pub(super) framing: Framing,
    /// Whether the client wants to use the connection again.
    pub(super) is_kept: bool,
    /// Whether the client sends its body only when it is told to.
    pub(super) is_asking: bool,
    /// Whether the client asks for another protocol.
    pub(super) wants_upgrade: bool,
    /// Whether the body's length is said in two ways.
    pub(super) is_double_framed: bool,
}

/// A head that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status to answer with.
    pub status: StatusCode,
    /// What was wrong, for the client.
    pub detail: &'static str,
    /// The path that its first line seems to ask for: an answer may be put as the client expects it there.
    pub path: Option<Box<str>>,
}

impl Refused {
    pub(super) const SLOW: Self = Self {
        status: StatusCode::REQUEST_TIMEOUT,
        detail: "the head of the request did not come to its end in time; send it again, on a new connection",
        path: None,
    };
    const TOO_LARGE: Self = Self {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        detail: "the head of the request is larger than this gateway accepts, or has more lines; send fewer or shorter headers",
        path: None,
    };
    const EXPECTATION: Self = Self {
        status: StatusCode::EXPECTATION_FAILED,
        detail: "the request expects something else than 100-continue; send it without the expect header",
        path: None,
    };

    const fn malformed(detail: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail, path: None }
    }

    /// Notes what the first line of a head asks for.
    fn of(self, head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).filter(|it| it.len() <= MAX_SHOWN_PATH);
        let text = target.and_then(|it| std::str::from_utf8(it).ok()).filter(|it| it.starts_with('/'));
        let path = text.map(|it| it.split('?').next().unwrap_or_default().into());
        Self { path, ..self }
    }
}

/// Takes the head of a request out of what was read; `None` when it is not complete. `n_seen` bytes were looked at before.
pub(super) fn read(buf: &mut BytesMut, n_seen: &mut usize, limits: Limits) -> Result<Option<Head>, Refused> {
    skip_empty_lines(buf, n_seen);
    // What comes after it is refused with a reason, so this is twice the limit itself.
    let most = limits.max_header_bytes.max(LEAST_HEAD) * 2;
    let Some(end) = find_end(buf, n_seen).filter(|end| *end <= most) else {
        return if buf.len() > most { Err(Refused::TOO_LARGE.of(buf)) } else { may_be_head(buf).map(|()| None) };
    };
    *n_seen = 0;
    let head = buf.split_to(end).freeze();
    // A line end that others may not take for one.
    if memchr::memchr_iter(b'\n', &head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Err(Refused::malformed("lines of the request's head end with a line feed alone").of(&head));
    }
    parse(&head, limits.max_headers).map(Some).map_err(|refused| refused.of(&head))
}

/// Passes over empty lines before a request (RFC 9112, section 2.2).
fn skip_empty_lines(buf: &mut BytesMut, n_seen: &mut usize) {
    while buf.starts_with(b"\r\n") {
        buf.advance(2);
        *n_seen = 0;
    }
}

/// Refuses at once what is no HTTP: who speaks something else might never send an empty line.
fn may_be_head(buf: &[u8]) -> Result<(), Refused> {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r');
    let line = buf.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // A client may send TLS to a port without; the first bytes of that are no method's.
    if line.iter().take(16).all(is_text) { Ok(()) } else { Err(Refused::malformed("this is not HTTP")) }
}

fn parse(head: &Bytes, max_headers: usize) -> Result<Head, Refused> {
    if max_headers <= USUAL_HEADERS {
        let mut room = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
        return parse_into(head, &mut room[..max_headers]);
    }
    parse_into(head, &mut vec![MaybeUninit::uninit(); max_headers])
}

fn parse_into<'b>(head: &'b Bytes, room: &mut [MaybeUninit<Header<'b>>]) -> Result<Head, Refused> {
    const NO_HTTP: Refused = Refused::malformed("the head of the request cannot be read; send HTTP of version 1.1");
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, room) {
        Ok(Status::Complete(n)) if n == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TOO_LARGE),
        _ => return Err(NO_HTTP),
    }
    let (Some(method), Some(path), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(NO_HTTP);
    };
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| NO_HTTP)?;
    // Parts of the head, not copies of it.
    parts.uri = Uri::from_maybe_shared(head.slice_ref(path.as_bytes()))
        .map_err(|_| Refused::malformed("the target of the request is not a valid one"))?;
    parts.version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut said = Said::default();
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| NO_HTTP)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).map_err(|_| NO_HTTP)?;
        said.note(&name, value.as_bytes(), version)?;
        headers.append(name, value);
    }
    parts.headers = headers;
    said.conclude(parts)
}

/// What the headers of a request say about the message itself.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the message")]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    n_hosts: usize,
    closes: bool,
    keeps: bool,
    upgrades: bool,
    has_upgrade: bool,
    is_asking: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &[u8], version: u8) -> Result<(), Refused> {
        if *name == CONTENT_LENGTH {
            let length = digits(value).filter(|_| self.length.is_none());
            self.length =
                Some(length.ok_or(Refused::malformed("the request needs one content-length, a whole number"))?);
        } else if *name == TRANSFER_ENCODING {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked") && !self.is_chunked && version == 1;
            if !is_chunked {
                return Err(Refused::malformed("the request has a transfer-encoding other than chunked, or twice"));
            }
            self.is_chunked = true;
        } else if *name == CONNECTION {
            self.closes |= lists(value, "close");
            self.keeps |= lists(value, "keep-alive");
            self.upgrades |= lists(value, "upgrade");
        } else if *name == HOST {
            self.n_hosts += 1;
        } else if *name == UPGRADE {
            self.has_upgrade = true;
        } else if *name == EXPECT && version == 1 {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refused::EXPECTATION);
            }
            self.is_asking = true;
        }
        Ok(())
    }

    fn conclude(self, parts: Parts) -> Result<Head, Refused> {
        let is_new = parts.version == Version::HTTP_11;
        // RFC 9112, section 3.2.
        if self.n_hosts > 1 || is_new && self.n_hosts == 0 {
            return Err(Refused::malformed("the request needs one host header"));
        }
        let framing = match self.length {
            _ if self.is_chunked => Framing::Chunked(Chunked::new()),
            length => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Head {
            is_kept: if is_new { !self.closes } else { self.keeps && !self.closes },
            is_asking: self.is_asking && !framing.is_complete(),
            wants_upgrade: is_new && self.upgrades && self.has_upgrade && framing.is_complete(),
            is_double_framed: self.is_chunked && self.length.is_some(),
            framing,
            parts: Box::new(parts),
        })
    }
}

// === Answers ===

/// How the end of an answer's body is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is no body.
    None,
    /// No body is sent, but its length is told: the answer to HEAD.
    Told(u64),
    /// So many bytes.
    Length(u64),
    /// Frames, each with its size in front.
    Chunked,
    /// With the connection.
    Close,
    /// Another protocol begins.
    Upgrade,
}

/// Writes the head of an answer.
pub(super) fn write(
    out: &mut Vec<u8>,
    (status, headers): (StatusCode, &HeaderMap),
    (version, ending, is_kept): (Version, Ending, bool),
    now: Timestamp,
) {
    let is_old = version == Version::HTTP_10;
    out.extend_from_slice(if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        // What frames the message is ours to say, unless another protocol begins.
        let is_ours = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION;
        if !is_ours || ending == Ending::Upgrade && *name == CONNECTION {
            write_line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if !headers.contains_key(DATE) {
        write_date(out, now);
    }
    match ending {
        Ending::Length(length) | Ending::Told(length) => {
            out.extend_from_slice(b"content-length: ");
            write_number(out, length, 10);
            out.extend_from_slice(b"\r\n");
        }
        Ending::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Ending::None | Ending::Close | Ending::Upgrade => {}
    }
    match (is_kept, is_old) {
        (false, false) if ending != Ending::Upgrade => out.extend_from_slice(b"connection: close\r\n"),
        (true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number without a detour.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64, base: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Twenty digits hold every number.
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = DIGITS[usize::try_from(number % base).unwrap_or(0)];
        number /= base;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Length of a date as HTTP has it.
const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

thread_local! {
    static TODAY: Cell<(i64, [u8; DATE_LEN])> = const { Cell::new((i64::MIN, [b' '; DATE_LEN])) };
}

fn write_date(out: &mut Vec<u8>, now: Timestamp) {
    let (mut second, mut text) = TODAY.get();
    if second != now.as_secs() {
        second = now.as_secs();
        text = date(now);
        TODAY.set((second, text));
    }
    write_line(out, b"date", &text);
}

/// Writes an instant as RFC 9110, section 5.6.7, has it.
fn date(at: Timestamp) -> [u8; DATE_LEN] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (year, month, day) = at.date();
    let second = at.as_secs().rem_euclid(86_400);
    let weekday = usize::try_from(at.as_secs().div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[weekday]);
    text[8..11].copy_from_slice(MONTHS[usize::from(month.saturating_sub(1)) % 12]);
    let mut put = |at: usize, number: i64| {
        let digit = |number: i64| b'0' + u8::try_from(number.rem_euclid(10)).unwrap_or(0);
        (text[at], text[at + 1]) = (digit(number / 10), digit(number));
    };
    put(5, i64::from(day));
    put(12, year / 100);
    put(14, year);
    put(17, second / 3_600);
    put(20, second / 60 % 60);
    put(23, second % 60);
    text
}

#[cfg(test)]
mod tests;
