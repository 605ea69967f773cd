//! How long a recording is, from its own head; and a plain one to answer with.
//!
//! Not a decoder. Facts: RIFF/WAVE (Microsoft's multimedia specification), FLAC's STREAMINFO (RFC 9639), MPEG audio frame heads
//! (ISO 11172-3). Invariant: what cannot be told from the head is worked out from the size and said to be a guess.

/// A length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// In milliseconds.
    pub ms: u64,
    /// Whether the recording says so itself.
    pub is_exact: bool,
}

/// Bytes a second of what tells nothing: 128 kbit/s.
const USUAL_RATE: u64 = 16_000;

impl Sound {
    /// Measures a recording.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        if let Some(ms) = wave_ms(file).or_else(|| flac_ms(file)) {
            return Self { ms, is_exact: true };
        }
        let rate = mpeg_rate(file).unwrap_or(USUAL_RATE);
        Self { ms: (file.len() as u64).saturating_mul(1_000) / rate, is_exact: false }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u64::from(u32::from_le_bytes(four)))
}

fn wave_ms(file: &[u8]) -> Option<u64> {
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut rate) = (12, None);
    while let (Some(kind), Some(length)) = (file.get(at..at + 4), u32_at(file, at + 4)) {
        let inside = at + 8;
        match kind {
            b"fmt " => rate = u32_at(file, inside + 8),
            b"data" => {
                // Streamed recordings say a length that is none.
                let length = length.min(file.len().saturating_sub(inside) as u64);
                return Some(length * 1_000 / rate.filter(|rate| *rate > 0)?);
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        at = inside.checked_add(usize::try_from(length + (length & 1)).ok()?)?;
    }
    None
}

fn flac_ms(file: &[u8]) -> Option<u64> {
    let info = file
        .strip_prefix(b"fLaC")
        .filter(|rest| rest.first().is_some_and(|kind| kind.trailing_zeros() >= 7))?
        .get(4..)?;
    let byte = |at: usize| info.get(at).map(|byte| u64::from(*byte));
    let rate = byte(10)? << 12 | byte(11)? << 4 | byte(12)? >> 4;
    let samples = (byte(13)? & 0xF) << 32 | byte(14)? << 24 | byte(15)? << 16 | byte(16)? << 8 | byte(17)?;
    (rate > 0 && samples > 0).then(|| samples * 1_000 / rate)
}

/// Reads the bytes a second of the first frame of layer III.
fn mpeg_rate(file: &[u8]) -> Option<u64> {
    const MPEG1: [u64; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG2: [u64; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let at = match file.get(..10) {
        // A tag in front says its length in four groups of seven bits.
        Some([b'I', b'D', b'3', _, _, _, a, b, c, d]) => {
            let part = |byte: u8, shift: u32| usize::from(byte & 0x7F) << shift;
            10 + (part(*a, 21) | part(*b, 14) | part(*c, 7) | part(*d, 0))
        }
        _ => 0,
    };
    let head = file.get(at..at + 3)?;
    if head[0] != 0xFF || head[1] & 0xE6 != 0xE2 {
        return None;
    }
    let table = if head[1] & 0x18 == 0x18 { &MPEG1 } else { &MPEG2 };
    table.get(usize::from(head[2] >> 4)).map(|kilobits| kilobits * 125).filter(|rate| *rate > 0)
}

/// Makes a recording of one channel of 16 bits, 8,000 samples a second.
#[must_use]
pub(crate) fn wave(samples: &[i16]) -> Vec<u8> {
    const RATE: u32 = 8_000;
    let length = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX - 36);
    let mut out = Vec::with_capacity(44 + samples.len() * 2);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + length).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&RATE.to_le_bytes());
    out.extend_from_slice(&(RATE * 2).to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&16_u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&length.to_le_bytes());
    for sample in samples {
        out.extend_from_slice(&sample.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_says_how_long_it_is() {
        assert_eq!(Sound::of(&wave(&vec![0; 12_000])), Sound { ms: 1_500, is_exact: true });
        let mut flac = b"fLaC\0\0\0\x22".to_vec();
        flac.extend_from_slice(&[0; 10]);
        // 44,100 a second, 88,200 samples.
        flac.extend_from_slice(&[0x0A, 0xC4, 0x42, 0xF0, 0, 1, 0x58, 0x88]);
        assert_eq!(Sound::of(&flac), Sound { ms: 2_000, is_exact: true });
    }

    #[test]
    fn what_tells_nothing_is_guessed_from_its_size() {
        let mut mpeg = vec![0xFF, 0xFB, 0x90, 0x00];
        mpeg.resize(32_000, 0);
        assert_eq!(Sound::of(&mpeg), Sound { ms: 2_000, is_exact: false });
        assert_eq!(Sound::of(&[0; 16_000]), Sound { ms: 1_000, is_exact: false });
        for junk in [&b""[..], b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\xff\xff\xff\xff", b"fLaC\0", b"ID3"]
        {
            assert!(!Sound::of(junk).is_exact, "{junk:?}");
        }
    }
}
