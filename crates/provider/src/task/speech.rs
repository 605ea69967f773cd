//! Speech in the forms of `ElevenLabs` and Deepgram.
//!
//! Facts: the vendors' API references and SDK types (elevenlabs 2.60, deepgram-sdk 7.7), read November 2026. Invariant: of a
//! client's words only a checked voice becomes part of an address.

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::multipart::{self, FormData};
use super::plain::{characters, heard, millis};
use super::{Asked, Form, Told, Written, answer, invalid, object, text, unknown_fields};
use crate::provider::{Call, Operation, Place, PrepareError};
use crate::skim::Skimmed;
use llm::canonical::error::DecodeError;
use llm::canonical::loss::Loss;

const SPOKEN: &[&str] = &["model", "input", "voice", "response_format", "speed", "stream_format"];
const NO_SUCH: &str = "the provider knows no such parameter";

/// A vendor's form.
#[derive(Debug)]
pub struct Voice(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `ElevenLabs`: text into speech, the voice in the address.
    TextToSpeech,
    /// `ElevenLabs`: speech into text, a form of files.
    SpeechToText,
    /// Deepgram: text into speech, the model is the voice.
    Speak,
    /// Deepgram: speech into text, the bare recording.
    Listen,
}

/// `ElevenLabs` speech.
pub static TEXT_TO_SPEECH: Voice = Voice(Kind::TextToSpeech);
/// `ElevenLabs` transcriptions.
pub static SPEECH_TO_TEXT: Voice = Voice(Kind::SpeechToText);
/// Deepgram's speech.
pub static SPEAK: Voice = Voice(Kind::Speak);
/// Deepgram's transcriptions.
pub static LISTEN: Voice = Voice(Kind::Listen);

impl Form for Voice {
    fn write(&self, call: &Call<'_>, model: &str, _place: &Place) -> Result<Written, PrepareError> {
        match self.0 {
            Kind::TextToSpeech => text_to_speech(call, model),
            Kind::Speak => speak(call),
            Kind::SpeechToText => {
                let form = form(call)?;
                let body = form.with_field("model", "model_id", model);
                let losses = lost(&form, &["model", "file", "language", "response_format", "temperature", "stream"]);
                let renamed = multipart::parse(&body).map_err(|error| invalid("body", &error.to_string()))?;
                let body = match renamed.text("language").map(str::to_owned) {
                    Some(language) => renamed.with_field("language", "language_code", &language),
                    None => body.clone(),
                };
                Ok(Written { body, content_type: form.content_type(), address: None, query: None, losses })
            }
            Kind::Listen => listen(call),
        }
    }

    fn read(&self, asked: &Asked, content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let mut found = self.known(asked);
        let is_json = content_type.as_bytes().starts_with(b"application/json");
        if matches!(self.0, Kind::TextToSpeech | Kind::Speak) {
            return Ok(Told { body: body.clone(), content_type: content_type.clone(), found });
        }
        if !is_json {
            return Err(DecodeError::Truncated);
        }
        let said = answer(body)?;
        let heard = if self.0 == Kind::Listen { listened(&said) } else { transcribed(&said) };
        let heard = heard.ok_or(DecodeError::Truncated)?;
        if let Some(seconds) = heard.seconds {
            found.units.audio_ms = millis(seconds);
            found.is_guessed = false;
        }
        Ok(written(asked, &heard, found))
    }

    fn known(&self, asked: &Asked) -> Skimmed {
        let mut found = Skimmed::default();
        match self.0 {
            Kind::TextToSpeech | Kind::Speak => found.units.characters = characters(&asked.value()["input"]),
            Kind::SpeechToText | Kind::Listen => heard(&asked.body, "file", &mut found),
        }
        found
    }
}

// === Text into speech ===

fn text_to_speech(call: &Call<'_>, model: &str) -> Result<Written, PrepareError> {
    let asked = object(call)?;
    let voice = text(&asked, "voice")?;
    let is_id = (8..=64).contains(&voice.len()) && voice.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_id {
        return Err(invalid("voice", "must be the id of a voice of the provider's account"));
    }
    let format = match asked["response_format"].as_str().unwrap_or("mp3") {
        "mp3" => "mp3_44100_128",
        "opus" => "opus_48000_64",
        "pcm" => "pcm_24000",
        _ => return Err(invalid("response_format", "must be mp3, opus or pcm")),
    };
    let mut body = json!({"text": text(&asked, "input")?, "model_id": model});
    if let Some(speed) = asked["speed"].as_f64() {
        body["voice_settings"] = json!({"speed": speed});
    }
    Ok(Written {
        address: Some(voice.to_owned()),
        query: Some(format!("output_format={format}")),
        losses: unknown_fields(&asked, SPOKEN, NO_SUCH),
        ..Written::json(&body)
    })
}

