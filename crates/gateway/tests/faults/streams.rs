//! Faults inside of a stream: it breaks, says too much, or is only odd.

use provider::wire::event_stream;
use serde_json::Value;

use super::list::{BREATH, Listing, Promise, THOUGHT, json_answer, one_chunk, sized};
use super::said::{Events, Form, INPUT, Language, OUTPUT, frame};
use crate::harness::raw::{End, Raw};

impl Listing {
    pub(super) fn streams(&mut self) {
        self.streams_that_break();
        self.streams_that_say_too_much();
        self.streams_that_are_only_odd();
        match self.language.form() {
            Form::Events => self.events(),
            Form::Frames => self.frames(),
            Form::Lines => self.lines(),
        }
        if self.language.has_end_mark() {
            self.end_marks();
        }
        // Behind Gemini's last event another may come.
        if self.language == Language::Gemini {
            self.one_array();
        } else {
            self.what_comes_after_the_end();
        }
    }

    /// A stream that is over in order.
    fn ended(&mut self, name: &'static str, promise: Promise, events: &Events) {
        let raw = self.streamed(events);
        self.raw(name, promise, Raw::of(raw, End::Hang));
    }

    /// A stream that ends like this behind these bytes.
    fn broken(&mut self, name: &'static str, promise: Promise, bytes: &[u8], end: End) {
        let chunk = if bytes.is_empty() { Vec::new() } else { one_chunk(bytes) };
        let raw = Raw::of([self.opened(), chunk].concat(), end);
        self.raw(name, promise, raw);
    }

    fn streams_that_break(&mut self) {
        use Promise::{Flagged, Harmless, Replaced};
        let it = self.language;
        let opening = it.opening().concat();
        self.ended("an error in place of the first event", Replaced, &it.error_event());
        self.ended("an error after the first word", Flagged, &[it.opening(), it.error_event()].concat());
        self.broken("resets before the first event", Replaced, b"", End::Reset);
        self.broken("resets after the first word", Flagged, &opening, End::Reset);
        self.broken("closes after the first word", Flagged, &opening, End::Close);
        let begun = it.word(" there").concat()[..20].to_vec();
        let cut = [opening.clone(), begun.clone()].concat();
        self.broken("resets inside an event", Flagged, &cut, End::Reset);
        self.broken("stalls before the first event", Replaced, b"", End::Hang);
        self.broken("stalls after the first word", Flagged, &opening, End::Hang);
        self.ended("ends in order after the first word", Flagged, &it.opening());
        self.ended("ends in order inside an event", Flagged, &[it.opening(), vec![begun]].concat());
        let all = it.stream().concat();
        self.broken("resets after the last event", Harmless, &all, End::Reset);
        self.broken("stalls after the last event", Harmless, &all, End::Hang);
        let last = it.stream().last().map_or(0, Vec::len);
        // Nobody goes on with an answer whose reason to stop was said, which OpenAI does before the last event.
        let promise = if it == Language::OpenAi { Promise::Ended } else { Flagged };
        self.broken("resets before the last event", promise, &all[..all.len() - last], End::Reset);
        self.broken("resets inside the last event", promise, &all[..all.len() - last / 2], End::Reset);
        if it == Language::Gemini {
            // Behind its last event may come another, which is part of the answer as soon as it has begun.
            let uncounted = [it.opening(), it.finish_with(it.stop(), &Value::Null)].concat().concat();
            self.broken("resets before the counts", Flagged, &uncounted, End::Reset);
            let more = [all, it.word("more").concat()[..20].to_vec()].concat();
            self.broken("resets inside an event after the last", Flagged, &more, End::Reset);
        }
    }

    fn streams_that_say_too_much(&mut self) {
        use Promise::{Flagged, Replaced};
        let it = self.language;
        let whole = Raw::of(json_answer(200, &it.whole()), End::Hang);
        self.raw("a whole answer as JSON in place of a stream", Replaced, whole);
        let first = Raw::of([self.opened(), one_chunk(&it.opening().concat())].concat(), End::Hang);
        let drip = (0..20).fold(first, |raw, _| raw.pause(BREATH.into()).then(one_chunk(&it.word(".").concat())));
        self.raw("drips until the total limit", Flagged, drip);
    }

