//! Organizations: founding one with all it needs, and its settings.

use std::time::Duration;

use api::ops::organizations::{CreateOrganization, OrganizationView, UpdateOrganization};
use domain::environment::Environment;
use domain::id::IdMint as _;
use domain::member::{Member, RoleBinding};
use domain::organization::Organization;
use domain::user::User;
use domain::workspace::Workspace;
use domain::{
    DisplayName, EnvironmentId, MemberId, OrganizationId, Permit, Role, RoleBindingId, Scope, Slug, Timestamp,
    WorkspaceId,
};
use store::WriteTx;
use store::credentials::SealedDataKey;

use crate::queries;
use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// The workspace that a new organization begins with.
pub const FIRST_WORKSPACE: (&str, &str) = ("main", "Main");

/// What was founded.
#[derive(Debug)]
pub struct Founded {
    /// The organization.
    pub organization: Organization,
    /// Its first workspace.
    pub workspace: Workspace,
    /// The workspace's environments, in order of promotion.
    pub environments: Vec<Environment>,
}

/// Creates an organization with a first workspace; the creator owns it.
pub async fn create(call: Call<CreateOrganization>) -> Outcome<Reply<OrganizationView>> {
    let cx = &call.cx;
    // The operator's own organization remembers the answer of an idempotent request, and who founded what.
    let mut own = call.write().await?;
    let id = OrganizationId::from_uuid(cx.mint.next_uuid());
    let permit = Permit::own(&call.caller.actor, id).ok_or_else(|| Failure::unauthenticated("Sign in first."))?;
    let user = store::users::get(&mut *own, call.user()?).await?;
    let tx = cx.store.found(id).await?;
    let mut founding = call.unreplayed(tx, permit.clone());
    let names = (call.body.slug.clone(), call.body.name.clone());
    let founded = found(cx, &mut founding, &permit, id, names).await?;
    join(cx, &mut founding, &permit, &user, Role::Owner).await?;
    let view = queries::organizations::view(&mut founding, founded.organization).await?;
    let audit = Subject::new("organization", id, &view.slug).created("organization.create", &view);
    founding.audit(audit.clone());
    founding.commit(()).await?;
    own.audit(audit);
    own.commit(OrganizationView { policy_revision: 1, ..view }).await
}

/// Writes a new organization with workspace, environments and data key. The caller adds an owner and the audit entry.
pub async fn found(
    cx: &Cx,
    tx: &mut WriteTx,
    permit: &Permit,
    id: OrganizationId,
    (slug, name): (Slug, DisplayName),
) -> Outcome<Founded> {
    let now = cx.now();
    let organization = Organization {
        id,
        slug,
        name,
        max_stale: Organization::DEFAULT_MAX_STALE,
        response_retention: Organization::DEFAULT_RESPONSE_RETENTION,
        version: 1,
        created_at: now,
    };
    store::organizations::insert(tx, permit, &organization).await?;
    let (_, wrapped) = cx.keyring.new_data_key(id, cx.entropy.as_ref())?;
    let data_key = SealedDataKey { version: FIRST_DATA_KEY, sealed: wrapped, created_at: now };
    store::credentials::insert_data_key(tx, permit, &data_key).await?;
    let workspace = Workspace {
        id: WorkspaceId::from_uuid(cx.mint.next_uuid()),
        organization_id: id,
        slug: named(FIRST_WORKSPACE.0)?,
        name: displayed(FIRST_WORKSPACE.1)?,
        version: 1,
        created_at: now,
        archived_at: None,
    };
    store::workspaces::insert(tx, permit, &workspace).await?;
    let environments = insert_environments(cx, tx, permit, &workspace).await?;
    Ok(Founded { organization, workspace, environments })
}

/// The version of an organization's first data key.
pub const FIRST_DATA_KEY: u16 = 1;

/// Adds the environments that every workspace begins with.
pub(crate) async fn insert_environments(
    cx: &Cx,
    tx: &mut WriteTx,
    permit: &Permit,
    workspace: &Workspace,
) -> Outcome<Vec<Environment>> {
    let mut environments = Vec::new();
    for ((slug, name), position) in Environment::DEFAULTS.into_iter().zip(1_u16..) {
        let environment = Environment {
            id: EnvironmentId::from_uuid(cx.mint.next_uuid()),
            organization_id: workspace.organization_id,
            workspace_id: workspace.id,
            slug: named(slug)?,
            name: displayed(name)?,
            position,
            version: 1,
            created_at: workspace.created_at,
        };
        store::environments::insert(tx, permit, &environment).await?;
        environments.push(environment);
    }
    Ok(environments)
}

/// Makes a person a member with a role on the whole organization.
pub(crate) async fn join(cx: &Cx, tx: &mut WriteTx, permit: &Permit, user: &User, role: Role) -> Outcome<Member> {
    let (organization_id, created_at) = (tx.organization(), cx.now());
    let member = member(cx, organization_id, user, created_at);
    store::members::insert(tx, permit, &member).await?;
    let binding = RoleBinding {
        id: RoleBindingId::from_uuid(cx.mint.next_uuid()),
        organization_id,
        member_id: member.id,
        role,
        scope: Scope::Organization(organization_id),
        created_at,
    };
    store::members::bind(tx, permit, &binding).await?;
    Ok(member)
}

pub(crate) fn member(cx: &Cx, organization_id: OrganizationId, user: &User, created_at: Timestamp) -> Member {
    Member {
        id: MemberId::from_uuid(cx.mint.next_uuid()),
        organization_id,
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        created_at,
        disabled_at: None,
    }
}

pub(crate) fn named(text: &str) -> Outcome<Slug> {
    Slug::parse(text).map_err(|error| Failure::Internal(format!("{text} is no slug: {error}")))
}

pub(crate) fn displayed(text: &str) -> Outcome<DisplayName> {
    DisplayName::parse(text).map_err(|error| Failure::Internal(format!("{text} is no name: {error}")))
}

/// Renames an organization or changes its settings.
pub async fn update(call: Call<UpdateOrganization>) -> Outcome<Reply<OrganizationView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut organization = store::organizations::get(&mut write).await?;
    let before = queries::organizations::view(&mut write, organization.clone()).await?;
    organization.version = seen;
    if let Some(name) = &call.body.name {
        organization.name = name.clone();
    }
    if let Some(seconds) = call.body.max_stale_secs {
        let (least, most) = Organization::MAX_STALE_BOUNDS;
        organization.max_stale = Duration::from_secs(seconds);
        if !(least..=most).contains(&organization.max_stale) {
            let detail = format!("use {} to {} seconds", least.as_secs(), most.as_secs());
            return Err(Failure::unacceptable("/max_stale_secs", detail));
        }
    }
    if let Some(seconds) = call.body.response_retention_secs {
        let most = Organization::MAX_RESPONSE_RETENTION;
        organization.response_retention = Duration::from_secs(seconds);
        if organization.response_retention > most {
            let detail = format!("use 0 (keep none) to {} seconds", most.as_secs());
            return Err(Failure::unacceptable("/response_retention_secs", detail));
        }
    }
    organization.version = store::organizations::update(&mut write, &permit, &organization).await?;
    let view = queries::organizations::view(&mut write, organization).await?;
    write.audit(Subject::new("organization", view.id, &view.slug).changed("organization.update", &before, &view));
    write.commit(view).await
}
