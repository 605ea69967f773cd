//! Holding a provider's export against the ledger. What was found is kept with who brought it; the export itself is not.

use std::collections::BTreeMap;

use api::ops::reconciliations::{MAX_CONTENT, NewReconciliation, Reconcile, ReconciliationView};
use books::compare::{self, Names};
use books::export::{self, Place, Statement};
use domain::id::IdMint as _;
use domain::reconciliation::{Counted, Reconciliation, Tolerance};
use domain::{NanoUsd, ReconciliationId, Timestamp};
use sha2::{Digest as _, Sha256};
use store::Tx;

use crate::queries::reconciliations::view;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Longest time that an export may tell of, in days.
const MAX_DAYS: i32 = 400;
const MAX_FILE_NAME: usize = 256;
const ONE_PERCENT: u32 = 100;
const ONE_CENT: NanoUsd = NanoUsd::from_nanos(10_000_000);
const DAY: i64 = 86_400_000_000;

/// Holds an export against the ledger.
pub async fn create(call: Call<Reconcile>) -> Outcome<Reply<ReconciliationView>> {
    let body = &call.body;
    let tolerance = check(body)?;
    let provider = body.provider.clone().unwrap_or_else(|| body.format.provider().to_owned());
    let statement = export::read(body.format, &body.content)
        .map_err(|error| Failure::unacceptable("/content", error.to_string()))?;
    let (first_day, last_day) = days(&statement)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let ours = ledger_side(&mut write, &provider, first_day, last_day).await?;
    let credentials = body.credentials.iter().map(|(key, id)| (key.clone(), id.to_string())).collect();
    let names = Names { models: body.models.clone(), credentials };
    let mut found = compare::compare(&statement, &ours, &names, tolerance);
    let differing = found.differences.len() as u64;
    found.differences.truncate(Reconciliation::MAX_DIFFERENCES);
    let it = Reconciliation {
        id: ReconciliationId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        provider,
        format: body.format,
        file_name: body.file_name.trim().to_owned(),
        digest: Sha256::digest(body.content.as_bytes()).into(),
        first_day,
        last_day,
        rows: statement.rows,
        skipped: statement.skipped,
        tolerance,
        matched: found.matched,
        differing,
        theirs: found.theirs,
        ours: found.ours,
        differences: found.differences,
        uploaded_by: operation::call::actor_text(&call.caller.actor.kind),
        created_at: call.now(),
    };
    store::reconciliations::insert(&mut write, &permit, &it).await?;
    let view = view(it);
    let subject = Subject::new("reconciliation", view.id, &view.file_name);
    // The differences are kept once, with the reconciliation.
    write.audit(
        subject.created("reconciliation.create", &ReconciliationView { differences: Vec::new(), ..view.clone() }),
    );
    write.commit(view).await
}

fn check(body: &NewReconciliation) -> Outcome<Tolerance> {
    if body.content.len() > MAX_CONTENT {
        return Err(Failure::unacceptable("/content", "is longer than 16 MiB; export a shorter time"));
    }
    let name = body.file_name.trim();
    if name.is_empty() || name.chars().count() > MAX_FILE_NAME || name.chars().any(char::is_control) {
        let detail = format!("use 1 to {MAX_FILE_NAME} characters, no control characters");
        return Err(Failure::unacceptable("/file_name", detail));
    }
    let basis_points = body.tolerance_basis_points.unwrap_or(ONE_PERCENT);
    if basis_points > 10_000 {
        return Err(Failure::unacceptable("/tolerance_basis_points", "use 0 to 10000"));
    }
    let amount = body.tolerance_usd.unwrap_or(ONE_CENT);
    if amount < NanoUsd::ZERO {
        return Err(Failure::unacceptable("/tolerance_usd", "must not be below zero"));
    }
    Ok(Tolerance { basis_points, amount })
}

fn days(statement: &Statement) -> Outcome<(i32, i32)> {
    let mut days = statement.counted.keys().map(|place| place.day);
    let first = days.next().unwrap_or(0);
    let last = days.next_back().unwrap_or(first);
    if last - first >= MAX_DAYS {
        return Err(Failure::unacceptable(
            "/content",
            format!("tells of more than {MAX_DAYS} days; export a shorter time"),
        ));
    }
    Ok((first, last))
}

/// Sums what the ledger has of these days, one day of events at a time.
async fn ledger_side(tx: &mut Tx, provider: &str, first: i32, last: i32) -> Outcome<BTreeMap<Place, Counted>> {
    let at = |day: i32| Timestamp::from_micros(i64::from(day) * DAY);
    let mut ours: BTreeMap<Place, Counted> = BTreeMap::new();
    // An attempt begins days after the id of its call was minted at the very most.
    for day in first - 2..=last + 2 {
        let attempts = store::reconciliations::attempts(tx, provider, day, (at(first), at(last + 1))).await?;
        for ((day, model, key), counted) in attempts {
            let sum = ours.entry(Place { day, model, key }).or_default();
            *sum = compare::plus(*sum, counted);
        }
    }
    Ok(ours)
}
