//! The output of a batch on its way to whoever reads it: each line's usage is counted, its model named as the client named it.
//!
//! Lines of another form than OpenAI's are written in OpenAI's. A line that cannot be read goes on untouched and counts nothing.
//! Invariant: what is counted is what went by, each line once.

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use domain::price::ServiceTier;
use llm::dialect::{Dialect, Speak as _};
use provider::BatchForm;
use provider::scan::{Span, quote, visit_fields};
use provider::skim::{Skimmed, skim_body};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::line::Rewrite;
use crate::split::{Lines, SplitError};

/// Longest line of an output: an answer with pictures in it.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Calls of OpenAI's form; nothing to count.
    Calls,
    /// `{"custom_id", "response": {"status_code", "body"}, "error"}`.
    OpenAi,
    /// `{"custom_id", "result": {"type", "message"}}`.
    Anthropic,
    /// `{"key", "response"}`, or `error` in place of the response.
    Gemini,
}

impl Form {
    /// Returns the form of a vendor's outputs.
    #[must_use]
    pub const fn of(form: BatchForm) -> Self {
        match form {
            BatchForm::OpenAi | BatchForm::Together | BatchForm::Mistral => Self::OpenAi,
            BatchForm::Anthropic => Self::Anthropic,
            BatchForm::Gemini => Self::Gemini,
        }
    }
}

/// One answer of an output.
#[derive(Debug)]
pub struct Answer {
    /// Which of the batch's models gave it.
    pub model: usize,
    /// What it said about itself.
    pub found: Skimmed,
}

/// Follows one output.
#[derive(Debug)]
pub struct Output {
    form: Form,
    facts: Facts,
    dialect: Dialect,
    rewrite: Option<Rewrite>,
    lines: Lines,
    n_lines: u64,
}

impl Output {
    /// Starts at an output's first byte. `at` is when answers are said to be made that do not say it.
    #[must_use]
    pub fn new(form: Form, facts: Facts, at: Timestamp) -> Self {
        let dialect = match form {
            Form::Anthropic => Dialect::AnthropicMessages,
            Form::Gemini => Dialect::Gemini,
            Form::Calls | Form::OpenAi if facts.endpoint.ends_with("/responses") => Dialect::OpenAiResponses,
            // Vectors and the like are counted in the same form.
            Form::Calls | Form::OpenAi => Dialect::OpenAiChat,
        };
        let rewrite = Rewrite::of(&facts, dialect, at).filter(|_| form != Form::Calls);
        Self { form, facts, dialect, rewrite, lines: Lines::new(MAX_LINE), n_lines: 0 }
    }

    /// Takes the next bytes and returns those to hand on; `count` is told of each answer.
    pub fn push(&mut self, chunk: &[u8], count: &mut dyn FnMut(Answer)) -> Result<Bytes, SplitError> {
        self.lines.push(chunk);
        let mut out = BytesMut::new();
        while let Some(line) = self.lines.next_line()? {
            self.take(&line, &mut out, count);
        }
        Ok(out.freeze())
    }

    /// Ends the output and returns what is left of it.
    pub fn finish(&mut self, count: &mut dyn FnMut(Answer)) -> Bytes {
        let rest = self.lines.take_rest();
        let mut out = BytesMut::new();
        if !rest.is_empty() {
            self.take(&rest, &mut out, count);
        }
        out.freeze()
    }

    fn take(&mut self, line: &Bytes, out: &mut BytesMut, count: &mut dyn FnMut(Answer)) {
        self.n_lines += 1;
        if self.form == Form::Gemini {
            let written = self.translate(line, count);
            out.extend_from_slice(written.as_ref().unwrap_or(line));
            return;
        }
        let line = &self.addressed(line);
        let Some(place) = find(self.form, line) else {
            out.extend_from_slice(line);
            return;
        };
        let said = serde_json::from_slice::<String>(place.model.of(line)).ok();
        let model = said.as_deref().and_then(|said| self.facts.find_model(said));
        if self.form != Form::Calls && place.is_good {
            let mut found = skim_body(self.dialect, place.body.of(line));
            found.tier = Some(ServiceTier::Batch);
            count(Answer { model: model.unwrap_or(0), found });
        }
        let model = model.and_then(|at| self.facts.models.get(at)).filter(|_| said.is_some());
        let name = model.map(|model| model.name.as_str());
        let rewrite = self.rewrite.as_ref().filter(|_| place.is_good);
        if let Some(body) = rewrite.and_then(|it| it.write(place.body.of(line), &self.line_id(), name)) {
            out.extend_from_slice(&line[..place.body.start]);
            out.extend_from_slice(&body);
            out.extend_from_slice(&line[place.body.end..]);
            return;
        }
        match model {
            Some(model) => {
                out.extend_from_slice(&line[..place.model.start]);
                out.extend_from_slice(&quote(&model.name));
                out.extend_from_slice(&line[place.model.end..]);
            }
            None => out.extend_from_slice(line),
        }
    }
}

impl Output {
    fn line_id(&self) -> String {
        format!("batch_req_{}", self.n_lines)
    }

