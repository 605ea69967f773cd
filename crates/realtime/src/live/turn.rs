//! A response from its beginning to its end, in the order in which OpenAI says it.

use serde_json::{Value, json};

use super::Live;

/// What a piece of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Written.
    Text,
    /// Sound, in base64.
    Audio,
    /// What the sound says.
    Transcript,
}

/// A response under way.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) id: String,
    metadata: Value,
    /// The items that are done.
    output: Vec<Value>,
    message: Option<Said>,
    /// All was generated; Gemini waits until it could have been heard.
    pub(super) is_complete: bool,
    /// Why it was cut.
    pub(super) cancelled: Option<&'static str>,
    /// Gemini has said that it was.
    pub(super) is_interrupted: bool,
}

/// The message that is being said.
#[derive(Debug)]
struct Said {
    item: String,
    parts: Vec<Words>,
}

/// One part of it.
#[derive(Debug)]
struct Words {
    is_audio: bool,
    /// The text, or what the sound says.
    text: String,
}

impl Turn {
    /// Whether nothing more may be asked for while it runs.
    pub(super) fn is_busy(&self) -> bool {
        !self.is_complete || self.cancelled.is_some()
    }

    fn place(&self, item: &str, part: usize) -> Value {
        json!({"response_id": self.id, "item_id": item, "output_index": self.output.len(), "content_index": part})
    }
}

impl Live {
    /// Begins a response, unless one is under way.
    pub(super) fn begin_turn(&mut self) {
        if self.turn.is_some() {
            return;
        }
        if self.settings.detection.is_some() {
            self.commit_sound();
        }
        self.hearing.is_flushed = false;
        let id = self.id("resp");
        let metadata = self.asked.take().unwrap_or_default().metadata;
        let turn = Turn {
            id,
            metadata,
            output: Vec::new(),
            message: None,
            is_complete: false,
            cancelled: None,
            is_interrupted: false,
        };
        let response = self.response(&turn, "in_progress", &Value::Null, &Value::Null);
        self.turn = Some(turn);
        self.say("response.created", json!({"response": response}));
        let early = std::mem::take(&mut self.hearing.early);
        if !early.is_empty() {
            self.transcript(&early);
        }
    }

    fn response(&self, turn: &Turn, status: &str, details: &Value, usage: &Value) -> Value {
        let name = if self.options.is_beta { "modalities" } else { "output_modalities" };
        json!({"object": "realtime.response", "id": turn.id, "status": status, "status_details": details,
            "output": turn.output, "metadata": turn.metadata, "usage": usage,
            name: self.settings.modalities(self.options.is_beta)})
    }

    /// Says a piece of the answer.
    pub(super) fn delta(&mut self, kind: Kind, delta: &str) {
        let is_audio = kind != Kind::Text;
        let (item, part) = self.open_part(is_audio);
        let Some(turn) = &mut self.turn else { return };
        let mut fields = turn.place(&item, part);
        fields["delta"] = delta.into();
        if kind != Kind::Audio
            && let Some(words) = turn.message.as_mut().and_then(|said| said.parts.get_mut(part))
        {
            words.text.push_str(delta);
        }
        let name = match kind {
            Kind::Text => "response.output_text.delta",
            Kind::Audio => "response.output_audio.delta",
            Kind::Transcript => "response.output_audio_transcript.delta",
        };
        self.say(name, fields);
    }

    /// Finds the part for a piece, and announces what is new on the way.
    fn open_part(&mut self, is_audio: bool) -> (String, usize) {
        if self.turn.as_ref().is_some_and(|turn| turn.message.is_none()) {
            let item = self.id("item");
            let previous = self.follow(&item);
            let opened = message(&item, "in_progress", &json!([]));
            if let Some(turn) = &mut self.turn {
                turn.message = Some(Said { item, parts: Vec::new() });
            }
            self.add_item(&opened, &previous);
        }
        let is_beta = self.options.is_beta;
        let Some(turn) = &mut self.turn else { return Default::default() };
        let Some(said) = &mut turn.message else { return Default::default() };
        let item = said.item.clone();
        if let Some(part) = said.parts.iter().position(|part| part.is_audio == is_audio) {
            return (item, part);
        }
        let words = Words { is_audio, text: String::new() };
        let shown = words.show(is_beta);
        said.parts.push(words);
        let part = said.parts.len() - 1;
        let mut fields = turn.place(&item, part);
        fields["part"] = shown;
        self.say("response.content_part.added", fields);
        (item, part)
    }

