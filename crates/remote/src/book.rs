//! What a batch used, into the ledger: one event for each of its models, at the rates for batches.
//!
//! Counted while the output is read, whoever reads it, and booked when all of it was read. The id of an event is made of the batch
//! and the model, so the ledger takes it once, however often and wherever the output is read. Invariant: an output that was not
//! read to its end books nothing; it is read again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use batch::facts::Facts;
use batch::object::{Progress, event_id};
use batch::output::{Answer, Form, Output};
use batch::shape::{self, What};
use domain::price::ServiceTier;
use domain::remote::{RemoteKind, RemoteObject};
use domain::usage::{
    AttemptOutcome, AttemptRecord, CacheUse, Endpoint, ModalUsage, Outcome, TokenUsage, UnitUsage, UsageEvent,
};
use domain::{NanoUsd, PriceId, Timestamp};
use http::{HeaderMap, Method};
use policy::snapshot::{CredentialUse, DeploymentPolicy, OrganizationPolicy};
use tokio::time::timeout;

use crate::calls::{Trouble, Upstream};
use crate::port::Host;
use crate::{Asking, Found};

/// After what time an event that was handed to the spool is surely on its disk: the mark that it is booked comes later, so that a
/// node that dies in between leaves the batch to be read again.
const ON_DISK: Duration = Duration::from_secs(10);
/// Longest silence of an upstream in the middle of an output.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one model of a batch used.
struct Sum {
    deployment: Arc<DeploymentPolicy>,
    usage: TokenUsage,
    modal: ModalUsage,
    units: UnitUsage,
    cost: NanoUsd,
    price: Option<PriceId>,
    is_estimated: bool,
    n_answers: u64,
}

/// Counts one output.
pub(crate) struct Tally {
    host: Arc<dyn Host>,
    organization: Arc<OrganizationPolicy>,
    object: RemoteObject,
    facts: Facts,
    ended_at: Timestamp,
    sums: Vec<Sum>,
}

impl Tally {
    /// Starts to count the output of a batch that is over.
    pub(crate) fn new(
        host: &Arc<dyn Host>,
        organization: &Arc<OrganizationPolicy>,
        (object, facts): (&RemoteObject, &Facts),
        progress: &Progress,
    ) -> Box<Self> {
        let sum = |model: &batch::Model| Sum {
            deployment: Arc::new(DeploymentPolicy {
                id: model.deployment,
                name: model.name.clone(),
                provider: object.provider.clone(),
                upstream_model: model.upstream.clone(),
                base_model: model.base.clone(),
                facts: None,
                quantization: None,
                // Nothing is sent with it.
                credential: CredentialUse::None,
                is_enabled: true,
            }),
            usage: TokenUsage::default(),
            modal: ModalUsage::default(),
            units: UnitUsage::default(),
            cost: NanoUsd::ZERO,
            price: None,
            is_estimated: false,
            n_answers: 0,
        };
        Box::new(Self {
            host: host.clone(),
            organization: organization.clone(),
            sums: facts.models.iter().map(sum).collect(),
            ended_at: ended_at(object, progress),
            object: object.clone(),
            facts: facts.clone(),
        })
    }

    /// Counts an answer.
    pub(crate) fn count(&mut self, mut answer: Answer) {
        let Some(sum) = self.sums.get_mut(answer.model) else { return };
        answer.found.tier = Some(ServiceTier::Batch);
        let bill = self.host.bill(&self.organization, &sum.deployment, &answer.found, self.ended_at);
        sum.usage = sum.usage.plus(bill.usage);
        sum.modal = sum.modal.plus(bill.modal);
        sum.units = sum.units.plus(bill.units);
        sum.cost = sum.cost.saturating_add(bill.cost);
        sum.price = bill.price.or(sum.price);
        sum.is_estimated |= bill.is_estimated;
        sum.n_answers += 1;
    }

    /// Books what was counted; the whole output was read.
    pub(crate) fn book(mut self: Box<Self>) {
        let mut is_kept = true;
        for at in 0..self.sums.len() {
            if self.sums[at].n_answers > 0 {
                let event = self.event(at);
                is_kept &= self.host.record(event);
            }
        }
        if !is_kept {
            tracing::warn!(batch = %self.object.id, "the usage spool is full; the batch is counted again later");
            return;
        }
        let (remotes, scope, id) = (self.host.store().clone(), self.object.scope, self.object.id);
        runtime::tasks::spawn("gateway.booked", async move {
            tokio::time::sleep(ON_DISK).await;
            if let Err(error) = remotes.settle(scope, id, None).await {
                // It stays due, and is counted again under the same ids.
                tracing::debug!(error = runtime::telemetry::chain(&error), "a booked batch could not be marked");
            }
        });
    }

