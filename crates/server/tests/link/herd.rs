//! A fleet that is cut at once and comes back at once; a story in the suite, a benchmark in `cargo xtask bench push herd`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bed::{Bed, until};

/// What was seen.
pub(crate) struct Back {
    /// From the control plane's return until the last node has followed a change made meanwhile.
    pub(crate) took: Duration,
    /// The most handshakes under way at one moment.
    pub(crate) handshakes: u64,
    /// The most full sets under way at one moment.
    pub(crate) full_sets: u64,
}

/// Joins `n` nodes, cuts all of them at once, and waits until each is back and in step.
pub(crate) async fn measure(n: usize) -> Back {
    let mut bed = Bed::new().await;
    let mut nodes = Vec::with_capacity(n);
    for _ in 0..n {
        nodes.push(bed.join(bed.tcp()).await);
    }
    for node in &nodes {
        node.until_accepts(&bed.key).await;
    }
    bed.go_dark().await;
    bed.come_back().await;
    let started = Instant::now();
    let (_, token, _) = bed.issue_key().await;
    let (mut handshakes, mut full_sets) = (0, 0);
    until("the whole herd is back", async || {
        let metrics = &bed.cx.metrics;
        handshakes = handshakes.max(metrics.handshakes.load(Ordering::Relaxed));
        full_sets = full_sets.max(metrics.full_sets.load(Ordering::Relaxed));
        nodes.iter().all(|node| node.identify(&token).is_ok()).then_some(())
    })
    .await;
    Back { took: started.elapsed(), handshakes, full_sets }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_that_comes_back_at_once_is_admitted_in_bounds_and_all_follow() {
    // Eighty in a debug build; the benchmark takes two thousand in a release build.
    let Back { took, handshakes, full_sets } = measure(80).await;
    assert!(handshakes <= 64 && full_sets <= 8, "{handshakes} handshakes, {full_sets} full sets at once");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
