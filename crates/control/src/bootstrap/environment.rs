//! Credentials that come from the usual environment variables of providers.
//!
//! What a person expects: set the variable, start, and the provider's models are there; change it, start again, and the new
//! value is used. What they do not expect: that a key which was replaced in the console comes back from a stale shell. So a
//! value is applied when it differs from the one that was applied last (remembered as a keyed digest), not when it differs
//! from what is stored. A variable that is no longer set changes nothing; a credential that was archived stays archived until
//! the variable has a new value.

use std::sync::Arc;

use domain::credential::Credential;
use domain::{CredentialId, DisplayName, JobName, ModelName, OrganizationId, Permit, Scope, Secret, WorkspaceId};
use hmac::{Hmac, Mac as _};
use provider::Spec;
use provider::listing::{self, Listed};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use store::{Constraint, StoreError, WriteTx};

use super::{ASKED_WITHIN, Fetch, insert_model, model_name, record};
use crate::commands::credentials::{self, Change, Draft, record_changed, record_created};
use crate::commands::deployments;
use crate::queries;
use operation::cx::Cx;
use operation::error::{Failure, Outcome};

/// A provider's variables as they were found.
pub struct FromEnvironment {
    provider: &'static Spec,
    secret: Option<Secret<String>>,
    base_url: Option<String>,
    fetch: Option<Fetch>,
}

impl std::fmt::Debug for FromEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromEnvironment").field("provider", &self.provider.name).finish_non_exhaustive()
    }
}

impl FromEnvironment {
    /// Lets the server behind a foreign address be asked which models it has.
    #[must_use]
    pub fn asking(mut self, fetch: &Fetch) -> Self {
        self.fetch = Some(Arc::clone(fetch));
        self
    }
}

/// Reads the variables of every provider through `get`, and through `open` the files that they name; providers without a key or an
/// address are left out, and so are those whose file cannot be read.
#[must_use]
pub fn variables(
    get: impl Fn(&str) -> Option<String>,
    open: impl Fn(&str) -> Option<Secret<String>>,
) -> Vec<FromEnvironment> {
    let found = provider::ALL.iter().map(|provider| {
        let found = provider.read_variables(&get);
        let secret = found.secret.or_else(|| open(found.secret_file.as_deref()?));
        let base_url = found.base_url.filter(|_| secret.is_some() || found.secret_file.is_none());
        FromEnvironment { provider: provider.spec(), secret, base_url, fetch: None }
    });
    found.filter(|found| found.secret.is_some() || found.base_url.is_some()).collect()
}

/// What was applied last for a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Applied {
    provider: String,
    credential_id: Option<CredentialId>,
    digest: String,
}

const SETTING: &str = "environment_credentials";

fn digest(cx: &Cx, found: &FromEnvironment) -> String {
    digest_at(cx, cx.keyring.version(), found)
}

/// Says whether a digest, of whichever version, is that of these values.
fn is_digest(cx: &Cx, kept: &str, found: &FromEnvironment) -> bool {
    cx.keyring.versions().rev().any(|version| digest_at(cx, version, found) == kept)
}

fn digest_at(cx: &Cx, version: u16, found: &FromEnvironment) -> String {
    let key = cx.keyring.derive_at(version, "environment-digest|1");
    // HMAC takes keys of any length; 32 bytes cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_ref()) else { return String::new() };
    mac.update(found.base_url.as_deref().unwrap_or("").as_bytes());
    mac.update(&[0]);
    mac.update(found.secret.as_ref().map_or("", |secret| secret.expose().as_str()).as_bytes());
    domain::audit::hex32::encode(&mac.finalize().into_bytes())
}

/// Asks the server behind a foreign address which models it has; `None` when nobody was asked or the answer is of no use, which the
/// log says. Before a transaction begins, since a start may wait for others but the database must not.
pub(super) async fn ask(cx: &Cx, found: &FromEnvironment) -> Option<Listed> {
    // A vendor without such a list is where it always is, only at an address of the customer's own.
    let is_asked = is_foreign(found) && found.provider.listing.is_some();
    let (true, Some(base_url), Some(fetch)) = (is_asked, &found.base_url, &found.fetch) else { return None };
    let provider = provider::find(found.provider.name)?;
    let answer = match listing::question(provider, base_url, found.secret.as_ref(), cx.now()) {
        Some(question) => tokio::time::timeout(ASKED_WITHIN, fetch(question))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ASKED_WITHIN.as_secs()))),
        None => Err("it has no list that could be asked for".to_owned()),
    };
    match answer.and_then(|body| listing::read(&body)) {
        Ok(listed) => {
            let (n_models, n_left_out) = (listed.models.len(), listed.n_left_out);
            tracing::info!(
                provider = found.provider.name,
                base_url,
                n_models,
                n_left_out,
                "the server behind this address said which models it has"
            );
            Some(listed)
        }
        Err(reason) => {
            tracing::warn!(
                provider = found.provider.name,
                base_url,
                reason,
                "the server behind this address could not be asked which models it has; those of the provider's catalog are taken, and what else it has needs a deployment each"
            );
            None
        }
    }
}

