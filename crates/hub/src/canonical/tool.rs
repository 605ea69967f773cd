//! Tools that a request offers and how the model may use them.

use super::content::CacheControl;
use super::content::Opaque;
use super::json::{Raw, Rest};

/// One tool on offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller.
    Function(FunctionTool),
    /// A tool of one vendor (web search, computer use), whole.
    Opaque(Opaque),
}

/// A function that the caller runs.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionTool {
    /// Its name.
    pub name: String,
    /// When to use it.
    pub description: Option<String>,
    /// JSON Schema of the arguments; `None` means no arguments.
    pub parameters: Option<Raw>,
    /// Whether the arguments must obey the schema.
    pub strict: Option<bool>,
    /// Prompt cache breakpoint after this tool.
    pub cache: Option<CacheControl>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}

/// How the model may use the tools.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
    /// A choice of the origin dialect that this model does not know.
    Opaque(Raw),
}

/// What form the answer must have.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that obeys a schema.
    JsonSchema(JsonSchema),
    /// A format of the origin dialect that this model does not know.
    Opaque(Raw),
}

/// A schema that the answer must obey.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// OpenAI requires a name; Anthropic has none.
    pub name: Option<String>,
    /// What the JSON is for.
    pub description: Option<String>,
    /// The schema; OpenAI allows leaving it out.
    pub schema: Option<Raw>,
    /// Whether the schema is enforced while sampling.
    pub strict: Option<bool>,
    /// Fields of the origin dialect.
    pub rest: Rest,
}
