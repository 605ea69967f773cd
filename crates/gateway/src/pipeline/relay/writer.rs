//! Turns upstream bytes into client bytes, chunk by chunk: untouched, or through the hub model.
//!
//! No IO and no clock. Whatever the way, what the answer says about itself ends up in one [`Skimmed`].

use bytes::{Bytes, BytesMut};
use continuation::Thread;
use domain::usage::TokenUsage;
use llm::canonical::error::{AnswerError, DecodeError};
use llm::canonical::event::Event;
use llm::canonical::json::Raw;
use llm::dialect::{Decoder, Dialect, Encoder, Speak as _};
use provider::skim::{Skimmed, StreamSkim, tier_in_events};
use remote::read::Lines;

use super::watch::{Watch, note};

/// Writes one answer for one client.
pub(crate) enum Writer {
    /// The client's dialect is the upstream's.
    Untouched {
        /// Gone once the upstream has ended.
        skim: Option<Box<StreamSkim>>,
        /// What is known after that.
        ended: Skimmed,
        /// Keep the usage event from the client, who did not ask for it.
        withholds_usage: bool,
        dialect: Dialect,
        /// The last two bytes that went out.
        tail: [u8; 2],
    },
    /// The answer is read and written anew.
    Translated(Box<Translation>),
    /// The answer of an operation besides chat, as it comes.
    Passing(Box<Passing>),
    /// An answer in a form that only its upstream speaks, as it comes.
    Watched(Box<Watch>),
    /// The output of a batch.
    Lines(Box<Lines>),
    /// An answer that goes on from another: only read, and written by the first one's writer.
    Later(Box<Later>),
}

/// An answer that goes on from another.
pub(crate) struct Later {
    pub(crate) reading: Reading,
    pub(crate) annotate: Option<Annotate>,
    /// The upstream goes on from a message of its own.
    pub(crate) is_prefilled: bool,
}

/// What an answer that is only read gives in place of bytes for the client, as soon as it says something.
const SPOKEN: Bytes = Bytes::from_static(b"\n");

/// An answer that is handed on as it comes.
pub(crate) struct Passing {
    /// Reads its events; `None` for bare bytes.
    skim: Option<StreamSkim>,
    found: Skimmed,
}

impl Passing {
    fn push(&mut self, chunk: &[u8]) {
        self.found.n_bytes += chunk.len() as u64;
        let Some(skim) = &mut self.skim else { return };
        skim.push(chunk);
        let seen = skim.found();
        if seen.usage.is_some() {
            // Counted upstream, so nothing is a guess of ours.
            self.found.is_guessed = false;
        }
        self.found.usage = seen.usage;
        self.found.modal.clone_from(&seen.modal);
        self.found.n_output_events = seen.n_output_events;
        self.found.units = self.found.units.max(seen.units);
        self.found.error.clone_from(&seen.error);
    }
}

/// Makes the `x_headgate` object of a stream's last event.
pub(crate) type Annotate = Box<dyn FnOnce(&Skimmed) -> Option<Raw> + Send>;

type Read<'a> = &'a mut dyn FnMut(&mut dyn Decoder, &mut Vec<Event>) -> Result<(), DecodeError>;

/// An upstream's answer on its way into the hub model.
pub(crate) struct Reading {
    /// The upstream's.
    dialect: Dialect,
    decoder: Box<dyn Decoder>,
    events: Vec<Event>,
    found: Skimmed,
}

impl Reading {
    pub(crate) fn new(dialect: Dialect, decoder: Box<dyn Decoder>) -> Self {
        Self { dialect, decoder, events: Vec::new(), found: Skimmed::default() }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        self.found.n_bytes += chunk.len() as u64;
        self.found.tier = tier_in_events(self.dialect, chunk).or(self.found.tier);
        self.read(&mut |decoder, events| decoder.push(chunk, events))
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        self.read(&mut |decoder, events| decoder.finish(events))
    }

    /// Notes what is read. Behind the end nothing is, nor is it the answer's that it could not be.
    fn read(&mut self, read: Read<'_>) -> Result<(), DecodeError> {
        let n_before = self.events.len();
        let read = if self.found.is_complete { Ok(()) } else { read(&mut *self.decoder, &mut self.events) };
        self.events[n_before..].iter().for_each(|event| note(event, &mut self.found));
        if self.found.is_complete { Ok(()) } else { read }
    }

    /// Says that there is something, once the model has said something or the answer is over.
    fn spoken(&self) -> Bytes {
        let is_word = |event: &Event| matches!(event, Event::Delta { .. } | Event::Done);
        if self.events.iter().any(is_word) { SPOKEN } else { Bytes::new() }
    }
}

