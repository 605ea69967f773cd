//! `cargo xtask bench push [100|1000|herd]`: how fast a changed key reaches in-process nodes, and how a fleet of 2,000 comes back.
//!
//! Without an argument, all cases. Exit status 1 when a bound is missed.

#[path = "../tests/link/bed.rs"]
#[expect(dead_code, reason = "the stories use all of it, the benchmark a part")]
pub(crate) mod bed;
#[path = "../tests/link/herd.rs"]
mod herd;
#[path = "../tests/link/push.rs"]
mod push;

use std::process::ExitCode;
use std::time::Duration;

/// Nodes, changes, and the bound for the 99th percentile.
const PUSHES: [(usize, usize, Duration); 2] =
    [(100, 50, Duration::from_millis(100)), (1_000, 20, Duration::from_secs(1))];
/// Nodes cut at once, and the bound until the last has followed a change made meanwhile.
const HERD: (usize, Duration) = (2_000, Duration::from_secs(30));

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    // `cargo bench` adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut is_good = true;
    for (n_nodes, n_changes, bound) in PUSHES.into_iter().filter(|(n_nodes, ..)| is_wanted(&n_nodes.to_string())) {
        let spread = runtime.block_on(push::measure(n_nodes, n_changes));
        let (p50, p99, worst) = (spread.quantile(50), spread.quantile(99), spread.quantile(100));
        println!(
            "push: a revoked key at {n_nodes} nodes, from the beginning of the write: p50 {p50:?}, p99 {p99:?}, worst {worst:?}; bound p99 {bound:?}"
        );
        is_good &= p99 < bound;
    }
    if is_wanted("herd") {
        let (n_nodes, bound) = HERD;
        let back = runtime.block_on(herd::measure(n_nodes));
        println!(
            "herd: {n_nodes} nodes cut at once, all back and in step after {:?}, at most {} handshakes and {} full sets at a time; bound {bound:?}, 64, 8",
            back.took, back.handshakes, back.full_sets
        );
        is_good &= back.took < bound && back.handshakes <= 64 && back.full_sets <= 8;
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
