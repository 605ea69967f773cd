//! Access tokens for the management API.

use std::time::Duration;

use api::Empty;
use api::ops::access_tokens::{CreateAccessToken, IssuedAccessTokenView, RevokeAccessToken, RotateAccessToken};
use domain::access_token::{AccessToken, OldSecret};
use domain::id::IdMint as _;
use domain::secret::{TokenKind, TokenMac, TokenSecret};
use domain::{AccessTokenId, DisplayName, OrganizationId, Permission, Scope, Timestamp, UserId};

use crate::queries::access_tokens::view;
use operation::auth::TOKEN_SCOPE;
use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// The most live tokens one person may have in an organization.
const MAX_LIVE: usize = 50;
/// The letter that stands where keys have their environment: for management.
const ENVIRONMENT: char = 'm';

/// Creates an access token for oneself.
pub async fn create(call: Call<CreateAccessToken>) -> Outcome<Reply<IssuedAccessTokenView>> {
    let now = call.now();
    check_expiry(call.body.expires_at, now)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let user = store::users::get(&mut *write, call.user()?).await?;
    let page = store::access_tokens::list(&mut write, Some(user.id), None, operation::page::limit(Some(200))?).await?;
    if page.items.iter().filter(|token| token.is_live(now)).count() >= MAX_LIVE {
        return Err(Failure::conflict(format!("You have {MAX_LIVE} access tokens here; revoke one first.")));
    }
    let holder = (permit.organization(), user.id);
    let (token, secret) = issue(&call.cx, holder, call.body.name.clone(), call.body.expires_at);
    store::access_tokens::insert(&mut write, &permit, &token).await?;
    let view = view(token, user.email, now);
    write.audit(Subject::new("access_token", view.id, &view.name).created("access_token.create", &view));
    write.commit(IssuedAccessTokenView { access_token: view, secret: secret.expose().to_owned() }).await
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Outcome<()> {
    match expires_at {
        Some(at) if at <= now => Err(Failure::unacceptable("/expires_at", "must be in the future")),
        _ => Ok(()),
    }
}

/// Gives one's own token a new secret; the old one goes on working for the overlap.
pub async fn rotate(call: Call<RotateAccessToken>) -> Outcome<Reply<IssuedAccessTokenView>> {
    let (overlap, now) = (call.body.overlap_secs, call.now());
    if overlap > AccessToken::MAX_OVERLAP_SECS {
        return Err(Failure::unacceptable("/overlap_secs", format!("use 0 to {}", AccessToken::MAX_OVERLAP_SECS)));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut token = store::access_tokens::get(&mut write, call.path.access_token_id).await?;
    if call.user()? != token.user_id {
        // Who holds a token's secret is its owner. No permission makes somebody else one, so there is none to name.
        let is_visible =
            call.caller.actor.may(Permission::AccessTokensRead, Scope::Organization(permit.organization()));
        return Err(if is_visible {
            Failure::conflict("Only its owner can rotate an access token; it can be revoked by others.")
        } else {
            Failure::not_found()
        });
    }
    let user = store::users::get(&mut *write, token.user_id).await?;
    if !token.is_live(now) {
        return Err(Failure::conflict("The access token is expired or revoked; create a new one."));
    }
    let before = view(token.clone(), user.email.clone(), now);
    if let Some(at) = before.old_secret_retires_at {
        return Err(Failure::conflict(format!(
            "The secret before still works until {at}; rotate again after that, or revoke the access token."
        )));
    }
    let secret = TokenSecret::rotate(TokenKind::AccessToken, ENVIRONMENT, token.kid, call.cx.entropy.as_ref());
    let end = now.plus(Duration::from_secs(overlap));
    // A longer life is the new secret's alone.
    let retires_at = token.expires_at.map_or(end, |at| at.min(end));
    token.old_secret = (overlap > 0).then_some(OldSecret {
        mac: token.mac,
        pepper_version: token.pepper_version,
        retires_at,
        last_used_at: None,
    });
    if !call.body.expires_at.is_absent() {
        token.expires_at = call.body.expires_at.apply(token.expires_at);
        check_expiry(token.expires_at, now)?;
    }
    token.mac = mac(&call.cx, &secret);
    (token.pepper_version, token.rotated_at) = (call.cx.keyring.version(), Some(now));
    store::access_tokens::rotate(&mut write, &permit, &token).await?;
    let after = view(token, user.email, now);
    let subject = Subject::new("access_token", after.id, &after.name);
    write.audit(subject.changed("access_token.rotate", &before, &after));
    write.commit(IssuedAccessTokenView { access_token: after, secret: secret.expose().to_owned() }).await
}

fn mac(cx: &Cx, secret: &TokenSecret) -> TokenMac {
    secret.mac(&cx.keyring.token_pepper(cx.keyring.version()), TOKEN_SCOPE)
}

/// Makes a token and its stored form.
pub(crate) fn issue(
    cx: &Cx,
    (organization_id, user_id): (OrganizationId, UserId),
    name: DisplayName,
    expires_at: Option<Timestamp>,
) -> (AccessToken, TokenSecret) {
    let secret = TokenSecret::generate(TokenKind::AccessToken, ENVIRONMENT, cx.entropy.as_ref());
    let token = AccessToken {
        id: AccessTokenId::from_uuid(cx.mint.next_uuid()),
        organization_id,
        user_id,
        name,
        kid: secret.kid(),
        mac: mac(cx, &secret),
        pepper_version: cx.keyring.version(),
        old_secret: None,
        created_at: cx.now(),
        rotated_at: None,
        expires_at,
        revoked_at: None,
        revoked_because: None,
        last_used_at: None,
    };
    (token, secret)
}

/// Revokes an access token: one's own, or anybody's with the permission.
pub async fn revoke(call: Call<RevokeAccessToken>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let token = store::access_tokens::get(&mut write, call.path.access_token_id).await?;
    let (actor, here) = (&call.caller.actor, Scope::Organization(permit.organization()));
    if actor.kind.user() != Some(token.user_id) && !actor.may(Permission::AccessTokensRevoke, here) {
        // Somebody else's token is visible to those who may list it, and to nobody else.
        let is_visible = actor.may(Permission::AccessTokensRead, here);
        return Err(if is_visible { Failure::Forbidden(Permission::AccessTokensRevoke) } else { Failure::not_found() });
    }
    store::access_tokens::revoke(&mut write, &permit, token.id, call.now()).await?;
    write.audit(Subject::new("access_token", token.id, &token.name).act("access_token.revoke"));
    write.commit(Empty {}).await
}
