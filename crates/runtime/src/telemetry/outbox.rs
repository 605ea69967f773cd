//! What waits to be exported, and the task that brings it to the collector.
//!
//! A span is written into the outbox when it ends and leaves in a batch with others: when a batch is full, and at least every few
//! seconds. What a collector does not take for now is kept and offered again; beyond a bound, what is new is lost and counted, so that
//! a collector that is away costs neither calls nor memory. Invariant: nothing here waits for the collector but the task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::export::{Refusal, Way};
use super::{SCOPE, encode, mask_secrets};
use crate::tasks;

/// The most bytes of a batch: collectors take 4 MiB at once unless told otherwise (OpenTelemetry Collector, `max_recv_msg_size_mib`).
const BATCH_BYTES: usize = 1 << 20;
/// The most bytes that wait.
const WAITING_BYTES: usize = 32 << 20;
/// How long to let a collector be that did not take a batch, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last batches may take together.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Spans that no collector has taken, over the whole life of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many spans are lost: more waited than there is room for, or the collector refused them for good.
#[must_use]
pub fn lost_spans() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// When batches go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The most spans of a batch, and of all that wait.
    pub(super) batch: usize,
    pub(super) waiting: usize,
    /// The longest that a span waits for others.
    pub(super) every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { batch: 2_048, waiting: 65_536, every: Duration::from_secs(5) }
    }
}

/// Some spans, written one after another.
#[derive(Debug, Default)]
struct Batch {
    spans: Vec<u8>,
    n: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    full: VecDeque<Batch>,
    open: Batch,
    n_bytes: usize,
    n: usize,
    /// Room to write one span in.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Shelf {
    waiting: Mutex<Waiting>,
    is_full: Notify,
    pace: Pace,
}

impl Shelf {
    fn new(pace: Pace) -> Self {
        Self { waiting: Mutex::default(), is_full: Notify::new(), pace }
    }

    /// Adds a span; false when there is no room.
    fn put(&self, span: &SpanData) -> bool {
        let mut waiting = self.waiting.lock();
        let Waiting { full, open, n_bytes, n, scratch } = &mut *waiting;
        if *n >= self.pace.waiting || *n_bytes >= WAITING_BYTES {
            return false;
        }
        let before = open.spans.len();
        encode::write_span(&mut open.spans, scratch, span);
        *n_bytes += open.spans.len() - before;
        *n += 1;
        open.n += 1;
        if open.n >= self.pace.batch || open.spans.len() >= BATCH_BYTES {
            // The next one will be as long.
            let next = Batch { spans: Vec::with_capacity(open.spans.len() + open.spans.len() / 8), n: 0 };
            full.push_back(std::mem::replace(open, next));
            self.is_full.notify_one();
        }
        true
    }

    /// Takes the oldest batch; with `is_all`, one that is not full yet, too. It counts as waiting until it is settled.
    fn take(&self, is_all: bool) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        match waiting.full.pop_front() {
            None if is_all && waiting.open.n > 0 => Some(std::mem::take(&mut waiting.open)),
            taken => taken,
        }
    }

    /// Makes room for others in place of a batch that the collector took, or never will.
    fn settle(&self, batch: &Batch) {
        let mut waiting = self.waiting.lock();
        waiting.n_bytes -= batch.spans.len();
        waiting.n -= batch.n;
    }

    /// Puts a batch back that was not taken for now.
    fn put_back(&self, batch: Batch) {
        self.waiting.lock().full.push_front(batch);
    }
}

/// The end of every span.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    shelf: Arc<Shelf>,
}

/// The task that empties an outbox; it ends with [`Delivery::finish`].
#[derive(Debug)]
pub(super) struct Delivery {
    task: JoinHandle<Option<()>>,
    stop: CancellationToken,
}

impl Outbox {
    /// Makes an outbox and the task that empties it; call inside the tokio runtime.
    pub(super) fn open(way: Way, resource: &Resource, pace: Pace) -> (Self, Delivery) {
        let shelf = Arc::new(Shelf::new(pace));
        let stop = CancellationToken::new();
        let carrier =
            Carrier { shelf: Arc::clone(&shelf), way, resource: encode::resource(resource), is_failing: false };
        let task = tasks::spawn("telemetry.export", carrier.run(stop.clone()));
        (Self { shelf }, Delivery { task, stop })
    }
}

impl SpanProcessor for Outbox {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && !self.shelf.put(&span) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.shelf.is_full.notify_one();
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Delivery {
    /// Sends what is left, as far as it goes within some seconds, and ends.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        // The task ends by itself; one that panicked has said so.
        drop(self.task.await);
    }
}

