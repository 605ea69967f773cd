//! `cargo xtask bench throttle`: what rate limits cost a call. Held to the bound that was promised, in CPU time; exit status 1 when
//! it is missed.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use domain::rate_limit::{Measure, Per, Rate};
use domain::{OrganizationId, RateLimitId};
use throttle::{Ask, Need, Throttle, Use};

const CALLS: u32 = 200_000;
const ROUNDS: usize = 5;
/// Bound for admitting a call against one limit, and for settling it, each.
const EACH: Duration = Duration::from_micros(1);

/// Returns the CPU time of this thread, to the nanosecond (proc(5), `schedstat`).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux accounts for threads");
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let throttle = Throttle::default();
    let rate = |measure, per| Rate { measure, per, amount: u64::MAX >> 8 };
    let rates: Arc<[Rate]> =
        [rate(Measure::Requests, Some(Per::Minute)), rate(Measure::Tokens, Some(Per::Minute))].into();
    let ask = |user: u32| Ask {
        organization: OrganizationId::from_uuid(1),
        limit: RateLimitId::from_uuid(1),
        mark: None,
        name: "fair use".into(),
        rates: rates.clone(),
        group: format!("user-{}", user % 1_000).into(),
        providers: None,
    };
    let asks: Vec<Vec<Ask>> = (0..CALLS).map(|user| vec![ask(user)]).collect();
    let used = Use { requests: 1, input_tokens: 40, output_tokens: 60, cost: 0 };
    let need = Need { least: used, most: Use { output_tokens: 500, ..used }, occupies: true };
    let (mut admit, mut settle) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let asks = asks.clone();
        let mut passes = Vec::with_capacity(CALLS as usize);
        let now = round as u64 * 1_000_000;
        let started = cpu_time();
        for (at, asks) in (0_u64..).zip(asks) {
            passes.push(throttle.admit(now + at, black_box(asks), &need).expect("there is room"));
        }
        let admitted = cpu_time();
        for pass in passes {
            pass.settle(now + 900_000, black_box(&used), None);
        }
        admit = admit.min(admitted.saturating_sub(started) / CALLS);
        settle = settle.min(cpu_time().saturating_sub(admitted) / CALLS);
    }
    println!("one limit of two rates, a thousand groups: admit {admit:?}, settle {settle:?}, bound {EACH:?} each");
    if admit <= EACH && settle <= EACH { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
