//! Objects of a JSON array that comes in pieces, one at a time.
//!
//! Not a validator: it counts brackets outside strings, and each object is read by the JSON reader afterwards. Objects
//! without the array around them are taken too. Invariant: any split of the same bytes gives the same objects.

use crate::canonical::error::DecodeError;
use crate::codec::sse::MAX_LENGTH;

/// Where a [`Reader`] puts the text of each object.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), DecodeError> + 'a;

/// Reads objects from chunks of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    /// The object so far, when a chunk boundary cuts it.
    held: Vec<u8>,
    depth: u32,
    is_in_string: bool,
    is_escaped: bool,
}

impl Reader {
    /// Reads the next bytes and hands each complete object to `sink`.
    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let mut from = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if self.depth == 0 {
                match byte {
                    b'{' => {
                        self.depth = 1;
                        from = at;
                    }
                    b'[' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' => {}
                    _ => {
                        let reason = "expected an array of objects".into();
                        return Err(DecodeError::Json { path: "".into(), reason });
                    }
                }
                continue;
            }
            if self.step(byte) {
                if self.held.is_empty() {
                    sink(&bytes[from..=at])?;
                } else {
                    self.hold(&bytes[from..=at])?;
                    let object = std::mem::take(&mut self.held);
                    sink(&object)?;
                }
                from = at + 1;
            }
        }
        if self.depth > 0 { self.hold(&bytes[from..]) } else { Ok(()) }
    }

    /// Says whether an object has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.depth > 0
    }

    /// Takes a byte of an object and says whether it was the last.
    fn step(&mut self, byte: u8) -> bool {
        if self.is_in_string {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.held.len() + bytes.len() > MAX_LENGTH {
            return Err(DecodeError::LineTooLong { limit: MAX_LENGTH });
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}