fn speak(call: &Call<'_>) -> Result<Written, PrepareError> {
    let asked = object(call)?;
    let query = match asked["response_format"].as_str().unwrap_or("mp3") {
        "mp3" => "encoding=mp3",
        "opus" => "encoding=opus",
        "flac" => "encoding=flac",
        "aac" => "encoding=aac",
        "wav" => "encoding=linear16&container=wav",
        "pcm" => "encoding=linear16&container=none",
        _ => return Err(invalid("response_format", "must be mp3, opus, flac, aac, wav or pcm")),
    };
    let mut losses = unknown_fields(&asked, SPOKEN, NO_SUCH);
    losses.push(Loss::dropped("voice", "the provider's model is the voice"));
    if !asked["speed"].is_null() {
        losses.push(Loss::dropped("speed", NO_SUCH));
    }
    let body = json!({"text": text(&asked, "input")?});
    Ok(Written { query: Some(query.to_owned()), losses, ..Written::json(&body) })
}

// === Speech into text ===

fn form<'c>(call: &Call<'c>) -> Result<FormData<'c>, PrepareError> {
    let form = multipart::parse(call.body).map_err(|error| invalid("body", &error.to_string()))?;
    if form.file("file").is_none() {
        return Err(invalid("file", "is required"));
    }
    match form.text("response_format") {
        None | Some("json" | "text" | "verbose_json") => Ok(form),
        Some(_) => Err(invalid("response_format", "must be json, text or verbose_json with this provider")),
    }
}

fn lost(form: &FormData<'_>, known: &[&str]) -> Vec<Loss> {
    let names = form.parts.iter().map(|part| part.name);
    names.filter(|name| !known.contains(name)).map(|name| Loss::dropped(name, NO_SUCH)).collect()
}

fn listen(call: &Call<'_>) -> Result<Written, PrepareError> {
    let form = form(call)?;
    let Some(file) = form.file("file") else { return Err(invalid("file", "is required")) };
    let value = form.value(file);
    let query = match form.text("language") {
        Some(language) => format!("smart_format=true&language={}", utf8_percent_encode(language, NON_ALPHANUMERIC)),
        None => "smart_format=true&detect_language=true".to_owned(),
    };
    let kind = file.content_type.and_then(|kind| HeaderValue::from_str(kind).ok());
    Ok(Written {
        body: call.body.slice_ref(value),
        content_type: kind.unwrap_or(HeaderValue::from_static("application/octet-stream")),
        address: None,
        query: Some(query),
        losses: lost(&form, &["model", "file", "language", "response_format", "stream"]),
    })
}

/// What was heard.
struct Heard<'a> {
    text: &'a str,
    language: Option<&'a str>,
    seconds: Option<f64>,
    words: Vec<Value>,
}

fn word(word: &Value, text: &str) -> Value {
    json!({"word": word[text], "start": word["start"], "end": word["end"]})
}

fn listened(said: &Value) -> Option<Heard<'_>> {
    let channel = said["results"]["channels"].as_array()?.first()?;
    let best = channel["alternatives"].as_array()?.first()?;
    Some(Heard {
        text: best["transcript"].as_str()?,
        language: channel["detected_language"].as_str(),
        seconds: said["metadata"]["duration"].as_f64(),
        words: best["words"].as_array().into_iter().flatten().map(|one| word(one, "word")).collect(),
    })
}

fn transcribed(said: &Value) -> Option<Heard<'_>> {
    let words = said["words"].as_array().into_iter().flatten();
    Some(Heard {
        text: said["text"].as_str()?,
        language: said["language_code"].as_str(),
        seconds: said["audio_duration_secs"].as_f64(),
        words: words.filter(|one| one["type"] == "word").map(|one| word(one, "text")).collect(),
    })
}

fn written(asked: &Asked, heard: &Heard<'_>, found: Skimmed) -> Told {
    let form = multipart::parse(&asked.body).ok();
    let field = |name| form.as_ref().and_then(|form| form.text(name));
    // Neither vendor streams: who asked for events gets what there is in two of them.
    if field("stream") == Some("true") {
        let delta = json!({"type": "transcript.text.delta", "delta": heard.text});
        let done = json!({"type": "transcript.text.done", "text": heard.text});
        return Told {
            body: Bytes::from(format!("data: {delta}\n\ndata: {done}\n\n")),
            content_type: HeaderValue::from_static("text/event-stream"),
            found,
        };
    }
    match field("response_format") {
        Some("text") => Told {
            body: Bytes::from(format!("{}\n", heard.text)),
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
            found,
        },
        Some("verbose_json") => {
            let task =
                if asked.operation == Operation::Task(super::Task::Translation) { "translate" } else { "transcribe" };
            let seconds = heard.seconds.map_or(Value::Null, Into::into);
            let body = json!({"task": task, "language": heard.language, "duration": seconds, "text": heard.text, "words": heard.words});
            Told::json(&body, found)
        }
        _ => Told::json(&json!({"text": heard.text}), found),
    }
}
