use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::NodeId;
use domain::rng::SeededEntropy;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message;
use proto::v1::usage_ingest_server::{UsageIngest, UsageIngestServer};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

use super::*;
use crate::usage::samples::ended;
use crate::usage::spool::SpoolConfig;

/// What the ledger does with one batch.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Stores it and says so.
    Accept,
    /// Stores it, and the link breaks before the acknowledgement.
    StoreAndBreak,
    /// Breaks before storing.
    Break,
    /// Asks to come back.
    Busy,
    /// Stores all but the first event.
    RefuseFirst,
    /// Acknowledges far more than was sent.
    Overstate,
}

/// A ledger that keeps every event by its request and drops what it knows.
#[derive(Clone, Default)]
struct Ledger {
    events: Arc<Mutex<Vec<(String, u64)>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    n_batches: Arc<AtomicUsize>,
    stored: Arc<tokio::sync::Notify>,
    /// Records one more event for each report, until there are so many.
    echo: Arc<Mutex<Option<(Spool, u64)>>>,
}

impl Ledger {
    fn store(&self, batch: &v1::UsageBatch, skip: usize) {
        let mut events = self.events.lock();
        for (sequence, event) in (batch.first_sequence..).zip(&batch.events).skip(skip) {
            if events.iter().all(|(known, _)| *known != event.request_id) {
                events.push((event.request_id.clone(), sequence));
            }
        }
        self.stored.notify_waiters();
    }

    fn answer(&self, batch: &v1::UsageBatch) -> Result<v1::UsageAck, Status> {
        let n_before = self.n_batches.fetch_add(1, Ordering::SeqCst) as u64;
        if let Some((spool, most)) = self.echo.lock().as_ref()
            && n_before < *most
        {
            spool.record(ended(1_000 + n_before)).unwrap();
        }
        let last = batch.first_sequence + batch.events.len() as u64 - 1;
        let ack = v1::UsageAck { boot_id: batch.boot_id.clone(), watermark: last, ..v1::UsageAck::default() };
        let answer = self.answers.lock().pop_front().unwrap_or(Answer::Accept);
        if matches!(answer, Answer::Break) {
            return Err(Status::unavailable("gone"));
        }
        if matches!(answer, Answer::Busy) {
            return Ok(v1::UsageAck { watermark: 0, retry_after_ms: Some(1_000), ..ack });
        }
        self.store(batch, usize::from(matches!(answer, Answer::RefuseFirst)));
        match answer {
            Answer::StoreAndBreak => Err(Status::unavailable("gone")),
            Answer::RefuseFirst => {
                let refused =
                    vec![v1::RefusedEvent { sequence: batch.first_sequence, reason: "no such key".to_owned() }];
                Ok(v1::UsageAck { refused, ..ack })
            }
            Answer::Overstate => Ok(v1::UsageAck { watermark: u64::MAX, ..ack }),
            _ => Ok(ack),
        }
    }

    async fn holds(&self, n_events: usize) {
        loop {
            let stored = self.stored.notified();
            if self.events.lock().len() >= n_events {
                return;
            }
            stored.await;
        }
    }
}

