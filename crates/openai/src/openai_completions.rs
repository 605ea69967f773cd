//! OpenAI's legacy completions: a prompt goes in, the text that follows comes out.
//!
//! In the hub a prompt is one message of the user, so any model can serve these clients. Not every prompt fits: several
//! in one call, tokens, or text with a hole are only for an upstream of this dialect ([`refuse`]). Tools and reasoning
//! of an answer have no place here and are losses. A whole body has the form of a chunk, and is read as one.

use bytes::{Bytes, BytesMut};

use hub::canonical::content::{Block, Content, Message, Role};
use hub::canonical::error::{DecodeError, EncodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish, Start};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::loss::Loss;
use hub::canonical::request::{ChatRequest, Logprobs, MaxTokens, MaxTokensField, Sampling};
use hub::canonical::usage::Usage;
use hub::codec::json::{self, Node, ObjectWriter, write_object};
use hub::codec::sse;

use super::openai_chat::{finish_word, read_error, read_finish, read_stop, read_stream, write_error};
use super::openai_usage::CHAT as USAGE;
use super::probability;
use hub::dialect::{AnswerOptions, Decoder, Dialect, EncodedRequest, Encoder, Mode, RequestOptions, Undo};

pub use super::openai_chat::{decode_error, encode_error, encode_error_event, encode_model, encode_models};

// === Requests ===

/// Reads a request body.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let model = object.get("model")?.string()?;
    let mut request = ChatRequest::new(Dialect::OpenAiCompletions, model, Vec::new());
    let prompt = object.get("prompt")?;
    let odd = match read_prompt(&prompt)? {
        Some(text) => {
            request.messages.push(Message::new(Role::User, vec![Block::text(text)]));
            None
        }
        None => Some(prompt.raw()),
    };
    request.sampling = Sampling {
        temperature: object.find_f64("temperature")?,
        top_p: object.find_f64("top_p")?,
        top_k: object.find("top_k").and_then(|node| node.u64().ok()),
        frequency_penalty: object.find_f64("frequency_penalty")?,
        presence_penalty: object.find_f64("presence_penalty")?,
        seed: object.find("seed").map(|node| node.i64()).transpose()?,
        logit_bias: object.find("logit_bias").map(|node| node.raw()),
    };
    let cap = object.find_u64("max_tokens")?;
    request.max_tokens = cap.map(|tokens| MaxTokens { tokens, field: MaxTokensField::MaxTokens });
    request.stop = read_stop(&object)?;
    request.n = object.find("n").map(|node| node.u32()).transpose()?;
    let top = object.find("logprobs").map(|node| node.u32()).transpose()?;
    request.logprobs = top.map(|top| Logprobs { top: Some(top) });
    request.user = object.find_string("user")?;
    request.stream = read_stream(&object)?;
    let is_echo = object.find_bool("echo")? == Some(true);
    let suffix = object.find("suffix").filter(|node| node.text() != "\"\"").map(|node| node.raw());
    request.rest = object.rest();
    for (name, value) in [("prompt", odd), ("suffix", suffix), ("echo", Raw::parse("true").filter(|_| is_echo))] {
        if let Some(value) = value {
            request.rest.push(name, value);
        }
    }
    Ok(request)
}

/// Reads a prompt that is one text; `None` when it is several or tokens.
fn read_prompt(node: &Node<'_, '_>) -> Result<Option<String>, DecodeError> {
    if node.is_str() {
        return node.string().map(Some);
    }
    if !node.is_array() {
        return Err(node.expected("a string, an array of strings, or tokens"));
    }
    let items = node.array()?;
    let mut items = items.iter();
    match (items.next(), items.next()) {
        (Some(only), None) if only.is_str() => only.string().map(Some),
        _ => Ok(None),
    }
}

/// Refuses what only an upstream of this dialect can do; for every other dialect.
pub fn refuse(request: &ChatRequest) -> Result<(), EncodeError> {
    if request.origin != Dialect::OpenAiCompletions {
        return Ok(());
    }
    for (name, reason) in [
        ("prompt", "the upstream takes one text per call; send each prompt as text, in a call of its own"),
        ("suffix", "the upstream fills no holes in texts; leave `suffix` out, or choose a model that does"),
    ] {
        if request.rest.find(name).is_some() {
            return Err(EncodeError { path: name.into(), reason: reason.into() });
        }
    }
    Ok(())
}

