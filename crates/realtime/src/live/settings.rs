//! The settings of a session: read from the client's `session.update`, in either form, and said to Gemini as its `setup`.
//!
//! What a client could rely on and Gemini cannot do is refused; what only tunes the sound is named as dropped. Invariant: a
//! refused update changes nothing.

use serde_json::{Map, Value, json};

use super::Options;

/// OpenAI's sound in both directions, and what Gemini speaks; what it hears it resamples itself ("natively 16kHz, but the Live
/// API will resample if needed", <https://ai.google.dev/gemini-api/docs/live-api/capabilities>, read 24 November 2026).
pub(super) const RATE: u64 = 24_000;
/// The voices of OpenAI's models, which clients name by habit; Gemini has others and uses its own.
const VOICES: &str = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse";
/// What is read at the top of a session, in either form.
const READ: &[&str] = &[
    "type",
    "object",
    "id",
    "model",
    "audio",
    "instructions",
    "max_output_tokens",
    "max_response_output_tokens",
    "modalities",
    "output_modalities",
    "temperature",
    "tool_choice",
    "tools",
    "turn_detection",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
];

/// What is read of the detection of turns.
const READ_OF_DETECTION: &[&str] =
    &["type", "create_response", "interrupt_response", "prefix_padding_ms", "silence_duration_ms", "eagerness"];

/// Why an update is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsaid {
    /// What cannot be said.
    pub(super) param: String,
    /// Why, for people.
    pub(super) why: String,
}

/// When Gemini is to take a silence for the end of what the user says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detection {
    is_semantic: bool,
    prefix_padding_ms: Option<u64>,
    silence_duration_ms: Option<u64>,
    is_interrupting: bool,
    eagerness: Option<String>,
}

/// The settings of a session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    instructions: Option<String>,
    temperature: Option<f64>,
    max_output_tokens: Option<u64>,
    /// Answers are wanted written.
    pub(super) is_text: bool,
    voice: Option<String>,
    tools: Vec<Value>,
    is_without_tools: bool,
    /// `None` when the client says itself where a turn ends.
    pub(super) detection: Option<Detection>,
    is_transcribing: bool,
    input_rate: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instructions: None,
            temperature: None,
            max_output_tokens: None,
            is_text: false,
            voice: None,
            tools: Vec::new(),
            is_without_tools: false,
            detection: Some(Detection {
                is_semantic: false,
                prefix_padding_ms: None,
                silence_duration_ms: None,
                is_interrupting: true,
                eagerness: None,
            }),
            is_transcribing: false,
            input_rate: RATE,
        }
    }
}

impl Settings {
    /// Returns the settings with an update, and what of it is dropped.
    pub(super) fn with(&self, session: &Value) -> Result<(Self, Vec<String>), Unsaid> {
        let mut new = self.clone();
        let mut dropped = Vec::new();
        let Some(object) = session.as_object() else {
            return Err(unsaid("session", "it is no object"));
        };
        if session.get("type").is_some_and(|kind| kind != "realtime") {
            return Err(unsaid("session.type", "Gemini holds no sessions that only write down"));
        }
        if session.get("prompt").is_some_and(|prompt| !prompt.is_null()) {
            return Err(unsaid("session.prompt", "the prompt is kept at OpenAI; send its text as `instructions`"));
        }
        let others = object.iter().filter(|(name, value)| !value.is_null() && !READ.contains(&name.as_str()));
        dropped.extend(others.map(|(name, _)| format!("session.{name}")));
        new.read_text(session)?;
        new.read_tools(session)?;
        new.read_sound(session, &mut dropped)?;
        new.read_detection(session, &mut dropped)?;
        Ok((new, dropped))
    }

    fn read_text(&mut self, session: &Value) -> Result<(), Unsaid> {
        if let Some(instructions) = session.get("instructions") {
            self.instructions = instructions.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        }
        if let Some(temperature) = session.get("temperature") {
            self.temperature = temperature.as_f64();
        }
        if let Some((_, most)) = find(session, &["max_output_tokens"], "max_response_output_tokens") {
            // `inf` is no limit.
            self.max_output_tokens = most.as_u64();
        }
        if let Some((param, modalities)) = find(session, &["output_modalities"], "modalities") {
            let list: Vec<&str> = modalities.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if list.is_empty() || list.iter().any(|one| !matches!(*one, "text" | "audio")) {
                return Err(unsaid(&param, "it is a list of `text` or `audio`"));
            }
            self.is_text = !list.contains(&"audio");
        }
        Ok(())
    }

    fn read_tools(&mut self, session: &Value) -> Result<(), Unsaid> {
        if let Some(tools) = session.get("tools") {
            let tools = tools.as_array().cloned().unwrap_or_default();
            if tools.iter().any(|tool| tool.get("type").is_some_and(|kind| kind != "function")) {
                return Err(unsaid("session.tools", "Gemini calls functions alone in these sessions"));
            }
            if tools.iter().any(|tool| tool.get("name").and_then(Value::as_str).is_none()) {
                return Err(unsaid("session.tools", "a function has no name"));
            }
            self.tools = tools;
        }
        match session.get("tool_choice") {
            None | Some(Value::Null) => {}
            Some(choice) if choice == "auto" => self.is_without_tools = false,
            Some(choice) if choice == "none" => self.is_without_tools = true,
            Some(_) => {
                return Err(unsaid("session.tool_choice", "Gemini decides itself in these sessions: `auto` or `none`"));
            }
        }
        Ok(())
    }

