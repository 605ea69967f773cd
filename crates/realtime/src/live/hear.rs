//! What Gemini says, as events for the client.

use serde_json::{Value, json};

use super::read::{FunctionCall, Part, ServerContent, ServerMessage, Transcription};
use super::settings::RATE;
use super::turn::Kind;
use super::{Call, Live, MOST_CALLS, Origin, Stage};

/// Bytes of a transcript that may wait for its sound.
const MOST_EARLY: usize = 4_096;

/// What is known of the user's speech.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that Gemini or the client has said, or not")]
pub(super) struct Hearing {
    /// The item that it becomes.
    item: Option<String>,
    is_announced: bool,
    /// It is one: what is said from now on belongs to another.
    is_committed: bool,
    /// What was written down of it.
    text: String,
    is_speaking: bool,
    /// What Gemini says that it says, ahead of its saying it.
    pub(super) early: String,
    /// Bytes of sound that were sent, in all.
    pub(super) n_bytes: u64,
    /// And since the last item.
    pub(super) n_fresh: u64,
    /// Between the client's own signs that the user speaks.
    pub(super) is_active: bool,
    /// Gemini was told that the sound has ended, and answers by itself.
    pub(super) is_flushed: bool,
}

impl Live {
    /// Reads one message of Gemini's.
    pub(crate) fn gemini_said(&mut self, message: &[u8]) {
        let Ok(message) = serde_json::from_slice::<ServerMessage>(message) else {
            self.fail("server_error", "upstream_error", "Gemini said something that cannot be read");
            return;
        };
        if message.setup_complete.is_some() && self.stage == Stage::Asked {
            self.stage = Stage::Ready;
            for held in std::mem::take(&mut self.held) {
                self.send(held);
            }
        }
        // Before the ends of turns, which tell it.
        if let Some(usage) = &message.usage_metadata {
            self.used.add(usage);
        }
        match message.voice_activity.as_ref().map(|activity| activity.voice_activity_type.as_str()) {
            Some("ACTIVITY_START") => self.speech_started(),
            Some("ACTIVITY_END") => self.speech_stopped(),
            _ => {}
        }
        if let Some(content) = message.server_content {
            self.read_content(content);
        }
        if let Some(call) = message.tool_call {
            self.call_tools(call.function_calls);
        }
        for id in message.tool_call_cancellation.into_iter().flat_map(|cancelled| cancelled.ids) {
            for call in self.calls.iter_mut().filter(|call| call.id == id) {
                call.is_cancelled = true;
            }
        }
        if let Some(complaint) = message.error {
            let kind = match complaint.status.as_str() {
                "INTERNAL" | "UNAVAILABLE" | "UNKNOWN" => "server_error",
                _ => "invalid_request_error",
            };
            self.asked = None;
            self.fail(kind, "upstream_error", &complaint.message);
        }
        if message.go_away.is_some() {
            self.is_going_away = true;
        }
    }

    fn read_content(&mut self, content: ServerContent) {
        if let Some(said) = content.input_transcription {
            self.write_down(&said);
        }
        let parts = content.model_turn.map(|turn| turn.parts).unwrap_or_default();
        for part in parts.into_iter().filter(|part| !part.thought) {
            self.read_part(part);
        }
        if let Some(said) = content.output_transcription.filter(|said| !said.text.is_empty()) {
            self.read_transcript(&said.text);
        }
        if content.interrupted {
            self.interrupted();
        }
        if content.generation_complete
            && let Some(turn) = &mut self.turn
        {
            turn.is_complete = true;
        }
        if content.turn_complete {
            self.turn_completed(content.turn_complete_reason.as_deref());
        }
    }

