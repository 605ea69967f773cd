//! Transactions: who may write, in which order, and what must be recorded before a commit.
//!
//! [`Tx`] reads one organization, [`WriteTx`] is its only writer, [`AppendTx`] adds facts beside the writer, [`SystemTx`] works
//! across organizations under the jobs role. Invariants: a write that spent a permit commits only with an audit entry; a write
//! that changed resources commits under the next revision, without gaps; dropping any of them rolls back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use domain::audit::{Audit, AuditEntry};
use domain::change::Change;
use domain::{ActorKind, AuditEntryId, OrganizationId, Permit, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use tracing::Instrument as _;

use crate::error::StoreError;
use crate::pool::{Database, PoolLimits, Pools};
use crate::row::{signed, unsigned};
use crate::{Result, audit, changes};

/// A gapless number per organization that grows with every write that changed a resource.
pub type Revision = u64;

/// The database, opened.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pools: Pools,
}

impl Store {
    /// Opens both pools and checks that the schema is the one of this build.
    pub async fn open(database: &Database, limits: PoolLimits) -> Result<Self> {
        let pools = Pools::open(database, limits).await?;
        crate::migrate::check(database).await?;
        Ok(Self { pools })
    }

    /// Begins a read of one organization: one consistent state of the database, which cannot be written to.
    pub async fn read(&self, organization: OrganizationId) -> Result<Tx> {
        begin(&self.pools.app, organization, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "").await
    }

    /// Begins the one write of an organization that may run at a time; waits for the one before.
    ///
    /// Errors: `NotFound` when the organization does not exist.
    pub async fn write(&self, organization: OrganizationId) -> Result<WriteTx> {
        // In the same round trip: the wait for our turn. What is read afterwards is what the writer before us committed.
        let turn = format!("; SELECT 1 FROM turns WHERE organization_id = '{organization}' FOR UPDATE");
        Ok(WriteTx::new(begin(&self.pools.app, organization, "BEGIN", &turn).await?))
    }

    /// Begins the write that brings an organization into being; [`crate::organizations::insert`] makes its turn.
    pub async fn found(&self, organization: OrganizationId) -> Result<WriteTx> {
        Ok(WriteTx::new(begin(&self.pools.app, organization, "BEGIN", "").await?))
    }

    /// Begins an addition of facts that no writer waits for: inserts by id and compare-and-set only.
    pub async fn append(&self, organization: OrganizationId) -> Result<AppendTx> {
        Ok(AppendTx(begin(&self.pools.app, organization, "BEGIN", "").await?))
    }

    /// Begins work across organizations: sign-in look-ups, node enrolment, the publisher's list of organizations, jobs.
    pub async fn system(&self) -> Result<SystemTx> {
        Ok(SystemTx { inner: to_the_end(&self.pools.jobs, "BEGIN".to_owned()).await? })
    }

    /// Waits until a commit that changed resources is announced by this or another control process, and returns its
    /// organization. A hint: announcements may be lost, the truth is [`crate::changes::revisions`].
    pub async fn listen(&self) -> Result<Announcements> {
        let mut listener = sqlx::postgres::PgListener::connect_with(&self.pools.jobs).await?;
        listener.listen(ANNOUNCE).await?;
        Ok(Announcements { listener })
    }

    /// Answers whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let mut retries = Retries::new(&self.pools.app);
        while let Err(error) = sqlx::query("SELECT 1").execute(&self.pools.app).await {
            if !retries.are_worth_it(&error) {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Closes all connections and waits for those in use to come back.
    pub async fn close(&self) {
        self.pools.app.close().await;
        self.pools.jobs.close().await;
    }
}

/// The channel on which commits are announced.
const ANNOUNCE: &str = "headgate_changes";

/// Commits of all control processes, as they are announced.
#[derive(Debug)]
pub struct Announcements {
    listener: sqlx::postgres::PgListener,
}

impl Announcements {
    /// Returns the organization of the next announced commit. After a lost connection it reconnects; what was announced in
    /// between is lost, so callers also poll. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<OrganizationId>> {
        Ok(self.listener.recv().await?.payload().parse().ok())
    }
}

async fn begin(pool: &PgPool, organization: OrganizationId, mode: &str, after: &str) -> Result<Tx> {
    // An id's text is a constant prefix and 26 letters and digits by construction, so it cannot end the literal.
    let sql = format!("{mode}; SELECT set_config('app.organization_id', '{organization}', true){after}");
    Ok(Tx { inner: to_the_end(pool, sql).await?, organization })
}

/// Begins a transaction, also when the caller gives up meanwhile: it is rolled back then. The library would hand its
/// connection back with the transaction open on it (sqlx-postgres 0.9, `PgTransactionManager::begin`: its guard rolls back
/// from a depth that it has not counted yet), with the lock it may hold and for the next caller to find.
#[expect(
    clippy::disallowed_methods,
    reason = "the named tasks of `runtime` are above this crate; the caller awaits the end"
)]
async fn to_the_end(pool: &PgPool, sql: String) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let beginning = async move {
        let mut retries = Retries::new(&pool);
        loop {
            match pool.begin_with(AssertSqlSafe(sql.clone())).await {
                Err(error) if retries.are_worth_it(&error) => {}
                ended => return ended,
            }
        }
    };
    let begun =
        tokio::spawn(beginning.in_current_span()).await.map_err(|error| sqlx::Error::Io(io::Error::other(error)))?;
    Ok(begun?)
}

