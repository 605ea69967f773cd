//! Usage from nodes into the ledger: exactly once, whatever is sent how often.
//!
//! A batch is booked in one transaction and then acknowledged by watermark. Events that can never be booked (unreadable, of an
//! organization outside the node's group, absurd) are refused by name, so that they do not block what follows; when the database
//! is away nothing is acknowledged and the node keeps its spool.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use domain::audit::{Audit, AuditOutcome};
use domain::node::{Node, NodeGroup};
use policy::wire::usage;
use proto::v1;
use proto::v1::usage_ingest_server::UsageIngest;
use store::usage::Batch;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::sync::{Plane, about};

/// Events in one batch.
const MAX_EVENTS: usize = 5_000;
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
        if batch.events.len() > MAX_EVENTS || batch.boot_id.is_empty() || batch.boot_id.len() > 64 {
            return Err(Status::invalid_argument("batch has too many events or no boot id"));
        }
        let last_sequence = batch.first_sequence.saturating_add(batch.events.len() as u64).saturating_sub(1);
        let retry = |boot_id: String| v1::UsageAck {
            boot_id,
            watermark: 0,
            refused: Vec::new(),
            retry_after_ms: Some(RETRY_AFTER_MS),
        };
        if let Err(error) = self.refresh_group().await {
            tracing::warn!(error = %runtime::telemetry::chain(&error), "usage cannot be booked now; the node keeps it");
            return Ok(retry(batch.boot_id));
        }
        let (mut events, mut refused, mut sequences) =
            (Vec::with_capacity(batch.events.len()), Vec::new(), HashMap::new());
        for (event, sequence) in batch.events.into_iter().zip(batch.first_sequence..) {
            match self.read(event) {
                Ok(event) => {
                    sequences.insert(event.id, sequence);
                    events.push(event);
                }
                Err(reason) => refused.push(v1::RefusedEvent { sequence, reason }),
            }
        }
        let booking = Batch {
            node_id: self.node.id,
            boot: &batch.boot_id,
            first_sequence: batch.first_sequence,
            last_sequence,
            events: &events,
            received_at: self.plane.cx.now(),
        };
        match store::usage::append(&self.plane.cx.store, &booking).await {
            Ok(appended) => {
                if let Some((from, to)) = appended.missing {
                    tracing::error!(node.id = %self.node.id, boot = batch.boot_id, from, to, "usage events {from}..={to} of a node never came");
                }
                let named = |(id, reason): &(domain::RequestId, &'static str)| v1::RefusedEvent {
                    sequence: sequences.get(id).copied().unwrap_or(0),
                    reason: (*reason).to_owned(),
                };
                refused.extend(appended.refused.iter().map(named));
                Ok(v1::UsageAck {
                    boot_id: batch.boot_id,
                    watermark: appended.watermark,
                    refused,
                    retry_after_ms: None,
                })
            }
            Err(error) => {
                tracing::error!(node.id = %self.node.id, error = %runtime::telemetry::chain(&error), "usage could not be booked; the node keeps it");
                Ok(retry(batch.boot_id))
            }
        }
    }

    async fn refresh_group(&mut self) -> Result<(), store::StoreError> {
        let mut tx = self.plane.cx.store.system().await?;
        if let Some(group) = store::nodes::find_group(&mut tx, self.group.id).await? {
            self.group = group;
        }
        Ok(())
    }

    fn read(&self, event: v1::UsageEvent) -> Result<domain::usage::UsageEvent, String> {
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
