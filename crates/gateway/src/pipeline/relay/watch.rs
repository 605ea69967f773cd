//! An answer that goes to the client byte for byte while the upstream's own reader looks on.
//!
//! For forms that only one upstream speaks (binary frames, lines of JSON). Invariant: nothing here changes a byte, and bytes
//! that cannot be read go on as well: they are the client's to judge, and only their count is missing.

use llm::canonical::error::DecodeError;
use llm::canonical::event::Event;
use llm::dialect::{Decoder, Dialect};
use provider::skim::{InBandError, Skimmed, tier_in_events};

/// The onlooker.
pub(crate) struct Watch {
    dialect: Dialect,
    /// Gone once it could not read on.
    decoder: Option<Box<dyn Decoder>>,
    events: Vec<Event>,
    found: Skimmed,
}

impl Watch {
    pub(crate) fn new((dialect, decoder): (Dialect, Box<dyn Decoder>)) -> Self {
        Self { dialect, decoder: Some(decoder), events: Vec::new(), found: Skimmed::default() }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.found.n_bytes += chunk.len() as u64;
        self.found.tier = tier_in_events(self.dialect, chunk).or(self.found.tier);
        let Some(decoder) = &mut self.decoder else { return };
        if decoder.push(chunk, &mut self.events).is_err() {
            self.decoder = None;
        }
        self.note();
    }

    /// The upstream has ended. `Err` when its answer had not.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        let ended = self.decoder.take().map_or(Ok(()), |mut decoder| decoder.finish(&mut self.events));
        self.note();
        let is_over = self.found.is_complete || self.found.error.is_some();
        self.found.is_complete |= ended.is_ok();
        if is_over { Ok(()) } else { ended }
    }

    /// Returns what is known of the answer.
    pub(crate) fn found(&self) -> &Skimmed {
        &self.found
    }

    fn note(&mut self) {
        self.events.drain(..).for_each(|event| note(&event, &mut self.found));
    }
}

/// Notes what an event says about the answer.
pub(super) fn note(event: &Event, found: &mut Skimmed) {
    found.has_begun |= !matches!(event, Event::Done | Event::Error(_));
    match event {
        Event::Delta { .. } => found.n_output_events += 1,
        Event::Usage(usage) => found.note_usage(usage),
        Event::Finish(finish) if finish.choice == 0 => found.finish = Some(finish.reason),
        Event::Error(error) => {
            found.error = Some(InBandError {
                kind: error.native_type.clone().unwrap_or_default(),
                code: error.code.clone().unwrap_or_default(),
                message: error.message.clone(),
            });
        }
        Event::Done => found.is_complete = true,
        _ => {}
    }
}
