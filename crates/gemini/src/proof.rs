//! Signatures of thinking, in Gemini's `thoughtSignature` and in the hub.
//!
//! A canonical proof of Gemini's is `gemini:<base64>`. Another vendor's proof reaches a Gemini client as the base64 of
//! `headgate:<proof>`, because the field holds bytes, and comes back the same way. Invariant: what a client returns is
//! read as what it was given.

use hub::codec::base64;

const GEMINI: &str = "gemini:";
const FOREIGN: &str = "headgate:";
const REDACTED: &str = "redacted:";
/// What Gemini takes in place of a signature for calls it did not make.
const NOT_OURS: &str = "skip_thought_signature_validator";

/// What a `thoughtSignature` is.
pub(super) enum Proof {
    /// A canonical proof, whosever it is.
    Signature(String),
    /// Anthropic's thinking that only Anthropic can read.
    Redacted(String),
}

/// Reads a `thoughtSignature`.
pub(super) fn read(wire: &str) -> Proof {
    let text = base64::decode(wire).and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.strip_prefix(FOREIGN)) {
        None => Proof::Signature(format!("{GEMINI}{wire}")),
        Some(foreign) => match foreign.strip_prefix(REDACTED) {
            Some(data) => Proof::Redacted(data.to_owned()),
            None => Proof::Signature(foreign.to_owned()),
        },
    }
}

/// Returns the `thoughtSignature` when the proof is Gemini's.
pub(super) fn as_gemini(proof: &str) -> Option<&str> {
    proof.strip_prefix(GEMINI)
}

/// Writes any proof as `thoughtSignature`, for a client.
pub(super) fn write(proof: &str) -> String {
    as_gemini(proof).map_or_else(|| base64::encode(format!("{FOREIGN}{proof}").as_bytes()), str::to_owned)
}

/// Writes Anthropic's unreadable thinking as `thoughtSignature`, for a client.
pub(super) fn write_redacted(data: &str) -> String {
    base64::encode(format!("{FOREIGN}{REDACTED}{data}").as_bytes())
}

/// The `thoughtSignature` of calls that Gemini did not make.
pub(super) fn not_ours() -> String {
    base64::encode(NOT_OURS.as_bytes())
}
