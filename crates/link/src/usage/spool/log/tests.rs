use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::read::read;
use super::*;
use crate::usage::samples::{ended, opened};

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 30, segment_bytes: 1 << 20, is_synced: false };
const SMALL: Bounds = Bounds { is_synced: false, segment_bytes: 700, ..BOUNDS };

static IDS: LazyLock<BTreeMap<String, u64>> =
    LazyLock::new(|| (0..300).map(|n| (opened(n).id.to_string(), n)).collect());

fn open(dir: &Path, boot: u128, bounds: Bounds) -> (Log, Recovered) {
    Log::open(dir, NodeId::from_uuid(5), boot, bounds).unwrap()
}

fn end(n: u64) -> Entry {
    Entry::Ended(Box::new(ended(n)))
}

fn begin(n: u64) -> Entry {
    Entry::Opened(opened(n))
}

/// Everything a reader sees, as (boot, sequence, request, outcome).
fn read_all(log: &Log, max_events: usize) -> Vec<(u128, u64, String, String)> {
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    while let Some(batch) = read(&log.unread(&cursor), &mut cursor, max_events).unwrap() {
        assert!(batch.events.len() <= max_events && !batch.events.is_empty());
        for (seq, event) in (batch.first_seq..).zip(batch.events) {
            let event = v1::UsageEvent::decode(event).unwrap();
            seen.push((batch.boot, seq, event.request_id, event.outcome));
        }
    }
    seen
}

fn numbers(log: &Log) -> Vec<u64> {
    read_all(log, 3).into_iter().map(|(_, _, id, _)| IDS[&id]).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in files(from) {
        fs::copy(&file, to.path().join(file.file_name().unwrap())).unwrap();
    }
    to
}

#[test]
fn events_come_back_in_order_over_many_files() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, SMALL);
    for n in 0..20 {
        log.append(&[begin(n), end(n)]).unwrap();
    }
    assert!(files(dir.path()).len() > 5);
    assert_eq!(numbers(&log), (0..20).collect::<Vec<_>>());
    assert_eq!((log.n_pending(), log.n_open()), (20, 0));
    let sequences: Vec<u64> = read_all(&log, 7).iter().map(|(_, seq, ..)| *seq).collect();
    assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
}

#[test]
fn acknowledged_files_go_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, SMALL);
    for n in 0..20 {
        log.append(&[end(n)]).unwrap();
    }
    let before = files(dir.path()).len();
    log.acknowledge(1, 10).unwrap().run().unwrap();
    assert!(files(dir.path()).len() < before);
    assert_eq!(numbers(&log), (10..20).collect::<Vec<_>>());
    log.acknowledge(1, 20).unwrap().run().unwrap();
    assert_eq!((files(dir.path()).len(), log.n_pending()), (1, 0));
    log.close().unwrap();
    assert_eq!(files(dir.path()).len(), 0);
    // An old acknowledgement that arrives late takes nothing back.
    log.acknowledge(1, 3).unwrap().run().unwrap();
}

#[test]
fn a_call_that_never_ended_becomes_an_interrupted_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, BOUNDS);
    log.append(&[begin(0), begin(1), end(0), begin(2)]).unwrap();
    drop(log);
    let (log, recovered) = open(dir.path(), 2, BOUNDS);
    assert_eq!((recovered.events, recovered.interrupted), (3, 2));
    let seen = read_all(&log, 100);
    let outcomes: Vec<(u128, u64, &str)> =
        seen.iter().map(|(boot, seq, _, outcome)| (*boot, *seq, outcome.as_str())).collect();
    assert_eq!(outcomes, [(1, 1, "success"), (1, 2, "interrupted"), (1, 3, "interrupted")]);
    drop(log);
    let (mut log, recovered) = open(dir.path(), 3, BOUNDS);
    assert_eq!((recovered.events, recovered.interrupted), (3, 0));
    assert_eq!(read_all(&log, 100), seen);
    log.acknowledge(1, 3).unwrap().run().unwrap();
    assert_eq!(files(dir.path()).len(), 0);
}

#[test]
fn a_call_in_flight_outlives_the_file_it_was_opened_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, SMALL);
    log.append(&[begin(99)]).unwrap();
    for n in 0..20 {
        log.append(&[end(n)]).unwrap();
    }
    log.acknowledge(1, 20).unwrap().run().unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    drop(log);
    let (log, recovered) = open(dir.path(), 2, SMALL);
    assert_eq!(recovered.interrupted, 1);
    let last = read_all(&log, 100).pop().unwrap();
    assert_eq!((last.2, last.3.as_str()), (opened(99).id.to_string(), "interrupted"));
}

