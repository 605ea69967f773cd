//! What the client says, as messages for Gemini.
//!
//! Written items wait for the turn that they are for, because Gemini takes any such message for an interruption. Sound goes on
//! at once. Invariant: an event is either acted on or answered with an `error` that names it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::settings::RATE;
use super::turn::Turn;
use super::{Asked, Call, Live, MOST_CALLS, MOST_PENDING, Origin, Out, Stage};

/// Why an event is not acted on.
struct No {
    code: &'static str,
    message: String,
    param: Option<String>,
}

fn no(code: &'static str, message: impl Into<String>) -> No {
    No { code, message: message.into(), param: None }
}

impl No {
    fn of(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }
}

/// Something the client could say to OpenAI and that Gemini cannot be told.
const UNSUPPORTED: &str = "unsupported_by_upstream";

impl Live {
    /// Reads one event of the client's.
    pub(crate) fn client_said(&mut self, text: &str) {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        if let Err(No { code, message, param }) = self.hear(&event) {
            let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": param,
                "event_id": event["event_id"]});
            self.say("error", json!({"error": error}));
        }
    }

    fn hear(&mut self, event: &Value) -> Result<(), No> {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => self.update(&event["session"]),
            "input_audio_buffer.append" => self.append(event["audio"].as_str().unwrap_or_default()),
            "input_audio_buffer.commit" => self.commit(),
            "input_audio_buffer.clear" => self.clear(),
            "conversation.item.create" => self.create_item(event),
            "response.create" => self.create_response(&event["response"]),
            "response.cancel" => self.cancel(event["response_id"].as_str()),
            other => {
                let message =
                    format!("Gemini's sessions have nothing like `{}`", other.chars().take(64).collect::<String>());
                Err(no("unknown_event", message).of("type"))
            }
        }
    }

    fn update(&mut self, session: &Value) -> Result<(), No> {
        let (new, dropped) =
            self.settings.with(session).map_err(|unsaid| no(UNSUPPORTED, unsaid.why).of(unsaid.param))?;
        let model = &self.options.model;
        if self.stage != Stage::Open && new.setup(model) != self.settings.setup(model) {
            let message =
                "Gemini takes a session's settings once, before the first word; open another session for others";
            return Err(no("session_settings_fixed", message).of("session"));
        }
        self.settings = new;
        let session = self.view();
        self.say("session.updated", json!({"session": session, "headgate": {"dropped": dropped}}));
        Ok(())
    }

    // === Sound ===

    fn append(&mut self, audio: &str) -> Result<(), No> {
        // Gemini would end the session.
        let n_bytes =
            STANDARD.decode(audio).map_err(|_| no("invalid_value", "the sound is not base64").of("audio"))?.len();
        if self.turn.is_none() {
            self.flush(false);
        }
        if self.settings.detection.is_none() && !std::mem::replace(&mut self.hearing.is_active, true) {
            self.send(json!({"realtimeInput": {"activityStart": {}}}));
        }
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        self.hearing.n_bytes = self.hearing.n_bytes.saturating_add(n_bytes);
        self.hearing.n_fresh = self.hearing.n_fresh.saturating_add(n_bytes);
        self.hearing.is_flushed = false;
        let mime_type = self.settings.mime_type();
        self.send(json!({"realtimeInput": {"audio": {"data": audio, "mimeType": mime_type}}}));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), No> {
        if self.hearing.n_fresh == 0 {
            return Err(no("input_audio_buffer_commit_empty", "no sound was sent since the last item"));
        }
        if self.settings.detection.is_some() {
            // What ends the user's turn for it; without detection the client does, when it asks for an answer.
            self.send(json!({"realtimeInput": {"audioStreamEnd": true}}));
            self.hearing.is_flushed = true;
        }
        self.commit_sound();
        Ok(())
    }

    fn clear(&mut self) -> Result<(), No> {
        if self.hearing.n_fresh > 0 {
            let message = "Gemini hears sound as it is sent, and what it has heard cannot be taken back";
            return Err(no(UNSUPPORTED, message));
        }
        self.say("input_audio_buffer.cleared", json!({}));
        Ok(())
    }

    // === Items ===

    fn create_item(&mut self, event: &Value) -> Result<(), No> {
        let item = &event["item"];
        if let Some(previous) = event["previous_item_id"].as_str()
            && self.last_item.as_deref() != Some(previous)
        {
            let message = "Gemini's conversations grow at their end alone; leave `previous_item_id` out";
            return Err(no(UNSUPPORTED, message).of("previous_item_id"));
        }
        match item["type"].as_str().unwrap_or("message") {
            "message" => {
                let content = content_of(item)?;
                self.hold(content, item.to_string().len())?;
            }
            "function_call" => {
                let args: Map<String, Value> =
                    serde_json::from_str(item["arguments"].as_str().unwrap_or("{}")).unwrap_or_default();
                let call = json!({"id": item["call_id"], "name": item["name"], "args": args});
                let (id, name) = (item["call_id"].as_str(), item["name"].as_str());
                let (Some(id), Some(name)) = (id, name) else {
                    return Err(no("invalid_value", "a call has no `call_id` or no `name`").of("item"));
                };
                // Of a conversation that was held before; its result follows as an item.
                self.note_past_call(id, name);
                self.hold(json!({"role": "model", "parts": [{"functionCall": call}]}), item.to_string().len())?;
            }
            "function_call_output" => self.take_result(item)?,
            other => {
                let message =
                    format!("Gemini's sessions have no items of type `{}`", other.chars().take(64).collect::<String>());
                return Err(no(UNSUPPORTED, message).of("item.type"));
            }
        }
        self.show_item(item);
        Ok(())
    }

    fn show_item(&mut self, item: &Value) {
        let mut item = item.clone();
        if item["id"].is_null() {
            item["id"] = self.id("item").into();
        }
        (item["object"], item["status"]) = ("realtime.item".into(), "completed".into());
        let id = item["id"].as_str().unwrap_or_default().to_owned();
        let previous = self.follow(&id);
        self.say("conversation.item.added", json!({"previous_item_id": previous, "item": item}));
        self.say("conversation.item.done", json!({"previous_item_id": previous, "item": item}));
    }

    /// Keeps an item until the next turn.
    fn hold(&mut self, content: Value, n_bytes: usize) -> Result<(), No> {
        if self.pending_bytes.saturating_add(n_bytes) > MOST_PENDING {
            return Err(no("request_too_large", "too many items wait for a turn; ask for a response first").of("item"));
        }
        self.pending_bytes += n_bytes;
        self.pending.push(content);
        Ok(())
    }

    fn note_past_call(&mut self, id: &str, name: &str) {
        if self.calls.len() >= MOST_CALLS {
            self.calls.pop_front();
        }
        let (id, name) = (id.to_owned(), name.to_owned());
        self.calls.push_back(Call { id, name, origin: Origin::Past, is_cancelled: false });
    }

    fn take_result(&mut self, item: &Value) -> Result<(), No> {
        let id = item["call_id"].as_str().unwrap_or_default();
        let Some(place) = self.calls.iter().position(|call| call.id == id) else {
            return Err(
                no("invalid_value", "there is no call with this id that waits for its result").of("item.call_id")
            );
        };
        let text = item["output"].as_str().unwrap_or_default();
        if self.pending_bytes.saturating_add(text.len()) > MOST_PENDING {
            return Err(no("request_too_large", "too much waits for a turn; ask for a response first").of("item"));
        }
        let Some(call) = self.calls.remove(place) else { return Ok(()) };
        if call.is_cancelled {
            let message = "Gemini took this call back when the user broke in, and uses no result of it";
            return Err(no("call_cancelled", message).of("item.call_id"));
        }
        let output = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => json!({"output": text}),
        };
        let mut result = json!({"name": call.name, "response": output});
        if call.origin != Origin::Ours {
            result["id"] = id.into();
        }
        if call.origin == Origin::Past {
            return self.hold(json!({"role": "user", "parts": [{"functionResponse": result}]}), text.len());
        }
        self.pending_bytes += text.len();
        self.results.push(result);
        Ok(())
    }

    /// Gives Gemini the items that wait; with `completes` it answers them.
    fn flush(&mut self, completes: bool) {
        if self.pending.is_empty() && !completes {
            return;
        }
        let turns = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.send(json!({"clientContent": {"turns": turns, "turnComplete": completes}}));
    }

    // === Responses ===

    fn create_response(&mut self, wanted: &Value) -> Result<(), No> {
        if self.turn.as_ref().is_some_and(Turn::is_busy) {
            let message = "a response is under way; cancel it or wait for its end";
            return Err(no("conversation_already_has_active_response", message));
        }
        self.check_response(wanted)?;
        // What is still being heard is cut by what is sent now, and not by its user.
        self.is_cutting = self.turn.is_some();
        self.asked = Some(Asked { metadata: wanted["metadata"].clone() });
        let results = std::mem::take(&mut self.results);
        if !results.is_empty() {
            // Before them, since it is they that let Gemini go on.
            self.flush(false);
            self.pending_bytes = 0;
            self.send(json!({"toolResponse": {"functionResponses": results}}));
        } else if std::mem::take(&mut self.hearing.is_active) {
            self.flush(false);
            self.send(json!({"realtimeInput": {"activityEnd": {}}}));
        } else if !std::mem::take(&mut self.hearing.is_flushed) || !self.pending.is_empty() {
            self.flush(true);
        }
        Ok(())
    }

    /// Refuses what would hold for one response alone: Gemini has nothing like it.
    fn check_response(&self, wanted: &Value) -> Result<(), No> {
        for (name, value) in wanted.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let is_usual = match name.as_str() {
                "metadata" => true,
                "output_modalities" => *value == self.settings.modalities(false),
                "modalities" => *value == self.settings.modalities(true),
                "conversation" | "tool_choice" => value == "auto",
                "input" | "tools" => value.as_array().is_some_and(Vec::is_empty),
                _ => false,
            };
            if !is_usual {
                let message =
                    "Gemini has the session's settings for every response; leave it out, or set it by session.update";
                return Err(no(UNSUPPORTED, message).of(format!("response.{name}")));
            }
        }
        Ok(())
    }

    fn cancel(&mut self, id: Option<&str>) -> Result<(), No> {
        let Some(turn) = self.turn.as_ref().filter(|turn| id.is_none_or(|id| id == turn.id)) else {
            return Err(no("response_cancel_not_active", "no such response is under way"));
        };
        if turn.cancelled.is_some() {
            return Ok(());
        }
        self.cut_turn("client_cancelled");
        self.is_cutting = true;
        // There is no such message; each of these interrupts what is being generated (the reference on
        // `BidiGenerateContentClientContent` and `ActivityHandling`, read 24 November 2026).
        if self.settings.detection.is_some() {
            self.send(json!({"clientContent": {"turns": [], "turnComplete": false}}));
        } else if !std::mem::replace(&mut self.hearing.is_active, true) {
            self.send(json!({"realtimeInput": {"activityStart": {}}}));
        }
        Ok(())
    }
}

