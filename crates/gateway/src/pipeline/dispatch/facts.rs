//! What a route may know: the call, from its head, notes and scan, and the deployments, from this node's own observation.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::route::Dropped;
use domain::{BudgetId, DeploymentId, Timestamp};
use http::HeaderMap;
use ingress::admit::Notes;
use ingress::choice::{Choice, Choosing};
use policy::facts::{hash, usual_use};
use policy::plan::Wish;
use policy::snapshot::{DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use policy::{Asked, Facts, Health, Load, Plan, Signals};
use provider::scan::{Proofs, Scan};
use provider::task::Likely;
use provider::{Operation, estimate};
use serde_json::value::RawValue;
use upstream::health::Health as Targets;

use crate::pipeline::resolve::Wanted;
use crate::pipeline::settle::Meter;
use crate::pipeline::{Worker, budget};

/// What a client of responses asks to be given.
const SEALED: &[u8] = b"\"reasoning.encrypted_content\"";

/// One call asking for a plan.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    worker: &'a Worker,
    meter: &'a Meter,
    /// What is to serve; known while a plan is made.
    serving: Option<&'a ModelPolicy>,
    headers: &'a HeaderMap,
    notes: &'a Notes,
    scan: &'a Scan,
    model: &'a str,
    at: Timestamp,
    organization: &'a OrganizationPolicy,
    targets: &'a Targets,
    choice: Option<&'a Choice>,
    body: &'a [u8],
    /// `None` for a session.
    operation: Option<Operation>,
}

impl<'a> Asking<'a> {
    pub(super) fn of(
        worker: &'a Worker,
        organization: &'a OrganizationPolicy,
        headers: &'a HeaderMap,
        wanted: &'a Wanted,
        meter: &'a Meter,
    ) -> Self {
        Self {
            worker,
            meter,
            serving: None,
            headers,
            notes: &meter.notes,
            scan: &wanted.scan,
            model: &meter.model,
            at: meter.started_at,
            organization,
            targets: &worker.shared.health,
            choice: wanted.choice.as_deref(),
            body: &wanted.body,
            operation: Some(wanted.surface.operation()),
        }
    }

    /// A call whose body is yet to be said, such as a session.
    pub(super) fn bare(
        worker: &'a Worker,
        organization: &'a OrganizationPolicy,
        headers: &'a HeaderMap,
        scan: &'a Scan,
        meter: &'a Meter,
    ) -> Self {
        Self {
            worker,
            meter,
            serving: None,
            headers,
            notes: &meter.notes,
            scan,
            model: &meter.model,
            at: meter.started_at,
            organization,
            targets: &worker.shared.health,
            choice: None,
            body: &[],
            operation: None,
        }
    }

    /// Makes the plan of a model.
    pub(super) fn plan(&self, model: &ModelPolicy, seed: u64) -> Plan {
        // Sound is measured and forms are read for it, so only where prices are compared.
        let likely = LazyCell::new(|| self.likely());
        let known = Known {
            at: self.at,
            slow_start: model.rules.slow_start,
            targets: self.targets,
            price: Some((self.organization, &likely)),
        };
        let facts = Asking { serving: Some(model), ..*self };
        let (organization, at, choice) = (self.organization, self.at, self.choice);
        // Where there is nothing to choose, the translation says what is lost.
        let proofs = if model.targets.len() > 1 { self.scan.proofs } else { Proofs::default() };
        let refuses =
            model.rules.dropped == Dropped::Refused || choice.is_some_and(|choice| choice.requires_parameters);
        let is_asked = choice.is_some() || !proofs.is_empty();
        let choosing = is_asked.then_some(Choosing { choice, proofs, refuses, organization, at, likely: &likely });
        let wish = choosing.as_ref().map(|choosing| choosing as &dyn Wish);
        let turn = if model.tree.has_turns() { model.turns.fetch_add(1, Ordering::Relaxed) } else { 0 };
        policy::plan(model, &Asked { facts: &facts, signals: &known, wish, seed, turn })
    }

