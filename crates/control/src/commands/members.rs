//! Members and their roles.
//!
//! Invariants: nobody gives or takes a role that allows more than they may do themselves at that place, and an organization
//! always has an owner who is not disabled. Both are decided inside the write, so two people removing each other cannot both
//! succeed. What ends a membership ends its tokens, and sessions that no other membership needs, in the same transaction.

use api::Empty;
use api::ops::members::{
    AddMember, AddedMemberView, BindRole, DisableMember, EnableMember, MemberView, OneTimePasswordView, RemoveMember,
    ResetMemberPassword, RoleBindingView, UnbindRole,
};
use domain::actor::Denied;
use domain::id::IdMint as _;
use domain::member::{Member, RoleBinding};
use domain::rbac::Level;
use domain::user::User;
use domain::{Actor, MemberId, Permission, Role, RoleBindingId, Scope, Timestamp, UserId, WorkspaceId};
use store::users::NewPassword;
use store::{Tx, WriteTx};
use zeroize::Zeroizing;

use crate::commands::organizations::member;
use crate::queries::members::{binding_view, view};
use operation::auth::password;
use operation::call::{Call, Head, Reply, Write};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

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
            let password = hash.as_deref().map(|hash| NewPassword::OneTime(hash, one_time_end(call.now())));
            store::users::insert(&mut write, &permit, &user, password).await?;
            user
        }
    };
    let member = member(cx, organization, &user, call.now());
    store::members::insert(&mut write, &permit, &member).await?;
    let binding = new_binding(&call, member.id, call.body.role, scope);
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

/// Returns when a one-time password made now stops working.
pub(crate) fn one_time_end(now: Timestamp) -> Timestamp {
    now.plus(password::ONE_TIME_LIFE)
}

/// Disables a member. Disabling twice succeeds.
pub async fn disable(call: Call<DisableMember>) -> Outcome<Reply<MemberView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let (member, bindings) = subordinate(&call, &mut write, call.path.member_id).await?;
    if member.disabled_at.is_some() {
        return Ok(Reply::new(view(member, &bindings)));
    }
    refuse_self(&call, &member, "Nobody disables themself; ask another owner or admin.")?;
    keep_an_owner(&mut write, |binding| binding.member_id != member.id).await?;
    end_access(&mut write, &member, call.now()).await?;
    store::members::disable(&mut write, &permit, member.id, call.now()).await?;
    let before = view(member.clone(), &bindings);
    let after = view(Member { disabled_at: Some(call.now()), ..member }, &bindings);
    write.audit(Subject::new("member", after.id, &after.email).changed("member.disable", &before, &after));
    write.commit(after).await
}

/// Enables a member again. Enabling twice succeeds.
pub async fn enable(call: Call<EnableMember>) -> Outcome<Reply<MemberView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let (member, bindings) = subordinate(&call, &mut write, call.path.member_id).await?;
    if member.disabled_at.is_none() {
        return Ok(Reply::new(view(member, &bindings)));
    }
    store::members::enable(&mut write, &permit, member.id).await?;
    let before = view(member.clone(), &bindings);
    let after = view(Member { disabled_at: None, ..member }, &bindings);
    write.audit(Subject::new("member", after.id, &after.email).changed("member.enable", &before, &after));
    write.commit(after).await
}

/// Gives a member a one-time password and ends all their sessions.
///
/// The password belongs to the person, not to the membership: with a second organization at stake, no single one decides.
pub async fn reset_password(call: Call<ResetMemberPassword>) -> Outcome<Reply<OneTimePasswordView>> {
    let cx = &call.cx;
    // The hash is computed before the organization's turn is taken: others should not wait for it.
    let mut one_time = password::generate(cx.entropy.as_ref());
    let hash = cx.passwords.hash(&one_time, cx.entropy.as_ref()).await?;
    let expires_at = one_time_end(call.now());
    let mut write = call.write().await?;
    let permit = write.permit();
    let (member, _) = subordinate(&call, &mut write, call.path.member_id).await?;
    refuse_self(&call, &member, "Change your own password under your account.")?;
    if store::members::count_elsewhere(&mut write, member.user_id).await?.all > 0 {
        return Err(Failure::conflict(
            "This person belongs to other organizations, too. They change their password themself, or whoever runs the \
             machine does: headgate admin reset-password.",
        ));
    }
    store::users::set_password(&mut write, &permit, member.user_id, NewPassword::OneTime(&hash, expires_at)).await?;
    store::sessions::delete_all(&mut *write, member.user_id, None).await?;
    write.audit(Subject::new("member", member.id, &member.email).act("member.reset_password"));
    write.commit(OneTimePasswordView { one_time_password: std::mem::take(&mut *one_time), expires_at }).await
}

/// Removes a member: bindings, access tokens and sessions end at once.
pub async fn remove(call: Call<RemoveMember>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let (member, bindings) = subordinate(&call, &mut write, call.path.member_id).await?;
    keep_an_owner(&mut write, |binding| binding.member_id != member.id).await?;
    end_access(&mut write, &member, call.now()).await?;
    store::members::delete(&mut write, &permit, member.id).await?;
    let before = view(member, &bindings);
    write.audit(Subject::new("member", before.id, &before.email).removed("member.remove", &before));
    write.commit(Empty {}).await
}

/// Returns a member who may do no more than the caller, with their bindings.
async fn subordinate(head: &Head, write: &mut Write<'_>, id: MemberId) -> Outcome<(Member, Vec<RoleBinding>)> {
    let member = store::members::get(write, id).await?;
    let bindings = store::members::list_bindings(write, Some(&[member.id])).await?;
    for binding in &bindings {
        check_role(&head.caller.actor, binding.role, binding.scope)?;
    }
    Ok((member, bindings))
}

fn refuse_self(head: &Head, member: &Member, instead: &str) -> Outcome<()> {
    if head.user()? == member.user_id { Err(Failure::conflict(instead)) } else { Ok(()) }
}

/// Ends what a membership gives: its access tokens, and sessions that no other membership needs.
async fn end_access(write: &mut Write<'_>, member: &Member, now: Timestamp) -> Outcome<()> {
    let permit = write.permit();
    store::access_tokens::revoke_all(write, &permit, member.user_id, now).await?;
    if store::members::count_elsewhere(write, member.user_id).await?.live == 0 {
        store::sessions::delete_all(&mut **write, member.user_id, None).await?;
    }
    Ok(())
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
    let binding = new_binding(&call, member.id, call.body.role, scope);
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
    if store::members::list_live_owners(write).await?.iter().any(stays) {
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
