//! Deployments. Creating one copies the catalog's prices of its model into the organization's price book.

use api::Empty;
use api::ops::deployments::{ArchiveDeployment, CreateDeployment, DeploymentView, UpdateDeployment};
use domain::deployment::Deployment;
use domain::id::IdMint as _;
use domain::price::{PriceSource, PriceVersion};
use domain::{
    Actor, BaseModel, CredentialId, DeploymentId, ModelName, Permission, Permit, PriceId, Scope, WorkspaceId,
};
use provider::Spec;
use provider::catalog::Model;
use store::{StoreError, Tx, WriteTx};

use crate::queries::deployments::{live, view};
use operation::call::{Call, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;
use treasury::commands::models::{provider, upstream_model};

/// A deployment to be created.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub workspace: WorkspaceId,
    pub name: ModelName,
    pub provider: &'a str,
    pub upstream_model: &'a str,
    pub base_model: Option<&'a str>,
    pub credential: Option<CredentialId>,
    pub is_enabled: bool,
}

/// Creates a deployment.
pub async fn create(call: Call<CreateDeployment>) -> Outcome<Reply<DeploymentView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let body = &call.body;
    if body.credential_id.is_some() {
        check_use(&call.caller.actor, &permit)?;
    }
    let draft = Draft {
        workspace: call.workspace()?,
        name: body.name.clone(),
        provider: &body.provider,
        upstream_model: &body.upstream_model,
        base_model: body.base_model.as_deref(),
        credential: body.credential_id,
        is_enabled: body.is_enabled,
    };
    let view = view(insert(&call.cx, &mut write, &permit, draft).await?);
    write.audit(subject(&view).created("deployment.create", &view));
    write.commit(view).await
}

/// Checks and inserts a deployment with its catalog prices; also the first start's way.
pub(crate) async fn insert(cx: &Cx, tx: &mut WriteTx, permit: &Permit, draft: Draft<'_>) -> Outcome<Deployment> {
    let spec = provider(draft.provider)?.spec();
    check_credential(tx, spec, draft.credential).await?;
    let base_model = match draft.base_model {
        Some(text) => base_model(tx, text).await?,
        None => None,
    };
    let now = cx.now();
    let deployment = Deployment {
        id: DeploymentId::from_uuid(cx.mint.next_uuid()),
        organization_id: permit.organization(),
        workspace_id: draft.workspace,
        name: draft.name,
        provider: spec.name.to_owned(),
        upstream_model: upstream_model(draft.upstream_model)?,
        base_model,
        credential_id: draft.credential,
        is_enabled: draft.is_enabled,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    store::deployments::insert(tx, permit, &deployment).await?;
    copy_prices(cx, tx, permit, &deployment).await?;
    Ok(deployment)
}

/// Using a credential is a right on the organization, whose credentials they are.
fn check_use(actor: &Actor, permit: &Permit) -> Outcome<()> {
    actor.permit(Permission::CredentialsUse, Scope::Organization(permit.organization()))?;
    Ok(())
}

async fn check_credential(tx: &mut Tx, spec: &Spec, credential: Option<CredentialId>) -> Outcome<()> {
    let refused = |detail: String| Failure::unacceptable("/credential_id", detail);
    let Some(id) = credential else {
        let is_missing = spec.needs_credential;
        return if is_missing { Err(refused(format!("{} needs a credential", spec.title))) } else { Ok(()) };
    };
    if !spec.needs_credential {
        return Err(refused(format!("{} takes no credential", spec.title)));
    }
    match store::credentials::get(tx, id).await {
        Ok(found) if found.archived_at.is_some() => Err(refused("is not a credential of this organization".to_owned())),
        Ok(found) if found.provider != spec.name => {
            Err(refused(format!("is a credential for {}, not for {}", found.provider, spec.name)))
        }
        Ok(_) => Ok(()),
        Err(StoreError::NotFound(_)) => Err(refused("is not a credential of this organization".to_owned())),
        Err(other) => Err(other.into()),
    }
}

/// Reads a model of the catalog or of the organization; an empty text is none.
async fn base_model(tx: &mut Tx, text: &str) -> Outcome<Option<BaseModel>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let refused = |detail: String| Failure::unacceptable("/base_model", detail);
    let base = BaseModel::parse(text).map_err(|error| refused(error.to_string()))?;
    let (provider, name) = base.parts();
    let is_known =
        provider::catalog::find(provider, name).is_some() || store::models::find(tx, provider, name).await?.is_some();
    let unknown =
        "is no model of the catalog and none that you described; the models page lists both, as provider/name";
    if is_known { Ok(Some(base)) } else { Err(refused(unknown.to_owned())) }
}

