//! A body that is read, or written, at its end.

use bytes::BytesMut;

use super::{Decoder, Encoder, Undo};
use crate::canonical::answer::{Answer, Fold};
use crate::canonical::error::DecodeError;
use crate::canonical::event::Event;
use crate::canonical::json::Raw;
use crate::canonical::loss::Loss;

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

/// Writes a whole body.
pub trait WriteAnswer: Send {
    /// Writes it; `extra` is the `x_headgate` object.
    fn write(&mut self, answer: &Answer, extra: Option<&Raw>, out: &mut BytesMut);

    /// What of the answer could not be said.
    fn losses(&self) -> &[Loss];
}

/// Makes a writer that collects the events and writes at the end.
#[must_use]
pub fn encoder<W: WriteAnswer + 'static>(writer: W) -> Box<dyn Encoder> {
    Box::new(WholeEncoder { writer, fold: Fold::default(), extra: None })
}

struct WholeEncoder<W> {
    writer: W,
    fold: Fold,
    extra: Option<Raw>,
}

impl<W: WriteAnswer> Encoder for WholeEncoder<W> {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        let is_last = matches!(event, Event::Done | Event::Error(_));
        self.fold.push(event);
        if is_last {
            let answer = std::mem::take(&mut self.fold).finish();
            self.writer.write(&answer, self.extra.as_ref(), out);
        }
    }

    fn annotate(&mut self, extra: Raw) {
        self.extra = Some(extra);
    }

    fn losses(&self) -> &[Loss] {
        self.writer.losses()
    }
}
