//! Edits of a scanned body, spliced in one copy.
//!
//! Not a JSON editor: it knows bytes and offsets only. Invariant: what no edit names is copied as it was.

use bytes::{BufMut, Bytes, BytesMut};

use super::Span;

/// Edits of one body, applied in one copy. Spans refer to the body as it was scanned and must not overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    edits: Vec<(Span, Bytes)>,
}

impl Patch {
    /// Replaces a span by other bytes.
    pub fn replace(&mut self, span: Span, with: Bytes) {
        self.edits.push((span, with));
    }

    /// Inserts bytes before an offset.
    pub fn insert(&mut self, at: usize, bytes: Bytes) {
        self.edits.push((Span { start: at, end: at }, bytes));
    }

    pub(super) fn has_edit_at(&self, at: usize) -> bool {
        self.edits.iter().any(|(span, _)| span.start == at)
    }

    /// Says whether the body stays as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the edited body: the same buffer when there is no edit, else one new buffer.
    #[must_use]
    pub fn apply(&self, body: &Bytes) -> Bytes {
        if self.edits.is_empty() {
            return body.clone();
        }
        let mut edits: Vec<&(Span, Bytes)> = self.edits.iter().collect();
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let added: usize = edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + added);
        let mut at = 0;
        for (span, with) in edits {
            out.put_slice(body.get(at..span.start).unwrap_or_default());
            out.put_slice(with);
            at = at.max(span.end);
        }
        out.put_slice(body.get(at..).unwrap_or_default());
        out.freeze()
    }
}
