//! The heads of HTTP/1.1 messages: writes a request's, reads an answer's. **Sans-IO.**
//!
//! Invariants: what is written is one request, since no value that passed the `http` crate's types holds a line end; an
//! answer that could be framed in two ways is refused or its connection is not used again.

use std::mem::MaybeUninit;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use crate::framing::{Chunked, Framing};
use crate::{Fault, find_end, length, names};

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// Most headers of an answer; the widest providers send some forty.
const MAX_HEADERS: usize = 128;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) answer: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection can be used again after the body.
    pub(super) is_kept: bool,
}

/// Writes the head of a request to `host` whose whole body is at hand.
pub(super) fn write(request: &Request<Bytes>, host: &HeaderValue) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(request.method().as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.uri().path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    out.put_slice(b" HTTP/1.1\r\nhost: ");
    out.put_slice(host.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in request.headers() {
        // What frames the message and names the host is ours to say.
        if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name) {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    if !request.body().is_empty() || !matches!(*request.method(), Method::GET | Method::HEAD) {
        out.put_slice(b"content-length: ");
        let mut digits = [0; 20];
        let mut rest = &mut digits[..];
        // Twenty digits hold every length.
        let _ = std::io::Write::write_fmt(&mut rest, format_args!("{}", request.body().len()));
        let n = 20 - rest.len();
        out.put_slice(&digits[..n]);
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
    out
}

/// Takes the head of an answer out of what was read; `None` when it is not complete. `n_seen` bytes were looked at before.
pub(super) fn read(buf: &mut BytesMut, n_seen: &mut usize) -> Result<Option<Head>, Fault> {
    loop {
        let Some(end) = find_end(buf, n_seen) else {
            return match buf.len() {
                _ if !may_be_head(buf) => Err(Fault::Head),
                0..=MAX_HEAD => Ok(None),
                _ => Err(Fault::TooLong),
            };
        };
        *n_seen = 0;
        let head = parse(&buf.split_to(end).freeze())?;
        // Word of progress, before the answer (RFC 9110, section 15.2). Nobody asked to switch protocols.
        match head.answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::Head),
            status if status.is_informational() => {}
            _ => return Ok(Some(head)),
        }
    }
}

/// Says whether bytes may be the beginning of a head: who speaks something else might never send an empty line.
fn may_be_head(buf: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/1.";
    let line = buf.trim_ascii_start();
    let n = line.len().min(START.len());
    line[..n] == START[..n]
}

fn parse(head: &Bytes) -> Result<Head, Fault> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let read = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut room);
    let Ok(Status::Complete(_)) = read else { return Err(Fault::Head) };
    let mut answer = Response::new(());
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Fault::Head)?;
    *answer.status_mut() = status;
    *answer.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Fault::Head)?;
        // A part of the head, not a copy of it.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).map_err(|_| Fault::Head)?;
        headers.append(name, value);
    }
    let (framing, is_kept) = framing(&answer, &headers)?;
    *answer.headers_mut() = headers;
    Ok(Head { answer, framing, is_kept })
}

