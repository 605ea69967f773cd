//! Upstreams that go on from an assistant's message that ends the conversation, instead of beginning a new one.

use bytes::Bytes;

use crate::scan::{Patch, scan};

/// Whether an upstream goes on from the last message, and how it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefill {
    /// It begins anew, or nobody knows.
    Never,
    /// Models do in whose names one of these is.
    Models(&'static [&'static str]),
    /// It does when the message says `prefix`.
    Prefix,
    /// It does when the request says `continue_final_message`.
    Final,
}

impl Prefill {
    /// Claude, until the generation that refuses it.
    pub const CLAUDE: Self = Self::Models(&[
        "claude-3",
        "claude-opus-4-0",
        "claude-opus-4-1",
        "claude-opus-4-2025",
        "claude-opus-4@2025",
        "claude-opus-4-5",
        "claude-sonnet-4-0",
        "claude-sonnet-4-2025",
        "claude-sonnet-4@2025",
        "claude-sonnet-4-5",
        "claude-haiku-4-5",
    ]);

    /// Says whether a model goes on from the last message.
    #[must_use]
    pub fn holds_for(self, model: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Models(families) => families.iter().any(|family| model.contains(family)),
            Self::Prefix | Self::Final => true,
        }
    }

    /// Tells the upstream to, in a request whose last message is the assistant's.
    #[must_use]
    pub fn mark(self, body: &Bytes) -> Bytes {
        let Ok(found) = scan(body) else { return body.clone() };
        let mut patch = Patch::default();
        match self {
            Self::Never | Self::Models(_) => {}
            Self::Final => {
                let told = br#""continue_final_message":true,"add_generation_prompt":false,"#;
                patch.insert(found.open, Bytes::from_static(told));
            }
            Self::Prefix => {
                // The list ends with the message's own brace.
                if let Some(span) = found.messages
                    && let Some(at) = memchr::memrchr(b'}', span.of(body))
                {
                    patch.insert(span.start + at, Bytes::from_static(br#","prefix":true"#));
                }
            }
        }
        patch.apply(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_told_to_go_on() {
        let body = Bytes::from_static(br#"{"model":"m","messages":[{"role":"assistant","content":"a}"} ]}"#);
        let marked = |prefill: Prefill| String::from_utf8(prefill.mark(&body).to_vec()).unwrap();
        assert_eq!(
            marked(Prefill::Prefix),
            r#"{"model":"m","messages":[{"role":"assistant","content":"a}","prefix":true} ]}"#
        );
        assert!(marked(Prefill::Final).starts_with(r#"{"continue_final_message":true,"#));
        assert_eq!(Prefill::CLAUDE.mark(&body), body);
    }

    #[test]
    fn newer_models_are_not_taken_for_older_ones() {
        let of = |model| Prefill::CLAUDE.holds_for(model);
        assert!(of("claude-sonnet-4-5-20250929") && of("us.anthropic.claude-3-7-sonnet-20250219-v1:0"));
        assert!(of("claude-sonnet-4@20250514"));
        assert!(!of("claude-opus-4-6") && !of("claude-sonnet-5") && !of("gpt-4o"));
    }
}