    fn add_item(&mut self, item: &Value, previous: &Value) {
        let Some(turn) = &self.turn else { return };
        let fields = json!({"response_id": turn.id, "output_index": turn.output.len(), "item": item});
        self.say("response.output_item.added", fields);
        self.say("conversation.item.added", json!({"previous_item_id": previous, "item": item}));
    }

    fn finish_item(&mut self, item: &Value) {
        let Some(turn) = &mut self.turn else { return };
        let fields = json!({"response_id": turn.id, "output_index": turn.output.len(), "item": item});
        turn.output.push(item.clone());
        self.say("response.output_item.done", fields);
        self.say("conversation.item.done", json!({"item": item}));
    }

    /// Ends the message under way, if there is one.
    pub(super) fn close_message(&mut self, status: &str) {
        let is_beta = self.options.is_beta;
        let Some(said) = self.turn.as_mut().and_then(|turn| turn.message.take()) else { return };
        for (n, words) in said.parts.iter().enumerate() {
            let Some(place) = self.turn.as_ref().map(|turn| turn.place(&said.item, n)) else { return };
            let with = |name: &str, value: Value| {
                let mut fields = place.clone();
                fields[name] = value;
                fields
            };
            if words.is_audio {
                self.say("response.output_audio.done", place.clone());
                let fields = with("transcript", words.text.as_str().into());
                self.say("response.output_audio_transcript.done", fields);
            } else {
                self.say("response.output_text.done", with("text", words.text.as_str().into()));
            }
            self.say("response.content_part.done", with("part", words.show(is_beta)));
        }
        let content = said.parts.iter().map(|words| words.show(is_beta)).collect();
        self.finish_item(&message(&said.item, status, &content));
    }

    /// Shows a call of a tool, which comes whole.
    pub(super) fn show_call(&mut self, call: &str, name: &str, arguments: &str) {
        let item = self.id("item");
        let previous = self.follow(&item);
        let shown = |status: &str, arguments: &str| {
            json!({"id": item, "object": "realtime.item", "type": "function_call", "status": status,
                "call_id": call, "name": name, "arguments": arguments})
        };
        self.add_item(&shown("in_progress", ""), &previous);
        let Some(turn) = &self.turn else { return };
        let place =
            json!({"response_id": turn.id, "item_id": item, "output_index": turn.output.len(), "call_id": call});
        let mut fields = place.clone();
        fields["delta"] = arguments.into();
        self.say("response.function_call_arguments.delta", fields);
        let mut fields = place;
        (fields["name"], fields["arguments"]) = (name.into(), arguments.into());
        self.say("response.function_call_arguments.done", fields);
        self.finish_item(&shown("completed", arguments));
    }

    /// Cuts the response: nothing more of it is shown. It ends when Gemini has said what it used.
    pub(super) fn cut_turn(&mut self, reason: &'static str) {
        if let Some(turn) = &mut self.turn {
            turn.cancelled.get_or_insert(reason);
            self.close_message("incomplete");
        }
    }

    /// Ends the response; one that was cut is cancelled, whatever else is said of it.
    pub(super) fn end_turn(&mut self, status: &str) {
        let cancelled = self.turn.as_ref().and_then(|turn| turn.cancelled);
        let (status, details) = match (cancelled, status) {
            (Some(reason), _) => ("cancelled", json!({"type": "cancelled", "reason": reason})),
            (None, "content_filter") => ("incomplete", json!({"type": "incomplete", "reason": "content_filter"})),
            (None, "failed") => {
                let error = json!({"type": "server_error", "code": "upstream_error"});
                ("failed", json!({"type": "failed", "error": error}))
            }
            (None, other) => (other, Value::Null),
        };
        self.close_message(if status == "completed" { "completed" } else { "incomplete" });
        let usage = self.used.tell();
        let Some(turn) = self.turn.take() else { return };
        let response = self.response(&turn, status, &details, &usage);
        self.say("response.done", json!({"response": response}));
    }
}

impl Words {
    fn show(&self, is_beta: bool) -> Value {
        match (self.is_audio, is_beta) {
            (true, false) => json!({"type": "output_audio", "transcript": self.text}),
            (true, true) => json!({"type": "audio", "transcript": self.text}),
            (false, false) => json!({"type": "output_text", "text": self.text}),
            (false, true) => json!({"type": "text", "text": self.text}),
        }
    }
}

fn message(item: &str, status: &str, content: &Value) -> Value {
    json!({"id": item, "object": "realtime.item", "type": "message", "status": status, "role": "assistant", "content": content})
}
