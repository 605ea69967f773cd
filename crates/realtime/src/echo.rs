//! The built-in upstream of realtime sessions: says back what the user last wrote. Text only; it hears nothing.
//!
//! Real product, like the rest of `echo`: for first sessions without an account. It speaks the vendor's events in their
//! general form, counts the whole conversation as input of each turn as the vendor does, and closes when the client does.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{Io, LOCAL_ROOM, Socket, to_client};

/// Largest message that is read.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Items of a conversation that are kept.
const MAX_ITEMS: usize = 1_000;
/// Pieces of an answer at most; longer answers have longer pieces.
const MAX_PIECES: usize = 64;

/// Makes the near end of a session with it, and what serves the far one.
pub fn connect(model: String) -> (Box<dyn Io>, impl Future<Output = ()>) {
    let (near, far) = tokio::io::duplex(LOCAL_ROOM);
    (Box::new(near), serve(Box::new(far), model))
}

/// Serves one session over a connection on which the handshake is done.
pub async fn serve(io: Box<dyn Io>, model: String) {
    let mut echo = Echo { socket: to_client(io, MAX_MESSAGE).await, model, items: Vec::new(), n_ids: 0 };
    // Whoever hangs up has heard enough.
    let _ = echo.run().await;
}

struct Echo {
    socket: Socket,
    model: String,
    /// Who said what.
    items: Vec<(bool, String)>,
    n_ids: u64,
}

type Sent = Result<(), tokio_tungstenite::tungstenite::Error>;

impl Echo {
    async fn run(&mut self) -> Sent {
        let session = self.session();
        self.say("session.created", json!({"session": session})).await?;
        while let Some(message) = self.socket.next().await {
            let Message::Text(text) = message? else { continue };
            let event: Value = serde_json::from_str(&text).unwrap_or_default();
            self.hear(&event).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, event: &Value) -> Sent {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => {
                let mut session = self.session();
                for (name, value) in
                    event["session"].as_object().into_iter().flatten().filter(|(name, _)| *name != "model")
                {
                    session[name] = value.clone();
                }
                self.say("session.updated", json!({"session": session})).await
            }
            "conversation.item.create" => self.take(&event["item"]).await,
            "response.create" => self.answer().await,
            other => {
                let message = format!("echo does not know the event `{other}`; it takes text and answers with it");
                let error = json!({"type": "invalid_request_error", "code": "unknown_event", "message": message,
                    "param": "type", "event_id": event["event_id"]});
                self.say("error", json!({"error": error})).await
            }
        }
    }

    async fn take(&mut self, item: &Value) -> Sent {
        let parts = item["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        if self.items.len() < MAX_ITEMS {
            self.items.push((item["role"] == "user", text));
        }
        let mut item = item.clone();
        if item["id"].is_null() {
            item["id"] = self.id("item").into();
        }
        item["status"] = "completed".into();
        self.say("conversation.item.added", json!({"item": item})).await?;
        self.say("conversation.item.done", json!({"item": item})).await
    }

    async fn answer(&mut self) -> Sent {
        let (turn, item) = (self.id("resp"), self.id("item"));
        let text = self.items.iter().rev().find(|(is_user, _)| *is_user).map_or("", |(_, text)| text).to_owned();
        let input: u64 = self.items.iter().map(|(_, text)| count(text)).sum();
        let response = |status: &str, output: Value, usage: Value| {
            json!({"response": {"object": "realtime.response", "id": turn, "status": status, "status_details": null,
                "output_modalities": ["text"], "output": output, "usage": usage}})
        };
        let message = |status: &str, content: Value| json!({"id": item, "object": "realtime.item", "type": "message", "status": status, "role": "assistant", "content": content});
        let place = |mut more: Value| {
            let place = json!({"response_id": turn, "item_id": item, "output_index": 0, "content_index": 0});
            for (name, value) in place.as_object().into_iter().flatten() {
                more[name] = value.clone();
            }
            more
        };
        let whole = json!([{"type": "output_text", "text": text}]);
        self.say("response.created", response("in_progress", json!([]), Value::Null)).await?;
        let opened = message("in_progress", json!([]));
        self.say("response.output_item.added", json!({"response_id": turn, "output_index": 0, "item": opened})).await?;
        self.say("conversation.item.added", json!({"item": opened})).await?;
        self.say("response.content_part.added", place(json!({"part": {"type": "output_text", "text": ""}}))).await?;
        for piece in pieces(&text) {
            self.say("response.output_text.delta", place(json!({"delta": piece}))).await?;
        }
        self.say("response.output_text.done", place(json!({"text": text}))).await?;
        self.say("response.content_part.done", place(json!({"part": whole[0]}))).await?;
        let closed = message("completed", whole);
        self.say("response.output_item.done", json!({"response_id": turn, "output_index": 0, "item": closed})).await?;
        self.say("conversation.item.done", json!({"item": closed})).await?;
        let output = count(&text);
        let usage = json!({"total_tokens": input + output, "input_tokens": input, "output_tokens": output,
            "input_token_details": {"text_tokens": input, "audio_tokens": 0, "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0}},
            "output_token_details": {"text_tokens": output, "audio_tokens": 0}});
        if self.items.len() < MAX_ITEMS {
            self.items.push((false, text.clone()));
        }
        self.say("response.done", response("completed", json!([closed]), usage)).await
    }

    fn session(&mut self) -> Value {
        json!({"type": "realtime", "object": "realtime.session", "id": self.id("sess"), "model": self.model,
            "output_modalities": ["text"], "instructions": "", "tools": [], "tool_choice": "auto"})
    }

    fn id(&mut self, prefix: &str) -> String {
        self.n_ids += 1;
        format!("{prefix}_echo_{}", self.n_ids)
    }

    async fn say(&mut self, kind: &str, mut event: Value) -> Sent {
        event["type"] = kind.into();
        event["event_id"] = self.id("event").into();
        self.socket.send(Message::text(event.to_string())).await
    }
}

/// Tokens of a text, by the usual rule of thumb.
fn count(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

/// Cuts a text behind its blanks.
fn pieces(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words.chunks(words.len().div_ceil(MAX_PIECES).max(1)).map(<[&str]>::concat).collect()
}
