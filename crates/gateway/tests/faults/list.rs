//! The faults, by group. Each is one behaviour of an upstream, as bytes on a connection.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::said::{ADVICE, INPUT, INSIDES, Language, OUTPUT};
use crate::harness::raw::{End, Raw, h2_frame};
use crate::harness::upstream::Trouble;

/// What the faulty upstream does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Dial(Trouble),
    Raw(Raw),
    /// The same, over HTTP/2.
    H2(Raw),
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

/// Lists what can go wrong for an upstream of this language.
pub(super) fn list(language: Language, is_stream: bool) -> Vec<Fault> {
    let mut listing = Listing { language, is_stream, group: CONNECTION, faults: Vec::new() };
    listing.connections();
    listing.group = STATUS;
    listing.clients_statuses();
    listing.credential_statuses();
    listing.upstream_statuses();
    listing.other_statuses();
    listing.group = BODY;
    listing.bodies();
    if is_stream {
        listing.group = STREAM;
        listing.streams_that_break();
        listing.streams_that_say_too_much();
        listing.streams_that_are_only_odd();
    } else {
        listing.whole_bodies();
        listing.odd_whole_bodies();
    }
    listing.group = USAGE;
    listing.usage();
    listing.faults
}

struct Listing {
    language: Language,
    is_stream: bool,
    group: &'static str,
    faults: Vec<Fault>,
}

impl Listing {
    fn add(&mut self, name: &'static str, promise: Promise, act: Act) {
        self.faults.push(Fault { group: self.group, name, act, promise });
    }

    fn raw(&mut self, name: &'static str, promise: Promise, raw: Raw) {
        self.add(name, promise, Act::Raw(raw));
    }

    /// A good answer of the way that is asked for.
    fn good(&self) -> Vec<u8> {
        if self.is_stream { chunked(&self.language.stream()) } else { json_answer(200, &self.language.whole()) }
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
        let goaway = h2_frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
        self.add("HTTP/2: says GOAWAY before the answer", Replaced, Act::H2(Raw::of(goaway, End::Close)));
        let refused = h2_frame(3, 0, 1, &[0, 0, 0, 7]);
        self.add("HTTP/2: refuses the stream", Replaced, Act::H2(Raw::of(refused, End::Hang)));
        let reset = Raw::of(self.h2_head(), End::Hang).then(h2_frame(3, 0, 1, &[0, 0, 0, 2]));
        self.add("HTTP/2: resets the stream after the head", Replaced, Act::H2(reset));
        if self.is_stream {
            let word = h2_frame(0, 0, 1, self.language.opening().as_bytes());
            let reset = Raw::of(self.h2_head(), End::Hang).then(word).pause(1).then(h2_frame(3, 0, 1, &[0, 0, 0, 2]));
            self.add("HTTP/2: resets the stream after the first word", Promise::Flagged, Act::H2(reset));
        }
    }