    fn read_sound(&mut self, session: &Value, dropped: &mut Vec<String>) -> Result<(), Unsaid> {
        if let Some((param, format)) = find(session, &["audio", "input", "format"], "input_audio_format") {
            self.input_rate = rate(&param, format)?.unwrap_or(RATE);
        }
        if let Some((param, format)) = find(session, &["audio", "output", "format"], "output_audio_format")
            && rate(&param, format)?.is_some_and(|rate| rate != RATE)
        {
            return Err(unsaid(&param, "Gemini speaks at 24000 samples a second alone"));
        }
        if let Some((param, voice)) = find(session, &["audio", "output", "voice"], "voice") {
            self.voice = match voice.as_str() {
                Some(name) if VOICES.split(' ').any(|known| known == name) => {
                    dropped.push(param);
                    None
                }
                other => other.map(str::to_owned),
            };
        }
        if let Some((param, transcription)) =
            find(session, &["audio", "input", "transcription"], "input_audio_transcription")
        {
            self.is_transcribing = !transcription.is_null();
            // The session's own model writes down what it hears; which one, and how, cannot be said.
            let named = transcription.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            dropped.extend(named.map(|(name, _)| format!("{param}.{name}")));
        }
        let audio = session.get("audio");
        for (side, read) in
            [("input", ["format", "transcription", "turn_detection"].as_slice()), ("output", &["format", "voice"])]
        {
            let names = audio.and_then(|audio| audio.get(side)).and_then(Value::as_object).into_iter().flatten();
            let names = names.filter(|(name, value)| !value.is_null() && !read.contains(&name.as_str()));
            dropped.extend(names.map(|(name, _)| format!("session.audio.{side}.{name}")));
        }
        Ok(())
    }

    fn read_detection(&mut self, session: &Value, dropped: &mut Vec<String>) -> Result<(), Unsaid> {
        let Some((param, detection)) = find(session, &["audio", "input", "turn_detection"], "turn_detection") else {
            return Ok(());
        };
        let Some(detection) = detection.as_object() else {
            self.detection = None;
            return Ok(());
        };
        if detection.get("create_response") == Some(&Value::Bool(false)) {
            let why = "Gemini answers whenever it hears the end of speech; to ask for answers yourself, set it to null";
            return Err(unsaid(&format!("{param}.create_response"), why));
        }
        let others =
            detection.iter().filter(|(name, value)| !value.is_null() && !READ_OF_DETECTION.contains(&name.as_str()));
        dropped.extend(others.map(|(name, _)| format!("{param}.{name}")));
        let number = |name: &str| detection.get(name).and_then(Value::as_u64);
        self.detection = Some(Detection {
            is_semantic: detection.get("type").is_some_and(|kind| kind == "semantic_vad"),
            prefix_padding_ms: number("prefix_padding_ms"),
            silence_duration_ms: number("silence_duration_ms"),
            is_interrupting: detection.get("interrupt_response") != Some(&Value::Bool(false)),
            eagerness: detection.get("eagerness").and_then(Value::as_str).map(str::to_owned),
        });
        Ok(())
    }

    /// The form of what is heard, for Gemini.
    pub(super) fn mime_type(&self) -> String {
        format!("audio/pcm;rate={}", self.input_rate)
    }

    /// Milliseconds of so many bytes of what is heard: sixteen bits a sample.
    pub(super) fn milliseconds(&self, n_bytes: u64) -> u64 {
        n_bytes.saturating_mul(500) / self.input_rate.max(1)
    }

