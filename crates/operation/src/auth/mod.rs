//! The ways of becoming an actor: a session cookie or an access token; and what guards their secrets.
//!
//! Rights are read with every request, so a removed role or a revoked token works no longer than the request at hand.
//! Invariant: a bearer token that is sent and wrong is refused, even beside a valid cookie.

pub mod cookie;
pub mod device;
pub mod password;
pub mod throttle;

use std::time::Duration;

use domain::secret::{TokenKind, TokenMac, TokenSecret};
use domain::session::Session;
use domain::user::User;
use domain::{Actor, ActorKind, SessionId};
use http::{HeaderMap, header};
use store::SystemTx;

use crate::cx::Cx;
use crate::error::{Failure, Outcome};

/// The organization part of an access token's MAC: tokens are looked up before their organization is known.
pub const TOKEN_SCOPE: &str = "control";
/// The organization part of a join token's MAC.
pub const JOIN_SCOPE: &str = "join";
/// How often the last use is written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Who asks, with what the answer and the audit log need to know.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor with all grants.
    pub actor: Actor,
    /// The actor's name for the audit log.
    pub name: String,
    /// The session, for those who came by cookie.
    pub session: Option<SessionId>,
    /// Whether the browser added the proof on its own, so that forgery must be ruled out.
    pub is_cookie: bool,
    /// Whether a new password must be chosen before anything else.
    pub must_change_password: bool,
}

impl Caller {
    /// Nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            actor: Actor::anonymous(),
            name: String::new(),
            session: None,
            is_cookie: false,
            must_change_password: false,
        }
    }
}

/// Says which operations a person with a one-time password may perform.
#[must_use]
pub fn is_open_to_new_members(operation: &str) -> bool {
    matches!(operation, "auth.me" | "auth.logout" | "auth.change_password" | "auth.login")
}

/// Finds out who asks. Nobody is an answer too; a wrong or outdated proof is not.
pub async fn authenticate(cx: &Cx, headers: &HeaderMap) -> Outcome<Caller> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or("");
        let is_bearer = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
        let token = text.get(7..).filter(|_| is_bearer).map(str::trim);
        let token =
            token.ok_or_else(|| Failure::unauthenticated("Send the access token as Authorization: Bearer hga_…"))?;
        return by_token(cx, token).await;
    }
    match cx.config.reach().find(headers) {
        Some(value) => Ok(by_cookie(cx, &value).await?.unwrap_or_else(Caller::anonymous)),
        None => Ok(Caller::anonymous()),
    }
}

async fn by_token(cx: &Cx, presented: &str) -> Outcome<Caller> {
    let refused = || {
        Failure::unauthenticated("The access token is unknown, expired or revoked; create a new one in the console.")
    };
    if presented.starts_with("hgk_") {
        return Err(Failure::unauthenticated(
            "This is a virtual key, which works at the gateway; the management API takes access tokens (hga_…).",
        ));
    }
    let token = TokenSecret::parse(TokenKind::AccessToken, presented).map_err(|_| refused())?;
    let mut tx = cx.store.system().await?;
    let stored = store::access_tokens::find_by_kid(&mut tx, token.kid()).await?;
    let now = cx.now();
    let is_of = |mac: &TokenMac, version: u16| mac.matches(&token.mac(&cx.keyring.token_pepper(version), TOKEN_SCOPE));
    // An unknown id is compared as well, so that the time of the answer does not tell it from a wrong secret.
    let Some(stored) = stored else {
        let _ = is_of(&TokenMac::from_bytes([0; 32]), cx.keyring.version());
        return Err(refused());
    };
    let is_current = is_of(&stored.mac, stored.pepper_version);
    let old = stored.retiring(now).filter(|old| !is_current && is_of(&old.mac, old.pepper_version));
    if !(is_current || old.is_some()) || !stored.is_live(now) {
        return Err(refused());
    }
    let Some(user) = live_user(&mut tx, stored.user_id).await? else { return Err(refused()) };
    let grants = store::members::list_grants(&mut tx, user.id).await?;
    let last_used_at = old.map_or(stored.last_used_at, |old| old.last_used_at);
    if last_used_at.is_none_or(|at| now.since(at) >= TOUCH_EVERY) {
        store::access_tokens::touch(&mut tx, &stored, old.map(|old| &old.mac), now).await?;
        tx.commit().await?;
    }
    Ok(Caller {
        actor: Actor {
            kind: ActorKind::AccessToken(user.id, stored.id),
            grants,
            organization: Some(stored.organization_id),
        },
        name: format!("{} ({})", user.email, stored.name),
        session: None,
        is_cookie: false,
        must_change_password: user.must_change_password,
    })
}

async fn by_cookie(cx: &Cx, value: &str) -> Outcome<Option<Caller>> {
    let mut tx = cx.store.system().await?;
    let now = cx.now();
    let session = store::sessions::find_by_secret(&mut tx, &cookie::digest(value)).await?;
    let Some(session) = session.filter(|session| session.is_live(now)) else { return Ok(None) };
    let Some(user) = live_user(&mut tx, session.user_id).await? else { return Ok(None) };
    let grants = store::members::list_grants(&mut tx, user.id).await?;
    if now.since(session.last_seen_at) >= TOUCH_EVERY {
        store::sessions::touch(&mut tx, session.id, now).await?;
        tx.commit().await?;
    }
    Ok(Some(Caller {
        actor: Actor { kind: ActorKind::Session(user.id, session.id), grants, organization: None },
        name: user.email.to_string(),
        session: Some(session.id),
        is_cookie: true,
        must_change_password: user.must_change_password,
    }))
}

async fn live_user(tx: &mut SystemTx, id: domain::UserId) -> Outcome<Option<User>> {
    Ok(store::users::find(tx, id).await?.filter(|user| user.disabled_at.is_none()))
}

const _: () = assert!(Session::IDLE.as_secs() == cookie::IDLE_LIFE.as_secs());
const _: () = assert!(Session::ABSOLUTE.as_secs() == cookie::ABSOLUTE_LIFE.as_secs());