/// Stores a credential and the models of its provider, or those that its server listed. A value that cannot be accepted is logged
/// and left out: a typing mistake in one variable must not keep the installation from starting.
pub(super) async fn add(
    cx: &Cx,
    tx: &mut WriteTx,
    permit: &Permit,
    workspace: WorkspaceId,
    (found, listed): (&FromEnvironment, Option<&Listed>),
) -> Outcome<Applied> {
    let mut applied =
        Applied { provider: found.provider.name.to_owned(), credential_id: None, digest: digest(cx, found) };
    let secret = found.secret.as_ref().map(|secret| secret.expose().as_str());
    let draft = Draft {
        provider: found.provider.name,
        name: name(found.provider)?,
        base_url: found.base_url.as_deref(),
        secret,
        allows_passthrough: false,
        data_policy: None,
    };
    let credential = match credentials::insert(cx, tx, permit, draft).await {
        Ok(credential) => credential,
        Err(Failure::Problem(problem)) => {
            tracing::warn!(provider = found.provider.name, %problem, "the variables of a provider cannot be used");
            return Ok(applied);
        }
        Err(other) => return Err(other),
    };
    applied.credential_id = Some(credential.id);
    let view = queries::credentials::view(tx, &credential).await?;
    record(cx, tx, permit, record_created(cx, permit.organization(), &view, secret));
    add_models(cx, tx, permit, workspace, (&credential, listed)).await?;
    Ok(applied)
}

/// Says whether the address is another's than the provider's own.
fn is_foreign(found: &FromEnvironment) -> bool {
    let plain = |url: &str| url.trim_end_matches('/').to_owned();
    let own = found.provider.base_url.map(plain);
    found.base_url.as_deref().map(plain).is_some_and(|base_url| Some(base_url) != own)
}

fn name(spec: &Spec) -> Outcome<DisplayName> {
    super::displayed(&format!("{} (environment)", spec.title))
}

/// Adds every model that was listed, or else of the catalog, whose name is free in the workspace.
async fn add_models(
    cx: &Cx,
    tx: &mut WriteTx,
    permit: &Permit,
    workspace: WorkspaceId,
    (credential, listed): (&Credential, Option<&Listed>),
) -> Outcome<()> {
    let names: Vec<ModelName> = if let Some(listed) = listed {
        listed.models.clone()
    } else {
        let now = cx.now();
        let known = provider::catalog::all().iter();
        let known = known.filter(|model| model.provider == credential.provider && !model.is_retired_at(now));
        known.map(|model| model_name(&model.name)).collect::<Outcome<_>>()?
    };
    let taken = taken_names(tx, workspace).await?;
    for name in names.into_iter().filter(|name| !taken.contains(&name.to_string())) {
        let upstream_model = name.to_string();
        let draft = deployments::Draft {
            workspace,
            name,
            provider: &credential.provider,
            upstream_model: &upstream_model,
            base_model: None,
            credential: Some(credential.id),
            is_enabled: true,
        };
        insert_model(cx, tx, permit, draft).await?;
    }
    Ok(())
}

async fn taken_names(tx: &mut WriteTx, workspace: WorkspaceId) -> Outcome<Vec<String>> {
    let deployments = store::deployments::load(tx, None).await?;
    let routes = store::routes::load(tx, None).await?;
    let of_deployments =
        deployments.into_iter().filter(|one| one.workspace_id == workspace && one.archived_at.is_none());
    let of_routes = routes.into_iter().filter(|one| one.workspace_id == workspace && one.archived_at.is_none());
    Ok(of_deployments.map(|one| one.name.to_string()).chain(of_routes.map(|one| one.name.to_string())).collect())
}

