//! Counters, gauges and histograms of the data plane, and their Prometheus text.
//!
//! Every label is a closed enum or one of the providers that are named at the start, so the number of series is bounded and no
//! request formats a label. Each worker has its own [`Shard`], written by one thread only; a scrape adds the shards up. Not here:
//! anything per tenant, key or model, which belongs to usage events.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, CacheOutcome, CacheUse, Endpoint, Outcome, TokenUsage};

use super::outbox::lost_spans;

/// Upper bounds of the duration buckets, in microseconds.
const DURATION_BOUNDS_US: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
/// Upper bounds of the overhead buckets, in microseconds: what is Headgate's own is short.
const OVERHEAD_BOUNDS_US: [u64; 16] =
    [10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000];

/// Those of reasoning are output, too, and counted in both.
const TOKEN_KINDS: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

/// A value that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away.
    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Returns the value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts durations by size.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64; 16],
    buckets: [AtomicU64; 17],
    sum_us: AtomicU64,
}

impl Histogram {
    const fn new(bounds_us: &'static [u64; 16]) -> Self {
        Self { bounds_us, buckets: [const { AtomicU64::new(0) }; 17], sum_us: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = self.bounds_us.partition_point(|bound| *bound < us);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut HistogramSum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        sum.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

#[derive(Default)]
struct HistogramSum {
    buckets: [u64; 17],
    sum_us: u64,
}

/// What one worker counted.
#[derive(Debug)]
pub struct Shard {
    /// Open client connections.
    pub connections: Gauge,
    /// Calls in flight.
    pub in_flight: Gauge,
    /// Calls that panicked and were answered with 500.
    pub panics: Counter,
    /// Usage events that could not be handed to the spool.
    pub events_lost: Counter,
    requests: [[Counter; Outcome::ALL.len()]; Endpoint::ALL.len()],
    rejections: [Counter; GatewayCode::ALL.len()],
    /// The providers whose attempts are counted each by itself.
    providers: Arc<[&'static str]>,
    /// By provider, in their order; those of any other come last.
    attempts: Box<[[Counter; AttemptOutcome::ALL.len()]]>,
    tokens: [Counter; TOKEN_KINDS.len()],
    cost_nano_usd: Counter,
    reuse: [Counter; CacheOutcome::ALL.len()],
    saved_nano_usd: Counter,
    duration: [Histogram; Endpoint::ALL.len()],
    first_byte: Histogram,
    overhead: Histogram,
}

impl Shard {
    fn new(providers: Arc<[&'static str]>) -> Self {
        Self {
            connections: Gauge::default(),
            in_flight: Gauge::default(),
            panics: Counter::default(),
            events_lost: Counter::default(),
            requests: Default::default(),
            rejections: std::array::from_fn(|_| Counter::default()),
            attempts: (0..=providers.len()).map(|_| Default::default()).collect(),
            providers,
            tokens: Default::default(),
            cost_nano_usd: Counter::default(),
            reuse: Default::default(),
            saved_nano_usd: Counter::default(),
            duration: [const { Histogram::new(&DURATION_BOUNDS_US) }; Endpoint::ALL.len()],
            first_byte: Histogram::new(&DURATION_BOUNDS_US),
            overhead: Histogram::new(&OVERHEAD_BOUNDS_US),
        }
    }
}

/// What is counted when a call is settled.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// What was called.
    pub endpoint: Endpoint,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused or given up.
    pub code: Option<GatewayCode>,
    /// From arrival to the last byte.
    pub duration: Duration,
    /// From arrival to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Spent in Headgate itself.
    pub overhead: Duration,
    /// Tokens over all attempts.
    pub usage: TokenUsage,
    /// Cost over all attempts.
    pub cost_nano_usd: i64,
    /// Whether the answer was one given again.
    pub cache: CacheUse,
}

impl Shard {
    /// Counts a settled call.
    pub fn settle(&self, call: &Call) {
        self.requests[call.endpoint as usize][call.outcome as usize].add(1);
        self.duration[call.endpoint as usize].observe(call.duration);
        if let Some(code) = call.code {
            self.rejections[code as usize].add(1);
        }
        if let Some(first_byte) = call.first_byte {
            self.first_byte.observe(first_byte);
            self.overhead.observe(call.overhead);
        }
        let written = call.usage.cache_write_5m + call.usage.cache_write_1h;
        let kinds = [call.usage.input, call.usage.cached_input, written, call.usage.output, call.usage.reasoning];
        for (counter, n) in self.tokens.iter().zip(kinds) {
            if n > 0 {
                counter.add(n);
            }
        }
        if let Ok(cost @ 1..) = u64::try_from(call.cost_nano_usd) {
            self.cost_nano_usd.add(cost);
        }
        if call.cache.outcome != CacheOutcome::Off {
            self.reuse[call.cache.outcome as usize].add(1);
            self.saved_nano_usd.add(u64::try_from(call.cache.saved_cost.as_nanos()).unwrap_or(0));
        }
    }

    /// Counts one attempt at a provider.
    pub fn attempt(&self, provider: &str, outcome: AttemptOutcome) {
        let place = self.providers.iter().position(|known| *known == provider).unwrap_or(self.providers.len());
        self.attempts[place][outcome as usize].add(1);
    }
}

/// The shards of all workers.
#[derive(Debug, Clone)]
pub struct Metrics {
    shards: Arc<[Arc<Shard>]>,
    providers: Arc<[&'static str]>,
}

impl Metrics {
    /// Makes one shard for each worker. Attempts are counted by these providers' names.
    #[must_use]
    pub fn new(n_workers: usize, providers: impl IntoIterator<Item = &'static str>) -> Self {
        let providers: Arc<[&'static str]> = providers.into_iter().collect();
        Self { shards: (0..n_workers).map(|_| Arc::new(Shard::new(providers.clone()))).collect(), providers }
    }

    /// Returns a worker's shard.
    #[must_use]
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        self.shards[worker % self.shards.len()].clone()
    }

    /// Returns the number of calls in flight on the node.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.shards.iter().map(|shard| shard.in_flight.get()).sum()
    }

    /// Returns the number of calls since the process started.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.sum(|shard| shard.requests.iter().flatten().map(Counter::get).sum())
    }

    /// Writes everything in the Prometheus text format.
    pub fn render(&self, out: &mut String) {
        let mut text = Text(out);
        self.gauge(&mut text, "headgate_connections", "Open client connections.", |shard| shard.connections.get());
        self.gauge(&mut text, "headgate_requests_in_flight", "Calls in flight.", |shard| shard.in_flight.get());
        text.head("headgate_requests_total", "counter", "Calls by endpoint and outcome.");
        for endpoint in Endpoint::ALL {
            for outcome in Outcome::ALL {
                let n = self.sum(|shard| shard.requests[*endpoint as usize][*outcome as usize].get());
                let labels = [("endpoint", endpoint.as_str()), ("outcome", outcome.as_str())];
                text.line("headgate_requests_total", &labels, n);
            }
        }
        text.head("headgate_rejections_total", "counter", "Calls refused or given up, by code.");
        for code in GatewayCode::ALL {
            let n = self.sum(|shard| shard.rejections[*code as usize].get());
            text.line("headgate_rejections_total", &[("code", code.as_str())], n);
        }
        self.attempts(&mut text);
        text.head("headgate_tokens_total", "counter", "Tokens by kind; reasoning is part of output.");
        for (at, kind) in TOKEN_KINDS.iter().enumerate() {
            text.line("headgate_tokens_total", &[("kind", kind)], self.sum(|shard| shard.tokens[at].get()));
        }
        text.head("headgate_cost_nano_usd_total", "counter", "Cost of all calls in billionths of a dollar.");
        text.line("headgate_cost_nano_usd_total", &[], self.sum(|shard| shard.cost_nano_usd.get()));
        text.head(
            "headgate_reused_answers_total",
            "counter",
            "Calls whose answer may be one given again, by what came of it.",
        );
        for outcome in CacheOutcome::ALL.iter().filter(|outcome| **outcome != CacheOutcome::Off) {
            let n = self.sum(|shard| shard.reuse[*outcome as usize].get());
            text.line("headgate_reused_answers_total", &[("outcome", outcome.as_str())], n);
        }
        text.head(
            "headgate_saved_nano_usd_total",
            "counter",
            "What answers given again had cost, in billionths of a dollar.",
        );
        text.line("headgate_saved_nano_usd_total", &[], self.sum(|shard| shard.saved_nano_usd.get()));
        text.head("headgate_panics_total", "counter", "Calls that panicked and were answered with 500.");
        text.line("headgate_panics_total", &[], self.sum(|shard| shard.panics.get()));
        text.head("headgate_usage_events_lost_total", "counter", "Usage events that could not be spooled.");
        text.line("headgate_usage_events_lost_total", &[], self.sum(|shard| shard.events_lost.get()));
        text.head("headgate_spans_lost_total", "counter", "Spans that no collector took.");
        text.line("headgate_spans_lost_total", &[], lost_spans());
        self.durations(&mut text);
    }

    /// Only providers that were tried: most nodes know thirty and use three.
    fn attempts(&self, text: &mut Text<'_>) {
        text.head("headgate_attempts_total", "counter", "Tries against upstreams by provider and outcome.");
        let names = self.providers.iter().copied().chain(["other"]);
        for (place, name) in names.enumerate() {
            let of = |outcome: AttemptOutcome| self.sum(|shard| shard.attempts[place][outcome as usize].get());
            if AttemptOutcome::ALL.iter().all(|outcome| of(*outcome) == 0) {
                continue;
            }
            for outcome in AttemptOutcome::ALL {
                let labels = [("provider", name), ("outcome", outcome.as_str())];
                text.line("headgate_attempts_total", &labels, of(*outcome));
            }
        }
    }

    fn durations(&self, text: &mut Text<'_>) {
        text.head("headgate_request_duration_seconds", "histogram", "From arrival to the last byte.");
        for endpoint in Endpoint::ALL {
            let sum = self.histogram(|shard| &shard.duration[*endpoint as usize]);
            let labels = [("endpoint", endpoint.as_str())];
            text.histogram("headgate_request_duration_seconds", &labels, &DURATION_BOUNDS_US, &sum);
        }
        text.head("headgate_time_to_first_byte_seconds", "histogram", "From arrival to the first byte of the answer.");
        let sum = self.histogram(|shard| &shard.first_byte);
        text.histogram("headgate_time_to_first_byte_seconds", &[], &DURATION_BOUNDS_US, &sum);
        text.head("headgate_overhead_seconds", "histogram", "Spent in Headgate itself, of answered calls.");
        let sum = self.histogram(|shard| &shard.overhead);
        text.histogram("headgate_overhead_seconds", &[], &OVERHEAD_BOUNDS_US, &sum);
    }

    fn sum(&self, of: impl Fn(&Shard) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(shard)).sum()
    }

    fn gauge(&self, text: &mut Text<'_>, name: &str, help: &str, of: impl Fn(&Shard) -> i64) {
        text.head(name, "gauge", help);
        let sum: i64 = self.shards.iter().map(|shard| of(shard)).sum();
        text.line(name, &[], u64::try_from(sum).unwrap_or(0));
    }

    fn histogram(&self, of: impl Fn(&Shard) -> &Histogram) -> HistogramSum {
        let mut sum = HistogramSum::default();
        for shard in &*self.shards {
            of(shard).add_to(&mut sum);
        }
        sum
    }
}

/// Prometheus text being written.
pub struct Text<'a>(pub &'a mut String);

impl Text<'_> {
    /// Begins a metric.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one value.
    pub fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        self.labels(labels, Bound::None);
        let _ = writeln!(self.0, " {value}");
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Bound) {
        if labels.is_empty() && bound == Bound::None {
            return;
        }
        let mut separator = '{';
        for (name, value) in labels {
            let _ = write!(self.0, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        match bound {
            Bound::Micros(micros) => {
                let _ = write!(self.0, "{separator}le=\"{}\"", Seconds(micros));
            }
            Bound::Infinite => {
                let _ = write!(self.0, "{separator}le=\"+Inf\"");
            }
            Bound::None => {}
        }
        self.0.push('}');
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], bounds_us: &[u64; 16], sum: &HistogramSum) {
        let mut total = 0;
        let bounds = bounds_us.iter().copied().map(Bound::Micros).chain([Bound::Infinite]);
        for (bound, n) in bounds.zip(sum.buckets) {
            total += n;
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, bound);
            let _ = writeln!(self.0, " {total}");
        }
        let _ = write!(self.0, "{name}_sum");
        self.labels(labels, Bound::None);
        let _ = writeln!(self.0, " {}", Seconds(sum.sum_us));
        self.line(&format!("{name}_count"), labels, total);
    }
}

