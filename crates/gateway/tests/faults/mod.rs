//! Every way a provider can fail, and what its client, its attempts and its bill look like then: `docs/faults.md`.
//!
//! Each fault meets whole answers and streams, clients that speak the upstream's language and clients that do not, once alone
//! and once with another target behind it. The table is what came out; what must hold for every run is asserted besides.
//! Time is virtual, so the limits below take none.

mod list;
mod said;
mod seen;
mod storms;
mod streams;
mod table;

use std::path::Path;

use domain::route::{StreamFailure, Timeouts};
use domain::usage::{AttemptOutcome, Outcome, UsageEvent};
use gateway::{GatewayConfig, Limits};
use serde_json::json;
use tokio::time::Instant;

use self::list::{Act, Fault, Promise};
use self::said::{INSIDES, Language};
use self::seen::Seen;
use self::table::Row;
use crate::harness::Bench;
use crate::harness::client::{Ask, chat, chat_stream, messages, messages_stream};
use crate::harness::policy::{SECRET, World};
use crate::harness::raw::{End, Raw};

/// The limits of every run, apart enough to be told from each other and from their doubles.
const TIMEOUTS: Timeouts = Timeouts { connect_ms: 2_000, first_byte_ms: 17_000, idle_ms: 7_000, total_ms: 60_000 };
/// The largest answer that is read as a whole.
const MAX_ANSWER: usize = 256 * 1024;

/// A client's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Chat,
    Messages,
    Responses,
}

/// One way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    client: Client,
    upstream: Language,
    is_stream: bool,
}

impl Way {
    fn all() -> Vec<Self> {
        let mut ways = Vec::new();
        for is_stream in [false, true] {
            for client in [Client::Chat, Client::Messages] {
                // What neither client speaks is read the same way for both: one is enough.
                let foreign = [Language::Gemini, Language::Converse, Language::Cohere, Language::Ollama];
                let foreign = foreign.into_iter().filter(|_| client == Client::Chat);
                for upstream in [Language::OpenAi, Language::Anthropic].into_iter().chain(foreign) {
                    ways.push(Self { client, upstream, is_stream });
                }
            }
            // Only its own clients are answered in it.
            ways.push(Self { client: Client::Responses, upstream: Language::Responses, is_stream });
        }
        ways
    }

    const fn is_same_language(self) -> bool {
        matches!(
            (self.client, self.upstream),
            (Client::Chat, Language::OpenAi)
                | (Client::Messages, Language::Anthropic)
                | (Client::Responses, Language::Responses)
        )
    }

    fn ask(self, model: &str) -> Ask {
        match (self.client, self.is_stream) {
            (Client::Chat, false) => chat(model),
            (Client::Chat, true) => chat_stream(model),
            (Client::Messages, false) => messages(model),
            (Client::Messages, true) => messages_stream(model),
            (Client::Responses, _) => {
                let body = json!({"model": model, "input": "Hi", "store": false, "stream": self.is_stream});
                Ask::post("/v1/responses", body.to_string())
            }
        }
    }
}

/// What one fault did to one call.
struct Run {
    seen: Seen,
    event: UsageEvent,
    elapsed: std::time::Duration,
}

impl Run {
    fn shown(&self) -> String {
        let attempts: Vec<_> = self.event.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
        format!("{} {attempts:?} {:?} {:.1500}", self.event.outcome, self.elapsed, format!("{:?}", self.seen))
    }
}

/// Lets a call meet a fault; `has_second` puts a healthy target behind the faulty one, `goes_on` lets that go on with a stream that
/// broke off.
async fn meet(fault: &Fault, way: Way, has_second: bool, goes_on: bool) -> Run {
    let host = if matches!(fault.act, Act::H2(_)) { "h2.faulty.test" } else { "faulty.test" };
    // What every target does, the healthy one does too.
    let (act, hosts) = match &fault.act {
        Act::All(act) => (&**act, vec![host, "healthy.test"]),
        act => (act, vec![host]),
    };
    let path = way.upstream.base_path();
    let mut world = World::empty();
    world.deployment(1, "faulty", way.upstream.provider(), &format!("http://{host}{path}"));
    world.deployment(2, "healthy", way.upstream.provider(), &format!("http://healthy.test{path}"));
    world.deployment(3, "echo/echo-1", "echo", "");
    let targets: &[u128] = if has_second { &[1, 2] } else { &[1] };
    world.route(1, "m", targets, 2, TIMEOUTS);
    if let Some(policy::Content::Route(route)) = world.contents.last_mut().filter(|_| goes_on) {
        route.rules.on_stream_failure = StreamFailure::Continue;
    }
    let limits = Limits { max_answer_bytes: MAX_ANSWER, ..Limits::default() };
    let bench = Bench::with(GatewayConfig { limits, ..GatewayConfig::default() }, &world);
    bench.upstreams.fault("healthy.test", healthy(way));
    for host in hosts {
        match act {
            Act::Dial(trouble) => bench.upstreams.trouble(host, *trouble),
            Act::Raw(raw) | Act::H2(raw) => bench.upstreams.fault(host, raw.clone()),
            Act::All(_) => unreachable!("there is nobody beyond all"),
        }
    }
    let started = Instant::now();
    let answer = bench.ask(way.ask("m")).await;
    let elapsed = started.elapsed();
    let event = bench.event().await;
    let seen = Seen::of(&answer, way);
    assert_eq!(bench.gateway.metrics().in_flight(), 0, "{}: the call is still counted as running", fault.name);
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "{}: the node serves on", fault.name);
    Run { seen, event, elapsed }
}

