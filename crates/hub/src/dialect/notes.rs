//! What every writer of requests keeps beside the body: what was lost, what must be undone, why it cannot be said at all.

use bytes::BytesMut;

use super::{EncodedRequest, Undo};
use crate::canonical::content::{Block, Message};
use crate::canonical::error::EncodeError;
use crate::canonical::json::Rest;
use crate::canonical::loss::Loss;

/// The notes of one writer.
#[derive(Debug, Default)]
pub struct Notes {
    /// What could not be said.
    pub losses: Vec<Loss>,
    /// What the decoder of the answer must undo.
    pub undo: Undo,
    /// The first thing that cannot be said; the body is thrown away then.
    failure: Option<EncodeError>,
}

/// A block and where it came from.
pub struct Placed<'r> {
    /// In the words of the caller's dialect.
    pub path: String,
    /// The block.
    pub block: &'r Block,
}

impl Notes {
    /// Notes that the call cannot be said, unless that is known.
    pub fn fail(&mut self, path: &str, reason: &str) {
        self.failure.get_or_insert_with(|| EncodeError { path: path.into(), reason: reason.into() });
    }

    /// Notes a field that was left out.
    pub fn dropped(&mut self, path: impl Into<Box<str>>, reason: &str) {
        self.losses.push(Loss::dropped(path, reason));
    }

    /// Notes a field that was sent in another form.
    pub fn changed(&mut self, path: impl Into<Box<str>>, reason: &str) {
        self.losses.push(Loss::changed(path, reason));
    }

    /// Notes each field of another dialect, below `path`.
    pub fn unknown(&mut self, path: &str, rest: &Rest, reason: &str) {
        for (name, _) in rest.unknown() {
            let dot = if path.is_empty() { "" } else { "." };
            self.dropped(format!("{path}{dot}{name}"), reason);
        }
    }

    /// Places the blocks of a message for a language whose messages are made of blocks alone, and notes what is lost with it.
    pub fn place<'r>(
        &mut self,
        (index, message): (usize, &'r Message),
        is_ours: bool,
        (no_names, no_field): (&str, &str),
    ) -> Vec<Placed<'r>> {
        let path = format!("messages[{index}]");
        if message.name.is_some() {
            self.dropped(format!("{path}.name"), no_names);
        }
        if !is_ours {
            self.unknown(&path, &message.rest, no_field);
        }
        let blocks = message.content.iter().enumerate();
        blocks.map(|(at, block)| Placed { path: format!("{path}.content[{at}]"), block }).collect()
    }

    /// Gives the request, or why there is none.
    pub fn finish(self, body: BytesMut) -> Result<EncodedRequest, EncodeError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(EncodedRequest { body: body.freeze(), losses: self.losses, undo: self.undo }),
        }
    }
}
