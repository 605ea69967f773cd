use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { max_header_bytes: 32 * 1024, max_headers: 100, header_read_ms: 15_000, idle_ms: 75_000 };

fn read_all(text: &str) -> Result<Option<(Head, String)>, Refused> {
    let mut buf = BytesMut::from(text.as_bytes());
    let found = read(&mut buf, &mut 0, LIMITS)?;
    Ok(found.map(|head| (head, String::from_utf8_lossy(&buf).into_owned())))
}

/// What a head says about its message.
fn said(lines: &str) -> Result<(Framing, &'static str), StatusCode> {
    let read = read_all(&format!("POST /v1/x?y=1 HTTP/1.1\r\nhost: a\r\n{lines}\r\nrest"));
    let (head, rest) = read.map_err(|refused| refused.status)?.expect("a whole head");
    assert_eq!((rest.as_str(), head.parts.uri.path()), ("rest", "/v1/x"));
    Ok((
        head.framing,
        match (head.is_kept, head.is_asking, head.wants_upgrade, head.is_double_framed) {
            (true, false, false, false) => "kept",
            (false, false, false, false) => "last",
            (true, true, false, false) => "asking",
            (true, false, true, false) => "upgrade",
            (true, false, false, true) => "double",
            _ => "something else",
        },
    ))
}

#[test]
fn requests_are_read_as_their_heads_say() {
    let chunked = || Framing::Chunked(Chunked::new());
    for (lines, framing, how) in [
        ("", Framing::Length(0), "kept"),
        ("Content-Length: 5\r\n", Framing::Length(5), "kept"),
        ("content-length:5 \t\r\nconnection: x, Close\r\n", Framing::Length(5), "last"),
        ("transfer-encoding: Chunked\r\n", chunked(), "kept"),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", chunked(), "double"),
        ("expect: 100-Continue\r\ncontent-length: 5\r\n", Framing::Length(5), "asking"),
        ("expect: 100-continue\r\n", Framing::Length(0), "kept"),
        ("connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n", Framing::Length(0), "upgrade"),
        ("upgrade: websocket\r\n", Framing::Length(0), "kept"),
        ("connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 1\r\n", Framing::Length(1), "kept"),
    ] {
        assert_eq!(said(lines), Ok((framing, how)), "{lines:?}");
    }
}

#[test]
fn what_may_be_read_in_two_ways_is_refused() {
    for lines in [
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 6\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding:\r\n",
        "transfer-encoding\r\n",
        "host: b\r\n",
        "x: 1\r\n folded\r\n",
        "x: 1\r\n\tfolded\r\n",
        "x: 1\ncontent-length: 5\r\n",
        "x: a\rb\r\n",
        "x: a\0b\r\n",
        "x\0y: 1\r\n",
        "x y: 1\r\n",
        ": 1\r\n",
        "x: 1\r\n\n",
    ] {
        assert_eq!(said(lines), Err(StatusCode::BAD_REQUEST), "{lines:?}");
    }
    assert_eq!(said("expect: a miracle\r\n"), Err(StatusCode::EXPECTATION_FAILED));
}

#[test]
fn what_is_no_request_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\r\nhost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET / http/1.1\r\nhost: a\r\n\r\n",
        "G\u{e9}T / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n",
        "\n\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nhost: a\r\n\r\n",
    ] {
        assert_eq!(
            read_all(text).map(|_| ()).map_err(|refused| refused.status),
            Err(StatusCode::BAD_REQUEST),
            "{text:?}"
        );
    }
    // At once, without an empty line.
    assert!(read_all("\x16\x03\x01\x02\0\x01").is_err());
    assert!(read_all("\u{80}").is_err());
    assert!(read_all("GET / HTTP/1.1\r\nhost: a\r\n").expect("no mistake yet").is_none());
}

#[test]
fn an_old_client_keeps_a_connection_only_when_it_says_so() {
    let kept = |lines: &str| {
        let (head, _) = read_all(&format!("GET / HTTP/1.0\r\n{lines}\r\n")).expect("is read").expect("is whole");
        assert_eq!(head.parts.version, Version::HTTP_10);
        head.is_kept
    };
    assert!(!kept("") && kept("connection: keep-alive\r\n") && !kept("connection: keep-alive, close\r\n"));
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let (head, rest) = read_all("\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n\r\n").expect("is read").expect("is whole");
    assert_eq!((head.parts.uri.path(), rest.as_str()), ("/a", "\r\n"));
    assert!(read_all("\r\n\r\n").expect("no mistake").is_none());
}

