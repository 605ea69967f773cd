//! Signing in and out, and one's own password.
//!
//! Invariants: an unknown address, a wrong password and a disabled person give the same answer after the same work; a sign-in
//! that cannot be written to the audit log does not take place.

use std::net::{IpAddr, Ipv4Addr};

use api::Empty;
use api::ops::auth::{ChangePassword, Login, Logout, MeView, RevokeSession};
use domain::audit::{Audit, AuditOutcome};
use domain::code::ProblemCode;
use domain::id::IdMint as _;
use domain::session::Session;
use domain::user::User;
use domain::{Actor, ActorKind, Email, OrganizationId, Permit, SessionId};
use store::users::NewPassword;

use crate::queries;
use operation::auth::device::{self, Device};
use operation::auth::password::{self, Verdict};
use operation::auth::throttle::{Attempt, TryAgainIn};
use operation::auth::{Caller, cookie};
use operation::call::{Call, Head, Reply, Write};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::http::mount::SET_COOKIE;
use operation::trail::Subject;

/// Signs in.
pub async fn login(mut call: Call<Login>) -> Outcome<Reply<MeView>> {
    let cx = std::sync::Arc::clone(&call.cx);
    if !cx.config.reach().allows(call.host.as_deref()) {
        return Err(Failure::of(
            ProblemCode::PermissionDenied,
            "Signing in over plain http works on this machine only. Put https in front and set public_url to it.",
        ));
    }
    let device = known_device(&call, &call.body.email);
    let attempt = begin_attempt(&call, &call.body.email, device)?;
    let user = find_user(&cx, &call.body.email).await?;
    let user = match verify(&cx, user, &call.body.password).await {
        Ok(user) if !is_member(&cx, &user).await? => Err(Refused::Wrong(Some(user))),
        verified => verified,
    };
    let user = match user {
        Ok(user) => user,
        Err(Refused::Failed(failure)) => return Err(failure),
        Err(Refused::Wrong(user)) => {
            if let Some(user) = user {
                record_failed_login(&call, &user).await;
            }
            return Err(Failure::of(ProblemCode::LoginFailed, "Check the address and the password, and try again."));
        }
    };
    cx.logins.succeeded(&attempt, cx.now());

    let now = cx.now();
    let value = cookie::generate(cx.entropy.as_ref());
    let session = Session {
        id: SessionId::from_uuid(cx.mint.next_uuid()),
        user_id: user.id,
        created_at: now,
        last_seen_at: now,
        ip: call.origin.ip.clone(),
        user_agent: call.origin.user_agent.clone(),
    };
    let mut tx = cx.store.system().await?;
    let grants = store::members::list_grants(&mut tx, user.id).await?;
    drop(tx);
    let actor = Actor { kind: ActorKind::Session(user.id, session.id), grants, organization: None };
    let name = user.email.to_string();
    call.act_as(Caller { name, actor: actor.clone(), session: Some(session.id), ..Caller::anonymous() });
    let audit = Subject::new("session", session.id, &user.email).act("session.create");
    if let Some(mut write) = write_everywhere(&call, &audit).await? {
        store::sessions::insert(&mut *write, &session, &cookie::digest(&value)).await?;
        write.commit(Empty {}).await?;
    } else {
        let mut tx = cx.store.system().await?;
        store::sessions::insert(&mut tx, &session, &cookie::digest(&value)).await?;
        tx.commit().await?;
    }
    let view = queries::auth::me_view(&cx, &actor, &user).await?;
    let remembered = device::issue(&cx.keyring.derive(DEVICES), &call.body.email, device, cx.entropy.as_ref());
    let reach = cx.config.reach();
    Ok(Reply::new(view).with_header(SET_COOKIE, reach.set(&value)).with_header(SET_COOKIE, reach.remember(&remembered)))
}

/// What device cookies are made with.
const DEVICES: &str = "device|1";

