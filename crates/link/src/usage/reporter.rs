//! Brings spooled events to the control plane: batches up, watermarks down, again and again until acknowledged.
//!
//! One batch is under way at a time; an answer lost with a connection means the batch is sent again, and the ledger drops what
//! it has seen. Invariant: an event leaves the spool only by an acknowledgement that covers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Entropy;
use http::uri::PathAndQuery;
use proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::spool::{Batch, Reader, Spool};

/// Events of one batch at most; some 500 bytes each, far below the link's message bound.
const MAX_EVENTS: usize = 1_000;
/// Pause before a report, and after one that told all there was: what a quiet node has to tell is soon with the ledger, a busy
/// one sends more at once and wakes it less often.
const GATHER: Duration = Duration::from_millis(50);
const GATHER_BUSY: Duration = Duration::from_millis(250);
/// Events of one report that make a node a busy one.
const BUSY_EVENTS: usize = 20;
/// Longest time without looking at the spool.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for an acknowledgement.
const ACK_WITHIN: Duration = Duration::from_secs(30);
/// Longest time spent on the rest when the node stops; what is left is reported at the next start.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// First and longest pause between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));

/// Why a report broke off.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("the control plane refused or broke the usage stream")]
    Link(#[source] Box<Status>),
    #[error("the control plane ended the usage stream")]
    Ended,
    #[error("the control plane did not acknowledge in time")]
    Silent,
    #[error("the spool could not be read")]
    Spool(#[from] std::io::Error),
    #[error("the control plane asked to wait")]
    Busy(Duration),
}

/// Reports one node's spool.
pub struct Reporter {
    spool: Spool,
    channel: Channel,
    entropy: Arc<dyn Entropy>,
}

/// `UsageBatch` with its events as the bytes they already are; on the wire a message and its bytes are the same.
#[derive(Clone, PartialEq, prost::Message)]
struct RawBatch {
    #[prost(string, tag = "1")]
    boot_id: String,
    #[prost(uint64, tag = "2")]
    first_sequence: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    events: Vec<Bytes>,
    #[prost(uint64, tag = "4")]
    lost_events: u64,
}

/// One open stream.
struct Stream {
    batches: mpsc::Sender<RawBatch>,
    acks: Streaming<v1::UsageAck>,
}

impl Reporter {
    /// Makes the reporter; `channel` connects by itself, again after each break.
    #[must_use]
    pub fn new(spool: Spool, channel: Channel, entropy: Arc<dyn Entropy>) -> Self {
        Self { spool, channel, entropy }
    }

    /// Reports until told to stop, then writes and reports the rest for a few seconds.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                ended = self.report(&mut failures, false) => ended,
                () = stop.cancelled() => break,
            };
            if let Err(error) = ended {
                let pause = self.pause(&error, failures);
                failures = failures.saturating_add(1);
                note(&error, failures);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        let spool = self.spool.clone();
        runtime::tasks::blocking("usage.close", move || spool.close()).await;
        match tokio::time::timeout(DRAIN_WITHIN, self.report(&mut failures, true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => note(&error, 1),
            Err(_) => tracing::info!("usage: the rest is reported at the next start"),
        }
    }

    /// Reports over one stream; with `is_last`, until nothing is left.
    async fn report(&self, failures: &mut u32, is_last: bool) -> Result<(), ReportError> {
        let mut reader = self.spool.reader();
        let mut stream: Option<Stream> = None;
        loop {
            let (back, batch) = next_batch(reader).await?;
            reader = back;
            let Some(batch) = batch else {
                if is_last {
                    return Ok(());
                }
                let _news_or_time = tokio::time::timeout(LOOK_EVERY, self.spool.written()).await;
                tokio::time::sleep(GATHER).await;
                continue;
            };
            let message = self.message(&batch);
            let open = match stream.as_mut() {
                Some(open) => {
                    open.batches.send(message).await.map_err(|_| ReportError::Ended)?;
                    open
                }
                None => stream.insert(self.connect(message).await?),
            };
            self.confirm(open, &batch).await?;
            *failures = 0;
            // What came meanwhile gathers: a report for each round trip would keep both sides and the ledger busy with few events.
            if batch.events.len() < MAX_EVENTS && !is_last {
                tokio::time::sleep(if batch.events.len() >= BUSY_EVENTS { GATHER_BUSY } else { GATHER }).await;
            }
        }
    }

    fn message(&self, batch: &Batch) -> RawBatch {
        RawBatch {
            boot_id: boot_text(batch.boot),
            first_sequence: batch.first_seq,
            events: batch.events.clone(),
            lost_events: self.spool.lost(batch.boot),
        }
    }

    /// Opens a stream with its first batch already on the way, because a server may answer only when it has seen one.
    async fn connect(&self, first: RawBatch) -> Result<Stream, ReportError> {
        let (batches, outgoing) = mpsc::channel(1);
        batches.send(first).await.map_err(|_| ReportError::Ended)?;
        let acks = tokio::time::timeout(ACK_WITHIN, open_stream(self.channel.clone(), outgoing));
        let acks = acks.await.map_err(|_| ReportError::Silent)?.map_err(|status| ReportError::Link(status.into()))?;
        Ok(Stream { batches, acks })
    }

    /// Waits until all of a batch is acknowledged.
    async fn confirm(&self, stream: &mut Stream, batch: &Batch) -> Result<(), ReportError> {
        let boot_id = boot_text(batch.boot);
        loop {
            let ack = tokio::time::timeout(ACK_WITHIN, stream.acks.message()).await.map_err(|_| ReportError::Silent)?;
            let ack = ack.map_err(|status| ReportError::Link(status.into()))?.ok_or(ReportError::Ended)?;
            if let Some(wait_ms) = ack.retry_after_ms {
                return Err(ReportError::Busy(Duration::from_millis(wait_ms)));
            }
            if ack.boot_id == boot_id && self.acknowledged(batch, &ack).await? {
                return Ok(());
            }
        }
    }

    /// Takes one acknowledgement in; true when it covers the batch.
    async fn acknowledged(&self, batch: &Batch, ack: &v1::UsageAck) -> Result<bool, ReportError> {
        let refused: Vec<(u64, String, Bytes)> = ack
            .refused
            .iter()
            .filter_map(|refused| {
                let at = usize::try_from(refused.sequence.checked_sub(batch.first_seq)?).ok()?;
                Some((refused.sequence, refused.reason.clone(), batch.events.get(at)?.clone()))
            })
            .collect();
        // A watermark beyond what was ever sent must not drop events that are still to come.
        let (boot, watermark) = (batch.boot, ack.watermark.min(batch.last_seq()));
        let spool = self.spool.clone();
        let work = move || {
            for (sequence, reason, event) in &refused {
                tracing::error!(
                    usage.sequence = sequence,
                    reason,
                    "usage: the ledger will never take an event; it is kept in the spool's folder `refused`"
                );
                spool.keep_refused(boot, *sequence, reason, event)?;
            }
            spool.acknowledge(boot, watermark)
        };
        match runtime::tasks::blocking("usage.acknowledge", work).await {
            Some(done) => done?,
            None => return Err(ReportError::Ended),
        }
        Ok(watermark >= batch.last_seq())
    }

    /// Full jitter: anything from nothing to twice as long as the last time, up to a minute.
    fn pause(&self, error: &ReportError, failures: u32) -> Duration {
        if let ReportError::Busy(wait) = error {
            return (*wait).min(BACKOFF.1);
        }
        let most = BACKOFF.0.saturating_mul(1 << failures.min(10)).min(BACKOFF.1);
        let mut random = [0; 4];
        self.entropy.fill(&mut random);
        most.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
    }
}

/// Calls `UsageIngest.Report` as the generated client would, but for the type of the batches.
async fn open_stream(channel: Channel, outgoing: mpsc::Receiver<RawBatch>) -> Result<Streaming<v1::UsageAck>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(runtime::telemetry::chain(&error)))?;
    let codec: ProstCodec<RawBatch, v1::UsageAck> = ProstCodec::default();
    let path = PathAndQuery::from_static("/headgate.v1.UsageIngest/Report");
    let answer = client.streaming(Request::new(ReceiverStream::new(outgoing)), path, codec).await?;
    Ok(answer.into_inner())
}

async fn next_batch(mut reader: Reader) -> Result<(Reader, Option<Batch>), ReportError> {
    let work = move || {
        let batch = reader.next(MAX_EVENTS);
        (reader, batch)
    };
    let (reader, batch) = runtime::tasks::blocking("usage.read", work).await.ok_or(ReportError::Ended)?;
    Ok((reader, batch?))
}

fn note(error: &ReportError, failures: u32) {
    // The first break is news; the rest of an outage is not.
    let chain = runtime::telemetry::chain(error);
    if failures == 1 {
        tracing::warn!(error = chain, "usage: not reported; events stay in the spool");
    } else {
        tracing::debug!(error = chain, usage.failures = failures, "usage: still not reported");
    }
}

/// Returns the text of a boot, as it stands in batches.
#[must_use]
pub fn boot_text(boot: u128) -> String {
    format!("{boot:032x}")
}

#[cfg(test)]
mod tests;