    fn streams_that_are_only_odd(&mut self) {
        use Promise::Harmless;
        let it = self.language;
        let mut bytes = self.streamed(&it.stream()).into_iter();
        let first = Raw::of(vec![bytes.next().unwrap_or_default()], End::Hang);
        self.raw("sends one byte at a time", Harmless, bytes.fold(first, |raw, byte| raw.then(vec![byte])));
        let two = [it.word(" th"), it.word("ere")].concat().concat();
        let two = [it.opening(), vec![two], it.finish(), it.end_mark()].concat();
        self.ended("sends two events in one chunk", Harmless, &two);
        self.ended("sends all events in one chunk", Harmless, &vec![it.stream().concat()]);
        let filtered = it.finish_with(it.filtered(), &it.usage(INPUT, OUTPUT));
        let filtered = [it.opening(), it.word(" there"), filtered, it.end_mark()].concat();
        if it != Language::Ollama {
            self.ended("stops for its content filter", Harmless, &filtered);
        }
        let opened = Raw::of([self.opened(), one_chunk(&it.opening().concat())].concat(), End::Hang);
        let rest = [one_chunk(&it.rest().concat()), b"0\r\n\r\n".to_vec()].concat();
        self.raw("pauses within the idle limit", Harmless, opened.pause(BREATH.into()).then(rest));
        let thought = Raw::of(self.opened(), End::Hang).pause(THOUGHT.into());
        let all = [one_chunk(&it.stream().concat()), b"0\r\n\r\n".to_vec()].concat();
        self.raw("thinks before its first word, for most of the limit", Harmless, thought.then(all));
    }

    /// What only server-sent events can have wrong.
    fn events(&mut self) {
        use Promise::{Flagged, Harmless, Replaced};
        let it = self.language;
        let text = |events: &Events| String::from_utf8(events.concat()).expect("text");
        let again =
            |text: String| -> Events { text.split_inclusive("\n\n").map(|event| event.as_bytes().to_vec()).collect() };
        let all = text(&it.stream());
        self.ended("nothing but comments, then the end", Replaced, &vec![b": hello\n\n: hello\n\n".to_vec()]);
        let opened = Raw::of(self.opened(), End::Hang);
        let alive = (0..20).fold(opened, |raw, _| raw.then("b\r\n: waiting\n\n\r\n").pause(BREATH.into()));
        self.raw("nothing but comments, for ever", Replaced, alive);
        let line = vec![format!("data: {}", "x".repeat(super::MAX_ANSWER)).into_bytes()];
        self.ended("a line without an end, first", Replaced, &line);
        self.ended("a line without an end, after the first word", Flagged, &[it.opening(), line].concat());
        let not_json = vec![b"data: {\"choices\": oops\n\n".to_vec()];
        self.ended("an event that is no JSON, first", Replaced, &[not_json.clone(), it.stream()].concat());
        let late = [it.opening(), not_json, it.rest()].concat();
        self.ended("an event that is no JSON, after the first word", Flagged, &late);
        self.ended("ends lines with CR LF", Harmless, &vec![all.replace('\n', "\r\n").into_bytes()]);
        let commented = format!(": first\n\n{}", all.replace("\n\n", "\n\n: ping\n\n"));
        self.ended("puts comments between the events", Harmless, &again(commented));
        let surprise = vec![b"event: surprise\ndata: {\"type\":\"surprise\"}\n\n".to_vec()];
        self.ended("an event of an unknown kind", Harmless, &[it.opening(), surprise, it.rest()].concat());
        let plain = sized(200, "text/plain", "", &all);
        self.raw("calls its stream plain text", Harmless, Raw::of(plain, End::Hang));
    }

    fn end_marks(&mut self) {
        use Promise::{Harmless, Replaced};
        let it = self.language;
        let unmarked = [it.opening(), it.word(" there"), it.finish()].concat();
        self.ended("ends in order without an end mark", Harmless, &unmarked);
        self.ended("nothing but the end mark", Replaced, &it.end_mark());
        self.ended("sends the end mark twice", Harmless, &[it.stream(), it.end_mark()].concat());
    }

    /// What follows the last event is not the answer's, whatever it is.
    fn what_comes_after_the_end(&mut self) {
        use Promise::Harmless;
        let it = self.language;
        self.ended("goes on after the end", Harmless, &[it.stream(), it.word("more")].concat());
        self.ended("an error after the end", Harmless, &[it.stream(), it.error_event()].concat());
        let garbage = vec![b"data: {\"choices\": oops\n\n".to_vec()];
        self.ended("what cannot be read, after the end", Harmless, &[it.stream(), garbage.clone()].concat());
        let one = [it.stream(), garbage, it.error_event()].concat().concat();
        self.ended("all of that in one chunk with the answer", Harmless, &vec![one]);
        let first = Raw::of([self.opened(), one_chunk(&it.stream().concat())].concat(), End::Hang);
        let drip = (0..20).fold(first, |raw, _| raw.pause(BREATH.into()).then(one_chunk(&it.word(".").concat())));
        self.raw("drips after the end", Harmless, drip);
    }

