//! The spool's files: appends, reads, acknowledgements, recovery. Synchronous; `spool` runs it on a thread of its own.
//!
//! A boot is one life of the process; sequences count events within a boot, without gaps. Invariants: an event is dropped from
//! disk only after its acknowledgement; only the tail of a boot's last file is ever cut off; a damaged file is kept aside when
//! its sound events are acknowledged; a file goes away only after the calls opened in it are noted elsewhere or have ended.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use domain::{NodeId, RequestId};
use prost::Message;
use proto::v1;

use super::segment::{self, FRAME_HEADER_LEN, Frame, HEADER_LEN, Header, Kind};
use crate::usage::event::{Entry, OpenedCall};
use crate::usage::wire;

/// Bytes read from a file at a time.
const WINDOW: usize = 512 * 1024;

/// Bounds of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most bytes on disk.
    pub(super) max_bytes: u64,
    /// A file that has reached this length is followed by a new one.
    pub(super) segment_bytes: u64,
    /// Whether new files and cuts are forced to the disk; without it only a crash of the process is survived.
    pub(super) is_synced: bool,
}

/// What was found when the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Events of former boots that wait for their acknowledgement.
    pub events: u64,
    /// Calls that a former boot opened and never ended; now events with outcome `interrupted`.
    pub interrupted: u64,
    /// Bytes cut off as the torn end of a last write.
    pub torn_bytes: u64,
    /// Damaged places inside files.
    pub damaged: u64,
    /// Files without a readable header, kept aside.
    pub unreadable: u64,
}

/// What happened to a batch of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Appended {
    /// Events kept.
    pub(super) events: u64,
    /// Events lost because the log is full.
    pub(super) lost: u64,
    /// Bytes written.
    pub(super) bytes: u64,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    boot: u128,
    number: u64,
    offset: u64,
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

/// One file.
#[derive(Debug, Clone)]
struct Segment {
    number: u64,
    path: PathBuf,
    boot: u128,
    /// Bytes that hold whole writes.
    len: u64,
    /// The last event in it, when it has one.
    last_seq: Option<u64>,
    n_events: u64,
    is_damaged: bool,
}

/// A call that was opened and has not ended.
#[derive(Debug)]
struct OpenCall {
    number: u64,
    note: Vec<u8>,
}