    /// What the call is taken to use, wherever it goes.
    fn likely(&self) -> Likely {
        let text = usual_use(self.input_tokens(), self.max_tokens());
        self.operation.map_or_else(|| Likely::text(text), |it| Likely::of(it, text, self.scan, self.body))
    }
}

/// Who said a message.
#[derive(serde::Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

impl Facts for Asking<'_> {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn model(&self) -> &str {
        self.model
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        self.notes.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn has_tag(&self, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        self.notes.tags.iter().any(|tag| is_wanted(tag))
    }

    fn user(&self) -> Option<&str> {
        self.notes.end_user.as_deref().or_else(|| self.scan.user.as_ref().map(|user| user.value.as_str()))
    }

    fn conversation(&self) -> Option<&str> {
        let key = || std::str::from_utf8(self.scan.prompt_cache_key?.of(self.body)).ok();
        self.notes.conversation_id.as_deref().or_else(key)
    }

    fn prefix(&self) -> Option<u64> {
        let system = self.scan.system.map_or(0, |span| hash(span.of(self.body)));
        let messages = self.scan.messages.or(self.scan.input)?.of(self.body);
        // Until the first message of the user: what every later call of the conversation begins with.
        let Ok(list) = serde_json::from_slice::<Vec<&RawValue>>(messages) else { return Some(system ^ hash(messages)) };
        let mut all = system;
        for message in list {
            all = all.rotate_left(1) ^ hash(message.get().as_bytes());
            if serde_json::from_str::<Spoken<'_>>(message.get()).is_ok_and(|it| it.role == "user") {
                break;
            }
        }
        Some(all)
    }

    fn is_bound(&self) -> bool {
        // A client that asks for encrypted reasoning is going to send it back.
        let asks = || self.scan.input.is_some() && memchr::memmem::find(self.body, SEALED).is_some();
        self.scan.proofs.has(Proofs::OPENAI) || asks()
    }

    fn is_stream(&self) -> bool {
        self.scan.is_stream()
    }

    fn has_tools(&self) -> bool {
        self.scan.has_tools()
    }

    fn has_images(&self) -> bool {
        self.scan.has_images()
    }

    fn has_schema(&self) -> bool {
        self.scan.response_format.is_some()
    }

    fn max_tokens(&self) -> Option<u64> {
        self.scan.output_cap()
    }

    fn input_tokens(&self) -> u64 {
        estimate::input_guess(self.scan)
    }

    fn parameter(&self, path: &str) -> Option<String> {
        ingress::parameter::read(self.body, path)
    }

    fn budget_left(&self, budget: Option<BudgetId>) -> Option<u8> {
        let targets = self.serving?.targets.iter().map(|target| &*target.deployment);
        budget::left(self.worker, self.organization, self.meter, targets, budget)
    }
}

/// What this node knows of deployments.
pub(crate) struct Known<'a> {
    pub(crate) at: Timestamp,
    pub(crate) slow_start: Duration,
    pub(crate) targets: &'a Targets,
    /// Whose prices, for which use.
    pub(crate) price: Option<(&'a OrganizationPolicy, &'a dyn Deref<Target = Likely>)>,
}

impl Signals for Known<'_> {
    fn health(&self, id: DeploymentId) -> Health {
        self.targets.look(id, |target| target.state(self.at, self.slow_start)).unwrap_or(Health::Fit)
    }

    fn load(&self, id: DeploymentId) -> Load {
        self.targets.look(id, |target| target.load.read(self.at)).unwrap_or_default()
    }

    fn cost(&self, deployment: &DeploymentPolicy) -> Option<u64> {
        let (organization, likely) = self.price?;
        let price = organization.price(deployment, self.at)?;
        let cost = likely.cost(&price.rates, &price.long_context, &price.images);
        u64::try_from(cost.as_nanos()).ok()
    }
}