    fn kind(&self) -> &'static str {
        if self.is_stream { "text/event-stream" } else { "application/json" }
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
        let body = self.language.error(kind, &code, message).to_string();
        let headers = format!("content-length: {}{headers}", body.len());
        let answer = head(status, "application/json", &headers) + &body;
        self.raw(name, promise, Raw::of(answer, End::Hang));
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
            let words = if status == 404 { ADVICE } else { INSIDES };
            self.status(name, Replaced, status, "", ("api_error", Value::Null, words));
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
        let body = if self.is_stream { self.language.stream() } else { self.language.whole() };
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body.as_bytes()).expect("writes to memory");
        let packed = packed.finish().expect("ends");
        let gzip = head(200, kind, &format!("content-encoding: gzip\r\ncontent-length: {}", packed.len()));
        let gzip = Raw::of([gzip.into_bytes(), packed].concat(), End::Hang);
        self.raw("sends gzip although none was asked for", Replaced, gzip);
        let bad_chunk = head(200, kind, "transfer-encoding: chunked") + "zz\r\n";
        self.raw("sends a chunk without a size", Replaced, Raw::of(bad_chunk, End::Hang));
        let lengths = head(200, kind, "content-length: 10\r\ncontent-length: 20") + &body;
        self.raw("declares two lengths", Replaced, Raw::of(lengths, End::Hang));
        let other = match self.language {
            Language::OpenAi => Language::Anthropic,
            Language::Anthropic => Language::OpenAi,
        };
        let other = if self.is_stream { chunked(&other.stream()) } else { json_answer(200, &other.whole()) };
        self.raw("answers in another language", Replaced, Raw::of(other, End::Hang));
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
        let events = chunked(&self.language.stream());
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
        let field = if self.language == Language::OpenAi { "choices" } else { "content" };
        let mut null = self.language.whole_with(&Value::Null);
        null[field] = Value::Null;
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
        let plain = sized(200, "text/plain", "", &whole);
        self.raw("calls its JSON plain text", Harmless, Raw::of(plain, End::Hang));
        let closed = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{whole}");
        self.raw("ends the body by closing, without a length", Harmless, Raw::of(closed, End::Close));
        let blank = format!("\r\n \r\n{whole}\r\n");
        self.raw("puts white space around the JSON", Harmless, Raw::of(json_answer(200, &blank), End::Hang));
    }

    fn broken(&mut self, name: &'static str, promise: Promise, events: &str, end: End) {
        let body = head(200, "text/event-stream", "transfer-encoding: chunked");
        let raw = if events.is_empty() {
            Raw::of(body, end)
        } else {
            Raw::of(body + &format!("{:x}\r\n{events}\r\n", events.len()), end)
        };
        self.raw(name, promise, raw);
    }

    fn streams_that_break(&mut self) {
        use Promise::{Flagged, Harmless, Replaced};
        let it = self.language;
        let (opening, finish) = (it.opening(), it.finish());
        let error = Raw::of(chunked(&it.error_event()), End::Hang);
        self.raw("an error in place of the first event", Replaced, error);
        self.raw(
            "an error after the first word",
            Flagged,
            Raw::of(chunked(&(it.opening() + &it.error_event())), End::Hang),
        );
        self.broken("resets before the first event", Replaced, "", End::Reset);
        self.broken("resets after the first word", Flagged, &opening, End::Reset);
        self.broken("closes after the first word", Flagged, &opening, End::Close);
        let cut = format!("{opening}{}", &it.word(" there")[..20]);
        self.broken("resets inside an event", Flagged, &cut, End::Reset);
        self.broken("stalls before the first event", Replaced, "", End::Hang);
        self.broken("stalls after the first word", Flagged, &opening, End::Hang);
        self.raw("ends in order after the first word", Flagged, Raw::of(chunked(&opening), End::Hang));
        self.raw("ends in order inside an event", Flagged, Raw::of(chunked(&cut), End::Hang));
        self.raw(
            "ends in order without an end mark",
            Harmless,
            Raw::of(chunked(&(opening.clone() + &it.word(" there") + &finish)), End::Hang),
        );
        let all = opening + &it.word(" there") + &finish + &it.end_mark();
        self.broken("resets after the end mark", Harmless, &all, End::Reset);
        self.broken("stalls after the end mark", Harmless, &all, End::Hang);
        self.raw("nothing but the end mark", Replaced, Raw::of(chunked(&it.end_mark()), End::Hang));
        self.raw("nothing but comments, then the end", Replaced, Raw::of(chunked(": hello\n\n: hello\n\n"), End::Hang));
        let head = head(200, "text/event-stream", "transfer-encoding: chunked");
        let alive =
            (0..20).fold(Raw::of(head, End::Hang), |raw, _| raw.then("b\r\n: waiting\n\n\r\n").pause(BREATH.into()));
        self.raw("nothing but comments, for ever", Replaced, alive);
    }

    fn streams_that_say_too_much(&mut self) {
        use Promise::{Flagged, Replaced};
        let it = self.language;
        let opening = it.opening();
        let line = format!("data: {}", "x".repeat(super::MAX_ANSWER));
        self.raw("a line without an end, first", Replaced, Raw::of(chunked(&line), End::Hang));
        self.raw(
            "a line without an end, after the first word",
            Flagged,
            Raw::of(chunked(&(opening.clone() + &line)), End::Hang),
        );
        let not_json = "data: {\"choices\": oops\n\n";
        self.raw(
            "an event that is no JSON, first",
            Replaced,
            Raw::of(chunked(&(not_json.to_owned() + &it.stream())), End::Hang),
        );
        let late = opening + not_json + &it.word(" there") + &it.finish() + &it.end_mark();
        self.raw("an event that is no JSON, after the first word", Flagged, Raw::of(chunked(&late), End::Hang));
        self.raw(
            "a whole answer as JSON in place of a stream",
            Replaced,
            Raw::of(json_answer(200, &it.whole()), End::Hang),
        );
        let drip = (0..20).fold(
            Raw::of(
                head(200, "text/event-stream", "transfer-encoding: chunked") + &one_chunk(&it.opening()),
                End::Hang,
            ),
            |raw, _| raw.pause(BREATH.into()).then(one_chunk(&it.word("."))),
        );
        self.raw("drips until the total limit", Flagged, drip);
    }

    fn streams_that_are_only_odd(&mut self) {
        use Promise::Harmless;
        let it = self.language;
        let all = it.stream();
        let mut bytes = chunked(&all).into_iter();
        let first = Raw::of(vec![bytes.next().unwrap_or_default()], End::Hang);
        self.raw("sends one byte at a time", Harmless, bytes.fold(first, |raw, byte| raw.then(vec![byte])));
        self.raw("ends lines with CR LF", Harmless, Raw::of(chunked(&all.replace('\n', "\r\n")), End::Hang));
        let commented = format!(": first\n\n{}", all.replace("\n\n", "\n\n: ping\n\n"));
        self.raw("puts comments between the events", Harmless, Raw::of(chunked(&commented), End::Hang));
        let unknown =
            it.opening() + "event: surprise\ndata: {\"type\":\"surprise\"}\n\n" + &it.word(" there") + &it.finish();
        let unknown = unknown + &it.end_mark();
        self.raw("an event of an unknown kind", Harmless, Raw::of(chunked(&unknown), End::Hang));
        self.raw(
            "goes on after the end mark",
            Harmless,
            Raw::of(chunked(&(all.clone() + &it.word("more"))), End::Hang),
        );
        self.raw("sends the end mark twice", Harmless, Raw::of(chunked(&(all.clone() + &it.end_mark())), End::Hang));
        let text = sized(200, "text/plain", "", &all);
        self.raw("calls its stream plain text", Harmless, Raw::of(text, End::Hang));
        let filtered = it.opening() + &it.word(" there") + &it.finish_with(it.filtered(), &it.usage(INPUT, OUTPUT));
        let filtered = filtered + &it.end_mark();
        self.raw("stops for its content filter", Harmless, Raw::of(chunked(&filtered), End::Hang));
        let opened = head(200, "text/event-stream", "transfer-encoding: chunked") + &one_chunk(&it.opening());
        let rest = it.word(" there") + &it.finish() + &it.end_mark();
        let slow = Raw::of(opened, End::Hang).pause(BREATH.into()).then(one_chunk(&rest) + "0\r\n\r\n");
        self.raw("pauses within the idle limit", Harmless, slow);
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
                let all = it.opening() + &it.word(" there") + &it.finish_with(it.stop(), &usage) + &it.end_mark();
                chunked(&all)
            } else {
                json_answer(200, &it.whole_with(&usage).to_string())
            };
            self.raw(name, promise, Raw::of(raw, End::Hang));
        }
        if self.is_stream {
            let again = it.opening() + &it.word(" there") + &it.finish_with(it.stop(), &good);
            let last = it.finish_with(it.stop(), &good);
            // The second time without a second end of the block.
            let last = last.split_inclusive("\n\n").last().unwrap_or_default().to_owned();
            let twice = again + &last + &it.end_mark();
            self.raw("usage twice", Harmless, Raw::of(chunked(&twice), End::Hang));
        }
    }
}

fn head(status: u16, kind: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{headers}\r\n\r\n")
}

fn sized(status: u16, kind: &str, more: &str, body: &str) -> String {
    head(status, kind, &format!("content-length: {}{more}", body.len())) + body
}

fn json_answer(status: u16, body: &str) -> Vec<u8> {
    sized(status, "application/json", "", body).into_bytes()
}

fn one_chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A whole stream of server-sent events, each in a chunk of its own.
fn chunked(events: &str) -> Vec<u8> {
    let chunks: String = events.split_inclusive("\n\n").map(one_chunk).collect();
    format!("{}{chunks}0\r\n\r\n", head(200, "text/event-stream", "transfer-encoding: chunked")).into_bytes()
}
