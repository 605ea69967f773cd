//! Who am I, and where am I signed in.

use api::ops::auth::{ListSessions, Me, MeView, MembershipView, SessionView, UserView, WorkspaceAccessView};
use domain::user::User;
use domain::{Actor, Limit, OrganizationId, Page, Permission, Scope};

use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};

/// Tells who is asking.
pub async fn me(call: Call<Me>) -> Outcome<Reply<MeView>> {
    let user = call.user()?;
    let mut tx = call.cx.store.system().await?;
    let user = store::users::get(&mut tx, user).await?;
    drop(tx);
    Ok(Reply::new(me_view(&call.cx, &call.caller.actor, &user).await?))
}

/// Describes a person with everything they may do.
pub(crate) async fn me_view(cx: &Cx, actor: &Actor, user: &User) -> Outcome<MeView> {
    let mut tx = cx.store.system().await?;
    let first = store::organizations::list_all(&mut tx).await?.first().map(|organization| organization.id);
    drop(tx);
    let mut organizations = Vec::new();
    for organization in actor.organizations() {
        organizations.push(membership(cx, actor, organization).await?);
    }
    let is_operator = first.is_some_and(|first| actor.may(Permission::OwnersManage, Scope::Organization(first)));
    Ok(MeView {
        user: UserView {
            id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            must_change_password: user.must_change_password,
        },
        organizations,
        is_operator,
        gateway_url: Some(cx.config.gateway_url.clone()),
        build: cx.config.version.to_owned(),
    })
}

async fn membership(cx: &Cx, actor: &Actor, id: OrganizationId) -> Outcome<MembershipView> {
    let mut tx = cx.store.read(id).await?;
    let organization = store::organizations::get(&mut tx).await?;
    let here = Scope::Organization(id);
    let seen = actor.visible_workspaces(id);
    let whole = Limit::new(Limit::MAX).unwrap_or_default();
    let mut workspaces = Vec::new();
    let mut cursor = None;
    loop {
        let page = store::workspaces::list(&mut tx, seen.as_deref(), cursor.as_ref(), whole).await?;
        workspaces.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let permissions = |at: Scope| Permission::ALL.iter().copied().filter(move |permission| actor.may(*permission, at));
    let workspaces = workspaces.into_iter().map(|workspace| WorkspaceAccessView {
        workspace_id: workspace.id,
        permissions: permissions(workspace.scope())
            .filter(|one| one.level() == domain::rbac::Level::Workspace)
            .collect(),
        slug: workspace.slug,
        name: workspace.name,
    });
    let mut roles: Vec<_> = actor.grants.iter().filter(|grant| grant.scope == here).map(|grant| grant.role).collect();
    roles.sort_unstable();
    roles.dedup();
    Ok(MembershipView {
        organization_id: id,
        slug: organization.slug,
        name: organization.name,
        roles,
        permissions: permissions(here).collect(),
        workspaces: workspaces.collect(),
    })
}

/// Lists one's own sessions that still hold.
pub async fn list_sessions(call: Call<ListSessions>) -> Outcome<Reply<Page<SessionView>>> {
    let (user, now) = (call.user()?, call.now());
    let mut tx = call.cx.store.system().await?;
    let sessions = store::sessions::list(&mut tx, user).await?;
    let current = call.caller.session;
    let views = sessions.into_iter().filter(|session| session.is_live(now)).map(|session| SessionView {
        id: session.id,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        ip: session.ip,
        user_agent: session.user_agent,
        is_current: current == Some(session.id),
    });
    let limit = operation::page::limit(call.query.limit)?;
    let page = operation::page::slice(views.collect(), call.query.cursor.as_ref(), limit, |view| view.id.to_string())?;
    Ok(Reply::new(page))
}

/// Refuses what only a person with a session can do.
pub(crate) fn session_needed() -> Failure {
    Failure::conflict("This is for signed-in browsers; an access token is revoked instead.")
}
