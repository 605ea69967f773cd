//! Rows of accounts and leases: read, locked and written many at a time.

use std::collections::{BTreeMap, BTreeSet};

use domain::budget::{AccountKey, Window};
use domain::{LeaseId, NodeId, OrganizationId, Timestamp};
use sqlx::types::Json;

use super::Budgets;
use crate::budgets::window;
use crate::row::{Row, micros, signed, time, time_opt, unsigned};
use crate::{Result, SystemTx};
use books::leases::{Account, Books, Lease, Place};

/// Leases of lost nodes that are closed at a time.
const MOST_LOST: i64 = 1_000;

/// Columns of places, as arrays.
#[derive(Default)]
struct Columns {
    organizations: Vec<String>,
    budgets: Vec<String>,
    windows: Vec<String>,
    groups: Vec<String>,
    starts: Vec<i64>,
}

impl Columns {
    fn new<'a>(places: impl IntoIterator<Item = &'a Place>) -> Self {
        let mut columns = Self::default();
        for place in places {
            columns.organizations.push(place.key.organization_id.to_string());
            columns.budgets.push(place.key.budget_id.to_string());
            columns.windows.push(place.key.window.to_string());
            columns.groups.push(place.key.group_key.to_string());
            columns.starts.push(place.starts_at.as_micros());
        }
        columns
    }
}

#[derive(sqlx::FromRow)]
struct PlaceRow {
    organization_id: String,
    budget_id: String,
    window_name: String,
    group_key: String,
    starts_at: i64,
}

impl PlaceRow {
    fn read(&self) -> Result<Place> {
        let row = Row { table: "budget_accounts", id: &self.budget_id };
        let key = AccountKey {
            organization_id: row.parse("organization_id", &self.organization_id)?,
            budget_id: row.parse("budget_id", &self.budget_id)?,
            window: Window::find(&self.window_name).ok_or_else(|| row.corrupt("window_name"))?,
            group_key: self.group_key.as_str().into(),
        };
        Ok(Place { key, starts_at: time(self.starts_at) })
    }
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    #[sqlx(flatten)]
    place: PlaceRow,
    ends_at: Option<i64>,
    carried: i64,
    posted: i64,
    leased: i64,
    overdrawn: i64,
    wanted_until: i64,
    told_percent: i32,
    told_refusing: bool,
}

impl AccountRow {
    fn read(&self) -> Result<(Place, Account)> {
        let account = Account {
            ends_at: time_opt(self.ends_at),
            carried: unsigned(self.carried),
            posted: unsigned(self.posted),
            leased: unsigned(self.leased),
            overdrawn: unsigned(self.overdrawn),
            wanted_until: time(self.wanted_until),
            told_percent: u32::try_from(self.told_percent).unwrap_or(0),
            told_refusing: self.told_refusing,
            is_changed: false,
        };
        Ok((self.place.read()?, account))
    }
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    id: String,
    #[sqlx(flatten)]
    place: PlaceRow,
    node_id: String,
    boot: String,
    granted: i64,
    returned: i64,
    booked: i64,
    unused: i64,
    held: i64,
    told_at: i64,
    expires_at: i64,
}

impl LeaseRow {
    fn read(self) -> Result<(LeaseId, Lease)> {
        let row = Row { table: "budget_leases", id: &self.id };
        let lease = Lease {
            place: self.place.read()?,
            node_id: row.parse("node_id", &self.node_id)?,
            granted: unsigned(self.granted),
            returned: unsigned(self.returned),
            booked: unsigned(self.booked),
            unused: unsigned(self.unused),
            held: unsigned(self.held),
            told_at: time(self.told_at),
            expires_at: time(self.expires_at),
            closed_at: None,
            is_changed: false,
            boot: self.boot,
        };
        Ok((row.parse("id", &self.id)?, lease))
    }
}

