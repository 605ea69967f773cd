//! Provider credentials: sealed before they reach the store, bound to the origin they were entered for.
//!
//! Invariant: a stored secret is never sent to an origin other than the one it was saved with; a new origin wants the secret
//! again. No function here returns a secret.

use api::Empty;
use api::ops::credentials::{ArchiveCredential, CreateCredential, CredentialView, UpdateCredential};
use domain::credential::DataPolicy;
use domain::credential::{Credential, SealedSecret, seal_context};
use domain::id::IdMint as _;
use domain::{CredentialId, DisplayName, OrganizationId, Permit};
use provider::{Base, Provider, Spec};
use serde::Serialize;
use store::{Tx, WriteTx};
use treasury::commands::models::provider;

use crate::queries::credentials::view;
use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::keyring;
use operation::trail::{self, Subject};

/// A credential to be stored.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub provider: &'a str,
    pub name: DisplayName,
    pub base_url: Option<&'a str>,
    pub secret: Option<&'a str>,
    pub allows_passthrough: bool,
    pub data_policy: Option<DataPolicy>,
}

/// What the audit log keeps of a credential.
#[derive(Debug, Serialize)]
struct Recorded<'a> {
    #[serde(flatten)]
    view: &'a CredentialView,
    /// Equal digests are equal secrets.
    secret_digest: Option<String>,
}

/// Stores a credential.
pub async fn create(call: Call<CreateCredential>) -> Outcome<Reply<CredentialView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let body = &call.body;
    let draft = Draft {
        provider: &body.provider,
        name: body.name.clone(),
        base_url: body.base_url.as_deref(),
        secret: body.secret.as_deref(),
        allows_passthrough: body.allows_passthrough,
        data_policy: body.data_policy,
    };
    let credential = insert(&call.cx, &mut write, &permit, draft).await?;
    let view = view(&mut write, &credential).await?;
    let audit = record_created(&call.cx, permit.organization(), &view, body.secret.as_deref());
    write.audit(audit);
    write.commit(view).await
}

pub(crate) fn record_created(
    cx: &Cx,
    organization: OrganizationId,
    view: &CredentialView,
    secret: Option<&str>,
) -> domain::audit::Audit {
    let secret_digest = secret.map(|secret| trail::digest(cx, organization, secret.trim()));
    Subject::new("credential", view.id, &view.name).created("credential.create", &Recorded { view, secret_digest })
}

/// Checks and inserts a credential; also the first start's way.
pub(crate) async fn insert(cx: &Cx, tx: &mut WriteTx, permit: &Permit, draft: Draft<'_>) -> Outcome<Credential> {
    let provider = provider(draft.provider)?;
    let spec = provider.spec();
    if !spec.needs_credential {
        return Err(Failure::unacceptable("/provider", format!("{} needs no credential", spec.title)));
    }
    let base_url = address(spec, draft.base_url)?;
    let is_vendor = spec.base_url.is_some_and(|own| own == base_url);
    let secret = draft.secret.map(|secret| check_secret(provider, secret)).transpose()?;
    if is_vendor && secret.is_none() {
        return Err(Failure::unacceptable("/secret", format!("{} wants a key", spec.title)));
    }
    let now = cx.now();
    let mut credential = Credential {
        id: CredentialId::from_uuid(cx.mint.next_uuid()),
        organization_id: permit.organization(),
        provider: spec.name.to_owned(),
        name: draft.name,
        base_url,
        secret: None,
        secret_version: 1,
        allows_passthrough: draft.allows_passthrough,
        data_policy: draft.data_policy,
        hint: String::new(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    if let Some(secret) = secret {
        set_secret(cx, tx, &mut credential, secret).await?;
    }
    store::credentials::insert(tx, permit, &credential).await?;
    Ok(credential)
}

fn address(spec: &Spec, given: Option<&str>) -> Outcome<String> {
    let text = given.or(spec.base_url).ok_or_else(|| {
        Failure::unacceptable("/base_url", format!("{} has no address of its own; give one", spec.title))
    })?;
    let text = text.trim().trim_end_matches('/');
    if text.len() > 512 {
        return Err(Failure::unacceptable("/base_url", "must be at most 512 characters long"));
    }
    Base::parse(spec, text).map_err(|error| Failure::unacceptable("/base_url", error.to_string()))?;
    Ok(text.to_owned())
}

fn origin(spec: &Spec, base_url: &str) -> Option<String> {
    Base::parse(spec, base_url).ok().map(|base| base.origin())
}

fn check_secret<'s>(provider: &dyn Provider, secret: &'s str) -> Outcome<&'s str> {
    let text = secret.trim();
    provider.spec().check_secret(text).map_err(|error| Failure::unacceptable("/secret", error.to_string()))?;
    Ok(text)
}