/// The upper bound of a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    None,
    Micros(u64),
    Infinite,
}

/// Microseconds shown as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{micros:06}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_index_their_tables() {
        // `as usize` picks the counter; the order of ALL must be that of declaration.
        assert!(Endpoint::ALL.iter().enumerate().all(|(at, value)| *value as usize == at));
        assert!(Outcome::ALL.iter().enumerate().all(|(at, value)| *value as usize == at));
        assert!(AttemptOutcome::ALL.iter().enumerate().all(|(at, value)| *value as usize == at));
        assert!(GatewayCode::ALL.iter().enumerate().all(|(at, value)| *value as usize == at));
    }

    #[test]
    fn attempts_name_their_provider_and_those_never_tried_are_left_out() {
        let metrics = Metrics::new(2, ["openai", "mistral", "echo"]);
        metrics.shard(0).attempt("openai", AttemptOutcome::Success);
        metrics.shard(1).attempt("openai", AttemptOutcome::Success);
        metrics.shard(1).attempt("mistral", AttemptOutcome::Connect);
        metrics.shard(0).attempt("of a later version", AttemptOutcome::Unsendable);
        let mut text = String::new();
        metrics.render(&mut text);
        for line in [
            "headgate_attempts_total{provider=\"openai\",outcome=\"success\"} 2",
            "headgate_attempts_total{provider=\"openai\",outcome=\"connect\"} 0",
            "headgate_attempts_total{provider=\"mistral\",outcome=\"connect\"} 1",
            "headgate_attempts_total{provider=\"other\",outcome=\"unsendable\"} 1",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in {text}");
        }
        assert!(!text.contains("provider=\"echo\""), "{text}");
    }

    #[test]
    fn shards_add_up_and_buckets_are_cumulative() {
        let metrics = Metrics::new(2, ["openai", "mistral", "echo"]);
        let call = Call {
            endpoint: Endpoint::Messages,
            outcome: Outcome::Success,
            code: None,
            duration: Duration::from_millis(3),
            first_byte: Some(Duration::from_millis(2)),
            overhead: Duration::from_micros(40),
            usage: TokenUsage { input: 7, output: 5, reasoning: 3, ..TokenUsage::default() },
            cost_nano_usd: 11,
            cache: CacheUse::default(),
        };
        metrics.shard(0).settle(&call);
        metrics.shard(1).settle(&call);
        let mut text = String::new();
        metrics.render(&mut text);
        for line in [
            "headgate_requests_total{endpoint=\"messages\",outcome=\"success\"} 2",
            "headgate_tokens_total{kind=\"input\"} 14",
            "headgate_tokens_total{kind=\"output\"} 10",
            "headgate_tokens_total{kind=\"reasoning\"} 6",
            "headgate_cost_nano_usd_total 22",
            "headgate_request_duration_seconds_bucket{endpoint=\"messages\",le=\"0.0025\"} 0",
            "headgate_request_duration_seconds_bucket{endpoint=\"messages\",le=\"0.005\"} 2",
            "headgate_request_duration_seconds_bucket{endpoint=\"messages\",le=\"+Inf\"} 2",
            "headgate_request_duration_seconds_sum{endpoint=\"messages\"} 0.006",
            "headgate_overhead_seconds_bucket{le=\"0.00003\"} 0",
            "headgate_overhead_seconds_bucket{le=\"0.00005\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_document_names_every_metric_and_every_label() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LOGGING.md"));
        let document = document.expect("the document");
        let mut text = String::new();
        Metrics::new(1, ["openai"]).render(&mut text);
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        for name in names {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
        // A list is a sentence that begins with the label.
        let listed = |label: &str| {
            let at = document.find(&format!("`{label}`: ")).expect("the list");
            let ends = [". ", ".\n"].iter().filter_map(|end| document[at..].find(end));
            let sentence = &document[at..][..ends.min().expect("its end")];
            sentence.split('`').skip(3).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(listed("endpoint"), Endpoint::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>());
        assert_eq!(listed("kind"), TOKEN_KINDS);
        let outcomes = Outcome::ALL.iter().map(|one| one.as_str());
        let outcomes: Vec<_> = outcomes.chain(AttemptOutcome::ALL.iter().map(|one| one.as_str())).collect();
        assert_eq!(listed("outcome"), outcomes);
    }
}
