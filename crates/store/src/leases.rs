//! Leases of budgets: granting, taking back, closing; and booking what calls took.
//!
//! Works under the jobs role, because one node serves several organizations; which it may name is checked by the caller. The
//! arithmetic is in `books`, the rows in `rows`. Invariants: an account's `leased` is the sum over its open leases; leases change
//! only under the lock of their account; whoever needs several accounts makes the missing ones first and then locks all of them,
//! both in the order of their key; a node's word is heard once, in its order.

mod booking;
mod rows;
mod telling;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::alert::Alert;
use domain::budget::{Budget, Enforcement};
use domain::lease::{Answer, Tell, Told};
use domain::{BudgetId, LeaseId, NodeId, OrganizationId, Timestamp};

pub(crate) use booking::book;
use books::leases::{Books, Place, Teller};

use crate::budgets::{self, window};
use crate::row::signed;
use crate::{Result, Store, StoreError, SystemTx, alerts};

/// Budgets by their whole key.
type Budgets = HashMap<(OrganizationId, BudgetId), Budget>;

/// Hears what a node says and answers it, in one transaction. `fresh` has an id for each thing that is asked.
///
/// Errors: `Stale` when the node has said something later already.
pub async fn tell(store: &Store, node_id: NodeId, told: &Tell, fresh: &[LeaseId], now: Timestamp) -> Result<Told> {
    let teller = Teller { node_id, boot: &told.boot, now };
    let mut tx = store.system().await?;
    hear(&mut tx, teller, told.sequence).await?;
    let keys = told.asks.iter().map(|ask| (ask.account.organization_id, ask.account.budget_id)).collect();
    let budgets = load(&mut tx, &keys).await?;
    let asked: Vec<Option<Place>> = told.asks.iter().map(|ask| place_of(&budgets, ask, now)).collect();
    let mut places: BTreeSet<Place> = asked.iter().flatten().cloned().collect();
    rows::open_accounts(&mut tx, &places, &budgets, now).await?;
    places.extend(rows::places_of_node(&mut tx, node_id).await?);
    if places.is_empty() {
        tx.commit().await?;
        let standings = told.holdings.iter().map(|held| Books::default().standing(teller, held)).collect();
        return Ok(Told { answers: vec![Answer::Unknown; told.asks.len()], standings });
    }
    let mut books = rows::lock(&mut tx, &places).await?;
    settle(&mut books, teller, told);
    let known: BTreeMap<LeaseId, u64> = told.holdings.iter().map(|held| (held.lease_id, held.granted)).collect();
    let answers = told.asks.iter().zip(&asked).zip(fresh).map(|((ask, place), fresh)| {
        let amount = budgets
            .get(&(ask.account.organization_id, ask.account.budget_id))
            .and_then(|budget| budget.amount(ask.account.window, now));
        match (place, amount) {
            (Some(place), Some(limit)) => {
                books.ask(teller, place, ask, limit, |id| known.get(&id).copied().unwrap_or(0), *fresh)
            }
            _ => Answer::Unknown,
        }
    });
    let answers: Vec<Answer> = answers.collect();
    let standings = told.holdings.iter().map(|held| books.standing(teller, held)).collect();
    let refused = asked.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Answer::Exhausted(_)));
    let refusals: Vec<Alert> = refused
        .filter_map(|(place, _)| {
            let place = place.as_ref()?;
            let budget = budgets.get(&(place.key.organization_id, place.key.budget_id))?;
            telling::refusal(&mut books, place, budget, now)
        })
        .collect();
    rows::write(&mut tx, &books, now).await?;
    alerts::raise(&mut tx, &refusals).await?;
    tx.commit().await?;
    Ok(Told { answers, standings })
}

/// Takes note of what a node has and gives back, and closes what it says is over.
fn settle(books: &mut Books, teller: Teller<'_>, told: &Tell) {
    for held in &told.holdings {
        books.hold(teller, held);
    }
    let named: BTreeSet<LeaseId> = told.holdings.iter().map(|held| held.lease_id).collect();
    let over: Vec<LeaseId> = books
        .leases
        .iter()
        .filter(|(_, lease)| lease.node_id == teller.node_id)
        .filter(|(id, lease)| {
            if lease.boot != teller.boot {
                return told.delivered_boots.contains(&lease.boot);
            }
            // One that is not named never reached the node.
            told.done.contains(id) || !named.contains(id)
        })
        .map(|(id, _)| *id)
        .collect();
    for id in over {
        books.close(id, teller.now);
    }
}

/// Closes leases of nodes that were revoked, that are gone, or whose certificate has ended, and returns how many.
pub async fn close_of_lost_nodes(tx: &mut SystemTx, now: Timestamp) -> Result<u64> {
    let lost = rows::leases_of_lost_nodes(tx, now).await?;
    if lost.is_empty() {
        return Ok(0);
    }
    let places: BTreeSet<Place> = lost.values().cloned().collect();
    let mut books = rows::lock(tx, &places).await?;
    let mut count = 0;
    for id in lost.into_keys().filter(|id| books.leases.contains_key(id)).collect::<Vec<_>>() {
        books.close(id, now);
        count += 1;
    }
    rows::write(tx, &books, now).await?;
    Ok(count)
}

/// Forgets closed leases and ended accounts of long ago, and returns how many rows.
pub async fn forget_before(tx: &mut SystemTx, at: Timestamp) -> Result<u64> {
    rows::forget_before(tx, at).await
}

/// Locks the life of a node that speaks. What is older than something it said already is not heard.
async fn hear(tx: &mut SystemTx, teller: Teller<'_>, sequence: u64) -> Result<()> {
    let heard = sqlx::query(
        "INSERT INTO budget_tellers AS t (node_id, boot, sequence, told_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (node_id, boot) DO UPDATE SET sequence = excluded.sequence, told_at = excluded.told_at
          WHERE t.sequence < excluded.sequence",
    )
    .bind(teller.node_id.to_string())
    .bind(teller.boot)
    .bind(signed(sequence))
    .bind(teller.now.as_micros())
    .execute(tx.conn())
    .await?;
    if heard.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale("word of the node")) }
}

async fn load(tx: &mut SystemTx, keys: &BTreeSet<(OrganizationId, BudgetId)>) -> Result<Budgets> {
    let found = budgets::find_all(tx, keys).await?;
    Ok(found.into_iter().map(|budget| ((budget.organization_id, budget.id), budget)).collect())
}

/// The account of the present window; `None` when no lease is given of it.
fn place_of(budgets: &Budgets, ask: &domain::lease::Ask, now: Timestamp) -> Option<Place> {
    let budget = budgets.get(&(ask.account.organization_id, ask.account.budget_id))?;
    let is_leased = budget.is_enabled && budget.archived_at.is_none() && budget.enforcement == Enforcement::Hard;
    if !is_leased {
        return None;
    }
    budget.amount(ask.account.window, now)?;
    let (starts_at, _) = window::bounds(ask.account.window, &budget.time_zone, now)?;
    Some(Place { key: ask.account.clone(), starts_at })
}
