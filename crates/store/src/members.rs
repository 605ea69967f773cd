//! Memberships and role bindings.

use domain::member::{Member, RoleBinding};
use domain::page::{Cursor, Limit, Page};
use domain::rbac::Grant;
use domain::{MemberId, OrganizationId, Permit, Role, RoleBindingId, Scope, Timestamp, UserId, WorkspaceId};

use crate::row::{self, Row, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct MemberRow {
    id: String,
    organization_id: String,
    user_id: String,
    email: String,
    name: String,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl MemberRow {
    fn read(self) -> Result<Member> {
        let row = Row { table: "members", id: &self.id };
        Ok(Member {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            user_id: row.parse("user_id", &self.user_id)?,
            email: row.parse("email", &self.email)?,
            name: row.parse("name", &self.name)?,
            created_at: time(self.created_at),
            disabled_at: time_opt(self.disabled_at),
        })
    }
}

#[derive(sqlx::FromRow)]
struct BindingRow {
    id: String,
    organization_id: String,
    member_id: String,
    role: String,
    workspace_id: Option<String>,
    created_at: i64,
}

fn scope(row: &Row<'_>, organization: &str, workspace: Option<&str>) -> Result<Scope> {
    let organization = row.parse("organization_id", organization)?;
    let workspace = row.parse_opt("workspace_id", workspace)?;
    Ok(workspace.map_or(Scope::Organization(organization), |workspace| Scope::Workspace(organization, workspace)))
}

impl BindingRow {
    fn read(self) -> Result<RoleBinding> {
        let row = Row { table: "role_bindings", id: &self.id };
        Ok(RoleBinding {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            member_id: row.parse("member_id", &self.member_id)?,
            role: row.parse("role", &self.role)?,
            scope: scope(&row, &self.organization_id, self.workspace_id.as_deref())?,
            created_at: time(self.created_at),
        })
    }
}

/// Adds a member. Errors: `Conflict(Member)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, member: &Member) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("INSERT INTO members (organization_id, id, user_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(member.organization_id.to_string())
        .bind(member.id.to_string())
        .bind(member.user_id.to_string())
        .bind(member.created_at.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Removes a member and, with them, their role bindings.
pub async fn delete(tx: &mut WriteTx, permit: &Permit, id: MemberId) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("DELETE FROM members WHERE organization_id = $1 AND id = $2")
        .bind(tx.org())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?
        .exactly(1, "member")
}

/// Disables a membership: its roles count for nothing from then on. Errors: `NotFound` when it is unknown or disabled already.
pub async fn disable(tx: &mut WriteTx, permit: &Permit, id: MemberId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE members SET disabled_at = $3 WHERE organization_id = $1 AND id = $2 AND disabled_at IS NULL")
        .bind(tx.org())
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?
        .exactly(1, "member")
}

/// Enables a membership again, with the roles it had. Errors: `NotFound` when it is unknown or not disabled.
pub async fn enable(tx: &mut WriteTx, permit: &Permit, id: MemberId) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE members SET disabled_at = NULL WHERE organization_id = $1 AND id = $2 AND disabled_at IS NOT NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .execute(tx.conn())
    .await?
    .exactly(1, "member")
}

/// How many memberships a person has in other organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// All of them.
    pub all: u64,
    /// Those that are not disabled.
    pub live: u64,
}

/// Counts a member's other memberships; of somebody who is no member here, none are told.
pub async fn count_elsewhere(tx: &mut WriteTx, user_id: UserId) -> Result<Elsewhere> {
    let (all, live): (i64, i64) = sqlx::query_as("SELECT all_of_them, live FROM headgate_memberships_elsewhere($1)")
        .bind(user_id.to_string())
        .fetch_one(tx.conn())
        .await?;
    Ok(Elsewhere { all: unsigned(all), live: unsigned(live) })
}

/// Lists the organizations a person is a member of, disabled memberships included, in id order.
pub async fn list_organizations(tx: &mut SystemTx, user_id: UserId) -> Result<Vec<OrganizationId>> {
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT m.organization_id FROM members m WHERE m.user_id = $1 ORDER BY m.organization_id")
            .bind(user_id.to_string())
            .fetch_all(tx.conn())
            .await?;
    let id = user_id.to_string();
    rows.iter().map(|text| Row { table: "members", id: &id }.parse("organization_id", text)).collect()
}

/// Says whether a person has a membership anywhere that is not disabled: whether they may sign in.
pub async fn has_live(tx: &mut SystemTx, user_id: UserId) -> Result<bool> {
    // Crosses tenants: a person may sign in if any organization has them.
    let found =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM members m WHERE m.user_id = $1 AND m.disabled_at IS NULL)")
            .bind(user_id.to_string())
            .fetch_one(tx.conn())
            .await?;
    Ok(found)
}

/// Returns a member.
pub async fn get(tx: &mut Tx, id: MemberId) -> Result<Member> {
    let row: Option<MemberRow> = sqlx::query_as(
        "SELECT m.id, m.organization_id, m.user_id, u.email, u.name, m.created_at, m.disabled_at
           FROM members m JOIN users u ON u.id = m.user_id WHERE m.organization_id = $1 AND m.id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("member"))?.read()
}

