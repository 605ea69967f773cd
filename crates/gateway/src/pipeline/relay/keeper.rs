//! Keeps a streamed answer of the responses surface: its last event holds the whole, and waits until that is kept.
//!
//! Reads what the client is sent, whoever wrote it. Invariant: the last event says `"store":true` only of an answer that can be
//! found again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use llm::codec::sse;
use llm::dialect::openai_responses::conversation::final_response;
use memchr::memmem;
use tokio::time::Sleep;

use super::StreamRelay;
use crate::pipeline::remember::{self, Memory};
use crate::responses::KeepError;

const KEPT: &[u8] = b"\"store\":true";
const NOT_KEPT: &[u8] = b"\"store\":false";

/// Watches one stream.
pub(crate) struct Keeper {
    reader: sse::Reader,
    /// Gone once the last event was seen, or the stream cannot be read.
    memory: Option<Box<Memory>>,
    /// What is being kept, and the bytes that wait for it.
    keeping: Option<(BoxFuture<'static, Result<(), KeepError>>, Bytes)>,
}

impl Keeper {
    pub(crate) fn new(memory: Box<Memory>) -> Box<Self> {
        Box::new(Self { reader: sse::Reader::default(), memory: Some(memory), keeping: None })
    }

    pub(super) fn poll_next(
        &mut self,
        relay: &mut StreamRelay,
        mut sleep: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        loop {
            if let Some((keeping, _)) = &mut self.keeping {
                let kept = ready!(keeping.as_mut().poll(cx));
                let held = self.keeping.take().map(|(_, held)| held).unwrap_or_default();
                return Poll::Ready(Some(match kept {
                    Ok(()) => held,
                    Err(error) => {
                        remember::note(&error);
                        correct(held)
                    }
                }));
            }
            let Some(bytes) = ready!(relay.poll_next(sleep.as_mut(), cx)) else { return Poll::Ready(None) };
            match self.watch(&bytes) {
                Some(keeping) => self.keeping = Some((keeping, bytes)),
                None => return Poll::Ready(Some(bytes)),
            }
        }
    }

    fn watch(&mut self, bytes: &[u8]) -> Option<BoxFuture<'static, Result<(), KeepError>>> {
        self.memory.as_ref()?;
        let mut last = None;
        let read = self.reader.push(bytes, &mut |frame| {
            if matches!(frame.event, b"response.completed" | b"response.incomplete") {
                last = final_response(frame.data);
            }
            Ok(())
        });
        if read.is_err() {
            self.memory = None;
        }
        self.memory.take_if(|_| last.is_some())?.keep(last?)
    }
}

/// The answer was to be kept and is not.
fn correct(held: Bytes) -> Bytes {
    // Inside a string the quotes would be escaped, so this is a field.
    let Some(at) = memmem::find(&held, KEPT) else { return held };
    [&held[..at], NOT_KEPT, &held[at + KEPT.len()..]].concat().into()
}
