//! One call of a batch: which model it names, and how it is sent on under the upstream's name.
//!
//! Only the model is changed; the rest stays to the byte, `custom_id` included. Invariant: the model that policy was asked about
//! is the one that the upstream reads, because a key that occurs twice is refused.

use bytes::{Bytes, BytesMut};
use provider::scan::{self, Patch, Scan, ScanError, Span};

/// Where calls have their request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"custom_id", "method", "url", "body"}`.
    OpenAi,
    /// `{"custom_id", "params"}`.
    Anthropic,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It is not JSON, or a field is of the wrong kind.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A field is missing.
    #[error("it has no \"{0}\"")]
    Missing(&'static str),
    /// A field occurs twice.
    #[error("its \"{0}\" occurs twice; send it once")]
    Twice(&'static str),
}

/// One call of a batch.
#[derive(Debug)]
pub struct Call {
    /// The endpoint that it names, where the form has one.
    pub url: Option<String>,
    /// The model that it names.
    pub model: String,
    /// What answers to it are known by, with its quotes.
    custom_id: Option<Span>,
    body: Span,
    scan: Scan,
}

/// Reads a call.
pub fn read(form: Form, line: &[u8]) -> Result<Call, CallError> {
    let field = match form {
        Form::OpenAi => "body",
        Form::Anthropic => "params",
    };
    let (mut body, mut url, mut custom_id, mut twice) = (None::<Span>, None::<Span>, None::<Span>, None);
    scan::visit_fields(line, |key, span| {
        if key == field && body.replace(span).is_some() {
            twice = Some(field);
        }
        if key == "url" && url.replace(span).is_some() {
            twice = Some("url");
        }
        if key == "custom_id" && custom_id.replace(span).is_some() {
            twice = Some("custom_id");
        }
    })?;
    if let Some(twice) = twice {
        return Err(CallError::Twice(twice));
    }
    let body = body.ok_or(CallError::Missing(field))?;
    let scan = scan::scan(body.of(line))?;
    let model = scan.model.as_ref().map(|text| text.value.clone()).ok_or(CallError::Missing("model"))?;
    let url = match form {
        Form::Anthropic => None,
        Form::OpenAi => {
            let url = url.and_then(|span| serde_json::from_slice(span.of(line)).ok());
            Some(url.ok_or(CallError::Missing("url"))?)
        }
    };
    Ok(Call { url, model, custom_id, body, scan })
}

impl Call {
    /// Returns what answers to it are known by, as it was written.
    pub fn custom_id<'l>(&self, line: &'l [u8]) -> Result<&'l [u8], CallError> {
        self.custom_id.map(|span| span.of(line)).ok_or(CallError::Missing("custom_id"))
    }

    /// Returns its request, and what was read in it.
    #[must_use]
    pub fn body(&self, line: &Bytes) -> (Bytes, &Scan) {
        (line.slice(self.body.range()), &self.scan)
    }

    /// Returns the call with another model.
    #[must_use]
    pub fn with_model(&self, line: &Bytes, model: &str) -> Bytes {
        let mut patch = Patch::default();
        self.scan.set_model(&mut patch, model);
        if patch.is_empty() {
            return line.clone();
        }
        let body = patch.apply(&line.slice(self.body.range()));
        let mut out = BytesMut::with_capacity(line.len() + body.len() - self.body.len().min(body.len()));
        out.extend_from_slice(&line[..self.body.start]);
        out.extend_from_slice(&body);
        out.extend_from_slice(&line[self.body.end..]);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"custom_id": "é-1", "method":"POST","url":"/v1/chat/completions", "body" : {"top_p":1.50,"model" : "mine","messages":[{"content":"\"model\":\"x\""}]}}"#;

    #[test]
    fn the_model_is_changed_and_nothing_else() {
        let line = Bytes::from_static(LINE.as_bytes());
        let call = read(Form::OpenAi, &line).unwrap();
        assert_eq!((call.model.as_str(), call.url.as_deref()), ("mine", Some("/v1/chat/completions")));
        assert_eq!(call.with_model(&line, "gpt-5-2026"), LINE.replace("\"mine\"", "\"gpt-5-2026\""));
        assert_eq!(call.with_model(&line, "mine"), line);
        let line = Bytes::from_static(br#"{"params":{"model":"claude","max_tokens":1},"custom_id":"a"}"#);
        let call = read(Form::Anthropic, &line).unwrap();
        assert_eq!(call.with_model(&line, "c"), r#"{"params":{"model":"c","max_tokens":1},"custom_id":"a"}"#);
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for (line, said) in [
            (r#"{"url":"/x","body":{"model":"a","model":"b"}}"#, "occurs twice"),
            (r#"{"url":"/x","body":{"model":"a"},"body":{"model":"b"}}"#, "occurs twice"),
            (r#"{"url":"/x","body":{"model":"a"},"bod\u0079":{"model":"b"}}"#, "occurs twice"),
            (r#"{"url":"/x","body":{"messages":[]}}"#, "no \"model\""),
            (r#"{"body":{"model":"a"}}"#, "no \"url\""),
            (r#"{"url":"/x"}"#, "no \"body\""),
            (r#"{"url":"/x","body":[]}"#, "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"{"url":"/x","body":{"model":"a"}} {}"#, "JSON"),
        ] {
            let refused = read(Form::OpenAi, line.as_bytes()).expect_err(line).to_string();
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }
}
