//! OpenAI's realtime events over Gemini's Live API: what either side says is turned into what the other understands.
//!
//! ```text
//! Session ⇄ serve ⇄ Gemini
//!             │
//!            Live: no sockets, no clock; one event in, any number of messages out
//! ```
//!
//! To a session it is one more upstream that speaks OpenAI's events, so turns are asked about, booked and cut as with any other.
//! Facts: the vendor's reference (<https://ai.google.dev/api/live>), its guides `live-api/capabilities`, `live-api/best-practices`
//! and the pages of its models, and the SDK's types (google-genai 3.4.0), read 24 November 2026.
//!
//! # Invariants
//!
//! - **The settings are the first message**, once; the client is not read until they are agreed on.
//! - **Every response that begins ends**, with all that was said to be used since the last one ended.
//! - **Nothing is dropped in silence**: what cannot be said to Gemini is refused, or named in `session.updated`.

mod ask;
mod hear;
mod read;
mod serve;
mod settings;
mod turn;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde_json::{Value, json};

pub use self::serve::connect;

use self::hear::Hearing;
use self::settings::Settings;
use self::turn::Turn;
use self::usage::Used;

/// Bytes of written items that wait for a turn.
const MOST_PENDING: usize = 8 * 1024 * 1024;
/// Calls of tools whose results may yet come.
const MOST_CALLS: usize = 256;

/// What a session over Gemini is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The upstream's model.
    pub model: String,
    /// What ids of this session are made of.
    pub name: String,
    /// Events have the names from before general availability.
    pub is_beta: bool,
}

/// What is to be said, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    /// An event for the client.
    Client(Value),
    /// A message for Gemini.
    Gemini(Value),
}

/// How far the settings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// They may change.
    Open,
    /// They are sent.
    Asked,
    /// They are agreed on.
    Ready,
}

/// A tool's call whose result may come.
#[derive(Debug, Clone)]
struct Call {
    id: String,
    name: String,
    origin: Origin,
    is_cancelled: bool,
}

/// Whose a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Gemini's, and so is its id.
    Theirs,
    /// Gemini's, which gave it no id.
    Ours,
    /// Of a conversation that was held before and is told by the client.
    Past,
}

/// A response that the client asked for and that has not begun.
#[derive(Debug, Default)]
struct Asked {
    metadata: Value,
}

/// The translation of one session.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that Gemini or the client has said, or not")]
pub(crate) struct Live {
    options: Options,
    settings: Settings,
    stage: Stage,
    /// What waits for the settings to be agreed on.
    held: Vec<Value>,
    out: VecDeque<Out>,
    n_ids: u64,
    last_item: Option<String>,
    /// Written items that Gemini has not got.
    pending: Vec<Value>,
    pending_bytes: usize,
    calls: VecDeque<Call>,
    /// Results of calls that Gemini has not got.
    results: Vec<Value>,
    hearing: Hearing,
    asked: Option<Asked>,
    turn: Option<Turn>,
    used: Used,
    /// A response of Gemini's turn has ended with calls of tools.
    has_called: bool,
    /// What still comes belongs to a response that was given up.
    is_skipping: bool,
    /// Gemini's generation was cut by what we sent.
    is_cutting: bool,
    is_going_away: bool,
}

impl Live {
    pub(crate) fn new(options: Options) -> Self {
        let mut live = Self {
            options,
            settings: Settings::default(),
            stage: Stage::Open,
            held: Vec::new(),
            out: VecDeque::new(),
            n_ids: 0,
            last_item: None,
            pending: Vec::new(),
            pending_bytes: 0,
            calls: VecDeque::new(),
            results: Vec::new(),
            hearing: Hearing::default(),
            asked: None,
            turn: None,
            used: Used::default(),
            has_called: false,
            is_skipping: false,
            is_cutting: false,
            is_going_away: false,
        };
        let session = live.view();
        live.say("session.created", json!({"session": session}));
        live
    }

    /// Takes what is to be said next.
    pub(crate) fn take(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Says whether the client may be read; what it says before the settings are agreed on would pile up.
    pub(crate) fn is_listening(&self) -> bool {
        self.stage != Stage::Asked
    }

    /// Says whether a response was cut and Gemini has not said what it used.
    pub(crate) fn is_ending(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.cancelled.is_some())
    }

    /// Ends the response that was cut, without waiting longer for what it used; that goes with the next one.
    pub(crate) fn give_up(&mut self) {
        if self.is_ending() {
            self.is_skipping = self.turn.as_ref().is_some_and(|turn| !turn.is_interrupted);
            self.end_turn("completed");
        }
    }

    /// Says to the client that Gemini is gone.
    pub(crate) fn closed(&mut self, reason: &str) {
        if self.turn.is_some() && !self.used.is_empty() {
            self.end_turn("failed");
        }
        if self.is_going_away {
            let message = "Gemini has ended the session, as it does after some minutes; connect again";
            self.fail("invalid_request_error", "session_expired", message);
        } else if self.stage != Stage::Ready {
            let reason = if reason.is_empty() { "without a reason" } else { reason };
            let message = format!("Gemini did not take the session's settings: {reason}");
            self.fail("invalid_request_error", "session_refused", &message);
        }
    }

    /// Says whether Gemini had announced that it will end the session.
    pub(crate) fn is_going_away(&self) -> bool {
        self.is_going_away
    }

    fn view(&self) -> Value {
        self.settings.view(&self.options)
    }

    fn id(&mut self, prefix: &str) -> String {
        self.n_ids += 1;
        format!("{prefix}_{}_{}", self.options.name, self.n_ids)
    }

    /// Says an event, under the name that the client knows.
    fn say(&mut self, kind: &str, fields: Value) {
        let Some(kind) = name(kind, self.options.is_beta) else { return };
        let mut event = json!({"type": kind, "event_id": self.id("event")});
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.out.push_back(Out::Client(event));
    }

    /// Says that something upstream failed.
    fn fail(&mut self, kind: &str, code: &str, message: &str) {
        self.say(
            "error",
            json!({"error": {"type": kind, "code": code, "message": message, "param": null, "event_id": null}}),
        );
    }

    /// Sends a message to Gemini, when the settings are agreed on.
    fn send(&mut self, message: Value) {
        match self.stage {
            Stage::Ready => self.out.push_back(Out::Gemini(message)),
            Stage::Asked => self.held.push(message),
            Stage::Open => {
                let setup = self.settings.setup(&self.options.model);
                self.out.push_back(Out::Gemini(json!({"setup": setup})));
                self.stage = Stage::Asked;
                self.held.push(message);
            }
        }
    }

    /// Notes a new item of the conversation and returns the one before.
    fn follow(&mut self, item: &str) -> Value {
        self.last_item.replace(item.to_owned()).map_or(Value::Null, Value::from)
    }
}

/// The name of an event as the client knows it; `None` for those that are new.
fn name(kind: &str, is_beta: bool) -> Option<&str> {
    if !is_beta {
        return Some(kind);
    }
    // The vendor's guide from the beta to general availability, read 24 November 2026.
    Some(match kind {
        "response.output_text.delta" => "response.text.delta",
        "response.output_text.done" => "response.text.done",
        "response.output_audio.delta" => "response.audio.delta",
        "response.output_audio.done" => "response.audio.done",
        "response.output_audio_transcript.delta" => "response.audio_transcript.delta",
        "response.output_audio_transcript.done" => "response.audio_transcript.done",
        "conversation.item.added" => "conversation.item.created",
        "conversation.item.done" => return None,
        other => other,
    })
}
