//! Reads spool files in order and cuts what they hold into batches.
//!
//! Needs the list of files, not the log, so that it holds up no writer. Invariant: a batch is of one boot and without gaps; what
//! is damaged is passed over, and the gap in the sequence shows it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;

use super::segment::{self, Frame, HEADER_LEN, Kind};

/// Bytes read from a file at a time.
const WINDOW: usize = 128 * 1024;

/// Where a reader stands; the default is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    boot: u128,
    number: u64,
    offset: u64,
}

impl Cursor {
    /// Returns the boot and number of the file it stands in.
    pub(super) fn file(&self) -> (u128, u64) {
        (self.boot, self.number)
    }
}

/// A file that may hold something to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) path: PathBuf,
    pub(super) boot: u128,
    pub(super) number: u64,
    /// Bytes that hold whole writes.
    pub(super) len: u64,
    /// The boot's watermark: what is at or below it is not read again.
    pub(super) acknowledged: u64,
}

/// Events of one boot, in sequence without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The boot.
    pub boot: u128,
    /// The sequence of the first event.
    pub first_seq: u64,
    /// The events, each the bytes of the protocol's `UsageEvent`.
    pub events: Vec<Bytes>,
}

impl Batch {
    /// Returns the sequence of the last event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.first_seq + (self.events.len() as u64).saturating_sub(1)
    }
}

/// Reads the next events after the cursor and moves it. `None` when all that is written has been read.
pub(super) fn read(files: &[Unread], cursor: &mut Cursor, max_events: usize) -> io::Result<Option<Batch>> {
    let mut batch: Option<Batch> = None;
    for file in files {
        if batch.as_ref().is_some_and(|batch| batch.boot != file.boot) {
            break;
        }
        if cursor.file() != (file.boot, file.number) {
            *cursor = Cursor { boot: file.boot, number: file.number, offset: HEADER_LEN as u64 };
        }
        if read_file(file, cursor, max_events, &mut batch)? {
            break;
        }
    }
    Ok(batch)
}

/// Reads on in one file; true when the batch is complete.
fn read_file(of: &Unread, cursor: &mut Cursor, max_events: usize, batch: &mut Option<Batch>) -> io::Result<bool> {
    let file = File::open(&of.path)?;
    while cursor.offset < of.len {
        let left = usize::try_from(of.len - cursor.offset).unwrap_or(usize::MAX);
        let mut bytes = read_at(&file, cursor.offset, left.min(WINDOW))?;
        let mut at = 0;
        if segment::frame_at(&bytes, 0).is_none() {
            // Longer than a window, or damaged: look at all that is left.
            bytes = read_at(&file, cursor.offset, left)?;
            let Some((found, _)) = segment::find_frame(&bytes, 0) else {
                cursor.offset = of.len;
                break;
            };
            at = found;
        }
        while let Some(frame) = segment::frame_at(&bytes, at) {
            if !take(frame, &bytes, of, max_events, batch) {
                cursor.offset += at as u64;
                return Ok(true);
            }
            at = frame.end;
        }
        cursor.offset += at as u64;
    }
    Ok(false)
}

/// Adds a record to a batch; false when it does not belong to it any more. The batch shares the bytes that were read.
fn take(frame: Frame<'_>, bytes: &Bytes, of: &Unread, max_events: usize, batch: &mut Option<Batch>) -> bool {
    if frame.kind != Kind::Event || frame.seq <= of.acknowledged {
        return true;
    }
    let event = bytes.slice(frame.end - frame.message.len()..frame.end);
    match batch {
        None => {
            *batch = Some(Batch { boot: of.boot, first_seq: frame.seq, events: vec![event] });
            true
        }
        Some(batch) if batch.events.len() < max_events && batch.last_seq() + 1 == frame.seq => {
            batch.events.push(event);
            true
        }
        Some(_) => false,
    }
}

fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length);
    // Into room that nobody has to clear first.
    if file.take(length as u64).read_to_end(&mut bytes)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(bytes))
}