/// Says how the body is framed (RFC 9112, section 6.3), and whether the connection outlives it.
fn framing(answer: &Response<()>, headers: &HeaderMap) -> Result<(Framing, bool), Fault> {
    let is_kept = if answer.version() == Version::HTTP_11 {
        !names(headers, &CONNECTION, "close")
    } else {
        names(headers, &CONNECTION, "keep-alive")
    };
    let length = length(headers)?;
    if matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok((Framing::Length(0), is_kept));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // We offered no other coding, and none twice.
        let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        // Framed twice: somebody on the way may have read it the other way.
        return if is_chunked {
            Ok((Framing::Chunked(Chunked::new()), is_kept && length.is_none() && answer.version() == Version::HTTP_11))
        } else {
            Err(Fault::Framing)
        };
    }
    Ok(match length {
        Some(length) => (Framing::Length(length), is_kept),
        None => (Framing::Close, false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Option<(Head, String)>, Fault> {
        let mut buf = BytesMut::from(text.as_bytes());
        let found = read(&mut buf, &mut 0)?;
        Ok(found.map(|head| (head, String::from_utf8_lossy(&buf).into_owned())))
    }

    fn framed(lines: &str) -> Result<(Framing, bool), Fault> {
        let (head, rest) = read_all(&format!("HTTP/1.1 200 OK\r\n{lines}\r\nrest"))?.expect("a whole head");
        assert_eq!(rest, "rest");
        Ok((head.framing, head.is_kept))
    }

    #[test]
    fn a_request_is_written_with_its_host_and_length() {
        let mut request = Request::new(Bytes::from_static(b"{}"));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "http://ignored.test/v1/chat?x=1".parse().unwrap();
        for (name, value) in [("host", "other.test"), ("content-length", "9"), ("authorization", "Bearer k")] {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let text = write(&request, &HeaderValue::from_static("api.test:8080"));
        let wanted =
            "POST /v1/chat?x=1 HTTP/1.1\r\nhost: api.test:8080\r\nauthorization: Bearer k\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(text, wanted.as_bytes());
        let get = Request::new(Bytes::new());
        assert_eq!(write(&get, &HeaderValue::from_static("h")), &b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"[..]);
    }

    #[test]
    fn bodies_end_as_their_heads_say() {
        let chunked = || Framing::Chunked(Chunked::new());
        for (lines, framing, is_kept) in [
            ("content-length: 5\r\n", Framing::Length(5), true),
            ("Content-Length: 5\r\nConnection: Close\r\n", Framing::Length(5), false),
            ("content-length: 5, 5\r\ncontent-length: 5\r\n", Framing::Length(5), true),
            ("transfer-encoding: Chunked\r\n", chunked(), true),
            ("transfer-encoding: chunked\r\nconnection: x, close\r\n", chunked(), false),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", chunked(), false),
            ("x: y\r\n", Framing::Close, false),
        ] {
            assert_eq!(framed(lines), Ok((framing, is_kept)), "{lines:?}");
        }
        for lines in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: +5\r\n",
            "content-length: 5;\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
        ] {
            assert_eq!(framed(lines), Err(Fault::Framing), "{lines:?}");
        }
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 304] {
            let text = format!("HTTP/1.1 {status} x\r\ntransfer-encoding: chunked\r\n\r\n");
            assert_eq!(read_all(&text).unwrap().unwrap().0.framing, Framing::Length(0));
        }
    }

    #[test]
    fn an_old_server_keeps_a_connection_only_when_it_says_so() {
        let kept = |lines: &str| {
            let text = format!("HTTP/1.0 200 OK\r\n{lines}content-length: 0\r\n\r\n");
            read_all(&text).unwrap().unwrap().0.is_kept
        };
        assert!(!kept("") && kept("connection: keep-alive\r\n"));
    }

    #[test]
    fn words_of_progress_are_passed_over() {
        let (head, rest) = read_all(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\nx-id: 7\r\n\r\n{}",
        )
        .unwrap()
        .unwrap();
        assert_eq!((head.answer.status(), rest.as_str()), (StatusCode::CREATED, "{}"));
        assert_eq!(head.answer.headers()["x-id"], "7");
        assert_eq!(read_all("HTTP/1.1 101 Switching\r\n\r\n").unwrap_err(), Fault::Head);
    }

    #[test]
    fn any_split_of_a_head_gives_the_same_answer() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\nx: a\r\n\r\nabc";
        for cut in 0..text.len() {
            let (mut buf, mut n_seen) = (BytesMut::from(&text[..cut]), 0);
            let early = read(&mut buf, &mut n_seen).unwrap();
            buf.extend_from_slice(&text[cut..]);
            let head = early.or_else(|| read(&mut buf, &mut n_seen).unwrap()).unwrap();
            assert_eq!((head.framing, &buf[..]), (Framing::Length(3), &b"abc"[..]), "{cut}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n",
        ] {
            assert_eq!(read_all(text).unwrap_err(), Fault::Head, "{text:?}");
        }
        let many = "a: b\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(read_all(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).unwrap_err(), Fault::Head);
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(read_all(&long).unwrap_err(), Fault::TooLong);
        assert!(read_all("HTTP/1.1 200 OK\r\nx: y\r\n").unwrap().is_none());
    }
}
