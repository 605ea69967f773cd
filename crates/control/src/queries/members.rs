//! Members, their roles, and what roles there are.

use api::ops::members::{ListMembers, ListRoles, ListWorkspaceMembers, MemberView, RoleBindingView, RoleView};
use domain::member::{Member, RoleBinding};
use domain::{MemberId, Page, Role, Scope};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists members with their role bindings.
pub async fn list(call: Call<ListMembers>) -> Outcome<Reply<Page<MemberView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::members::list(&mut tx, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(views(&mut tx, page, None).await?))
}

/// Lists the members who can see a workspace, with the bindings that reach it.
pub async fn list_of_workspace(call: Call<ListWorkspaceMembers>) -> Outcome<Reply<Page<MemberView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let cursor = call.query.cursor.as_ref();
    let page = store::members::list_reaching(&mut tx, call.workspace()?, cursor, limit).await?;
    Ok(Reply::new(views(&mut tx, page, Some(call.permit()?.scope())).await?))
}

async fn views(tx: &mut Tx, page: Page<Member>, reaching: Option<Scope>) -> Outcome<Page<MemberView>> {
    let ids: Vec<MemberId> = page.items.iter().map(|member| member.id).collect();
    let mut bindings = store::members::list_bindings(tx, Some(&ids)).await?;
    bindings.retain(|binding| reaching.is_none_or(|place| binding.scope.covers(place)));
    Ok(page.map(|member| view(member, &bindings)))
}

pub(crate) fn view(member: Member, bindings: &[RoleBinding]) -> MemberView {
    let own = bindings.iter().filter(|binding| binding.member_id == member.id).map(binding_view);
    MemberView {
        id: member.id,
        user_id: member.user_id,
        email: member.email,
        name: member.name,
        role_bindings: own.collect(),
        created_at: member.created_at,
        disabled_at: member.disabled_at,
    }
}

pub(crate) fn binding_view(binding: &RoleBinding) -> RoleBindingView {
    RoleBindingView {
        id: binding.id,
        member_id: binding.member_id,
        role: binding.role,
        workspace_id: binding.scope.workspace(),
        created_at: binding.created_at,
    }
}

/// Lists the built-in roles with their permissions.
pub async fn roles(call: Call<ListRoles>) -> Outcome<Reply<Page<RoleView>>> {
    call.permit()?;
    let views = Role::ALL.iter().map(|role| RoleView {
        name: *role,
        title: role.title().to_owned(),
        about: role.about().to_owned(),
        permissions: role.permissions().collect(),
    });
    std::future::ready(Ok(Reply::new(operation::page::whole(views.collect())))).await
}
