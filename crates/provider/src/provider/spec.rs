//! What is told about a provider as data.
//!
//! No behaviour beyond look-ups: `base` makes addresses of places, `rules` applies rules. A provider's file states what differs
//! from [`Spec::OPENAI_LIKE`], and where it was read.

use domain::Secret;
use domain::price::ServiceTier;
use llm::dialect::{Dialect, MaxTokensStyle};

use super::Provider;
use super::prefill::Prefill;
use super::rules::Rule;
use crate::auth::{Scheme, SecretError, SecretForm};
use crate::skim::tier_of_word;
use crate::task::{Form, RERANK, Task};
use crate::wire::Wire;

/// What is told about a provider as data.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Stable name, in settings, URLs and the ledger.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// The name that OpenTelemetry's conventions have for it (`gen_ai.provider.name`); `None` where it is ours, or they have none.
    pub otel_name: Option<&'static str>,
    /// Where the API usually is; `None` when every installation has its own address or there is none.
    pub base_url: Option<&'static str>,
    /// Environment variable that usually holds the secret.
    pub key_variable: Option<&'static str>,
    /// Another one, read where the first is not set.
    pub second_key_variable: Option<&'static str>,
    /// Environment variable that usually names a file with the secret.
    pub key_file_variable: Option<&'static str>,
    /// Environment variable that usually holds another base address.
    pub base_url_variable: Option<&'static str>,
    /// How another base address is usually told in parts.
    pub base_url_parts: Option<BaseParts>,
    /// Whether a call needs a stored credential at all.
    pub needs_credential: bool,
    /// How requests are signed, and so what secrets look like.
    pub auth: Scheme,
    /// Chat dialects the upstream speaks; the first is used for clients that speak none of them, unless there is a wire format.
    pub dialects: &'static [Dialect],
    /// The upstream's own wire format for chat, for clients that speak none of `dialects`.
    pub wire: Option<&'static dyn Wire>,
    /// Where each operation is.
    pub places: &'static [Place],
    /// Where each operation is when the base address has the query `base_query`.
    pub dated_places: &'static [Place],
    /// A query parameter that a base address may have, such as `api-version`.
    pub base_query: Option<&'static str>,
    /// Client headers that go on to the upstream.
    pub forwarded: &'static [&'static str],
    /// Headers set when the client did not.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The media type of streams.
    pub stream_type: &'static str,
    /// Response header with the upstream's own request id.
    pub request_id_header: &'static str,
    /// The answer header with the tier of service, of a vendor that does not say it in the body.
    pub tier_header: Option<&'static str>,
    /// Whether it understands what a request asks of the choice of targets (`models`, `provider`) itself.
    pub takes_choice: bool,
    /// Where its list of models is, below the base; asking for it costs nothing. `None` where there is none, or where nobody knows.
    pub listing: Option<&'static str>,
    /// Where it takes many calls at once, if it does.
    pub batches: Option<Batches>,
    /// Where it differs from the vendor whose dialect it speaks.
    pub quirks: Quirks,
}

/// A base address of which one part is told by environment variables, for vendors whose tools ask for that part alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseParts {
    /// The variables, of which the first that is set is taken.
    pub variables: &'static [&'static str],
    /// The address, with `{}` for the part.
    pub address: &'static str,
}

impl BaseParts {
    /// Makes the address; `None` when no variable is set. A part that holds the scheme or a slash at its end is taken without.
    fn read(self, get: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let part = self.variables.iter().find_map(|name| filled(&get(name)?))?;
        let part = part.strip_prefix("https://").unwrap_or(&part).trim_end_matches('/');
        Some(self.address.replace("{}", part))
    }
}

/// What a variable says, unless it is blank.
pub(super) fn filled(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What environment variables say of a provider.
#[derive(Debug, Clone, Default)]
pub struct FromVariables {
    /// The secret.
    pub secret: Option<Secret<String>>,
    /// Where the secret is in a file, which whoever may read files reads.
    pub secret_file: Option<String>,
    /// The base address, where it is not the usual one.
    pub base_url: Option<String>,
}

impl Spec {
    /// Reads the usual variables. A part of an address alone says nothing: other tools read it, too.
    pub(super) fn read_variables(
        &self,
        get: &dyn Fn(&str) -> Option<String>,
        secret: impl FnOnce() -> Option<Secret<String>>,
    ) -> FromVariables {
        let of = |name: Option<&'static str>| filled(&get(name?)?);
        let key = of(self.key_variable).or_else(|| of(self.second_key_variable));
        let secret = key.map(Secret::new).or_else(secret);
        let secret_file = if secret.is_some() { None } else { of(self.key_file_variable) };
        let parts = self.base_url_parts.filter(|_| secret.is_some());
        let base_url = of(self.base_url_variable).or_else(|| parts?.read(get));
        FromVariables { secret, secret_file, base_url }
    }
}

/// Where a provider takes many calls at once, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// The form.
    pub form: BatchForm,
    /// What stands before `files` and `batches` below the base; the path of batches themselves in Anthropic's form.
    pub root: &'static str,
    /// The same where the base address has the query `base_query`.
    pub dated_root: &'static str,
    /// All calls of a batch have to name the same model.
    pub one_model: bool,
}