/// A message's content, for Gemini, which knows no system inside of a conversation.
fn content_of(item: &Value) -> Result<Value, No> {
    let role = if item["role"] == "assistant" { "model" } else { "user" };
    let mut parts = Vec::new();
    for part in item["content"].as_array().into_iter().flatten() {
        let kind = part["type"].as_str().unwrap_or_default();
        let said = match kind {
            "input_text" | "text" | "output_text" => part["text"].as_str().map(|text| json!({"text": text})),
            "input_audio" => part["audio"].as_str().map(|audio| {
                let mime_type = format!("audio/pcm;rate={RATE}");
                json!({"inlineData": {"mimeType": mime_type, "data": audio}})
            }),
            "output_audio" | "audio" => part["transcript"].as_str().map(|text| json!({"text": text})),
            "input_image" => part["image_url"].as_str().and_then(picture),
            _ => None,
        };
        let why = "a part of this item cannot be said to Gemini: it takes text, sound with its data and pictures as data URLs";
        parts.push(said.ok_or_else(|| no(UNSUPPORTED, why).of("item.content"))?);
    }
    if parts.is_empty() {
        return Err(no("invalid_value", "the item has no content").of("item.content"));
    }
    Ok(json!({"role": role, "parts": parts}))
}

/// A picture whose data is in its address.
fn picture(url: &str) -> Option<Value> {
    let (mime_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some(json!({"inlineData": {"mimeType": mime_type, "data": data}}))
}

impl Out {
    /// Its text, and whether it is for the client.
    pub(crate) fn into_text(self) -> (bool, String) {
        match self {
            Self::Client(event) => (true, event.to_string()),
            Self::Gemini(message) => (false, message.to_string()),
        }
    }
}
