//! Vectors in vendors' own forms. The client's side is OpenAI's, numbers or base64 as it asked.
//!
//! Facts: the vendors' API references and SDK types, read November 2026. Invariant: one vector for each input, in order.

use bytes::Bytes;
use domain::usage::TokenUsage;
use http::HeaderValue;
use serde_json::{Value, json};

use super::{Asked, Form, Told, Written, answer, invalid};
use crate::estimate;
use crate::provider::{Call, Place, PrepareError};
use crate::skim::Skimmed;
use llm::canonical::embedding::{EmbeddingAnswer, EmbeddingInput, EmbeddingRequest, Vector};
use llm::canonical::error::DecodeError;
use llm::canonical::json::Rest;
use llm::canonical::loss::Loss;
use llm::dialect::openai_embeddings;

/// A vendor's form.
#[derive(Debug)]
pub struct Embed(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Cohere's `embed`.
    Cohere,
    /// Ollama's `embed`.
    Ollama,
    /// Google's `batchEmbedContents`.
    Contents,
    /// Google Cloud's `predict`.
    Predict,
    /// Bedrock's `invoke`: Amazon's own models take one text, Cohere's several.
    Invoke,
}

/// Cohere's form.
pub static COHERE_EMBED: Embed = Embed(Kind::Cohere);
/// Ollama's form.
pub static OLLAMA_EMBED: Embed = Embed(Kind::Ollama);
/// Google's form.
pub static TEXTS_EMBED: Embed = Embed(Kind::Contents);
/// Google Cloud's form.
pub static PREDICT_EMBED: Embed = Embed(Kind::Predict);
/// Bedrock's form.
pub static INVOKE_EMBED: Embed = Embed(Kind::Invoke);

impl Form for Embed {
    fn write(&self, call: &Call<'_>, model: &str, _place: &Place) -> Result<Written, PrepareError> {
        let request = openai_embeddings::decode_request(call.body)?;
        let texts = texts(&request)?;
        let dimensions = request.dimensions;
        let mut body = match self.0 {
            Kind::Cohere => cohere(&request, &texts),
            Kind::Ollama => json!({"input": texts}),
            Kind::Contents => {
                let one = |text: &&str| {
                    let mut one = json!({"model": format!("models/{model}"), "content": {"parts": [{"text": text}]}});
                    set(&mut one, "outputDimensionality", dimensions);
                    one
                };
                json!({"requests": texts.iter().map(one).collect::<Vec<_>>()})
            }
            Kind::Predict => {
                let instances: Vec<Value> = texts.iter().map(|text| json!({"content": text})).collect();
                json!({"instances": instances})
            }
            Kind::Invoke if is_cohere(model) => cohere(&request, &texts),
            Kind::Invoke => match texts[..] {
                [text] => json!({"inputText": text}),
                _ => return Err(invalid("input", "must be one text: this model takes no lists; send a call for each")),
            },
        };
        match self.0 {
            Kind::Cohere => {
                body["model"] = model.into();
                set(&mut body, "output_dimension", dimensions);
            }
            Kind::Ollama => {
                body["model"] = model.into();
                set(&mut body, "dimensions", dimensions);
            }
            Kind::Contents => {}
            Kind::Predict => {
                if let Some(dimensions) = dimensions {
                    body["parameters"] = json!({"outputDimensionality": dimensions});
                }
            }
            Kind::Invoke if is_cohere(model) => set(&mut body, "output_dimension", dimensions),
            Kind::Invoke => set(&mut body, "dimensions", dimensions),
        }
        let is_sent = |name: &str| name == "input_type" && matches!(self.0, Kind::Cohere | Kind::Invoke);
        let lost = request.rest.iter().map(|(name, _)| name).filter(|name| !is_sent(name));
        let losses = lost.map(|name| Loss::dropped(name, "the provider's vectors know no such parameter")).collect();
        Ok(Written { losses, ..Written::json(&body) })
    }

