//! The faults, by group. Each is one behaviour of an upstream, as bytes on a connection.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use super::said::{ADVICE, Events, INPUT, INSIDES, Language, OUTPUT};
use crate::harness::raw::{End, Raw, h2_frame};
use crate::harness::upstream::Trouble;

/// What the faulty upstream does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Dial(Trouble),
    Raw(Raw),
    /// The same, over HTTP/2.
    H2(Raw),
    /// What every target does, the other one too.
    All(Box<Act>),
}

/// What is expected of every run of a fault, beside what the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// The client gets a whole answer all the same.
    Harmless,
    /// The client's request is at fault: it is told, and no other target is asked.
    Told,
    /// Another target answers in its place.
    Replaced,
    /// The call ends as an error; whether another target may answer depends on what the client had read, or on the time left.
    Ended,
    /// The client had read a part: it is told that the rest is missing.
    Flagged,
    /// Nobody is left who could answer.
    Lost,
}

pub(super) struct Fault {
    pub group: &'static str,
    pub name: &'static str,
    pub act: Act,
    pub promise: Promise,
}

pub(super) const CONNECTION: &str = "Connections";
pub(super) const STATUS: &str = "Statuses";
pub(super) const BODY: &str = "Bodies";
pub(super) const STREAM: &str = "Streams";
pub(super) const USAGE: &str = "Usage";

/// How long nothing is said where a pause is all that is wrong: less than the idle limit.
pub(super) const BREATH: u32 = 5;
/// How long an upstream thinks before its first word: less than it may.
pub(super) const THOUGHT: u32 = 15;

/// Lists what can go wrong for an upstream of this language.
pub(super) fn list(language: Language, is_stream: bool) -> Vec<Fault> {
    let mut listing = Listing { language, is_stream, group: CONNECTION, faults: Vec::new() };
    listing.connections();
    listing.certificates();
    listing.shared_connections();
    listing.everybody();
    listing.group = STATUS;
    listing.clients_statuses();
    listing.credential_statuses();
    listing.upstream_statuses();
    listing.other_statuses();
    listing.group = BODY;
    listing.bodies();
    if is_stream {
        listing.group = STREAM;
        listing.streams();
    } else {
        listing.whole_bodies();
        listing.odd_whole_bodies();
    }
    listing.group = USAGE;
    listing.usage();
    listing.faults
}

pub(super) struct Listing {
    pub(super) language: Language,
    pub(super) is_stream: bool,
    group: &'static str,
    faults: Vec<Fault>,
}

impl Listing {
    fn add(&mut self, name: &'static str, promise: Promise, act: Act) {
        self.faults.push(Fault { group: self.group, name, act, promise });
    }

    pub(super) fn raw(&mut self, name: &'static str, promise: Promise, raw: Raw) {
        self.add(name, promise, Act::Raw(raw));
    }

    /// A good answer of the way that is asked for.
    fn good(&self) -> Vec<u8> {
        if self.is_stream { self.streamed(&self.language.stream()) } else { json_answer(200, &self.language.whole()) }
    }

    fn connections(&mut self) {
        use Promise::{Harmless, Replaced};
        let good = self.good();
        self.add("refuses the connection", Replaced, Act::Dial(Trouble::Refuse));
        self.add("never accepts the connection", Replaced, Act::Dial(Trouble::Hang));
        self.raw("closes without a word", Replaced, Raw::of("", End::Close));
        self.raw("resets without a word", Replaced, Raw::of("", End::Reset));
        self.raw("says nothing at all", Replaced, Raw::of("", End::Hang));
        self.raw("speaks another protocol", Replaced, Raw::of("SSH-2.0-OpenSSH_9.9\r\n", End::Hang));
        self.raw("resets in the middle of the head", Replaced, Raw::of("HTTP/1.1 200 OK\r\ncontent-ty", End::Reset));
        self.raw("falls silent in the middle of the head", Replaced, Raw::of("HTTP/1.1 200 OK\r\ncon", End::Hang));
        self.raw("closes after the head", Replaced, Raw::of(head(200, self.kind(), "content-length: 500"), End::Close));
        let hints = Raw::of("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", End::Hang).then(good.clone());
        self.raw("sends 103 Early Hints first", Harmless, hints);
        let go_on = Raw::of("HTTP/1.1 100 Continue\r\n\r\n", End::Hang).then(good.clone());
        self.raw("sends 100 Continue unasked", Harmless, go_on);
        let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n";
        self.raw("switches protocols unasked", Replaced, Raw::of(upgrade, End::Hang));
        self.raw("answers and resets the idle connection", Harmless, Raw::of(good.clone(), End::Reset));
        let twice = Raw::of([good.clone(), good].concat(), End::Hang);
        self.raw("answers twice", Harmless, twice);
    }

