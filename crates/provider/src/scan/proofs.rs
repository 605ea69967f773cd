//! Whose reasoning a conversation holds: told by where a proof stands, and how it begins.
//!
//! Vendors take reasoning back only from themselves. What Headgate gave to clients of other dialects names its maker
//! (`llm::dialect::is_proof`); what a vendor gave to its own clients is known by the field it stands in.

use llm::dialect::Dialect;

use crate::Spec;

/// The vendors whose proofs of reasoning a conversation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proofs(u8);

impl Proofs {
    /// Signed thinking of Anthropic's.
    pub const ANTHROPIC: Self = Self(1);
    /// Encrypted reasoning of OpenAI's, which only the organization reads that it was made for.
    pub const OPENAI: Self = Self(2);
    /// Signed thinking of Gemini's.
    pub const GEMINI: Self = Self(4);
    /// A signature of Gemini's in the id of a call: elsewhere the call is understood without it.
    const IN_IDS: Self = Self(8);

    /// Reads a string of a message, as it is written.
    pub(super) fn of(key: &[u8], written: &[u8]) -> Self {
        match key {
            _ if written.is_empty() => Self::default(),
            b"signature" if written.starts_with(b"openai:") => Self::OPENAI,
            b"signature" if written.starts_with(b"gemini:") => Self::GEMINI,
            b"signature" => Self::ANTHROPIC,
            // Results of Anthropic's search have the field, too; OpenAI's begins like this.
            b"encrypted_content" if written.starts_with(b"gAAAA") => Self::OPENAI,
            b"encrypted_content" if written.starts_with(b"headgate:gemini:") => Self::GEMINI,
            b"encrypted_content" if written.starts_with(b"headgate:") => Self::ANTHROPIC,
            // The base64 of `headgate:openai:` and of `headgate:`.
            b"thoughtSignature" | b"thought_signature" if written.starts_with(b"aGVhZGdhdGU6b3BlbmFpO") => Self::OPENAI,
            b"thoughtSignature" | b"thought_signature" if written.starts_with(b"aGVhZGdhdGU6") => Self::ANTHROPIC,
            // What stands in for a signature says so, in the clear or as base64.
            b"thoughtSignature" | b"thought_signature"
                if written.starts_with(b"skip_") || written.starts_with(b"c2tpcF") =>
            {
                Self::default()
            }
            b"thoughtSignature" | b"thought_signature" => Self::GEMINI,
            [.., b'i', b'd'] if llm::dialect::is_proof(written, true) => Self::IN_IDS,
            _ => Self::default(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Says whether there are any.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Says whether some are of a vendor's.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Says whether a model takes all of them back.
    #[must_use]
    pub fn are_taken_by(self, spec: &Spec, model: &str) -> bool {
        let speaks_first = |dialect| spec.dialects.first() == Some(&dialect);
        (!self.has(Self::ANTHROPIC) || speaks_first(Dialect::AnthropicMessages) || model.contains("claude"))
            && (!self.has(Self::OPENAI) || spec.dialects.contains(&Dialect::OpenAiResponses))
            && (!self.has(Self(Self::GEMINI.0 | Self::IN_IDS.0))
                || speaks_first(Dialect::Gemini)
                || model.contains("gemini"))
    }

    /// Says whether reasoning is lost at a model that does not take them.
    #[must_use]
    pub const fn are_content(self) -> bool {
        self.0 & !Self::IN_IDS.0 != 0
    }
}