/// Remembers what was applied.
pub(super) async fn remember(cx: &Cx, applied: &[Applied]) -> Outcome<()> {
    let mut tx = cx.store.system().await?;
    let mut all: Vec<Applied> = store::settings::find(&mut tx, SETTING).await?.unwrap_or_default();
    all.retain(|old| applied.iter().all(|new| new.provider != old.provider));
    all.extend_from_slice(applied);
    store::settings::set(&mut tx, SETTING, &all, cx.now()).await?;
    Ok(tx.commit().await?)
}

/// Applies variables whose values are new since the last start.
pub(super) async fn reconcile(cx: &Arc<Cx>, environment: &[FromEnvironment]) -> Outcome<()> {
    if environment.is_empty() {
        return Ok(());
    }
    let mut tx = cx.store.system().await?;
    let known: Vec<Applied> = store::settings::find(&mut tx, SETTING).await?.unwrap_or_default();
    drop(tx);
    let installation = super::describe(cx).await?;
    let (organization, workspace) = (installation.organization_id, installation.workspace_id);
    for found in environment {
        let last = known.iter().find(|applied| applied.provider == found.provider.name);
        if last.is_some_and(|last| is_digest(cx, &last.digest, found)) {
            continue;
        }
        let applied = apply(cx, (organization, workspace), found, last.and_then(|last| last.credential_id)).await?;
        remember(cx, &[applied]).await?;
    }
    Ok(())
}

async fn apply(
    cx: &Cx,
    (organization, workspace): (OrganizationId, WorkspaceId),
    found: &FromEnvironment,
    last: Option<CredentialId>,
) -> Outcome<Applied> {
    let listed = ask(cx, found).await;
    let permit = Permit::system(JobName::Bootstrap, Scope::Organization(organization));
    let mut tx = cx.store.write(organization).await?;
    let existing = match last {
        Some(id) => match store::credentials::get(&mut tx, id).await {
            Ok(credential) => Some(credential).filter(|credential| credential.archived_at.is_none()),
            Err(StoreError::NotFound(_)) => None,
            Err(other) => return Err(other.into()),
        },
        None => None,
    };
    let applied = match existing {
        Some(credential) => update(cx, &mut tx, &permit, workspace, credential, (found, listed.as_ref())).await,
        None => add(cx, &mut tx, &permit, workspace, (found, listed.as_ref())).await,
    };
    match applied {
        Ok(applied) => {
            if applied.credential_id.is_some() {
                tx.commit().await?;
                tracing::info!(provider = found.provider.name, "the variables of a provider were applied");
            }
            Ok(applied)
        }
        // Somebody made a credential of the same name by hand: theirs stays.
        Err(Failure::Store(StoreError::Conflict(Constraint::CredentialName))) => {
            tracing::warn!(
                provider = found.provider.name,
                "a credential of the name for variables exists; it stays as it is"
            );
            Ok(Applied { provider: found.provider.name.to_owned(), credential_id: None, digest: digest(cx, found) })
        }
        Err(other) => Err(other),
    }
}

async fn update(
    cx: &Cx,
    tx: &mut WriteTx,
    permit: &Permit,
    workspace: WorkspaceId,
    mut credential: Credential,
    (found, listed): (&FromEnvironment, Option<&Listed>),
) -> Outcome<Applied> {
    let mut applied = Applied {
        provider: found.provider.name.to_owned(),
        credential_id: Some(credential.id),
        digest: digest(cx, found),
    };
    let before = queries::credentials::view(tx, &credential).await?;
    let secret = found.secret.as_ref().map(|secret| secret.expose().as_str());
    let change = Change {
        name: None,
        base_url: found.base_url.as_deref().or(found.provider.base_url),
        secret,
        allows_passthrough: None,
        data_policy: None,
    };
    if let Err(failure) = credentials::change(cx, tx, &mut credential, change).await {
        let Failure::Problem(problem) = failure else { return Err(failure) };
        tracing::warn!(provider = found.provider.name, %problem, "the variables of a provider cannot be used");
        applied.credential_id = None;
        return Ok(applied);
    }
    credential.version = store::credentials::update(tx, permit, &credential).await?;
    let after = queries::credentials::view(tx, &credential).await?;
    record(cx, tx, permit, record_changed(cx, permit.organization(), (&before, &after), secret));
    if before.base_url != after.base_url && listed.is_some() {
        // Another server: what it has beside the models that are there already.
        add_models(cx, tx, permit, workspace, (&credential, listed)).await?;
    }
    Ok(applied)
}