/// The log of one node.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    node: NodeId,
    boot: u128,
    bounds: Bounds,
    /// Sorted by (boot, number).
    segments: Vec<Segment>,
    active: Option<(Arc<File>, usize)>,
    next_number: u64,
    next_seq: u64,
    open: HashMap<RequestId, OpenCall>,
    /// Events lost by boot: counted here for this boot, read from the files for former ones.
    lost: HashMap<u128, u64>,
    lost_noted: u64,
    acknowledged: HashMap<u128, u64>,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the log, mends what a former life left, and turns its open calls into events.
    pub(super) fn open(dir: &Path, node: NodeId, boot: u128, bounds: Bounds) -> io::Result<(Self, Recovered)> {
        fs::create_dir_all(dir)?;
        let mut log = Self {
            dir: dir.to_owned(),
            node,
            boot,
            bounds,
            segments: Vec::new(),
            active: None,
            next_number: 1,
            next_seq: 1,
            open: HashMap::new(),
            lost: HashMap::new(),
            lost_noted: 0,
            acknowledged: HashMap::new(),
            buffer: Vec::new(),
        };
        let recovered = log.recover()?;
        Ok((log, recovered))
    }

    /// Appends entries in one write. When the disk refuses, nothing of the batch is kept and the caller may try again.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<Appended> {
        if entries.is_empty() {
            return Ok(Appended::default());
        }
        self.roll_if_full()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut done = Appended::default();
        let mut opened = Vec::new();
        let mut seq = self.next_seq;
        let room = self.bounds.max_bytes.saturating_sub(self.len());
        for entry in entries {
            let before = buffer.len();
            let kind = if matches!(entry, Entry::Opened(_)) { Kind::Opened } else { Kind::Event };
            let fits = segment::encode(&mut buffer, kind, seq, |out| write_entry(entry, out)).is_some();
            if !fits || buffer.len() as u64 > room {
                buffer.truncate(before);
                done.lost += u64::from(kind == Kind::Event);
            } else if kind == Kind::Event {
                seq += 1;
                done.events += 1;
            } else {
                opened.push((entry.request_id(), buffer[before + FRAME_HEADER_LEN + 1..].to_vec()));
            }
        }
        let lost = self.lost.get(&self.boot).copied().unwrap_or(0) + done.lost;
        // Without room for events the count is noted whenever it has doubled: a few bytes beyond the bound, never many.
        if lost > self.lost_noted && (done.lost == 0 || lost >= self.lost_noted.saturating_mul(2)) {
            self.lost_noted = lost;
            segment::encode(&mut buffer, Kind::Lost, seq, |out| out.extend_from_slice(&lost.to_le_bytes()));
        }
        let written = self.write(&buffer);
        done.bytes = buffer.len() as u64;
        self.buffer = buffer;
        written?;
        self.lost.insert(self.boot, lost);
        self.next_seq = seq;
        self.note(entries, opened, done.events);
        Ok(done)
    }

    fn note(&mut self, entries: &[Entry], opened: Vec<(RequestId, Vec<u8>)>, n_events: u64) {
        let last_seq = self.next_seq - 1;
        let Some(segment) = self.active.as_ref().and_then(|(_, at)| self.segments.get_mut(*at)) else { return };
        if n_events > 0 {
            segment.last_seq = Some(last_seq);
            segment.n_events += n_events;
        }
        let number = segment.number;
        for (id, note) in opened {
            self.open.insert(id, OpenCall { number, note });
        }
        for entry in entries {
            if matches!(entry, Entry::Ended(_)) {
                self.open.remove(&entry.request_id());
            }
        }
    }

    /// Returns the file that is written to, for syncing it without holding the log.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.active.as_ref().map(|(file, _)| Arc::clone(file))
    }

    /// Counts events that never reached the log.
    pub(super) fn lose(&mut self, n_events: u64) {
        *self.lost.entry(self.boot).or_default() += n_events;
    }

    /// Returns how many events a boot has lost.
    pub(super) fn lost(&self, boot: u128) -> u64 {
        self.lost.get(&boot).copied().unwrap_or(0)
    }

    /// Returns the bytes on disk.
    pub(super) fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Returns the events that are not acknowledged.
    pub(super) fn n_pending(&self) -> u64 {
        let pending = |segment: &Segment| {
            let acknowledged = self.acknowledged.get(&segment.boot).copied().unwrap_or(0);
            segment.last_seq.map_or(0, |last| last.saturating_sub(acknowledged).min(segment.n_events))
        };
        self.segments.iter().map(pending).sum()
    }

    /// Returns the calls that were opened and have not ended.
    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }

    // === Reading ===

    /// Reads the next events after the cursor and moves it. `None` when all that is written has been read.
    pub(super) fn read(&self, cursor: &mut Cursor, max_events: usize) -> io::Result<Option<Batch>> {
        let mut batch: Option<Batch> = None;
        let from =
            self.segments.partition_point(|segment| (segment.boot, segment.number) < (cursor.boot, cursor.number));
        for segment in &self.segments[from..] {
            if batch.as_ref().is_some_and(|batch| batch.boot != segment.boot) {
                break;
            }
            if (cursor.boot, cursor.number) != (segment.boot, segment.number) {
                *cursor = Cursor { boot: segment.boot, number: segment.number, offset: HEADER_LEN as u64 };
            }
            if self.read_segment(segment, cursor, max_events, &mut batch)? {
                break;
            }
        }
        Ok(batch)
    }

    /// Reads on in one file; true when the batch is complete.
    fn read_segment(
        &self,
        segment: &Segment,
        cursor: &mut Cursor,
        max_events: usize,
        batch: &mut Option<Batch>,
    ) -> io::Result<bool> {
        let acknowledged = self.acknowledged.get(&segment.boot).copied().unwrap_or(0);
        let file = File::open(&segment.path)?;
        while cursor.offset < segment.len {
            let left = usize::try_from(segment.len - cursor.offset).unwrap_or(usize::MAX);
            let mut bytes = Bytes::from(read_at(&file, cursor.offset, left.min(WINDOW))?);
            let mut at = 0;
            if segment::frame_at(&bytes, 0).is_none() {
                // Longer than a window, or damaged: look at all that is left.
                bytes = Bytes::from(read_at(&file, cursor.offset, left)?);
                let Some((found, _)) = segment::find_frame(&bytes, 0) else {
                    cursor.offset = segment.len;
                    break;
                };
                at = found;
            }
            while let Some(frame) = segment::frame_at(&bytes, at) {
                if !take(frame, &bytes, segment.boot, acknowledged, max_events, batch) {
                    cursor.offset += at as u64;
                    return Ok(true);
                }
                at = frame.end;
            }
            cursor.offset += at as u64;
        }
        Ok(false)
    }

    // === Acknowledging ===

    /// Notes that everything of a boot up to a sequence is in the ledger, and drops files that are no longer needed.
    pub(super) fn acknowledge(&mut self, boot: u128, watermark: u64) -> io::Result<()> {
        let known = self.acknowledged.entry(boot).or_default();
        *known = (*known).max(watermark);
        let watermark = *known;
        self.retire_active(boot, watermark);
        let active = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)).map(|segment| segment.number);
        let is_done = |segment: &Segment| {
            segment.boot == boot
                && Some(segment.number) != active
                && segment.last_seq.is_none_or(|last| last <= watermark)
        };
        // In order, and only a prefix: an opened call must not outlive the file in which it ended.
        let done: Vec<Segment> = self
            .segments
            .iter()
            .skip_while(|segment| segment.boot != boot)
            .take_while(|segment| is_done(segment))
            .cloned()
            .collect();
        for segment in done {
            self.move_open_calls(segment.number)?;
            self.drop_segment(&segment)?;
        }
        Ok(())
    }

    /// Ends the active file early when all of it is acknowledged and room is scarce, so that it can be dropped.
    fn retire_active(&mut self, boot: u128, watermark: u64) {
        let Some(segment) = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)) else { return };
        let is_done = segment.boot == boot && segment.last_seq.is_some_and(|last| last <= watermark);
        if is_done && self.len().saturating_mul(2) > self.bounds.max_bytes {
            self.active = None;
        }
    }

    /// Notes the calls opened in a file once more in the active one.
    fn move_open_calls(&mut self, number: u64) -> io::Result<()> {
        let mut buffer = Vec::new();
        let moved: Vec<RequestId> =
            self.open.iter().filter(|(_, call)| call.number == number).map(|(id, _)| *id).collect();
        for id in &moved {
            if let Some(call) = self.open.get(id) {
                segment::encode(&mut buffer, Kind::Opened, self.next_seq, |out| out.extend_from_slice(&call.note));
            }
        }
        if buffer.is_empty() {
            return Ok(());
        }
        self.write(&buffer)?;
        let Some(target) = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)) else { return Ok(()) };
        let number = target.number;
        for id in moved {
            if let Some(call) = self.open.get_mut(&id) {
                call.number = number;
            }
        }
        // The old note goes away next, so the new one must be on the disk.
        self.file().map_or(Ok(()), |file| self.sync(&file))
    }

    fn drop_segment(&mut self, segment: &Segment) -> io::Result<()> {
        if segment.is_damaged {
            self.keep_aside(&segment.path)?;
        } else {
            fs::remove_file(&segment.path)?;
        }
        let active = self.active.take();
        let active_number = active.as_ref().and_then(|(_, at)| self.segments.get(*at)).map(|segment| segment.number);
        self.segments.retain(|known| known.number != segment.number);
        let place = self.segments.iter().position(|known| Some(known.number) == active_number);
        self.active = active.and_then(|(file, _)| place.map(|at| (file, at)));
        Ok(())
    }

    /// Ends this life: an active file with nothing left to say is dropped.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let Some(segment) = self.active.take().and_then(|(_, at)| self.segments.get(at).cloned()) else {
            return Ok(());
        };
        let acknowledged = self.acknowledged.get(&self.boot).copied().unwrap_or(0);
        let is_done = segment.last_seq.is_none_or(|last| last <= acknowledged);
        if is_done && self.open.is_empty() && self.segments.iter().filter(|known| known.boot == self.boot).count() == 1
        {
            self.drop_segment(&segment)?;
        }
        Ok(())
    }

    // === Writing ===

    fn roll_if_full(&mut self) -> io::Result<()> {
        let len = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)).map(|segment| segment.len);
        if len.is_none_or(|len| len >= self.bounds.segment_bytes) {
            let sequence = self.next_seq;
            let at = self.create(self.boot, sequence)?;
            let path = &self.segments[at].path;
            let file = OpenOptions::new().write(true).open(path)?;
            self.active = Some((Arc::new(file), at));
            // Each file repeats the loss, so that dropping older files does not forget it.
            self.lost_noted = 0;
        }
        Ok(())
    }

    /// Makes an empty file with its header and returns its place in the list.
    fn create(&mut self, boot: u128, first_seq: u64) -> io::Result<usize> {
        let number = self.next_number;
        let path = self.dir.join(format!("{number:016}.seg"));
        let header = Header { node: self.node.as_uuid(), boot, first_seq }.encode();
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.write_all(&header)?;
        self.sync(&file)?;
        if self.bounds.is_synced {
            sync_dir(&self.dir)?;
        }
        self.next_number += 1;
        let segment =
            Segment { number, path, boot, len: header.len() as u64, last_seq: None, n_events: 0, is_damaged: false };
        let at = self.segments.partition_point(|known| (known.boot, known.number) < (boot, number));
        self.segments.insert(at, segment);
        if let Some((_, active)) = &mut self.active
            && *active >= at
        {
            *active += 1;
        }
        Ok(at)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.roll_if_none()?;
        let Some((file, at)) = &self.active else { return Err(io::Error::other("the spool has no file to write to")) };
        let Some(segment) = self.segments.get_mut(*at) else {
            return Err(io::Error::other("the spool lost sight of its file"));
        };
        if let Err(error) = file.write_all_at(bytes, segment.len) {
            // A part may have been written; it lies beyond `len` and the next write begins there again. Cutting it off
            // matters only to a reader after a crash, who would cut it off too.
            let _torn_anyway = file.set_len(segment.len);
            return Err(error);
        }
        segment.len += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.bounds.is_synced { file.sync_all() } else { Ok(()) }
    }

    fn roll_if_none(&mut self) -> io::Result<()> {
        if self.active.is_none() { self.roll_if_full() } else { Ok(()) }
    }

    fn keep_aside(&self, path: &Path) -> io::Result<()> {
        let aside = self.dir.join("quarantine");
        fs::create_dir_all(&aside)?;
        let name = path.file_name().unwrap_or_default();
        fs::rename(path, aside.join(name))
    }

    // === Recovery ===

    fn recover(&mut self) -> io::Result<Recovered> {
        let mut recovered = Recovered::default();
        let mut paths: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let (Some(number), Some("seg")) = (number, path.extension().and_then(|ext| ext.to_str())) {
                paths.push((number, path));
            }
        }
        paths.sort();
        self.next_number = paths.last().map_or(1, |(number, _)| number + 1);
        let mut boots: Vec<Boot> = Vec::new();
        for (number, path) in paths {
            self.recover_file(number, path, &mut boots, &mut recovered)?;
        }
        self.segments.sort_by_key(|segment| (segment.boot, segment.number));
        for boot in boots {
            self.finish_boot(boot, &mut recovered)?;
        }
        recovered.events = self.segments.iter().map(|segment| segment.n_events).sum();
        Ok(recovered)
    }

    fn recover_file(
        &mut self,
        number: u64,
        path: PathBuf,
        boots: &mut Vec<Boot>,
        recovered: &mut Recovered,
    ) -> io::Result<()> {
        let bytes = fs::read(&path)?;
        let Some(header) = Header::decode(&bytes) else {
            // Shorter than a header: the crash came before the first record. Otherwise somebody damaged it.
            if bytes.len() < HEADER_LEN {
                recovered.torn_bytes += bytes.len() as u64;
                return fs::remove_file(&path);
            }
            recovered.unreadable += 1;
            return self.keep_aside(&path);
        };
        let place = boots.iter().position(|boot| boot.id == header.boot).unwrap_or_else(|| {
            boots.push(Boot::new(header.boot));
            boots.len() - 1
        });
        let boot = &mut boots[place];
        if let Some((earlier, 1..)) = boot.tail
            && let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == earlier)
        {
            // Only a last file can be torn; here somebody damaged the end of one that was complete.
            segment.is_damaged = true;
            recovered.damaged += 1;
        }
        boot.last_seq = boot.last_seq.max(header.first_seq.saturating_sub(1));
        let mut segment =
            Segment { number, path, boot: header.boot, len: 0, last_seq: None, n_events: 0, is_damaged: false };
        let (damaged, end) = segment::walk(&bytes, HEADER_LEN, |frame| boot.take(frame, &mut segment));
        segment.len = end as u64;
        segment.is_damaged = !damaged.is_empty();
        recovered.damaged += damaged.len() as u64;
        boot.tail = Some((number, bytes.len() - end));
        self.segments.push(segment);
        Ok(())
    }

    /// Cuts the torn end off a boot's last file, counts what is damaged before it, and ends the calls it left open.
    fn finish_boot(&mut self, boot: Boot, recovered: &mut Recovered) -> io::Result<()> {
        if let Some((number, torn)) = boot.tail
            && torn > 0
            && let Some(segment) = self.segments.iter().find(|segment| segment.number == number)
        {
            recovered.torn_bytes += torn as u64;
            let file = OpenOptions::new().write(true).open(&segment.path)?;
            file.set_len(segment.len)?;
            self.sync(&file)?;
        }
        if boot.lost > 0 {
            self.lost.insert(boot.id, boot.lost);
        }
        if !boot.open.is_empty() {
            let mut buffer = Vec::new();
            let mut seq = boot.last_seq;
            let mut open: Vec<(usize, OpenedCall)> = boot.open.into_values().collect();
            open.sort_unstable_by_key(|(place, _)| *place);
            let n_open = open.len() as u64;
            for (_, call) in &open {
                seq += 1;
                segment::encode(&mut buffer, Kind::Event, seq, |out| wire::write_event(&call.interrupted(), out));
            }
            let at = self.create(boot.id, boot.last_seq + 1)?;
            let segment = &mut self.segments[at];
            let file = OpenOptions::new().write(true).open(&segment.path)?;
            file.write_all_at(&buffer, segment.len)?;
            if self.bounds.is_synced {
                file.sync_all()?;
            }
            segment.len += buffer.len() as u64;
            segment.last_seq = Some(seq);
            segment.n_events = n_open;
            recovered.interrupted += n_open;
        }
        // Files without events have nothing left to say, now that their open calls are events.
        let empty: Vec<Segment> =
            self.segments.iter().filter(|segment| segment.boot == boot.id && segment.n_events == 0).cloned().collect();
        for segment in empty {
            self.drop_segment(&segment)?;
        }
        Ok(())
    }
}

