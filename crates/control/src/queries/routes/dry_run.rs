//! What an unsaved route would have done with the last requests, by the planning that nodes use.
//!
//! Looks only: nothing is sent upstream and nothing is kept. Costs are those of the same tokens at the standard prices in force
//! now; what cannot be compared is left out of both sides.

use std::collections::{BTreeMap, BTreeSet};

use api::ops::routes::{
    DryRun, DryRunReport, DryRunRoute, DryRunRow, DryRunShare, DryRunTarget, DryRunUnknown, NewRoute,
};
use api::ops::usage::SkippedView;
use domain::code::GatewayCode;
use domain::deployment::Deployment;
use domain::page::Limit;
use domain::route::{Route, Unknown};
use domain::usage::{AttemptOutcome, AttemptRecord, UsageEvent};
use domain::virtual_key::VirtualKey;
use domain::{DeploymentId, NanoUsd, OrganizationId, RouteId, Timestamp, VirtualKeyId, WorkspaceId};
use policy::dry_run::{Trial, draft, is_routed, try_on};
use policy::resource::{self, Price};
use policy::snapshot::{DeploymentPolicy, ModelPolicy, PriceBook};
use provider::pricing;
use store::Tx;
use store::usage::RequestFilter;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// How many requests are looked at unless told, and at most.
const USUAL: u16 = 200;
const MOST: u16 = 1_000;
/// Plans over all requests: enough that shares are true to about a hundredth, few enough to answer at once.
const DRAWS: u16 = 8_192;
/// Pages that are read in search of requests that a route may serve.
const MAX_PAGES: u16 = 20;

/// Says what a route would have done.
pub async fn dry_run(call: Call<DryRunRoute>) -> Outcome<Reply<DryRunReport>> {
    let workspace = call.workspace()?;
    let last = call.body.last.unwrap_or(USUAL);
    if !(1..=MOST).contains(&last) {
        return Err(Failure::invalid("/last", format!("use 1 to {MOST}")));
    }
    let mut tx = call.read().await?;
    let route = unsaved(&call.body.route, call.organization()?, workspace, call.now());
    let deployments = super::check(&mut tx, workspace, route.document()).await.map_err(below_route)?;
    let model = compile(&mut tx, &route, &deployments).await?;
    let prices = prices(&mut tx, &deployments).await?;
    let events = events(&mut tx, workspace, &call.body, last).await?;
    let keys = keys(&mut tx, &events).await?;
    drop(tx);
    let draws = (DRAWS / u16::try_from(events.len().max(1)).unwrap_or(MOST)).clamp(8, 512);
    let mut run = Run { model, prices, keys, now: call.now(), draws, report: blank(), shares: BTreeMap::new() };
    for (turn, event) in (0..).zip(&events) {
        run.take(event, turn);
        // A thousand requests over a wide tree are some milliseconds; others are served meanwhile.
        tokio::task::yield_now().await;
    }
    Ok(Reply::new(run.finish()))
}

/// The route is one field of the body, so what is wrong with it lies below that field.
fn below_route(failure: Failure) -> Failure {
    match failure {
        Failure::Problem(mut problem) => {
            for field in &mut problem.fields {
                field.pointer = format!("/route{}", field.pointer);
            }
            Failure::Problem(problem)
        }
        other => other,
    }
}