/// How a provider takes many calls at once, by the vendor that had it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchForm {
    /// A file of lines, and a batch made of it.
    OpenAi,
    /// A batch made of its calls, with results in lines.
    Anthropic,
    /// As OpenAI's, but lines are `custom_id` and `body`, files go to an address of their own, and a batch has capitals and dates.
    Together,
    /// A file of such lines, and a job with a model, an endpoint and files.
    Mistral,
    /// A file of lines with `key` and `request` in Gemini's dialect, and a long-running operation of a model.
    Gemini,
}

impl BatchForm {
    /// Says whether clients come to it by OpenAI's files and batches.
    #[must_use]
    pub const fn is_of_files(self) -> bool {
        !matches!(self, Self::Anthropic)
    }
}

impl Batches {
    /// As OpenAI has them.
    pub const OPENAI: Self = Self { form: BatchForm::OpenAi, root: "", dated_root: "", one_model: false };
    /// As OpenAI has them, for one model at a time.
    pub const OF_ONE_MODEL: Self = Self { one_model: true, ..Self::OPENAI };
}

impl Spec {
    /// A vendor with an API like OpenAI's at its own address: bearer key, chat and nothing else, `max_tokens`.
    pub const OPENAI_LIKE: Self = Self {
        name: "",
        title: "",
        otel_name: None,
        base_url: None,
        key_variable: None,
        second_key_variable: None,
        key_file_variable: None,
        base_url_variable: None,
        base_url_parts: None,
        needs_credential: true,
        auth: Scheme::Bearer,
        dialects: &[Dialect::OpenAiChat],
        wire: None,
        places: Place::CHAT,
        dated_places: &[],
        base_query: None,
        forwarded: &[],
        defaults: &[],
        stream_type: "text/event-stream",
        request_id_header: "x-request-id",
        tier_header: None,
        takes_choice: false,
        listing: Some("models"),
        batches: None,
        quirks: Quirks::OPENAI_LIKE,
    };

    /// Reads the tier of service in the headers of an answer.
    #[must_use]
    pub fn tier(&self, headers: &http::HeaderMap) -> Option<ServiceTier> {
        tier_of_word(headers.get(self.tier_header?)?.to_str().ok()?)
    }

    /// Reads the upstream's own id of a request in the headers of its answer; what is not short plain text is left out.
    #[must_use]
    pub fn request_id(&self, headers: &http::HeaderMap) -> Option<String> {
        let text = headers.get(self.request_id_header)?.to_str().ok()?;
        (text.len() <= 128).then(|| text.to_owned())
    }

    /// Finds where an operation is.
    #[must_use]
    pub fn place(&self, surface: Surface, is_dated: bool) -> Option<&'static Place> {
        let places = if is_dated { self.dated_places } else { self.places };
        places.iter().find(|place| place.surface == surface)
    }

    /// Returns what a realtime session is asked for as; `is_transcription` says that it only writes down what is heard.
    #[must_use]
    pub fn session_surface(&self, is_transcription: bool) -> Surface {
        let is_live = !is_transcription && self.place(Surface::Live, false).is_some();
        if is_live { Surface::Live } else { Surface::Realtime { is_transcription } }
    }

    /// Says that the provider holds no realtime sessions, or none of the kind that was asked for.
    #[must_use]
    pub fn no_sessions(&self) -> String {
        format!(
            "{} has no realtime sessions of this kind, or none that Headgate speaks; ask for a model of a provider that has",
            self.title
        )
    }

    /// Returns the forms of secret that the provider takes.
    #[must_use]
    pub const fn secret_form(&self) -> SecretForm {
        self.auth.secret_form()
    }

    /// Checks a secret as it is entered; a fault in a JSON form names its field.
    pub fn check_secret(&self, text: &str) -> Result<(), SecretError> {
        self.secret_form().check(text)
    }
}

/// What is asked for at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Chat in a dialect.
    Chat(Dialect),
    /// Chat in the provider's own wire format.
    Wire,
    /// Token counts, in Anthropic's or Gemini's dialect.
    CountTokens(Dialect),
    /// Vectors, in OpenAI's dialect.
    Embeddings,
    /// Anything else.
    Task(Task),
    /// A realtime session, in OpenAI's events.
    Realtime {
        /// It only writes down what is heard.
        is_transcription: bool,
    },
    /// A realtime session in Gemini's messages, into which OpenAI's events are turned.
    Live,
}

/// Where an operation is below the base, and what its body must have.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// What is there.
    pub surface: Surface,
    /// The path, maybe with a query; `{model}` stands for the upstream's model as one segment, which then is not set in the
    /// body.
    pub path: &'static str,
    /// The path of streams, where it is another.
    pub stream: Option<&'static str>,
    /// Top-level fields of the body that must not be sent there.
    pub without: &'static [&'static str],
    /// Top-level fields of the body that must be there, as JSON; the client's own value wins.
    pub with: &'static [(&'static str, &'static str)],
    /// How it is said there, when not as clients say it; for vectors and tasks.
    pub form: Option<&'static dyn Form>,
}