/// What recovery learns of a former boot.
struct Boot {
    id: u128,
    last_seq: u64,
    lost: u64,
    /// Opened and not ended, by request: the place in the order, and the call.
    open: HashMap<RequestId, (usize, OpenedCall)>,
    n_opened: usize,
    /// The newest file and how many bytes at its end are no record.
    tail: Option<(u64, usize)>,
}

impl Boot {
    fn new(id: u128) -> Self {
        Self { id, last_seq: 0, lost: 0, open: HashMap::new(), n_opened: 0, tail: None }
    }

    fn take(&mut self, frame: Frame<'_>, segment: &mut Segment) {
        match frame.kind {
            Kind::Event => {
                self.last_seq = self.last_seq.max(frame.seq);
                segment.last_seq = Some(frame.seq);
                segment.n_events += 1;
                let event = v1::UsageEvent::decode(frame.message).ok();
                if let Some(id) = event.and_then(|event| event.request_id.parse().ok()) {
                    self.open.remove(&id);
                }
            }
            Kind::Opened => {
                if let Some(call) = OpenedCall::read(frame.message) {
                    self.n_opened += 1;
                    self.open.insert(call.id, (self.n_opened, call));
                }
            }
            Kind::Lost => {
                let lost = frame.message.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                self.lost = self.lost.max(lost);
            }
        }
    }
}