/// Makes the accounts that are not there yet.
pub(super) async fn open_accounts(
    tx: &mut SystemTx,
    places: &BTreeSet<Place>,
    budgets: &Budgets,
    now: Timestamp,
) -> Result<()> {
    let there: BTreeSet<Place> = find(tx, places).await?.into_keys().collect();
    let missing: Vec<(&Place, Option<Timestamp>)> = places
        .difference(&there)
        .filter_map(|place| {
            let budget = budgets.get(&(place.key.organization_id, place.key.budget_id))?;
            Some((place, window::bounds(place.key.window, &budget.time_zone, place.starts_at)?.1))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let carried = carried(tx, &missing, budgets).await?;
    let columns = Columns::new(missing.iter().map(|(place, _)| *place));
    sqlx::query(
        "INSERT INTO budget_accounts (organization_id, budget_id, window_name, group_key, starts_at, ends_at, carried, posted,
                                      leased, overdrawn, wanted_until, updated_at)
         SELECT organization_id, budget_id, window_name, group_key, starts_at, ends_at, carried, 0, 0, 0, 0, $8
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
                AS new (organization_id, budget_id, window_name, group_key, starts_at, ends_at, carried)
          ORDER BY organization_id COLLATE \"C\", budget_id COLLATE \"C\", window_name COLLATE \"C\", group_key COLLATE \"C\", starts_at
         ON CONFLICT (organization_id, budget_id, window_name, group_key, starts_at) DO NOTHING",
    )
    .bind(columns.organizations)
    .bind(columns.budgets)
    .bind(columns.windows)
    .bind(columns.groups)
    .bind(columns.starts)
    .bind(missing.iter().map(|(_, ends_at)| micros(*ends_at)).collect::<Vec<_>>())
    .bind(carried)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What was left of the window before, at most one amount. What is still leased then counts as spent.
async fn carried(tx: &mut SystemTx, missing: &[(&Place, Option<Timestamp>)], budgets: &Budgets) -> Result<Vec<i64>> {
    let before = |place: &Place| {
        let budget = budgets.get(&(place.key.organization_id, place.key.budget_id)).filter(|it| it.carries_over)?;
        if place.key.window == Window::Total || budget.created_at >= place.starts_at {
            return None;
        }
        let last = Timestamp::from_micros(place.starts_at.as_micros() - 1);
        let (starts_at, _) = window::bounds(place.key.window, &budget.time_zone, last)?;
        let limit = budget.limits.iter().find(|limit| limit.window == place.key.window)?;
        Some((Place { key: place.key.clone(), starts_at }, limit.amount))
    };
    let earlier: Vec<Option<(Place, u64)>> = missing.iter().map(|(place, _)| before(place)).collect();
    let known = find(tx, &earlier.iter().flatten().map(|(place, _)| place.clone()).collect()).await?;
    let left = |(place, amount): &(Place, u64)| {
        let spent = known.get(place).map_or(0, |it| it.posted.saturating_add(it.leased).saturating_sub(it.carried));
        amount.saturating_sub(spent)
    };
    Ok(earlier.iter().map(|earlier| signed(earlier.as_ref().map_or(0, left))).collect())
}

/// Reads accounts without a lock.
async fn find(tx: &mut SystemTx, places: &BTreeSet<Place>) -> Result<BTreeMap<Place, Account>> {
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let columns = Columns::new(places);
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT organization_id, budget_id, window_name, group_key, starts_at, ends_at, carried, posted, leased, overdrawn,
                wanted_until, told_percent, told_refusing
           FROM budget_accounts
          WHERE (organization_id, budget_id, window_name, group_key, starts_at)
             IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]))",
    )
    .bind(columns.organizations)
    .bind(columns.budgets)
    .bind(columns.windows)
    .bind(columns.groups)
    .bind(columns.starts)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(AccountRow::read).collect()
}

/// Locks accounts in the order of their key, then reads their open leases.
pub(super) async fn lock(tx: &mut SystemTx, places: &BTreeSet<Place>) -> Result<Books> {
    let columns = Columns::new(places);
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT organization_id, budget_id, window_name, group_key, starts_at, ends_at, carried, posted, leased, overdrawn,
                wanted_until, told_percent, told_refusing
           FROM budget_accounts
          WHERE (organization_id, budget_id, window_name, group_key, starts_at)
             IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]))
          ORDER BY organization_id, budget_id, window_name, group_key, starts_at
            FOR NO KEY UPDATE",
    )
    .bind(&columns.organizations)
    .bind(&columns.budgets)
    .bind(&columns.windows)
    .bind(&columns.groups)
    .bind(&columns.starts)
    .fetch_all(tx.conn())
    .await?;
    let accounts = rows.iter().map(AccountRow::read).collect::<Result<_>>()?;
    // A statement of its own: it sees what was committed while we waited for the locks.
    let rows: Vec<LeaseRow> = sqlx::query_as(
        "SELECT id, organization_id, budget_id, window_name, group_key, starts_at, node_id, boot, granted, returned, booked,
                unused, held, told_at, expires_at
           FROM budget_leases
          WHERE (organization_id, budget_id, window_name, group_key, starts_at)
             IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]))
            AND closed_at IS NULL",
    )
    .bind(columns.organizations)
    .bind(columns.budgets)
    .bind(columns.windows)
    .bind(columns.groups)
    .bind(columns.starts)
    .fetch_all(tx.conn())
    .await?;
    let leases = rows.into_iter().map(LeaseRow::read).collect::<Result<_>>()?;
    Ok(Books { accounts, leases })
}

