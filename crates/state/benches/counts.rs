//! `cargo xtask bench counts`: how many calls a core of a node has counted in common with others, through a Redis of its own on this
//! machine. Held to the bound that was promised, in CPU time of this process (what Redis takes is printed beside it); exit status 1
//! when it is missed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::rate_limit::{Measure, Per, Rate};
use domain::time::ManualClock;
use domain::{OrganizationId, RateLimitId, Timestamp};
use state::redis::Redis;
use state::testing::RedisServer;
use throttle::joint::Common as _;
use throttle::{Ask, Need, Throttle, Use};
use tokio_util::sync::CancellationToken;

const CALLS: u32 = 40_000;
const AT_ONCE: u32 = 256;
const ROUNDS: usize = 5;
/// Calls a second of CPU time, each admitted against two rates and settled.
const BOUND: f64 = 20_000.0;

/// Returns the CPU time of this process (proc(5), `stat`; a hundredth of a second each).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux accounts for processes");
    let fields: Vec<&str> = text.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn ask(user: u32) -> Vec<Ask> {
    let rate = |measure| Rate { measure, per: Some(Per::Minute), amount: 1 << 40 };
    let (group, mark) = (user % 1_000, user.to_le_bytes());
    vec![Ask {
        organization: OrganizationId::from_uuid(1),
        limit: RateLimitId::from_uuid(1),
        mark: Some(std::array::from_fn(|n| mark[n % 4])),
        name: "fair use".into(),
        rates: [rate(Measure::Requests), rate(Measure::Tokens)].into(),
        group: format!("user-{group}").into(),
        providers: None,
    }]
}

async fn calls(throttle: &Throttle, first: u32) {
    let used = Use { requests: 1, input_tokens: 40, output_tokens: 60, cost: 0 };
    let need = Need { least: used, most: Use { output_tokens: 500, ..used }, occupies: true };
    for n in (first..CALLS).step_by(AT_ONCE as usize) {
        let now_us = u64::from(n);
        let pass = throttle.admit_in_common(now_us, ask(n % 1_000), &need).await.expect("there is room");
        pass.settle(now_us, &used, None);
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = RedisServer::start();
    let (redis, keeper) = Redis::open_patiently(&server.url(), Duration::from_secs(5)).expect("an address");
    let throttle = Throttle::in_common(Arc::new(redis.clone()));
    let stop = CancellationToken::new();
    let best = runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let measuring = async {
            while redis.members().is_none() {
                tokio::task::yield_now().await;
            }
            let mut best = (0.0_f64, Duration::MAX);
            for _ in 0..ROUNDS {
                let (cpu, began) = (cpu_time(), Instant::now());
                futures_util::future::join_all((0..AT_ONCE).map(|first| calls(&throttle, first))).await;
                let (cpu, wall) = (cpu_time().saturating_sub(cpu), began.elapsed());
                let pace = f64::from(CALLS) / cpu.as_secs_f64().max(0.01);
                if pace > best.0 {
                    best = (pace, wall);
                }
            }
            stop.cancel();
            best
        };
        tokio::join!(measuring, keeper.run(clock, Box::new(|_, _| ()), stop.clone())).0
    });
    let (pace, wall) = best;
    let seen = f64::from(CALLS) / wall.as_secs_f64();
    println!(
        "two rates, a thousand groups, {AT_ONCE} at once: {pace:.0} calls a second of CPU ({seen:.0} by the clock), bound {BOUND:.0}"
    );
    println!("asked: {}", server.run(&["INFO", "cpu"]).replace("\\r\\n", " "));
    if pace >= BOUND { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
