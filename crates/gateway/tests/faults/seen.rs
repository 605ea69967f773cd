//! What a client makes of an answer: its text, whether it is whole, the error that ended it.

use serde_json::Value;

use super::{Client, Way};
use crate::harness::client::Answer;

/// An answer as a client of that language reads it.
#[derive(Debug)]
pub(super) struct Seen {
    pub status: u16,
    /// The text of the answer as far as it came.
    pub said: String,
    /// The code of the error that ended it.
    pub code: String,
    pub retry_after: String,
    /// It has the end that the language asks for.
    pub is_whole: bool,
    /// Events of a stream that are no JSON.
    pub n_unreadable: usize,
    /// It says that it is an error.
    pub is_error: bool,
    /// All of it.
    pub text: String,
}

impl Seen {
    pub(super) fn of(answer: &Answer, way: Way) -> Self {
        let mut seen = Self {
            status: answer.status.as_u16(),
            said: String::new(),
            code: String::new(),
            retry_after: answer.header("retry-after").to_owned(),
            is_whole: false,
            n_unreadable: 0,
            is_error: false,
            text: String::from_utf8_lossy(&answer.body).into_owned(),
        };
        if way.is_stream && seen.status == 200 {
            seen.read_stream(way.client);
        } else {
            seen.read_whole(way.client);
        }
        seen
    }

    fn read_whole(&mut self, client: Client) {
        let Ok(body) = serde_json::from_str::<Value>(&self.text) else { return };
        if self.status != 200 {
            return self.read_error(&body, client);
        }
        let (text, reason) = match client {
            Client::Chat => (&body["choices"][0]["message"]["content"], &body["choices"][0]["finish_reason"]),
            Client::Messages => (&body["content"][0]["text"], &body["stop_reason"]),
            Client::Responses => (&body["output"][0]["content"][0]["text"], &body["status"]),
        };
        self.said.push_str(text.as_str().unwrap_or_default());
        self.is_whole = reason.is_string();
    }

    fn read_stream(&mut self, client: Client) {
        for event in self.text.clone().replace("\r\n", "\n").split("\n\n") {
            let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            if data == "[DONE]" {
                self.is_whole = client == Client::Chat;
                continue;
            }
            let Ok(event) = serde_json::from_str::<Value>(&data) else {
                self.n_unreadable += usize::from(!data.is_empty());
                continue;
            };
            if event["error"].is_object() || client == Client::Responses && event["type"] == "error" {
                self.read_error(&event, client);
            }
            let (text, last) = match client {
                Client::Chat => (&event["choices"][0]["delta"]["content"], &[][..]),
                Client::Messages => (&event["delta"]["text"], &["message_stop"][..]),
                Client::Responses => (&event["delta"], &["response.completed", "response.incomplete"][..]),
            };
            self.said.push_str(text.as_str().unwrap_or_default());
            self.is_whole |= last.iter().any(|last| event["type"] == *last);
        }
    }

    fn read_error(&mut self, body: &Value, client: Client) {
        let is_event = client == Client::Responses && body["type"] == "error";
        let error = if is_event { body } else { &body["error"] };
        let is_shaped = match client {
            Client::Chat | Client::Responses => error.as_object().is_some_and(|error| error.contains_key("param")),
            Client::Messages => body["type"] == "error",
        };
        self.is_error = is_shaped && error["message"].is_string() && error["type"].is_string();
        let code = [&error["code"], &error["type"]].into_iter().find_map(Value::as_str);
        self.code = code.map(str::to_owned).unwrap_or_default();
    }
}