/// Writes a request body. Only a request of this dialect fits: an upstream that completes text knows no conversation.
pub fn encode_request(request: &ChatRequest, _: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
    if request.origin != Dialect::OpenAiCompletions {
        let reason = "the upstream completes text and knows no conversations; choose a model that chats";
        return Err(EncodeError { path: "model".into(), reason: reason.into() });
    }
    let mut body = BytesMut::with_capacity(512);
    write_object(&mut body, |object| write_request(request, object));
    Ok(EncodedRequest { body: body.freeze(), losses: Vec::new(), undo: Undo::default() })
}

fn write_request(request: &ChatRequest, object: &mut ObjectWriter<'_>) {
    object.str("model", &request.model);
    for block in request.messages.iter().flat_map(|message| &message.content).take(1) {
        if let Content::Text(text) = &block.content {
            object.str("prompt", &text.text);
        }
    }
    let sampling = &request.sampling;
    object.opt_f64("temperature", sampling.temperature);
    object.opt_f64("top_p", sampling.top_p);
    object.opt_f64("frequency_penalty", sampling.frequency_penalty);
    object.opt_f64("presence_penalty", sampling.presence_penalty);
    if let Some(seed) = sampling.seed {
        object.i64("seed", seed);
    }
    object.opt_raw("logit_bias", sampling.logit_bias.as_ref());
    let top = request.logprobs.and_then(|logprobs| logprobs.top).map(u64::from);
    let cap = request.max_tokens.map(|limit| limit.tokens);
    let counts = [("top_k", sampling.top_k), ("max_tokens", cap), ("n", request.n.map(u64::from)), ("logprobs", top)];
    for (name, count) in counts {
        if let Some(count) = count {
            object.u64(name, count);
        }
    }
    if !request.stop.is_empty() {
        object.array("stop", |array| request.stop.iter().for_each(|stop| array.str(stop)));
    }
    object.opt_str("user", request.user.as_deref());
    if let Some(stream) = &request.stream {
        object.bool("stream", true);
        object.object("stream_options", |object| {
            object.bool("include_usage", true);
            object.rest(&stream.rest);
        });
    }
    object.rest(&request.rest);
}

// === Reading answers ===

/// Makes a reader of answers.
#[must_use]
pub fn decoder(mode: Mode, _: Undo) -> Box<dyn Decoder> {
    Box::new(AnswerDecoder { mode, body: Vec::new(), reader: sse::Reader::default(), state: State::default() })
}

struct AnswerDecoder {
    mode: Mode,
    body: Vec<u8>,
    reader: sse::Reader,
    state: State,
}

impl Decoder for AnswerDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.mode == Mode::Whole {
            self.body.extend_from_slice(bytes);
            return Ok(());
        }
        let state = &mut self.state;
        self.reader.push(bytes, &mut |frame| state.take(frame.data, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        if self.mode == Mode::Whole {
            state.take(&self.body, events)?;
            if !state.is_over && state.choices.is_empty() {
                return Err(DecodeError::Missing { path: "choices".into() });
            }
        } else {
            self.reader.finish(&mut |frame| state.take(frame.data, events))?;
            if !state.is_over && !state.choices.iter().any(|choice| choice.is_finished) {
                return Err(DecodeError::Truncated);
            }
        }
        state.end(events);
        Ok(())
    }
}

#[derive(Default)]
struct State {
    is_started: bool,
    is_over: bool,
    choices: Vec<OpenChoice>,
}

/// A choice has one block, whose number is its place in the list.
struct OpenChoice {
    index: u32,
    is_finished: bool,
}

impl State {
    fn take(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            self.end(events);
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?;
        let usage = object.report("usage", |usage| USAGE.read(usage));
        let (choices, error) = (object.find("choices"), object.find("error"));
        if !self.is_started {
            self.is_started = true;
            let id = object.find_boxed("id")?.unwrap_or_default();
            let model = object.find_boxed("model")?.unwrap_or_default();
            let created = object.find("created").and_then(|node| node.i64().ok());
            object.skip(&["object", "obfuscation"]);
            let rest = object.rest();
            events.push(Event::Start(Start { origin: Dialect::OpenAiCompletions, id, model, created, rest }));
        }
        if let Some(choices) = choices {
            for (position, node) in choices.array()?.iter().enumerate() {
                self.take_choice(&node, position, events)?;
            }
        }
        events.extend(usage.map(Event::Usage));
        if let Some(node) = error {
            self.is_over = true;
            events.push(Event::Error(read_error(0, &node).ok_or_else(|| node.expected("an error object"))?));
        }
        Ok(())
    }