/// Says when to try again on the next connection because one turned out to be dead: a server that was restarted leaves as many of
/// them in a pool as there were, and each shows only when it is used. For what has done nothing when it fails, such as the begin of
/// a transaction.
///
/// Testing each connection before its use would cost every transaction a round trip, for what happens a few times a year.
struct Retries {
    left: u32,
    until: Instant,
}

impl Retries {
    fn new(pool: &PgPool) -> Self {
        Self { left: pool.size(), until: Instant::now() + pool.options().get_acquire_timeout() }
    }

    fn are_worth_it(&mut self, error: &sqlx::Error) -> bool {
        let are_left = self.left > 0 && Instant::now() < self.until && is_lost(error);
        self.left = self.left.saturating_sub(1);
        are_left
    }
}

/// Says whether the connection is gone, not the statement wrong. 57P01 and 57P02: the server was told to stop, or had to.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// Something with a connection inside a transaction: for the few functions that serve both one organization and the system.
pub trait Session: Send {
    /// Returns the connection. For this crate's functions; statements live nowhere else.
    fn connection(&mut self) -> &mut PgConnection;
}

/// A read of one organization. Dropping it ends the transaction.
#[derive(Debug)]
#[must_use = "a transaction does nothing by itself"]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    organization: OrganizationId,
}

impl Tx {
    /// The organization that row security lets through.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The same as the text that statements bind.
    pub(crate) fn org(&self) -> String {
        self.organization.to_string()
    }

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Ends a read in good order. Dropping does the same, one round trip later.
    pub async fn end(self) -> Result<()> {
        Ok(self.inner.rollback().await?)
    }
}

impl Session for Tx {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

/// An audit record with what the store cannot know: id, time and the actor's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// The entry's id.
    pub id: AuditEntryId,
    /// When it happened.
    pub at: Timestamp,
    /// The actor's name at that time, for people.
    pub actor_name: String,
    /// What happened.
    pub audit: Audit,
}

/// The one write of an organization. Reads through it see its own changes.
#[derive(Debug)]
#[must_use = "a write takes effect only when committed"]
pub struct WriteTx {
    tx: Tx,
    audits: Vec<(ActorKind, AuditDraft)>,
    /// Entries for the logs of other organizations.
    elsewhere: BTreeMap<OrganizationId, Vec<(ActorKind, AuditDraft)>>,
    changes: BTreeSet<Change>,
    is_permit_spent: bool,
}

impl WriteTx {
    const fn new(tx: Tx) -> Self {
        Self { tx, audits: Vec::new(), elsewhere: BTreeMap::new(), changes: BTreeSet::new(), is_permit_spent: false }
    }

    /// Records who did what; written in the order of calls at commit.
    pub fn audit(&mut self, permit: &Permit, draft: AuditDraft) {
        self.audits.push((permit.actor(), draft));
    }

    /// Records an act that was refused; there is no permit to show. Also counts as an audit entry of this transaction.
    pub fn audit_denied(&mut self, actor: ActorKind, draft: AuditDraft) {
        self.audits.push((actor, draft));
    }

    /// Records the same in the log of another organization of the actor: in this transaction, so that no log tells of what did
    /// not happen. Turns are taken in the order of ids, so the other one must come after this one.
    pub fn audit_elsewhere(&mut self, permit: &Permit, draft: AuditDraft) -> Result<()> {
        if permit.organization() <= self.tx.organization {
            return Err(StoreError::ForeignPermit);
        }
        self.elsewhere.entry(permit.organization()).or_default().push((permit.actor(), draft));
        Ok(())
    }

    /// Notes that a resource is to be published. The mutating functions of this crate do so themselves.
    pub fn changed(&mut self, change: Change) {
        self.changes.insert(change);
    }

    /// Returns the resources that have changed so far, for a check before the commit.
    #[must_use]
    pub const fn pending_changes(&self) -> &BTreeSet<Change> {
        &self.changes
    }

    /// Spends a permit: the commit will demand an audit entry.
    pub(crate) fn spend(&mut self, permit: &Permit) -> Result<()> {
        if permit.organization() != self.tx.organization {
            return Err(StoreError::ForeignPermit);
        }
        self.is_permit_spent = true;
        Ok(())
    }

