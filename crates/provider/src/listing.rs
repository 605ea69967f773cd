//! What a server behind a foreign address serves: the question, and what is read from its answer. **Sans-IO.**
//!
//! A compatible server (Ollama, vLLM, a proxy) rarely has the models of the vendor's catalog, and nobody but itself knows which it
//! has. So it is asked once, when its address is first met; one that does not answer costs a line in the log. Invariant: a name is
//! taken only as a model could be called here, and no more than [`MAX_MODELS`] of them, whatever the server says.

use std::collections::BTreeSet;

use bytes::Bytes;
use domain::{ModelName, Secret, Timestamp};
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use serde::Deserialize;

use crate::{Base, Provider};

/// Most bytes of an answer: long lists of resellers have some 600 KiB.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Models that a start adds; who has more chooses.
pub const MAX_MODELS: usize = 200;

/// Builds the question; `None` where a provider has no list, or its secret cannot sign without being exchanged first.
#[must_use]
pub fn question(
    provider: &dyn Provider,
    base_url: &str,
    secret: Option<&Secret<String>>,
    now: Timestamp,
) -> Option<Request<Bytes>> {
    let spec = provider.spec();
    let base = Base::parse(spec, base_url).ok()?;
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = base.below(spec.listing?, None).ok()?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in spec.defaults {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    provider.sign(&mut request, secret, now).ok()?;
    Some(request)
}

/// The forms of a list: OpenAI's and Anthropic's `data`, Ollama's and Gemini's `models`, and the bare list of some.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Data { data: Vec<Entry> },
    Models { models: Vec<Entry> },
    Bare(Vec<Entry>),
}

#[derive(Deserialize)]
struct Entry {
    id: Option<String>,
    name: Option<String>,
}

impl Entry {
    /// The name by which the model is asked for. Gemini writes it as a path.
    fn into_name(self) -> Option<String> {
        let name = self.id.or(self.name)?;
        Some(name.strip_prefix("models/").map(str::to_owned).unwrap_or(name))
    }
}

/// What was read from a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Models, in the server's order, each once.
    pub models: Vec<ModelName>,
    /// Names that no model can have here, or that were too many.
    pub n_left_out: usize,
}

/// Reads a list; the error says why it is none.
pub fn read(body: &[u8]) -> Result<Listed, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "its answer is no list of models".to_owned())?;
    let (Answer::Data { data: entries } | Answer::Models { models: entries } | Answer::Bare(entries)) = answer;
    let (mut listed, mut seen) = (Listed::default(), BTreeSet::new());
    for entry in entries {
        let name = entry.into_name().and_then(|text| ModelName::parse(&text).ok());
        match name {
            Some(name) if seen.contains(name.as_str()) => {}
            Some(name) if listed.models.len() < MAX_MODELS => {
                seen.insert(name.as_str().to_owned());
                listed.models.push(name);
            }
            _ => listed.n_left_out += 1,
        }
    }
    if listed.models.is_empty() { Err("it lists no model".to_owned()) } else { Ok(listed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Result<(Vec<String>, usize), String> {
        read(body.as_bytes()).map(|listed| (listed.models.iter().map(ToString::to_string).collect(), listed.n_left_out))
    }

    #[test]
    fn each_form_of_a_list_is_read() {
        let openai = r#"{"object":"list","data":[{"id":"llama3:8b","object":"model"},{"id":"org/Model-1.5"}]}"#;
        assert_eq!(names(openai), Ok((vec!["llama3:8b".to_owned(), "org/Model-1.5".to_owned()], 0)));
        let anthropic = r#"{"data":[{"type":"model","id":"claude-x","display_name":"Claude"}],"has_more":false}"#;
        assert_eq!(names(anthropic), Ok((vec!["claude-x".to_owned()], 0)));
        assert_eq!(
            names(r#"{"models":[{"name":"qwen3:4b","model":"qwen3:4b"}]}"#),
            Ok((vec!["qwen3:4b".to_owned()], 0))
        );
        assert_eq!(names(r#"{"models":[{"name":"models/gemini-x"}]}"#), Ok((vec!["gemini-x".to_owned()], 0)));
        assert_eq!(names(r#"[{"id":"a"}]"#), Ok((vec!["a".to_owned()], 0)));
    }

    #[test]
    fn names_that_no_model_can_have_are_left_out_and_counted() {
        let body = r#"{"data":[{"id":"a b"},{"id":"../x"},{"id":"ok"},{"id":"ok"},{},{"id":""},{"id":"x\u0000"}]}"#;
        assert_eq!(names(body), Ok((vec!["ok".to_owned()], 5)));
        let many: Vec<_> = (0..MAX_MODELS + 3).map(|n| serde_json::json!({ "id": format!("m{n}") })).collect();
        let (listed, n_left_out) = names(&serde_json::json!({ "data": many }).to_string()).expect("a list");
        assert_eq!((listed.len(), n_left_out), (MAX_MODELS, 3));
    }

    #[test]
    fn what_is_no_list_is_said_to_be_none() {
        for body in ["", "<html>", r#"{"data":7}"#, r#"{"error":{}}"#, r#"{"data":[{"id":7}]}"#] {
            assert_eq!(names(body), Err("its answer is no list of models".to_owned()), "{body}");
        }
        assert_eq!(names(r#"{"data":[]}"#), Err("it lists no model".to_owned()));
    }

    #[test]
    fn the_question_goes_to_the_place_of_the_list_with_the_right_proof() {
        let secret = Secret::new("sk-1".to_owned());
        let ask = |name: &str, base: &str| {
            let provider = crate::find(name).expect("a provider");
            question(provider, base, Some(&secret), Timestamp::from_micros(0))
        };
        let openai = ask("openai", "http://vllm.internal:8000/v1/").expect("a question");
        assert_eq!(openai.uri(), "http://vllm.internal:8000/v1/models");
        assert_eq!(openai.headers()["authorization"], "Bearer sk-1");
        let anthropic = ask("anthropic", "http://proxy.internal").expect("a question");
        assert_eq!(anthropic.uri(), "http://proxy.internal/v1/models");
        assert_eq!(
            (&anthropic.headers()["x-api-key"], &anthropic.headers()["anthropic-version"]),
            (&"sk-1".parse().expect("a value"), &"2023-06-01".parse().expect("a value"))
        );
        assert!(ask("perplexity", "http://proxy.internal").is_none(), "it has no list");
        assert!(ask("openai", "not an address").is_none());
    }
}
