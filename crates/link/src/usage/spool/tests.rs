use prost::Message;
use proto::v1;
use tempfile::TempDir;

use super::*;
use crate::usage::samples::{ended, opened};

fn open(dir: &TempDir, boot: u128, config: SpoolConfig) -> Spool {
    Spool::open(dir.path(), NodeId::from_uuid(5), boot, config).unwrap()
}

/// Waits for a fact about the writer's thread; the test runner's own limit is the deadline.
fn wait_until(mut is_true: impl FnMut() -> bool) {
    while !is_true() {
        thread::yield_now();
    }
}

fn read_all(spool: &Spool) -> Vec<String> {
    let mut reader = spool.reader();
    let mut seen = Vec::new();
    while let Some(batch) = reader.next(10).unwrap() {
        seen.extend(batch.events.iter().map(|event| v1::UsageEvent::decode(&event[..]).unwrap().request_id));
    }
    seen
}

#[test]
fn what_many_threads_record_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1, SpoolConfig::default());
    thread::scope(|scope| {
        for lane in 0..4 {
            let spool = spool.clone();
            scope.spawn(move || {
                for n in 0..250 {
                    spool.opened(opened(lane * 1_000 + n));
                    spool.record(ended(lane * 1_000 + n)).unwrap();
                }
            });
        }
    });
    assert_eq!(spool.state().pending_events, 1_000);
    let mut seen = read_all(&spool);
    assert_eq!(seen.len(), 1_000);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_000);
    spool.acknowledge(1, 1_000).unwrap();
    assert_eq!((spool.state().pending_events, spool.state().open_calls), (0, 0));
}

#[test]
fn what_is_recorded_is_in_the_file_when_the_call_returns() {
    let dir = tempfile::tempdir().unwrap();
    for boot in 1..=20 {
        // Never closed: as if the process had been killed.
        let spool = open(&dir, boot, SpoolConfig::default());
        spool.record(ended(1)).unwrap();
        assert_eq!(spool.state().queued_events, 0);
        let other = open(&dir, 1_000 + boot, SpoolConfig::default());
        assert_eq!(other.recovered().events, u64::try_from(boot).unwrap());
    }
}

#[test]
fn a_close_writes_what_was_buffered() {
    let dir = tempfile::tempdir().unwrap();
    for sync in [SyncPolicy::Always, SyncPolicy::Group, SyncPolicy::Os] {
        let spool = open(&dir, 1, SpoolConfig { sync, ..SpoolConfig::default() });
        for n in 0..100 {
            spool.record(ended(n)).unwrap();
        }
        spool.close();
        assert_eq!(spool.state().pending_events, 100);
        assert_eq!(spool.record(ended(100)), Err(SinkFull));
        assert_eq!(spool.lost(1), 1);
        spool.acknowledge(1, 100).unwrap();
        // The note of the node's lives stays.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_crash_in_mid_call_is_reported_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1, SpoolConfig::default());
    spool.opened(opened(1));
    spool.opened(opened(2));
    spool.record(ended(1)).unwrap();
    spool.close();
    let spool = open(&dir, 2, SpoolConfig::default());
    assert_eq!((spool.recovered().events, spool.recovered().interrupted), (2, 1));
    assert_eq!(read_all(&spool), [opened(1).id.to_string(), opened(2).id.to_string()]);
    spool.close();
}

#[test]
fn a_full_buffer_and_a_full_disk_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1, SpoolConfig { max_queued: 1, ..SpoolConfig::default() });
    // A folder that is gone refuses the file.
    std::fs::remove_dir_all(dir.path()).unwrap();
    spool.record(ended(1)).unwrap();
    wait_until(|| spool.state().is_failing);
    spool.record(ended(2)).ok();
    assert_eq!(spool.record(ended(3)), Err(SinkFull));
    assert!(spool.is_full() && spool.state().lost_events > 0);
    std::fs::create_dir(dir.path()).unwrap();
    // What waited is kept.
    wait_until(|| spool.state().pending_events + spool.state().lost_events == 3);
    assert!(!spool.state().is_failing);
    spool.close();
    spool.acknowledge(1, 3).unwrap();

    let spool = open(&dir, 2, SpoolConfig { max_bytes: 1_500, segment_bytes: 500, ..SpoolConfig::default() });
    for n in 0..50 {
        spool.record(ended(n)).unwrap();
    }
    assert_eq!(spool.state().pending_events + spool.state().lost_events, 50);
    assert!(spool.state().lost_events > 0 && spool.is_full() && spool.state().is_full);
    assert!(!spool.state().oldest.is_zero(), "somebody waits");
    let n_kept = spool.state().pending_events;
    spool.acknowledge(2, n_kept).unwrap();
    spool.record(ended(60)).unwrap();
    assert_eq!(spool.state().pending_events, 1);
    assert!(!spool.is_full());
    spool.close();
}

#[test]
fn what_the_ledger_refuses_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1, SpoolConfig::default());
    let event = policy::wire::usage::encode(&ended(1)).encode_to_vec();
    spool.keep_refused(1, 7, "unknown organization", &event).unwrap();
    let text = std::fs::read_to_string(dir.path().join("refused/refused.jsonl")).unwrap();
    assert!(text.contains("unknown organization") && text.contains(&ended(1).id.to_string()));
    assert_eq!(spool.state().refused_events, 1);
    spool.close();
}
