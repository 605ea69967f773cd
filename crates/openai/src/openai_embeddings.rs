//! OpenAI's embeddings, the only embeddings dialect so far.
//!
//! Vectors pass as text: an upstream's base64 or array is not decoded.

use bytes::Bytes;

use hub::canonical::embedding::{EmbeddingAnswer, EmbeddingFormat, EmbeddingInput, EmbeddingRequest, Vector};
use hub::canonical::error::DecodeError;
use hub::canonical::usage::TokenUsage;
use hub::codec::base64;
use hub::codec::json::{self, Node, ObjectWriter, object_bytes};

/// Reads a request body of `/v1/embeddings`.
pub fn decode_request(body: &[u8]) -> Result<EmbeddingRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let model = object.get("model")?.string()?;
    let inputs = read_inputs(&object.get("input")?)?;
    let dimensions = object.find("dimensions").map(|node| node.u32()).transpose()?;
    let format = match object.find("encoding_format") {
        None => None,
        Some(node) => Some(match &*node.str()? {
            "float" => EmbeddingFormat::Float,
            "base64" => EmbeddingFormat::Base64,
            _ => return Err(node.expected("float or base64")),
        }),
    };
    let user = object.find_string("user")?;
    Ok(EmbeddingRequest { model, inputs, dimensions, format, user, rest: object.rest() })
}

/// One string, an array of strings, one array of tokens, or an array of such arrays.
fn read_inputs(node: &Node<'_, '_>) -> Result<Vec<EmbeddingInput>, DecodeError> {
    const WHAT: &str = "a string, an array of strings, an array of tokens or an array of arrays of tokens";
    if node.is_str() {
        return Ok(vec![EmbeddingInput::Text(node.string()?)]);
    }
    if !node.is_array() {
        return Err(node.expected(WHAT));
    }
    let items = node.array()?;
    let mut inputs = Vec::with_capacity(items.len());
    let mut tokens = Vec::new();
    for item in items.iter() {
        if item.is_str() {
            inputs.push(EmbeddingInput::Text(item.string()?));
        } else if item.is_array() {
            inputs
                .push(EmbeddingInput::Tokens(item.array()?.iter().map(|token| token.u32()).collect::<Result<_, _>>()?));
        } else {
            tokens.push(item.u32().map_err(|_| item.expected("a string, a token or an array of tokens"))?);
        }
    }
    match (tokens.is_empty(), inputs.is_empty()) {
        (true, false) => Ok(inputs),
        (false, true) => Ok(vec![EmbeddingInput::Tokens(tokens)]),
        (true, true) => Err(node.expected("at least one text")),
        (false, false) => Err(node.expected(WHAT)),
    }
}

/// Writes a request body.
#[must_use]
pub fn encode_request(request: &EmbeddingRequest) -> Bytes {
    object_bytes(|object| {
        object.str("model", &request.model);
        match &*request.inputs {
            [EmbeddingInput::Text(text)] => object.str("input", text),
            inputs => object.array("input", |array| {
                for input in inputs {
                    match input {
                        EmbeddingInput::Text(text) => array.str(text),
                        EmbeddingInput::Tokens(tokens) => array.literal(&token_list(tokens)),
                    }
                }
            }),
        }
        if let Some(dimensions) = request.dimensions {
            object.u64("dimensions", dimensions.into());
        }
        object.opt_str("encoding_format", request.format.map(word));
        object.opt_str("user", request.user.as_deref());
        object.rest(&request.rest);
    })
}

fn word(format: EmbeddingFormat) -> &'static str {
    match format {
        EmbeddingFormat::Float => "float",
        EmbeddingFormat::Base64 => "base64",
    }
}

fn token_list(tokens: &[u32]) -> String {
    let tokens: Vec<String> = tokens.iter().map(u32::to_string).collect();
    format!("[{}]", tokens.join(","))
}

/// Reads an answer body.
pub fn decode_answer(body: &[u8]) -> Result<EmbeddingAnswer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let mut vectors = Vec::new();
    for item in object.get("data")?.array()?.iter() {
        vectors.push(Vector::Raw(item.object()?.get("embedding")?.raw()));
    }
    let mut usage = TokenUsage::default();
    if let Some(counts) = object.find("usage").and_then(|node| node.object().ok()) {
        usage.input = counts.count("prompt_tokens");
    }
    let model = object.find_string("model")?.unwrap_or_default();
    object.skip(&["object"]);
    Ok(EmbeddingAnswer { model, vectors, usage, rest: object.rest() })
}

/// Writes an answer body; numbers made here are written in `format`, an upstream's vectors stay as they are.
#[must_use]
pub fn encode_answer(answer: &EmbeddingAnswer, format: Option<EmbeddingFormat>) -> Bytes {
    object_bytes(|object| {
        object.str("object", "list");
        object.array("data", |array| {
            for (index, vector) in answer.vectors.iter().enumerate() {
                array.object(|object| {
                    object.str("object", "embedding");
                    object.u64("index", u64::try_from(index).unwrap_or(u64::MAX));
                    write_vector(vector, format, object);
                });
            }
        });
        object.str("model", &answer.model);
        object.object("usage", |object| {
            object.u64("prompt_tokens", answer.usage.input);
            object.u64("total_tokens", answer.usage.input);
        });
        object.rest(&answer.rest);
    })
}

fn write_vector(vector: &Vector, format: Option<EmbeddingFormat>, object: &mut ObjectWriter<'_>) {
    match (vector, format) {
        (Vector::Raw(raw), _) => object.raw("embedding", raw),
        (Vector::Floats(numbers), Some(EmbeddingFormat::Base64)) => object.str("embedding", &base64_of(numbers)),
        (Vector::Floats(numbers), _) => object.array("embedding", |array| {
            for number in numbers {
                array.literal(&format!("{}", if number.is_finite() { *number } else { 0.0 }));
            }
        }),
    }
}

/// Writes little-endian `f32`s in base64 (RFC 4648 §4), as OpenAI does.
fn base64_of(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64::encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_little_endian() {
        assert_eq!(base64_of(&[]), "");
        assert_eq!(base64_of(&[1.0]), "AACAPw==");
        assert_eq!(base64_of(&[1.0, -2.5, 0.0]), "AACAPwAAIMAAAAAA");
    }
}
