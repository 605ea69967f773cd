//! `cargo xtask bench policy`: what it costs a node to take 100,000 keys at once, and one more key afterwards.
//!
//! Both are held to a bound in time and, since machines differ, to a multiple of something that was measured in the same run: the
//! plain SHA-256 of every content. Exit status 1 when a bound is missed.

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
/// Bounds in time, and as multiples of the baseline: of all contents, and of a thousandth of them.
const WHOLE: (Duration, f64) = (Duration::from_secs(1), 60.0);
const ONE: (Duration, f64) = (Duration::from_millis(1), 60.0);

fn set() -> ResourceSet {
    let mut contents = ORGANIZATION.contents(1);
    contents.extend((0..KEYS).map(|k| Content::VirtualKey(ORGANIZATION.key(1, k))));
    ResourceSet::from_resources(ORGANIZATION.id(), ORGANIZATION.resources(&contents)).expect("a set")
}

/// Hashes every content once.
fn baseline(resources: &[Resource]) -> Duration {
    let started = Instant::now();
    for resource in resources {
        black_box(Sha256::digest(black_box(&resource.content)));
    }
    started.elapsed()
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
    let started = Instant::now();
    replica.begin(v1::FullSetBegin { target, chunk_count: 1 }).expect("a beginning");
    let chunk = v1::FullSetChunk { organization_id: organization_id.clone(), index: 0, resources };
    replica.chunk(chunk).expect("a chunk");
    let applied = replica.end(v1::FullSetEnd { organization_id, revision: 1 }, &TestOpener).expect("a set");
    let took = started.elapsed();
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
    let baseline = baseline(&resources).min(baseline(&resources));
    let (mut replica, whole) = take_whole(&set);
    let one = take_deltas(&mut replica, set);
    let (whole_ratio, one_ratio) =
        (whole.as_secs_f64() / baseline.as_secs_f64(), one.as_secs_f64() * 1_000.0 / baseline.as_secs_f64());
    println!("policy: baseline, SHA-256 of {} contents: {baseline:?}", resources.len());
    println!(
        "policy: a set of {KEYS} keys taken and compiled in {whole:?}, {whole_ratio:.1} baselines; bound {:?} or {}",
        WHOLE.0, WHOLE.1
    );
    println!(
        "policy: one more key in {one:?} (median), {one_ratio:.1} thousandths of a baseline; bound {:?} or {}",
        ONE.0, ONE.1
    );
    let is_good = (whole < WHOLE.0 || whole_ratio < WHOLE.1) && (one < ONE.0 || one_ratio < ONE.1);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
