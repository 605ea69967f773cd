//! Access tokens for the management API.

use api::Empty;
use api::ops::access_tokens::{CreateAccessToken, IssuedAccessTokenView, RevokeAccessToken};
use domain::access_token::AccessToken;
use domain::id::IdMint as _;
use domain::secret::{TokenKind, TokenSecret};
use domain::{AccessTokenId, DisplayName, OrganizationId, Permission, Scope, Timestamp, UserId};

use crate::auth::TOKEN_SCOPE;
use crate::call::{Call, Reply};
use crate::commands::audit::Subject;
use crate::cx::Cx;
use crate::error::{Failure, Outcome};
use crate::queries::access_tokens::view;

/// The most live tokens one person may have in an organization.
const MAX_LIVE: usize = 50;

/// Creates an access token for oneself.
pub async fn create(call: Call<CreateAccessToken>) -> Outcome<Reply<IssuedAccessTokenView>> {
    let now = call.now();
    if call.body.expires_at.is_some_and(|at| at <= now) {
        return Err(Failure::unacceptable("/expires_at", "must be in the future"));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let user = store::users::get(&mut *write, call.user()?).await?;
    let page = store::access_tokens::list(&mut write, Some(user.id), None, crate::queries::limit(Some(200))?).await?;
    if page.items.iter().filter(|token| token.is_live(now)).count() >= MAX_LIVE {
        return Err(Failure::conflict(format!("You have {MAX_LIVE} access tokens here; revoke one first.")));
    }
    let holder = (permit.organization(), user.id);
    let (token, secret) = issue(&call.cx, holder, call.body.name.clone(), call.body.expires_at);
    store::access_tokens::insert(&mut write, &permit, &token).await?;
    let view = view(token, user.email);
    write.audit(Subject::new("access_token", view.id, &view.name).created("access_token.create", &view));
    write.commit(IssuedAccessTokenView { access_token: view, secret: secret.expose().to_owned() }).await
}

/// Makes a token and its stored form.
pub(crate) fn issue(
    cx: &Cx,
    (organization_id, user_id): (OrganizationId, UserId),
    name: DisplayName,
    expires_at: Option<Timestamp>,
) -> (AccessToken, TokenSecret) {
    let secret = TokenSecret::generate(TokenKind::AccessToken, 'm', cx.entropy.as_ref());
    let token = AccessToken {
        id: AccessTokenId::from_uuid(cx.mint.next_uuid()),
        organization_id,
        user_id,
        name,
        kid: secret.kid(),
        mac: secret.mac(&cx.keyring.token_pepper(cx.keyring.version()), TOKEN_SCOPE),
        pepper_version: cx.keyring.version(),
        created_at: cx.now(),
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
