//! Tells from a URL which dialect is spoken, what is asked for and of which model; nothing else.
//!
//! Query strings name nothing here but the form of Gemini's streams and the model of a realtime session: vendor SDKs add some
//! (`?beta=true`, `?api-version=…`) that change nothing. A model in an address is only ever looked up, never part of another address.

use std::borrow::Cow;

use batch::BatchCall;
use http::{HeaderMap, HeaderName, Method};
use llm::dialect::Dialect;
use llm::dialect::gemini::embeddings::Batch;
use percent_encoding::percent_decode_str;
use provider::task::Task;

/// Sent by Anthropic's SDKs with every request.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Where Google's SDKs put the key, and no other.
const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// OpenAI `POST /v1/chat/completions`.
    ChatCompletions,
    /// OpenAI `POST /v1/completions`.
    Completions,
    /// OpenAI `POST /v1/responses`.
    Responses,
    /// OpenAI `POST /v1/embeddings`.
    Embeddings,
    /// Anthropic `POST /v1/messages`.
    Messages,
    /// Anthropic `POST /v1/messages/count_tokens`.
    CountTokens,
    /// Gemini `POST /v1beta/models/{model}:generateContent`, or `:streamGenerateContent`.
    GenerateContent {
        /// Whether it is the second.
        is_stream: bool,
    },
    /// Gemini `POST /v1beta/models/{model}:countTokens`.
    CountContent,
    /// Gemini `POST /v1beta/models/{model}:embedContent`, or `:batchEmbedContents`.
    EmbedContent(Batch),
    /// OpenAI `POST /v1/responses/compact`.
    Compact,
    /// OpenAI `POST /v1/responses/input_tokens`.
    CountInput,
    /// OpenAI `POST /v1/responses/{id}/cancel`.
    CancelResponse(&'a str),
    /// OpenAI `GET /v1/responses/{id}`, or `DELETE`.
    Response(&'a str),
    /// OpenAI `GET /v1/responses/{id}/input_items`.
    ResponseInput(&'a str),
    /// OpenAI's images, audio and moderations; `POST /v1/rerank`.
    Task(Task),
    /// `/passthrough/{provider}/…`, any method: a provider's own API.
    Passthrough {
        /// The provider's name.
        provider: &'a str,
        /// The path of its API, still percent-encoded.
        rest: &'a str,
    },
    /// OpenAI `GET /v1/realtime`, which opens a WebSocket; the query names the model.
    Realtime,
    /// OpenAI `POST /v1/realtime/client_secrets`, or the older `/v1/realtime/sessions`.
    ClientSecrets {
        /// Whether it is the second.
        is_older: bool,
    },
    /// Files and batches, in OpenAI's or Anthropic's form.
    Batches(BatchCall<'a>),
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`; the id still percent-encoded.
    Model(&'a str),
    /// `GET /v1/headgate/limits`.
    Limits,
    /// `POST /v1/headgate/transform`.
    Transform,
}

/// An address that leads somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// What is asked for.
    pub endpoint: Endpoint<'a>,
    /// The model that the address names, still percent-encoded. It wins over the body's.
    pub model: Option<&'a str>,
}

/// Why a URL leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// No such path.
    Path,
    /// A vendor has it and it is not served here: why, and what to use.
    Unserved(&'static str),
    /// The path wants another method.
    Method {
        /// The one that it takes.
        allow: &'static str,
    },
}

const POST: &str = "POST";
const GET: &str = "GET";
const GET_OR_DELETE: &str = "GET, DELETE";
const GET_OR_POST: &str = "GET, POST";

/// Finds the endpoint of a request line.
pub fn find_endpoint<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, Miss> {
    if let Some(below) = path.strip_prefix("/passthrough/") {
        let (provider, rest) = below.split_once('/').ok_or(Miss::Path)?;
        return Ok(Found { endpoint: Endpoint::Passthrough { provider, rest }, model: None });
    }
    let (found, allow) = find_path(path).ok_or_else(|| unserved(path).map_or(Miss::Path, Miss::Unserved))?;
    let is_allowed = match *method {
        Method::POST => allow == POST || allow == GET_OR_POST,
        Method::GET | Method::HEAD => allow != POST,
        Method::DELETE => allow == GET_OR_DELETE,
        _ => false,
    };
    if is_allowed { Ok(found) } else { Err(Miss::Method { allow }) }
}

/// Says why a path that vendors have leads nowhere here, and what to use in its place.
fn unserved(path: &str) -> Option<&'static str> {
    if path.starts_with("/ws/google.ai.generativelanguage.") {
        return Some(
            "Gemini Live's own messages are not spoken here; its models are reached with OpenAI's realtime events, GET /v1/realtime?model=",
        );
    }
    let rest =
        ["/v1/realtime/", "/openai/v1/realtime/", "/openai/realtime/"].iter().find_map(|at| path.strip_prefix(at))?;
    match rest.split('/').next()? {
        "calls" => Some(
            "WebRTC and SIP are not served, because their sound would not pass through here; connect by WebSocket, GET /v1/realtime?model=",
        ),
        "transcription_sessions" => Some(
            "no client secrets are made for sessions that only write down what is heard; connect with the key itself, \
             GET /v1/realtime?intent=transcription&model=",
        ),
        _ => None,
    }
}

fn find_path(path: &str) -> Option<(Found<'_>, &'static str)> {
    let plain = |(endpoint, allow)| (Found { endpoint, model: None }, allow);
    if let Some(rest) = path.strip_prefix("/v1/") {
        return find_openai(rest)
            .or_else(|| find_own(rest))
            .or_else(|| find_files(rest))
            .or_else(|| find_message_batches(rest))
            .map(plain)
            .or_else(|| find_named(rest.strip_prefix("engines/")?))
            .or_else(|| find_gemini(rest))
            .or_else(|| find_model(rest).map(plain));
    }
    // Also without a version, as clients that were made for other gateways have it.
    if let Some(rest) = path.strip_prefix("/engines/") {
        return find_named(rest);
    }
    if let Some(rest) = path.strip_prefix("/v1beta/") {
        let list = (rest == "models").then_some((Endpoint::Models, GET));
        return list.map(plain).or_else(|| find_gemini(rest)).or_else(|| find_model(rest).map(plain));
    }
    // Azure's three forms: deployments, version 1, and what its dated API has beside the deployments.
    let rest = path.strip_prefix("/openai/")?;
    if let Some(rest) = rest.strip_prefix("deployments/") {
        return find_named(rest);
    }
    let rest = rest.strip_prefix("v1/").unwrap_or(rest);
    find_openai(rest).or_else(|| find_files(rest)).or_else(|| find_model(rest)).map(plain)
}

/// OpenAI's operations, below the version.
fn find_openai(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    Some(match rest {
        "chat/completions" => (Endpoint::ChatCompletions, POST),
        "completions" => (Endpoint::Completions, POST),
        "responses" => (Endpoint::Responses, POST),
        "responses/compact" => (Endpoint::Compact, POST),
        "responses/input_tokens" => (Endpoint::CountInput, POST),
        "embeddings" => (Endpoint::Embeddings, POST),
        "moderations" => (Endpoint::Task(Task::Moderation), POST),
        "images/generations" => (Endpoint::Task(Task::ImageGeneration), POST),
        "images/edits" => (Endpoint::Task(Task::ImageEdit), POST),
        "images/variations" => (Endpoint::Task(Task::ImageVariation), POST),
        "audio/speech" => (Endpoint::Task(Task::Speech), POST),
        "audio/transcriptions" => (Endpoint::Task(Task::Transcription), POST),
        "audio/translations" => (Endpoint::Task(Task::Translation), POST),
        "models" => (Endpoint::Models, GET),
        "realtime" => (Endpoint::Realtime, GET),
        "realtime/client_secrets" => (Endpoint::ClientSecrets { is_older: false }, POST),
        "realtime/sessions" => (Endpoint::ClientSecrets { is_older: true }, POST),
        _ => return find_response(rest),
    })
}

/// Kept responses.
fn find_response(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    let id = rest.strip_prefix("responses/")?;
    Some(match id.split_once('/') {
        None if !id.is_empty() => (Endpoint::Response(id), GET_OR_DELETE),
        Some((id, "input_items")) if !id.is_empty() => (Endpoint::ResponseInput(id), GET),
        Some((id, "cancel")) if !id.is_empty() => (Endpoint::CancelResponse(id), POST),
        _ => return None,
    })
}

/// OpenAI's files and batches.
fn find_files(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    let (collection, below) = rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)));
    let (call, allow) = match (collection, below.map(|below| below.split_once('/').unwrap_or((below, "")))) {
        (_, Some(("", _))) => return None,
        ("files", None) => (BatchCall::Files, GET_OR_POST),
        ("files", Some((id, ""))) => (BatchCall::File(id), GET_OR_DELETE),
        ("files", Some((id, "content"))) => (BatchCall::Content(id), GET),
        ("batches", None) => (BatchCall::Batches, GET_OR_POST),
        ("batches", Some((id, ""))) => (BatchCall::Batch(id), GET),
        ("batches", Some((id, "cancel"))) => (BatchCall::CancelBatch(id), POST),
        _ => return None,
    };
    Some((Endpoint::Batches(call), allow))
}

/// Anthropic's batches.
fn find_message_batches(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    let below = rest.strip_prefix("messages/batches")?;
    let (call, allow) = match below.strip_prefix('/').map(|below| below.split_once('/').unwrap_or((below, ""))) {
        None if below.is_empty() => (BatchCall::MessageBatches, GET_OR_POST),
        None | Some(("", _)) => return None,
        Some((id, "")) => (BatchCall::MessageBatch(id), GET_OR_DELETE),
        Some((id, "cancel")) => (BatchCall::CancelMessageBatch(id), POST),
        Some((id, "results")) => (BatchCall::Results(id), GET),
        _ => return None,
    };
    Some((Endpoint::Batches(call), allow))
}

/// Anthropic's operations, and Headgate's own.
fn find_own(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    Some(match rest {
        "messages" => (Endpoint::Messages, POST),
        "rerank" => (Endpoint::Task(Task::Rerank), POST),
        "messages/count_tokens" => (Endpoint::CountTokens, POST),
        "headgate/limits" => (Endpoint::Limits, GET),
        "headgate/transform" => (Endpoint::Transform, POST),
        _ => return None,
    })
}

fn find_model(rest: &str) -> Option<(Endpoint<'_>, &'static str)> {
    let id = rest.strip_prefix("models/").filter(|id| !id.is_empty())?;
    Some((Endpoint::Model(id), GET))
}

/// `{model}/{operation}`: the operation is the longest end that is one, because a model's name may hold slashes.
fn find_named(rest: &str) -> Option<(Found<'_>, &'static str)> {
    rest.match_indices('/').find_map(|(at, _)| {
        let (endpoint, allow) = find_openai(&rest[at + 1..]).filter(|(_, allow)| *allow == POST)?;
        let model = &rest[..at];
        (at > 0 && !model.starts_with('/')).then_some((Found { endpoint, model: Some(model) }, allow))
    })
}

/// `models/{model}:{operation}`; a model's name may hold colons.
fn find_gemini(rest: &str) -> Option<(Found<'_>, &'static str)> {
    let (model, operation) = rest.strip_prefix("models/")?.rsplit_once(':')?;
    let endpoint = match operation {
        "generateContent" => Endpoint::GenerateContent { is_stream: false },
        "streamGenerateContent" => Endpoint::GenerateContent { is_stream: true },
        "countTokens" => Endpoint::CountContent,
        "embedContent" => Endpoint::EmbedContent(Batch::One),
        "batchEmbedContents" => Endpoint::EmbedContent(Batch::Many),
        _ => return None,
    };
    (!model.is_empty()).then_some((Found { endpoint, model: Some(model) }, POST))
}

/// Returns a model's name as an address has it; `None` when it is not UTF-8.
pub fn decode_model(encoded: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(encoded).decode_utf8().ok()
}

/// Says whether a stream of Gemini's is asked for as events; otherwise it is one JSON array.
pub fn wants_events(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"))
}

/// Returns a parameter of a query, decoded; `None` when it is absent, empty or not UTF-8.
pub fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    percent_decode_str(value).decode_utf8().ok().filter(|value| !value.is_empty())
}

/// Returns the dialect in which an error at this path has to be said.
pub fn error_dialect(path: &str, headers: &HeaderMap) -> Dialect {
    let is_gemini =
        path.starts_with("/v1beta/") || path.strip_prefix("/v1/").is_some_and(|rest| find_gemini(rest).is_some());
    // Only Anthropic's SDKs send a version; the models path is shared by three vendors.
    if is_gemini {
        Dialect::Gemini
    } else if path.starts_with("/v1/messages") || headers.contains_key(ANTHROPIC_VERSION) {
        Dialect::AnthropicMessages
    } else if path.starts_with("/v1/models") && headers.contains_key(GOOGLE_KEY) {
        Dialect::Gemini
    } else {
        Dialect::OpenAiChat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(method: &str, path: &'a str) -> Result<(Endpoint<'a>, Option<&'a str>), Miss> {
        find_endpoint(&method.parse().expect("a method"), path).map(|found| (found.endpoint, found.model))
    }

    #[test]
    fn paths_and_methods_lead_to_endpoints() {
        assert_eq!(find("POST", "/v1/chat/completions"), Ok((Endpoint::ChatCompletions, None)));
        assert_eq!(find("POST", "/v1/completions"), Ok((Endpoint::Completions, None)));
        assert_eq!(find("POST", "/v1/responses"), Ok((Endpoint::Responses, None)));
        assert_eq!(find("POST", "/v1/messages/count_tokens"), Ok((Endpoint::CountTokens, None)));
        assert_eq!(find("GET", "/v1/models/echo/echo-1"), Ok((Endpoint::Model("echo/echo-1"), None)));
        assert_eq!(find("GET", "/v1beta/models"), Ok((Endpoint::Models, None)));
        assert_eq!(find("POST", "/v1/rerank"), Ok((Endpoint::Task(Task::Rerank), None)));
        assert_eq!(find("POST", "/openai/v1/images/edits"), Ok((Endpoint::Task(Task::ImageEdit), None)));
        for path in ["/v1/engines/a/b/chat/completions", "/engines/a/b/chat/completions"] {
            assert_eq!(find("POST", path), Ok((Endpoint::ChatCompletions, Some("a/b"))));
        }
        assert_eq!(find("POST", "/engines/gpt/embeddings"), Ok((Endpoint::Embeddings, Some("gpt"))));
        let azure = "/openai/deployments/whisper/audio/transcriptions";
        assert_eq!(find("POST", azure), Ok((Endpoint::Task(Task::Transcription), Some("whisper"))));
        assert_eq!(find("GET", "/v1/audio/speech"), Err(Miss::Method { allow: "POST" }));
        let own_api = Endpoint::Passthrough { provider: "openai", rest: "v1/files/a%2Fb" };
        assert_eq!(find("DELETE", "/passthrough/openai/v1/files/a%2Fb"), Ok((own_api, None)));
        assert_eq!(find("GET", "/passthrough/openai"), Err(Miss::Path));
        assert_eq!(find("GET", "/v1beta/models/echo%2Fecho-1"), Ok((Endpoint::Model("echo%2Fecho-1"), None)));
        assert_eq!(find("DELETE", "/v1/responses/resp_1"), Ok((Endpoint::Response("resp_1"), None)));
        assert_eq!(find("GET", "/openai/v1/responses/r/input_items"), Ok((Endpoint::ResponseInput("r"), None)));
        assert_eq!(find("POST", "/v1/responses/compact"), Ok((Endpoint::Compact, None)));
        assert_eq!(find("POST", "/v1/responses/input_tokens"), Ok((Endpoint::CountInput, None)));
        assert_eq!(find("POST", "/v1/responses/r/cancel"), Ok((Endpoint::CancelResponse("r"), None)));
        assert_eq!(find("GET", "/v1/responses/compact"), Err(Miss::Method { allow: "POST" }));
        assert_eq!(find("POST", "/v1/responses/resp_1"), Err(Miss::Method { allow: "GET, DELETE" }));
        assert_eq!(find("GET", "/v1/headgate/limits"), Ok((Endpoint::Limits, None)));
        assert_eq!(find("GET", "/v1/headgate/transform"), Err(Miss::Method { allow: "POST" }));
        assert_eq!(find("GET", "/v1/chat/completions"), Err(Miss::Method { allow: "POST" }));
        assert_eq!(find("DELETE", "/v1/models"), Err(Miss::Method { allow: "GET" }));
        for path in [
            "/",
            "/v1",
            "/v1/models/",
            "/v1/chat/completions/",
            "/v2/messages",
            "//v1/messages",
            "/V1/messages",
            "/v1beta",
            "/v1beta/",
            "/v1beta/messages",
            "/v1beta/chat/completions",
            "/openai",
            "/openai/headgate/limits",
            "/openai/deployments/gpt/models",
            "/openai/deployments//chat/completions",
            "/openai/deployments/chat/completions/",
            "/v1/engines/gpt",
            "/v1/responses/",
            "/openai/deployments/gpt/responses/r",
            "/engines/gpt",
            "/engines//completions",
            "/v1/files/",
            "/v1/files/f/x",
            "/v1/files//content",
            "/v1/messages/batches/",
            "/v1/messages/batchesx",
            "/openai/deployments/gpt/files",
            "/openai/deployments/gpt/batches/b/cancel",
        ] {
            assert_eq!(find("POST", path), Err(Miss::Path), "{path}");
        }
    }

    #[test]
    fn files_and_batches_are_found_at_the_vendors_addresses() {
        for (method, path, call) in [
            ("POST", "/v1/files", BatchCall::Files),
            ("GET", "/openai/v1/files", BatchCall::Files),
            ("DELETE", "/v1/files/f", BatchCall::File("f")),
            ("GET", "/v1/files/f/content", BatchCall::Content("f")),
            ("GET", "/openai/batches", BatchCall::Batches),
            ("GET", "/v1/batches/b", BatchCall::Batch("b")),
            ("POST", "/v1/batches/b/cancel", BatchCall::CancelBatch("b")),
            ("POST", "/v1/messages/batches", BatchCall::MessageBatches),
            ("DELETE", "/v1/messages/batches/m", BatchCall::MessageBatch("m")),
            ("POST", "/v1/messages/batches/m/cancel", BatchCall::CancelMessageBatch("m")),
            ("GET", "/v1/messages/batches/m/results", BatchCall::Results("m")),
        ] {
            assert_eq!(find(method, path), Ok((Endpoint::Batches(call), None)), "{path}");
        }
        assert_eq!(find("DELETE", "/v1/files"), Err(Miss::Method { allow: "GET, POST" }));
        assert_eq!(find("DELETE", "/v1/batches/b"), Err(Miss::Method { allow: "GET" }));
    }

    #[test]
    fn an_address_can_name_the_model() {
        let stream = Endpoint::GenerateContent { is_stream: true };
        for (path, endpoint, model) in [
            ("/v1beta/models/gemini:generateContent", Endpoint::GenerateContent { is_stream: false }, "gemini"),
            ("/v1beta/models/echo/echo-1:streamGenerateContent", stream, "echo/echo-1"),
            ("/v1/models/llama3:8b:streamGenerateContent", stream, "llama3:8b"),
            ("/v1beta/models/a%2Fb:countTokens", Endpoint::CountContent, "a%2Fb"),
            ("/v1beta/models/e:embedContent", Endpoint::EmbedContent(Batch::One), "e"),
            ("/v1beta/models/e:batchEmbedContents", Endpoint::EmbedContent(Batch::Many), "e"),
            ("/openai/deployments/gpt/chat/completions", Endpoint::ChatCompletions, "gpt"),
            ("/openai/deployments/echo/echo-1/chat/completions", Endpoint::ChatCompletions, "echo/echo-1"),
            ("/openai/deployments/gpt/completions", Endpoint::Completions, "gpt"),
            ("/openai/deployments/e/embeddings", Endpoint::Embeddings, "e"),
            ("/v1/engines/gpt/completions", Endpoint::Completions, "gpt"),
            ("/v1/engines/gpt/chat/completions", Endpoint::ChatCompletions, "gpt"),
        ] {
            assert_eq!(find("POST", path), Ok((endpoint, Some(model))), "{path}");
            assert_eq!(find("PUT", path), Err(Miss::Method { allow: "POST" }), "{path}");
        }
        assert_eq!(find("POST", "/openai/v1/responses"), Ok((Endpoint::Responses, None)));
        assert_eq!(find("POST", "/openai/responses"), Ok((Endpoint::Responses, None)));
        assert_eq!(find("GET", "/openai/models"), Ok((Endpoint::Models, None)));
        assert_eq!(find("POST", "/v1beta/models/:generateContent"), Err(Miss::Method { allow: "GET" }));
        assert_eq!(find("POST", "/v1beta/models/gemini:predict"), Err(Miss::Method { allow: "GET" }));
    }

    #[test]
    fn a_realtime_session_is_asked_for_in_three_places() {
        for path in ["/v1/realtime", "/openai/realtime", "/openai/v1/realtime"] {
            assert_eq!(find("GET", path), Ok((Endpoint::Realtime, None)), "{path}");
            assert_eq!(find("POST", path), Err(Miss::Method { allow: "GET" }), "{path}");
        }
        for (path, is_older) in [("/v1/realtime/client_secrets", false), ("/openai/v1/realtime/sessions", true)] {
            assert_eq!(find("POST", path), Ok((Endpoint::ClientSecrets { is_older }, None)), "{path}");
        }
        for path in
            ["/v1/realtime/calls", "/v1/realtime/calls/rtc_1/hangup", "/ws/google.ai.generativelanguage.v1beta.X"]
        {
            assert!(matches!(find("POST", path), Err(Miss::Unserved(_))), "{path}");
        }
        assert_eq!(find("POST", "/v1/realtime/other"), Err(Miss::Path));
        let query = Some("api-version=2024-10-01-preview&deployment=a%2Fb&model=");
        assert_eq!(parameter(query, "deployment").as_deref(), Some("a/b"));
        assert_eq!((parameter(query, "model"), parameter(None, "model")), (None, None));
        assert_eq!(parameter(Some("model=%ff"), "model"), None);
    }

    #[test]
    fn the_query_says_how_a_gemini_stream_is_framed() {
        assert!(wants_events(Some("alt=sse")) && wants_events(Some("key=x&alt=sse")));
        assert!(!wants_events(None) && !wants_events(Some("alt=json")) && !wants_events(Some("xalt=sse")));
    }

    #[test]
    fn errors_speak_the_dialect_of_path_or_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(error_dialect("/v1/models", &headers), Dialect::OpenAiChat);
        assert_eq!(error_dialect("/v1/messages/count_tokens", &headers), Dialect::AnthropicMessages);
        assert_eq!(error_dialect("/v1beta/nothing", &headers), Dialect::Gemini);
        assert_eq!(error_dialect("/v1/models/x:generateContent", &headers), Dialect::Gemini);
        headers.insert("x-goog-api-key", http::HeaderValue::from_static("k"));
        assert_eq!(error_dialect("/v1/models", &headers), Dialect::Gemini);
        assert_eq!(error_dialect("/v1/chat/completions", &headers), Dialect::OpenAiChat);
        headers.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        assert_eq!(error_dialect("/v1/models", &headers), Dialect::AnthropicMessages);
    }
}
