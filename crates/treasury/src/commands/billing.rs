//! Money entered by hand, and what is added to prices on bills. Both are facts: put right by another, never changed.

use api::ops::billing::{EnterIntoLedger, EntryView, MarkupView, NewEntry, SetMarkup};
use domain::budget::{Budget, Enforcement, Measure, Subject as Counted, Window};
use domain::entry::{self, Entry, EntryKind};
use domain::id::IdMint as _;
use domain::{LedgerEntryId, NanoUsd, Timestamp};
use store::Tx;
use store::ledger::Markup;

use crate::queries::billing::{entry_view, markup_view};
use crate::queries::budgets::{live, view as budget_view};
use crate::queries::reports::month;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// A million dollars at once: what is more is a slip of the hand.
const MOST: NanoUsd = NanoUsd::from_nanos(1_000_000_000_000_000);

/// Enters money.
pub async fn enter(call: Call<EnterIntoLedger>) -> Outcome<Reply<EntryView>> {
    let body = &call.body;
    check(body)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let (debit, credit) = accounts(&mut write, body).await?;
    let it = Entry {
        id: LedgerEntryId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        kind: body.kind,
        debit,
        credit,
        amount: NanoUsd::from_nanos(body.amount_usd.as_nanos().saturating_abs()),
        reason: body.reason.trim().to_owned(),
        reference: body.reference.as_deref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        budget_id: body.budget_id,
        entered_by: operation::call::actor_text(&call.caller.actor.kind),
        posted_at: call.now(),
    };
    if let Some(id) = body.budget_id {
        let mut budget = live(&mut write, None, id).await.map_err(|_| no_budget("there is no such budget"))?;
        let before = budget_view(budget.clone());
        raise(&mut budget, it.paid(), it.posted_at)?;
        budget.version = store::budgets::update(&mut write, &permit, &budget).await?;
        let after = budget_view(budget);
        write.audit(Subject::new("budget", id, &after.name).changed("budget.update", &before, &after));
    }
    store::ledger::enter(&mut write, &permit, &it).await?;
    let view = entry_view(it);
    write.audit(Subject::new("ledger_entry", view.id, view.kind).created("ledger.enter", &view));
    write.commit(view).await
}

fn check(body: &NewEntry) -> Outcome<()> {
    let is_correction = body.kind == EntryKind::Adjust;
    let amount = body.amount_usd;
    if amount == NanoUsd::ZERO || (amount < NanoUsd::ZERO && !is_correction) {
        return Err(Failure::unacceptable("/amount_usd", "must be above zero; only a correction may be below"));
    }
    if amount.as_nanos().unsigned_abs() > MOST.as_nanos().unsigned_abs() {
        return Err(Failure::unacceptable("/amount_usd", "at most a million dollars at once"));
    }
    let is_sound = |text: &str| !text.contains('\0') && text.chars().count() <= Entry::MAX_TEXT;
    if body.reason.trim().is_empty() || !is_sound(&body.reason) {
        let detail = format!("say why, in at most {} characters", Entry::MAX_TEXT);
        return Err(Failure::unacceptable("/reason", detail));
    }
    if body.reference.as_deref().is_some_and(|text| !is_sound(text)) {
        return Err(Failure::unacceptable("/reference", format!("at most {} characters", Entry::MAX_TEXT)));
    }
    let given = [
        ("/workspace_id", body.workspace_id.is_some(), is_correction),
        ("/provider", body.provider.is_some(), is_correction),
    ];
    for (field, is_given, is_wanted) in given {
        if is_given != is_wanted {
            return Err(Failure::unacceptable(field, "belongs to a correction (`adjust`), which needs it"));
        }
    }
    if is_correction && body.budget_id.is_some() {
        return Err(Failure::unacceptable("/budget_id", "belongs to a credit or a refund"));
    }
    Ok(())
}

async fn accounts(tx: &mut Tx, body: &NewEntry) -> Outcome<(String, String)> {
    let (Some(workspace), Some(name)) = (body.workspace_id, body.provider.as_deref()) else {
        return Ok(entry::funding(body.kind));
    };
    if store::workspaces::load(tx, Some(&[workspace])).await?.is_empty() {
        return Err(Failure::unacceptable("/workspace_id", "there is no such workspace in this organization"));
    }
    known_provider(name)?;
    Ok(entry::correction(workspace, name, body.amount_usd > NanoUsd::ZERO))
}

fn known_provider(name: &str) -> Outcome<()> {
    if provider::find(name).is_some() {
        return Ok(());
    }
    let known: Vec<_> = provider::ALL.iter().map(|provider| provider.spec().name).collect();
    Err(Failure::unacceptable("/provider", format!("is not a provider; use one of {}", known.join(", "))))
}

fn no_budget(detail: &str) -> Failure {
    Failure::unacceptable("/budget_id", detail)
}

/// Raises a budget's amount over all time by what was paid, or lowers it.
fn raise(budget: &mut Budget, paid: NanoUsd, now: Timestamp) -> Outcome<()> {
    let is_fit = budget.workspace_id.is_none()
        && budget.measure == Measure::Cost
        && budget.enforcement == Enforcement::Hard
        && budget.group_by.is_empty()
        && budget.subject == Counted::default();
    let limit = budget.limits.iter_mut().find(|limit| limit.window == Window::Total).filter(|_| is_fit);
    let limit = limit.ok_or_else(|| {
        no_budget("must be a hard budget in dollars for all calls of the organization, with an amount for `total`")
    })?;
    let amount = limit.amount.checked_add_signed(paid.as_nanos()).filter(|amount| *amount <= Budget::MAX_AMOUNT);
    limit.amount =
        amount.ok_or_else(|| no_budget("has no room for this amount: it would be below zero, or too large"))?;
    budget.updated_at = now;
    Ok(())
}

/// Sets what is added to a provider's prices on bills.
pub async fn set_markup(call: Call<SetMarkup>) -> Outcome<Reply<MarkupView>> {
    let body = &call.body;
    known_provider(&body.provider)?;
    month(&body.effective_month)
        .map_err(|_| Failure::unacceptable("/effective_month", "use year and month, such as 2026-11"))?;
    if !(-10_000..=100_000).contains(&body.basis_points) {
        return Err(Failure::unacceptable("/basis_points", "use -10000 to 100000 hundredths of a percent"));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let it = Markup {
        provider: body.provider.clone(),
        effective_month: body.effective_month.clone(),
        basis_points: body.basis_points,
        created_at: call.now(),
    };
    store::ledger::set_markup(&mut write, &permit, &it).await?;
    let view = markup_view(it);
    write.audit(Subject::new("markup", &view.provider, &view.provider).created("markup.set", &view));
    write.commit(view).await
}
