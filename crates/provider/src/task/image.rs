//! Pictures in the form of Google's `predict`.
//!
//! Facts: the vendor's reference of the Imagen models, read November 2026.

use bytes::Bytes;
use domain::usage::UnitUsage;
use http::HeaderValue;
use serde_json::{Value, json};

use super::{Asked, Form, Told, Written, answer, invalid, object, text, unknown_fields};
use crate::provider::{Call, Place, PrepareError};
use crate::skim::Skimmed;
use llm::canonical::error::DecodeError;
use llm::canonical::loss::Loss;

const KNOWN: &[&str] = &[
    "model",
    "prompt",
    "n",
    "size",
    "output_format",
    "response_format",
    "quality",
    "user",
    "background",
    "moderation",
];
/// The sizes of OpenAI's clients as the vendor's shapes.
const SHAPES: &[(&str, &str)] = &[
    ("1024x1024", "1:1"),
    ("512x512", "1:1"),
    ("256x256", "1:1"),
    ("1536x1024", "4:3"),
    ("1024x1536", "3:4"),
    ("1792x1024", "16:9"),
    ("1024x1792", "9:16"),
];

/// Google's form.
#[derive(Debug)]
pub struct Predict;

/// Google's form.
pub static PREDICT_IMAGE: Predict = Predict;

impl Form for Predict {
    fn write(&self, call: &Call<'_>, _model: &str, _place: &Place) -> Result<Written, PrepareError> {
        let asked = object(call)?;
        if asked["response_format"] == "url" {
            return Err(invalid("response_format", "must be b64_json: this provider keeps no pictures"));
        }
        let mut parameters = json!({"sampleCount": asked["n"].as_u64().unwrap_or(1)});
        let mut losses = unknown_fields(&asked, KNOWN, "the provider knows no such parameter");
        match asked["size"].as_str() {
            None | Some("auto") => {}
            Some(size) => match SHAPES.iter().find(|(known, _)| *known == size) {
                Some((_, shape)) => {
                    parameters["aspectRatio"] = (*shape).into();
                    losses.push(Loss::changed("size", "the provider takes shapes, not sizes"));
                }
                None => return Err(invalid("size", "must be auto or one of OpenAI's sizes")),
            },
        }
        if let Some(format) = asked["output_format"].as_str() {
            parameters["outputOptions"] = json!({"mimeType": format!("image/{format}")});
        }
        for name in ["quality", "background", "moderation"] {
            if !asked[name].is_null() && asked[name] != "auto" {
                losses.push(Loss::dropped(name, "the provider knows no such parameter"));
            }
        }
        let body = json!({"instances": [{"prompt": text(&asked, "prompt")?}], "parameters": parameters});
        Ok(Written { losses, ..Written::json(&body) })
    }

    fn read(&self, _asked: &Asked, _content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let said = answer(body)?;
        // A picture that was filtered has no bytes; when all were, the answer is empty.
        let list = said["predictions"].as_array().map_or(&[][..], Vec::as_slice);
        let data: Vec<Value> = list
            .iter()
            .filter(|picture| picture["bytesBase64Encoded"].is_string())
            .map(|picture| json!({"b64_json": picture["bytesBase64Encoded"]}))
            .collect();
        let units = UnitUsage { images: data.len() as u64, ..UnitUsage::default() };
        Ok(Told::json(&json!({"created": 0, "data": data}), Skimmed { units, ..Skimmed::default() }))
    }
}
