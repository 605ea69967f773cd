//! What a client surface is: the operation behind it, how its body is made ready.
//!
//! A surface says in one dialect what an operation does; several may share an operation. Not here: where surfaces are
//! (`endpoint`), translation (`llm`), and how an answer is finished (the gateway). Invariant: what leaves here has a body in which policy's fields can be trusted, and a
//! model name that was said once or twice alike.

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::usage::Endpoint as EndpointName;
use llm::canonical::embedding::EmbeddingFormat;
use llm::dialect::gemini::embeddings::{self as gemini_embeddings, Batch};
use llm::dialect::{Dialect, openai_embeddings};
use provider::Operation;
use provider::scan::{self, Patch, Scan, ScanError, Span};
use provider::task::Task;
use provider::task::multipart::{self, FormError};

use crate::choice;
use crate::endpoint::Endpoint;
use crate::rejection::Rejection;

/// A client surface that a model serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Chat in a dialect that says in the body whether to stream.
    Chat(Dialect),
    /// A conversation of the responses surface made short; how depends on the targets (`compact`).
    Compact,
    /// Gemini's content generation, where the address says it.
    GenerateContent {
        /// Whether it asks for a stream.
        is_stream: bool,
    },
    /// Token counts, in Anthropic's or Gemini's form.
    CountTokens(Dialect),
    /// OpenAI's embeddings.
    Embeddings,
    /// Gemini's embeddings: made of OpenAI's, and into them.
    EmbedContent(Batch),
    /// Ranking, moderation, pictures and speech.
    Task(Task),
}

/// A body that can be looked at.
#[derive(Debug)]
pub struct Ready {
    /// What is read from now on.
    pub body: Bytes,
    /// Where its fields are.
    pub scan: Scan,
    /// The model that was asked for; `None` when neither address nor body says it.
    pub name: Option<String>,
    /// What of the body the operation cannot carry to any target.
    pub dropped: Vec<String>,
}

impl Surface {
    /// Finds the surface of an endpoint; `None` for what Headgate answers itself.
    pub const fn of(endpoint: Endpoint<'_>) -> Option<Self> {
        Some(match endpoint {
            Endpoint::ChatCompletions => Self::Chat(Dialect::OpenAiChat),
            Endpoint::Completions => Self::Chat(Dialect::OpenAiCompletions),
            Endpoint::Responses => Self::Chat(Dialect::OpenAiResponses),
            Endpoint::Compact => Self::Compact,
            Endpoint::CountInput => Self::CountTokens(Dialect::OpenAiResponses),
            Endpoint::Messages => Self::Chat(Dialect::AnthropicMessages),
            Endpoint::GenerateContent { is_stream } => Self::GenerateContent { is_stream },
            Endpoint::CountTokens => Self::CountTokens(Dialect::AnthropicMessages),
            Endpoint::CountContent => Self::CountTokens(Dialect::Gemini),
            Endpoint::Embeddings => Self::Embeddings,
            Endpoint::EmbedContent(batch) => Self::EmbedContent(batch),
            Endpoint::Task(task) => Self::Task(task),
            Endpoint::Passthrough { .. }
            | Endpoint::Realtime
            | Endpoint::ClientSecrets { .. }
            | Endpoint::Batches(_)
            | Endpoint::Models
            | Endpoint::Model(_)
            | Endpoint::Response(_)
            | Endpoint::ResponseInput(_)
            | Endpoint::CancelResponse(_)
            | Endpoint::Limits
            | Endpoint::Transform => return None,
        })
    }

    /// The surface's name in usage events.
    pub const fn endpoint_name(self) -> EndpointName {
        match self {
            Self::Chat(Dialect::OpenAiChat) => EndpointName::ChatCompletions,
            Self::Chat(Dialect::OpenAiCompletions) => EndpointName::Completions,
            Self::Chat(Dialect::OpenAiResponses) | Self::Compact | Self::Task(Task::Compaction) => {
                EndpointName::Responses
            }
            Self::Chat(Dialect::AnthropicMessages) => EndpointName::Messages,
            Self::Chat(Dialect::Gemini) | Self::GenerateContent { .. } => EndpointName::GenerateContent,
            Self::CountTokens(_) => EndpointName::CountTokens,
            Self::Embeddings | Self::EmbedContent(_) => EndpointName::Embeddings,
            Self::Task(Task::Rerank) => EndpointName::Rerank,
            Self::Task(Task::Moderation) => EndpointName::Moderations,
            Self::Task(Task::ImageGeneration) => EndpointName::ImageGenerations,
            Self::Task(Task::ImageEdit) => EndpointName::ImageEdits,
            Self::Task(Task::ImageVariation) => EndpointName::ImageVariations,
            Self::Task(Task::Speech) => EndpointName::Speech,
            Self::Task(Task::Transcription) => EndpointName::Transcriptions,
            Self::Task(Task::Translation) => EndpointName::Translations,
        }
    }