    fn read(&self, asked: &Asked, _content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let request = openai_embeddings::decode_request(&asked.body)?;
        let said = answer(body)?;
        let (vectors, tokens) = match self.0 {
            Kind::Cohere => cohere_answer(&said),
            Kind::Ollama => (list(&said["embeddings"]), said["prompt_eval_count"].as_u64()),
            Kind::Contents => {
                let values = said["embeddings"].as_array().into_iter().flatten().map(|one| numbers(&one["values"]));
                (values.collect(), said["usageMetadata"]["promptTokenCount"].as_u64())
            }
            Kind::Predict => predicted(&said),
            Kind::Invoke if is_cohere(&asked.model) => cohere_answer(&said),
            Kind::Invoke => (numbers(&said["embedding"]).map(|one| vec![one]), said["inputTextTokenCount"].as_u64()),
        };
        let vectors = vectors.filter(|vectors| vectors.len() == request.inputs.len()).ok_or(DecodeError::Truncated)?;
        let guess = || request.inputs.iter().map(guessed).sum::<u64>().max(1);
        let usage = TokenUsage { input: tokens.unwrap_or_else(guess), ..TokenUsage::default() };
        let answer = EmbeddingAnswer {
            model: asked.model.clone(),
            vectors: vectors.into_iter().map(Vector::Floats).collect(),
            usage,
            rest: Rest::default(),
        };
        let found = Skimmed { usage: Some(usage), is_guessed: tokens.is_none(), ..Skimmed::default() };
        let body = openai_embeddings::encode_answer(&answer, request.format);
        Ok(Told { body, content_type: super::JSON, found })
    }
}

fn is_cohere(model: &str) -> bool {
    model.contains("cohere.")
}

fn set(object: &mut Value, name: &str, dimensions: Option<u32>) {
    if let Some(dimensions) = dimensions {
        object[name] = dimensions.into();
    }
}

fn texts(request: &EmbeddingRequest) -> Result<Vec<&str>, PrepareError> {
    if request.inputs.is_empty() {
        return Err(invalid("input", "must have at least one text"));
    }
    let mut texts = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        match input {
            EmbeddingInput::Text(text) => texts.push(text.as_str()),
            EmbeddingInput::Tokens(_) => return Err(invalid("input", "must be text: this provider takes no tokens")),
        }
    }
    Ok(texts)
}

fn guessed(input: &EmbeddingInput) -> u64 {
    match input {
        EmbeddingInput::Text(text) => estimate::text_guess(text),
        EmbeddingInput::Tokens(tokens) => tokens.len() as u64,
    }
}

/// The vendor wants to know what the vectors are for; OpenAI's clients do not say, and mostly store them.
fn cohere(request: &EmbeddingRequest, texts: &[&str]) -> Value {
    let said = request.rest.iter().find(|(name, _)| *name == "input_type");
    let said = said.and_then(|(_, value)| serde_json::from_str::<String>(value.as_str()).ok());
    let input_type = said.unwrap_or_else(|| "search_document".to_owned());
    json!({"texts": texts, "input_type": input_type, "embedding_types": ["float"]})
}

fn cohere_answer(said: &Value) -> (Option<Vec<Vec<f32>>>, Option<u64>) {
    let embeddings = &said["embeddings"];
    let vectors = if embeddings.is_array() { list(embeddings) } else { list(&embeddings["float"]) };
    (vectors, said["meta"]["billed_units"]["input_tokens"].as_u64())
}

fn predicted(said: &Value) -> (Option<Vec<Vec<f32>>>, Option<u64>) {
    let list = said["predictions"].as_array().map_or(&[][..], Vec::as_slice);
    let vectors = list.iter().map(|one| numbers(&one["embeddings"]["values"])).collect();
    let count = |one: &Value| one["embeddings"]["statistics"]["token_count"].as_f64();
    let tokens: Option<f64> = list.iter().map(count).sum();
    (vectors, tokens.map(whole))
}

/// Turns a count that the vendor writes as a number with a point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
fn whole(count: f64) -> u64 {
    count.clamp(0.0, 1e12).round() as u64
}

fn list(value: &Value) -> Option<Vec<Vec<f32>>> {
    value.as_array()?.iter().map(numbers).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
fn numbers(value: &Value) -> Option<Vec<f32>> {
    value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
}
