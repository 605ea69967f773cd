//! Server-sent events: an incremental reader and a writer.
//!
//! Follows the WHATWG HTML standard, §9.2: lines end with CRLF, LF or CR; a byte order mark may come first; lines that
//! start with `:` are comments; several `data` lines join with LF; a blank line dispatches; an event without data is
//! dropped. One step aside: the standard drops an event whose blank line never came, [`Reader::finish`] gives it,
//! because some upstreams forget it. Invariant: any split of the same bytes gives the same frames.

use bytes::{BufMut, BytesMut};

use crate::canonical::error::DecodeError;

/// The longest line and the longest event accepted unless the caller says otherwise: 16 MiB, room for an image.
pub const MAX_LENGTH: usize = 16 << 20;

/// One dispatched event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The `event` field; empty means `message`.
    pub event: &'a [u8],
    /// The data, lines joined by LF. Borrowed from the chunk when its one line came whole in it.
    pub data: &'a [u8],
    /// The last `id` seen in the stream.
    pub id: &'a [u8],
    /// The `retry` field of this event, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// Where a [`Reader`] puts its frames; an error ends the reading.
pub type Sink<'a> = dyn FnMut(Frame<'_>) -> Result<(), DecodeError> + 'a;

/// Reads server-sent events from chunks of bytes.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    /// The unfinished last line of the chunks so far.
    line: Vec<u8>,
    event: Vec<u8>,
    data: Vec<u8>,
    /// `data` holds at least one (maybe empty) line of the event being built.
    has_data: bool,
    id: Vec<u8>,
    retry_ms: Option<u64>,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet: a byte order mark may come.
    at_start: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(MAX_LENGTH)
    }
}

impl Reader {
    /// A reader that refuses lines, and events, longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: Vec::new(),
            data: Vec::new(),
            has_data: false,
            id: Vec::new(),
            retry_ms: None,
            after_cr: false,
            at_start: true,
        }
    }

    /// Reads the next bytes and hands each complete event to `sink`.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        // The event's only data line so far, while it lies in this chunk.
        let mut borrowed: Option<&[u8]> = None;
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.hold(bytes)?;
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.check(end)?;
                self.take_line(&bytes[..end], &mut borrowed, sink)?;
            } else {
                self.hold(&bytes[..end])?;
                let line = std::mem::take(&mut self.line);
                self.keep(borrowed.take())?;
                let mut of_line = None;
                let taken = self.take_line(&line, &mut of_line, sink);
                self.keep(of_line)?;
                self.line = line;
                self.line.clear();
                taken?;
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(borrowed)
    }

    /// Says whether a line or an event has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    /// The stream is over: hands out the event that lacks only its blank line, if any.
    pub fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let line = std::mem::take(&mut self.line);
        let mut borrowed = None;
        if !line.is_empty() {
            self.take_line(&line, &mut borrowed, sink)?;
        }
        self.dispatch(borrowed, sink)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.check(self.line.len() + bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn check(&self, length: usize) -> Result<(), DecodeError> {
        if length > self.limit { Err(DecodeError::LineTooLong { limit: self.limit }) } else { Ok(()) }
    }

    /// Copies a data line that must outlive its chunk.
    fn keep(&mut self, line: Option<&[u8]>) -> Result<(), DecodeError> {
        let Some(line) = line else { return Ok(()) };
        self.check(self.data.len() + line.len() + 1)?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(line);
        Ok(())
    }

    fn take_line<'b>(
        &mut self,
        mut line: &'b [u8],
        borrowed: &mut Option<&'b [u8]>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(borrowed.take(), sink);
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &b""[..]),
        };
        match name {
            b"data" if self.has_data || borrowed.is_some() => {
                self.keep(borrowed.take())?;
                self.keep(Some(value))?;
            }
            b"data" => *borrowed = Some(value),
            b"event" => {
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => {
                self.id.clear();
                self.id.extend_from_slice(value);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, borrowed: Option<&[u8]>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let retry_ms = self.retry_ms.take();
        let data = borrowed.or(self.has_data.then_some(&*self.data));
        let result = match data {
            Some(data) => sink(Frame { event: &self.event, data, id: &self.id, retry_ms }),
            None => Ok(()),
        };
        self.has_data = false;
        self.event.clear();
        self.data.clear();
        result
    }
}

/// Appends one event; an empty `event` leaves the field out, `data` is cut into one `data` line per line.
pub fn write(event: &str, data: &[u8], out: &mut BytesMut) {
    out.reserve(event.len() + data.len() + 18);
    if !event.is_empty() {
        out.put_slice(b"event: ");
        out.put_slice(event.as_bytes());
        out.put_u8(b'\n');
    }
    let mut rest = data;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        out.put_slice(b"data: ");
        out.put_slice(&rest[..end]);
        out.put_u8(b'\n');
        rest = &rest[end + 1..];
    }
    out.put_slice(b"data: ");
    out.put_slice(rest);
    out.put_slice(b"\n\n");
}
