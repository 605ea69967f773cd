//! Charges of usage events into accounts, inside the transaction that books the events.
//!
//! Invariant: called for events that are in the ledger since this transaction, and for no others, so that each charge counts once.

use std::collections::BTreeSet;

use domain::budget::{AccountKey, Charge, Enforcement};
use domain::usage::UsageEvent;
use domain::{LeaseId, Timestamp};

use super::{Budgets, load, rows, telling};
use crate::budgets::window;
use crate::{Result, SystemTx, alerts};
use books::leases::Place;

struct Posting<'a> {
    place: Place,
    lease_id: Option<LeaseId>,
    charge: &'a Charge,
    is_covered: bool,
}

/// Books what events took.
pub(crate) async fn book(tx: &mut SystemTx, events: &[&UsageEvent], now: Timestamp) -> Result<()> {
    let charges: Vec<(&UsageEvent, &Charge)> =
        events.iter().flat_map(|event| event.charges.iter().map(move |charge| (*event, charge))).collect();
    if charges.is_empty() {
        return Ok(());
    }
    let keys = charges.iter().map(|(event, charge)| (event.organization_id, charge.budget_id)).collect();
    let budgets = load(tx, &keys).await?;
    let named = charges.iter().filter_map(|(event, charge)| Some((event.organization_id, charge.lease_id?))).collect();
    let leases = rows::places_of_leases(tx, &named).await?;
    let mut postings = Vec::new();
    for (event, charge) in charges {
        // A lease counts for the node and the account that it was given for.
        let lease = charge.lease_id.and_then(|id| leases.get(&id)).filter(|(node_id, place)| {
            let key = &place.key;
            *node_id == event.node_id
                && (key.organization_id, key.budget_id) == (event.organization_id, charge.budget_id)
                && (key.window, &key.group_key) == (charge.window, &charge.group_key)
        });
        let place = lease.map(|(_, place)| place.clone()).or_else(|| place_at(&budgets, event, charge));
        let Some(place) = place else {
            tracing::warn!(budget.id = %charge.budget_id, request.id = %event.id, "a charge names a budget that does not exist; it counts nowhere");
            continue;
        };
        let budget = budgets.get(&(event.organization_id, charge.budget_id));
        let is_covered = budget.is_some_and(|budget| budget.enforcement == Enforcement::Hard);
        postings.push(Posting { place, lease_id: charge.lease_id.filter(|_| lease.is_some()), charge, is_covered });
    }
    let places: BTreeSet<Place> = postings.iter().map(|posting| posting.place.clone()).collect();
    rows::open_accounts(tx, &places, &budgets, now).await?;
    let mut books = rows::lock(tx, &places).await?;
    for posting in &postings {
        books.book(&posting.place, posting.lease_id, posting.charge.amount, posting.is_covered);
    }
    let reached = telling::thresholds(&mut books, &budgets, now);
    rows::write(tx, &books, now).await?;
    alerts::raise(tx, &reached).await?;
    Ok(())
}

/// The account of the window in which a call began.
fn place_at(budgets: &Budgets, event: &UsageEvent, charge: &Charge) -> Option<Place> {
    let budget = budgets.get(&(event.organization_id, charge.budget_id))?;
    let (starts_at, _) = window::bounds(charge.window, &budget.time_zone, event.started_at)?;
    let key = AccountKey {
        organization_id: event.organization_id,
        budget_id: charge.budget_id,
        window: charge.window,
        group_key: charge.group_key.clone(),
    };
    Some(Place { key, starts_at })
}