/// Finds out whether the browser has signed in to this account before.
fn known_device(head: &Head, account: &str) -> Option<Device> {
    let (keyring, value) = (&head.cx.keyring, head.device.as_deref()?);
    keyring.versions().rev().find_map(|version| device::check(&keyring.derive_at(version, DEVICES), account, value))
}

/// Says whether there is anything left that the person may sign in for.
async fn is_member(cx: &Cx, user: &User) -> Outcome<bool> {
    let mut tx = cx.store.system().await?;
    Ok(store::members::has_live(&mut tx, user.id).await?)
}

/// Why a password was not accepted.
enum Refused {
    Wrong(Option<User>),
    Failed(Failure),
}

fn begin_attempt(head: &Head, account: &str, device: Option<Device>) -> Outcome<Attempt> {
    let address = head.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    head.cx.logins.begin(address, account, device, head.now()).map_err(|TryAgainIn(wait)| {
        head.cx.metrics.throttled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Failure::Wait(ProblemCode::RateLimited, wait)
    })
}

async fn find_user(cx: &Cx, email: &str) -> Outcome<Option<(User, Option<String>)>> {
    let Ok(email) = Email::parse(email) else { return Ok(None) };
    let mut tx = cx.store.system().await?;
    let Some(user) = store::users::find_by_email(&mut tx, &email).await? else { return Ok(None) };
    let hash = store::users::find_password_hash(&mut tx, user.id, cx.now()).await?;
    Ok(Some((user, hash)))
}

async fn verify(cx: &Cx, found: Option<(User, Option<String>)>, password: &str) -> Result<User, Refused> {
    // Longer ones cannot have been set; what is hashed stays bounded.
    let bounded: String = password.chars().take(*password::LENGTH.end()).collect();
    let is_whole = bounded.len() == password.len();
    let hash = found.as_ref().and_then(|(_, hash)| hash.clone());
    let verdict =
        cx.passwords.verify(&bounded, hash.as_deref()).await.map_err(|error| Refused::Failed(error.into()))?;
    match (verdict, found) {
        (Verdict::Right { is_outdated }, Some((user, Some(old)))) if is_whole && user.disabled_at.is_none() => {
            if is_outdated {
                rehash(cx, &user, &old, &bounded).await.map_err(Refused::Failed)?;
            }
            Ok(user)
        }
        (_, found) => Err(Refused::Wrong(found.map(|(user, _)| user))),
    }
}

async fn rehash(cx: &Cx, user: &User, old: &str, password: &str) -> Outcome<()> {
    let new = cx.passwords.hash(password, cx.entropy.as_ref()).await?;
    let mut tx = cx.store.system().await?;
    store::users::rehash(&mut tx, user.id, old, &new).await?;
    Ok(tx.commit().await?)
}

/// Writes a failed sign-in into the log of each organization of the person, the first in a minute.
async fn record_failed_login(head: &Head, user: &User) {
    let cx = &head.cx;
    if !cx.denials.is_new(user.id.to_string(), head.meta.name, cx.now()) {
        return;
    }
    let audit =
        Audit { outcome: AuditOutcome::Denied, ..Subject::new("user", user.id, &user.email).act("session.create") };
    let written = async {
        let mut tx = cx.store.system().await?;
        let organizations = store::members::list_organizations(&mut tx, user.id).await?;
        drop(tx);
        for organization in organizations {
            let mut tx = cx.store.write(organization).await?;
            tx.audit_denied(ActorKind::Anonymous, head.draft(audit.clone()));
            tx.commit().await?;
        }
        Ok::<_, store::StoreError>(())
    };
    if let Err(error) = written.await {
        tracing::warn!(
            error = operation::error::chain(&error),
            "a failed sign-in could not be written to the audit log"
        );
    }
}

