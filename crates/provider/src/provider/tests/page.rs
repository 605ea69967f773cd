//! The page of providers for people is written from the registry: `docs/guides/providers.md` (`UPDATE=1`).

use std::fmt::Write as _;
use std::path::Path;

use super::super::*;
use super::golden::is_update;
use crate::auth::{Scheme, SecretForm};

/// How the address looks of whoever has none for everybody.
const ADDRESSES: &[(&str, &str)] = &[
    ("azure_openai", "https://RESOURCE.openai.azure.com (version 1), or …?api-version=DATE (deployments)"),
    ("bedrock", "https://bedrock-runtime.REGION.amazonaws.com"),
    (
        "bedrock_mantle",
        "https://bedrock-mantle.REGION.api.aws, or https://bedrock-runtime.REGION.amazonaws.com/openai for OpenAI's languages",
    ),
    ("cloudflare", "https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1"),
    ("databricks", "https://WORKSPACE/serving-endpoints"),
    ("ollama", "http://HOST:11434"),
    ("openai_compatible", "https://HOST/v1"),
    ("sglang", "http://HOST:30000/v1"),
    ("vertex", "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION"),
    ("vllm", "http://HOST:8000/v1"),
];

const HEAD: &str = "\
# Providers

Written by the tests of `crates/provider` (`UPDATE=1`) from the registry. A credential names a provider, an address where there is none for everybody (or
where yours is another), and a secret; models are then deployments that use it. Calls in a language that the provider does not speak are translated.

A secret is **one key** everywhere, save where the table says what else is taken:

- **AWS**: a Bedrock API key, or JSON with `access_key_id`, `secret_access_key` and as wanted `session_token`, `region`, `role_arn`, `external_id`,
  `session_name`, `sts_endpoint`; or `role_arn` with `web_identity_token`.
- **Google**: an API key, a token, or a service account's key file as it was downloaded.
- **Entra**: an API key, a token, or JSON with `tenant_id`, `client_id`, `client_secret` and as wanted `authority`, `scope`.

Variables are read at every start: what is set makes a credential and the models of the catalog. A variable for a part of the address counts only beside a key.

| provider | name | address | secret | variables | speaks | else |
|---|---|---|---|---|---|---|
";

fn secret(spec: &Spec) -> &'static str {
    match (spec.auth, spec.auth.secret_form()) {
        (Scheme::None, _) => "none",
        (_, SecretForm::Key) if !spec.needs_credential => "none needed",
        (_, SecretForm::Key) => "key",
        (_, SecretForm::Aws) => "AWS",
        (_, SecretForm::Google) => "Google",
        (_, SecretForm::Entra) => "Entra",
    }
}

fn variables(spec: &Spec) -> String {
    let parts = spec.base_url_parts.map_or(&[][..], |parts| parts.variables);
    let names = spec.key_variable.iter().chain(&spec.second_key_variable).chain(&spec.base_url_variable).chain(parts);
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if spec.name == "bedrock" {
        names.push("`AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`".to_owned());
    }
    if let Some(name) = spec.key_file_variable {
        names.push(format!("`{name}` with `GOOGLE_CLOUD_PROJECT` and `GOOGLE_CLOUD_LOCATION`"));
    }
    names.join(", ")
}

fn speaks(spec: &Spec) -> String {
    let names = spec.dialects.iter().map(|dialect| match dialect {
        Dialect::OpenAiChat => "Chat Completions",
        Dialect::AnthropicMessages => "Messages",
        Dialect::OpenAiResponses => "Responses",
        Dialect::OpenAiCompletions => "Completions",
        Dialect::Gemini => "generateContent",
    });
    let own = spec.wire.map(|_| "its own");
    own.into_iter().chain(names).collect::<Vec<_>>().join(", ")
}

fn others(spec: &Spec) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut put = |name| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for place in spec.places {
        match place.surface {
            Surface::Chat(_) | Surface::Wire => {}
            Surface::CountTokens(_) => put("token counts"),
            Surface::Embeddings => put("vectors"),
            Surface::Task(task) => put(task.what()),
            Surface::Realtime { .. } | Surface::Live => put("realtime"),
        }
    }
    if spec.batches.is_some() {
        put("files and batches");
    }
    names.join(", ")
}

#[test]
fn the_page_of_providers_is_current() {
    let mut page = HEAD.to_owned();
    for provider in ALL {
        let spec = provider.spec();
        let form = ADDRESSES.iter().find(|(name, _)| *name == spec.name).map(|(_, form)| *form);
        let address = spec.base_url.or(form).unwrap_or("none");
        assert!(address != "none" || spec.name == "echo", "{}: say in ADDRESSES how its address looks", spec.name);
        let cells = [speaks(spec), others(spec)].map(|cell| if cell.is_empty() { "–".to_owned() } else { cell });
        let _ = writeln!(
            page,
            "| {} | `{}` | {address} | {} | {} | {} | {} |",
            spec.title,
            spec.name,
            secret(spec),
            variables(spec),
            cells[0],
            cells[1]
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/providers.md");
    if is_update() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "run with UPDATE=1");
}
