//! `cargo xtask bench push`: how fast a changed key reaches 100 in-process nodes. Exit status 1 when the bound is missed.

#[path = "../tests/link/bed.rs"]
#[expect(dead_code, reason = "the stories use all of it, the benchmark a part")]
pub(crate) mod bed;
#[path = "../tests/link/push.rs"]
mod push;

use std::process::ExitCode;
use std::time::Duration;

/// The bound for the 99th percentile.
const BOUND: Duration = Duration::from_millis(100);

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let spread = runtime.block_on(push::measure(100, 50));
    let (p50, p99, worst) = (spread.quantile(50), spread.quantile(99), spread.quantile(100));
    println!(
        "push: a revoked key at 100 nodes, from the beginning of the write: p50 {p50:?}, p99 {p99:?}, worst {worst:?}; bound p99 {BOUND:?}"
    );
    if p99 < BOUND { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
