//! What was entered by hand, what is left of what was paid beforehand, and bills as data.

use api::NoQuery;
use api::ops::billing::{
    BalanceView, EntryView, GetBalance, GetInvoice, InvoiceLine, InvoiceView, ListEntries, ListMarkups, MarkupView,
};
use domain::entry::Entry;
use domain::{NanoUsd, Page, Timestamp};
use store::ledger::Markup;
use store::usage::{By, Reported, Span};

use super::reports::hours_of;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// The most lines of a bill.
const MAX_LINES: u32 = 20_000;
/// The most entries by hand on it.
const MAX_ENTRIES: u32 = 1_000;

/// Lists what was entered, newest first.
pub async fn entries(call: Call<ListEntries>) -> Outcome<Reply<Page<EntryView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::ledger::entries(&mut tx, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(entry_view)))
}

/// Says what is left.
pub async fn balance(call: Call<GetBalance>) -> Outcome<Reply<BalanceView>> {
    let NoQuery {} = call.query;
    let mut tx = call.read().await?;
    // What was called within this moment counts, too.
    let it = store::ledger::standing(&mut tx, Timestamp::from_micros(call.now().as_micros() + 1)).await?;
    let taken = [it.refunds, it.spent, it.adjusted].into_iter().sum::<NanoUsd>();
    Ok(Reply::new(BalanceView {
        since: it.since,
        credits_usd: it.credits,
        refunds_usd: it.refunds,
        spent_usd: it.spent,
        adjusted_usd: it.adjusted,
        balance_usd: NanoUsd::from_nanos(it.credits.as_nanos().saturating_sub(taken.as_nanos())),
    }))
}

/// Lists what is added to prices.
pub async fn markups(call: Call<ListMarkups>) -> Outcome<Reply<Page<MarkupView>>> {
    let NoQuery {} = call.query;
    let mut tx = call.read().await?;
    let all = store::ledger::markups(&mut tx).await?;
    Ok(Reply::new(operation::page::whole(all.into_iter().map(markup_view).collect())))
}

/// Gives the bill of a month.
pub async fn invoice(call: Call<GetInvoice>) -> Outcome<Reply<InvoiceView>> {
    let now = call.now();
    let month = call.query.month.clone().unwrap_or_else(|| {
        let (year, month, _) = now.date();
        format!("{year:04}-{month:02}")
    });
    let time_zone = call.query.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let (from, to) = hours_of(&month, &time_zone)?;
    let mut tx = call.read().await?;
    let by = [By::Workspace, By::Provider, By::Model];
    let groups = store::usage::report_sums(&mut tx, Span { from, to, by: &by, limit: MAX_LINES + 1 }).await?;
    if groups.len() > MAX_LINES as usize {
        return Err(Failure::unacceptable("month", format!("has more than {MAX_LINES} lines; make a report of it")));
    }
    let entries = store::ledger::entries_between(&mut tx, from, to, MAX_ENTRIES + 1).await?;
    if entries.len() > MAX_ENTRIES as usize {
        return Err(Failure::unacceptable("month", format!("has more than {MAX_ENTRIES} entries by hand")));
    }
    let markups = store::ledger::markups(&mut tx).await?;
    let lines: Vec<InvoiceLine> = groups.into_iter().map(|group| line(group, &month, &markups)).collect();
    let cost_usd = lines.iter().map(|line| line.cost_usd).sum::<NanoUsd>();
    let markup_usd = lines.iter().map(|line| line.markup_usd).sum::<NanoUsd>();
    let adjusted_usd = entries.iter().map(Entry::spent).sum::<NanoUsd>();
    Ok(Reply::new(InvoiceView {
        organization_id: call.organization()?,
        month,
        time_zone,
        from,
        to,
        is_over: to <= now,
        lines,
        cost_usd,
        markup_usd,
        adjusted_usd,
        total_usd: [cost_usd, markup_usd, adjusted_usd].into_iter().sum(),
        paid_usd: entries.iter().map(Entry::paid).sum(),
        entries: entries.into_iter().map(entry_view).collect(),
    }))
}

fn line(group: Reported, month: &str, markups: &[Markup]) -> InvoiceLine {
    let [workspace_id, provider, model] = <[String; 3]>::try_from(group.values).unwrap_or_default();
    // The newest month that is not later, and of it what was set last: they come in this order.
    let holds = |it: &&Markup| it.provider == provider && it.effective_month.as_str() <= month;
    let basis_points = markups.iter().find(holds).map_or(0, |it| it.basis_points);
    let markup_usd = books::bill::markup(group.cost, basis_points);
    InvoiceLine {
        workspace_id,
        provider,
        model,
        requests: group.requests,
        cost_usd: group.cost,
        basis_points,
        markup_usd,
        amount_usd: group.cost.saturating_add(markup_usd),
    }
}

pub(crate) fn entry_view(it: Entry) -> EntryView {
    EntryView {
        id: it.id,
        kind: it.kind,
        debit: it.debit,
        credit: it.credit,
        amount_usd: it.amount,
        reason: it.reason,
        reference: it.reference,
        budget_id: it.budget_id,
        entered_by: it.entered_by,
        posted_at: it.posted_at,
    }
}

pub(crate) fn markup_view(it: Markup) -> MarkupView {
    MarkupView {
        provider: it.provider,
        effective_month: it.effective_month,
        basis_points: it.basis_points,
        created_at: it.created_at,
    }
}
