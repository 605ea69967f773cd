//! Billing calls anew by another price. What was booked stays; the difference is posted beside it, once.
//!
//! What a call should cost is found from what it used, so repeating it finds no difference. A call is billed anew only when the price
//! that it was billed by explains what it cost: then the same tier of service is taken of the new one. Invariant: after it, what was
//! posted for a call is what the new price says.

use api::ops::ledger::{Rerate, RerateReport, RerateRequest};
use domain::image::find_rate;
use domain::price::{PriceSource, PriceVersion, TierRates, UnitRates};
use domain::usage::{AttemptRecord, UsageEvent};
use domain::{DeploymentId, NanoUsd, RequestId, Timestamp};
use provider::pricing;
use store::Tx;
use store::ledger::Adjustment;
use store::usage::Billed;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Calls that are looked at in one request.
const MOST: usize = 10_000;
/// Calls that are read at once.
const PAGE: u16 = 500;
/// Longest reason, in characters.
const MAX_REASON: usize = 1_000;

/// Bills calls anew by another price of their model.
pub async fn rerate(call: Call<Rerate>) -> Outcome<Reply<RerateReport>> {
    check(&call.body, call.now())?;
    if call.body.is_dry_run {
        let mut tx = call.read().await?;
        return Ok(Reply::new(plan(&mut tx, &call.body).await?.report));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let Plan { price, report, differences } = plan(&mut write, &call.body).await?;
    let reason = call.body.reason.trim();
    let adjustments: Vec<Adjustment<'_>> = differences
        .iter()
        .map(|it| Adjustment { event: &it.event, n: it.n, provider: &it.provider, amount: it.amount })
        .collect();
    store::ledger::adjust(&mut write, &permit, &adjustments, (price.id, reason), call.now()).await?;
    let subject = Subject::new("price", price.id, format!("{}/{}", price.provider, price.upstream_model));
    write.audit(subject.changed("ledger.rerate", &call.body, &report));
    write.commit(report).await
}

fn check(body: &RerateRequest, now: Timestamp) -> Outcome<()> {
    if body.to > now {
        return Err(Failure::unacceptable(
            "/to",
            "must not be in the future: what is to come is billed by the price book",
        ));
    }
    if body.from >= body.to {
        return Err(Failure::unacceptable("/from", "must be before `to`"));
    }
    let reason = body.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Failure::unacceptable("/reason", format!("say why, in at most {MAX_REASON} characters")));
    }
    Ok(())
}

/// A call that costs something else than was posted for it.
struct Different {
    event: UsageEvent,
    n: u32,
    provider: String,
    amount: NanoUsd,
}

struct Plan {
    price: PriceVersion,
    report: RerateReport,
    differences: Vec<Different>,
}

async fn plan(tx: &mut Tx, body: &RerateRequest) -> Outcome<Plan> {
    let unknown = || Failure::unacceptable("/price_id", "there is no such price in this organization's price book");
    let price = store::prices::load(tx, Some(&[body.price_id])).await?.pop().ok_or_else(unknown)?;
    let versions = store::prices::list_by_model(tx, &price.provider, &price.upstream_model).await?;
    let through = being(tx, &price).await?;
    let model = Rated { price: &price, versions: &versions, through: &through };
    let (mut report, mut differences) = (RerateReport::default(), Vec::new());
    let mut after = body.after;
    loop {
        let (provider, upstream_model) = (price.provider.as_str(), price.upstream_model.as_str());
        let which = Billed { provider, upstream_model, through: &through, from: body.from, to: body.to };
        let events = store::usage::list_billed(tx, which, after, PAGE).await?;
        let ids: Vec<RequestId> = events.iter().map(|event| event.id).collect();
        let posted = store::ledger::posted(tx, &ids, (&price.provider, &price.upstream_model)).await?;
        let is_last = events.len() < usize::from(PAGE);
        for event in events {
            after = Some(event.id);
            let (adjusted, n) = posted.get(&event.id).map_or((NanoUsd::ZERO, 0), |it| (it.adjusted, it.next));
            if let Some((provider, amount)) = model.look(&mut report, &event, adjusted) {
                differences.push(Different { event, n, provider, amount });
            }
        }
        if is_last {
            break;
        }
        if usize::try_from(report.requests).unwrap_or(usize::MAX) >= MOST {
            report.next_after = after;
            break;
        }
    }
    Ok(Plan { price, report, differences })
}