/// Returns what the catalog has of a deployment's model.
fn known(deployment: &Deployment) -> Option<&'static Model> {
    let (provider, name) = deployment.known_as();
    provider::catalog::find(provider, name)
}

/// Copies the dated catalog prices of the model; what is in the book already stays as it is.
pub(crate) async fn copy_prices(cx: &Cx, tx: &mut WriteTx, permit: &Permit, deployment: &Deployment) -> Outcome<()> {
    let Some(model) = known(deployment) else { return Ok(()) };
    let (provider, name) = deployment.known_as();
    for price in &model.prices {
        let version = PriceVersion {
            id: PriceId::from_uuid(cx.mint.next_uuid()),
            organization_id: deployment.organization_id,
            provider: provider.to_owned(),
            upstream_model: name.to_owned(),
            effective_at: price.effective_at,
            source: PriceSource::Catalog,
            rates: price.rates,
            long_context: price.long_context.clone(),
            tiers: price.tiers.clone(),
            images: price.images.clone(),
            created_at: cx.now(),
        };
        store::prices::insert(tx, permit, &version).await?;
    }
    Ok(())
}

/// Says whether the catalog has a price of the deployment's model that the book has not.
pub(crate) async fn lacks_prices(tx: &mut Tx, deployment: &Deployment) -> Outcome<bool> {
    let Some(model) = known(deployment) else { return Ok(false) };
    let (provider, name) = deployment.known_as();
    let book = store::prices::list_by_model(tx, provider, name).await?;
    let has = |at| book.iter().any(|price| price.source == PriceSource::Catalog && price.effective_at == at);
    Ok(model.prices.iter().any(|price| !has(price.effective_at)))
}

/// Changes a deployment.
pub async fn update(call: Call<UpdateDeployment>) -> Outcome<Reply<DeploymentView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut deployment = live(&mut write, call.workspace()?, call.path.deployment_id).await?;
    let before = view(deployment.clone());
    deployment.version = seen;
    if let Some(name) = &call.body.name {
        deployment.name = name.clone();
    }
    if let Some(model) = &call.body.upstream_model {
        deployment.upstream_model = upstream_model(model)?;
    }
    if let Some(base) = &call.body.base_model {
        deployment.base_model = base_model(&mut write, base).await?;
    }
    if let Some(credential) = call.body.credential_id {
        check_use(&call.caller.actor, &permit)?;
        deployment.credential_id = Some(credential);
    }
    if let Some(is_enabled) = call.body.is_enabled {
        deployment.is_enabled = is_enabled;
    }
    if deployment.is_enabled {
        check_credential(&mut write, provider(&deployment.provider)?.spec(), deployment.credential_id).await?;
    }
    deployment.updated_at = call.now();
    deployment.version = store::deployments::update(&mut write, &permit, &deployment).await?;
    copy_prices(&call.cx, &mut write, &permit, &deployment).await?;
    let after = view(deployment);
    write.audit(subject(&after).changed("deployment.update", &before, &after));
    write.commit(after).await
}

/// Archives a deployment that no route uses.
pub async fn archive(call: Call<ArchiveDeployment>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let deployment = live(&mut write, call.workspace()?, call.path.deployment_id).await?;
    let routes = store::routes::load(&mut write, None).await?;
    let user = routes.iter().find(|route| route.archived_at.is_none() && route.names(deployment.id));
    if let Some(route) = user {
        return Err(Failure::conflict(format!(
            "The route {} sends to this model; change or archive the route first.",
            route.name
        )));
    }
    store::deployments::archive(&mut write, &permit, deployment.id, call.now()).await?;
    let before = view(deployment);
    write.audit(subject(&before).removed("deployment.archive", &before));
    write.commit(Empty {}).await
}

fn subject(view: &DeploymentView) -> Subject {
    Subject::new("deployment", view.id, &view.name).within(view.workspace_id)
}
