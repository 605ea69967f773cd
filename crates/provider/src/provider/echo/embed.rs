//! Vectors that depend on the words of a text alone.
//!
//! Each word has a direction of its own (SHA-256 of the word), a text is the sum of its words: equal texts give equal vectors,
//! texts that share words lie near each other. Invariant: every vector has length 1.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::estimate;
use domain::usage::{TokenUsage, UnitUsage};
use llm::canonical::embedding::{EmbeddingAnswer, EmbeddingInput, Vector};
use llm::canonical::json::Rest;
use llm::dialect::openai_embeddings;

use super::super::{Call, LocalAnswer, PrepareError};

/// Length of a vector when the call does not say.
const DIMENSIONS: u32 = 256;
/// Longest vector.
const MAX_DIMENSIONS: u32 = 4_096;
/// Most inputs of one call, as OpenAI's.
const MAX_INPUTS: usize = 2_048;

/// Answers an embeddings call.
pub(super) fn answer(call: &Call<'_>, upstream_model: &str) -> Result<LocalAnswer, PrepareError> {
    let request = openai_embeddings::decode_request(call.body)?;
    let dimensions = request.dimensions.unwrap_or(DIMENSIONS);
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        let reason = format!("echo makes vectors of 1 to {MAX_DIMENSIONS} numbers");
        return Err(PrepareError::Invalid { field: "dimensions", reason });
    }
    if request.inputs.is_empty() || request.inputs.len() > MAX_INPUTS {
        return Err(PrepareError::Invalid { field: "input", reason: format!("echo takes 1 to {MAX_INPUTS} inputs") });
    }
    let usage = TokenUsage { input: request.inputs.iter().map(tokens).sum(), ..TokenUsage::default() };
    let vectors = request.inputs.iter().map(|input| Vector::Floats(vector(input, dimensions))).collect();
    let answer = EmbeddingAnswer { model: upstream_model.to_owned(), vectors, usage, rest: Rest::default() };
    let body: Bytes = openai_embeddings::encode_answer(&answer, request.format);
    Ok(LocalAnswer {
        content_type: "application/json",
        chunks: vec![body],
        usage,
        units: UnitUsage::default(),
        is_estimated: false,
    })
}

fn tokens(input: &EmbeddingInput) -> u64 {
    match input {
        EmbeddingInput::Text(text) => estimate::text_guess(text).max(1),
        EmbeddingInput::Tokens(tokens) => tokens.len() as u64,
    }
}

fn vector(input: &EmbeddingInput, dimensions: u32) -> Vec<f32> {
    let mut sum = vec![0_f32; dimensions as usize];
    match input {
        EmbeddingInput::Text(text) => {
            for word in text.split_whitespace() {
                add(&mut sum, word.to_lowercase().as_bytes());
            }
        }
        EmbeddingInput::Tokens(tokens) => {
            for token in tokens {
                add(&mut sum, &token.to_le_bytes());
            }
        }
    }
    let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        for number in &mut sum {
            *number /= length;
        }
    } else {
        // Nothing was said, or the words cancel out: any direction is right, as long as it is always the same.
        sum[0] = 1.0;
    }
    sum
}

/// Adds the direction of one word: numbers from −1 to 1, 32 from each hash of (block number, word).
fn add(sum: &mut [f32], word: &[u8]) {
    for (block, part) in (0_u32..).zip(sum.chunks_mut(32)) {
        let digest = Sha256::new().chain_update(block.to_le_bytes()).chain_update(word).finalize();
        for (number, byte) in part.iter_mut().zip(digest) {
            *number += (f32::from(byte) - 127.5) / 127.5;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, dimensions: u32) -> Vec<f32> {
        vector(&EmbeddingInput::Text(text.to_owned()), dimensions)
    }

    fn nearness(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn every_vector_has_length_one() {
        for dimensions in [1, 2, 31, 256, 4_096] {
            for text in ["", "hello", "one two three", "日本"] {
                let vector = of(text, dimensions);
                assert_eq!(vector.len(), dimensions as usize);
                assert!((nearness(&vector, &vector) - 1.0).abs() < 1e-4, "{text} {dimensions}");
            }
        }
    }

    #[test]
    fn texts_that_share_words_are_near() {
        let near = nearness(&of("the cat sat", 256), &of("The cat ran", 256));
        let far = nearness(&of("the cat sat", 256), &of("prices rise again", 256));
        assert!(near > 0.4 && far.abs() < 0.3, "{near} {far}");
        assert_eq!(of("same", 256), of("same", 256));
    }
}
