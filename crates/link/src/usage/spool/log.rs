//! The spool's files: appends, reads, acknowledgements, recovery. Synchronous; `spool` runs it on a thread of its own.
//!
//! A boot is one life of the process; sequences count events within a boot, without gaps. Invariants: an event is dropped from
//! disk only after its acknowledgement; only the tail of a boot's last file is ever cut off; a damaged file is kept aside when
//! its sound events are acknowledged; a file goes away only after the calls opened in it are noted elsewhere or have ended.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{NodeId, RequestId};
use prost::Message;
use proto::v1;
use rustc_hash::FxHashMap;

use super::read::{Cursor, Unread};
use super::segment::{self, FRAME_HEADER_LEN, Frame, HEADER_LEN, Header, Kind};
use crate::usage::event::{Entry, OpenedCall};
use crate::usage::wire;

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

/// What is left to do after an acknowledgement, without the log: nobody waits for it but the caller.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Cleanup {
    sync: Option<Arc<File>>,
    remove: Vec<PathBuf>,
    keep_aside: Vec<PathBuf>,
}

impl Cleanup {
    /// Syncs what took the place of the files, then drops them.
    pub(super) fn run(self) -> io::Result<()> {
        if let Some(file) = self.sync {
            file.sync_data()?;
        }
        for path in self.remove {
            fs::remove_file(path)?;
        }
        for path in self.keep_aside {
            keep_aside(&path)?;
        }
        Ok(())
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
    note: Box<[u8]>,
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
    open: FxHashMap<RequestId, OpenCall>,
    /// Events lost by boot: counted here for this boot, read from the files for former ones.
    lost: HashMap<u128, u64>,
    lost_noted: u64,
    /// Whether the folder's list of files is on the disk.
    is_dir_synced: bool,
    acknowledged: HashMap<u128, u64>,
    buffer: Vec<u8>,
    /// Which notes are in the buffer, and where.
    notes: Vec<(RequestId, Range<usize>)>,
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
            open: FxHashMap::default(),
            lost: HashMap::new(),
            lost_noted: 0,
            is_dir_synced: true,
            acknowledged: HashMap::new(),
            buffer: Vec::new(),
            notes: Vec::new(),
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
        self.notes.clear();
        let mut done = Appended::default();
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
                self.notes.push((entry.request_id(), before + FRAME_HEADER_LEN + 1..buffer.len()));
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
        self.note(entries, done.events);
        Ok(done)
    }

    fn note(&mut self, entries: &[Entry], n_events: u64) {
        let last_seq = self.next_seq - 1;
        let Some(segment) = self.active.as_ref().and_then(|(_, at)| self.segments.get_mut(*at)) else { return };
        if n_events > 0 {
            segment.last_seq = Some(last_seq);
            segment.n_events += n_events;
        }
        let number = segment.number;
        for (id, place) in self.notes.drain(..) {
            self.open.insert(id, OpenCall { number, note: self.buffer[place].into() });
        }
        for entry in entries {
            if matches!(entry, Entry::Ended(_)) {
                self.open.remove(&entry.request_id());
            }
        }
    }

    /// Returns what has to be synced: the file that is written to, and the folder when it has a new file. Both without the
    /// log, so that a slow disk holds up nobody.
    pub(super) fn unsynced(&mut self) -> (Option<Arc<File>>, Option<PathBuf>) {
        let is_new = !std::mem::replace(&mut self.is_dir_synced, true);
        (self.file(), is_new.then(|| self.dir.clone()))
    }

    fn file(&self) -> Option<Arc<File>> {
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

    /// Says whether events of a boot are not acknowledged.
    pub(super) fn is_pending(&self, boot: u128) -> bool {
        let acknowledged = self.acknowledged.get(&boot).copied().unwrap_or(0);
        let of_boot = self.segments.iter().filter(|segment| segment.boot == boot);
        of_boot.filter_map(|segment| segment.last_seq).any(|last| last > acknowledged)
    }

    /// Returns the last event of this boot that is acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.get(&self.boot).copied().unwrap_or(0)
    }

