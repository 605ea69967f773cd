//! AWS's binary event stream: an incremental reader of its frames, and a writer for tests and tools.
//!
//! Facts: the Smithy specification of `application/vnd.amazon.eventstream`. A frame is two lengths with a checksum, headers, a
//! payload and a checksum over all of it. Invariant: any split of the same bytes gives the same frames, both checksums of each
//! are right, and no length is believed before its checksum was.

use hub::canonical::error::DecodeError;

/// The longest frame taken: AWS's own limit is 16 MiB of payload and 128 KiB of headers.
pub const MAX_FRAME: usize = (16 << 20) + (128 << 10) + 16;
/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const TAIL: usize = 4;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `:message-type`: `event`, `exception` or `error`.
    pub message_type: &'a str,
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub kind: &'a str,
    /// `:error-message`, of an `error`.
    pub message: &'a str,
    /// The payload, JSON for all services we speak to.
    pub payload: &'a [u8],
}

/// Where a [`Reader`] puts its frames; an error ends the reading.
pub type Sink<'a> = dyn FnMut(Frame<'_>) -> Result<(), DecodeError> + 'a;

/// Reads frames from chunks of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
}

impl Reader {
    /// Reads the next bytes and hands each complete frame to `sink`.
    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = frame_length(&self.held[at..])? {
            let Some(frame) = self.held.get(at..at + length) else { break };
            sink(read_frame(frame)?)?;
            at += length;
        }
        self.held.drain(..at);
        Ok(())
    }

    /// The stream is over: a frame must not be cut.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.held.is_empty() { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}

fn broken(what: &str) -> DecodeError {
    DecodeError::Expected { path: "".into(), expected: what.into() }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

/// Returns the length of the frame at the start, `None` when its prelude is not complete.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    let fields = [number(prelude), number(&prelude[4..]), number(&prelude[8..])];
    let [Some(total), Some(headers), Some(checksum)] = fields else { return Ok(None) };
    if crc32fast::hash(&prelude[..8]) != checksum {
        return Err(broken("an event stream frame; the checksum of its lengths is wrong"));
    }
    let (total, headers) =
        (usize::try_from(total).unwrap_or(usize::MAX), usize::try_from(headers).unwrap_or(usize::MAX));
    if total > MAX_FRAME || headers.saturating_add(PRELUDE + TAIL) > total {
        return Err(broken("an event stream frame of at most 16 MiB"));
    }
    Ok(Some(total))
}

fn read_frame(frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let (body, tail) = frame.split_at(frame.len() - TAIL);
    if number(tail) != Some(crc32fast::hash(body)) {
        return Err(broken("an event stream frame; its checksum is wrong"));
    }
    let headers_length = number(&body[4..]).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let (mut headers, payload) = body[PRELUDE..].split_at(headers_length);
    let mut found = Frame { message_type: "", kind: "", message: "", payload };
    while !headers.is_empty() {
        let (name, value, rest) = read_header(headers).ok_or_else(|| broken("a header of an event stream frame"))?;
        headers = rest;
        match name {
            b":message-type" => found.message_type = value,
            b":event-type" | b":exception-type" | b":error-code" => found.kind = value,
            b":error-message" => found.message = value,
            _ => {}
        }
    }
    Ok(found)
}

/// Reads one header: its name, its value when that is text, and what follows.
fn read_header(bytes: &[u8]) -> Option<(&[u8], &str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let size = match kind {
        // True and false have no value.
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | 7 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let (value, rest) = rest.split_at_checked(length)?;
            let text = if *kind == 7 { std::str::from_utf8(value).ok()? } else { "" };
            return Some((name, text, rest));
        }
        _ => return None,
    };
    let (_, rest) = rest.split_at_checked(size)?;
    Some((name, "", rest))
}

/// Writes a frame with text headers. Lengths beyond the format's own are cut to nothing, so a frame is always well-formed.
#[must_use]
pub fn write(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        let (Ok(name_length), Ok(value_length)) = (u8::try_from(name.len()), u16::try_from(value.len())) else {
            continue;
        };
        block.push(name_length);
        block.extend_from_slice(name.as_bytes());
        block.push(7);
        block.extend_from_slice(&value_length.to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let length = |length: usize| u32::try_from(length).unwrap_or_default().to_be_bytes();
    let mut frame = Vec::with_capacity(PRELUDE + block.len() + payload.len() + TAIL);
    frame.extend_from_slice(&length(PRELUDE + block.len() + payload.len() + TAIL));
    frame.extend_from_slice(&length(block.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&block);
    frame.extend_from_slice(payload);
    let checksum = crc32fast::hash(&frame);
    frame.extend_from_slice(&checksum.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, String, Vec<u8>);

    fn read(bytes: &[u8], size: usize) -> (Vec<Owned>, Result<(), DecodeError>) {
        let mut frames = Vec::new();
        let mut reader = Reader::default();
        let mut sink = |frame: Frame<'_>| {
            frames.push((frame.message_type.to_owned(), frame.kind.to_owned(), frame.payload.to_vec()));
            Ok(())
        };
        let result = bytes.chunks(size.max(1)).try_for_each(|chunk| reader.push(chunk, &mut sink));
        let result = result.and_then(|()| reader.finish());
        (frames, result)
    }

    fn event(kind: &str, payload: &str) -> Vec<u8> {
        write(&[(":message-type", "event"), (":event-type", kind)], payload.as_bytes())
    }

    #[test]
    fn the_checksums_are_those_of_the_specification() {
        // The vendor's empty message: no headers, no payload.
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(write(&[], b""), empty);
        assert_eq!(read(&empty, 1).0, [(String::new(), String::new(), Vec::new())]);
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let bytes = [event("messageStart", "{}"), event("x", r#"{"a":"é"}"#)].concat();
        let whole = read(&bytes, bytes.len());
        assert_eq!((whole.0.len(), &whole.1), (2, &Ok(())));
        for size in 1..bytes.len() {
            assert_eq!(read(&bytes, size), whole, "{size}");
        }
    }

    #[test]
    fn a_broken_frame_is_an_error_at_once() {
        let good = event("x", "{}");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad, 1).1.is_err(), "{at}");
            assert_eq!(read(&good[..at], 3).1.is_err(), at > 0, "{at}");
        }
        assert!(read(br#"{"message":"not a stream at all"}"#, 5).1.is_err());
    }

    #[test]
    fn headers_of_every_type_are_passed_over() {
        let mut block = Vec::new();
        for (kind, size) in [(0_u8, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            block.extend_from_slice(&[1, b'h', kind]);
            block.extend(std::iter::repeat_n(0, size));
        }
        block.extend_from_slice(&[1, b'b', 6, 0, 2, 0xff, 0xfe]);
        assert!(block.len() < 256);
        let mut rest = &block[..];
        while !rest.is_empty() {
            rest = read_header(rest).unwrap().2;
        }
        assert!(read_header(&[1, b'h', 10]).is_none() && read_header(&[9, b'h']).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(read(&bytes, 1), read(&bytes, bytes.len()));
        }

        #[test]
        fn a_frame_with_any_headers_is_survived(block in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut frame = Vec::new();
            frame.extend_from_slice(&u32::try_from(16 + block.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
            frame.extend_from_slice(&block);
            frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
            let _ = read(&frame, frame.len());
        }
    }
}
