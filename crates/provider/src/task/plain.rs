//! Operations that an upstream takes in OpenAI's own form: the client's bytes with another model.
//!
//! Invariant: but for the model, what the client sent is what is sent.

use bytes::Bytes;
use domain::image::ImageKind;
use domain::usage::UnitUsage;
use http::HeaderValue;
use serde_json::Value;

use super::multipart::{self, FormData};
use super::{Asked, Form, JSON, Sound, Task, Told, Written, answer, invalid};
use crate::provider::{Call, Operation, Place, PrepareError};
use crate::scan::Patch;
use crate::skim::{Count, Skimmed, count_of};
use llm::canonical::error::DecodeError;
use llm::dialect::Dialect;

/// The client's own form.
#[derive(Debug)]
pub(super) struct Plain;

/// The client's own form.
pub(super) static PLAIN: Plain = Plain;

impl Form for Plain {
    fn write(&self, call: &Call<'_>, model: &str, place: &Place) -> Result<Written, PrepareError> {
        let (body, content_type) = if multipart::is_form(call.body) {
            let form = multipart::parse(call.body).map_err(|error| invalid("body", &error.to_string()))?;
            let body = if place.has_model() { call.body.clone() } else { form.with_field("model", "model", model) };
            (body, form.content_type())
        } else {
            let mut patch = Patch::default();
            if !place.has_model() {
                call.scan.set_model(&mut patch, model);
            }
            (patch.apply(call.body), JSON)
        };
        Ok(Written { body, content_type, address: None, query: None, losses: Vec::new() })
    }

    fn read(&self, asked: &Asked, content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let mut found = asked.known();
        if content_type.as_bytes().starts_with(b"application/json") {
            let said = answer(body)?;
            read_said(asked.operation, &said, &mut found);
        }
        Ok(Told { body: body.clone(), content_type: content_type.clone(), found })
    }

    fn known(&self, asked: &Asked) -> Skimmed {
        let mut found = Skimmed::default();
        match asked.operation {
            Operation::Task(Task::Speech) => found.units.characters = characters(&asked.value()["input"]),
            Operation::Task(Task::Transcription | Task::Translation) => heard(&asked.body, "file", &mut found),
            _ => {}
        }
        found
    }
}

/// Counts what is to be spoken.
pub(super) fn characters(input: &Value) -> u64 {
    input.as_str().map_or(0, |text| text.chars().count() as u64)
}

/// Notes how long the recording in a form is.
pub(super) fn heard(body: &[u8], field: &str, found: &mut Skimmed) {
    let Ok(form) = multipart::parse(body) else { return };
    let Some(file) = form.file(field) else { return };
    let sound = Sound::of(FormData::value(&form, file));
    found.units.audio_ms = sound.ms;
    found.is_guessed = !sound.is_exact;
}

fn read_said(operation: Operation, said: &Value, found: &mut Skimmed) {
    let usage = &said["usage"];
    match operation {
        Operation::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => {
            let images = said["data"].as_array().map_or(0, |list| list.len() as u64);
            found.units = UnitUsage { images, ..UnitUsage::default() };
            let kind = ImageKind::of(said["size"].as_str(), said["quality"].as_str());
            found.image = Some(Box::new(kind));
        }
        Operation::Task(Task::Transcription | Task::Translation) => {
            if let Some(seconds) = usage["seconds"].as_f64().or_else(|| said["duration"].as_f64()) {
                found.units.audio_ms = millis(seconds);
                found.is_guessed = false;
            }
        }
        _ => {}
    }
    // Their pictures and recordings are counted with the names of responses.
    let text = usage.to_string();
    let count =
        count_of(Dialect::OpenAiResponses, text.as_bytes()).or_else(|| count_of(Dialect::OpenAiChat, text.as_bytes()));
    if let Some(Count { tokens, modal, .. }) = count {
        found.usage = Some(tokens);
        found.note_modal(modal);
        // The upstream counted; what we worked out beside it is not billed by token prices.
        found.is_guessed &= usage["seconds"].is_null() && usage["input_tokens"].is_null();
    }
}

/// Turns a vendor's seconds into milliseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded to a year just before")]
pub(super) fn millis(seconds: f64) -> u64 {
    (seconds.clamp(0.0, 31_536_000.0) * 1_000.0).round() as u64
}