#[test]
fn a_full_log_loses_counts_and_takes_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, Bounds { max_bytes: 2_000, segment_bytes: 700, is_synced: false });
    for n in 0..20 {
        log.append(&[end(n)]).unwrap();
    }
    let kept = numbers(&log);
    assert_eq!((kept.len() as u64 + log.lost(1), kept[0]), (20, 0));
    assert!(log.lost(1) > 0 && log.len() < 2_200);
    log.acknowledge(1, kept.len() as u64).unwrap().run().unwrap();
    log.append(&[end(100)]).unwrap();
    assert_eq!(numbers(&log), [100]);
    let lost = log.lost(1);
    drop(log);
    // What was lost is still known after a restart.
    let (log, _) = open(dir.path(), 2, BOUNDS);
    assert_eq!(log.lost(1), lost);
}

#[test]
fn a_write_torn_at_any_byte_loses_only_what_was_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, BOUNDS);
    let mut ends = vec![HEADER_LEN as u64];
    for n in 0..4 {
        log.append(&[end(n)]).unwrap();
        ends.push(log.len());
    }
    drop(log);
    let whole = fs::read(&files(dir.path())[0]).unwrap();
    for garbage in [&b""[..], &[0; 40], &[0xAB; 40]] {
        // Every byte once; behind garbage a sample, since only what follows the cut differs.
        for cut in (0..=whole.len()).step_by(if garbage.is_empty() { 1 } else { 17 }) {
            let torn = tempfile::tempdir().unwrap();
            let mut bytes = whole[..cut].to_vec();
            bytes.extend_from_slice(garbage);
            fs::write(torn.path().join("0000000000000001.seg"), bytes).unwrap();
            let (mut log, recovered) = open(torn.path(), 2, BOUNDS);
            let n_whole = ends.iter().skip(1).filter(|end| **end <= cut as u64).count() as u64;
            assert_eq!(numbers(&log), (0..n_whole).collect::<Vec<_>>(), "cut at {cut}");
            assert_eq!((recovered.events, recovered.damaged), (n_whole, 0));
            log.append(&[end(50)]).unwrap();
            assert_eq!(numbers(&log).last(), Some(&50));
        }
    }
}

#[test]
fn damage_inside_a_file_costs_one_event_and_the_file_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), 1, BOUNDS);
    let mut ends = vec![HEADER_LEN];
    for n in 0..4 {
        log.append(&[end(n)]).unwrap();
        ends.push(usize::try_from(log.len()).unwrap());
    }
    drop(log);
    for at in (HEADER_LEN..ends[3]).step_by(7) {
        let bad = copy(dir.path());
        let path = files(bad.path()).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let hit = ends.iter().filter(|end| **end <= at).count() as u64 - 1;
        let (mut log, recovered) = open(bad.path(), 2, BOUNDS);
        assert_eq!((recovered.damaged, recovered.torn_bytes), (1, 0), "byte {at}");
        assert_eq!(numbers(&log), (0..4).filter(|n| *n != hit).collect::<Vec<_>>(), "byte {at}");
        log.acknowledge(1, 4).unwrap().run().unwrap();
        assert!(bad.path().join("quarantine").join(path.file_name().unwrap()).exists());
    }
}

#[test]
fn a_file_with_an_unreadable_header_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0000000000000007.seg"), [7; 100]).unwrap();
    fs::write(dir.path().join("0000000000000008.seg"), [7; 10]).unwrap();
    fs::write(dir.path().join("readme.txt"), "not ours").unwrap();
    let (mut log, recovered) = open(dir.path(), 1, BOUNDS);
    assert_eq!((recovered.unreadable, recovered.torn_bytes), (1, 10));
    assert!(dir.path().join("quarantine/0000000000000007.seg").exists());
    log.append(&[end(1)]).unwrap();
    assert_eq!(numbers(&log), [1]);
}

// === The model ===

#[derive(Debug, Clone)]
enum Step {
    /// Calls begin, and some of those in flight end, in one write.
    Append { begin: u64, end: u64 },
    /// Some of what was read is acknowledged.
    Acknowledge(proptest::sample::Index),
    /// The process is killed; the last write may be torn by this many bytes.
    Kill { torn: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4_u64, 0..4_u64).prop_map(|(begin, end)| Step::Append { begin, end }),
        3 => any::<proptest::sample::Index>().prop_map(Step::Acknowledge),
        2 => prop_oneof![Just(0), 1..600_u64].prop_map(|torn| Step::Kill { torn }),
    ];
    proptest::collection::vec(step, 0..40)
}