/// Brings batches to the collector.
struct Carrier {
    shelf: Arc<Shelf>,
    way: Way,
    resource: Vec<u8>,
    is_failing: bool,
}

impl Carrier {
    async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.shelf.pace.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let is_time = tokio::select! {
                _ = tick.tick() => true,
                () = self.shelf.is_full.notified() => false,
                () = stop.cancelled() => break,
            };
            while let Some(batch) = self.shelf.take(is_time) {
                if self.offer(batch).await {
                    pause = FIRST_PAUSE;
                    continue;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    () = stop.cancelled() => break,
                }
            }
        }
        let last = async {
            while let Some(batch) = self.shelf.take(true) {
                if !self.offer(batch).await {
                    break;
                }
            }
        };
        if tokio::time::timeout(LAST_WITHIN, last).await.is_err() || self.shelf.waiting.lock().n > 0 {
            tracing::warn!("the last spans could not be exported");
        }
    }

    /// Offers a batch; false when the collector does not take it for now, and it waits again.
    async fn offer(&mut self, batch: Batch) -> bool {
        let request = encode::request(&self.resource, SCOPE, &batch.spans);
        let answer = self.way.send(request.into()).await;
        self.say(answer.as_ref().err());
        match answer {
            Err(refusal) if refusal.is_for_now => {
                self.shelf.put_back(batch);
                return false;
            }
            Err(refusal) => {
                let n = refusal.n_refused.unwrap_or(u64::try_from(batch.n).unwrap_or(u64::MAX));
                LOST.fetch_add(n, Ordering::Relaxed);
            }
            Ok(()) => {}
        }
        self.shelf.settle(&batch);
        true
    }

    /// Says that spans do not arrive, once for a time of failures and not once for each batch.
    fn say(&mut self, refusal: Option<&Refusal>) {
        match refusal {
            Some(refusal) if !self.is_failing => {
                let reason = mask_secrets(&refusal.reason);
                let kept = if refusal.is_for_now {
                    "they wait until it does, as far as there is room"
                } else {
                    "they are lost"
                };
                tracing::warn!(%reason, "the trace collector does not take spans; {kept}");
            }
            None if self.is_failing => tracing::info!("the trace collector takes spans again"),
            _ => {}
        }
        self.is_failing = refusal.is_some();
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn span(n: u64) -> SpanData {
        let time = opentelemetry::time::now();
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(1),
                SpanId::from(n),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "gateway.request".into(),
            start_time: time,
            end_time: time,
            attributes: vec![],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    fn shelf(batch: usize, waiting: usize) -> Shelf {
        Shelf::new(Pace { batch, waiting, ..Pace::default() })
    }

    #[test]
    fn spans_leave_in_batches_the_oldest_first() {
        let shelf = shelf(2, 100);
        assert!((1..=5).all(|n| shelf.put(&span(n))));
        let (first, second) = (shelf.take(false).expect("a batch"), shelf.take(false).expect("another"));
        assert_eq!((first.n, second.n), (2, 2));
        shelf.settle(&second);
        assert!(shelf.take(false).is_none(), "one that is not full waits for others");
        // What was not taken for now goes before all others.
        let spans = first.spans.clone();
        shelf.put_back(first);
        let again = shelf.take(true).expect("a batch");
        assert_eq!(again.spans, spans);
        shelf.settle(&again);
        let rest = shelf.take(true).expect("a batch");
        assert_eq!(rest.n, 1);
        shelf.settle(&rest);
        assert!(shelf.take(true).is_none());
        let waiting = shelf.waiting.lock();
        assert_eq!((waiting.n, waiting.n_bytes), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded_in_spans_and_in_bytes() {
        let few = shelf(2, 3);
        assert_eq!((1..=5).map(|n| few.put(&span(n))).collect::<Vec<_>>(), [true, true, true, false, false]);
        let batch = few.take(false).expect("a batch");
        assert!(!few.put(&span(6)), "what is on its way may come back");
        few.settle(&batch);
        assert!(few.put(&span(7)), "there is room again");

        let large = shelf(1 << 20, 1 << 20);
        let heavy = SpanData { name: "x".repeat(BATCH_BYTES / 2).into(), ..span(1) };
        let n = (0..200).filter(|_| large.put(&heavy)).count();
        let waiting = large.waiting.lock();
        assert!(n < 70 && waiting.n_bytes < WAITING_BYTES + BATCH_BYTES, "{n} spans of {} bytes", waiting.n_bytes);
        assert!(waiting.full.iter().all(|batch| batch.spans.len() < 2 * BATCH_BYTES));
    }
}
