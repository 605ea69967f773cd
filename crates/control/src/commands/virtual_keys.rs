//! Virtual keys: issued once in clear, stored as a keyed hash, rotated with overlap, revoked for ever.

use std::time::Duration;

use api::ops::virtual_keys::{
    IssueVirtualKey, IssuedVirtualKeyView, RevokeVirtualKey, RotateVirtualKey, UpdateVirtualKey, VirtualKeyView,
};
use domain::environment::Environment;
use domain::id::IdMint as _;
use domain::secret::{TokenKind, TokenSecret};
use domain::virtual_key::{KeySecret, KeyStatus, VirtualKey};
use domain::{DisplayName, ModelPattern, OrganizationId, Timestamp, UserId, VirtualKeyId};

use crate::commands::environments;
use crate::queries::virtual_keys::{find, named, view};
use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// The most patterns of an allow-list.
const MAX_PATTERNS: usize = 100;

/// Issues a virtual key.
pub async fn issue(call: Call<IssueVirtualKey>) -> Outcome<Reply<IssuedVirtualKeyView>> {
    let now = call.now();
    check_models(&call.body.allowed_models)?;
    check_expiry(call.body.expires_at, now)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let environment = environments::get(&mut write, call.workspace()?, call.body.environment_id).await;
    let environment = environment.map_err(|failure| match failure {
        Failure::Store(store::StoreError::NotFound(_)) | Failure::Problem(_) => {
            Failure::unacceptable("/environment_id", "is not an environment of this workspace")
        }
        other => other,
    })?;
    let (mut key, secret) = make(&call.cx, &environment, call.body.name.clone(), call.caller.actor.kind.user());
    key.allowed_models.clone_from(&call.body.allowed_models);
    key.expires_at = call.body.expires_at;
    store::virtual_keys::insert(&mut write, &permit, &key).await?;
    let view = view(key, now);
    write.audit(subject(&view).created("virtual_key.issue", &view));
    let view = named(&mut write, view).await?;
    write.commit(IssuedVirtualKeyView { virtual_key: view, secret: secret.expose().to_owned() }).await
}

/// Makes a key without limits and its secret.
pub(crate) fn make(
    cx: &Cx,
    environment: &Environment,
    name: DisplayName,
    created_by: Option<UserId>,
) -> (VirtualKey, TokenSecret) {
    let now = cx.now();
    let secret = TokenSecret::generate(TokenKind::VirtualKey, environment.letter(), cx.entropy.as_ref());
    let key = VirtualKey {
        id: VirtualKeyId::from_uuid(cx.mint.next_uuid()),
        organization_id: environment.organization_id,
        workspace_id: environment.workspace_id,
        environment_id: environment.id,
        name,
        kid: secret.kid(),
        secrets: vec![stored(cx, environment.organization_id, &secret, now)],
        allowed_models: Vec::new(),
        created_by,
        expires_at: None,
        revoked_at: None,
        revoked_because: None,
        last_used_at: None,
        old_secret_used_at: None,
        version: 1,
        created_at: now,
    };
    (key, secret)
}

fn stored(cx: &Cx, organization: OrganizationId, secret: &TokenSecret, now: Timestamp) -> KeySecret {
    let mac = secret.mac(&cx.key_pepper(organization), &organization.to_string());
    KeySecret { mac, pepper_version: cx.keyring.version(), issued_at: now, retires_at: None }
}

