//! NVIDIA's NIM, hosted or one's own. Facts: the vendor's API reference, read November 2026.

use super::spec::Data;
use super::{Place, Spec};

/// The registry's entry.
pub(super) static NVIDIA: Data = Data(&Spec {
    name: "nvidia",
    title: "NVIDIA NIM",
    base_url: Some("https://integrate.api.nvidia.com/v1"),
    key_variable: Some("NVIDIA_API_KEY"),
    places: Place::CHAT_AND_EMBEDDINGS,
    request_id_header: "nvcf-reqid",
    ..Spec::OPENAI_LIKE
});