/// What must be true whatever happens: every call that ended, or was open at a crash, is seen until acknowledged, exactly once
/// by a ledger that drops what it knows; nothing else is ever seen.
#[derive(Default)]
struct Model {
    next: u64,
    in_flight: BTreeSet<u64>,
    /// Written whole and not acknowledged, or interrupted by a crash.
    owed: BTreeSet<u64>,
    /// May have been lost or kept, because the last write was torn.
    unsure: BTreeSet<u64>,
    last_write: Vec<u64>,
    ledger: BTreeSet<u64>,
    boot: u128,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_forgotten_whatever_happens(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model { boot: 1, ..Model::default() };
            let (mut log, _) = open(dir.path(), model.boot, SMALL);
        for step in steps {
            match step {
                Step::Append { begin: n_begin, end: n_end } => {
                    let ending: Vec<u64> = model.in_flight.iter().take(usize::try_from(n_end).unwrap()).copied().collect();
                    let beginning: Vec<u64> = (model.next..model.next + n_begin).collect();
                    model.next += n_begin;
                    let entries: Vec<Entry> = beginning.iter().map(|n| begin(*n)).chain(ending.iter().map(|n| end(*n))).collect();
                    log.append(&entries).unwrap();
                    if !entries.is_empty() {
                        model.last_write = beginning.iter().chain(&ending).copied().collect();
                    }
                    for n in ending {
                        model.in_flight.remove(&n);
                        model.owed.insert(n);
                    }
                    model.in_flight.extend(beginning);
                }
                Step::Acknowledge(index) => {
                    let seen = read_all(&log, 3);
                    if !seen.is_empty() {
                        let (boot, watermark, ..) = seen[index.index(seen.len())];
                        for (_, _, id, _) in seen.iter().filter(|(of, seq, ..)| *of == boot && *seq <= watermark) {
                            model.owed.remove(&IDS[id]);
                            model.unsure.remove(&IDS[id]);
                            model.ledger.insert(IDS[id]);
                        }
                        log.acknowledge(boot, watermark).unwrap().run().unwrap();
                    }
                }
                Step::Kill { torn } => {
                    drop(log);
                    // Only a last write that nothing followed can be torn, and only its own bytes.
                    if let (Some(path), true) = (files(dir.path()).last(), torn > 0) {
                        let len = fs::metadata(path).unwrap().len();
                        let keep = len.saturating_sub(torn).max(HEADER_LEN as u64);
                        let mut lost = BTreeSet::new();
                        let before = fs::read(path).unwrap();
                        let mut kept_seqs = 0;
                        segment::walk(&before, HEADER_LEN, |frame| {
                            if frame.end as u64 > keep && frame.kind != Kind::Lost {
                                let id = match frame.kind {
                                    Kind::Opened => OpenedCall::read(frame.message).unwrap().id.to_string(),
                                    _ => v1::UsageEvent::decode(frame.message).unwrap().request_id,
                                };
                                lost.insert(IDS[&id]);
                            } else {
                                kept_seqs += 1;
                            }
                        });
                        OpenOptions::new().write(true).open(path).unwrap().set_len(keep).unwrap();
                        for n in lost {
                            // Its end is lost: known to be open, or not known at all.
                            model.owed.remove(&n);
                            model.in_flight.remove(&n);
                            if !model.ledger.contains(&n) {
                                model.unsure.insert(n);
                            }
                        }
                    }
                    // What was in flight is now owed as interrupted, unless the ledger has it.
                    let interrupted = std::mem::take(&mut model.in_flight);
                    model.owed.extend(interrupted);
                    model.boot += 1;
                    log = open(dir.path(), model.boot, SMALL).0;
                }
            }
            let seen: Vec<u64> = read_all(&log, 4).iter().map(|(_, _, id, _)| IDS[id]).collect();
            let unique: BTreeSet<u64> = seen.iter().copied().collect();
            prop_assert_eq!(unique.len(), seen.len(), "seen twice");
            prop_assert!(model.owed.is_subset(&unique), "owed {:?}, seen {:?}", model.owed, unique);
            let allowed: BTreeSet<u64> = model.owed.union(&model.unsure).chain(&model.ledger).copied().collect();
            prop_assert!(unique.is_subset(&allowed), "seen {:?}, allowed {:?}", unique, allowed);
        }
    }
}