    fn take_choice(
        &mut self,
        node: &Node<'_, '_>,
        position: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let object = node.object()?;
        let index = match object.find("index") {
            Some(index) => index.u32()?,
            None => u32::try_from(position).unwrap_or(u32::MAX),
        };
        let known = self.choices.iter().position(|choice| choice.index == index);
        let at = known.unwrap_or(self.choices.len());
        let block = u32::try_from(at).unwrap_or(u32::MAX);
        if known.is_none() {
            self.choices.push(OpenChoice { index, is_finished: false });
            events.push(Event::BlockStart { index: block, choice: index, block: BlockStart::Text });
        }
        if self.choices[at].is_finished {
            return Ok(());
        }
        if let Some(text) = object.find_boxed("text")?.filter(|text| !text.is_empty()) {
            events.push(Event::Delta { index: block, delta: Delta::Text(text) });
        }
        if let Some(found) = object.find("logprobs").map(|node| probability::read_columns(node.raw())) {
            events.push(Event::Logprobs { choice: index, found: Box::new(found) });
        }
        if let Some(word) = object.find_string("finish_reason")? {
            self.choices[at].is_finished = true;
            events.push(Event::BlockStop { index: block });
            let (reason, native) = read_finish(&word);
            let rest = object.rest();
            events.push(Event::Finish(Finish { choice: index, reason, native, stop_sequence: None, rest }));
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        for (at, choice) in self.choices.iter().enumerate().filter(|(_, choice)| !choice.is_finished) {
            events.push(Event::BlockStop { index: u32::try_from(at).unwrap_or(u32::MAX) });
            let finish = Finish::new(hub::canonical::event::FinishReason::Stop);
            events.push(Event::Finish(Finish { choice: choice.index, ..finish }));
        }
        events.push(Event::Done);
    }
}

// === Writing answers ===

/// Makes a writer of answers.
#[must_use]
pub fn encoder(mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
    Box::new(AnswerEncoder { mode, options, ..AnswerEncoder::default() })
}

struct AnswerEncoder {
    mode: Mode,
    options: AnswerOptions,
    start: Option<Start>,
    /// Which choice a block of text belongs to.
    blocks: Vec<(u32, u32)>,
    /// What a whole answer has so far.
    choices: Vec<Said>,
    usage: Option<Usage>,
    extra: Option<Raw>,
    losses: Vec<Loss>,
}

impl Default for AnswerEncoder {
    fn default() -> Self {
        Self {
            mode: Mode::Whole,
            options: AnswerOptions::default(),
            start: None,
            blocks: Vec::new(),
            choices: Vec::new(),
            usage: None,
            extra: None,
            losses: Vec::new(),
        }
    }
}

/// One choice, or a piece of it.
#[derive(Default)]
struct Said {
    index: u32,
    text: String,
    logprobs: Option<Raw>,
    finish: Option<Finish>,
}

impl Said {
    fn write(&self, is_ours: bool, object: &mut ObjectWriter<'_>) {
        object.str("text", &self.text);
        object.u64("index", self.index.into());
        match &self.logprobs {
            Some(raw) => object.raw("logprobs", raw),
            None => object.null("logprobs"),
        }
        let Some(finish) = &self.finish else { return object.null("finish_reason") };
        let native = finish.native.as_deref().filter(|_| is_ours);
        let word = match finish_word(finish.reason) {
            // A client of texts knows no tools.
            "tool_calls" => "stop",
            word => word,
        };
        object.str("finish_reason", native.unwrap_or(word));
        if is_ours {
            object.rest(&finish.rest);
        }
    }
}

impl AnswerEncoder {
    fn lost(&mut self, path: &str, reason: &str) {
        if !self.losses.iter().any(|loss| &*loss.path == path) {
            self.losses.push(Loss::dropped(path, reason));
        }
    }

    fn is_ours(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.origin == Dialect::OpenAiCompletions)
    }

