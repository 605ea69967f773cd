//! Writes a call as its vendor takes it, and an answer as the client knows it.
//!
//! At vendors that take OpenAI's lines only the model is named anew. At the others a line is prepared as the same call would be by
//! itself, so rules and translation are those of crate `provider`. Invariant: a line that cannot be said is refused before
//! anything is made of the file.

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use http::HeaderMap;
use llm::dialect::{AnswerOptions, Dialect, Mode, Speak as _, Undo};
use provider::{Base, BatchForm, Operation, PrepareError, Provider, Relay, Target};

use crate::facts::{Facts, Model};
use crate::request::{Call, CallError};

/// Most tools of a file that the upstream knows by another name.
const MAX_RENAMED: usize = 256;

/// Why a call cannot be written for its vendor.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It lacks something.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot be said there.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Another endpoint.
    #[error("{0} takes batches of `/v1/chat/completions` alone")]
    Endpoint(&'static str),
    /// Something lies elsewhere that the upstream does not fetch.
    #[error("{0} does not fetch what is named by its address; send it as data")]
    Address(&'static str),
    /// The answers could not be told apart.
    #[error(
        "its tools or its schema would have to be renamed, more or otherwise than those of the calls before; put it into a batch of its own"
    )]
    Renamed,
}

/// Where calls go.
pub struct Destination<'a> {
    /// The upstream's provider.
    pub provider: &'static dyn Provider,
    /// How it takes many calls.
    pub form: BatchForm,
    /// Where it is.
    pub base: &'a Base,
}

/// Writes a call as its vendor takes it. `facts` learns how answers have to be read, `dropped` what of the call was left out.
pub fn write(
    to: &Destination<'_>,
    (call, line): (&Call, &Bytes),
    model: &Model,
    facts: &mut Facts,
    dropped: &mut Vec<String>,
) -> Result<Bytes, LineError> {
    if matches!(to.form, BatchForm::OpenAi | BatchForm::Anthropic) {
        return Ok(call.with_model(line, &model.upstream));
    }
    let id = call.custom_id(line)?;
    let operation = match call.url.as_deref() {
        Some("/v1/chat/completions") => Some(Operation::Chat(Dialect::OpenAiChat)),
        _ if to.form == BatchForm::Gemini => return Err(LineError::Endpoint(to.provider.spec().title)),
        Some("/v1/embeddings") => Some(Operation::Embeddings),
        _ => None,
    };
    let (body, scan) = call.body(line);
    let body = if let Some(operation) = operation {
        let single = provider::Call { operation, body: &body, scan, headers: &HeaderMap::new(), inlined: None };
        prepare(to, &single, model, facts, dropped)?
    } else {
        let mut patch = provider::scan::Patch::default();
        scan.set_model(&mut patch, &model.upstream);
        patch.apply(&body)
    };
    let (key, value): (&[u8], &[u8]) =
        if to.form == BatchForm::Gemini { (b"key", b"request") } else { (b"custom_id", b"body") };
    let end: &[u8] = if line.ends_with(b"\n") { b"}\n" } else { b"}" };
    Ok([b"{\"", key, b"\":", id, b",\"", value, b"\":", &body[..], end].concat().into())
}

fn prepare(
    to: &Destination<'_>,
    call: &provider::Call<'_>,
    model: &Model,
    facts: &mut Facts,
    dropped: &mut Vec<String>,
) -> Result<Bytes, LineError> {
    let title = to.provider.spec().title;
    if !to.provider.needs(call, &model.upstream).is_empty() {
        return Err(LineError::Address(title));
    }
    let (base_model, facts_of) = (model.base.as_ref(), model.facts.as_deref());
    let target = Target { base: to.base, upstream_model: &model.upstream, base_model, facts: facts_of };
    let prepared = to.provider.prepare(call, &target)?;
    if let Relay::Translated { undo, .. } = prepared.relay {
        facts.is_translated = true;
        if undo.text_tool.is_some() {
            return Err(LineError::Renamed);
        }
        for (sent, original) in undo.tool_names {
            match facts.renamed.iter().find(|(known, _)| **known == *sent) {
                Some((_, known)) if **known == *original => {}
                None if facts.renamed.len() < MAX_RENAMED => facts.renamed.push((sent.into(), original.into())),
                _ => return Err(LineError::Renamed),
            }
        }
    }
    for loss in prepared.losses {
        if !dropped.iter().any(|path| **path == *loss.path) && dropped.len() < MAX_RENAMED {
            dropped.push(loss.path.into());
        }
    }
    Ok(prepared.request.into_body())
}

/// Writes whole answers anew, as chat completions.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The upstream's dialect.
    pub(crate) dialect: Dialect,
    pub(crate) undo: Undo,
    /// When they are said to be made, where the upstream does not say it.
    pub(crate) at: Timestamp,
}

impl Rewrite {
    /// Makes it of what is known of a file; `None` where answers go on as they come.
    pub(crate) fn of(facts: &Facts, dialect: Dialect, at: Timestamp) -> Option<Self> {
        let names = facts.renamed.iter().map(|(sent, original)| (sent.as_str().into(), original.as_str().into()));
        let undo = Undo { tool_names: names.collect(), text_tool: None };
        facts.is_translated.then_some(Self { dialect, undo, at })
    }

    /// Writes an answer; `None` when it cannot be read.
    pub(crate) fn write(&self, body: &[u8], id: &str, model: Option<&str>) -> Option<Bytes> {
        let mut decoder = self.dialect.decoder(Mode::Whole, self.undo.clone());
        let mut events = Vec::new();
        decoder.push(body, &mut events).ok()?;
        decoder.finish(&mut events).ok()?;
        let options = AnswerOptions {
            model: model.map(Into::into),
            id: id.into(),
            created: self.at.as_micros() / 1_000_000,
            ..AnswerOptions::default()
        };
        let mut encoder = Dialect::OpenAiChat.encoder(Mode::Whole, options);
        let mut out = BytesMut::new();
        for event in events {
            encoder.push(event, &mut out);
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}
