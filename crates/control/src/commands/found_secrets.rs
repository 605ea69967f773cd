//! Secrets of ours that somebody found: whoever shows one may have it ended at once, and nothing else.
//!
//! Possession is the authority. Invariants: the answer never tells whether anything was ended; nothing is looked up for a text
//! whose checksum is wrong; a secret that no longer works ends nothing, so that one who rotated a leaked secret away keeps the
//! new one.

use std::net::IpAddr;

use api::Empty;
use api::ops::found_secrets::{FoundSecret, MAX_SECRETS, ReportFoundSecrets};
use domain::access_token::AccessToken;
use domain::alert::{Alert, AlertKind, Severity};
use domain::code::ProblemCode;
use domain::secret::{TokenKind, TokenMac, TokenSecret};
use domain::virtual_key::KeySecret;
use domain::{OrganizationId, Permit, Timestamp, WorkspaceId};

use crate::queries::{access_tokens, virtual_keys};
use operation::auth::throttle::network;
use operation::auth::{JOIN_SCOPE, TOKEN_SCOPE};
use operation::call::{Call, Head, Reply, Write};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Longest web address that is passed on.
const MAX_URL: usize = 500;

/// A text of the form of our tokens, with a right checksum.
struct Shown<'a> {
    kind: TokenKind,
    token: TokenSecret,
    url: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn read(found: &'a FoundSecret) -> Option<Self> {
        // A join token is handed out with the fingerprint of the authority behind a dot.
        let text = found.token.trim().split('.').next().unwrap_or_default();
        let (kind, token) =
            TokenKind::ALL.into_iter().find_map(|kind| Some((kind, TokenSecret::parse(kind, text).ok()?)))?;
        Some(Self { kind, token, url: found.url.as_deref().filter(|url| is_web_address(url)) })
    }
}

/// Says whether a text may stand in a message to people: it comes from anybody.
fn is_web_address(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    url.len() <= MAX_URL && (url.starts_with("https://") || url.starts_with("http://")) && url.bytes().all(is_plain)
}

/// Ends what is shown.
pub async fn report(call: Call<ReportFoundSecrets>) -> Outcome<Reply<Empty>> {
    let found = call.body.as_slice();
    if found.len() > MAX_SECRETS {
        return Err(Failure::unacceptable("", format!("send at most {MAX_SECRETS} at once")));
    }
    let shown: Vec<Shown<'_>> = found.iter().filter_map(Shown::read).collect();
    let who = call.address.map(network).as_ref().map_or_else(String::new, IpAddr::to_string);
    let n = u32::try_from(shown.len()).unwrap_or(u32::MAX).max(1);
    call.cx.finds.take_many(who, n, call.now()).map_err(|wait| Failure::Wait(ProblemCode::RateLimited, wait))?;
    for one in &shown {
        match one.kind {
            TokenKind::VirtualKey => end_virtual_key(&call, one).await?,
            TokenKind::AccessToken => end_access_token(&call, one).await?,
            TokenKind::JoinToken => end_join_token(&call, one).await?,
        }
    }
    Ok(Reply::new(Empty {}))
}