    fn say(&mut self, said: Said, out: &mut BytesMut) {
        if self.mode == Mode::Stream {
            return self.write(&[said], false, out);
        }
        let at = self.choices.partition_point(|choice| choice.index < said.index);
        if self.choices.get(at).is_none_or(|choice| choice.index != said.index) {
            return self.choices.insert(at, said);
        }
        let choice = &mut self.choices[at];
        choice.text.push_str(&said.text);
        choice.logprobs = said.logprobs.or_else(|| choice.logprobs.take());
        choice.finish = said.finish.or_else(|| choice.finish.take());
    }

    /// Writes a body or a chunk; the last has what is said once.
    fn write(&self, choices: &[Said], is_last: bool, out: &mut BytesMut) {
        let none = Rest::default();
        let start = self.start.as_ref();
        let rest = start.filter(|_| self.is_ours()).map_or(&none, |start| &start.rest);
        let id = start.map(|start| &*start.id).filter(|id| !id.is_empty()).unwrap_or(&self.options.id);
        let model = self.options.model.as_deref().or(start.map(|start| &*start.model)).unwrap_or_default();
        let mut data = BytesMut::new();
        write_object(&mut data, |object| {
            object.str("id", id);
            object.str("object", "text_completion");
            object.i64("created", start.and_then(|start| start.created).unwrap_or(self.options.created));
            object.str("model", model);
            object.array("choices", |array| {
                for choice in choices {
                    array.object(|object| choice.write(self.is_ours(), object));
                }
            });
            match &self.usage {
                Some(usage) if is_last => USAGE.write(usage, self.is_ours(), object),
                _ if self.mode == Mode::Stream && self.options.include_usage => object.null("usage"),
                _ => {}
            }
            object.rest(rest);
            object.opt_raw("x_headgate", self.extra.as_ref().filter(|_| is_last));
        });
        match self.mode {
            Mode::Whole => out.extend_from_slice(&data),
            Mode::Stream => sse::write("", &data, out),
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.mode == Mode::Whole {
            return self.write(&self.choices, true, out);
        }
        self.usage = self.usage.take().filter(|_| self.options.include_usage);
        if self.usage.is_some() || self.extra.is_some() {
            self.write(&[], true, out);
        }
        sse::write("", b"[DONE]", out);
    }

    fn fail(&self, error: &hub::canonical::error::AnswerError, out: &mut BytesMut) {
        let body: Bytes = if self.mode == Mode::Stream { encode_error_event(error) } else { self.whole_error(error) };
        out.extend_from_slice(&body);
    }

    fn whole_error(&self, error: &hub::canonical::error::AnswerError) -> Bytes {
        let mut data = BytesMut::new();
        write_object(&mut data, |object| {
            write_error(error, object);
            object.opt_raw("x_headgate", self.extra.as_ref());
        });
        data.freeze()
    }
}

impl Encoder for AnswerEncoder {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        match event {
            Event::Start(start) => self.start = Some(start),
            Event::BlockStart { index, choice, block } => match block {
                BlockStart::Text | BlockStart::Refusal => self.blocks.push((index, choice)),
                BlockStart::Reasoning | BlockStart::RedactedReasoning(_) => {
                    self.lost("reasoning", "completions have no reasoning");
                }
                BlockStart::ToolUse { .. } | BlockStart::Opaque(_) => {
                    self.lost("tool_calls", "completions have no tools");
                }
            },
            Event::Delta { index, delta: Delta::Text(text) | Delta::Refusal(text) } => {
                if let Some((_, choice)) = self.blocks.iter().copied().find(|(block, _)| *block == index) {
                    self.say(Said { index: choice, text: text.into(), ..Said::default() }, out);
                }
            }
            Event::Logprobs { choice, found } if self.is_ours() => {
                self.say(Said { index: choice, logprobs: Some(found.raw), ..Said::default() }, out);
            }
            Event::Logprobs { .. } => self.lost("logprobs", "the upstream's probabilities have another form"),
            Event::Finish(finish) => {
                self.say(Said { index: finish.choice, finish: Some(finish), ..Said::default() }, out);
            }
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(&usage),
            Event::Ping if self.mode == Mode::Stream => out.extend_from_slice(b": ping\n\n"),
            Event::Ping | Event::Delta { .. } | Event::BlockStop { .. } => {}
            Event::Error(error) => self.fail(&error, out),
            Event::Done => self.end(out),
        }
    }

    fn annotate(&mut self, extra: Raw) {
        self.extra = Some(extra);
    }

    fn losses(&self) -> &[Loss] {
        &self.losses
    }
}
