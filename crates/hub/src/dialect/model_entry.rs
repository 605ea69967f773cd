//! One line of the models list, and what is told about a model beyond its name.
//!
//! Vendors say little there; the rest has the names that `OpenRouter` gave it, which clients know to read. Whoever makes an entry
//! knows the model; nothing here does.

use crate::codec::json::ObjectWriter;

/// One line of the models list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelEntry {
    /// The public name.
    pub id: Box<str>,
    /// Name for people; the id when there is none.
    pub display_name: Option<Box<str>>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Who serves it, such as a provider's name.
    pub owned_by: Box<str>,
    /// What is known of it.
    pub facts: ModelFacts,
}

/// What is known of a model; empty where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// Tokens that prompt and answer may have together.
    pub context_tokens: Option<u64>,
    /// Tokens an answer may have.
    pub max_output_tokens: Option<u64>,
    /// What it reads: `text`, `image` and so on.
    pub input: Vec<&'static str>,
    /// What it writes.
    pub output: Vec<&'static str>,
    /// Request parameters beyond the plain ones that it takes.
    pub parameters: Vec<&'static str>,
    /// Whether it turns texts into vectors instead of answering.
    pub is_embedding: bool,
    /// Dollars for a token, by kind, as decimal numbers.
    pub prices: Vec<(&'static str, String)>,
}

impl ModelFacts {
    /// Writes what OpenAI and Anthropic have no names for.
    pub fn write(&self, object: &mut ObjectWriter<'_>) {
        if let Some(tokens) = self.context_tokens {
            object.u64("context_length", tokens);
        }
        if !self.input.is_empty() || !self.output.is_empty() {
            object.object("architecture", |object| {
                object.str("modality", &format!("{}->{}", self.input.join("+"), self.output.join("+")));
                object.array("input_modalities", |array| self.input.iter().for_each(|name| array.str(name)));
                object.array("output_modalities", |array| self.output.iter().for_each(|name| array.str(name)));
            });
        }
        if self.context_tokens.is_some() || self.max_output_tokens.is_some() {
            object.object("top_provider", |object| {
                if let Some(tokens) = self.context_tokens {
                    object.u64("context_length", tokens);
                }
                if let Some(tokens) = self.max_output_tokens {
                    object.u64("max_completion_tokens", tokens);
                }
            });
        }
        self.write_prices(object);
        if !self.parameters.is_empty() {
            object.array("supported_parameters", |array| self.parameters.iter().for_each(|name| array.str(name)));
        }
    }

    /// Writes the prices alone.
    pub fn write_prices(&self, object: &mut ObjectWriter<'_>) {
        if !self.prices.is_empty() {
            object.object("pricing", |object| self.prices.iter().for_each(|(kind, price)| object.str(kind, price)));
        }
    }
}
