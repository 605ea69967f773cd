//! Gemini's embeddings: `embedContent` for one text, `batchEmbedContents` for several.
//!
//! The hub's calls are texts; parts of one content are joined. Vectors are numbers here: an upstream's base64 is read.

use bytes::{Bytes, BytesMut};

use hub::canonical::embedding::{EmbeddingAnswer, EmbeddingInput, EmbeddingRequest, Vector};
use hub::canonical::error::{DecodeError, EncodeError};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::usage::TokenUsage;
use hub::codec::base64;
use hub::codec::json::{self, ArrayWriter, Node, Object, ObjectWriter, write_object};

/// Which of the two endpoints a body belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// `embedContent`.
    One,
    /// `batchEmbedContents`.
    Many,
}

/// Reads a request body; the model is the address's unless the body says it.
pub fn decode_request(body: &[u8]) -> Result<(EmbeddingRequest, Batch), DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?.camel();
    let mut request = EmbeddingRequest {
        model: String::new(),
        inputs: Vec::new(),
        dimensions: None,
        format: None,
        user: None,
        rest: Rest::default(),
    };
    let Some(requests) = object.find("requests") else {
        read_one(&object, &mut request)?;
        return Ok((request, Batch::One));
    };
    for node in requests.array()?.iter() {
        read_one(&node.object()?.camel(), &mut request)?;
    }
    if request.inputs.is_empty() {
        return Err(requests.expected("at least one request"));
    }
    Ok((request, Batch::Many))
}

/// Reads one text; parameters count once for all, the last said.
fn read_one(object: &Object<'_, '_>, request: &mut EmbeddingRequest) -> Result<(), DecodeError> {
    if let Some(model) = object.find_string("model")? {
        model.strip_prefix("models/").unwrap_or(&model).clone_into(&mut request.model);
    }
    let content = object.get("content")?;
    let mut text = String::new();
    if content.is_str() {
        text = content.string()?;
    } else {
        for part in content.object()?.get("parts")?.array()?.iter() {
            text.push_str(&part.object()?.get("text")?.str()?);
        }
    }
    request.inputs.push(EmbeddingInput::Text(text));
    if let Some(node) = object.find("outputDimensionality") {
        request.dimensions = Some(node.u32()?);
    }
    for (name, value) in object.rest().0 {
        request.rest.set(&name, value);
    }
    Ok(())
}

/// Writes a request body. Unknown fields go along when `is_ours` says that they were read here.
pub fn encode_request(request: &EmbeddingRequest, batch: Batch, is_ours: bool) -> Result<Bytes, EncodeError> {
    let mut texts = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        match input {
            EmbeddingInput::Text(text) => texts.push(text.as_str()),
            EmbeddingInput::Tokens(_) => {
                let reason = "the upstream does not take tokens; send text".into();
                return Err(EncodeError { path: "input".into(), reason });
            }
        }
    }
    if batch == Batch::One && texts.len() != 1 {
        let reason = "this endpoint takes one text; send several to batchEmbedContents".into();
        return Err(EncodeError { path: "input".into(), reason });
    }
    let write = |text: &str, object: &mut ObjectWriter<'_>| {
        object.str("model", &format!("models/{}", request.model));
        object.object("content", |object| {
            object.array("parts", |array| array.object(|object| object.str("text", text)));
        });
        if let Some(dimensions) = request.dimensions {
            object.u64("outputDimensionality", dimensions.into());
        }
        if is_ours {
            object.rest(&request.rest);
        }
    };
    let mut out = BytesMut::new();
    write_object(&mut out, |object| match batch {
        Batch::One => texts.iter().for_each(|text| write(text, object)),
        Batch::Many => object.array("requests", |array| {
            for text in &texts {
                array.object(|object| write(text, object));
            }
        }),
    });
    Ok(out.freeze())
}

/// Reads an answer body of either endpoint.
pub fn decode_answer(body: &[u8]) -> Result<EmbeddingAnswer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?.camel();
    let mut vectors = Vec::new();
    if let Some(one) = object.find("embedding") {
        vectors.push(read_vector(&one)?);
    } else {
        for node in object.get("embeddings")?.array()?.iter() {
            vectors.push(read_vector(&node)?);
        }
    }
    let mut usage = TokenUsage::default();
    if let Some(counts) = object.find("usageMetadata").and_then(|node| node.object().ok()) {
        usage.input = counts.camel().count("promptTokenCount");
    }
    Ok(EmbeddingAnswer { model: String::new(), vectors, usage, rest: object.rest() })
}

fn read_vector(node: &Node<'_, '_>) -> Result<Vector, DecodeError> {
    Ok(Vector::Raw(node.object()?.get("values")?.raw()))
}

/// Writes an answer body.
#[must_use]
pub fn encode_answer(answer: &EmbeddingAnswer, batch: Batch) -> Bytes {
    let mut out = BytesMut::new();
    write_object(&mut out, |object| {
        match batch {
            Batch::One => {
                if let Some(vector) = answer.vectors.first() {
                    object.object("embedding", |object| write_vector(vector, object));
                }
            }
            Batch::Many => object.array("embeddings", |array| {
                answer.vectors.iter().for_each(|vector| array.object(|object| write_vector(vector, object)));
            }),
        }
        if answer.usage.input > 0 {
            object.object("usageMetadata", |object| {
                object.u64("promptTokenCount", answer.usage.input);
                object.u64("totalTokenCount", answer.usage.input);
            });
        }
    });
    out.freeze()
}

fn write_vector(vector: &Vector, object: &mut ObjectWriter<'_>) {
    match vector {
        Vector::Raw(raw) => match floats_of(raw) {
            Some(numbers) => object.array("values", |array| write_numbers(&numbers, array)),
            None => object.raw("values", raw),
        },
        Vector::Floats(numbers) => object.array("values", |array| write_numbers(numbers, array)),
    }
}

fn write_numbers(numbers: &[f32], array: &mut ArrayWriter<'_>) {
    for number in numbers {
        array.literal(&format!("{}", if number.is_finite() { *number } else { 0.0 }));
    }
}

/// Reads base64 of little-endian `f32`, as OpenAI writes vectors on request.
fn floats_of(raw: &Raw) -> Option<Vec<f32>> {
    let text: String = serde_json::from_str(raw.as_str()).ok()?;
    let bytes = base64::decode(&text)?;
    let numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Some(numbers.collect())
}