    /// Puts the address back into a call whose vendor takes none in lines.
    fn addressed(&self, line: &Bytes) -> Bytes {
        let whole = Span { start: 0, end: line.len() };
        let is_bare = self.form == Form::Calls && field(line, whole, "body").is_some();
        if !is_bare || field(line, whole, "url").is_some() {
            return line.clone();
        }
        let Some(at) = memchr::memchr(b'{', line) else { return line.clone() };
        let address = format!("\"method\":\"POST\",\"url\":{},", Value::from(self.facts.endpoint.as_str()));
        [&line[..=at], address.as_bytes(), &line[at + 1..]].concat().into()
    }

    /// Writes a line of Gemini's form in OpenAI's.
    fn translate(&self, line: &Bytes, count: &mut dyn FnMut(Answer)) -> Option<Bytes> {
        let whole = Span { start: 0, end: line.len() };
        let key: Value = serde_json::from_slice(field(line, whole, "key")?.of(line)).ok()?;
        let there = |name: &str| field(line, whole, name).filter(|span| span.of(line) != b"null");
        let id = self.line_id();
        let mut written = json!({ "id": id, "custom_id": key, "response": null, "error": null });
        if let Some(span) = there("response") {
            let body = span.of(line);
            let said = field(line, span, "modelVersion");
            let said = said.and_then(|span| serde_json::from_slice::<String>(span.of(line)).ok());
            let model = said.and_then(|said| self.facts.find_model(&said)).unwrap_or(0);
            let mut found = skim_body(self.dialect, body);
            found.tier = Some(ServiceTier::Batch);
            count(Answer { model, found });
            let name = self.facts.models.get(model).map(|model| model.name.as_str());
            let answer = self.rewrite.as_ref().and_then(|it| it.write(body, &id, name));
            if let Some(answer) = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer).ok()) {
                written["response"] = json!({ "status_code": 200, "request_id": answer["id"], "body": answer });
            } else {
                let message = "the upstream's answer could not be read";
                written["error"] = json!({ "code": "upstream_error", "message": message });
            }
        } else {
            let error: Value = serde_json::from_slice(there("error")?.of(line)).ok()?;
            let status = http_status(error["code"].as_u64().unwrap_or_default());
            let error = self.dialect.decode_error(status, json!({ "error": error }).to_string().as_bytes());
            let body: Value = serde_json::from_slice(&Dialect::OpenAiChat.encode_error(&error)).ok()?;
            written["response"] = json!({ "status_code": status, "request_id": id, "body": body });
        }
        let end = if line.ends_with(b"\n") { "\n" } else { "" };
        Some(format!("{written}{end}").into())
    }
}

/// Returns the status of a code of Google's (google/rpc/code.proto).
fn http_status(code: u64) -> u16 {
    match code {
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        400..=599 => u16::try_from(code).unwrap_or(500),
        _ => 500,
    }
}

/// Where a line has its answer.
struct Place {
    body: Span,
    /// The model's name with its quotes; empty when there is none.
    model: Span,
    is_good: bool,
}

