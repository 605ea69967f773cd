//! Tells from a URL which dialect is spoken and what is asked for; nothing else.
//!
//! Query strings do not take part: vendor SDKs add some (`?beta=true`) that change nothing here.

use http::{HeaderMap, HeaderName, Method};
use llm::dialect::Dialect;

/// Sent by Anthropic's SDKs with every request.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// OpenAI `POST /v1/chat/completions`.
    ChatCompletions,
    /// OpenAI `POST /v1/embeddings`.
    Embeddings,
    /// Anthropic `POST /v1/messages`.
    Messages,
    /// Anthropic `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`; the id still percent-encoded.
    Model(&'a str),
    /// `GET /v1/headgate/limits`.
    Limits,
    /// `POST /v1/headgate/transform`.
    Transform,
}

/// Why a URL leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No such path.
    Path,
    /// The path wants another method.
    Method {
        /// The one that it takes.
        allow: &'static str,
    },
}

/// Finds the endpoint of a request line.
pub(crate) fn find_endpoint<'a>(method: &Method, path: &'a str) -> Result<Endpoint<'a>, Miss> {
    let (endpoint, allow) = match path {
        "/v1/chat/completions" => (Endpoint::ChatCompletions, "POST"),
        "/v1/messages" => (Endpoint::Messages, "POST"),
        "/v1/embeddings" => (Endpoint::Embeddings, "POST"),
        "/v1/messages/count_tokens" => (Endpoint::CountTokens, "POST"),
        "/v1/models" => (Endpoint::Models, "GET"),
        "/v1/headgate/limits" => (Endpoint::Limits, "GET"),
        "/v1/headgate/transform" => (Endpoint::Transform, "POST"),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) if !id.is_empty() => (Endpoint::Model(id), "GET"),
            _ => return Err(Miss::Path),
        },
    };
    let is_allowed = match *method {
        Method::POST => allow == "POST",
        Method::GET | Method::HEAD => allow == "GET",
        _ => false,
    };
    if is_allowed { Ok(endpoint) } else { Err(Miss::Method { allow }) }
}

/// Returns the dialect in which an error at this path has to be said.
pub(crate) fn error_dialect(path: &str, headers: &HeaderMap) -> Dialect {
    // Only Anthropic's SDKs send a version; the models path is shared by both vendors.
    if path.starts_with("/v1/messages") || headers.contains_key(ANTHROPIC_VERSION) {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenAiChat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_lead_to_endpoints() {
        let find = |method: &str, path| find_endpoint(&method.parse().expect("a method"), path);
        assert_eq!(find("POST", "/v1/chat/completions"), Ok(Endpoint::ChatCompletions));
        assert_eq!(find("POST", "/v1/messages/count_tokens"), Ok(Endpoint::CountTokens));
        assert_eq!(find("GET", "/v1/models/echo/echo-1"), Ok(Endpoint::Model("echo/echo-1")));
        assert_eq!(find("GET", "/v1/headgate/limits"), Ok(Endpoint::Limits));
        assert_eq!(find("GET", "/v1/headgate/transform"), Err(Miss::Method { allow: "POST" }));
        assert_eq!(find("GET", "/v1/chat/completions"), Err(Miss::Method { allow: "POST" }));
        assert_eq!(find("DELETE", "/v1/models"), Err(Miss::Method { allow: "GET" }));
        for path in
            ["/", "/v1", "/v1/models/", "/v1/chat/completions/", "/v2/messages", "//v1/messages", "/V1/messages"]
        {
            assert_eq!(find("POST", path), Err(Miss::Path), "{path}");
        }
    }

    #[test]
    fn errors_speak_the_dialect_of_path_or_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(error_dialect("/v1/models", &headers), Dialect::OpenAiChat);
        assert_eq!(error_dialect("/v1/messages/count_tokens", &headers), Dialect::AnthropicMessages);
        headers.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        assert_eq!(error_dialect("/v1/models", &headers), Dialect::AnthropicMessages);
    }
}