/// Looks a person's membership up.
pub async fn find_by_user(tx: &mut Tx, user_id: UserId) -> Result<Option<Member>> {
    let row: Option<MemberRow> = sqlx::query_as(
        "SELECT m.id, m.organization_id, m.user_id, u.email, u.name, m.created_at, m.disabled_at
           FROM members m JOIN users u ON u.id = m.user_id WHERE m.organization_id = $1 AND m.user_id = $2",
    )
    .bind(tx.org())
    .bind(user_id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.map(MemberRow::read).transpose()
}

/// Lists members, in the order they joined.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Member>> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT m.id, m.organization_id, m.user_id, u.email, u.name, m.created_at, m.disabled_at
           FROM members m JOIN users u ON u.id = m.user_id
          WHERE m.organization_id = $1 AND ($2::text IS NULL OR m.id > $2)
          ORDER BY m.id LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<MemberId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, MemberRow::read, |member| member.id.to_string())
}

/// Lists the members with a role that reaches a workspace, in the order they joined.
pub async fn list_reaching(
    tx: &mut Tx,
    workspace: WorkspaceId,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Member>> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT m.id, m.organization_id, m.user_id, u.email, u.name, m.created_at, m.disabled_at
           FROM members m JOIN users u ON u.id = m.user_id
          WHERE m.organization_id = $1 AND ($3::text IS NULL OR m.id > $3)
            AND EXISTS (SELECT 1 FROM role_bindings b
                         WHERE b.organization_id = m.organization_id AND b.member_id = m.id
                           AND (b.workspace_id IS NULL OR b.workspace_id = $2))
          ORDER BY m.id LIMIT $4",
    )
    .bind(tx.org())
    .bind(workspace.to_string())
    .bind(row::after::<MemberId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, MemberRow::read, |member| member.id.to_string())
}

// === Role bindings ===

/// Binds a role. Errors: `Conflict(RoleBinding)`.
pub async fn bind(tx: &mut WriteTx, permit: &Permit, binding: &RoleBinding) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO role_bindings (organization_id, id, member_id, role, workspace_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(binding.organization_id.to_string())
    .bind(binding.id.to_string())
    .bind(binding.member_id.to_string())
    .bind(binding.role.as_str())
    .bind(binding.scope.workspace().map(|id| id.to_string()))
    .bind(binding.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Unbinds a role.
pub async fn unbind(tx: &mut WriteTx, permit: &Permit, id: RoleBindingId) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("DELETE FROM role_bindings WHERE organization_id = $1 AND id = $2")
        .bind(tx.org())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?
        .exactly(1, "role binding")
}

/// Returns a role binding.
pub async fn get_binding(tx: &mut Tx, id: RoleBindingId) -> Result<RoleBinding> {
    let row: Option<BindingRow> = sqlx::query_as(
        "SELECT id, organization_id, member_id, role, workspace_id, created_at FROM role_bindings
          WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("role binding"))?.read()
}

/// Lists the role bindings of the given members, or of all.
pub async fn list_bindings(tx: &mut Tx, members: Option<&[MemberId]>) -> Result<Vec<RoleBinding>> {
    let rows: Vec<BindingRow> = sqlx::query_as(
        "SELECT id, organization_id, member_id, role, workspace_id, created_at FROM role_bindings
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR member_id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(members))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(BindingRow::read).collect()
}

/// Lists the bindings that make somebody an owner of the organization, without those of disabled members.
pub async fn list_live_owners(tx: &mut Tx) -> Result<Vec<RoleBinding>> {
    let rows: Vec<BindingRow> = sqlx::query_as(
        "SELECT b.id, b.organization_id, b.member_id, b.role, b.workspace_id, b.created_at
           FROM role_bindings b JOIN members m ON m.organization_id = b.organization_id AND m.id = b.member_id
          WHERE b.organization_id = $1 AND b.role = $2 AND b.workspace_id IS NULL AND m.disabled_at IS NULL
          ORDER BY b.id",
    )
    .bind(tx.org())
    .bind(Role::Owner.as_str())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(BindingRow::read).collect()
}

/// Lists everything a person has been granted, over all organizations: what an actor is made of. What a disabled membership
/// holds is no grant.
pub async fn list_grants(tx: &mut SystemTx, user_id: UserId) -> Result<Vec<Grant>> {
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT b.organization_id, b.role, b.workspace_id
           FROM role_bindings b JOIN members m ON m.organization_id = b.organization_id AND m.id = b.member_id
          WHERE m.user_id = $1 AND m.disabled_at IS NULL ORDER BY b.organization_id, b.id",
    )
    .bind(user_id.to_string())
    .fetch_all(tx.conn())
    .await?;
    let id = user_id.to_string();
    let row = Row { table: "role_bindings", id: &id };
    rows.iter()
        .map(|(organization, role, workspace)| {
            Ok(Grant { role: row.parse("role", role)?, scope: scope(&row, organization, workspace.as_deref())? })
        })
        .collect()
}
