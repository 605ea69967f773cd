//! HTTP/1 as nobody should write it.

use super::{Act, Case, Promise};
use crate::harness::policy::token;

const CLASS: &str = "HTTP/1";
const LINE: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n";
const BODY: &str = r#"{"model":"echo/echo-1","messages":[{"role":"user","content":"Hi"}]}"#;

fn case(name: &str, promise: Promise, bytes: impl Into<Vec<u8>>) -> Case {
    Case::new(CLASS, name, promise, Act::Raw(bytes.into()))
}

fn key() -> String {
    format!("x-api-key: {}\r\n", token().expose())
}

/// A call with these headers and this behind them.
fn post(headers: &str, body: &str) -> String {
    format!("{LINE}{}content-type: application/json\r\n{headers}\r\n{body}", key())
}

fn get(line: &str, headers: &str) -> String {
    format!("{line}\r\n{headers}{}\r\n", key())
}

pub(super) fn list() -> Vec<Case> {
    let mut cases = framing();
    cases.extend(chunks());
    cases.extend(heads());
    cases.extend(connections());
    cases
}

/// Bodies whose length is said in two ways, or in none that counts.
fn framing() -> Vec<Case> {
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let smuggled = format!("{chunked}GET /v1/models HTTP/1.1\r\nhost: a\r\n{}\r\n", key());
    [
        ("both a length and chunks", post("content-length: 4\r\ntransfer-encoding: chunked\r\n", &smuggled)),
        ("chunks and a length in odd letters", post("transfer-encoding: chunked\r\nCoNtEnT-LeNgTh: 4\r\n", &smuggled)),
        ("two lengths", post("content-length: 4\r\ncontent-length: 5\r\n", BODY)),
        ("a length with a sign", post("content-length: +4\r\n", BODY)),
        ("a length twice in one header", post("content-length: 4, 4\r\n", BODY)),
        ("a length in hexadecimal", post("content-length: 0x43\r\n", BODY)),
        ("a negative length", post("content-length: -1\r\n", BODY)),
        ("a length beyond 2^64", post("content-length: 99999999999999999999999\r\n", BODY)),
        ("an unknown coding", post("transfer-encoding: xchunked\r\n", &chunked)),
        ("chunks that are not the last coding", post("transfer-encoding: chunked, identity\r\n", &chunked)),
        ("a space before the colon", post("transfer-encoding : chunked\r\n", &chunked)),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /v1/chat/completions HTTP/1.0\r\nhost: a\r\n{}transfer-encoding: chunked\r\n\r\n{chunked}",
                key()
            ),
        ),
        ("a declared length of 1 GiB", post("content-length: 1073741824\r\n", "")),
    ]
    .into_iter()
    .map(|(name, text)| case(name, Promise::Refused, text))
    .collect()
}

fn chunks() -> Vec<Case> {
    let of = |body: &str| post("transfer-encoding: chunked\r\n", body);
    let n = BODY.len();
    let endless = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000)).repeat(40);
    let mut cases: Vec<Case> = [
        ("a chunk without a size", of(&format!("zz\r\n{BODY}\r\n0\r\n\r\n"))),
        ("a chunk's size beyond 2^64", of(&format!("fffffffffffffffff\r\n{BODY}"))),
        ("a chunk's size with a sign", of(&format!("+{n:x}\r\n{BODY}\r\n0\r\n\r\n"))),
        ("a chunk longer than it says", of(&format!("4\r\n{BODY}\r\n0\r\n\r\n"))),
        ("40 MiB in chunks", of(&endless)),
    ]
    .into_iter()
    .map(|(name, text)| case(name, Promise::Refused, text))
    .collect();
    let whole = of(&format!("{n:x}\r\n{BODY}\r\n0\r\n\r\n")).replacen("host: a", "connection: close\r\nhost: a", 1);
    cases.push(case("chunks alone", Promise::Served, whole));
    cases
}

fn heads() -> Vec<Case> {
    let models = "GET /v1/models HTTP/1.1";
    [
        ("a folded header", post(" folded: x\r\n", "")),
        ("a NUL in a header's name", post("x\0y: 1\r\n", "")),
        ("a NUL in a header's value", post("x-y: \0\r\n", "")),
        ("a header without a colon", get(models, "host: a\r\nx-y 1\r\n")),
        ("two hosts", get(models, "host: a\r\nhost: b\r\n")),
        ("no host", get(models, "")),
        ("CONNECT", get("CONNECT evil.test:443 HTTP/1.1", "host: evil.test:443\r\n")),
        ("TRACE", get("TRACE /v1/models HTTP/1.1", "host: a\r\n")),
        ("a line that is none", "GET /v1/models\r\n\r\n".to_owned()),
        ("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\x03\x03 not a TLS port".to_owned()),
        ("an address of 65,000 bytes", get(&format!("GET /v1/models/{} HTTP/1.1", "a".repeat(65_000)), "host: a\r\n")),
        ("200 headers", get(models, &format!("host: a\r\n{}", "x-a: 1\r\n".repeat(200)))),
        ("5,000 headers", get(models, &format!("host: a\r\n{}", "x-a: 1\r\n".repeat(5_000)))),
        ("a header of 40,000 bytes", get(models, &format!("host: a\r\nx-long: {}\r\n", "x".repeat(40_000)))),
        ("a header of 300,000 bytes", get(models, &format!("host: a\r\nx-long: {}\r\n", "x".repeat(300_000)))),
    ]
    .into_iter()
    .map(|(name, text)| case(name, Promise::Refused, text))
    .collect()
}

fn connections() -> Vec<Case> {
    let list = get("GET /v1/models HTTP/1.1", "host: a\r\n");
    let stranger = LINE.to_owned() + "x-api-key: sk-nobody\r\ncontent-length: 1000\r\n\r\n{";
    let upgrade = get("GET /v1/models HTTP/1.1", "host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n");
    let behind = "0".repeat(64) + &list;
    let half = |text: &str| text.as_bytes().to_vec();
    vec![
        case("1,000 requests at once", Promise::Served, list.repeat(1_000)),
        case("an upgrade that nobody offers, and a request behind it", Promise::Served, upgrade + &list),
        case(
            "a request inside of a body that nobody wanted",
            Promise::Refused,
            LINE.to_owned() + &format!("x-api-key: sk-nobody\r\ncontent-length: {}\r\n\r\n{behind}", behind.len()),
        ),
        case("a body of an unknown key that does not come", Promise::Refused, stranger),
        case("nothing at all", Promise::Refused, Vec::new()),
        case("half a line", Promise::Refused, half("POST /v1/chat/comp")),
        case("half a head", Promise::Refused, half(LINE)),
        case("half a body", Promise::Refused, post("content-length: 100\r\n", "{\"model\":")),
        case("half a chunk", Promise::Refused, post("transfer-encoding: chunked\r\n", "5\r\n{\"mod")),
        case(
            "a body that waits for 100 Continue and does not come",
            Promise::Refused,
            post("content-length: 100\r\nexpect: 100-continue\r\n", ""),
        ),
        Case::new(
            CLASS,
            "a client that resets while it is answered",
            Promise::Bounded,
            Act::Leave(
                (LINE.to_owned() + "x-api-key: sk-nobody\r\ncontent-length: 1000000\r\n\r\n" + &" ".repeat(30_000))
                    .into_bytes(),
            ),
        ),
    ]
}