async fn end_virtual_key(head: &Head, shown: &Shown<'_>) -> Outcome<()> {
    let (cx, now) = (&head.cx, head.now());
    let mut tx = cx.store.system().await?;
    let candidates = store::virtual_keys::find_by_kid(&mut tx, shown.token.kid()).await?;
    drop(tx);
    let owner = candidates.iter().find(|candidate| {
        let is_it =
            |(mac, pepper): &(TokenMac, u16)| is_of(cx, candidate.organization_id, (mac, *pepper), &shown.token);
        candidate.macs.iter().any(is_it)
    });
    if candidates.is_empty() {
        // An unknown id is compared as well, so that the time of the answer does not tell it from a wrong secret.
        let nobody = (&TokenMac::from_bytes([0; 32]), cx.keyring.version());
        let _ = is_of(cx, OrganizationId::from_uuid(0), nobody, &shown.token);
    }
    let Some(owner) = owner else { return Ok(()) };

    let mut write = head.write_as(Permit::finder(owner.organization_id)).await?;
    let permit = write.permit();
    // Once more, now that nobody else can rotate or revoke it.
    let mut key = store::virtual_keys::get(&mut write, owner.id).await?;
    let is_shown = |secret: &KeySecret| {
        let is_live = secret.retires_at.is_none_or(|at| now < at);
        is_live && is_of(cx, key.organization_id, (&secret.mac, secret.pepper_version), &shown.token)
    };
    let Some(place) = key.secrets.iter().position(is_shown).filter(|_| key.revoked_at.is_none()) else {
        return Ok(());
    };
    let (before, issued_at) = (virtual_keys::view(key.clone(), now), key.secrets[place].issued_at);
    let action = if place == 0 {
        store::virtual_keys::revoke(&mut write, &permit, key.id, now).await?;
        "virtual_key.revoke"
    } else {
        // It was being rotated away: its time is over now, the new one stays.
        key.secrets.truncate(1);
        store::virtual_keys::update(&mut write, &permit, &key).await?;
        "virtual_key.retire_secret"
    };
    let after = virtual_keys::view(store::virtual_keys::get(&mut write, key.id).await?, now);
    let subject = Subject::new("virtual_key", after.id, &after.name).within(after.workspace_id);
    write.audit(subject.changed(action, &before, &after));
    let ended =
        Ended { what: "virtual_key", id: after.id.to_string(), name: after.name.as_str(), secret_of: issued_at };
    tell(&mut write, shown, &ended, Some(after.workspace_id), now).await?;
    write.commit(Empty {}).await?;
    Ok(())
}

/// Says whether a presented key is the one of a stored MAC.
fn is_of(cx: &Cx, organization: OrganizationId, (mac, pepper): (&TokenMac, u16), token: &TokenSecret) -> bool {
    token.mac(&cx.keyring.key_pepper(organization, pepper), &organization.to_string()).matches(mac)
}

async fn end_access_token(head: &Head, shown: &Shown<'_>) -> Outcome<()> {
    let (cx, now) = (&head.cx, head.now());
    let mut tx = cx.store.system().await?;
    let stored = store::access_tokens::find_by_kid(&mut tx, shown.token.kid()).await?;
    let is_of =
        |mac: &TokenMac, version: u16| mac.matches(&shown.token.mac(&cx.keyring.token_pepper(version), TOKEN_SCOPE));
    let Some(stored) = stored else {
        let _ = is_of(&TokenMac::from_bytes([0; 32]), cx.keyring.version());
        return Ok(());
    };
    let is_old = |token: &AccessToken| token.retiring(now).is_some_and(|old| is_of(&old.mac, old.pepper_version));
    if !is_of(&stored.mac, stored.pepper_version) && !is_old(&stored) {
        return Ok(());
    }
    let email = store::users::get(&mut tx, stored.user_id).await?.email;
    drop(tx);

    let mut write = head.write_as(Permit::finder(stored.organization_id)).await?;
    let permit = write.permit();
    // Once more, now that nobody else can rotate or revoke it.
    let mut token = store::access_tokens::get(&mut write, stored.id).await?;
    let before = access_tokens::view(token.clone(), email.clone(), now);
    let (action, secret_of) = if token.revoked_at.is_some() {
        return Ok(());
    } else if is_of(&token.mac, token.pepper_version) {
        store::access_tokens::revoke(&mut write, &permit, token.id, now).await?;
        ("access_token.revoke", token.issued_at())
    } else if let Some(old) = token.retiring(now).copied().filter(|_| is_old(&token)) {
        // It was being rotated away: its time is over now, the new one stays.
        token.old_secret = None;
        store::access_tokens::rotate(&mut write, &permit, &token).await?;
        ("access_token.retire_secret", old.retires_at)
    } else {
        return Ok(());
    };
    let after = access_tokens::view(store::access_tokens::get(&mut write, token.id).await?, email, now);
    let subject = Subject::new("access_token", after.id, &after.name);
    write.audit(subject.changed(action, &before, &after));
    let ended = Ended { what: "access_token", id: after.id.to_string(), name: after.name.as_str(), secret_of };
    tell(&mut write, shown, &ended, None, now).await?;
    write.commit(Empty {}).await?;
    Ok(())
}