    /// Returns the last event of this boot.
    pub(super) fn last_sequence(&self) -> u64 {
        self.next_seq - 1
    }

    /// Returns the calls that were opened and have not ended.
    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }

    /// Returns the files from a cursor on. They are read without the log, so that a reader holds up nobody.
    pub(super) fn unread(&self, cursor: &Cursor) -> Vec<Unread> {
        let from = self.segments.partition_point(|segment| (segment.boot, segment.number) < cursor.file());
        let unread = |segment: &Segment| Unread {
            path: segment.path.clone(),
            boot: segment.boot,
            number: segment.number,
            len: segment.len,
            acknowledged: self.acknowledged.get(&segment.boot).copied().unwrap_or(0),
        };
        self.segments[from..].iter().map(unread).collect()
    }

    // === Acknowledging ===

    /// Notes that everything of a boot up to a sequence is in the ledger, and drops files that are no longer needed.
    pub(super) fn acknowledge(&mut self, boot: u128, watermark: u64) -> io::Result<Cleanup> {
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
        let mut cleanup = Cleanup::default();
        for segment in done {
            if self.move_open_calls(segment.number)? && self.bounds.is_synced {
                cleanup.sync = self.file();
            }
            self.forget(&segment, &mut cleanup);
        }
        Ok(cleanup)
    }

    /// Ends the active file early when all of it is acknowledged and room is scarce, so that it can be dropped.
    fn retire_active(&mut self, boot: u128, watermark: u64) {
        let Some(segment) = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)) else { return };
        let is_done = segment.boot == boot && segment.last_seq.is_some_and(|last| last <= watermark);
        if is_done && self.len().saturating_mul(2) > self.bounds.max_bytes {
            self.active = None;
        }
    }

    /// Notes the calls opened in a file once more in the active one; false when there are none.
    fn move_open_calls(&mut self, number: u64) -> io::Result<bool> {
        let mut buffer = Vec::new();
        let moved: Vec<RequestId> =
            self.open.iter().filter(|(_, call)| call.number == number).map(|(id, _)| *id).collect();
        for id in &moved {
            if let Some(call) = self.open.get(id) {
                segment::encode(&mut buffer, Kind::Opened, self.next_seq, |out| out.extend_from_slice(&call.note));
            }
        }
        if buffer.is_empty() {
            return Ok(false);
        }
        self.write(&buffer)?;
        let Some(target) = self.active.as_ref().and_then(|(_, at)| self.segments.get(*at)) else { return Ok(false) };
        let number = target.number;
        for id in moved {
            if let Some(call) = self.open.get_mut(&id) {
                call.number = number;
            }
        }
        Ok(true)
    }

    /// Takes a file off the list; the cleanup takes it off the disk.
    fn forget(&mut self, segment: &Segment, cleanup: &mut Cleanup) {
        if segment.is_damaged {
            cleanup.keep_aside.push(segment.path.clone());
        } else {
            cleanup.remove.push(segment.path.clone());
        }
        let active = self.active.take();
        let active_number = active.as_ref().and_then(|(_, at)| self.segments.get(*at)).map(|segment| segment.number);
        self.segments.retain(|known| known.number != segment.number);
        let place = self.segments.iter().position(|known| Some(known.number) == active_number);
        self.active = active.and_then(|(file, _)| place.map(|at| (file, at)));
    }

    fn drop_segment(&mut self, segment: &Segment) -> io::Result<()> {
        let mut cleanup = Cleanup::default();
        self.forget(segment, &mut cleanup);
        cleanup.run()
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
        // Synced with the next group: a client's thread may be the one that begins the file.
        self.is_dir_synced = false;
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
            return keep_aside(&path);
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
                sync_dir(&self.dir)?;
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

/// Moves a file to the folder `quarantine` beside it.
fn keep_aside(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("")).join("quarantine");
    fs::create_dir_all(&dir)?;
    fs::rename(path, dir.join(path.file_name().unwrap_or_default()))
}

/// Makes the names of a folder's files survive the machine.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