impl Place {
    /// Chat in OpenAI's dialect, where most have it.
    pub const CHAT: &'static [Self] = &[Self::new(Surface::Chat(Dialect::OpenAiChat), "/chat/completions")];
    /// Chat and embeddings in OpenAI's dialect, where most have them.
    pub const CHAT_AND_EMBEDDINGS: &'static [Self] = &[Self::CHAT[0], Self::EMBEDDINGS];
    /// Embeddings in OpenAI's dialect, where most have them.
    pub const EMBEDDINGS: Self = Self::new(Surface::Embeddings, "/embeddings");
    /// OpenAI's legacy completions, where most have them.
    pub const COMPLETIONS: Self = Self::new(Surface::Chat(Dialect::OpenAiCompletions), "/completions");

    /// OpenAI's responses, where most have them.
    pub const RESPONSES: Self = Self::new(Surface::Chat(Dialect::OpenAiResponses), "/responses");

    /// Chat, legacy completions and embeddings, as servers have them that follow OpenAI all the way back.
    pub const WITH_COMPLETIONS: &'static [Self] =
        &[Self::CHAT_AND_EMBEDDINGS[0], Self::COMPLETIONS, Self::CHAT_AND_EMBEDDINGS[1]];

    /// Realtime sessions, in OpenAI's events.
    pub const REALTIME: Self = Self::new(Surface::Realtime { is_transcription: false }, "/realtime?model={model}");
    /// Realtime sessions that only write down what is heard; their model is said in the session.
    pub const REALTIME_TRANSCRIPTION: Self =
        Self::new(Surface::Realtime { is_transcription: true }, "/realtime?intent=transcription");

    /// A place with one path.
    #[must_use]
    pub const fn new(surface: Surface, path: &'static str) -> Self {
        Self { surface, path, stream: None, without: &[], with: &[], form: None }
    }

    /// A place with an operation in a form of its own.
    #[must_use]
    pub const fn in_form(self, form: &'static dyn Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// A task, where most have it.
    #[must_use]
    pub const fn task(task: Task) -> Self {
        let path = match task {
            Task::Rerank => "/rerank",
            Task::Moderation => "/moderations",
            Task::ImageGeneration => "/images/generations",
            Task::ImageEdit => "/images/edits",
            Task::ImageVariation => "/images/variations",
            Task::Speech => "/audio/speech",
            Task::Transcription => "/audio/transcriptions",
            Task::Translation => "/audio/translations",
            Task::Compaction => "/responses/compact",
        };
        let place = Self::new(Surface::Task(task), path);
        // Ranking is no operation of OpenAI's: this is what its vendors agree on.
        if matches!(task, Task::Rerank) { place.in_form(&RERANK) } else { place }
    }

    /// A place with a path of its own for streams.
    #[must_use]
    pub const fn streamed(surface: Surface, path: &'static str, stream: &'static str) -> Self {
        Self { stream: Some(stream), ..Self::new(surface, path) }
    }

    /// Says whether the path names the model.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.path.contains("{model}")
    }
}

/// Differences from the dialect's vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one independent ability of the upstream")]
pub struct Quirks {
    /// The name of the output cap in translated requests.
    pub max_tokens: MaxTokensStyle,
    /// It takes `stream_options`.
    pub stream_options: bool,
    /// The first version that does, where the base address names one (`2024-09-01`).
    pub stream_options_since: Option<&'static str>,
    /// It knows the role `developer`.
    pub developer_role: bool,
    /// It takes reasoning back in messages.
    pub replay_reasoning: bool,
    /// It takes `cache_control` on content parts, in OpenAI's dialect too.
    pub cache_control: bool,
    /// Of Gemini's dialect: instructions and tools of a prompt to be counted stand in the body, not in a request inside it.
    pub flat_count: bool,
    /// Whether it goes on from an assistant's message that ends the conversation.
    pub prefill: Prefill,
    /// Models that give and take reasoning on Responses alone, and some of which take tools with an effort only there.
    pub reasons_on_responses: &'static [&'static str],
    /// The first version that has Responses, where the base address names one.
    pub responses_since: Option<&'static str>,
    /// What it refuses or names otherwise, by model family.
    pub rules: &'static [Rule],
}

impl Quirks {
    /// As the vendor.
    pub const NONE: Self = Self {
        max_tokens: MaxTokensStyle::AsGiven,
        stream_options: true,
        stream_options_since: None,
        developer_role: true,
        replay_reasoning: false,
        cache_control: false,
        flat_count: false,
        prefill: Prefill::Never,
        reasons_on_responses: &[],
        responses_since: None,
        rules: &[],
    };
    /// As most vendors with an API like OpenAI's.
    pub const OPENAI_LIKE: Self =
        Self { max_tokens: MaxTokensStyle::MaxTokens, developer_role: false, rules: Rule::MAX_TOKENS, ..Self::NONE };
}

/// A provider of which data say everything.
#[derive(Debug)]
pub(super) struct Data(pub(super) &'static Spec);

impl Provider for Data {
    fn spec(&self) -> &'static Spec {
        self.0
    }
}