#[tonic::async_trait]
impl UsageIngest for Ledger {
    type ReportStream = ReceiverStream<Result<v1::UsageAck, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::UsageBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (acks, outgoing) = mpsc::channel(1);
        let mut batches = request.into_inner();
        let ledger = self.clone();
        runtime::tasks::spawn("test.ledger", async move {
            while let Ok(Some(batch)) = batches.message().await {
                let ack = ledger.answer(&batch);
                let is_broken = ack.is_err();
                if acks.send(ack).await.is_err() || is_broken {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// Serves a ledger over in-memory pipes; the channel dials a new pipe for each connection.
fn link(ledger: &Ledger) -> Channel {
    let (pipes, incoming) = mpsc::channel::<Result<DuplexStream, std::io::Error>>(4);
    let server = Server::builder().add_service(UsageIngestServer::new(ledger.clone()));
    runtime::tasks::spawn("test.server", server.serve_with_incoming(ReceiverStream::new(incoming)));
    let dial = move |_: Uri| {
        let pipes = pipes.clone();
        async move {
            let (near, far) = tokio::io::duplex(64 * 1024);
            pipes.send(Ok(far)).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    };
    Endpoint::from_static("http://ledger.test").connect_with_connector_lazy(tower::service_fn(dial))
}

fn open(dir: &TempDir, boot: u128) -> Spool {
    Spool::open(dir.path(), NodeId::from_uuid(5), boot, SpoolConfig::default()).unwrap()
}

async fn reported(answers: &[Answer], n_events: u64, n_expected: usize) -> (Ledger, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    ledger.answers.lock().extend(answers);
    let spool = open(&dir, 1);
    for n in 0..n_events {
        spool.record(ended(n)).unwrap();
    }
    let stop = CancellationToken::new();
    let reporter = Reporter::new(spool.clone(), link(&ledger), Arc::new(SeededEntropy::new(1)));
    let running = runtime::tasks::spawn("test.reporter", reporter.run(stop.clone()));
    ledger.holds(n_expected).await;
    // Stored is not yet acknowledged: a stop in between would rightly send the batch again.
    while spool.state().pending_events > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
    (ledger, spool)
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_whatever_the_link_does() {
    let answers = [Answer::Break, Answer::StoreAndBreak, Answer::Busy, Answer::StoreAndBreak, Answer::Break];
    let (ledger, spool) = reported(&answers, 2_500, 2_500).await;
    let events = ledger.events.lock();
    assert_eq!(events.len(), 2_500);
    let expected: Vec<(String, u64)> = (0..2_500).map(|n| (ended(n).id.to_string(), n + 1)).collect();
    assert_eq!(*events, expected);
    assert_eq!(spool.state().pending_events, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_while_reporting_follows() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let spool = open(&dir, 1);
    let stop = CancellationToken::new();
    let reporter = Reporter::new(spool.clone(), link(&ledger), Arc::new(SeededEntropy::new(1)));
    let running = runtime::tasks::spawn("test.reporter", reporter.run(stop.clone()));
    for round in 0..5 {
        for n in round * 10..round * 10 + 10 {
            spool.record(ended(n)).unwrap();
        }
        ledger.holds(usize::try_from(round * 10 + 10).unwrap()).await;
    }
    // What is recorded just before the stop is still reported.
    spool.record(ended(100)).unwrap();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(ledger.events.lock().len(), 51);
    // The note of the node's lives stays.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_report_is_under_way_gathers() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let spool = open(&dir, 1);
    *ledger.echo.lock() = Some((spool.clone(), 100));
    spool.record(ended(1)).unwrap();
    let stop = CancellationToken::new();
    let began = tokio::time::Instant::now();
    let reporter = Reporter::new(spool.clone(), link(&ledger), Arc::new(SeededEntropy::new(1)));
    let running = runtime::tasks::spawn("test.reporter", reporter.run(stop.clone()));
    ledger.holds(101).await;
    assert!(began.elapsed() >= GATHER * 100, "{:?}", began.elapsed());
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_kept_aside_and_the_rest_goes_on() {
    let (ledger, spool) = reported(&[Answer::RefuseFirst], 10, 9).await;
    assert_eq!(ledger.events.lock().len(), 9);
    assert_eq!((spool.state().refused_events, spool.state().pending_events), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_watermark_beyond_what_was_sent_drops_nothing_more() {
    let (ledger, spool) = reported(&[Answer::Overstate], 1_500, 1_500).await;
    assert_eq!(ledger.events.lock().len(), 1_500);
    assert!(ledger.n_batches.load(Ordering::SeqCst) >= 2);
    assert_eq!(spool.state().pending_events, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_control_plane_the_node_stops_in_time_and_keeps_its_events() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, 1);
    spool.record(ended(1)).unwrap();
    let dial = |_: Uri| async { Err::<TokioIo<DuplexStream>, _>(std::io::Error::other("no route")) };
    let channel = Endpoint::from_static("http://ledger.test").connect_with_connector_lazy(tower::service_fn(dial));
    let stop = CancellationToken::new();
    let reporter = Reporter::new(spool.clone(), channel, Arc::new(SeededEntropy::new(1)));
    let running = runtime::tasks::spawn("test.reporter", reporter.run(stop.clone()));
    stop.cancel();
    running.await.unwrap();
    let spool = open(&dir, 2);
    assert_eq!(spool.recovered().events, 1);
    spool.close();
}

#[test]
fn a_raw_batch_is_a_batch_on_the_wire() {
    let events = [policy::wire::usage::encode(&ended(1)), policy::wire::usage::encode(&ended(2))];
    let raw = RawBatch {
        boot_id: boot_text(1),
        first_sequence: 9,
        events: events.iter().map(|event| Bytes::from(event.encode_to_vec())).collect(),
        lost_events: 3,
    };
    let batch = v1::UsageBatch { boot_id: boot_text(1), first_sequence: 9, events: events.to_vec(), lost_events: 3 };
    assert_eq!(raw.encode_to_vec(), batch.encode_to_vec());
}
