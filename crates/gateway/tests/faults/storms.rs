//! Faults that last: many calls at once at the same upstream, and what they cost it and its clients.

use std::fmt::Write as _;
use std::time::Duration;

use domain::route::{RetryBudget, Timeouts};
use domain::usage::AttemptOutcome;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::list::{json_answer, sized};
use super::said::{INSIDES, Language};
use crate::harness::Bench;
use crate::harness::client::chat;
use crate::harness::policy::World;
use crate::harness::raw::{End, Raw};
use crate::harness::upstream::Trouble;

const N_CALLS: usize = 100;

/// What a storm did.
struct Passed {
    /// Attempts at the first target.
    n_first: usize,
    n_second: usize,
    n_whole: usize,
    /// Statuses of the others, in order of appearance.
    statuses: Vec<u16>,
    elapsed: Duration,
}

impl Passed {
    fn shown(&self) -> String {
        let statuses: Vec<_> = self.statuses.iter().map(u16::to_string).collect();
        match self.n_whole {
            N_CALLS => "200 × 100".to_owned(),
            0 => format!("{} × 100", statuses.join("/")),
            whole => format!("200 × {whole}, {} × {}", statuses.join("/"), N_CALLS - whole),
        }
    }
}

/// How an upstream fails for as long as it is asked.
enum Storm {
    Answers(Raw),
    Refuses,
}

fn storms() -> [(&'static str, Storm); 4] {
    let error = |status, kind: &str, headers: &str| {
        let body = Language::OpenAi.error(kind, &Value::Null, INSIDES).to_string();
        Storm::Answers(Raw::of(sized(status, "application/json", headers, &body), End::Hang))
    };
    [
        ("500 to every call", error(500, "server_error", "")),
        ("429 to every call, without Retry-After", error(429, "rate_limit_error", "")),
        ("resets every connection", Storm::Answers(Raw::of("", End::Reset))),
        ("refuses every connection", Storm::Refuses),
    ]
}

async fn pass(storm: &Storm, has_second: bool) -> Passed {
    let mut world = World::empty();
    world.deployment(1, "faulty", "openai", "http://faulty.test/v1");
    world.deployment(2, "healthy", "openai", "http://healthy.test/v1");
    let targets: &[u128] = if has_second { &[1, 2] } else { &[1] };
    world.route(1, "m", targets, 3, Timeouts::default());
    let bench = Bench::of(&world);
    match storm {
        Storm::Answers(raw) => bench.upstreams.fault("faulty.test", raw.clone()),
        Storm::Refuses => bench.upstreams.trouble("faulty.test", Trouble::Refuse),
    }
    bench.upstreams.fault("healthy.test", Raw::of(json_answer(200, &Language::OpenAi.whole()), End::Hang));
    let mut passed = Passed { n_first: 0, n_second: 0, n_whole: 0, statuses: Vec::new(), elapsed: Duration::ZERO };
    let started = Instant::now();
    let answers = join_all((0..N_CALLS).map(|_| bench.ask(chat("m")))).await;
    passed.elapsed = started.elapsed();
    for status in answers.iter().map(|answer| answer.status.as_u16()) {
        if status == 200 {
            passed.n_whole += 1;
        } else if !passed.statuses.contains(&status) {
            passed.statuses.push(status);
        }
    }
    // Only the first target fails.
    for attempt in bench.ledger.wait(N_CALLS).await.iter().flat_map(|event| &event.attempts) {
        let of = if attempt.outcome == AttemptOutcome::Success { &mut passed.n_second } else { &mut passed.n_first };
        *of += 1;
    }
    passed
}

/// Lets every storm pass and renders what it did.
pub(super) async fn render() -> String {
    let allowed = RetryBudget::default();
    let mut page = format!(
        "\n## Storms\n\n{N_CALLS} calls at once for a model of whose target every answer is such. Three attempts \
         are allowed a call, and the model's retry budget besides: {} at once, {} more a second.\n\n\
         | Fault | Attempts, alone | The clients saw | Attempts, with a second target | The clients saw |\n\
         |---|---|---|---|---|\n",
        allowed.burst, allowed.per_second,
    );
    for (name, storm) in storms() {
        let (alone, pair) = (pass(&storm, false).await, pass(&storm, true).await);
        let earned = alone.elapsed.as_secs_f64().ceil() * f64::from(allowed.per_second);
        let most = f64::from(allowed.burst) + earned;
        let n_again = u32::try_from(alone.n_first.saturating_sub(N_CALLS)).expect("few attempts");
        assert!(f64::from(n_again) <= most, "{name}: {n_again} attempts above the budget of {most}");
        assert!(
            alone.n_whole == 0 && alone.statuses.iter().all(|status| *status >= 500),
            "{name}: every client is told"
        );
        assert_eq!(pair.n_whole, N_CALLS, "{name}: the second target answers everybody");
        assert!(pair.n_first <= alone.n_first, "{name}: whoever has another target asks the failing one no more");
        let (first, second) = (pair.n_first, pair.n_second);
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {first} + {second} | {} |",
            alone.n_first,
            alone.shown(),
            pair.shown()
        );
    }
    page
}