/// An answer on its way through the hub model.
pub(crate) struct Translation {
    reading: Reading,
    pub(crate) encoder: Box<dyn Encoder>,
    /// Makes the `x_headgate` object of the last event, when the client asked for it.
    pub(crate) annotate: Option<Annotate>,
    /// Keeps what was said, so that another upstream can go on from it.
    thread: Option<Box<Thread>>,
    /// What was written before the upstream could not be read any more.
    unsent: BytesMut,
}

impl Translation {
    pub(crate) fn new(dialect: Dialect, decoder: Box<dyn Decoder>, encoder: Box<dyn Encoder>) -> Self {
        Self { reading: Reading::new(dialect, decoder), encoder, annotate: None, thread: None, unsent: BytesMut::new() }
    }

    /// Keeps what is said.
    pub(crate) fn keeping(mut self) -> Self {
        self.thread = Some(Box::default());
        self
    }

    fn drain(&mut self, out: &mut BytesMut) {
        for event in std::mem::take(&mut self.reading.events) {
            if matches!(event, Event::Done)
                && let Some(annotate) = self.annotate.take()
                && let Some(extra) = annotate(&self.reading.found)
            {
                self.encoder.annotate(extra);
            }
            match &mut self.thread {
                None => self.encoder.push(event, out),
                Some(thread) => thread.take(event, &mut |event| self.encoder.push(event, out)),
            }
        }
    }

    /// Reads the next bytes and returns what they let the client see.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Bytes, DecodeError> {
        let out = BytesMut::with_capacity(chunk.len());
        let read = self.reading.push(chunk);
        self.write(read, out)
    }

    /// Ends the answer and returns what is left of it.
    pub(crate) fn finish(&mut self) -> Result<Bytes, DecodeError> {
        let read = self.reading.finish();
        self.write(read, BytesMut::new())
    }

    /// Writes what was read; before an error it waits for what ends the answer.
    fn write(&mut self, read: Result<(), DecodeError>, mut out: BytesMut) -> Result<Bytes, DecodeError> {
        self.drain(&mut out);
        match read {
            Ok(()) => Ok(out.freeze()),
            Err(error) => {
                self.unsent = out;
                Err(error)
            }
        }
    }

    /// Returns what is known of the answer.
    pub(crate) fn found(&self) -> &Skimmed {
        &self.reading.found
    }

    fn go_on(&mut self, later: Later, before: TokenUsage) -> Bytes {
        let Later { reading, annotate, is_prefilled } = later;
        (self.reading, self.annotate) = (reading, annotate);
        if let Some(thread) = &mut self.thread {
            thread.go_on(before, is_prefilled);
        }
        let mut out = std::mem::take(&mut self.unsent);
        self.drain(&mut out);
        out.freeze()
    }

    /// Lists what of the answer could not be said.
    pub(crate) fn list_losses(&self) -> impl Iterator<Item = String> {
        self.encoder.losses().iter().map(|loss| loss.path.to_string())
    }
}

impl Writer {
    /// Writes for a client that speaks the upstream's dialect.
    pub(crate) fn untouched(dialect: Dialect, withholds_usage: bool) -> Self {
        let skim = Some(Box::new(StreamSkim::new(dialect)));
        Self::Untouched { skim, ended: Skimmed::default(), withholds_usage, dialect, tail: *b"\n\n" }
    }

    /// Hands on what comes. `known` is what is known of the answer before it is there.
    pub(crate) fn passing(known: Skimmed, is_events: bool) -> Self {
        let skim = is_events.then(|| StreamSkim::new(Dialect::OpenAiResponses));
        Self::Passing(Box::new(Passing { skim, found: known }))
    }

