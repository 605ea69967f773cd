//! What nodes note of a file or a batch besides where it lies.
//!
//! JSON that a later build reads too: fields are only ever added, each with a default.

use std::sync::Arc;

use domain::model::ModelFacts;
use domain::{BaseModel, DeploymentId, RemoteId};
use serde::{Deserialize, Serialize};

/// One model of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// As the client names it.
    pub name: String,
    /// What serves it.
    pub deployment: DeploymentId,
    /// As the upstream names it.
    pub upstream: String,
    /// The model of the catalog that it really is, where that name does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseModel>,
    /// What its organization says of it. Only while its calls are written; never noted.
    #[serde(skip)]
    pub facts: Option<Arc<ModelFacts>>,
}

/// What is known of a file or a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The models that its lines name, in the order of their first line.
    pub models: Vec<Model>,
    /// The endpoint that its lines name.
    pub endpoint: String,
    /// The name that the client gave a file.
    pub file_name: String,
    /// Bytes that the upstream counted.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// The file that a batch was made of.
    pub input: Option<RemoteId>,
    /// Answers have to be read and written anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_translated: bool,
    /// Tools that the upstream knows by another name: as sent, as the client named them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<(String, String)>,
}

/// Most models in one batch.
pub const MAX_MODELS: usize = 64;
/// Longest name of a file that is noted.
const MAX_NAME: usize = 255;

impl Facts {
    /// Reads what a node noted.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self) -> String {
        // Plain data: serialising it to memory has no failing case.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes the name of a file, as far as it can be repeated.
    #[must_use]
    pub fn named(mut self, file_name: &str) -> Self {
        self.file_name = file_name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        self
    }

    /// Finds the model that an answer says it is of: by its name, by the longest name that it begins with (vendors add a date), or
    /// the only one there is.
    #[must_use]
    pub fn find_model(&self, said: &str) -> Option<usize> {
        let exact = self.models.iter().position(|model| model.upstream == said);
        let begins = || {
            let named = self.models.iter().enumerate().filter(|(_, model)| said.starts_with(&model.upstream));
            named.max_by_key(|(_, model)| model.upstream.len()).map(|(at, _)| at)
        };
        exact.or_else(begins).or_else(|| (self.models.len() == 1).then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, upstream: &str) -> Model {
        Model {
            name: name.to_owned(),
            deployment: DeploymentId::from_uuid(1),
            upstream: upstream.to_owned(),
            base: None,
            facts: None,
        }
    }

    #[test]
    fn facts_read_back_and_later_fields_do_no_harm() {
        let facts = Facts { models: vec![model("mine", "gpt-5")], lines: 3, ..Facts::default() }.named("a\n.jsonl");
        assert_eq!(Facts::read(&facts.write()), Some(facts));
        assert_eq!(Facts::read(r#"{"later":1}"#), Some(Facts::default()));
        assert_eq!(Facts::read("nothing"), None);
    }

    #[test]
    fn an_answers_model_is_found_by_its_longest_name() {
        let facts = Facts { models: vec![model("a", "gpt-5"), model("b", "gpt-5-mini")], ..Facts::default() };
        assert_eq!(facts.find_model("gpt-5-mini-2026-01-01"), Some(1));
        assert_eq!(facts.find_model("gpt-5-2026-01-01"), Some(0));
        assert_eq!(facts.find_model("o9"), None);
        let one = Facts { models: vec![model("a", "my-deployment")], ..Facts::default() };
        assert_eq!(one.find_model("gpt-5-2026-01-01"), Some(0), "Azure names the model, not the deployment");
    }
}
