//! Where the body of an HTTP/1.1 message ends (RFC 9112, sections 6.3 and 7.1). **Sans-IO.**
//!
//! Invariants: any split of the same bytes gives the same body; nothing beyond the body is taken out of the buffer; what is
//! not exactly a chunk's frame is refused, never guessed at.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::Fault;

/// Most bytes that the frames of one body may spend on extensions and trailers, which nobody reads.
const MAX_UNREAD: usize = 16 * 1024;

/// How the end of a body is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Frames, each with its size in front.
    Chunked(Chunked),
    /// Everything until the connection closes.
    Close,
}

/// Reads a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunked {
    state: State,
    n_unread: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the size of a chunk.
    Size {
        size: u64,
        n_digits: u8,
    },
    /// After the size, until the end of its line.
    Extension(u64),
    /// Before the line feed after a size.
    SizeLf(u64),
    /// In a chunk's data.
    Data(u64),
    /// Before the carriage return and the line feed after the data.
    DataCr,
    DataLf,
    /// In the trailers; `true` at the start of a line.
    Trailer {
        is_at_start: bool,
    },
    /// Before the line feed of a trailer's line, and before the last one.
    TrailerLf,
    LastLf,
    End,
}

impl Framing {
    /// Says whether the body has been read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.state == State::End,
            Self::Close => false,
        }
    }

    /// Returns the bytes that are certainly still to come.
    pub(crate) fn expected(&self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunked { state: State::Data(left), .. }) => *left,
            Self::Chunked(_) | Self::Close => 0,
        }
    }

    /// Takes the next bytes of the body out of what was read; `None` when the body is complete or more must be read.
    pub(crate) fn take(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Length(left) => Ok(split(buf, left)),
            Self::Chunked(chunked) => chunked.take(buf),
            Self::Close => Ok((!buf.is_empty()).then(|| buf.split().freeze())),
        }
    }
}

/// Takes at most `left` bytes, and counts them off.
fn split(buf: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    if n == 0 {
        return None;
    }
    *left -= n as u64;
    Some(buf.split_to(n).freeze())
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self { state: State::Size { size: 0, n_digits: 0 }, n_unread: 0 }
    }

    fn take(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        let mut at = 0;
        while self.state != State::End && !matches!(self.state, State::Data(_)) {
            let Some(byte) = buf.get(at) else { break };
            self.state = self.step(*byte)?;
            at += 1;
        }
        buf.advance(at);
        let State::Data(left) = &mut self.state else { return Ok(None) };
        let data = split(buf, left);
        if *left == 0 {
            self.state = State::DataCr;
        }
        Ok(data)
    }

    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        Ok(match (self.state, byte) {
            (State::Size { n_digits: 1.., size } | State::Extension(size), b'\r') => State::SizeLf(size),
            // White space before an extension is old and allowed to be read (section 7.1.1).
            (State::Size { n_digits: 1.., size }, b';' | b' ' | b'\t') => State::Extension(size),
            (State::Size { size, n_digits }, digit) => {
                let value = char::from(digit).to_digit(16).ok_or(Fault::Chunk)?;
                // Sixteen digits are all that fit; leading zeros count.
                let n_digits = Some(n_digits + 1).filter(|n| *n <= 16).ok_or(Fault::Chunk)?;
                State::Size { size: size << 4 | u64::from(value), n_digits }
            }
            (State::SizeLf(size @ 1..), b'\n') => State::Data(size),
            (State::SizeLf(_) | State::TrailerLf, b'\n') => State::Trailer { is_at_start: true },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, n_digits: 0 },
            (State::Trailer { is_at_start: true }, b'\r') => State::LastLf,
            (State::Trailer { is_at_start: false }, b'\r') => State::TrailerLf,
            (State::LastLf, b'\n') => State::End,
            (State::Extension(_) | State::Trailer { .. }, b'\n') => return Err(Fault::Chunk),
            (State::Extension(_), _) => self.unread()?,
            (State::Trailer { .. }, _) => {
                self.unread()?;
                State::Trailer { is_at_start: false }
            }
            _ => return Err(Fault::Chunk),
        })
    }

    fn unread(&mut self) -> Result<State, Fault> {
        self.n_unread += 1;
        if self.n_unread > MAX_UNREAD { Err(Fault::TooLong) } else { Ok(self.state) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads pieces one after the other; gives the body, whether it is complete, and what is left of the bytes.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), Fault> {
        let (mut framing, mut buf, mut body) = (Framing::Chunked(Chunked::new()), BytesMut::new(), Vec::new());
        for piece in pieces {
            buf.extend_from_slice(piece);
            while let Some(data) = framing.take(&mut buf)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
        }
        Ok((body, framing.is_complete(), buf.to_vec()))
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_is_left() {
        for (text, body, rest) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\n\r\nHTTP/1.1", "hello world", "HTTP/1.1"),
            ("A \t\r\n0123456789\r\n000\r\nx-check: 1\r\ny: 2\r\n\r\n", "0123456789", ""),
            ("0\r\n\r\n", "", ""),
        ] {
            let found = read(&[text.as_bytes()]);
            assert_eq!(found, Ok((body.into(), true, rest.into())), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+5\r\nhello",
            "5\nhello",
            "5\r\nhello!",
            "5\r\nhello\n",
            "5;a\nhello",
            "5\r\rhello",
            "0\r\n\n",
            "0\r\nx: 1\n\r\n",
            "0\r\n\rx",
            "11112222333344445\r\n",
            " 5\r\nhello",
        ] {
            assert_eq!(read(&[text.as_bytes()]), Err(Fault::Chunk), "{text:?}");
        }
        let long = format!("5;{}", "a".repeat(MAX_UNREAD + 1));
        assert_eq!(read(&[long.as_bytes()]), Err(Fault::TooLong));
        let long = format!("0\r\n{}", "a: b\r\n".repeat(MAX_UNREAD));
        assert_eq!(read(&[long.as_bytes()]), Err(Fault::TooLong));
    }

    #[test]
    fn a_body_that_stops_early_is_not_complete() {
        let text = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 0..text.len() {
            let (_, is_complete, _) = read(&[&text[..end]]).unwrap();
            assert!(!is_complete, "{end}");
        }
    }

    #[test]
    fn a_length_is_counted_off() {
        let (mut framing, mut buf) = (Framing::Length(5), BytesMut::from(&b"hel"[..]));
        assert_eq!(framing.take(&mut buf).unwrap().as_deref(), Some(&b"hel"[..]));
        assert_eq!((framing.take(&mut buf).unwrap(), framing.expected()), (None, 2));
        buf.extend_from_slice(b"lo, next");
        assert_eq!(framing.take(&mut buf).unwrap().as_deref(), Some(&b"lo"[..]));
        assert!(framing.is_complete() && framing.take(&mut buf).unwrap().is_none());
        assert_eq!(&buf[..], b", next");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(
            chunks in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), any::<bool>()), 0..6),
            mut cuts in proptest::collection::vec(0..400_usize, 0..12),
        ) {
            let mut text = Vec::new();
            for (data, has_extension) in &chunks {
                let extension = if *has_extension { ";x=y" } else { "" };
                text.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
                text.extend_from_slice(data);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nt: 1\r\n\r\nrest");
            let body: Vec<u8> = chunks.iter().flat_map(|(data, _)| data.clone()).collect();
            cuts.retain(|cut| *cut < text.len());
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok((body, true, b"rest".to_vec())));
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _either_way = read(&pieces);
        }
    }
}