    /// Takes the next bytes of the upstream and returns those for the client, perhaps none yet.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Bytes, DecodeError> {
        match self {
            Self::Untouched { skim, withholds_usage, tail, .. } => {
                let out = match skim {
                    Some(skim) if *withholds_usage => skim.relay(chunk),
                    Some(skim) => skim.pass(chunk),
                    None => chunk,
                };
                match out[..] {
                    [] => {}
                    [only] => *tail = [tail[1], only],
                    [.., last_but_one, last] => *tail = [last_but_one, last],
                }
                Ok(out)
            }
            Self::Translated(translation) => translation.push(&chunk),
            Self::Later(later) => later.reading.push(&chunk).map(|()| later.reading.spoken()),
            Self::Passing(passing) => {
                passing.push(&chunk);
                Ok(chunk)
            }
            Self::Watched(watch) => {
                watch.push(&chunk);
                Ok(chunk)
            }
            Self::Lines(lines) => lines.push(&chunk).map_err(|_| DecodeError::Truncated),
        }
    }

    /// Ends the answer. `Err` when the upstream ended it too early.
    pub(crate) fn finish(&mut self) -> Result<Bytes, DecodeError> {
        match self {
            Self::Untouched { skim, ended, dialect, tail, .. } => {
                let Some(mut skim) = skim.take() else { return Ok(Bytes::new()) };
                let rest = skim.rest();
                *ended = skim.finish();
                if ended.is_complete || ended.error.is_some() {
                    return Ok(rest);
                }
                // Some compatible servers send no end mark after the reason to stop; some clients wait for it.
                if ended.is_garbled || ended.finish.is_none() {
                    return Err(DecodeError::Truncated);
                }
                let gap: &[u8] =
                    if rest.ends_with(b"\n\n") || rest.is_empty() && tail == b"\n\n" { b"" } else { b"\n\n" };
                Ok([&rest, gap, end_mark(*dialect)].concat().into())
            }
            Self::Translated(translation) => translation.finish(),
            Self::Later(later) => later.reading.finish().map(|()| later.reading.spoken()),
            Self::Passing(passing) => {
                // Whoever sends bare bytes ends them where they end.
                passing.found.is_complete = true;
                Ok(Bytes::new())
            }
            Self::Watched(watch) => watch.finish().map(|()| Bytes::new()),
            Self::Lines(lines) => Ok(lines.finish()),
        }
    }

    /// Says whether the end mark has passed, so that nothing that counts can follow.
    pub(crate) fn is_said(&self) -> bool {
        match self {
            // Its last event is only known by the connection's end: a reason to stop may be followed by more usage.
            Self::Untouched { dialect: Dialect::Gemini, .. } | Self::Passing(_) | Self::Lines(_) | Self::Later(_) => {
                false
            }
            Self::Untouched { .. } | Self::Translated(_) | Self::Watched(_) => self.found().is_complete,
        }
    }

    /// Says whether nothing has to follow, in a dialect whose end only the connection's end tells.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, Self::Translated(translation) if translation.reading.decoder.is_said())
    }

    /// Returns what is known of the answer.
    pub(crate) fn found(&self) -> &Skimmed {
        match self {
            Self::Untouched { skim, ended, .. } => skim.as_ref().map_or(ended, |skim| skim.found()),
            Self::Translated(translation) => translation.found(),
            Self::Passing(passing) => &passing.found,
            Self::Watched(watch) => watch.found(),
            Self::Lines(lines) => lines.found(),
            Self::Later(later) => &later.reading.found,
        }
    }

    /// Returns the text that the client has; `None` when the answer cannot go on elsewhere.
    pub(crate) fn said(&self) -> Option<&str> {
        self.thread()?.said()
    }

    /// Says whether the upstream told of an error that the client was not told of.
    pub(crate) fn has_held_error(&self) -> bool {
        self.thread().is_some_and(Thread::has_error)
    }

    fn thread(&self) -> Option<&Thread> {
        match self {
            Self::Translated(translation) => translation.thread.as_deref(),
            _ => None,
        }
    }

    /// Goes on with another answer; `before` is what the earlier ones used.
    pub(crate) fn go_on(&mut self, later: Self, before: TokenUsage) -> Bytes {
        match (self, later) {
            (Self::Translated(translation), Self::Later(later)) => translation.go_on(*later, before),
            _ => Bytes::new(),
        }
    }

    /// Writes the error that ends a stream in place of the rest.
    pub(crate) fn break_off(&mut self, error: AnswerError) -> Bytes {
        match self {
            Self::Untouched { dialect, tail, .. } => {
                let event = dialect.encode_error_event(&error);
                if tail == b"\n\n" {
                    return event;
                }
                // An event that was cut must end, or the error would be read as part of it.
                let mut out = BytesMut::with_capacity(event.len() + 2);
                out.extend_from_slice(b"\n\n");
                out.extend_from_slice(&event);
                out.freeze()
            }
            Self::Translated(translation) => {
                let held = translation.thread.as_mut().and_then(|thread| thread.take_error());
                let mut out = std::mem::take(&mut translation.unsent);
                translation.encoder.push(Event::Error(held.unwrap_or(error)), &mut out);
                out.freeze()
            }
            Self::Passing(passing) if passing.skim.is_some() => {
                [&b"\n\n"[..], &Dialect::OpenAiChat.encode_error_event(&error)].concat().into()
            }
            Self::Later(_) | Self::Passing(_) | Self::Lines(_) | Self::Watched(_) => Bytes::new(),
        }
    }
}

/// Returns what ends a stream of a dialect that has an end mark of its own.
const fn end_mark(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => b"data: [DONE]\n\n",
        Dialect::AnthropicMessages => b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        Dialect::OpenAiResponses | Dialect::Gemini => b"",
    }
}