    /// Gemini's stream as it comes to those who do not ask for events: one JSON array.
    fn one_array(&mut self) {
        let events = self.language.stream();
        let items: Vec<&[u8]> = events.iter().map(|event| event["data: ".len()..].trim_ascii()).collect();
        let array = String::from_utf8([b"[", &*items.join(&b",\r\n"[..]), b"]"].concat()).expect("text");
        let answer = Raw::of(json_answer(200, &array), End::Hang);
        self.raw("one JSON array in place of events", Promise::Replaced, answer);
    }

    /// What only lines of JSON can have wrong.
    fn lines(&mut self) {
        use Promise::{Flagged, Harmless, Replaced};
        let it = self.language;
        let blank = |every: &[u8]| it.stream().join(every);
        self.ended("nothing but blank lines, then the end", Replaced, &vec![b"\n\n\n".to_vec()]);
        let no_json = vec![b"{\"message\": oops\n".to_vec()];
        self.ended("a line that is no JSON, first", Replaced, &[no_json.clone(), it.stream()].concat());
        let late = [it.opening(), no_json, it.rest()].concat();
        self.ended("a line that is no JSON, after the first word", Flagged, &late);
        self.ended("puts blank lines between its lines", Harmless, &vec![blank(b"\n \n")]);
        let all = String::from_utf8(it.stream().concat()).expect("text");
        self.ended("ends its lines with CR LF", Harmless, &vec![all.replace('\n', "\r\n").into_bytes()]);
        self.ended("ends its last line without a line end", Harmless, &vec![all.trim_end().as_bytes().to_vec()]);
        let surprise = vec![b"{\"surprise\":1}\n".to_vec()];
        self.ended("a line of an unknown kind", Harmless, &[it.opening(), surprise, it.rest()].concat());
        let event = vec![b"data: ".to_vec()];
        self.ended("events in place of lines", Replaced, &[event, it.stream()].concat());
    }

    /// What only binary frames can have wrong.
    fn frames(&mut self) {
        use Promise::{Flagged, Harmless, Replaced};
        let it = self.language;
        let damaged = |at: fn(usize) -> usize| {
            let mut frame = it.word(" there").concat();
            let at = at(frame.len());
            frame[at] ^= 1;
            vec![frame]
        };
        // The head's checksum is in bytes 8 to 11, the frame's in its last four.
        let (head, content) = (damaged(|_| 9), damaged(|length| length - 6));
        self.ended("a frame whose head is damaged, first", Replaced, &[head.clone(), it.stream()].concat());
        self.ended(
            "a frame whose head is damaged, after the first word",
            Flagged,
            &[it.opening(), head, it.rest()].concat(),
        );
        self.ended("a frame whose content is damaged, first", Replaced, &[content.clone(), it.stream()].concat());
        let late = [it.opening(), content, it.rest()].concat();
        self.ended("a frame whose content is damaged, after the first word", Flagged, &late);
        let huge = vec![vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 16, 0, 0, 0, 0]];
        self.ended("a frame that claims 2 GiB, after the first word", Flagged, &[it.opening(), huge].concat());
        let no_json =
            vec![event_stream::write(&[(":event-type", "contentBlockDelta"), (":message-type", "event")], b"oops")];
        self.ended(
            "a frame that is no JSON, after the first word",
            Flagged,
            &[it.opening(), no_json, it.rest()].concat(),
        );
        let surprise = vec![frame("surprise", &serde_json::json!({"x": 1}))];
        self.ended("a frame of an unknown kind", Harmless, &[it.opening(), surprise, it.rest()].concat());
        self.ended("a damaged frame after the last", Harmless, &[it.stream(), damaged(|length| length - 6)].concat());
        let unstopped = vec![frame("metadata", &serde_json::json!({"usage": it.usage(INPUT, OUTPUT)}))];
        self.ended("a count without a reason to stop", Flagged, &[it.opening(), unstopped].concat());
    }
}
