//! Cloudflare Workers AI. The base address names the account: `https://api.cloudflare.com/client/v4/accounts/<id>/ai/v1`.
//!
//! Facts: the vendor's page on compatibility with OpenAI, read November 2026.

use super::spec::Data;
use super::{BaseParts, Place, Spec};

/// The registry's entry.
pub(super) static CLOUDFLARE: Data = Data(&Spec {
    name: "cloudflare",
    title: "Cloudflare Workers AI",
    key_variable: Some("CLOUDFLARE_API_KEY"),
    base_url_variable: Some("CLOUDFLARE_BASE_URL"),
    base_url_parts: Some(BaseParts {
        variables: &["CLOUDFLARE_ACCOUNT_ID"],
        address: "https://api.cloudflare.com/client/v4/accounts/{}/ai/v1",
    }),
    places: Place::CHAT_AND_EMBEDDINGS,
    request_id_header: "cf-ray",
    listing: None,
    ..Spec::OPENAI_LIKE
});