    /// What is wrong with the certificate that an upstream shows, in the words of the TLS library.
    fn certificates(&mut self) {
        for (name, said) in [
            ("shows a certificate that has expired", "invalid peer certificate: certificate expired"),
            (
                "shows a certificate for another name",
                "invalid peer certificate: certificate not valid for name \"faulty.test\"",
            ),
            ("shows a certificate of an unknown authority", "invalid peer certificate: UnknownIssuer"),
        ] {
            self.add(name, Promise::Replaced, Act::Dial(Trouble::Tls(said)));
        }
    }

    fn everybody(&mut self) {
        let all = |act: Act| Act::All(Box::new(act));
        self.add("every target refuses the connection", Promise::Lost, all(Act::Dial(Trouble::Refuse)));
        let silent = Raw::of("", End::Hang);
        self.add("every target says nothing at all", Promise::Lost, all(Act::Raw(silent)));
        for (name, status, headers, kind) in [
            ("every target answers 500", 500, "", "api_error"),
            ("every target answers 429 with Retry-After: 30", 429, "\r\nretry-after: 30", "rate_limit_error"),
            ("every target answers 401", 401, "", "authentication_error"),
        ] {
            let answer = self.refusal(status, headers, (kind, &Value::Null, INSIDES));
            self.add(name, Promise::Lost, all(Act::Raw(answer)));
        }
    }

    fn shared_connections(&mut self) {
        use Promise::Replaced;
        let goaway = h2_frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
        self.add("HTTP/2: says GOAWAY before the answer", Replaced, Act::H2(Raw::of(goaway, End::Close)));
        let refused = h2_frame(3, 0, 1, &[0, 0, 0, 7]);
        self.add("HTTP/2: refuses the stream", Replaced, Act::H2(Raw::of(refused, End::Hang)));
        let reset = Raw::of(self.h2_head(), End::Hang).then(h2_frame(3, 0, 1, &[0, 0, 0, 2]));
        self.add("HTTP/2: resets the stream after the head", Replaced, Act::H2(reset));
        if self.is_stream {
            let word = h2_frame(0, 0, 1, &self.language.opening().concat());
            let begun = Raw::of(self.h2_head(), End::Hang).then(word).pause(1);
            let reset = begun.clone().then(h2_frame(3, 0, 1, &[0, 0, 0, 2]));
            self.add("HTTP/2: resets the stream after the first word", Promise::Flagged, Act::H2(reset));
            // The stream that is under way is the last one that it serves.
            let goaway = h2_frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
            let served = begun.clone().then(goaway.clone()).then(h2_frame(0, 1, 1, &self.language.rest().concat()));
            let name = "HTTP/2: says GOAWAY after the first word, and ends what it began";
            self.add(name, Promise::Harmless, Act::H2(served));
            let left = Raw { end: End::Close, ..begun.then(goaway) };
            self.add("HTTP/2: says GOAWAY after the first word, and closes", Promise::Flagged, Act::H2(left));
        }
    }