/// Returns the deployments that are said to be a model, whatever their upstreams call it.
async fn being(tx: &mut Tx, price: &PriceVersion) -> Outcome<Vec<DeploymentId>> {
    let model = (price.provider.as_str(), price.upstream_model.as_str());
    let all = store::deployments::load(tx, None).await?;
    Ok(all.iter().filter(|it| it.base_model.is_some() && it.known_as() == model).map(|it| it.id).collect())
}

/// A model whose calls are billed anew.
struct Rated<'a> {
    price: &'a PriceVersion,
    versions: &'a [PriceVersion],
    /// Deployments that are it under another name.
    through: &'a [DeploymentId],
}

impl Rated<'_> {
    /// Takes a call into the report, and returns what it costs more or less than was posted, and at whom.
    fn look(&self, report: &mut RerateReport, event: &UsageEvent, adjusted: NanoUsd) -> Option<(String, NanoUsd)> {
        report.requests += 1;
        let booked: NanoUsd = self.attempts(event).map(|attempt| attempt.cost).sum();
        let before = booked.saturating_add(adjusted);
        let provider = &self.attempts(event).next()?.provider;
        // What was adjusted before is not known by provider.
        let is_one = self.attempts(event).all(|attempt| attempt.provider == *provider);
        let new = |attempt| anew(event, attempt, self.price, self.versions);
        let Some(after) = self.attempts(event).map(new).sum::<Option<NanoUsd>>().filter(|_| is_one) else {
            report.unexplained += 1;
            return None;
        };
        report.before_usd = report.before_usd.saturating_add(before);
        report.after_usd = report.after_usd.saturating_add(after);
        let amount = NanoUsd::from_nanos(after.as_nanos().saturating_sub(before.as_nanos()));
        report.changed += u64::from(amount != NanoUsd::ZERO);
        (amount != NanoUsd::ZERO).then(|| (provider.clone(), amount))
    }

    fn attempts<'a>(&'a self, event: &'a UsageEvent) -> impl Iterator<Item = &'a AttemptRecord> {
        let is_named =
            |it: &AttemptRecord| it.provider == self.price.provider && it.upstream_model == self.price.upstream_model;
        event.attempts.iter().filter(move |it| is_named(it) || self.through.contains(&it.deployment_id))
    }
}

/// What an attempt costs by a price; `None` when it was billed in a way that the price of its time does not explain.
fn anew(
    event: &UsageEvent,
    attempt: &AttemptRecord,
    price: &PriceVersion,
    versions: &[PriceVersion],
) -> Option<NanoUsd> {
    let Some(old) = billed_by(event, attempt, versions) else {
        return (attempt.cost == NanoUsd::ZERO).then(|| bill(attempt, price, None));
    };
    let mut tiers = std::iter::once(None).chain(old.tiers.iter().map(Some));
    let tier = tiers.find(|tier| bill(attempt, old, *tier) == attempt.cost)?;
    let tier = tier.and_then(|tier| price.tiers.iter().find(|it| it.tier == tier.tier));
    Some(bill(attempt, price, tier))
}

/// The price that the event names, or the one that held when the attempt was sent.
fn billed_by<'a>(
    event: &UsageEvent,
    attempt: &AttemptRecord,
    versions: &'a [PriceVersion],
) -> Option<&'a PriceVersion> {
    let named = versions.iter().find(|version| Some(version.id) == event.price_id);
    let held = || {
        let held = versions.iter().filter(|version| version.effective_at <= attempt.started_at);
        held.max_by_key(|version| (version.source == PriceSource::Own, version.effective_at, version.id))
    };
    named.or_else(held)
}

/// Bills as a node does.
fn bill(attempt: &AttemptRecord, price: &PriceVersion, tier: Option<&TierRates>) -> NanoUsd {
    let (rates, long_context) =
        tier.map_or((&price.rates, &price.long_context), |tier| (&tier.rates, &tier.long_context));
    let modal = attempt.modal.as_deref().copied().unwrap_or_default();
    let tokens = pricing::modal_cost(attempt.usage, modal, rates, long_context).total();
    let units = if rates.units.is_empty() { price.rates.units } else { rates.units };
    let kind = attempt.image.as_deref().filter(|_| tier.is_none_or(|tier| tier.rates.units.image.is_none()));
    let of_kind = kind.and_then(|kind| find_rate(&price.images, kind));
    tokens.saturating_add(pricing::unit_cost(attempt.units, &UnitRates { image: of_kind.or(units.image), ..units }))
}
