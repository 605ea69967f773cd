//! Operations besides chat: ranking, moderation, pictures, speech, and vectors in a vendor's own form.
//!
//! The client's side is OpenAI's (ranking: Cohere's and Jina's, which agree). A place either takes that as it is, or names a
//! [`Form`] that writes the request and reads the answer. Invariant: an answer says how much was counted, and where a number
//! was worked out by us it says that too.

mod audio;
mod embed;
mod image;
mod likely;
pub mod multipart;
mod plain;
mod rerank;
mod speech;

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use serde_json::Value;

use crate::provider::{Call, Operation, Place, PrepareError, Prepared, Relay, Spec, Surface, Target};
use crate::skim::Skimmed;
use domain::image::ImageKind;
use llm::canonical::error::{DecodeError, EncodeError};
use llm::canonical::loss::Loss;

pub use audio::Sound;
pub(crate) use audio::wave;
pub use embed::{COHERE_EMBED, INVOKE_EMBED, OLLAMA_EMBED, PREDICT_EMBED, TEXTS_EMBED};
pub use image::{PIXELS, PREDICT_IMAGE, SHAPES};
pub use likely::{Likely, most_units};
pub use rerank::{RERANK, RERANK_TOP_K};
pub(crate) use rerank::{answer as rerank_answer, rank, tell as tell_ranked};
pub use speech::{LISTEN, SPEAK, SPEECH_TO_TEXT, TEXT_TO_SPEECH};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Documents by how well they answer a query.
    Rerank,
    /// Whether content is fit.
    Moderation,
    /// A picture of a description.
    ImageGeneration,
    /// A picture changed by a description.
    ImageEdit,
    /// A picture like another.
    ImageVariation,
    /// Text into speech.
    Speech,
    /// Speech into text.
    Transcription,
    /// Speech into English text.
    Translation,
    /// A long conversation made short, in the vendor's own sealed form.
    Compaction,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 9] = [
        Self::Rerank,
        Self::Moderation,
        Self::ImageGeneration,
        Self::ImageEdit,
        Self::ImageVariation,
        Self::Speech,
        Self::Transcription,
        Self::Translation,
        Self::Compaction,
    ];

    /// Says what a provider that cannot do it lacks.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Rerank => "ranking of documents",
            Self::Moderation => "moderation",
            Self::ImageGeneration => "pictures",
            Self::ImageEdit => "changes of pictures",
            Self::ImageVariation => "variations of pictures",
            Self::Speech => "speech",
            Self::Transcription => "transcriptions",
            Self::Translation => "translations of speech",
            Self::Compaction => "compaction of conversations",
        }
    }

    /// Says whether its body may be a form with files in it.
    #[must_use]
    pub const fn takes_files(self) -> bool {
        matches!(self, Self::ImageEdit | Self::ImageVariation | Self::Transcription | Self::Translation)
    }
}

/// A request in a vendor's own form.
#[derive(Debug)]
pub struct Written {
    /// The body.
    pub body: Bytes,
    /// Its media type.
    pub content_type: HeaderValue,
    /// What stands for the model in the place's path, when it is not the model.
    pub address: Option<String>,
    /// Further parameters of the address, encoded.
    pub query: Option<String>,
    /// What could not be said.
    pub losses: Vec<Loss>,
}

impl Written {
    /// A JSON body.
    fn json(body: &Value) -> Self {
        Self { body: Bytes::from(body.to_string()), content_type: JSON, address: None, query: None, losses: Vec::new() }
    }
}

/// An answer as the client gets it.
#[derive(Debug)]
pub struct Told {
    /// The body.
    pub body: Bytes,
    /// Its media type.
    pub content_type: HeaderValue,
    /// What it says about itself.
    pub found: Skimmed,
}

impl Told {
    fn json(body: &Value, found: Skimmed) -> Self {
        Self { body: Bytes::from(body.to_string()), content_type: JSON, found }
    }
}

/// How a vendor wants an operation to be said, and how it answers.
pub trait Form: Sync + fmt::Debug {
    /// Writes the request.
    fn write(&self, call: &Call<'_>, model: &str, place: &Place) -> Result<Written, PrepareError>;

    /// Reads a whole answer of status 200.
    fn read(&self, asked: &Asked, content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError>;

    /// Says what is known of the answer before it is there.
    fn known(&self, _asked: &Asked) -> Skimmed {
        Skimmed::default()
    }
}

/// What was asked, kept for reading the answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked for.
    pub operation: Operation,
    /// The client's body.
    pub body: Bytes,
    /// The model as the upstream names it.
    pub model: String,
    form: &'static dyn Form,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.operation == other.operation && self.body == other.body && self.model == other.model
    }
}

impl Eq for Asked {}

impl Asked {
    /// What was asked in OpenAI's own form, of an upstream that takes it so.
    #[must_use]
    pub fn plain(task: Task, body: Bytes, model: &str) -> Self {
        Self { operation: Operation::Task(task), body, model: model.to_owned(), form: &plain::PLAIN }
    }

    /// Reads a whole answer of status 200.
    pub fn read(&self, content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let mut told = self.form.read(self, content_type, body)?;
        told.found.image = self.image(told.found.image.take());
        told.found.n_bytes = body.len() as u64;
        told.found.is_complete = true;
        Ok(told)
    }

    /// Says what is known of the answer before it is there.
    #[must_use]
    pub fn known(&self) -> Skimmed {
        let mut known = self.form.known(self);
        known.image = self.image(known.image.take());
        known
    }

