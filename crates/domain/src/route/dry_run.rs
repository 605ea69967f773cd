//! What a dry run of a route may lack: facts that decide where a call goes, but that its record does not keep.

/// A fact that a decision asked for and that the record of a call does not keep. The decision is then made as if it were absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// A header of the request.
    Headers,
    /// Whether tools were offered.
    Tools,
    /// Whether the prompt held images.
    Images,
    /// Whether an answer of a given shape was asked for.
    Schema,
    /// The cap on output tokens.
    MaxTokens,
    /// A field of the request's body.
    Parameters,
    /// What was left of a budget.
    Budgets,
    /// How busy or how fast a deployment is at the moment of a call.
    Load,
    /// The price of a deployment: there is none.
    Price,
}

impl Unknown {
    /// Every fact, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Headers,
        Self::Tools,
        Self::Images,
        Self::Schema,
        Self::MaxTokens,
        Self::Parameters,
        Self::Budgets,
        Self::Load,
        Self::Price,
    ];
}