    /// What is to be done.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Chat(dialect) => Operation::Chat(dialect),
            Self::GenerateContent { .. } => Operation::Chat(Dialect::Gemini),
            Self::Compact => Operation::Chat(Dialect::OpenAiResponses),
            Self::CountTokens(dialect) => Operation::CountTokens(dialect),
            Self::Embeddings | Self::EmbedContent(_) => Operation::Embeddings,
            Self::Task(task) => Operation::Task(task),
        }
    }

    /// The dialect that the client speaks, errors included.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Chat(dialect) | Self::CountTokens(dialect) => dialect,
            Self::Compact => Dialect::OpenAiResponses,
            Self::GenerateContent { .. } | Self::EmbedContent(_) => Dialect::Gemini,
            Self::Embeddings | Self::Task(_) => Dialect::OpenAiChat,
        }
    }

    /// Reads of a body what policy needs. `address` is the model that the address names.
    pub fn make_ready(self, body: Bytes, address: Option<&str>) -> Result<Ready, Rejection> {
        match self {
            Self::EmbedContent(batch) => ready_embedding(&body, batch, address),
            Self::CountTokens(Dialect::Gemini) => ready_gemini(inner_request(&body)?, false, address),
            Self::GenerateContent { is_stream } => ready_gemini(body, is_stream, address),
            Self::Task(task) if task.takes_files() && multipart::is_form(&body) => ready_form(body, address),
            Self::Chat(_) | Self::Compact | Self::CountTokens(_) | Self::Embeddings | Self::Task(_) => {
                ready(body, address)
            }
        }
    }

    /// Checks that the body has a prompt of the right kind.
    pub fn check_prompt(self, body: &[u8], scan: &Scan) -> Result<(), Rejection> {
        let (field, span, starts, kind) = match self.operation() {
            // An answer that continues another may need nothing new; the prompt may also be stored upstream.
            Operation::Chat(Dialect::OpenAiResponses) | Operation::CountTokens(Dialect::OpenAiResponses)
                if scan.input.is_none() =>
            {
                return Ok(());
            }
            Operation::Chat(Dialect::OpenAiResponses) | Operation::CountTokens(Dialect::OpenAiResponses) => {
                ("input", scan.input, &b"[\"{"[..], "a string or an array")
            }
            Operation::Chat(Dialect::OpenAiCompletions) => ("prompt", scan.input, &b"[\""[..], "a string or an array"),
            Operation::Chat(Dialect::Gemini) | Operation::CountTokens(Dialect::Gemini) => {
                ("contents", scan.messages, &b"["[..], "an array of contents")
            }
            Operation::Chat(_) | Operation::CountTokens(_) => {
                ("messages", scan.messages, &b"["[..], "an array of messages")
            }
            Operation::Embeddings => ("input", scan.input, &b"[\""[..], "a string or an array"),
            // Each has fields of its own, which its form reads.
            Operation::Task(_) => return Ok(()),
        };
        let first = span.and_then(|span| span.of(body).first());
        if first.is_some_and(|first| starts.contains(first)) {
            return Ok(());
        }
        let detail = match span {
            Some(_) => format!("\"{field}\" must be {kind}"),
            None => format!("the body has no \"{field}\"; it is required and must be {kind}"),
        };
        Err(Rejection::new(GatewayCode::RequestInvalid, detail).with_param(field))
    }
}

fn ready(mut body: Bytes, address: Option<&str>) -> Result<Ready, Rejection> {
    let mut scan = scan::scan(&body).map_err(|error| refuse_body(&error))?;
    if let Some(name) = address
        && scan.model.as_ref().is_none_or(|model| model.value != name)
    {
        // Azure's clients may leave the model out of the body, and the vendor takes the address's; readers of the dialect want it.
        let mut patch = Patch::default();
        scan.set_model(&mut patch, name);
        body = patch.apply(&body);
        scan = scan::scan(&body).map_err(|error| refuse_body(&error))?;
    }
    let name = scan.model.as_ref().map(|model| model.value.clone());
    Ok(Ready { body, scan, name, dropped: Vec::new() })
}

