//! What whoever runs the machine may do to people of any organization, from the command line.
//!
//! No role stands behind these acts but access to the database and the root key, so each is written into the audit log of every
//! organization it touches, as `system`. The administrator's own way back in is [`crate::bootstrap::reset_admin`].

use std::sync::Arc;

use domain::code::ProblemCode;
use domain::secret::Secret;
use domain::{Email, JobName, Permit, Scope, Timestamp};
use store::users::NewPassword;

use crate::bootstrap::record;
use crate::commands::members::one_time_end;
use operation::auth::password;
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// A password to tell somebody.
#[derive(Debug)]
pub struct OneTimePassword {
    /// For the next sign-in, which must then choose another.
    pub password: Secret<String>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Gives a person a one-time password and ends all their sessions, whichever organizations they belong to.
///
/// Errors: nobody has the address, or the person is a member of no organization.
pub async fn reset_password(cx: &Arc<Cx>, email: &str) -> Outcome<OneTimePassword> {
    let unknown = || Failure::of(ProblemCode::NotFound, format!("nobody with the address {email} is a member"));
    let email = Email::parse(email).map_err(|_| unknown())?;
    let mut system = cx.store.system().await?;
    let user = store::users::find_by_email(&mut system, &email).await?.ok_or_else(unknown)?;
    let mut organizations = store::members::list_organizations(&mut system, user.id).await?;
    drop(system);
    let last = organizations.pop().ok_or_else(unknown)?;
    let mut one_time = password::generate(cx.entropy.as_ref());
    let hash = cx.passwords.hash(&one_time, cx.entropy.as_ref()).await?;
    let expires_at = one_time_end(cx.now());

    let audit = Subject::new("user", user.id, &user.email).act("user.reset_password");
    let permit = |organization| Permit::system(JobName::Operator, Scope::Organization(organization));
    for organization in organizations {
        let mut tx = cx.store.write(organization).await?;
        record(cx, &mut tx, &permit(organization), audit.clone());
        tx.commit().await?;
    }
    let permit = permit(last);
    let mut tx = cx.store.write(last).await?;
    store::users::set_password(&mut tx, &permit, user.id, NewPassword::OneTime(&hash, expires_at)).await?;
    store::sessions::delete_all(&mut tx, user.id, None).await?;
    record(cx, &mut tx, &permit, audit);
    tx.commit().await?;
    Ok(OneTimePassword { password: Secret::new(std::mem::take(&mut *one_time)), expires_at })
}
