//! Pictures as vendors take them that have no sizes, or not OpenAI's: by shape, by pixels, or by Google's `predict`.
//!
//! Invariant: a size that a client names is kept to as far as the vendor can, and what is not kept to is a [`Loss`] or refused.
//!
//! Facts: the reference of the Imagen models; xAI's of `images/generations` (`size` and `style` "not supported", `aspect_ratio`,
//! `quality`); Together's SDK (3.1.1, `ImageGenerateParams`); all read November 2026.

use bytes::Bytes;
use domain::usage::UnitUsage;
use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::plain::PLAIN;
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
const IMAGEN_SHAPES: &[(&str, &str)] = &[
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
            Some(size) => match IMAGEN_SHAPES.iter().find(|(known, _)| *known == size) {
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

// === OpenAI's form, but for the size ===

/// OpenAI's form with a shape in place of the size.
pub static SHAPES: Sized = Sized { says_shape: true };
/// OpenAI's form with width and height in place of the size.
pub static PIXELS: Sized = Sized { says_shape: false };

/// OpenAI's form, but for the size.
#[derive(Debug)]
pub struct Sized {
    says_shape: bool,
}

/// What only OpenAI's pictures have.
const OPENAIS: &[&str] =
    &["background", "moderation", "style", "output_compression", "partial_images", "input_fidelity"];
/// The shapes that xAI knows, and their width for a height of 1000.
const RATIOS: &[(&str, u64)] = &[
    ("1:1", 1000),
    ("3:4", 750),
    ("4:3", 1333),
    ("9:16", 563),
    ("16:9", 1778),
    ("2:3", 667),
    ("3:2", 1500),
    ("9:20", 450),
    ("20:9", 2222),
    ("1:2", 500),
    ("2:1", 2000),
];
/// Largest side of a picture.
const MAX_SIDE: u64 = 16_384;
const NO_SUCH: &str = "the provider has no such parameter";

impl Form for Sized {
    fn write(&self, call: &Call<'_>, model: &str, place: &Place) -> Result<Written, PrepareError> {
        let mut asked = object(call)?;
        let mut losses = Vec::new();
        if !place.has_model() {
            asked["model"] = model.into();
        }
        let Some(fields) = asked.as_object_mut() else { return Err(invalid("body", "must be a JSON object")) };
        for name in OPENAIS {
            if fields.shift_remove(*name).is_some_and(|value| !value.is_null() && value != "auto") {
                losses.push(Loss::dropped(*name, NO_SUCH));
            }
        }
        let size = fields.shift_remove("size");
        let size = size.as_ref().and_then(Value::as_str).filter(|size| *size != "auto");
        let wish = size.map(|size| {
            sides(size).ok_or_else(|| invalid("size", "must be auto, or width and height as in 1024x1024"))
        });
        let wish = wish.transpose()?;
        if self.says_shape {
            shape(fields, wish, &mut losses);
        } else {
            pixels(fields, wish, &mut losses);
        }
        Ok(Written { losses, ..Written::json(&asked) })
    }

    fn read(&self, asked: &Asked, content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        PLAIN.read(asked, content_type, body)
    }
}

/// Reads `1024x1536`.
fn sides(size: &str) -> Option<(u64, u64)> {
    let (width, height) = size.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    Some((side(width)?, side(height)?))
}

fn shape(fields: &mut Map<String, Value>, wish: Option<(u64, u64)>, losses: &mut Vec<Loss>) {
    match fields.get("quality").and_then(Value::as_str) {
        Some("auto" | "standard") => drop(fields.shift_remove("quality")),
        Some("hd") => {
            fields.insert("quality".to_owned(), "high".into());
        }
        _ => {}
    }
    if fields.shift_remove("output_format").is_some_and(|value| !value.is_null()) {
        losses.push(Loss::dropped("output_format", NO_SUCH));
    }
    let Some((width, height)) = wish else { return };
    let is_wanted = width * 1_000 / height;
    let nearest = RATIOS.iter().min_by_key(|(_, ratio)| ratio.abs_diff(is_wanted));
    if let Some((shape, _)) = nearest.filter(|_| !fields.contains_key("aspect_ratio")) {
        fields.insert("aspect_ratio".to_owned(), (*shape).into());
    }
    losses.push(Loss::changed("size", "the provider takes shapes, not sizes"));
}

fn pixels(fields: &mut Map<String, Value>, wish: Option<(u64, u64)>, losses: &mut Vec<Loss>) {
    for name in ["quality", "user"] {
        if fields.shift_remove(name).is_some_and(|value| !value.is_null() && value != "auto") {
            losses.push(Loss::dropped(name, NO_SUCH));
        }
    }
    if fields.get("output_format").is_some_and(|format| format != "png" && format != "jpeg") {
        fields.shift_remove("output_format");
        losses.push(Loss::dropped("output_format", "the provider makes png and jpeg"));
    }
    if fields.get("response_format").is_some_and(|format| format == "b64_json") {
        fields.insert("response_format".to_owned(), "base64".into());
    }
    if let Some((width, height)) = wish {
        for (name, side) in [("width", width), ("height", height)] {
            if !fields.contains_key(name) {
                fields.insert(name.to_owned(), side.into());
            }
        }
    }
}