/// Adds a record to a batch; false when it does not belong to it any more. The batch shares the bytes that were read.
fn take(
    frame: Frame<'_>,
    bytes: &Bytes,
    boot: u128,
    acknowledged: u64,
    max_events: usize,
    batch: &mut Option<Batch>,
) -> bool {
    if frame.kind != Kind::Event || frame.seq <= acknowledged {
        return true;
    }
    let event = bytes.slice(frame.end - frame.message.len()..frame.end);
    match batch {
        None => {
            *batch = Some(Batch { boot, first_seq: frame.seq, events: vec![event] });
            true
        }
        Some(batch) if batch.events.len() < max_events && batch.last_seq() + 1 == frame.seq => {
            batch.events.push(event);
            true
        }
        Some(_) => false,
    }
}

fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Opened(call) => call.write(out),
        Entry::Ended(event) => wire::write_event(event, out),
    }
}

/// Most bytes of events that are kept aside; a ledger that refuses everything must not fill the disk.
const MAX_REFUSED: u64 = 16 * 1024 * 1024;

/// Appends an event, as `{reason, base64 of the message}` lines, to the file of those the ledger will never take.
pub(super) fn keep_refused(dir: &Path, boot: u128, sequence: u64, reason: &str, event: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("refused.jsonl"))?;
    if file.metadata()?.len() > MAX_REFUSED {
        return Ok(());
    }
    let message = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, event);
    let request_id = v1::UsageEvent::decode(event).map(|event| event.request_id).unwrap_or_default();
    let line = serde_json::json!({
        "boot": format!("{boot:032x}"), "sequence": sequence, "reason": reason, "request_id": request_id, "event": message,
    });
    writeln!(file, "{line}")?;
    file.sync_all()
}

fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
