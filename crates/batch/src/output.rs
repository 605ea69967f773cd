//! The output of a batch on its way to whoever reads it: each line's usage is counted, its model named as the client named it.
//!
//! A line that cannot be read goes on untouched and counts nothing. Invariant: what is counted is what went by, each line once.

use bytes::{Bytes, BytesMut};
use domain::price::ServiceTier;
use llm::dialect::Dialect;
use provider::scan::{Span, quote, visit_fields};
use provider::skim::{Skimmed, skim_body};

use crate::facts::Facts;
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
    lines: Lines,
}

impl Output {
    /// Starts at an output's first byte.
    #[must_use]
    pub fn new(form: Form, facts: Facts) -> Self {
        let dialect = match form {
            Form::Anthropic => Dialect::AnthropicMessages,
            Form::Calls | Form::OpenAi if facts.endpoint.ends_with("/responses") => Dialect::OpenAiResponses,
            // Vectors and the like are counted in the same form.
            Form::Calls | Form::OpenAi => Dialect::OpenAiChat,
        };
        Self { form, facts, dialect, lines: Lines::new(MAX_LINE) }
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

    fn take(&self, line: &Bytes, out: &mut BytesMut, count: &mut dyn FnMut(Answer)) {
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
        match model.and_then(|at| self.facts.models.get(at)).filter(|_| said.is_some()) {
            Some(model) => {
                out.extend_from_slice(&line[..place.model.start]);
                out.extend_from_slice(&quote(&model.name));
                out.extend_from_slice(&line[place.model.end..]);
            }
            None => out.extend_from_slice(line),
        }
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

    fn facts() -> Facts {
        let model = |name: &str, upstream: &str| Model {
            name: name.to_owned(),
            deployment: DeploymentId::from_uuid(1),
            upstream: upstream.to_owned(),
            base: None,
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
        let mut output = Output::new(Form::OpenAi, facts());
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
        let mut output = Output::new(Form::Anthropic, facts());
        let mut counted = Vec::new();
        let text = output.push(line.as_bytes(), &mut |answer| counted.push(answer.found.usage.unwrap())).unwrap();
        assert_eq!(text, line.replace("gpt-5", "mine"));
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].input, counted[0].cached_input, counted[0].output), (10, 3, 5));
    }

    #[test]
    fn calls_get_their_names_back_and_count_nothing() {
        let mut output = Output::new(Form::Calls, facts());
        let text =
            output.push(b"{\"body\":{\"model\":\"gpt-5\"}}\n", &mut |_| unreachable!("nothing to count")).unwrap();
        assert_eq!(text, "{\"body\":{\"model\":\"mine\"}}\n");
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