    /// Commits and returns the organization's revision: the next one when resources changed, else the present one.
    ///
    /// Errors: `Unaudited` when a permit was spent without an audit entry; nothing was committed then.
    pub async fn commit(mut self) -> Result<Revision> {
        if self.is_permit_spent && self.audits.is_empty() {
            tracing::error!(organization.id = %self.tx.organization, "a permitted write recorded no audit entry; rolled back");
            return Err(StoreError::Unaudited);
        }
        self.flush_audits().await?;
        let org = self.tx.org();
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            changes::insert(&mut self.tx, &changes).await?;
        }
        // The revision comes last, so that it is gapless and in commit order: nobody else holds the turn.
        let revision: Option<i64> = sqlx::query_scalar(
            "UPDATE turns SET revision = revision + $2 WHERE organization_id = $1 RETURNING revision",
        )
        .bind(&org)
        .bind(i64::from(!changes.is_empty()))
        .fetch_optional(self.tx.conn())
        .await?;
        let revision = revision.ok_or(StoreError::NotFound("organization"))?;
        if !changes.is_empty() {
            sqlx::query("SELECT pg_notify($1, $2)").bind(ANNOUNCE).bind(&org).execute(self.tx.conn()).await?;
        }
        for (organization, audits) in std::mem::take(&mut self.elsewhere) {
            self.enter(organization).await?;
            self.audits = audits;
            self.flush_audits().await?;
        }
        self.tx.inner.commit().await?;
        Ok(unsigned(revision))
    }

    /// Takes the turn of another organization as well; from here on the transaction is its.
    async fn enter(&mut self, organization: OrganizationId) -> Result<()> {
        let org = organization.to_string();
        sqlx::query("SELECT set_config('app.organization_id', $1, true)").bind(&org).execute(self.tx.conn()).await?;
        sqlx::query("SELECT 1 FROM turns WHERE organization_id = $1 FOR UPDATE")
            .bind(&org)
            .execute(self.tx.conn())
            .await?
            .exactly(1, "organization")?;
        self.tx.organization = organization;
        Ok(())
    }

    async fn flush_audits(&mut self) -> Result<()> {
        if self.audits.is_empty() {
            return Ok(());
        }
        let mut head = audit::head(&mut self.tx).await?;
        let (organization, drafts) = (self.tx.organization, std::mem::take(&mut self.audits));
        let entries: Vec<AuditEntry> = drafts
            .into_iter()
            .map(|(actor, draft)| {
                let by = (&actor, draft.actor_name.as_str());
                let entry = AuditEntry::chain(draft.id, organization, head, draft.at, by, draft.audit);
                head = (entry.seq, entry.hash);
                entry
            })
            .collect();
        audit::insert(&mut self.tx, &entries).await?;
        sqlx::query("UPDATE audit_head SET seq = $2, hash = $3 WHERE organization_id = $1")
            .bind(organization.to_string())
            .bind(signed(head.0))
            .bind(head.1.as_slice())
            .execute(self.tx.conn())
            .await?
            .exactly(1, "organization")
    }
}

impl Deref for WriteTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

impl Session for WriteTx {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx.inner
    }
}

/// An addition of facts to one organization.
#[derive(Debug)]
#[must_use = "facts are added only when committed"]
pub struct AppendTx(Tx);

impl AppendTx {
    /// Commits.
    pub async fn commit(self) -> Result<()> {
        Ok(self.0.inner.commit().await?)
    }
}

impl Deref for AppendTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.0
    }
}

impl DerefMut for AppendTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.0
    }
}

/// Work across organizations under the jobs role.
#[derive(Debug)]
#[must_use = "work takes effect only when committed"]
pub struct SystemTx {
    inner: Transaction<'static, Postgres>,
}

impl SystemTx {
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Commits.
    pub async fn commit(self) -> Result<()> {
        Ok(self.inner.commit().await?)
    }
}

impl Session for SystemTx {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

/// States how many rows a write must have touched.
pub(crate) trait Exactly {
    /// Fails as `NotFound(subject)` on any other count.
    fn exactly(self, rows: u64, subject: &'static str) -> Result<()>;
    /// Fails as `Stale(subject)` when the row with the expected version is gone.
    fn current(self, subject: &'static str) -> Result<()>;
}

impl Exactly for sqlx::postgres::PgQueryResult {
    fn exactly(self, rows: u64, subject: &'static str) -> Result<()> {
        if self.rows_affected() == rows { Ok(()) } else { Err(StoreError::NotFound(subject)) }
    }

    fn current(self, subject: &'static str) -> Result<()> {
        if self.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale(subject)) }
    }
}