fn unsaved(new: &NewRoute, organization_id: OrganizationId, workspace_id: WorkspaceId, now: Timestamp) -> Route {
    Route {
        id: RouteId::from_uuid(0),
        organization_id,
        workspace_id,
        name: new.name.clone(),
        targets: new.targets.clone(),
        tree: new.tree.clone(),
        max_attempts: new.max_attempts.unwrap_or(Route::DEFAULT_ATTEMPTS),
        timeouts: new.timeouts.unwrap_or_default(),
        rules: new.rules.clone().unwrap_or_default(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    }
}

async fn compile(tx: &mut Tx, route: &Route, deployments: &[Deployment]) -> Outcome<ModelPolicy> {
    let ids: BTreeSet<_> = deployments.iter().filter_map(|deployment| deployment.credential_id).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut credentials = store::credentials::load(tx, Some(&ids)).await?;
    credentials.retain(|credential| credential.archived_at.is_none());
    let credentials: Vec<resource::Credential> = credentials.iter().map(Into::into).collect();
    let deployments: Vec<resource::Deployment> = deployments.iter().map(Into::into).collect();
    Ok(draft(&route.into(), &deployments, &credentials))
}

async fn prices(tx: &mut Tx, deployments: &[Deployment]) -> Outcome<PriceBook> {
    let named = deployments.iter().map(|it| (it.provider.as_str(), it.upstream_model.as_str()));
    let models: BTreeSet<_> = named.chain(deployments.iter().map(Deployment::known_as)).collect();
    let mut prices: Vec<Price> = Vec::new();
    for (provider, upstream_model) in models {
        let versions = store::prices::list_by_model(tx, provider, upstream_model).await?;
        prices.extend(versions.iter().map(Price::from));
    }
    Ok(PriceBook::new(prices))
}

/// Reads the newest requests that a route may serve.
async fn events(tx: &mut Tx, workspace: WorkspaceId, asked: &DryRun, last: u16) -> Outcome<Vec<UsageEvent>> {
    let filter = RequestFilter { model: asked.model.clone(), ..RequestFilter::default() };
    let limit = Limit::new(last.min(Limit::MAX)).unwrap_or_default();
    let (mut found, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = store::usage::list(tx, workspace, &filter, cursor.as_ref(), limit).await?;
        found.extend(page.items.into_iter().filter(|event| is_routed(event.endpoint)));
        cursor = page.next_cursor;
        if cursor.is_none() || found.len() >= usize::from(last) {
            break;
        }
    }
    found.truncate(usize::from(last));
    Ok(found)
}

async fn keys(tx: &mut Tx, events: &[UsageEvent]) -> Outcome<BTreeMap<VirtualKeyId, VirtualKey>> {
    let ids: BTreeSet<_> = events.iter().map(|event| event.virtual_key_id).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    Ok(store::virtual_keys::load(tx, Some(&ids)).await?.into_iter().map(|key| (key.id, key)).collect())
}

const fn blank() -> DryRunReport {
    DryRunReport {
        requests: 0,
        refused: 0,
        targets: Vec::new(),
        compared: 0,
        paid_usd: NanoUsd::ZERO,
        cost_usd: NanoUsd::ZERO,
        unknown: Vec::new(),
        rows: Vec::new(),
    }
}

/// Sums by deployment.
#[derive(Default)]
struct Sum {
    was_first: u64,
    draws: u64,
    cost: i64,
}

/// A dry run under way.
struct Run {
    model: ModelPolicy,
    prices: PriceBook,
    keys: BTreeMap<VirtualKeyId, VirtualKey>,
    now: Timestamp,
    draws: u16,
    report: DryRunReport,
    shares: BTreeMap<DeploymentId, Sum>,
}

impl Run {
    /// Tries the route on one request.
    fn take(&mut self, event: &UsageEvent, turn: u64) {
        let was_first = event.attempts.first().map(|attempt| attempt.deployment_id);
        if let Some(id) = was_first {
            self.shares.entry(id).or_default().was_first += 1;
        }
        let cost = |deployment: &DeploymentPolicy, usage| {
            let price = self.prices.find_for(deployment, self.now)?;
            let tokens = pricing::cost(usage, &price.rates, &price.long_context).total();
            let units = answered(event).map_or(NanoUsd::ZERO, |answer| unit_cost(price, answer));
            u64::try_from(tokens.saturating_add(units).as_nanos()).ok()
        };
        let trial = try_on(&self.model, event, &cost, self.draws, turn);
        let refused = self.refusal(event, &trial);
        let is_refused = refused.is_some();
        let mut row = DryRunRow {
            request_id: event.id,
            started_at: event.started_at,
            endpoint: event.endpoint,
            model: event.model.clone(),
            is_stream: event.is_stream,
            was_first,
            refused: refused.map(|code| code.as_str().to_owned()),
            first: Vec::new(),
            order: Vec::new(),
            skipped: Vec::new(),
            paid_usd: event.cost,
            cost_usd: None,
            unknown: trial.unknown.clone(),
        };
        if !is_refused {
            self.place(event, &trial, &mut row);
        }
        self.note(&trial.unknown);
        self.report.requests += 1;
        self.report.refused += u64::from(is_refused);
        self.report.rows.push(row);
    }

    /// Returns why the route would refuse a request.
    fn refusal(&self, event: &UsageEvent, trial: &Trial) -> Option<GatewayCode> {
        let is_allowed = |key: &VirtualKey| resource::VirtualKey::from(key).allows(&self.model.name);
        if self.keys.get(&event.virtual_key_id).is_some_and(|key| !is_allowed(key)) {
            return Some(GatewayCode::ModelNotAllowed);
        }
        trial.plan.is_empty().then_some(GatewayCode::NoHealthyTarget)
    }

    fn id_of(&self, slot: usize) -> Option<DeploymentId> {
        self.model.targets.get(slot).map(|target| target.deployment.id)
    }

    /// Writes down where a request would go, and what that would cost.
    fn place(&mut self, event: &UsageEvent, trial: &Trial, row: &mut DryRunRow) {
        let slots = 0..u8::try_from(self.model.targets.len()).unwrap_or(u8::MAX);
        row.order = trial.plan.slots().iter().filter_map(|slot| self.id_of(usize::from(*slot))).collect();
        row.skipped = slots
            .filter_map(|slot| {
                let (reason, id) = (trial.plan.skip(slot)?, self.id_of(usize::from(slot))?);
                Some(SkippedView { deployment_id: id, reason })
            })
            .collect();
        let firsts: Vec<(DeploymentId, u16, Option<i64>)> = trial
            .firsts()
            .filter_map(|(slot, n)| {
                let target = self.model.targets.get(slot)?;
                let cost = answered(event).and_then(|attempt| self.cost(&target.deployment, attempt));
                Some((target.deployment.id, n, cost.map(|cost| cost.saturating_mul(i64::from(n)))))
            })
            .collect();
        let draws = i64::from(self.draws);
        row.first = firsts
            .iter()
            .map(|(id, n, _)| DryRunShare {
                deployment_id: *id,
                permille: permille(u64::from(*n), u64::from(self.draws)),
            })
            .collect();
        let whole: Option<Vec<i64>> = firsts.iter().map(|(.., cost)| Some(cost.as_ref()? / draws)).collect();
        for (id, n, _) in &firsts {
            self.shares.entry(*id).or_default().draws += u64::from(*n);
        }
        let Some(parts) = whole else { return };
        for ((id, ..), cost) in firsts.iter().zip(&parts) {
            self.shares.entry(*id).or_default().cost += cost;
        }
        let cost = NanoUsd::from_nanos(parts.iter().sum());
        row.cost_usd = Some(cost);
        self.report.compared += 1;
        self.report.cost_usd = self.report.cost_usd.saturating_add(cost);
        self.report.paid_usd = self.report.paid_usd.saturating_add(event.cost);
    }

    /// Returns what the answer that was given would have cost at a deployment; `None` without a price.
    fn cost(&self, deployment: &DeploymentPolicy, answer: &AttemptRecord) -> Option<i64> {
        let price = self.prices.find_for(deployment, self.now)?;
        let (usage, modal) = (answer.usage, answer.modal.as_deref().copied().unwrap_or_default());
        let tokens = pricing::modal_cost(usage, modal, &price.rates, &price.long_context).total();
        Some(tokens.saturating_add(unit_cost(price, answer)).as_nanos())
    }

    fn note(&mut self, unknown: &[Unknown]) {
        for fact in unknown {
            match self.report.unknown.iter_mut().find(|known| known.fact == *fact) {
                Some(known) => known.requests += 1,
                None => self.report.unknown.push(DryRunUnknown { fact: *fact, requests: 1 }),
            }
        }
    }

    fn finish(mut self) -> DryRunReport {
        for target in &self.model.targets {
            self.shares.entry(target.deployment.id).or_default();
        }
        let all = self.report.requests.saturating_mul(u64::from(self.draws));
        let target = |(id, sum): (&DeploymentId, &Sum)| DryRunTarget {
            deployment_id: *id,
            was_first: sum.was_first,
            first_permille: permille(sum.draws, all),
            cost_usd: NanoUsd::from_nanos(sum.cost),
        };
        self.report.targets = self.shares.iter().map(target).collect();
        self.report.targets.sort_by_key(|it| std::cmp::Reverse((it.first_permille, it.was_first)));
        self.report.unknown.sort_by_key(|it| it.fact);
        self.report
    }
}

/// Returns what an answer would have cost beside its tokens.
fn unit_cost(price: &Price, answer: &AttemptRecord) -> NanoUsd {
    let rates = pricing::unit_rates(price.rates.units, &price.images, answer.image.as_deref());
    pricing::unit_cost(answer.units, &rates)
}

/// The attempt that answered, when what it used is known and was paid for.
fn answered(event: &UsageEvent) -> Option<&AttemptRecord> {
    if event.is_unmetered || event.cache.is_reused() {
        return None;
    }
    event.attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Success)
}

fn permille(part: u64, whole: u64) -> u16 {
    u16::try_from((part.saturating_mul(1_000) + whole / 2).checked_div(whole).unwrap_or(0)).unwrap_or(1_000)
}