fn find(form: Form, line: &[u8]) -> Option<Place> {
    let whole = Span { start: 0, end: line.len() };
    let (body, is_good) = match form {
        Form::Calls => (field(line, whole, "body")?, false),
        Form::OpenAi => {
            let response = field(line, whole, "response")?;
            let status = field(line, response, "status_code").and_then(|span| number(span.of(line)));
            (field(line, response, "body")?, status.is_none_or(|status| (200..300).contains(&status)))
        }
        Form::Anthropic => {
            let result = field(line, whole, "result")?;
            (field(line, result, "message")?, true)
        }
        Form::Gemini => return None,
    };
    let model = field(line, body, "model").unwrap_or_default();
    Some(Place { body, model, is_good })
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Finds a field of the object that lies at a span.
fn field(line: &[u8], of: Span, name: &str) -> Option<Span> {
    let mut found = None;
    visit_fields(of.of(line), |key, span| {
        if key == name {
            found = Some(Span { start: of.start + span.start, end: of.start + span.end });
        }
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use domain::DeploymentId;
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Model;

    const AT: Timestamp = Timestamp::from_micros(1_795_348_800_000_000);

    fn facts() -> Facts {
        let model = |name: &str, upstream: &str| Model {
            name: name.to_owned(),
            deployment: DeploymentId::from_uuid(1),
            upstream: upstream.to_owned(),
            base: None,
            facts: None,
        };
        Facts { models: vec![model("mine", "gpt-5"), model("small", "gpt-5-mini")], ..Facts::default() }
    }

    const OUTPUT: &str = concat!(
        r#"{"id":"1","custom_id":"a","response":{"status_code":200,"body":{"model":"gpt-5-2026","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}},"error":null}"#,
        "\n",
        r#"{"id":"2","custom_id":"model","response":{"status_code":200,"body":{"usage":{"prompt_tokens":1,"completion_tokens":2},"model":"gpt-5-mini"}}}"#,
        "\n",
        r#"{"id":"3","response":{"status_code":400,"body":{"error":{"message":"no"}}}}"#,
        "\n",
        "no JSON\n",
        r#"{"id":"4","response":null,"error":{"code":"batch_expired"}}"#,
    );

    fn read(chunks: &[&[u8]]) -> (String, Vec<(usize, u64, u64)>) {
        let mut output = Output::new(Form::OpenAi, facts(), AT);
        let (mut text, mut counted) = (Vec::new(), Vec::new());
        let mut count = |answer: Answer| {
            let usage = answer.found.usage.expect("a count");
            assert_eq!(answer.found.tier, Some(ServiceTier::Batch));
            counted.push((answer.model, usage.input, usage.output));
        };
        for chunk in chunks {
            text.extend_from_slice(&output.push(chunk, &mut count).unwrap());
        }
        text.extend_from_slice(&output.finish(&mut count));
        (String::from_utf8(text).unwrap(), counted)
    }

    #[test]
    fn usage_is_counted_and_models_are_named_as_the_client_named_them() {
        let (text, counted) = read(&[OUTPUT.as_bytes()]);
        assert_eq!(text, OUTPUT.replace("gpt-5-2026", "mine").replace("gpt-5-mini", "small"));
        assert_eq!(counted, [(0, 10, 5), (1, 1, 2)]);
    }

    #[test]
    fn anthropics_results_are_counted() {
        let line = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg","type":"message","role":"assistant","model":"gpt-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":5}}}}
{"custom_id":"b","result":{"type":"errored","error":{"type":"error"}}}
"#;
        let mut output = Output::new(Form::Anthropic, facts(), AT);
        let mut counted = Vec::new();
        let text = output.push(line.as_bytes(), &mut |answer| counted.push(answer.found.usage.unwrap())).unwrap();
        assert_eq!(text, line.replace("gpt-5", "mine"));
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].input, counted[0].cached_input, counted[0].output), (10, 3, 5));
    }

    #[test]
    fn geminis_results_are_written_as_chat_completions_and_counted() {
        let lines = concat!(
            r#"{"key":"a","response":{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"gpt-5","responseId":"r1"}}"#,
            "\n",
            r#"{"error":{"code":3,"message":"no such thing"},"key":"b"}"#,
            "\n",
            r#"{"key":"c","response":[]}"#,
            "\n",
            "no JSON",
        );
        let facts = Facts { is_translated: true, ..facts() };
        let mut output = Output::new(Form::Gemini, facts, AT);
        let mut counted = Vec::new();
        let mut count =
            |answer: Answer| counted.push((answer.model, answer.found.usage.map(|it| (it.input, it.output))));
        let mut text = output.push(lines.as_bytes(), &mut count).unwrap().to_vec();
        text.extend_from_slice(&output.finish(&mut count));
        assert_eq!(
            counted[0],
            (0, Some((10, 5))),
            "the unreadable one may have cost something, the refused one has not"
        );
        assert_eq!(counted.len(), 2);
        let text = String::from_utf8(text).unwrap();
        let (read, last) = text.rsplit_once('\n').unwrap();
        assert_eq!(last, "no JSON", "goes on as it is");
        let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let body = &read[0]["response"]["body"];
        assert_eq!((&read[0]["custom_id"], &read[0]["response"]["status_code"]), (&json!("a"), &json!(200)));
        assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("mine")));
        assert_eq!(body["choices"][0]["message"]["content"], "Hi");
        assert_eq!((&body["usage"]["prompt_tokens"], &body["created"]), (&json!(10), &json!(1_795_348_800)));
        assert_eq!((&read[1]["custom_id"], &read[1]["response"]["status_code"]), (&json!("b"), &json!(400)));
        assert_eq!(read[1]["response"]["body"]["error"]["message"], "no such thing");
        assert_eq!((&read[2]["response"], &read[2]["error"]["code"]), (&Value::Null, &json!("upstream_error")));
    }

    #[test]
    fn a_call_whose_vendor_takes_no_address_gets_it_back() {
        let facts = Facts { endpoint: "/v1/embeddings".to_owned(), ..facts() };
        let mut output = Output::new(Form::Calls, facts, AT);
        let text = output.push(b"{\"custom_id\":\"a\",\"body\":{\"model\":\"gpt-5\"}}\n", &mut |_| ()).unwrap();
        let expected = r#"{"method":"POST","url":"/v1/embeddings","custom_id":"a","body":{"model":"mine"}}"#;
        assert_eq!(text, format!("{expected}\n"));
    }

    #[test]
    fn calls_get_their_names_back_and_count_nothing() {
        let mut output = Output::new(Form::Calls, facts(), AT);
        let text = output
            .push(b"{\"url\":\"/x\",\"body\":{\"model\":\"gpt-5\"}}\n", &mut |_| unreachable!("nothing to count"))
            .unwrap();
        assert_eq!(text, "{\"url\":\"/x\",\"body\":{\"model\":\"mine\"}}\n");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in proptest::collection::vec(0..OUTPUT.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, OUTPUT.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &OUTPUT.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks), read(&[OUTPUT.as_bytes()]));
        }
    }
}
