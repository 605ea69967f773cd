//! Databricks' served models. The base address is the workspace's: `https://<workspace>/serving-endpoints`.
//!
//! Facts: the vendor's page on querying chat models, read November 2026.

use super::spec::Data;
use super::{BaseParts, Place, Quirks, Spec};

/// The registry's entry.
pub(super) static DATABRICKS: Data = Data(&Spec {
    name: "databricks",
    title: "Databricks",
    key_variable: Some("DATABRICKS_TOKEN"),
    base_url_variable: Some("DATABRICKS_BASE_URL"),
    base_url_parts: Some(BaseParts { variables: &["DATABRICKS_HOST"], address: "https://{}/serving-endpoints" }),
    places: Place::CHAT_AND_EMBEDDINGS,
    // Claude is served there too, with its breakpoints.
    quirks: Quirks { cache_control: true, ..Quirks::OPENAI_LIKE },
    listing: None,
    ..Spec::OPENAI_LIKE
});
