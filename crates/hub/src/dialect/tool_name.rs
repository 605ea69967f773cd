//! Tool names and call ids that another vendor's rules would refuse.
//!
//! Rewriting is a pure function, so a name in the tools, the choice and the history always becomes the same; the pairs
//! go into [`Undo`] and the decoder turns them back. Invariant: two names never become one (a hash tells them apart).

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::Undo;

/// What a vendor allows besides `[a-zA-Z0-9_-]`.
#[derive(Clone, Copy, Debug)]
pub struct NameRule {
    /// Longest name.
    pub longest: usize,
}

impl NameRule {
    /// OpenAI's and its followers' rule.
    pub const OPENAI: Self = Self { longest: 64 };
    /// Anthropic's rule.
    pub const ANTHROPIC: Self = Self { longest: 128 };

    /// Returns `name` as the vendor takes it, and notes what the decoder must undo.
    pub fn apply<'n>(self, name: &'n str, undo: &mut Undo) -> Cow<'n, str> {
        let sent = self.rewrite(name);
        if let Cow::Owned(sent) = &sent
            && !undo.tool_names.iter().any(|(known, _)| **known == **sent)
        {
            undo.tool_names.push((sent.as_str().into(), name.into()));
        }
        sent
    }

    /// Returns an id or name that obeys the rule; ids need no undoing, because both ends of a call go the same way.
    pub fn rewrite(self, name: &str) -> Cow<'_, str> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !name.is_empty() && name.len() <= self.longest && name.bytes().all(is_allowed) {
            return Cow::Borrowed(name);
        }
        let digest = Sha256::digest(name.as_bytes());
        let mut sent: String = name
            .chars()
            .map(|character| if u8::try_from(character).is_ok_and(is_allowed) { character } else { '_' })
            .take(self.longest - 9)
            .collect();
        sent.push('_');
        for byte in &digest[..4] {
            sent.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            sent.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        Cow::Owned(sent)
    }
}

impl Undo {
    /// Returns the caller's name for a tool name in an answer.
    pub fn tool_name<'n>(&'n self, sent: &'n str) -> &'n str {
        self.tool_names.iter().find(|(known, _)| **known == *sent).map_or(sent, |(_, original)| original)
    }

    /// Says whether a tool call in an answer is really the answer's text.
    pub fn is_text_tool(&self, sent: &str) -> bool {
        self.text_tool.as_deref() == Some(sent)
    }
}
