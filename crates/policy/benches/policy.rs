//! `cargo xtask bench policy`: what it costs a node to take 100,000 keys at once, and one more key afterwards.
//!
//! Each is held to two bounds, of which both must hold: the time that was promised, and a multiple of something measured in the
//! same run, the plain SHA-256 of every content, so that a slower path shows on a fast machine too. What takes long is measured
//! in CPU time, because others may be busy on the machine. Exit status 1 when a bound is missed.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::node::Holds;
use domain::{NodeGroupId, Timestamp};
use policy::resource::Content;
use policy::set::SetHash;
use policy::sign::{NodeScope, Signed};
use policy::testing::{TestOpener, TestOrganization, TestSigner};
use policy::wire::frame;
use policy::{Replica, Resource, ResourceSet};
use proto::v1;
use sha2::{Digest as _, Sha256};

const ORGANIZATION: TestOrganization = TestOrganization(1);
const KEYS: u64 = 100_000;
const DELTAS: u64 = 200;
/// Times that a measurement is repeated; the best counts.
const ROUNDS: usize = 3;
/// Bounds in time, and as multiples of the baseline: of all contents, and of a thousandth of them.
const WHOLE: (Duration, f64) = (Duration::from_secs(1), 30.0);
const ONE: (Duration, f64) = (Duration::from_millis(1), 10.0);

fn set() -> ResourceSet {
    let mut contents = ORGANIZATION.contents(1);
    contents.extend((0..KEYS).map(|k| Content::VirtualKey(ORGANIZATION.key(1, k))));
    ResourceSet::from_resources(ORGANIZATION.id(), ORGANIZATION.resources(&contents)).expect("a set")
}

/// Returns the CPU time of this thread, to the nanosecond (proc(5), `schedstat`).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux accounts for threads");
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

/// Hashes every content once.
fn baseline(resources: &[Resource]) -> Duration {
    let started = cpu_time();
    for resource in resources {
        black_box(Sha256::digest(black_box(&resource.content)));
    }
    cpu_time().saturating_sub(started)
}

/// Takes the whole set, as it comes over the wire.
fn take_whole(set: &ResourceSet) -> (Replica, Duration) {
    let signer = TestSigner(1);
    let mut replica = Replica::new(Arc::new(signer));
    let scope = NodeScope { group: NodeGroupId::from_uuid(1), holds: Holds::All, issued_at: Timestamp::from_micros(1) };
    replica.set_scope(Signed::new(scope, &signer), &TestOpener).expect("a scope");
    let organization_id = ORGANIZATION.id().to_string();
    let target = Some(frame::revision_message(&ORGANIZATION.sign(set, 1, &signer)));
    let resources = set.iter().map(|resource| frame::resource_message(&resource)).collect();
    let started = cpu_time();
    replica.begin(v1::FullSetBegin { target, chunk_count: 1 }).expect("a beginning");
    let chunk = v1::FullSetChunk { organization_id: organization_id.clone(), index: 0, resources };
    replica.chunk(chunk).expect("a chunk");
    let applied = replica.end(v1::FullSetEnd { organization_id, revision: 1 }, &TestOpener).expect("a set");
    let took = cpu_time().saturating_sub(started);
    assert!(applied.bad.is_empty(), "{:?}", applied.bad);
    (replica, took)
}

/// Takes one more key again and again; gives the median.
fn take_deltas(replica: &mut Replica, mut set: ResourceSet) -> Duration {
    let mut took = Vec::new();
    for n in 0..DELTAS {
        let upserts = ORGANIZATION.resources(&[Content::VirtualKey(ORGANIZATION.key(1, KEYS + n))]);
        set.apply(upserts.clone(), &[]).expect("a change");
        let delta = v1::Delta {
            target: Some(frame::revision_message(&ORGANIZATION.sign(&set, n + 2, &TestSigner(1)))),
            from_revision: n + 1,
            upserts: upserts.iter().map(frame::resource_message).collect(),
            removals: Vec::new(),
        };
        let started = Instant::now();
        replica.delta(delta, &TestOpener).expect("a delta");
        took.push(started.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let set = set();
    assert_ne!(set.hash(), SetHash::default());
    let resources: Vec<Resource> = set.iter().collect();
    let baseline = (0..ROUNDS).map(|_| baseline(&resources)).min().expect("some rounds");
    let (mut replica, mut whole) = take_whole(&set);
    for _ in 1..ROUNDS {
        let (next, took) = take_whole(&set);
        (replica, whole) = (next, whole.min(took));
    }
    let one = take_deltas(&mut replica, set);
    let whole_ratio = whole.as_secs_f64() / baseline.as_secs_f64();
    let one_ratio = one.as_secs_f64() * 1_000.0 / baseline.as_secs_f64();
    println!("policy: baseline, SHA-256 of {} contents: {baseline:?}", resources.len());
    println!(
        "policy: a set of {KEYS} keys taken and compiled in {whole:?}, {whole_ratio:.1} baselines; bounds {:?} and {}",
        WHOLE.0, WHOLE.1
    );
    println!(
        "policy: one more key in {one:?} (median), {one_ratio:.1} thousandths of a baseline; bounds {:?} and {}",
        ONE.0, ONE.1
    );
    let is_good = whole < WHOLE.0 && whole_ratio < WHOLE.1 && one < ONE.0 && one_ratio < ONE.1;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
