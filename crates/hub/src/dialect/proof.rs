//! Proofs of reasoning, and whose they are.
//!
//! A vendor takes reasoning back only with the proof it gave, and the proof travels through clients of any dialect. So a
//! canonical proof names its vendor (`vendor:…`); Anthropic's, the oldest, are bare. Base64 holds no colon.

/// What begins a proof of ours where the field belongs to OpenAI.
const FOREIGN: &str = "headgate:";
const OPENAI: &str = "openai:";
const REDACTED: &str = "redacted:";

/// Makes the proof of OpenAI's encrypted reasoning; `id` is its item's.
pub fn of_openai(id: &str, encrypted: &str) -> String {
    format!("{OPENAI}{id}:{encrypted}")
}

/// Returns item id and encrypted reasoning when the proof is OpenAI's.
pub fn as_openai(proof: &str) -> Option<(&str, &str)> {
    proof.strip_prefix(OPENAI)?.split_once(':')
}

/// Says whether the proof is Anthropic's.
pub fn is_anthropic(proof: &str) -> bool {
    !proof.contains(':')
}

/// What stands in `encrypted_content` of OpenAI's reasoning items.
pub enum Encrypted {
    /// A proof, whosever it is.
    Proof(String),
    /// Anthropic's reasoning that only Anthropic can read.
    Redacted(String),
}

/// Reads `encrypted_content`; `id` is the item's.
pub fn read(id: &str, encrypted: &str) -> Encrypted {
    match encrypted.strip_prefix(FOREIGN) {
        None => Encrypted::Proof(of_openai(id, encrypted)),
        Some(foreign) => match foreign.strip_prefix(REDACTED) {
            Some(data) => Encrypted::Redacted(data.to_owned()),
            None => Encrypted::Proof(foreign.to_owned()),
        },
    }
}

/// Writes a proof as `encrypted_content`.
pub fn write(proof: &str) -> String {
    match as_openai(proof) {
        Some((_, encrypted)) => encrypted.to_owned(),
        None => format!("{FOREIGN}{proof}"),
    }
}

/// Writes Anthropic's unreadable reasoning as `encrypted_content`.
pub fn write_redacted(data: &str) -> String {
    format!("{FOREIGN}{REDACTED}{data}")
}
