//! Hugging Face's router to inference providers. Facts: the vendor's documentation, read November 2026.

use super::Spec;
use super::spec::Data;

/// The registry's entry.
pub(super) static HUGGINGFACE: Data = Data(&Spec {
    name: "huggingface",
    title: "Hugging Face",
    base_url: Some("https://router.huggingface.co/v1"),
    key_variable: Some("HF_TOKEN"),
    ..Spec::OPENAI_LIKE
});