    /// Says what kind of pictures were made: as the answer says, else as was asked.
    fn image(&self, said: Option<Box<ImageKind>>) -> Option<Box<ImageKind>> {
        let kind = image_kind(self.operation, &self.body).unwrap_or_default();
        let kind = kind.corrected(said.map(|kind| *kind).unwrap_or_default());
        (!kind.is_empty()).then(|| Box::new(kind))
    }

    /// Says whether an answer of this media type goes to the client as it arrives: events, and sound.
    #[must_use]
    pub fn is_relayed(&self, content_type: &HeaderValue) -> bool {
        let kind = content_type.as_bytes();
        kind.starts_with(b"text/event-stream")
            || self.operation == Operation::Task(Task::Speech) && !kind.starts_with(b"application/json")
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Builds the request of an operation that has a form; `None` when it is said in the usual way.
pub(crate) fn prepare(
    spec: &'static Spec,
    call: &Call<'_>,
    target: &Target<'_>,
) -> Option<Result<Prepared, PrepareError>> {
    let surface = match call.operation {
        Operation::Task(task) => Surface::Task(task),
        Operation::Embeddings => Surface::Embeddings,
        Operation::Chat(_) | Operation::CountTokens(_) => return None,
    };
    let place = spec.place(surface, target.base.is_dated());
    let form = match (place.and_then(|place| place.form), call.operation) {
        (Some(form), _) => form,
        (None, Operation::Task(_)) => &plain::PLAIN,
        (None, _) => return None,
    };
    Some(build(spec, call, target, surface, place, form))
}

fn build(
    spec: &'static Spec,
    call: &Call<'_>,
    target: &Target<'_>,
    surface: Surface,
    place: Option<&'static Place>,
    form: &'static dyn Form,
) -> Result<Prepared, PrepareError> {
    let what = match call.operation {
        Operation::Task(task) => task.what(),
        _ => "embeddings",
    };
    let unsupported = PrepareError::Unsupported { provider: spec.title, what };
    let Some(place) = place else { return Err(unsupported) };
    let model = target.upstream_model;
    let written = form.write(call, model, place)?;
    let found = target.base.uri(surface, written.address.as_deref().unwrap_or(model), false);
    let refuse = |reason: String| EncodeError { path: "model".into(), reason: reason.into() };
    let Some(uri) = found.map_err(|error| refuse(error.to_string()))? else { return Err(unsupported) };
    let mut request = Request::new(written.body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = with_query(uri, written.query.as_deref()).ok_or_else(|| refuse("is too long".to_owned()))?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, written.content_type);
    headers.insert(ACCEPT, ANY);
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in spec.defaults {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    forward(spec, call.headers, headers);
    let asked = Asked { operation: call.operation, body: call.body.clone(), model: model.to_owned(), form };
    Ok(Prepared { request, relay: Relay::Formed(Box::new(asked)), losses: written.losses })
}

fn forward(spec: &Spec, from: &HeaderMap, to: &mut HeaderMap) {
    for name in spec.forwarded {
        if let Some(value) = from.get(*name) {
            to.insert(HeaderName::from_static(name), value.clone());
        }
    }
}

fn with_query(uri: Uri, query: Option<&str>) -> Option<Uri> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Some(uri) };
    let joint = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{joint}{query}").parse().ok()
}

// === Pieces ===

/// Reads what kind of pictures a body asks for; `None` when it asks for no pictures, or leaves the kind open.
#[must_use]
pub fn image_kind(operation: Operation, body: &[u8]) -> Option<ImageKind> {
    let is_picture = |task| matches!(task, Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation);
    let is_asked = matches!(operation, Operation::Task(task) if is_picture(task));
    is_asked.then(|| read_image_kind(body)).filter(|kind| !kind.is_empty())
}

#[derive(Default, serde::Deserialize)]
struct AskedKind {
    size: Option<Value>,
    quality: Option<Value>,
}

fn read_image_kind(body: &[u8]) -> ImageKind {
    if multipart::is_form(body) {
        let form = multipart::parse(body).ok();
        let field = |name| form.as_ref().and_then(|form| form.text(name));
        return ImageKind::of(field("size"), field("quality"));
    }
    let kind: AskedKind = serde_json::from_slice(body).unwrap_or_default();
    let [size, quality] = [&kind.size, &kind.quality].map(|word| word.as_ref().and_then(Value::as_str));
    ImageKind::of(size, quality)
}

/// Reads the client's JSON body.
fn object(call: &Call<'_>) -> Result<Value, PrepareError> {
    let read = serde_json::from_slice(call.body).ok().filter(Value::is_object);
    read.ok_or_else(|| PrepareError::Invalid { field: "body", reason: "must be a JSON object".to_owned() })
}

fn text<'v>(object: &'v Value, field: &'static str) -> Result<&'v str, PrepareError> {
    object[field].as_str().ok_or_else(|| invalid(field, "must be a string"))
}

fn invalid(field: &'static str, reason: &str) -> PrepareError {
    PrepareError::Invalid { field, reason: reason.to_owned() }
}

/// Reads the upstream's JSON body.
fn answer(body: &[u8]) -> Result<Value, DecodeError> {
    let read = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    read.ok_or(DecodeError::Truncated)
}

/// Notes the fields of a body that a form does not know.
fn unknown_fields(object: &Value, known: &[&str], reason: &'static str) -> Vec<Loss> {
    let names = object.as_object().into_iter().flat_map(serde_json::Map::keys);
    names.filter(|name| !known.contains(&name.as_str())).map(|name| Loss::dropped(name.as_str(), reason)).collect()
}

#[cfg(test)]
mod tests;