/// Returns the accounts of a node's open leases.
pub(super) async fn places_of_node(tx: &mut SystemTx, node_id: NodeId) -> Result<Vec<Place>> {
    let rows: Vec<PlaceRow> = sqlx::query_as(
        "SELECT organization_id, budget_id, window_name, group_key, starts_at FROM budget_leases
          WHERE node_id = $1 AND closed_at IS NULL",
    )
    .bind(node_id.to_string())
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(PlaceRow::read).collect()
}

#[derive(sqlx::FromRow)]
struct NamedRow {
    id: String,
    #[sqlx(flatten)]
    place: PlaceRow,
    node_id: String,
}

/// Returns the node and the account of leases, open or closed.
pub(super) async fn places_of_leases(
    tx: &mut SystemTx,
    named: &BTreeSet<(OrganizationId, LeaseId)>,
) -> Result<BTreeMap<LeaseId, (NodeId, Place)>> {
    if named.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (organizations, ids): (Vec<_>, Vec<_>) =
        named.iter().map(|(organization, id)| (organization.to_string(), id.to_string())).unzip();
    let rows: Vec<NamedRow> = sqlx::query_as(
        "SELECT id, organization_id, budget_id, window_name, group_key, starts_at, node_id FROM budget_leases
          WHERE (organization_id, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
    )
    .bind(organizations)
    .bind(ids)
    .fetch_all(tx.conn())
    .await?;
    let read = |it: NamedRow| {
        let row = Row { table: "budget_leases", id: &it.id };
        Ok((row.parse("id", &it.id)?, (row.parse("node_id", &it.node_id)?, it.place.read()?)))
    };
    rows.into_iter().map(read).collect()
}

/// Returns open leases of nodes that were revoked, are gone, or whose certificate has ended.
pub(super) async fn leases_of_lost_nodes(tx: &mut SystemTx, now: Timestamp) -> Result<BTreeMap<LeaseId, Place>> {
    let rows: Vec<NamedRow> = sqlx::query_as(
        "SELECT l.id, l.organization_id, l.budget_id, l.window_name, l.group_key, l.starts_at, l.node_id
           FROM budget_leases AS l LEFT JOIN nodes AS n ON n.id = l.node_id
          WHERE l.closed_at IS NULL AND (n.id IS NULL OR n.revoked_at IS NOT NULL OR n.certificate_expires_at < $1)
          LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(MOST_LOST)
    .fetch_all(tx.conn())
    .await?;
    let read = |it: NamedRow| {
        let row = Row { table: "budget_leases", id: &it.id };
        Ok((row.parse("id", &it.id)?, it.place.read()?))
    };
    rows.into_iter().map(read).collect()
}

// === Writing ===

#[derive(serde::Serialize)]
struct AccountChange {
    organization_id: String,
    budget_id: String,
    window_name: &'static str,
    group_key: String,
    starts_at: i64,
    posted: i64,
    leased: i64,
    overdrawn: i64,
    wanted_until: i64,
    told_percent: u32,
    told_refusing: bool,
}

#[derive(serde::Serialize)]
struct LeaseChange {
    organization_id: String,
    id: String,
    budget_id: String,
    window_name: &'static str,
    group_key: String,
    starts_at: i64,
    node_id: String,
    boot: String,
    granted: i64,
    returned: i64,
    booked: i64,
    unused: i64,
    held: i64,
    told_at: i64,
    expires_at: i64,
    closed_at: Option<i64>,
}

/// Writes what has changed.
pub(super) async fn write(tx: &mut SystemTx, books: &Books, now: Timestamp) -> Result<()> {
    let changes: Vec<AccountChange> =
        books.accounts.iter().filter(|(_, it)| it.is_changed).map(|(place, it)| account_change(place, it)).collect();
    if !changes.is_empty() {
        sqlx::query(
            "UPDATE budget_accounts AS a
                SET posted = c.posted, leased = c.leased, overdrawn = c.overdrawn, wanted_until = c.wanted_until,
                    told_percent = c.told_percent, told_refusing = c.told_refusing, updated_at = $2
               FROM jsonb_to_recordset($1) AS c (organization_id text, budget_id text, window_name text, group_key text,
                    starts_at bigint, posted bigint, leased bigint, overdrawn bigint, wanted_until bigint,
                    told_percent integer, told_refusing boolean)
              WHERE a.organization_id = c.organization_id AND a.budget_id = c.budget_id AND a.window_name = c.window_name
                AND a.group_key = c.group_key AND a.starts_at = c.starts_at",
        )
        .bind(Json(&changes))
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
    }
    let changes: Vec<LeaseChange> =
        books.leases.iter().filter(|(_, it)| it.is_changed).map(|(id, it)| lease_change(*id, it)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO budget_leases (organization_id, id, budget_id, window_name, group_key, starts_at, node_id, boot, granted,
                                    returned, booked, unused, held, told_at, expires_at, closed_at)
         SELECT organization_id, id, budget_id, window_name, group_key, starts_at, node_id, boot, granted, returned, booked,
                unused, held, told_at, expires_at, closed_at
           FROM jsonb_to_recordset($1) AS c (organization_id text, id text, budget_id text, window_name text, group_key text,
                starts_at bigint, node_id text, boot text, granted bigint, returned bigint, booked bigint, unused bigint,
                held bigint, told_at bigint, expires_at bigint, closed_at bigint)
         ON CONFLICT (organization_id, id)
         DO UPDATE SET granted = excluded.granted, returned = excluded.returned, booked = excluded.booked,
                       unused = excluded.unused, held = excluded.held, told_at = excluded.told_at,
                       expires_at = excluded.expires_at, closed_at = excluded.closed_at",
    )
    .bind(Json(&changes))
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn account_change(place: &Place, it: &Account) -> AccountChange {
    AccountChange {
        organization_id: place.key.organization_id.to_string(),
        budget_id: place.key.budget_id.to_string(),
        window_name: place.key.window.as_str(),
        group_key: place.key.group_key.to_string(),
        starts_at: place.starts_at.as_micros(),
        posted: signed(it.posted),
        leased: signed(it.leased),
        overdrawn: signed(it.overdrawn),
        wanted_until: it.wanted_until.as_micros(),
        told_percent: it.told_percent,
        told_refusing: it.told_refusing,
    }
}

fn lease_change(id: LeaseId, it: &Lease) -> LeaseChange {
    LeaseChange {
        organization_id: it.place.key.organization_id.to_string(),
        id: id.to_string(),
        budget_id: it.place.key.budget_id.to_string(),
        window_name: it.place.key.window.as_str(),
        group_key: it.place.key.group_key.to_string(),
        starts_at: it.place.starts_at.as_micros(),
        node_id: it.node_id.to_string(),
        boot: it.boot.clone(),
        granted: signed(it.granted),
        returned: signed(it.returned),
        booked: signed(it.booked),
        unused: signed(it.unused),
        held: signed(it.held),
        told_at: it.told_at.as_micros(),
        expires_at: it.expires_at.as_micros(),
        closed_at: micros(it.closed_at),
    }
}

/// Forgets what is over since long ago.
pub(super) async fn forget_before(tx: &mut SystemTx, at: Timestamp) -> Result<u64> {
    // Crosses tenants: retention forgets the rows of every organization by their end.
    let leases = sqlx::query("DELETE FROM budget_leases WHERE organization_id <> '' AND closed_at < $1")
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?;
    let accounts = sqlx::query(
        "DELETE FROM budget_accounts WHERE organization_id <> '' AND ends_at < $1 AND leased = 0 AND updated_at < $1",
    )
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?;
    let tellers =
        sqlx::query("DELETE FROM budget_tellers WHERE told_at < $1").bind(at.as_micros()).execute(tx.conn()).await?;
    Ok(leases.rows_affected() + accounts.rows_affected() + tellers.rows_affected())
}
