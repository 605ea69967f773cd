//! Texts into vectors: one call and its answer.
//!
//! Vectors stay JSON text unless someone asks for numbers; a batch can be megabytes.

use super::json::{Raw, Rest};
use super::usage::TokenUsage;

/// An embeddings call.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRequest {
    /// The model as the caller named it.
    pub model: String,
    /// What to embed, one vector each.
    pub inputs: Vec<EmbeddingInput>,
    /// Length of the vectors.
    pub dimensions: Option<u32>,
    /// How vectors are written.
    pub format: Option<EmbeddingFormat>,
    /// The end user.
    pub user: Option<String>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingInput {
    /// Text.
    Text(String),
    /// Text that the caller has already cut into tokens.
    Tokens(Vec<u32>),
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// A JSON array of numbers.
    Float,
    /// Base64 of little-endian `f32`.
    Base64,
}

/// The vectors of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingAnswer {
    /// The model that made them.
    pub model: String,
    /// One per input, in order.
    pub vectors: Vec<Vector>,
    /// Tokens read; only `input` is set.
    pub usage: TokenUsage,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

/// One vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// Numbers made here.
    Floats(Vec<f32>),
    /// Whatever the upstream wrote: an array or a base64 string.
    Raw(Raw),
}
