//! Tells when JSON text that comes in pieces is complete.
//!
//! Not a validator: it counts brackets outside strings. Invariant: well-formed text is complete exactly at its end.

/// How far an object or array has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonProgress {
    depth: u32,
    is_in_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl JsonProgress {
    /// Takes the next piece in.
    pub fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.is_in_string {
                match byte {
                    _ if std::mem::take(&mut self.is_escaped) => {}
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_string = true,
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Says whether the outermost bracket has closed.
    pub fn is_complete(self) -> bool {
        self.has_begun && self.depth == 0 && !self.is_in_string
    }
}
