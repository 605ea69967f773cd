//! What an upstream fetches itself of what a call names by address.

use hub::dialect::Dialect;

/// Which addresses an upstream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// None: it wants the bytes.
    Nothing,
    /// Those with TLS.
    Https,
    /// All.
    Any,
}

/// What an upstream fetches itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetches {
    /// Pictures.
    pub images: Reach,
    /// Documents.
    pub documents: Reach,
}

impl Fetches {
    /// Wants the bytes of everything.
    pub const NOTHING: Self = Self { images: Reach::Nothing, documents: Reach::Nothing };
    /// Pictures only.
    pub const IMAGES: Self = Self { images: Reach::Any, documents: Reach::Nothing };
    /// Everything that has TLS.
    pub const HTTPS: Self = Self { images: Reach::Https, documents: Reach::Https };
    /// Everything.
    pub const ALL: Self = Self { images: Reach::Any, documents: Reach::Any };

    /// What the vendor of a dialect fetches.
    #[must_use]
    pub const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAiChat | Dialect::OpenAiCompletions => Self::IMAGES,
            Dialect::OpenAiResponses => Self::ALL,
            Dialect::AnthropicMessages => Self::HTTPS,
            Dialect::Gemini => Self::NOTHING,
        }
    }
}
