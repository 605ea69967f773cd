//! The objects that vendors answer with, under our ids; and what they say of how far a batch is.
//!
//! What is not known stays as it came. Invariant: no id of the upstream's is left in a field that holds one.

use domain::{RemoteId, RequestId, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::ids::Named;

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Nothing of it changes any more.
    pub is_over: bool,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The upstream's id of its output, or where it is.
    pub output: Option<String>,
    /// The upstream's id of its errors.
    pub errors: Option<String>,
}

/// An object as an upstream sent it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads an object.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// Returns a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Returns a value that is not null.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Returns an object in it.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        self.0.get(name)?.as_object().cloned().map(Self)
    }

    /// Lists its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// Returns an instant that is given in seconds.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<Timestamp> {
        let seconds = self.0.get(name)?.as_i64()?;
        Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
    }

    /// Sets a field that is there.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(found) = self.0.get_mut(name) {
            *found = value.into();
        }
    }

    /// Sets a field, whether or not it is there.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Writes the object.
    #[must_use]
    pub fn write(self) -> Value {
        Value::Object(self.0)
    }

    /// Says how far a batch of OpenAI's form is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let ends = [
            ("completed", "completed_at"),
            ("failed", "failed_at"),
            ("expired", "expired_at"),
            ("cancelled", "cancelled_at"),
        ];
        let status = self.text("status").unwrap_or_default();
        let end = ends.iter().find(|(word, _)| *word == status);
        let of = |name| self.text(name).filter(|id| !id.is_empty()).map(str::to_owned);
        Progress {
            is_over: end.is_some(),
            ended_at: end.and_then(|(_, at)| self.seconds(at)),
            output: of("output_file_id"),
            errors: of("error_file_id"),
        }
    }

    /// Says how far a batch of Anthropic's form is.
    #[must_use]
    pub fn message_progress(&self) -> Progress {
        Progress {
            is_over: self.text("processing_status") == Some("ended"),
            ended_at: self.text("ended_at").and_then(|at| at.parse().ok()),
            output: self.text("results_url").map(str::to_owned),
            errors: None,
        }
    }

    /// Puts our ids into a batch of OpenAI's form.
    #[must_use]
    pub fn as_batch(mut self, id: RemoteId, input: Option<RemoteId>) -> Value {
        let Progress { output, errors, .. } = self.progress();
        self.put("id", Named::Batch(id).to_string());
        self.set("input_file_id", input.map_or(Value::Null, |id| Named::File(id).to_string().into()));
        self.set("output_file_id", output.map_or(Value::Null, |_| Named::Output(id).to_string().into()));
        self.set("error_file_id", errors.map_or(Value::Null, |_| Named::Errors(id).to_string().into()));
        self.write()
    }

    /// Puts our ids into a batch of Anthropic's form. Its results are at an address below the client's own base.
    #[must_use]
    pub fn as_message_batch(mut self, id: RemoteId) -> Value {
        let id = Named::MessageBatch(id).to_string();
        if self.text("results_url").is_some() {
            self.set("results_url", format!("/v1/messages/batches/{id}/results"));
        }
        self.put("id", id);
        self.write()
    }
}

/// Mints the id of the event under which what a model of a batch used is booked: the same whoever counts it, so that the ledger
/// takes it once.
#[must_use]
pub fn event_id(batch: RemoteId, model: usize, ended_at: Timestamp) -> RequestId {
    let digest = Sha256::digest(format!("headgate batch output|{batch}|{model}"));
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    RequestId::from_uuid(domain::id::uuid_v7(ended_at, random))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Object {
        Object::read(value.to_string().as_bytes()).expect("an object")
    }

    const ID: RemoteId = RemoteId::from_uuid(7);

    #[test]
    fn no_id_of_the_upstream_is_left() {
        let batch = json!({"id": "batch_up", "object": "batch", "status": "completed", "completed_at": 5, "input_file_id": "file-up1",
            "output_file_id": "file-up2", "error_file_id": null, "metadata": {"a": "b"}, "later": 1});
        let batch = object(&batch);
        let progress = batch.progress();
        assert!(progress.is_over && progress.ended_at == Some(Timestamp::from_micros(5_000_000)));
        let shown = batch.as_batch(ID, Some(RemoteId::from_uuid(8)));
        assert_eq!(
            shown,
            json!({"id": "batch_00000000000000000000000007", "object": "batch", "status": "completed", "completed_at": 5,
                "input_file_id": "file-00000000000000000000000008", "output_file_id": "file-00000000000000000000000007-output",
                "error_file_id": null, "metadata": {"a": "b"}, "later": 1})
        );
        let messages = json!({"id": "msgbatch_up", "processing_status": "ended", "ended_at": "2026-11-22T12:00:00Z",
            "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_up/results"});
        let messages = object(&messages);
        assert!(messages.message_progress().is_over && messages.message_progress().ended_at.is_some());
        let shown = messages.as_message_batch(ID);
        assert!(!shown.to_string().contains("_up"), "{shown}");
        assert_eq!(shown["results_url"], "/v1/messages/batches/msgbatch_00000000000000000000000007/results");
    }

    #[test]
    fn a_batch_under_way_is_not_over() {
        for status in ["validating", "in_progress", "finalizing", "cancelling", ""] {
            assert!(!object(&json!({"status": status})).progress().is_over, "{status}");
        }
        let shown = object(&json!({"id": "x", "results_url": null})).as_message_batch(ID);
        assert_eq!(shown["results_url"], Value::Null);
    }

    #[test]
    fn an_event_has_one_id_for_a_model_of_a_batch() {
        let at = Timestamp::from_micros(1_795_348_800_000_000);
        assert_eq!(event_id(ID, 0, at), event_id(ID, 0, at));
        assert_ne!(event_id(ID, 0, at), event_id(ID, 1, at));
        assert_ne!(event_id(ID, 0, at), event_id(RemoteId::from_uuid(8), 0, at));
        assert_eq!(event_id(ID, 0, at).minted_at(), at);
    }
}