    fn read_part(&mut self, part: Part) {
        let is_empty = part.text.as_deref().is_none_or(str::is_empty) && part.inline_data.is_none();
        if is_empty || !self.may_answer() {
            return;
        }
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            self.delta(Kind::Text, &text);
        }
        let Some(blob) = part.inline_data else { return };
        if !is_our_sound(&blob.mime_type) {
            self.fail("server_error", "upstream_error", "Gemini spoke in a form of sound that was not agreed on");
        } else if !self.settings.is_text {
            self.delta(Kind::Audio, &blob.data);
        }
    }

    fn read_transcript(&mut self, text: &str) {
        // It comes in no order relative to the sound, so it begins nothing: what is ahead of it waits for it, and when nobody
        // has asked for anything it is what is left of the turn before.
        match &self.turn {
            Some(turn) if turn.cancelled.is_some() => {}
            Some(_) => self.transcript(text),
            None if self.is_skipping || (self.asked.is_none() && self.hearing.n_fresh == 0) => {}
            None if self.hearing.early.len() < MOST_EARLY => self.hearing.early.push_str(text),
            None => {}
        }
    }

    /// Says what is spoken, in words.
    pub(super) fn transcript(&mut self, text: &str) {
        self.delta(if self.settings.is_text { Kind::Text } else { Kind::Transcript }, text);
    }

    /// Says whether what comes now belongs to a response that is shown, which it begins if there is none.
    fn may_answer(&mut self) -> bool {
        if self.is_skipping {
            return false;
        }
        if let Some(turn) = &self.turn {
            if turn.cancelled.is_some() && !turn.is_interrupted {
                return false;
            }
            if turn.is_interrupted || turn.is_complete {
                self.end_turn("completed");
            }
        }
        self.begin_turn();
        true
    }

    fn interrupted(&mut self) {
        self.is_skipping = false;
        let is_ours = std::mem::take(&mut self.is_cutting);
        // Gemini breaks off because it hears the user, or because of what we sent.
        if !is_ours && self.settings.detection.is_some() && self.hearing.n_fresh > 0 {
            self.speech_started();
        }
        if let Some(turn) = &mut self.turn {
            turn.is_interrupted = true;
            if !turn.is_complete {
                self.cut_turn(if is_ours { "client_cancelled" } else { "turn_detected" });
            }
        }
    }

    fn turn_completed(&mut self, reason: Option<&str>) {
        let was_skipping = std::mem::take(&mut self.is_skipping);
        // A turn without a word is paid for as well, and whoever asked for it is told of its end.
        let is_silent = self.turn.is_none() && !was_skipping && !self.has_called;
        if is_silent && (self.asked.is_some() || !self.used.is_empty()) {
            self.begin_turn();
        }
        if self.turn.is_some() {
            self.end_turn(status_of(reason));
        }
        (self.has_called, self.is_cutting) = (false, false);
        self.finish_writing();
    }

    fn call_tools(&mut self, calls: Vec<FunctionCall>) {
        if calls.is_empty() || !self.may_answer() {
            return;
        }
        self.close_message("completed");
        for FunctionCall { id, name, args } in calls {
            let origin = if id.is_some() { Origin::Theirs } else { Origin::Ours };
            let id = id.unwrap_or_else(|| self.id("call"));
            self.show_call(&id, &name, &Value::Object(args).to_string());
            if self.calls.len() >= MOST_CALLS {
                self.calls.pop_front();
            }
            self.calls.push_back(Call { id, name, origin, is_cancelled: false });
        }
        self.end_turn("completed");
        self.has_called = true;
    }

    // === What the user says ===

    /// The item of what is being said.
    fn user_item(&mut self) -> String {
        if let Some(item) = &self.hearing.item {
            return item.clone();
        }
        let item = self.id("item");
        self.hearing.item = Some(item.clone());
        item
    }

    fn speech_started(&mut self) {
        if std::mem::replace(&mut self.hearing.is_speaking, true) {
            return;
        }
        if self.hearing.is_committed {
            self.finish_writing();
        }
        let at = self.settings.milliseconds(self.hearing.n_bytes);
        let item = self.user_item();
        self.say("input_audio_buffer.speech_started", json!({"audio_start_ms": at, "item_id": item}));
    }

    fn speech_stopped(&mut self) {
        if !std::mem::take(&mut self.hearing.is_speaking) {
            return;
        }
        let at = self.settings.milliseconds(self.hearing.n_bytes);
        let item = self.user_item();
        self.say("input_audio_buffer.speech_stopped", json!({"audio_end_ms": at, "item_id": item}));
    }

    fn write_down(&mut self, said: &Transcription) {
        if !said.text.is_empty() {
            self.hearing.early.clear();
            let item = self.user_item();
            self.announce(&item);
            self.hearing.text.push_str(&said.text);
            let fields = json!({"item_id": item, "content_index": 0, "delta": said.text});
            self.say("conversation.item.input_audio_transcription.delta", fields);
        }
        if said.finished {
            self.finish_writing();
        }
    }

    fn announce(&mut self, item: &str) {
        if !std::mem::replace(&mut self.hearing.is_announced, true) {
            let previous = self.follow(item);
            let fields = json!({"previous_item_id": previous, "item": spoken(item, "in_progress")});
            self.say("conversation.item.added", fields);
        }
    }

    /// Makes an item of the sound so far: its speaker waits for an answer.
    pub(super) fn commit_sound(&mut self) {
        if self.hearing.is_committed && self.hearing.n_fresh > 0 {
            self.finish_writing();
        }
        if self.hearing.is_committed || (self.hearing.n_fresh == 0 && !self.hearing.is_announced) {
            return;
        }
        (self.hearing.n_fresh, self.hearing.is_committed) = (0, true);
        let item = self.user_item();
        self.speech_stopped();
        let previous = self.last_item.clone().filter(|last| *last != item);
        self.say("input_audio_buffer.committed", json!({"item_id": item, "previous_item_id": previous}));
        self.announce(&item);
        self.say("conversation.item.done", json!({"previous_item_id": previous, "item": spoken(&item, "completed")}));
    }

    /// Says what was written down, as a whole, and is ready for another item if this one is made.
    fn finish_writing(&mut self) {
        if let Some(item) = &self.hearing.item
            && !self.hearing.text.is_empty()
        {
            let text = std::mem::take(&mut self.hearing.text);
            // It is a part of what the turn uses.
            let nothing = json!({"type": "tokens", "total_tokens": 0, "input_tokens": 0, "output_tokens": 0});
            let fields = json!({"item_id": item, "content_index": 0, "transcript": text, "usage": nothing});
            self.say("conversation.item.input_audio_transcription.completed", fields);
        }
        if std::mem::take(&mut self.hearing.is_committed) {
            (self.hearing.item, self.hearing.is_announced) = (None, false);
        }
    }
}

fn spoken(item: &str, status: &str) -> Value {
    json!({"id": item, "object": "realtime.item", "type": "message", "status": status, "role": "user",
        "content": [{"type": "input_audio", "transcript": null}]})
}

/// Says whether it is what OpenAI's clients play: the guides say that it always is.
fn is_our_sound(mime_type: &str) -> bool {
    let mut words = mime_type.split(';').map(str::trim);
    let is_pcm = words.next() == Some("audio/pcm");
    let rate = words.find_map(|word| word.strip_prefix("rate="));
    is_pcm && rate.is_none_or(|rate| rate.parse() == Ok(RATE))
}

/// How a response ended, from the reasons that the SDK lists.
fn status_of(reason: Option<&str>) -> &'static str {
    match reason {
        None | Some("TURN_COMPLETE_REASON_UNSPECIFIED" | "NEED_MORE_INPUT") => "completed",
        Some("MALFORMED_FUNCTION_CALL" | "MAX_REGENERATION_REACHED") => "failed",
        // All others are filters.
        Some(_) => "content_filter",
    }
}
