//! The bytes of one spool file: a header, then records, each with its own checksum.
//!
//! ```text
//! header   magic "HGUS" | version u16 | 0 u16 | node u128 | boot u128 | first sequence u64 | crc32c of the above u32
//! record   length u32 | crc32c of sequence and payload u32 | sequence u64 | payload: kind u8, message
//! ```
//! All integers little-endian. Knows no files and no meaning of messages. Invariant: a frame that is returned has passed its
//! checksum; reading never fails, it skips what is damaged and says how much.

use std::ops::Range;

const MAGIC: [u8; 4] = *b"HGUS";
const VERSION: u16 = 1;
/// Length of a file's header.
pub(super) const HEADER_LEN: usize = 52;
/// Length of a record's header.
pub(super) const FRAME_HEADER_LEN: usize = 16;
/// Longest payload; a usage event is at most some 64 KiB by the bounds of its fields.
pub(super) const MAX_PAYLOAD: usize = 1 << 20;

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The node that wrote it.
    pub(super) node: u128,
    /// The boot whose sequence it continues.
    pub(super) boot: u128,
    /// The sequence of the first event that may follow.
    pub(super) first_seq: u64,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A usage event; takes a sequence number.
    Event,
    /// A call was opened; carries the sequence of the next event.
    Opened,
    /// How many events this boot has lost so far (u64).
    Lost,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Opened => 2,
            Self::Lost => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Event, Self::Opened, Self::Lost].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// One sound record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    pub(super) message: &'a [u8],
    /// Where the record ends, in the bytes it was read from.
    pub(super) end: usize,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.node.to_le_bytes());
        out.extend_from_slice(&self.boot.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the header; `None` when it is torn, damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let (said, crc) = header.split_last_chunk::<4>()?;
        let is_ours = said.starts_with(&MAGIC) && said.get(4..6)? == VERSION.to_le_bytes().as_slice();
        if !is_ours || crc32c::crc32c(said) != u32::from_le_bytes(*crc) {
            return None;
        }
        Some(Self {
            node: u128::from_le_bytes(*said.get(8..)?.first_chunk()?),
            boot: u128::from_le_bytes(*said.get(24..)?.first_chunk()?),
            first_seq: u64::from_le_bytes(*said.get(40..)?.first_chunk()?),
        })
    }
}

/// Appends one record; `write` appends the message. Returns the length of the record, or `None`, with nothing appended, when
/// the message is too long.
pub(super) fn encode(out: &mut Vec<u8>, kind: Kind, seq: u64, write: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.push(kind.byte());
    write(out);
    let length = out.len() - start - FRAME_HEADER_LEN;
    let Some(written) = u32::try_from(length).ok().filter(|_| length <= MAX_PAYLOAD) else {
        out.truncate(start);
        return None;
    };
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&written.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Some(out.len() - start)
}

/// Reads the record at an offset; `None` when there is no sound one.
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    if length == 0 || length > MAX_PAYLOAD {
        return None;
    }
    let crc = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?);
    let checked = rest.get(8..FRAME_HEADER_LEN + length)?;
    if crc32c::crc32c(checked) != crc {
        return None;
    }
    let (kind, message) = checked.get(8..)?.split_first()?;
    Some(Frame {
        kind: Kind::of(*kind)?,
        seq: u64::from_le_bytes(*checked.first_chunk()?),
        message,
        end: at + FRAME_HEADER_LEN + length,
    })
}

/// Finds the next sound record at or after an offset.
pub(super) fn find_frame(bytes: &[u8], from: usize) -> Option<(usize, Frame<'_>)> {
    (from..bytes.len().saturating_sub(FRAME_HEADER_LEN)).find_map(|at| frame_at(bytes, at).map(|frame| (at, frame)))
}

/// Walks over all sound records from an offset; returns the damaged ranges between them and where the last sound one ends.
pub(super) fn walk<'a>(bytes: &'a [u8], from: usize, mut visit: impl FnMut(Frame<'a>)) -> (Vec<Range<usize>>, usize) {
    let mut damaged = Vec::new();
    let mut at = from;
    while at < bytes.len() {
        match frame_at(bytes, at) {
            Some(frame) => {
                visit(frame);
                at = frame.end;
            }
            None => match find_frame(bytes, at + 1) {
                Some((found, _)) => {
                    damaged.push(at..found);
                    at = found;
                }
                None => break,
            },
        }
    }
    (damaged, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips_and_every_flipped_bit_is_seen() {
        let header = Header { node: 7, boot: u128::MAX - 3, first_seq: 9 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for at in 0..HEADER_LEN * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(Header::decode(&bad), None, "bit {at}");
        }
        assert_eq!(Header::decode(&bytes[..HEADER_LEN - 1]), None);
    }

    #[test]
    fn records_round_trip_and_every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        for (seq, kind) in [(1, Kind::Event), (2, Kind::Opened), (2, Kind::Lost)] {
            encode(&mut bytes, kind, seq, |out| out.extend_from_slice(b"message")).unwrap();
        }
        let mut seen = Vec::new();
        assert_eq!(walk(&bytes, 0, |frame| seen.push((frame.seq, frame.kind))), (Vec::new(), bytes.len()));
        assert_eq!(seen, [(1, Kind::Event), (2, Kind::Opened), (2, Kind::Lost)]);
        let second = frame_at(&bytes, 0).unwrap().end;
        for at in second * 8..(second * 2) * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let mut seen = Vec::new();
            let (damaged, end) = walk(&bad, 0, |frame| seen.push(frame.seq));
            assert_eq!((seen, end, damaged.len()), (vec![1, 2], bad.len(), 1), "bit {at}");
            assert_eq!(damaged[0], second..second * 2, "bit {at}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_leaves_nothing_behind() {
        let mut bytes = vec![1, 2, 3];
        assert_eq!(encode(&mut bytes, Kind::Event, 1, |out| out.resize(out.len() + MAX_PAYLOAD, 0)), None);
        assert_eq!(bytes, [1, 2, 3]);
    }
}
