//! Google's Vertex AI: Gemini, Claude and open models, each in its own dialect.
//!
//! The base address names project and location:
//! `https://us-central1-aiplatform.googleapis.com/v1/projects/<project>/locations/us-central1`. Facts: the vendor's API reference
//! and field notes, read November 2026.

use http::Uri;
use http::uri::PathAndQuery;
use llm::dialect::{Dialect, RequestOptions};

use super::spec::filled;
use super::{
    Call, FromVariables, Place, Prefill, Prepared, Provider, Quirks, Spec, Speech, Surface, anthropic, betas, prepare,
};
use crate::auth::Scheme;
use crate::catalog::ModelFacts;
use crate::media::Fetches;
use crate::task::{PREDICT_EMBED, PREDICT_IMAGE, Task};

/// The location that is none in particular, and the one that the vendor's libraries take when none is named.
const EVERYWHERE: &str = "global";

/// Vertex AI.
#[derive(Debug)]
pub(super) struct Vertex(Spec);

/// The registry's entry.
pub(super) static VERTEX: Vertex = Vertex(Spec {
    name: "vertex",
    title: "Google Vertex AI",
    otel_name: Some("gcp.vertex_ai"),
    key_file_variable: Some("GOOGLE_APPLICATION_CREDENTIALS"),
    auth: Scheme::GoogleCloud,
    dialects: &[Dialect::Gemini, Dialect::AnthropicMessages, Dialect::OpenAiChat],
    places: &[
        Place::streamed(
            Surface::Chat(Dialect::Gemini),
            "/publishers/google/models/{model}:generateContent",
            "/publishers/google/models/{model}:streamGenerateContent?alt=sse",
        ),
        Place {
            without: &["model"],
            with: &[("anthropic_version", "\"vertex-2023-10-16\"")],
            ..Place::streamed(
                Surface::Chat(Dialect::AnthropicMessages),
                "/publishers/anthropic/models/{model}:rawPredict",
                "/publishers/anthropic/models/{model}:streamRawPredict",
            )
        },
        Place::new(Surface::CountTokens(Dialect::Gemini), "/publishers/google/models/{model}:countTokens"),
        // One for all of the publisher's models, with the model in the body and without its version.
        Place::new(
            Surface::CountTokens(Dialect::AnthropicMessages),
            "/publishers/anthropic/models/count-tokens:rawPredict",
        ),
        Place::new(Surface::Embeddings, "/publishers/google/models/{model}:predict").in_form(&PREDICT_EMBED),
        Place::new(Surface::Task(Task::ImageGeneration), "/publishers/google/models/{model}:predict")
            .in_form(&PREDICT_IMAGE),
        Place::new(Surface::Chat(Dialect::OpenAiChat), "/endpoints/openapi/chat/completions"),
        // The same of tuned models, for calls in the provider's own form.
        Place::streamed(
            Surface::Chat(Dialect::Gemini),
            "/endpoints/{model}:generateContent",
            "/endpoints/{model}:streamGenerateContent?alt=sse",
        ),
    ],
    forwarded: &["anthropic-beta"],
    request_id_header: "x-request-id",
    quirks: Quirks {
        developer_role: false,
        flat_count: true,
        prefill: Prefill::CLAUDE,
        rules: anthropic::RULES,
        ..Quirks::NONE
    },
    listing: None,
    ..Spec::OPENAI_LIKE
});

impl Provider for Vertex {
    fn spec(&self) -> &'static Spec {
        &VERTEX.0
    }

    /// The variables of the vendor's own libraries. A key file without a project is there for another of its services.
    fn read_variables(&self, get: &dyn Fn(&str) -> Option<String>) -> FromVariables {
        let found = self.spec().read_variables(get, || None);
        let read = |name: &str| filled(&get(name)?);
        let Some(project) = read("GOOGLE_CLOUD_PROJECT").filter(|_| found.secret_file.is_some()) else {
            return FromVariables::default();
        };
        let location = read("GOOGLE_CLOUD_LOCATION").unwrap_or_else(|| EVERYWHERE.to_owned());
        let host = if location == EVERYWHERE { String::new() } else { format!("{location}-") };
        let base_url = format!("https://{host}aiplatform.googleapis.com/v1/projects/{project}/locations/{location}");
        FromVariables { base_url: Some(base_url), ..found }
    }

    fn request_options(&self, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
        prepare::resold_options(self.spec(), upstream_model, model)
    }

    /// The vendor's own Claude fetches; this cloud's does not.
    fn fetches(&self, speech: Speech) -> Fetches {
        match speech {
            Speech::Dialect(Dialect::Gemini) => Fetches::HTTPS,
            Speech::Dialect(Dialect::OpenAiChat) => Fetches::IMAGES,
            _ => Fetches::NOTHING,
        }
    }

    fn counted<'m>(&self, upstream_model: &'m str) -> &'m str {
        let is_claude = upstream_model.starts_with("claude");
        upstream_model.split_once('@').filter(|_| is_claude).map_or(upstream_model, |(name, _)| name)
    }

    /// Google refuses calls with switches that it does not know, and has a tuned model, whose name is a number, at an endpoint of its own.
    fn adorn(&self, _call: &Call<'_>, upstream_model: &str, prepared: &mut Prepared) {
        if is_tuned(upstream_model)
            && let Some(uri) = at_endpoint(prepared.request.uri())
        {
            *prepared.request.uri_mut() = uri;
        }
        betas::keep_known(prepared.request.headers_mut(), betas::VERTEX);
    }

    /// Each publisher's models speak one dialect, whatever the client speaks. Open models are named with their publisher.
    fn speech(&self, _client: Dialect, upstream_model: &str) -> Speech {
        Speech::Dialect(if upstream_model.starts_with("claude") {
            Dialect::AnthropicMessages
        } else if upstream_model.contains('/') {
            Dialect::OpenAiChat
        } else {
            Dialect::Gemini
        })
    }
}

const PUBLISHED: &str = "/publishers/google/models/";

/// A tuned model is named by the number of its endpoint.
fn is_tuned(model: &str) -> bool {
    model.len() >= 6 && model.bytes().all(|byte| byte.is_ascii_digit())
}

fn at_endpoint(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str();
    let at = path.find(PUBLISHED)?;
    let mut parts = uri.clone().into_parts();
    let moved = format!("{}/endpoints/{}", &path[..at], &path[at + PUBLISHED.len()..]);
    parts.path_and_query = Some(PathAndQuery::try_from(moved).ok()?);
    Uri::from_parts(parts).ok()
}