async fn end_join_token(head: &Head, shown: &Shown<'_>) -> Outcome<()> {
    let (cx, now) = (&head.cx, head.now());
    let mut tx = cx.store.system().await?;
    let stored = store::join_tokens::find_by_kid(&mut tx, shown.token.kid()).await?;
    drop(tx);
    let mac = stored.as_ref().map_or(TokenMac::from_bytes([0; 32]), |token| token.mac);
    let is_right = |version| mac.matches(&shown.token.mac(&cx.keyring.join_pepper(version), JOIN_SCOPE));
    let is_known = cx.keyring.versions().any(is_right);
    let Some(stored) = stored.filter(|_| is_known) else { return Ok(()) };

    let mut write = head.write_as(Permit::finder(stored.organization_id)).await?;
    let permit = write.permit();
    match store::join_tokens::delete(&mut write, &permit, stored.id).await {
        // A node was faster: then it is used up.
        Err(store::StoreError::NotFound(_)) => return Ok(()),
        deleted => deleted?,
    }
    write.audit(Subject::new("join_token", stored.id, "join token").act("join_token.revoke"));
    let ended =
        Ended { what: "join_token", id: stored.id.to_string(), name: "join token", secret_of: stored.created_at };
    tell(&mut write, shown, &ended, None, now).await?;
    write.commit(Empty {}).await?;
    Ok(())
}

/// What was ended.
struct Ended<'a> {
    what: &'static str,
    id: String,
    name: &'a str,
    /// A time that tells the secret from the others of the same thing.
    secret_of: Timestamp,
}

/// Tells those who hear of such things.
async fn tell(
    write: &mut Write<'_>,
    shown: &Shown<'_>,
    ended: &Ended<'_>,
    workspace: Option<WorkspaceId>,
    now: Timestamp,
) -> Outcome<()> {
    let subject = format!("{}/{}", ended.what, ended.id);
    let once = format!("{subject}/found/{}", ended.secret_of.as_micros());
    let what = ended.what.replace('_', " ");
    let summary = format!("Somebody found a secret of the {what} “{}” and showed it; it has ended.", ended.name);
    let kind = (AlertKind::SecretFound, Severity::Critical);
    let alert = Alert::new(write.permit().organization(), kind, &subject, &once, &summary, now)
        .within(workspace)
        .with("kind", ended.what)
        .with("id", &ended.id)
        .with("key_id", shown.token.kid());
    // Whoever shows a secret says so; nobody has looked.
    let alert = match shown.url {
        Some(url) => alert.with("said_to_be_at", url),
        None => alert,
    };
    store::alerts::raise(&mut **write, &[alert]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

    #[test]
    fn only_what_has_a_right_checksum_is_looked_at() {
        let read = |token: &str| Shown::read(&FoundSecret { token: token.to_owned(), url: None }).map(|it| it.kind);
        for kind in TokenKind::ALL {
            let text = TokenSecret::generate(kind, 'p', &SeededEntropy::new(3)).expose().to_owned();
            assert_eq!(read(&format!(" {text}\n")), Some(kind));
            assert_eq!(read(&format!("{text}.0123abcd")), Some(kind));
            let cut = &text[..text.len() - 1];
            assert_eq!((read(cut), read(&format!("{cut}-"))), (None, None));
        }
        assert_eq!(read("sk-proj-0123456789"), None);
    }

    #[test]
    fn nothing_but_a_plain_web_address_is_passed_on() {
        assert!(is_web_address("https://code.example/a/b?c=d#L1"));
        for other in ["javascript:alert(1)", "https://a b", "https://a/<b>", "https://a/\nb", "ftp://a", ""] {
            assert!(!is_web_address(other), "{other}");
        }
        assert!(!is_web_address(&format!("https://a/{}", "b".repeat(MAX_URL))));
    }
}