    fn kind(&self) -> &'static str {
        if self.is_stream { self.language.stream_kind() } else { "application/json" }
    }

    fn h2_head(&self) -> Vec<u8> {
        // `:status: 200` of the static table, then a content type as it is (RFC 7541 §6.1, §6.2.2).
        let kind = self.kind();
        let length = u8::try_from(kind.len()).expect("a short content type");
        let block = [&[0x88, 0x0f, 0x10, length], kind.as_bytes()].concat();
        h2_frame(1, 4, 1, &block)
    }

    fn status(&mut self, name: &'static str, promise: Promise, status: u16, headers: &str, error: (&str, Value, &str)) {
        let (kind, code, message) = error;
        let refusal = self.refusal(status, headers, (kind, &code, message));
        self.raw(name, promise, refusal);
    }

    fn refusal(&self, status: u16, headers: &str, (kind, code, message): (&str, &Value, &str)) -> Raw {
        let body = self.language.error(kind, code, message).to_string();
        let headers = format!("content-length: {}{headers}{}", body.len(), self.language.error_headers(kind));
        Raw::of(head(status, "application/json", &headers) + &body, End::Hang)
    }

    /// A whole stream, each event in a chunk of its own.
    pub(super) fn streamed(&self, events: &Events) -> Vec<u8> {
        let chunks = events.iter().flat_map(|event| one_chunk(event));
        self.opened().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
    }

    /// The head of a stream that comes in chunks.
    pub(super) fn opened(&self) -> Vec<u8> {
        head(200, self.language.stream_kind(), "transfer-encoding: chunked").into_bytes()
    }

    fn clients_statuses(&mut self) {
        use Promise::Told;
        let invalid = ("invalid_request_error", json!("bad_value"), ADVICE);
        self.status("400: the request is invalid", Told, 400, "", invalid);
        let message = format!("{ADVICE}: prompt is too long: 250000 tokens > 200000 maximum");
        let long = ("invalid_request_error", json!("context_length_exceeded"), message.as_str());
        self.status("400: the prompt does not fit", Told, 400, "", long);
        let message = format!("{ADVICE}: output blocked by content filtering policy");
        let filtered = ("invalid_request_error", json!("content_policy_violation"), message.as_str());
        self.status("400: the content is refused", Told, 400, "", filtered);
        self.status("413: the body is too large", Told, 413, "", ("request_too_large", Value::Null, ADVICE));
        self.status(
            "422: the body is not as it should be",
            Told,
            422,
            "",
            ("invalid_request_error", Value::Null, ADVICE),
        );
    }

    fn credential_statuses(&mut self) {
        use Promise::Replaced;
        self.status("401: the credential is wrong", Replaced, 401, "", ("authentication_error", Value::Null, INSIDES));
        self.status("402: the account is empty", Replaced, 402, "", ("billing_error", Value::Null, INSIDES));
        self.status("403: the credential may not", Replaced, 403, "", ("permission_error", Value::Null, INSIDES));
        let quota =
            ("insufficient_quota", json!("insufficient_quota"), "you exceeded your current quota; pool-insides");
        self.status("429: the quota is used up", Replaced, 429, "", quota);
        let limited = || ("rate_limit_error", Value::Null, INSIDES);
        self.status("429 without Retry-After", Replaced, 429, "", limited());
        self.status("429 with Retry-After: 3", Replaced, 429, "\r\nretry-after: 3", limited());
        self.status("429 with Retry-After: 3600", Replaced, 429, "\r\nretry-after: 3600", limited());
        let date = "\r\nretry-after: Sun, 22 Nov 2026 12:00:03 GMT";
        self.status("429 with Retry-After as a date, 3 s ahead", Replaced, 429, date, limited());
        self.status("429 with a Retry-After that is none", Replaced, 429, "\r\nretry-after: soon", limited());
    }

    fn upstream_statuses(&mut self) {
        use Promise::Replaced;
        for (name, status) in [
            ("404: the model is not there", 404),
            ("408: the request took too long", 408),
            ("500: the upstream failed", 500),
            ("502: a proxy found nobody", 502),
            ("503: not available", 503),
            ("504: a proxy gave up", 504),
            ("529: overloaded", 529),
        ] {
            // The last target's 404 is the client's to know: its words are about the model.
            let (kind, words) = if status == 404 { ("not_found_error", ADVICE) } else { ("api_error", INSIDES) };
            self.status(name, Replaced, status, "", (kind, Value::Null, words));
        }
    }

    fn other_statuses(&mut self) {
        use Promise::Replaced;
        let page = format!("<html><h1>Bad gateway</h1>{INSIDES}</html>");
        self.raw("502 with a page of HTML", Replaced, Raw::of(sized(502, "text/html", "", &page), End::Hang));
        let endless = head(500, "application/json", "transfer-encoding: chunked") + "7\r\n{\"error\r\n";
        self.raw("500 whose body never ends", Replaced, Raw::of(endless, End::Hang));
        let cut = head(503, "application/json", "content-length: 900") + "{\"error\":{\"mess";
        self.raw("503 whose body is cut", Replaced, Raw::of(cut, End::Reset));
        let location = "\r\nlocation: http://elsewhere.test/v1";
        self.raw("302 to another host", Replaced, Raw::of(sized(302, "text/html", location, ""), End::Hang));
        self.raw("204 without a body", Replaced, Raw::of("HTTP/1.1 204 No Content\r\n\r\n", End::Hang));
        self.raw("a status that is none (799)", Replaced, Raw::of(sized(799, "text/plain", "", "?"), End::Hang));
    }

    /// What is wrong with a body whether it is whole or a stream.
    fn bodies(&mut self) {
        use Promise::Replaced;
        let kind = self.kind();
        let error = self.language.error("server_error", &Value::Null, INSIDES).to_string();
        self.raw("200 with an error in the body", Replaced, Raw::of(json_answer(200, &error), End::Hang));
        let page = format!("<html><h1>Welcome</h1>{INSIDES}</html>");
        self.raw("200 with a page of HTML", Replaced, Raw::of(sized(200, "text/html", "", &page), End::Hang));
        self.raw("200 with nothing in the body", Replaced, Raw::of(sized(200, kind, "", ""), End::Hang));
        let garbage = head(200, kind, "content-encoding: gzip\r\ncontent-length: 6") + "\u{1}gzip?";
        self.raw("says gzip, sends garbage", Replaced, Raw::of(garbage, End::Hang));
        let body = if self.is_stream { self.language.stream().concat() } else { self.language.whole().into_bytes() };
        for (name, coding, packed) in [
            ("sends gzip although none was asked for", "gzip", gzip(&body)),
            ("sends deflate although none was asked for", "deflate", deflate(&body)),
            ("sends brotli although none was asked for", "br", stored_brotli(&body)),
        ] {
            let headers = format!("content-encoding: {coding}\r\ncontent-length: {}", packed.len());
            let raw = Raw::of([head(200, kind, &headers).into_bytes(), packed].concat(), End::Hang);
            self.raw(name, Replaced, raw);
        }
        let named = format!("content-encoding: identity\r\ncontent-length: {}", body.len());
        let named = [head(200, kind, &named).into_bytes(), body.clone()].concat();
        self.raw("says that nothing is packed", Promise::Harmless, Raw::of(named, End::Hang));
        let bad_chunk = head(200, kind, "transfer-encoding: chunked") + "zz\r\n";
        self.raw("sends a chunk without a size", Replaced, Raw::of(bad_chunk, End::Hang));
        let lengths = head(200, kind, "content-length: 10\r\ncontent-length: 20").into_bytes();
        self.raw("declares two lengths", Replaced, Raw::of([lengths, body].concat(), End::Hang));
        let language = if self.language == Language::OpenAi { Language::Anthropic } else { Language::OpenAi };
        let other = Self { language, is_stream: self.is_stream, group: self.group, faults: Vec::new() };
        self.raw("answers in another language", Replaced, Raw::of(other.good(), End::Hang));
    }

    fn whole_bodies(&mut self) {
        use Promise::Replaced;
        let whole = self.language.whole();
        let half = &whole[..whole.len() / 2];
        self.raw("sends half of the JSON as if it were whole", Replaced, Raw::of(json_answer(200, half), End::Hang));
        let length = format!("content-length: {}", whole.len());
        let cut = head(200, "application/json", &length) + half;
        self.raw("closes in the middle of the body", Replaced, Raw::of(cut.clone(), End::Close));
        self.raw("resets in the middle of the body", Replaced, Raw::of(cut.clone(), End::Reset));
        self.raw("stalls in the middle of the body", Replaced, Raw::of(cut.clone(), End::Hang));
        let drip = (0..20).fold(Raw::of(cut, End::Hang), |raw, _| raw.pause(BREATH.into()).then(" "));
        self.raw("drips until the total limit", Promise::Ended, drip);
        let events = self.streamed(&self.language.stream());
        self.raw("streams although no stream was asked for", Replaced, Raw::of(events, End::Hang));
        let huge = format!("{}{}", " ".repeat(super::MAX_ANSWER), whole);
        self.raw("sends more than the node reads", Replaced, Raw::of(json_answer(200, &huge), End::Hang));
        for (name, text) in [
            ("sends null", "null".to_owned()),
            ("sends an empty object", "{}".to_owned()),
            ("sends a list", format!("[{whole}]")),
            ("sends a text", "\"Hello there\"".to_owned()),
            ("sends JSON and more behind it", format!("{whole} trailing")),
        ] {
            self.raw(name, Replaced, Raw::of(json_answer(200, &text), End::Hang));
        }
        let mut null = self.language.whole_with(&Value::Null);
        null[self.language.answer_field()] = Value::Null;
        self.raw(
            "sends null where the answer belongs",
            Replaced,
            Raw::of(json_answer(200, &null.to_string()), End::Hang),
        );
    }

    fn odd_whole_bodies(&mut self) {
        use Promise::Harmless;
        let whole = self.language.whole();
        let mut bytes = json_answer(200, &whole).into_iter();
        let first = Raw::of(vec![bytes.next().unwrap_or_default()], End::Hang);
        let single = bytes.fold(first, |raw, byte| raw.then(vec![byte]));
        self.raw("sends one byte at a time", Harmless, single);
        let (start, rest) = whole.split_at(20);
        let slow =
            Raw::of(head(200, "application/json", &format!("content-length: {}", whole.len())) + start, End::Hang);
        self.raw("pauses within the idle limit", Harmless, slow.pause(BREATH.into()).then(rest.to_owned()));
        let thought = Raw { bits: Vec::new(), end: End::Hang }.pause(THOUGHT.into()).then(json_answer(200, &whole));
        self.raw("thinks before its answer, for most of the limit", Harmless, thought);
        let plain = sized(200, "text/plain", "", &whole);
        self.raw("calls its JSON plain text", Harmless, Raw::of(plain, End::Hang));
        let closed = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{whole}");
        self.raw("ends the body by closing, without a length", Harmless, Raw::of(closed, End::Close));
        let blank = format!("\r\n \r\n{whole}\r\n");
        self.raw("puts white space around the JSON", Harmless, Raw::of(json_answer(200, &blank), End::Hang));
    }

    fn usage(&mut self) {
        use Promise::Harmless;
        let it = self.language;
        let good = it.usage(INPUT, OUTPUT);
        for (name, promise, usage) in [
            ("no usage", Harmless, Value::Null),
            ("usage of nothing", Harmless, it.usage(0, 0)),
            ("negative usage", Harmless, it.usage(-7, -5)),
            ("usage as texts", Harmless, it.usage("10", "5")),
            ("usage as a list", Harmless, json!([10, 5])),
            ("usage beyond 2^63", Harmless, it.usage(u64::MAX, u64::MAX)),
        ] {
            let raw = if self.is_stream {
                let end = it.finish_with(it.stop(), &usage);
                self.streamed(&[it.opening(), it.word(" there"), end, it.end_mark()].concat())
            } else {
                json_answer(200, &it.whole_with(&usage).to_string())
            };
            self.raw(name, promise, Raw::of(raw, End::Hang));
        }
        if self.is_stream {
            let mut end = it.finish_with(it.stop(), &good);
            // The second time without a second end of the block.
            end.extend(end.last().cloned());
            let twice = [it.opening(), it.word(" there"), end, it.end_mark()].concat();
            let raw = self.streamed(&twice);
            self.raw("usage twice", Harmless, Raw::of(raw, End::Hang));
        }
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).expect("writes to memory");
    packed.finish().expect("ends")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).expect("writes to memory");
    packed.finish().expect("ends")
}

/// Brotli that stores what it is given, as it does with what cannot be made smaller (RFC 7932 §9.2): whoever does not heed the
/// header finds most of the answer in it.
fn stored_brotli(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() - 1).expect("a short body");
    // A window of 16 bits, one block that is not the last: four nibbles of length, stored.
    let [a, b, c, _] = (length << 4 | 1 << 20).to_le_bytes();
    // The last block is empty.
    [&[a, b, c], body, &[3]].concat()
}

pub(super) fn head(status: u16, kind: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{headers}\r\n\r\n")
}

pub(super) fn sized(status: u16, kind: &str, more: &str, body: &str) -> String {
    head(status, kind, &format!("content-length: {}{more}", body.len())) + body
}

pub(super) fn json_answer(status: u16, body: &str) -> Vec<u8> {
    sized(status, "application/json", "", body).into_bytes()
}

pub(super) fn one_chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