    fn event(&mut self, at: usize) -> UsageEvent {
        let (object, model, sum) = (&self.object, &self.facts.models[at], &self.sums[at]);
        let attempt = AttemptRecord {
            n: 1,
            deployment_id: model.deployment,
            credential_id: Some(object.credential),
            provider: object.provider.clone(),
            upstream_model: model.upstream.clone(),
            started_at: self.ended_at,
            duration_us: 0,
            first_byte_us: None,
            outcome: AttemptOutcome::Success,
            status: Some(200),
            upstream_request_id: None,
            usage: sum.usage,
            modal: (!sum.modal.is_empty()).then(|| Box::new(sum.modal)),
            units: sum.units,
            // A batch may hold pictures of several kinds.
            image: None,
            cost: sum.cost,
        };
        let named = match object.kind {
            RemoteKind::MessageBatch => batch::ids::Named::MessageBatch(object.id),
            RemoteKind::File | RemoteKind::Batch => batch::ids::Named::Batch(object.id),
        };
        UsageEvent {
            id: event_id(object.id, at, self.ended_at),
            organization_id: object.scope.organization,
            workspace_id: object.scope.workspace,
            environment_id: object.scope.environment,
            virtual_key_id: object.virtual_key,
            node_id: self.host.node(),
            endpoint: Endpoint::Batches,
            model: model.name.clone(),
            route_id: None,
            deployment_id: Some(model.deployment),
            provider: Some(object.provider.clone()),
            upstream_model: Some(model.upstream.clone()),
            is_stream: false,
            outcome: Outcome::Success,
            status: 200,
            code: None,
            finish_reason: None,
            started_at: self.ended_at,
            duration_us: 0,
            first_byte_us: None,
            overhead_us: 0,
            usage: sum.usage,
            units: sum.units,
            is_estimated: sum.is_estimated,
            is_unmetered: false,
            cost: sum.cost,
            price_id: sum.price,
            cache: CacheUse::default(),
            policy_revision: self.organization.revision,
            end_user: None,
            conversation_id: None,
            trace_id: None,
            metadata: vec![
                ("headgate.batch".to_owned(), named.to_string()),
                ("headgate.calls".to_owned(), sum.n_answers.to_string()),
            ],
            routing: None,
            tags: Vec::new(),
            dropped: Vec::new(),
            attempts: vec![attempt],
            // Hard budgets admit no batches.
            charges: Vec::new(),
            is_by_old_secret: false,
        }
    }
}

/// When a batch was over, as its upstream says: the same for whoever asks. What cannot be is taken for the time it was made.
pub(crate) fn ended_at(object: &RemoteObject, progress: &Progress) -> Timestamp {
    let earliest = object.created_at.minus(Duration::from_secs(86_400));
    let said = progress.ended_at.filter(|at| (earliest..=object.expires_at).contains(at));
    said.unwrap_or(object.created_at)
}

/// Reads the output of a batch that is over, to count and book it. Nothing is left to do when there is none.
pub(crate) async fn read_through(
    upstream: &Upstream,
    object: &RemoteObject,
    progress: &Progress,
    mut tally: Box<Tally>,
) -> Result<(), Trouble> {
    let Some(output) = &progress.output else {
        tally.book();
        return Ok(());
    };
    let what = match object.kind {
        RemoteKind::MessageBatch => What::Results(&object.upstream_id),
        RemoteKind::File | RemoteKind::Batch => What::Content(output),
    };
    let below = shape::path(upstream.form(), what);
    let mut lines = Output::new(Form::of(upstream.form()), tally.facts.clone(), tally.ended_at);
    let (_, mut answer) = upstream.open(Method::GET, &below, &HeaderMap::new(), None).await?.into_parts();
    loop {
        let chunk = timeout(PATIENCE, poll_fn(|cx| answer.poll_chunk(cx))).await.map_err(|_| Trouble::TimedOut)?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| Trouble::Broken)?;
        lines.push(&chunk, &mut |answer| tally.count(answer)).map_err(|_| Trouble::Broken)?;
    }
    lines.finish(&mut |answer| tally.count(answer));
    tally.book();
    Ok(())
}

/// Books a batch whose output is about to go.
pub(crate) async fn surely(asking: &Asking<'_>, found: &Found, progress: &Progress) -> Result<(), Trouble> {
    if !progress.is_over || found.object.booked_at.is_some() {
        return Ok(());
    }
    let of = (&found.object, &found.facts);
    let tally = Tally::new(asking.host, asking.caller.organization, of, progress);
    read_through(&found.upstream, &found.object, progress, tally).await
}
