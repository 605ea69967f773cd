//! Exports of providers that were held against the ledger.

use api::ops::reconciliations::{
    CountedView, DifferenceView, GetReconciliation, ListReconciliations, ReconciliationView,
};
use domain::audit::hex32;
use domain::reconciliation::{Counted, Difference, Reconciliation};
use domain::{Page, Timestamp};

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists them, newest first.
pub async fn list(call: Call<ListReconciliations>) -> Outcome<Reply<Page<ReconciliationView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::reconciliations::list(&mut tx, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows one with what differs.
pub async fn get(call: Call<GetReconciliation>) -> Outcome<Reply<ReconciliationView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(store::reconciliations::get(&mut tx, call.path.reconciliation_id).await?)))
}

pub(crate) fn view(it: Reconciliation) -> ReconciliationView {
    ReconciliationView {
        id: it.id,
        provider: it.provider,
        format: it.format,
        file_name: it.file_name,
        sha256: hex32::encode(&it.digest),
        first_day: date(it.first_day),
        last_day: date(it.last_day),
        rows: it.rows,
        skipped: it.skipped,
        tolerance_basis_points: it.tolerance.basis_points,
        tolerance_usd: it.tolerance.amount,
        agrees: it.differing == 0,
        matched: it.matched,
        differing: it.differing,
        theirs: counted(it.theirs),
        ours: counted(it.ours),
        differences: it.differences.into_iter().map(difference).collect(),
        uploaded_by: it.uploaded_by,
        created_at: it.created_at,
    }
}

fn difference(it: Difference) -> DifferenceView {
    DifferenceView {
        day: date(it.day),
        model: it.model,
        credential: it.credential,
        theirs: counted(it.theirs),
        ours: counted(it.ours),
    }
}

const fn counted(it: Counted) -> CountedView {
    CountedView { requests: it.requests, input_tokens: it.input, output_tokens: it.output, cost_usd: it.cost }
}

fn date(day: i32) -> String {
    let (year, month, day) = Timestamp::from_micros(i64::from(day) * 86_400_000_000).date();
    format!("{year:04}-{month:02}-{day:02}")
}