fn check_models(patterns: &[ModelPattern]) -> Outcome<()> {
    if patterns.len() > MAX_PATTERNS {
        return Err(Failure::unacceptable("/allowed_models", format!("give at most {MAX_PATTERNS} patterns")));
    }
    Ok(())
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Outcome<()> {
    match expires_at {
        Some(at) if at <= now => Err(Failure::unacceptable("/expires_at", "must be in the future")),
        _ => Ok(()),
    }
}

fn check_unrevoked(key: &VirtualKey, now: Timestamp) -> Outcome<()> {
    match key.status(now) {
        KeyStatus::Revoked => Err(Failure::conflict("The key is revoked for ever; issue a new one.")),
        KeyStatus::Active | KeyStatus::Expired => Ok(()),
    }
}

/// Renames a key, or changes its allow-list or expiry.
pub async fn update(call: Call<UpdateVirtualKey>) -> Outcome<Reply<VirtualKeyView>> {
    let (seen, now) = (call.seen_version(call.body.version)?, call.now());
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut key = find(&mut write, call.workspace()?, call.path.virtual_key_id).await?;
    check_unrevoked(&key, now)?;
    let before = view(key.clone(), now);
    key.version = seen;
    if let Some(name) = &call.body.name {
        key.name = name.clone();
    }
    if let Some(models) = &call.body.allowed_models {
        check_models(models)?;
        key.allowed_models.clone_from(models);
    }
    if !call.body.expires_at.is_absent() {
        key.expires_at = call.body.expires_at.apply(key.expires_at);
        check_expiry(key.expires_at, now)?;
    }
    key.version = store::virtual_keys::update(&mut write, &permit, &key).await?;
    let after = view(key, now);
    write.audit(subject(&after).changed("virtual_key.update", &before, &after));
    let after = named(&mut write, after).await?;
    write.commit(after).await
}

/// Gives a key a new secret; the old one goes on working for the overlap.
pub async fn rotate(call: Call<RotateVirtualKey>) -> Outcome<Reply<IssuedVirtualKeyView>> {
    let (overlap, now) = (call.body.overlap_secs, call.now());
    if overlap > VirtualKey::MAX_OVERLAP_SECS {
        return Err(Failure::unacceptable("/overlap_secs", format!("use 0 to {}", VirtualKey::MAX_OVERLAP_SECS)));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut key = find(&mut write, call.workspace()?, call.path.virtual_key_id).await?;
    check_unrevoked(&key, now)?;
    let before = view(key.clone(), now);
    if let Some(at) = before.old_secret_retires_at {
        return Err(Failure::conflict(format!(
            "The secret before still works until {at}; rotate again after that, or revoke the key."
        )));
    }
    let environment = environments::get(&mut write, key.workspace_id, key.environment_id).await?;
    let secret = TokenSecret::rotate(TokenKind::VirtualKey, environment.letter(), key.kid, call.cx.entropy.as_ref());
    let mut secrets = vec![stored(&call.cx, key.organization_id, &secret, now)];
    if overlap > 0 {
        let retiring = key
            .secrets
            .first()
            .map(|old| KeySecret { retires_at: Some(now.plus(Duration::from_secs(overlap))), ..*old });
        secrets.extend(retiring);
    }
    key.secrets = secrets;
    key.version = store::virtual_keys::update(&mut write, &permit, &key).await?;
    let after = view(key, now);
    write.audit(subject(&after).changed("virtual_key.rotate", &before, &after));
    let after = named(&mut write, after).await?;
    write.commit(IssuedVirtualKeyView { virtual_key: after, secret: secret.expose().to_owned() }).await
}

/// Revokes a key for ever. Revoking a revoked key changes nothing and succeeds.
pub async fn revoke(call: Call<RevokeVirtualKey>) -> Outcome<Reply<VirtualKeyView>> {
    let now = call.now();
    let mut write = call.write().await?;
    let permit = write.permit();
    let key = find(&mut write, call.workspace()?, call.path.virtual_key_id).await?;
    let before = view(key.clone(), now);
    if key.revoked_at.is_some() {
        return Ok(Reply::new(named(&mut write, before).await?));
    }
    store::virtual_keys::revoke(&mut write, &permit, key.id, now).await?;
    let after = view(store::virtual_keys::get(&mut write, key.id).await?, now);
    write.audit(subject(&after).changed("virtual_key.revoke", &before, &after));
    let after = named(&mut write, after).await?;
    write.commit(after).await
}

fn subject(view: &VirtualKeyView) -> Subject {
    Subject::new("virtual_key", view.id, &view.name).within(view.workspace_id)
}