/// A form with files in it; of a model in the address nothing has to be in the form.
fn ready_form(body: Bytes, address: Option<&str>) -> Result<Ready, Rejection> {
    let refuse = |error: FormError| {
        let rejection = Rejection::new(GatewayCode::RequestInvalid, error.to_string());
        match error {
            FormError::Duplicate { name } | FormError::Field { name } => rejection.with_param(name),
            _ => rejection,
        }
    };
    let scan = multipart::scan(&body).map_err(refuse)?;
    let form = multipart::parse(&body).map_err(refuse)?;
    refuse_choice(CHOOSING.into_iter().filter(|name| form.text(name).is_some()))?;
    let name = address.or(scan.model.as_ref().map(|model| model.value.as_str())).map(str::to_owned);
    Ok(Ready { body, scan, name, dropped: Vec::new() })
}

fn ready_gemini(body: Bytes, is_stream: bool, address: Option<&str>) -> Result<Ready, Rejection> {
    let mut scan = scan::scan(&body).map_err(|error| refuse_body(&error))?;
    scan.stream = Some(is_stream);
    let name = address.or(scan.model.as_ref().map(|model| plain_name(&model.value))).map(str::to_owned);
    Ok(Ready { body, scan, name, dropped: Vec::new() })
}

fn ready_embedding(body: &Bytes, batch: Batch, address: Option<&str>) -> Result<Ready, Rejection> {
    // The whole is checked before it is read, as every body is.
    scan::scan(body).map_err(|error| refuse_body(&error))?;
    let refuse = |detail: String| Rejection::new(GatewayCode::RequestInvalid, detail);
    let (mut request, found) = gemini_embeddings::decode_request(body).map_err(|error| refuse(error.to_string()))?;
    if found != batch {
        let wanted = if batch == Batch::One { "a \"content\"" } else { "\"requests\"" };
        return Err(refuse(format!("this endpoint wants {wanted}")));
    }
    let dropped: Vec<String> = request.rest.iter().map(|(name, _)| name.to_owned()).collect();
    refuse_choice(dropped.iter().map(String::as_str))?;
    request.rest.0.clear();
    if let Some(name) = address {
        name.clone_into(&mut request.model);
    }
    request.format = Some(EmbeddingFormat::Float);
    let name = Some(request.model.clone()).filter(|name| !name.is_empty());
    let body = openai_embeddings::encode_request(&request);
    let scan = scan::scan(&body).map_err(|error| refuse_body(&error))?;
    Ok(Ready { body, scan, name, dropped })
}

/// What asks for a choice of targets where bodies are JSON.
const CHOOSING: [&str; 2] = ["models", "provider"];

/// Refuses what asks for a choice in a form that has no such words: to leave it out would be to promise it by silence.
fn refuse_choice<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Rejection> {
    match names.find_map(|name| CHOOSING.into_iter().find(|known| *known == name)) {
        None => Ok(()),
        Some(name) => Err(choice::refuse(
            name,
            format!(
                "\"{name}\" is not understood in this form; name one model, or put `:nitro` or `:floor` after its name"
            ),
        )),
    }
}

/// Gemini's `countTokens` may hold a whole request; that is what is counted then.
fn inner_request(body: &Bytes) -> Result<Bytes, Rejection> {
    let mut inner: Option<Span> = None;
    let read = scan::visit_fields(body, |key, span| {
        if matches!(key, "generateContentRequest" | "generate_content_request") {
            inner = Some(span);
        }
    });
    read.map_err(|error| refuse_body(&error))?;
    Ok(inner.map_or_else(|| body.clone(), |span| body.slice(span.range())))
}

/// Gemini's names of models begin with the collection.
fn plain_name(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

fn refuse_body(error: &ScanError) -> Rejection {
    let param = match error {
        ScanError::WrongKind { field, .. } => Some(*field),
        ScanError::DuplicateKey { key } if key == "model" => Some("model"),
        _ => None,
    };
    let rejection = Rejection::new(GatewayCode::RequestInvalid, error.to_string());
    match param {
        Some(param) => rejection.with_param(param),
        None => rejection,
    }
}
