//! Usage from nodes into the ledger: exactly once, whatever is sent how often.
//!
//! A batch is booked in one transaction and then acknowledged by watermark. Events that can never be booked (unreadable, of an
//! organization outside the node's group, absurd) are refused by name, so that they do not block what follows; when the database
//! is away nothing is acknowledged and the node keeps its spool.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::audit::{Audit, AuditOutcome};
use domain::node::{Node, NodeGroup};
use domain::usage::UsageEvent;
use policy::wire::usage;
use proto::v1;
use proto::v1::usage_ingest_server::UsageIngest;
use store::StoreError;
use store::usage::Batch;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::sync::{Plane, about};

/// Events in one batch.
const MAX_EVENTS: usize = 5_000;
/// Longest name of a life of a node.
const MAX_BOOT: usize = 64;
/// Acknowledgements that wait to be taken.
const OUTGOING: usize = 16;
/// A node comes back after this when the database is away.
const RETRY_AFTER_MS: u64 = 1_000;

/// See the module.
pub(crate) struct Ingest {
    plane: Arc<Plane>,
}

impl Ingest {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }
}

#[tonic::async_trait]
impl UsageIngest for Ingest {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<v1::UsageAck, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::UsageBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (node, group) = self.plane.identify(&request).await?;
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let stream = Report { plane: Arc::clone(&self.plane), node, group };
        let task = runtime::tasks::spawn("ingest.stream", stream.serve(request.into_inner(), outgoing));
        // It ends with its stream, or with the server.
        drop(task);
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A batch as far as it could be read.
#[derive(Default)]
struct Read {
    boot: String,
    first: u64,
    last: u64,
    events: Vec<UsageEvent>,
    /// Of each event.
    sequences: Vec<u64>,
    refused: Vec<v1::RefusedEvent>,
}

/// Says whether a node may call a life of its own so.
fn is_boot(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_BOOT && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn retry(boot_id: String) -> v1::UsageAck {
    v1::UsageAck { boot_id, watermark: 0, refused: Vec::new(), retry_after_ms: Some(RETRY_AFTER_MS) }
}

struct Report {
    plane: Arc<Plane>,
    node: Node,
    group: NodeGroup,
}

impl Report {
    async fn serve(
        mut self,
        mut incoming: Streaming<v1::UsageBatch>,
        outgoing: mpsc::Sender<Result<v1::UsageAck, Status>>,
    ) {
        let stop = self.plane.stop.clone();
        loop {
            let batch = tokio::select! {
                batch = incoming.message() => batch,
                () = stop.cancelled() => return,
                () = outgoing.closed() => return,
            };
            let Ok(Some(batch)) = batch else { return };
            let answer = self.take(batch).await;
            let is_last = answer.is_err();
            if outgoing.send(answer).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn take(&mut self, batch: v1::UsageBatch) -> Result<v1::UsageAck, Status> {
        if self.plane.nodes.is_revoked(self.node.id) {
            return Err(Status::permission_denied("this node was revoked"));
        }
        // Counted as the ledger counts: a boot that is no word, or a sequence beyond all bounds, would stand in its way for ever.
        let last_sequence =
            batch.first_sequence.checked_add(batch.events.len() as u64).map(|after| after.saturating_sub(1));
        let last_sequence = last_sequence.filter(|last| i64::try_from(*last).is_ok());
        let (true, Some(last_sequence)) = (is_boot(&batch.boot_id) && batch.events.len() <= MAX_EVENTS, last_sequence)
        else {
            return Err(Status::invalid_argument("batch has too many events, no boot id, or no such sequence"));
        };
        if let Err(error) = self.refresh_group().await {
            tracing::warn!(error = %runtime::telemetry::chain(&error), "usage cannot be booked now; the node keeps it");
            return Ok(retry(batch.boot_id));
        }
        let mut read =
            Read { boot: batch.boot_id, first: batch.first_sequence, last: last_sequence, ..Read::default() };
        for (event, sequence) in batch.events.into_iter().zip(batch.first_sequence..=last_sequence) {
            match self.read(event) {
                Ok(event) => {
                    read.events.push(event);
                    read.sequences.push(sequence);
                }
                Err(reason) => read.refused.push(v1::RefusedEvent { sequence, reason }),
            }
        }
        match self.book(&mut read).await {
            Ok(watermark) => {
                if !read.refused.is_empty() {
                    let (n_refused, first) = (read.refused.len(), &read.refused[0]);
                    tracing::warn!(node.id = %self.node.id, boot = read.boot, n_refused, sequence = first.sequence, reason = first.reason, "usage events that the ledger will never take were refused");
                    self.plane.cx.metrics.usage_refused.fetch_add(n_refused as u64, Ordering::Relaxed);
                }
                Ok(v1::UsageAck { boot_id: read.boot, watermark, refused: read.refused, retry_after_ms: None })
            }
            Err(error) => {
                tracing::error!(node.id = %self.node.id, error = %runtime::telemetry::chain(&error), "usage could not be booked; the node keeps it");
                Ok(retry(read.boot))
            }
        }
    }

    /// Books what could be read and returns the watermark. A batch that the database refuses is booked in halves, so that one event
    /// which nobody foresaw is refused by name and keeps no other.
    async fn book(&self, read: &mut Read) -> Result<u64, StoreError> {
        // Ranges of events that are not booked yet, the first of them last.
        let mut left: Vec<_> = std::iter::once(0..read.events.len()).collect();
        let (mut watermark, mut next) = (0, read.first);
        while let Some(range) = left.pop() {
            let last_sequence = if left.is_empty() { read.last } else { read.sequences[range.end - 1] };
            let batch = Batch {
                node_id: self.node.id,
                boot: &read.boot,
                first_sequence: next,
                last_sequence,
                events: &read.events[range.clone()],
                received_at: self.plane.cx.now(),
            };
            match store::usage::append(&self.plane.cx.store, &batch).await {
                Ok(appended) => {
                    if let Some((from, to)) = appended.missing {
                        tracing::error!(node.id = %self.node.id, boot = read.boot, from, to, "usage events {from}..={to} of a node never came");
                    }
                    let named = |(place, reason): &(usize, &'static str)| v1::RefusedEvent {
                        sequence: read.sequences[range.start + place],
                        reason: (*reason).to_owned(),
                    };
                    read.refused.extend(appended.refused.iter().map(named));
                    (watermark, next) = (appended.watermark, last_sequence.saturating_add(1));
                }
                Err(error) if error.is_of_data() && !range.is_empty() => {
                    let middle = range.start + range.len() / 2;
                    if range.len() == 1 {
                        let sequence = read.sequences[range.start];
                        tracing::error!(node.id = %self.node.id, sequence, error = %runtime::telemetry::chain(&error), "the database refuses a usage event");
                        read.refused.push(v1::RefusedEvent { sequence, reason: "the database refuses it".to_owned() });
                        left.push(range.end..range.end);
                    } else {
                        left.extend([middle..range.end, range.start..middle]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        read.refused.sort_by_key(|refused| refused.sequence);
        Ok(watermark)
    }

    async fn refresh_group(&mut self) -> Result<(), StoreError> {
        let mut tx = self.plane.cx.store.system().await?;
        if let Some(group) = store::nodes::find_group(&mut tx, self.group.id).await? {
            self.group = group;
        }
        Ok(())
    }

    fn read(&self, event: v1::UsageEvent) -> Result<UsageEvent, String> {
        let event = usage::decode(self.node.id, event).map_err(|error| error.to_string())?;
        if self.group.holds.includes(event.organization_id) {
            return Ok(event);
        }
        let cx = &self.plane.cx;
        if cx.denials.is_new(format!("{}|{}", self.node.id, event.organization_id), "usage.scope", cx.now()) {
            tracing::error!(node.id = %self.node.id, organization.id = %event.organization_id, "node reports usage of an organization outside its group; refused");
            let after = Some(serde_json::json!({ "organization_id": event.organization_id }).to_string());
            let audit = Audit { outcome: AuditOutcome::Denied, after, ..about("usage.scope", &self.node) };
            self.plane.audit(self.node.organization_id, self.node.id, audit);
        }
        Err("organization is outside of the node's group".to_owned())
    }
}
