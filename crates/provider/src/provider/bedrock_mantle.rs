//! AWS Bedrock where it speaks its makers' languages: OpenAI's chat and responses, and Anthropic's messages for Claude.
//!
//! The base address is the region's (`https://bedrock-mantle.us-east-1.api.aws`), or the runtime's with the maker's folder
//! (`https://bedrock-runtime.us-east-1.amazonaws.com/openai`), which has OpenAI's languages alone. Which of them a model takes, and under which
//! folder, depends on the model. Facts: the vendor's user guide (`bedrock-mantle`, `inference-responses-api`, `inference-messages-api`) and
//! litellm 1.109.1, read November 2026; the signature's service is `bedrock-mantle` there and `bedrock` at the runtime.

use http::Uri;
use http::uri::PathAndQuery;
use llm::canonical::error::AnswerError;
use llm::dialect::{Dialect, MaxTokensStyle, RequestOptions, Speak as _};

use super::{
    Call, Place, Prefill, Prepared, Provider, Quirks, Rule, Spec, Speech, Surface, anthropic, betas, openai, prepare,
    rules,
};
use crate::auth::Scheme;
use crate::catalog::ModelFacts;
use crate::media::Fetches;
use crate::wire::{CONVERSE, Wire as _};

/// Bedrock's other half.
#[derive(Debug)]
pub(super) struct BedrockMantle(Spec);

/// Models with OpenAI's responses beside its chat.
const RESPONSES: &[&str] = &["openai.", "google.gemma-4", "xai."];
/// Models that are found under `/openai/v1` and not under `/v1`; of OpenAI's own, all but the open ones.
const FOLDER: &[&str] = &["openai.gpt-", "google.gemma-4", "xai."];
const OPEN: &str = "openai.gpt-oss";
const CLAUDE: &str = "anthropic.";

/// OpenAI's of its models, Claude's of Claude.
const RULES: &[Rule] = &[
    openai::RULES[0],
    openai::TEMPERATURE,
    openai::TOP_P,
    openai::RULES[3],
    openai::RULES[4],
    openai::RULES[5],
    openai::RULES[6],
    openai::RULES[7],
    openai::RULES[8],
    openai::EFFORT,
    anthropic::RULES[0],
    anthropic::RULES[1],
    anthropic::RULES[2],
    anthropic::RULES[3],
];

/// The registry's entry.
pub(super) static BEDROCK_MANTLE: BedrockMantle = BedrockMantle(Spec {
    name: "bedrock_mantle",
    title: "AWS Bedrock Mantle",
    otel_name: Some("aws.bedrock"),
    auth: Scheme::Aws { service: "bedrock-mantle" },
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages],
    places: &[
        Place::new(Surface::Chat(Dialect::OpenAiChat), "/v1/chat/completions"),
        Place::new(Surface::Chat(Dialect::OpenAiResponses), "/v1/responses"),
        Place::new(Surface::Chat(Dialect::AnthropicMessages), "/anthropic/v1/messages"),
        Place::new(Surface::CountTokens(Dialect::AnthropicMessages), "/anthropic/v1/messages/count_tokens"),
        // The same under the other folder, for calls in the provider's own form.
        Place::new(Surface::Chat(Dialect::OpenAiChat), "/openai/v1/chat/completions"),
        Place::new(Surface::Chat(Dialect::OpenAiResponses), "/openai/v1/responses"),
    ],
    forwarded: &["anthropic-version", "anthropic-beta"],
    defaults: &[("anthropic-version", "2023-06-01")],
    request_id_header: "x-amzn-requestid",
    quirks: Quirks {
        max_tokens: MaxTokensStyle::MaxCompletionTokens,
        prefill: Prefill::CLAUDE,
        rules: RULES,
        ..Quirks::NONE
    },
    listing: Some("v1/models"),
    ..Spec::OPENAI_LIKE
});

impl Provider for BedrockMantle {
    fn spec(&self) -> &'static Spec {
        &BEDROCK_MANTLE.0
    }

    fn request_options(&self, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
        prepare::resold_options(self.spec(), upstream_model, model)
    }

    fn speech(&self, client: Dialect, upstream_model: &str) -> Speech {
        Speech::Dialect(if upstream_model.contains(CLAUDE) {
            Dialect::AnthropicMessages
        } else if client == Dialect::OpenAiResponses && begins_with(upstream_model, RESPONSES) {
            Dialect::OpenAiResponses
        } else {
            Dialect::OpenAiChat
        })
    }

    /// The makers fetch what is named by address; nothing says that this cloud does.
    fn fetches(&self, _: Speech) -> Fetches {
        Fetches::NOTHING
    }

    fn adorn(&self, _call: &Call<'_>, upstream_model: &str, prepared: &mut Prepared) {
        if upstream_model.contains(CLAUDE) {
            return betas::keep_known(prepared.request.headers_mut(), betas::BEDROCK);
        }
        for name in ["anthropic-beta", "anthropic-version"] {
            prepared.request.headers_mut().remove(name);
        }
        if begins_with(upstream_model, FOLDER)
            && !upstream_model.starts_with(OPEN)
            && let Some(uri) = in_folder(prepared.request.uri())
        {
            *prepared.request.uri_mut() = uri;
        }
    }

    /// Some refusals come from the cloud before any maker's language is spoken.
    fn decode_error(&self, client: Dialect, upstream_model: &str, status: u16, body: &[u8]) -> AnswerError {
        match self.speech(client, upstream_model) {
            Speech::Dialect(dialect) if rules::has_key(body, "error") => dialect.decode_error(status, body),
            _ => CONVERSE.decode_error(status, body),
        }
    }
}

fn begins_with(model: &str, names: &[&str]) -> bool {
    names.iter().any(|name| model.starts_with(name))
}

/// Puts an address into OpenAI's folder; `None` when it is there.
fn in_folder(uri: &Uri) -> Option<Uri> {
    const PLACE: &str = "/v1/";
    let path = uri.path();
    let at = path.rfind(PLACE)?;
    if path[..at].ends_with("/openai") {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{}/openai{}", &path[..at], &path[at..])).ok();
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_asked_in_its_makers_language() {
        let said = |client, model| match BEDROCK_MANTLE.speech(client, model) {
            Speech::Dialect(dialect) => dialect,
            Speech::Wire(_) => panic!("a wire format"),
        };
        let (chat, responses, messages) = (Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages);
        for client in [chat, responses, messages, Dialect::Gemini] {
            assert_eq!(said(client, "anthropic.claude-opus-5-5"), messages);
            assert_eq!(said(client, "qwen.qwen3-32b"), chat);
        }
        assert_eq!(said(responses, "openai.gpt-6-sol"), responses);
        assert_eq!(said(responses, "openai.gpt-oss-120b"), responses);
        assert_eq!(said(chat, "openai.gpt-6-sol"), chat);
        assert_eq!(said(messages, "openai.gpt-6-sol"), chat);
    }

    #[test]
    fn the_folder_is_written_once() {
        let moved = |uri: &'static str| in_folder(&Uri::from_static(uri)).map(|uri| uri.to_string());
        assert_eq!(moved("https://h/v1/responses").as_deref(), Some("https://h/openai/v1/responses"));
        assert_eq!(moved("https://h/a/v1/chat/completions").as_deref(), Some("https://h/a/openai/v1/chat/completions"));
        assert_eq!(moved("https://h/openai/v1/responses"), None);
    }
}