#[test]
fn heads_have_bounds() {
    let refused = |text: &str, limits: Limits| {
        read(&mut BytesMut::from(text.as_bytes()), &mut 0, limits).map(|head| head.is_some()).map_err(|it| it.status)
    };
    let with = |n: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(n - 1));
    for max_headers in [20, 128, 129, 500] {
        let limits = Limits { max_headers, ..LIMITS };
        assert_eq!(refused(&with(max_headers), limits), Ok(true), "{max_headers}");
        assert_eq!(refused(&with(max_headers + 1), limits), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let limits = Limits { max_header_bytes: 10_000, ..LIMITS };
    let head = |n: usize, end: &str| {
        let start = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
        format!("{start}{}{end}", "y".repeat(n - start.len() - end.len()))
    };
    assert_eq!(refused(&head(20_000, "\r\n\r\n"), limits), Ok(true));
    assert_eq!(refused(&head(20_001, "\r\n\r\n"), limits), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    assert_eq!(refused(&head(20_000, ""), limits), Ok(false));
    assert_eq!(refused(&head(20_001, ""), limits), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
}

#[test]
fn heads_of_answers_say_how_their_bodies_end() {
    let now = "1994-11-06T08:49:37Z".parse().expect("an instant");
    let mut headers = HeaderMap::new();
    for (name, value) in [("content-length", "9"), ("transfer-encoding", "x"), ("connection", "Upgrade"), ("x-a", "b")]
    {
        headers.append(name, HeaderValue::from_static(value));
    }
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (version, status, ending, is_kept, wanted) in [
        (
            Version::HTTP_11,
            200,
            Ending::Length(0),
            true,
            format!("HTTP/1.1 200 OK\r\nx-a: b\r\n{date}content-length: 0\r\n\r\n"),
        ),
        (
            Version::HTTP_11,
            404,
            Ending::Told(u64::MAX),
            false,
            format!(
                "HTTP/1.1 404 Not Found\r\nx-a: b\r\n{date}content-length: 18446744073709551615\r\nconnection: close\r\n\r\n"
            ),
        ),
        (
            Version::HTTP_11,
            299,
            Ending::Chunked,
            true,
            format!("HTTP/1.1 299 \r\nx-a: b\r\n{date}transfer-encoding: chunked\r\n\r\n"),
        ),
        (
            Version::HTTP_10,
            200,
            Ending::Length(12),
            true,
            format!("HTTP/1.0 200 OK\r\nx-a: b\r\n{date}content-length: 12\r\nconnection: keep-alive\r\n\r\n"),
        ),
        (Version::HTTP_10, 200, Ending::Close, false, format!("HTTP/1.0 200 OK\r\nx-a: b\r\n{date}\r\n")),
        (Version::HTTP_11, 204, Ending::None, true, format!("HTTP/1.1 204 No Content\r\nx-a: b\r\n{date}\r\n")),
        (
            Version::HTTP_11,
            101,
            Ending::Upgrade,
            true,
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nx-a: b\r\n{date}\r\n"),
        ),
    ] {
        let mut out = Vec::new();
        write(&mut out, (StatusCode::from_u16(status).expect("a status"), &headers), (version, ending, is_kept), now);
        assert_eq!(String::from_utf8(out).expect("text"), wanted);
    }
    let day = |text: &str| String::from_utf8(super::date(text.parse().expect("an instant")).to_vec()).expect("text");
    assert_eq!(day("2026-02-28T23:59:59.999999Z"), "Sat, 28 Feb 2026 23:59:59 GMT");
    assert_eq!(day("2028-02-29T00:00:00Z"), "Tue, 29 Feb 2028 00:00:00 GMT");
}

#[test]
fn numbers_are_written_in_full() {
    for number in [0, 9, 10, 15, 16, 4_096, u64::MAX] {
        let (mut ten, mut sixteen) = (Vec::new(), Vec::new());
        write_number(&mut ten, number, 10);
        write_number(&mut sixteen, number, 16);
        assert_eq!((ten, sixteen), (number.to_string().into_bytes(), format!("{number:x}").into_bytes()));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_heads(
        heads in proptest::collection::vec(("[A-Z]{1,6}", "/[a-z/]{0,9}", proptest::collection::vec(("[a-z-]{1,9}", "[ -~]{0,20}"), 0..5)), 1..4),
        mut cuts in proptest::collection::vec(0..400_usize, 0..12),
    ) {
        let mut text = Vec::new();
        for (method, path, lines) in &heads {
            text.extend_from_slice(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n").as_bytes());
            for (name, value) in lines {
                text.extend_from_slice(format!("x-{name}: {value}\r\n").as_bytes());
            }
            text.extend_from_slice(b"\r\n");
        }
        cuts.retain(|cut| *cut < text.len());
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let (mut buf, mut n_seen, mut found) = (BytesMut::new(), 0, Vec::new());
        for ends in cuts.windows(2) {
            buf.extend_from_slice(&text[ends[0]..ends[1]]);
            while let Some(head) = read(&mut buf, &mut n_seen, LIMITS).expect("a head") {
                found.push((head.parts.method.to_string(), head.parts.uri.to_string(), head.parts.headers.len()));
            }
        }
        let wanted: Vec<_> = heads.into_iter().map(|(method, path, lines)| (method, path, lines.len() + 1)).collect();
        prop_assert_eq!(found, wanted);
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn no_bytes_make_it_panic(pieces in proptest::collection::vec("[\r\n\t :a-cA-CHTP/1.0-9\0]{0,30}", 0..6)) {
        let (mut buf, mut n_seen) = (BytesMut::new(), 0);
        for piece in pieces {
            buf.extend_from_slice(piece.as_bytes());
            if read(&mut buf, &mut n_seen, LIMITS).is_err() {
                break;
            }
        }
    }
}
