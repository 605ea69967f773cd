//! A body that is read at its end.

use super::{Decoder, Undo};
use crate::canonical::answer::Answer;
use crate::canonical::error::DecodeError;
use crate::canonical::event::Event;

/// How a whole body is read.
pub type ReadAnswer = fn(&[u8], &Undo) -> Result<Answer, DecodeError>;

/// Makes a reader that collects the body and reads it at the end.
#[must_use]
pub fn decoder(undo: Undo, read: ReadAnswer) -> Box<dyn Decoder> {
    Box::new(WholeDecoder { body: Vec::new(), undo, read })
}

struct WholeDecoder {
    body: Vec<u8>,
    undo: Undo,
    read: ReadAnswer,
}

impl Decoder for WholeDecoder {
    fn push(&mut self, bytes: &[u8], _: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        events.extend((self.read)(&self.body, &self.undo)?.into_events());
        Ok(())
    }
}