    /// Gemini's first message.
    pub(super) fn setup(&self, model: &str) -> Value {
        // Every model of these sessions speaks, and none writes instead (pages of the models, read 24 November 2026); what is
        // to be read is what was said.
        let mut generation = json!({"responseModalities": ["AUDIO"]});
        if let Some(temperature) = self.temperature {
            generation["temperature"] = temperature.into();
        }
        if let Some(most) = self.max_output_tokens {
            generation["maxOutputTokens"] = most.into();
        }
        if let Some(voice) = &self.voice {
            generation["speechConfig"] = json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}});
        }
        let mut setup = json!({"model": format!("models/{model}"), "generationConfig": generation,
            "outputAudioTranscription": {}, "realtimeInputConfig": self.realtime_input()});
        if let Some(text) = &self.instructions {
            setup["systemInstruction"] = json!({"parts": [{"text": text}]});
        }
        if !self.tools.is_empty() && !self.is_without_tools {
            let declarations: Vec<Value> = self.tools.iter().map(declaration).collect();
            setup["tools"] = json!([{"functionDeclarations": declarations}]);
        }
        if self.is_transcribing {
            setup["inputAudioTranscription"] = json!({});
        }
        setup
    }

    fn realtime_input(&self) -> Value {
        let Some(detection) = &self.detection else {
            return json!({"automaticActivityDetection": {"disabled": true}});
        };
        let mut automatic = Map::new();
        if let Some(padding) = detection.prefix_padding_ms {
            automatic.insert("prefixPaddingMs".to_owned(), padding.into());
        }
        if let Some(silence) = detection.silence_duration_ms {
            automatic.insert("silenceDurationMs".to_owned(), silence.into());
        }
        let sensitivity = match detection.eagerness.as_deref() {
            Some("low") => Some("END_SENSITIVITY_LOW"),
            Some("high") => Some("END_SENSITIVITY_HIGH"),
            _ => None,
        };
        if let Some(sensitivity) = sensitivity {
            automatic.insert("endOfSpeechSensitivity".to_owned(), sensitivity.into());
        }
        let mut input = json!({"automaticActivityDetection": automatic});
        if !detection.is_interrupting {
            input["activityHandling"] = "NO_INTERRUPTION".into();
        }
        input
    }

    /// The session's object, in the client's form.
    pub(super) fn view(&self, options: &Options) -> Value {
        let detection = self.detection.as_ref().map_or(Value::Null, |detection| {
            let kind = if detection.is_semantic { "semantic_vad" } else { "server_vad" };
            json!({"type": kind, "prefix_padding_ms": detection.prefix_padding_ms,
                "silence_duration_ms": detection.silence_duration_ms, "create_response": true,
                "interrupt_response": detection.is_interrupting, "eagerness": detection.eagerness})
        });
        let transcription = if self.is_transcribing { json!({"model": options.model}) } else { Value::Null };
        let most = self.max_output_tokens.map_or(Value::from("inf"), Value::from);
        let choice = if self.is_without_tools { "none" } else { "auto" };
        let id = format!("sess_{}", options.name);
        let instructions = self.instructions.as_deref().unwrap_or_default();
        let modalities = self.modalities(options.is_beta);
        if options.is_beta {
            return json!({"object": "realtime.session", "id": id, "model": options.model, "modalities": modalities,
                "instructions": instructions, "voice": self.voice, "input_audio_format": "pcm16",
                "output_audio_format": "pcm16", "input_audio_transcription": transcription,
                "turn_detection": detection, "tools": self.tools, "tool_choice": choice,
                "temperature": self.temperature, "max_response_output_tokens": most});
        }
        json!({"type": "realtime", "object": "realtime.session", "id": id, "model": options.model,
            "output_modalities": modalities, "instructions": instructions, "tools": self.tools, "tool_choice": choice,
            "max_output_tokens": most, "audio": {
                "input": {"format": {"type": "audio/pcm", "rate": self.input_rate}, "transcription": transcription,
                    "noise_reduction": null, "turn_detection": detection},
                "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": self.voice}}})
    }

    pub(super) fn modalities(&self, is_beta: bool) -> Value {
        match (self.is_text, is_beta) {
            (true, _) => json!(["text"]),
            (false, true) => json!(["text", "audio"]),
            (false, false) => json!(["audio"]),
        }
    }
}

/// A function as Gemini declares it. It waits for the result, as OpenAI's sessions do; newer models would talk on otherwise
/// (`behavior`, <https://ai.google.dev/gemini-api/docs/models/gemini-3.8-live>, read 24 November 2026).
fn declaration(tool: &Value) -> Value {
    let mut declaration = json!({"name": tool["name"], "behavior": "BLOCKING"});
    if let Some(about) = tool.get("description").filter(|about| about.is_string()) {
        declaration["description"] = about.clone();
    }
    if let Some(schema) = tool.get("parameters").filter(|schema| schema.as_object().is_some_and(|it| !it.is_empty())) {
        declaration["parametersJsonSchema"] = schema.clone();
    }
    declaration
}

/// Finds a setting where the newer API says it, else where the older one does, and what it is called there.
fn find<'a>(session: &'a Value, newer: &[&str], older: &str) -> Option<(String, &'a Value)> {
    let value = newer.iter().try_fold(session, |value, name| value.get(name));
    match value {
        Some(value) => Some((format!("session.{}", newer.join(".")), value)),
        None => session.get(older).map(|value| (format!("session.{older}"), value)),
    }
}

/// The samples a second of a form of sound; `None` when it says none.
fn rate(param: &str, format: &Value) -> Result<Option<u64>, Unsaid> {
    let kind = format.as_str().or_else(|| format.get("type").and_then(Value::as_str));
    match kind {
        _ if format.is_null() => Ok(None),
        Some("pcm16") => Ok(None),
        Some("audio/pcm") => match format.get("rate").map(Value::as_u64) {
            None => Ok(None),
            Some(Some(rate @ 8_000..=192_000)) => Ok(Some(rate)),
            Some(_) => Err(unsaid(param, "its rate is no number of samples a second")),
        },
        _ => Err(unsaid(param, "Gemini hears and speaks 16-bit PCM alone: `audio/pcm`, or `pcm16` in the older API")),
    }
}

fn unsaid(param: &str, why: &str) -> Unsaid {
    Unsaid { param: param.to_owned(), why: why.to_owned() }
}