/// Begins an act of a person on their own things: one transaction with an entry for the log of each of their organizations, so
/// that none tells of what did not happen. `None`: they have no role anywhere, so there is no log to write to.
async fn write_everywhere<'a>(head: &'a Head, audit: &Audit) -> Outcome<Option<Write<'a>>> {
    // In ascending order, which is the order in which the store takes turns.
    let mut organizations = head.caller.actor.organizations().into_iter();
    let Some(first) = organizations.next() else { return Ok(None) };
    let mut write = head.write_as(own_permit(&head.caller.actor, first)?).await?;
    write.audit(audit.clone());
    for organization in organizations {
        write.audit_elsewhere(&own_permit(&head.caller.actor, organization)?, audit.clone())?;
    }
    Ok(Some(write))
}

fn own_permit(actor: &Actor, organization: OrganizationId) -> Outcome<Permit> {
    Permit::own(actor, organization).ok_or_else(|| Failure::unauthenticated("Sign in first."))
}

/// Signs out.
pub async fn logout(call: Call<Logout>) -> Outcome<Reply<Empty>> {
    let session = call.caller.session.ok_or_else(queries::auth::session_needed)?;
    end_session(&call, session, "session.end").await?;
    Ok(Reply::new(Empty {}).with_header(SET_COOKIE, call.cx.config.reach().clear()))
}

/// Ends one of one's own sessions.
pub async fn revoke_session(call: Call<RevokeSession>) -> Outcome<Reply<Empty>> {
    end_session(&call, call.path.session_id, "session.revoke").await?;
    Ok(Reply::new(Empty {}))
}

async fn end_session(head: &Head, session: SessionId, action: &'static str) -> Outcome<()> {
    let user = head.user()?;
    let mut tx = head.cx.store.system().await?;
    let is_own = store::sessions::list(&mut tx, user).await?.iter().any(|own| own.id == session);
    drop(tx);
    if !is_own {
        return Err(Failure::not_found());
    }
    let audit = Subject::new("session", session, &head.caller.name).act(action);
    if let Some(mut write) = write_everywhere(head, &audit).await? {
        store::sessions::delete(&mut *write, user, session).await?;
        write.commit(Empty {}).await?;
        return Ok(());
    }
    let mut tx = head.cx.store.system().await?;
    store::sessions::delete(&mut tx, user, session).await?;
    Ok(tx.commit().await?)
}

/// Changes one's own password and ends every other session.
pub async fn change_password(call: Call<ChangePassword>) -> Outcome<Reply<Empty>> {
    let cx = &call.cx;
    let id = call.user()?;
    let mut tx = cx.store.system().await?;
    let user = store::users::get(&mut tx, id).await?;
    let hash = store::users::find_password_hash(&mut tx, id, call.now()).await?;
    drop(tx);
    // Counted by the person who is signed in, so that what strangers try at the sign-in does not matter here.
    let attempt = begin_attempt(&call, &user.id.to_string(), None)?;
    let user = verify(cx, Some((user, hash)), &call.body.current_password).await.map_err(|refused| match refused {
        Refused::Failed(failure) => failure,
        Refused::Wrong(_) => Failure::unacceptable("/current_password", "is not the password that holds now"),
    })?;
    cx.logins.succeeded(&attempt, cx.now());
    let new = &call.body.new_password;
    if *new == call.body.current_password {
        return Err(Failure::unacceptable("/new_password", "must differ from the current password"));
    }
    password::check_policy(new, &[user.email.as_str(), user.name.as_str(), "headgate"])
        .map_err(|weak| Failure::unacceptable("/new_password", weak.to_string()))?;
    let hash = cx.passwords.hash(new, cx.entropy.as_ref()).await?;

    let audit = Subject::new("user", user.id, &user.email).act("user.change_password");
    let Some(mut write) = write_everywhere(&call, &audit).await? else {
        return Err(Failure::conflict("You are no longer a member of any organization; ask to be added again."));
    };
    let permit = write.permit();
    store::users::set_password(&mut write, &permit, user.id, NewPassword::Own(&hash)).await?;
    store::sessions::delete_all(&mut *write, user.id, call.caller.session).await?;
    write.commit(Empty {}).await
}
