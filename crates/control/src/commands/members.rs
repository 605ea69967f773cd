//! Members and their roles.
//!
//! Invariants: nobody gives or takes a role that allows more than they may do themselves at that place, and an organization
//! always has an owner. Both are decided inside the write, so two people removing each other cannot both succeed.

use api::Empty;
use api::ops::members::{AddMember, AddedMemberView, BindRole, RemoveMember, RoleBindingView, UnbindRole};
use domain::actor::Denied;
use domain::id::IdMint as _;
use domain::member::RoleBinding;
use domain::rbac::Level;
use domain::user::User;
use domain::{Actor, MemberId, Permission, Role, RoleBindingId, Scope, UserId, WorkspaceId};
use store::{Tx, WriteTx};
use zeroize::Zeroizing;

use crate::auth::password;
use crate::call::{Call, Head, Reply};
use crate::commands::audit::Subject;
use crate::commands::organizations::member;
use crate::error::{Failure, Outcome};
use crate::queries::members::{binding_view, view};

/// Adds a person with a first role.
pub async fn add(call: Call<AddMember>) -> Outcome<Reply<AddedMemberView>> {
    let cx = &call.cx;
    let organization = call.organization()?;
    let mut system = cx.store.system().await?;
    let known = store::users::find_by_email(&mut system, &call.body.email).await?;
    drop(system);
    // The hash is computed before the organization's turn is taken: others should not wait for it.
    let one_time = known.is_none().then(|| password::generate(cx.entropy.as_ref()));
    let hash = match &one_time {
        Some(password) => Some(cx.passwords.hash(password, cx.entropy.as_ref()).await?),
        None => None,
    };

    let mut write = call.write().await?;
    let permit = write.permit();
    let scope = place(&mut write, organization, call.body.workspace_id).await?;
    check_role(&call.caller.actor, call.body.role, scope)?;
    let user = match (known, hash) {
        (Some(user), _) => user,
        (None, hash) => {
            let user = new_user(&call);
            store::users::insert(&mut write, &permit, &user, hash.as_deref()).await?;
            user
        }
    };
    let member = member(cx, organization, &user, call.now());
    store::members::insert(&mut write, &permit, &member).await?;
    let binding = new_binding(&call.head, member.id, call.body.role, scope);
    store::members::bind(&mut write, &permit, &binding).await?;
    let view = view(member, &[binding]);
    write.audit(Subject::new("member", view.id, &view.email).created("member.add", &view));
    let one_time_password = one_time.map(|mut password: Zeroizing<String>| std::mem::take(&mut *password));
    write.commit(AddedMemberView { member: view, one_time_password }).await
}

fn new_user(call: &Call<AddMember>) -> User {
    User {
        id: UserId::from_uuid(call.cx.mint.next_uuid()),
        email: call.body.email.clone(),
        name: call.body.name.clone(),
        must_change_password: true,
        version: 1,
        created_at: call.now(),
        disabled_at: None,
    }
}

fn new_binding(head: &Head, member_id: MemberId, role: Role, scope: Scope) -> RoleBinding {
    RoleBinding {
        id: RoleBindingId::from_uuid(head.cx.mint.next_uuid()),
        organization_id: scope.organization(),
        member_id,
        role,
        scope,
        created_at: head.now(),
    }
}

/// Returns where a role is to hold; the workspace must be one of the organization.
async fn place(tx: &mut Tx, organization: domain::OrganizationId, workspace: Option<WorkspaceId>) -> Outcome<Scope> {
    let Some(workspace) = workspace else { return Ok(Scope::Organization(organization)) };
    match store::workspaces::find(tx, workspace).await? {
        Some(found) if found.archived_at.is_none() => Ok(Scope::Workspace(organization, workspace)),
        _ => Err(Failure::unacceptable("/workspace_id", "is not a workspace of this organization")),
    }
}

/// Refuses a role that allows what the actor may not do there.
fn check_role(actor: &Actor, role: Role, scope: Scope) -> Result<(), Denied> {
    let is_meaningful = |permission: &Permission| scope.workspace().is_none() || permission.level() == Level::Workspace;
    match role.permissions().filter(is_meaningful).find(|permission| !actor.may(*permission, scope)) {
        Some(missing) => Err(Denied::Forbidden(missing)),
        None => Ok(()),
    }
}

/// Removes a member: bindings and access tokens end at once.
pub async fn remove(call: Call<RemoveMember>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let member = store::members::get(&mut write, call.path.member_id).await?;
    let bindings = store::members::list_bindings(&mut write, Some(&[member.id])).await?;
    for binding in &bindings {
        check_role(&call.caller.actor, binding.role, binding.scope)?;
    }
    keep_an_owner(&mut write, |binding| binding.member_id != member.id).await?;
    store::access_tokens::revoke_all(&mut write, &permit, member.user_id, call.now()).await?;
    store::members::delete(&mut write, &permit, member.id).await?;
    let before = view(member, &bindings);
    write.audit(Subject::new("member", before.id, &before.email).removed("member.remove", &before));
    write.commit(Empty {}).await
}

/// Binds a role to a member.
pub async fn bind(call: Call<BindRole>) -> Outcome<Reply<RoleBindingView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let scope = place(&mut write, permit.organization(), call.body.workspace_id).await?;
    check_role(&call.caller.actor, call.body.role, scope)?;
    let found = store::members::get(&mut write, call.body.member_id).await;
    let member = found.map_err(|error| match error {
        store::StoreError::NotFound(_) => Failure::unacceptable("/member_id", "is not a member of this organization"),
        other => other.into(),
    })?;
    let binding = new_binding(&call.head, member.id, call.body.role, scope);
    store::members::bind(&mut write, &permit, &binding).await?;
    let view = binding_view(&binding);
    write.audit(subject(&view, member.email.as_str()).created("role_binding.bind", &view));
    write.commit(view).await
}

/// Unbinds a role.
pub async fn unbind(call: Call<UnbindRole>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let binding = store::members::get_binding(&mut write, call.path.role_binding_id).await?;
    check_role(&call.caller.actor, binding.role, binding.scope)?;
    keep_an_owner(&mut write, |other| other.id != binding.id).await?;
    let member = store::members::get(&mut write, binding.member_id).await?;
    store::members::unbind(&mut write, &permit, binding.id).await?;
    let before = binding_view(&binding);
    write.audit(subject(&before, member.email.as_str()).removed("role_binding.unbind", &before));
    write.commit(Empty {}).await
}

/// Refuses to take the organization's last owner away.
async fn keep_an_owner(write: &mut WriteTx, stays: impl Fn(&RoleBinding) -> bool) -> Outcome<()> {
    let all = store::members::list_bindings(write, None).await?;
    let is_owner = |binding: &&RoleBinding| binding.role == Role::Owner && binding.scope.workspace().is_none();
    if all.iter().filter(is_owner).any(stays) {
        return Ok(());
    }
    Err(Failure::conflict("This is the last owner of the organization; make somebody else an owner first."))
}

fn subject(view: &RoleBindingView, email: &str) -> Subject {
    let subject = Subject::new("role_binding", view.id, format!("{} for {email}", view.role));
    match view.workspace_id {
        Some(workspace) => subject.within(workspace),
        None => subject,
    }
}