fn healthy(way: Way) -> Raw {
    let list = list::list(way.upstream, way.is_stream);
    let good = list.into_iter().find(|fault| fault.name == "pauses within the idle limit").expect("a good answer");
    let Act::Raw(raw) = good.act else { unreachable!("it is raw") };
    Raw { end: End::Hang, ..raw }
}

/// Says what is not as it must be, whatever the table says.
fn list_broken_promises(fault: &Fault, alone: &Run, pair: &Run) -> Vec<&'static str> {
    let is_success = alone.event.outcome == Outcome::Success;
    let is_part = alone.event.outcome == Outcome::UpstreamBroken;
    let failed = alone.event.attempts.iter().filter(|attempt| attempt.outcome != AttemptOutcome::Success);
    let cost: i64 = failed.map(|attempt| attempt.cost.as_nanos()).sum();
    let (n_alone, n_pair) = (alone.event.attempts.len(), pair.event.attempts.len());
    let is_exact = (pair.event.usage.input, pair.event.usage.output) == (said::INPUT, said::OUTPUT);
    let mut rules = vec![
        (alone.seen.is_whole == is_success, "an answer is whole exactly when it is booked as one"),
        (alone.seen.is_whole != alone.seen.is_error, "an answer ends whole or as an error"),
        (cost == 0 || is_part, "a failed attempt costs nothing"),
        (!leaks(fault, &alone.seen) && !leaks(fault, &pair.seen), "nothing is told that is not the client's"),
    ];
    rules.extend(match fault.promise {
        Promise::Harmless => vec![(alone.seen.is_whole && n_alone == 1, "it does no harm")],
        Promise::Told => vec![((400..500).contains(&alone.seen.status) && n_pair == 1, "the client is told at once")],
        Promise::Replaced => vec![
            (!alone.seen.is_whole, "it is noticed"),
            (pair.seen.is_whole && n_pair == 2, "another target answers in its place"),
            (is_exact && !pair.event.is_estimated, "what the other target used is booked"),
        ],
        Promise::Lost => vec![
            (alone.seen.is_error && !alone.seen.is_whole, "it is noticed"),
            (pair.seen.is_error && n_pair == 2, "both targets are tried, and the client is told"),
            (pair.event.cost.as_nanos() == 0, "nothing is paid for"),
        ],
        Promise::Ended => vec![(alone.seen.is_error && !alone.seen.is_whole, "it is noticed")],
        Promise::Flagged => vec![
            (alone.seen.is_error && alone.seen.said.starts_with("Hello"), "the client knows that a part is missing"),
            (pair.seen.is_error && n_pair == 1, "no second target is asked in the middle"),
        ],
    });
    rules.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, rule)| rule).collect()
}

/// Says whether a client reads our secret, where it was sent, or what an upstream says about its own insides.
fn leaks(fault: &Fault, seen: &Seen) -> bool {
    // A stream in the upstream's own language is handed on as it comes, its error event included.
    let is_relayed = fault.name == "an error after the first word";
    let secrets = [SECRET, "faulty.test", "healthy.test", INSIDES, "pool-insides", "elsewhere.test"];
    !is_relayed && secrets.iter().any(|secret| seen.text.contains(secret))
}

#[tokio::test(start_paused = true)]
async fn the_fault_table_is_what_happens() {
    let mut rows: Vec<Row> = Vec::new();
    let mut wrong = Vec::new();
    for way in Way::all() {
        for fault in list::list(way.upstream, way.is_stream) {
            let alone = meet(&fault, way, false, false).await;
            // What does no harm asks for no second target.
            let pair = meet(&fault, way, fault.promise != Promise::Harmless, false).await;
            let later = match fault.promise {
                Promise::Flagged => Some(meet(&fault, way, true, true).await),
                _ => None,
            };
            // Nobody goes on when the time of the call is over.
            let in_time = |run: &&Run| run.elapsed.as_millis() < u128::from(TIMEOUTS.total_ms);
            let failed = |run: &&Run| !run.seen.is_whole || run.event.attempts.len() != 2;
            if let Some(later) = later.as_ref().filter(in_time).filter(failed) {
                wrong.push(format!("{} ({way:?}): the other target goes on: {}", fault.name, later.shown()));
            }
            for rule in list_broken_promises(&fault, &alone, &pair) {
                let name = fault.name;
                wrong.push(format!(
                    "{name} ({way:?}): {rule}:
  {}
  {}",
                    alone.shown(),
                    pair.shown()
                ));
            }
            rows.push(Row::of(&fault, way, &alone, &pair, later.as_ref()));
        }
    }
    assert!(wrong.is_empty(), "{} runs are not as they must be:\n{}", wrong.len(), wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/faults.md");
    testkit::golden::check(&path, &(table::render(&rows) + &storms::render().await));
}