/// Seals a secret into the credential with the organization's newest data key.
async fn set_secret(cx: &Cx, tx: &mut Tx, credential: &mut Credential, secret: &str) -> Outcome<()> {
    let keys = store::credentials::list_data_keys(tx).await?;
    let newest = keys.last().ok_or_else(|| Failure::Internal("the organization has no data key".to_owned()))?;
    let key = cx.keyring.data_key(credential.organization_id, &newest.sealed)?;
    let place = seal_context(credential.organization_id, credential.id, credential.secret_version);
    let ciphertext = keyring::seal(&key, &place, secret.as_bytes(), cx.entropy.as_ref())?;
    credential.secret = Some(SealedSecret { key_version: newest.version, ciphertext });
    let is_key = !secret.starts_with('{');
    credential.hint = if is_key && secret.len() >= 16 { secret[secret.len() - 4..].to_owned() } else { String::new() };
    Ok(())
}

/// Renames a credential, or replaces its secret or address.
pub async fn update(call: Call<UpdateCredential>) -> Outcome<Reply<CredentialView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut credential = live(&mut write, call.path.credential_id).await?;
    let before = view(&mut write, &credential).await?;
    credential.version = seen;
    change(
        &call.cx,
        &mut write,
        &mut credential,
        Change {
            name: call.body.name.as_ref(),
            base_url: call.body.base_url.as_deref(),
            secret: call.body.secret.as_deref(),
            allows_passthrough: call.body.allows_passthrough,
            data_policy: call.body.data_policy.as_deref(),
        },
    )
    .await?;
    credential.version = store::credentials::update(&mut write, &permit, &credential).await?;
    let after = view(&mut write, &credential).await?;
    let audit = record_changed(&call.cx, permit.organization(), (&before, &after), call.body.secret.as_deref());
    write.audit(audit);
    write.commit(after).await
}

pub(crate) fn record_changed(
    cx: &Cx,
    organization: OrganizationId,
    (before, after): (&CredentialView, &CredentialView),
    secret: Option<&str>,
) -> domain::audit::Audit {
    let secret_digest = secret.map(|secret| trail::digest(cx, organization, secret.trim()));
    Subject::new("credential", after.id, &after.name).changed(
        "credential.update",
        before,
        &Recorded { view: after, secret_digest },
    )
}

/// What is to change in a credential.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    pub name: Option<&'a DisplayName>,
    pub base_url: Option<&'a str>,
    pub secret: Option<&'a str>,
    pub allows_passthrough: Option<bool>,
    /// As the caller writes it; an empty text is nothing said.
    pub data_policy: Option<&'a str>,
}

/// Reads what a provider does with data; an empty text is nothing said.
fn data_policy(text: &str) -> Outcome<Option<DataPolicy>> {
    if text.is_empty() {
        return Ok(None);
    }
    let known = || DataPolicy::ALL.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
    match DataPolicy::find(text) {
        Some(policy) => Ok(Some(policy)),
        None => Err(Failure::unacceptable("/data_policy", format!("use one of {}, or an empty text", known()))),
    }
}

/// Applies a change to the entity; a new origin wants the secret too.
pub(crate) async fn change(cx: &Cx, tx: &mut Tx, credential: &mut Credential, change: Change<'_>) -> Outcome<()> {
    let provider = provider(&credential.provider)?;
    let spec = provider.spec();
    if let Some(name) = change.name {
        credential.name = name.clone();
    }
    let secret = change.secret.map(|secret| check_secret(provider, secret)).transpose()?;
    if let Some(base_url) = change.base_url {
        let base_url = address(spec, Some(base_url))?;
        let is_moved = origin(spec, &base_url) != origin(spec, &credential.base_url);
        if is_moved && credential.secret.is_some() && secret.is_none() {
            return Err(Failure::unacceptable(
                "/secret",
                "the address has a new origin; enter the secret for it again",
            ));
        }
        credential.base_url = base_url;
    }
    if let Some(secret) = secret {
        credential.secret_version += 1;
        set_secret(cx, tx, credential, secret).await?;
    }
    credential.allows_passthrough = change.allows_passthrough.unwrap_or(credential.allows_passthrough);
    if let Some(text) = change.data_policy {
        credential.data_policy = data_policy(text)?;
    }
    credential.updated_at = cx.now();
    Ok(())
}

async fn live(tx: &mut Tx, id: CredentialId) -> Outcome<Credential> {
    let credential = store::credentials::get(tx, id).await?;
    if credential.archived_at.is_some() { Err(Failure::not_found()) } else { Ok(credential) }
}

/// Archives a credential and destroys its secret; deployments that use it are taken out of routing.
pub async fn archive(call: Call<ArchiveCredential>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let credential = live(&mut write, call.path.credential_id).await?;
    let before = view(&mut write, &credential).await?;
    for mut deployment in store::deployments::list_by_credential(&mut write, credential.id).await? {
        if !deployment.is_enabled {
            continue;
        }
        let was = crate::queries::deployments::view(deployment.clone());
        deployment.is_enabled = false;
        deployment.updated_at = call.now();
        deployment.version = store::deployments::update(&mut write, &permit, &deployment).await?;
        let now = crate::queries::deployments::view(deployment);
        write.audit(Subject::new("deployment", now.id, &now.name).within(now.workspace_id).changed(
            "deployment.update",
            &was,
            &now,
        ));
    }
    store::credentials::archive(&mut write, &permit, credential.id, call.now()).await?;
    write.audit(Subject::new("credential", before.id, &before.name).removed("credential.archive", &before));
    write.commit(Empty {}).await
}
