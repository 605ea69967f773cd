//! How fast a changed key reaches many nodes; a story in the suite, a benchmark in `cargo xtask bench push`.

use std::time::{Duration, Instant};

use super::bed::{Bed, TestNode};

/// What was measured, ascending.
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    /// The value that this share of nodes and changes stays below.
    pub(crate) fn quantile(&self, per_cent: usize) -> Duration {
        let at = (self.0.len() * per_cent).div_ceil(100).max(1) - 1;
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// Joins `n_nodes` in-process nodes, revokes `n_changes` keys one after the other, and measures for each node the time from the
/// beginning of the write to the snapshot that refuses the key.
pub(crate) async fn measure(n_nodes: usize, n_changes: usize) -> Spread {
    let bed = Bed::new().await;
    let mut nodes: Vec<TestNode> = Vec::with_capacity(n_nodes);
    for _ in 0..n_nodes {
        nodes.push(bed.join(bed.pipe()).await);
    }
    let mut keys = Vec::with_capacity(n_changes);
    for _ in 0..n_changes {
        keys.push(bed.issue_key().await);
    }
    let issued = keys.last().map_or(0, |(_, _, revision)| *revision);
    for node in &nodes {
        super::bed::until("all nodes hold all keys", async || {
            (node.revision(bed.organization()) >= issued).then_some(())
        })
        .await;
    }
    let mut spread = Vec::with_capacity(n_nodes * n_changes);
    for (key, token, _) in keys {
        let started = Instant::now();
        let revision = bed.revoke_key(key.id).await;
        let mut waiting: Vec<&TestNode> = nodes.iter().collect();
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        while !waiting.is_empty() {
            // A revision is looked at because it costs nothing; what it means is asserted below.
            waiting.retain(|node| {
                let is_there = node.revision(bed.organization()) >= revision;
                if is_there {
                    spread.push(started.elapsed());
                }
                !is_there
            });
            assert!(started.elapsed() < Duration::from_secs(30), "{} nodes never heard of it", waiting.len());
            looks.tick().await;
        }
        assert!(nodes.iter().all(|node| node.identify(&token).is_err()));
    }
    spread.sort_unstable();
    Spread(spread)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_reaches_every_one_of_many_nodes() {
    // Twenty in a debug build; the benchmark takes a hundred in a release build and holds them to the bound.
    let spread = measure(20, 3).await;
    assert!(spread.quantile(99) < Duration::from_secs(1), "{:?}", spread.quantile(99));
}
