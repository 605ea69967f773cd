//! Rows → resources. What is archived or gone is a removal; what is revoked stays, so that nodes can say "revoked".
//!
//! Invariant: a resource's bytes depend on nothing but the committed rows and the root key, so every control process computes the
//! same hash. Sealed peppers therefore use a derived nonce: one plaintext, one nonce, for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use domain::change::Change;
use domain::deployment::Deployment;
use domain::{Entropy, OrganizationId};
use policy::resource::{Content, Organization, SealedSecret, pepper_place};
use policy::set::SetError;
use policy::{BadResource, Kind, Resource, ResourceKey, ResourceSet, wire};
use store::{StoreError, Tx, WriteTx};

use crate::cx::Cx;
use crate::keyring::{self, Key, KeyError};

/// An organization cannot be published now.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The database.
    #[error("policy cannot be read from the database")]
    Store(#[from] StoreError),
    /// The data key or a pepper.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The rows do not make a set.
    #[error("policy rows do not make a set")]
    Set(#[from] SetError),
}

/// What changed rows became.
#[derive(Debug)]
pub struct Loaded {
    /// What is there.
    pub resources: Vec<Resource>,
    /// What is not, any more.
    pub gone: Vec<ResourceKey>,
}

/// Loads everything.
pub async fn all(tx: &mut Tx, cx: &Cx) -> Result<Vec<Resource>, PublishError> {
    let organization = tx.organization();
    let mut contents = vec![organization_content(tx, cx).await?];
    contents.extend(workspaces(tx, None).await?);
    contents.extend(store::environments::load(tx, None).await?.iter().map(|it| Content::Environment(it.into())));
    contents.extend(store::virtual_keys::load(tx, None).await?.iter().map(|it| Content::VirtualKey(it.into())));
    contents.extend(credentials(tx, None).await?);
    contents.extend(deployments(tx, None).await?);
    contents.extend(routes(tx, None).await?);
    contents.extend(store::prices::load(tx, None).await?.iter().map(|it| Content::Price(it.into())));
    contents.extend(budgets(tx, None).await?);
    contents.extend(rate_limits(tx, None).await?);
    contents.extend(kill_switches(tx, None).await?);
    Ok(contents.iter().map(|content| wire::encode(organization, content)).collect())
}

/// Loads what a change log names.
pub async fn changed(tx: &mut Tx, cx: &Cx, changes: &[Change]) -> Result<Loaded, PublishError> {
    let organization = tx.organization();
    let mut contents = Vec::new();
    macro_rules! ids {
        ($kind:ident) => {
            changes
                .iter()
                .filter_map(|change| if let Change::$kind(id) = change { Some(*id) } else { None })
                .collect::<Vec<_>>()
        };
    }
    if changes.iter().any(|change| matches!(change, Change::Organization(_))) {
        contents.push(organization_content(tx, cx).await?);
    }
    if let ids @ [_, ..] = ids!(Workspace).as_slice() {
        contents.extend(workspaces(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(Environment).as_slice() {
        contents
            .extend(store::environments::load(tx, Some(ids)).await?.iter().map(|it| Content::Environment(it.into())));
    }
    if let ids @ [_, ..] = ids!(VirtualKey).as_slice() {
        contents
            .extend(store::virtual_keys::load(tx, Some(ids)).await?.iter().map(|it| Content::VirtualKey(it.into())));
    }
    if let ids @ [_, ..] = ids!(Credential).as_slice() {
        contents.extend(credentials(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(Deployment).as_slice() {
        contents.extend(deployments(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(Route).as_slice() {
        contents.extend(routes(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(Price).as_slice() {
        contents.extend(store::prices::load(tx, Some(ids)).await?.iter().map(|it| Content::Price(it.into())));
    }
    if let ids @ [_, ..] = ids!(Budget).as_slice() {
        contents.extend(budgets(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(RateLimit).as_slice() {
        contents.extend(rate_limits(tx, Some(ids)).await?);
    }
    if let ids @ [_, ..] = ids!(KillSwitch).as_slice() {
        contents.extend(kill_switches(tx, Some(ids)).await?);
    }
    let resources: Vec<_> = contents.iter().map(|content| wire::encode(organization, content)).collect();
    let present: std::collections::HashSet<_> = resources.iter().map(|resource| resource.key).collect();
    let gone = changes.iter().map(key).filter(|key| !present.contains(key)).collect();
    Ok(Loaded { resources, gone })
}

/// Compiles what a write is about to commit, as a node would, and returns what of its changes would not compile.
///
/// Virtual keys that did not change are left out: nothing refers to them and an organization may have many.
pub(crate) async fn check(tx: &mut WriteTx, cx: &Cx) -> Result<Vec<BadResource>, PublishError> {
    let changes: Vec<Change> = tx.pending_changes().iter().copied().collect();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let Loaded { resources, .. } = changed(tx, cx, &changes).await?;
    let organization = tx.organization();
    let is_key = |change: &Change| matches!(change, Change::VirtualKey(_));
    let mut contents = workspaces(tx, None).await?;
    contents.extend(store::environments::load(tx, None).await?.iter().map(|it| Content::Environment(it.into())));
    if !changes.iter().all(is_key) {
        contents.extend(credentials(tx, None).await?);
        contents.extend(deployments(tx, None).await?);
        contents.extend(routes(tx, None).await?);
    }
    let mut all: BTreeMap<ResourceKey, Resource> =
        contents.iter().map(|content| wire::encode(organization, content)).map(|it| (it.key, it)).collect();
    all.extend(resources.into_iter().map(|it| (it.key, it)));
    let mut set = ResourceSet::empty(organization);
    set.apply(all.into_values().collect(), &[])?;
    let touched: BTreeSet<ResourceKey> = changes.iter().map(key).collect();
    let mut bad = policy::compile::check(&set);
    bad.retain(|it| touched.contains(&it.location.key));
    Ok(bad)
}

fn key(change: &Change) -> ResourceKey {
    let (kind, id) = match change {
        Change::Organization(id) => (Kind::Organization, id.as_uuid()),
        Change::Workspace(id) => (Kind::Workspace, id.as_uuid()),
        Change::Environment(id) => (Kind::Environment, id.as_uuid()),
        Change::VirtualKey(id) => (Kind::VirtualKey, id.as_uuid()),
        Change::Credential(id) => (Kind::Credential, id.as_uuid()),
        Change::Deployment(id) => (Kind::Deployment, id.as_uuid()),
        Change::Route(id) => (Kind::Route, id.as_uuid()),
        Change::Price(id) => (Kind::Price, id.as_uuid()),
        Change::Budget(id) => (Kind::Budget, id.as_uuid()),
        Change::RateLimit(id) => (Kind::RateLimit, id.as_uuid()),
        Change::KillSwitch(id) => (Kind::KillSwitch, id.as_uuid()),
    };
    ResourceKey { kind, id }
}

async fn workspaces(tx: &mut Tx, ids: Option<&[domain::WorkspaceId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::workspaces::load(tx, ids).await?;
    Ok(rows.iter().filter(|it| it.archived_at.is_none()).map(|it| Content::Workspace(it.into())).collect())
}

async fn credentials(tx: &mut Tx, ids: Option<&[domain::CredentialId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::credentials::load(tx, ids).await?;
    Ok(rows.iter().filter(|it| it.archived_at.is_none()).map(|it| Content::Credential(it.into())).collect())
}

async fn deployments(tx: &mut Tx, ids: Option<&[domain::DeploymentId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::deployments::load(tx, ids).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let own = store::models::load(tx, None).await?;
    let own: HashMap<_, _> = own.iter().map(|it| ((it.provider.as_str(), it.upstream_model.as_str()), it)).collect();
    let content = |it: &Deployment| {
        let facts = own.get(&it.known_as()).map(|model| Arc::new(model.facts.clone()));
        // How its numbers are held goes by what is asked, not by what that is taken for.
        let served = own.get(&(it.provider.as_str(), it.upstream_model.as_str()));
        let quantization = served.and_then(|model| model.quantization);
        Content::Deployment(policy::resource::Deployment { facts, quantization, ..it.into() })
    };
    Ok(rows.iter().filter(|it| it.archived_at.is_none()).map(content).collect())
}

async fn routes(tx: &mut Tx, ids: Option<&[domain::RouteId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::routes::load(tx, ids).await?;
    Ok(rows.iter().filter(|it| it.archived_at.is_none()).map(|it| Content::Route(it.into())).collect())
}

async fn budgets(tx: &mut Tx, ids: Option<&[domain::BudgetId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::budgets::load(tx, ids).await?;
    let is_in_force = |it: &&domain::budget::Budget| it.archived_at.is_none() && it.is_enabled;
    Ok(rows.iter().filter(is_in_force).map(|it| Content::Budget(it.into())).collect())
}

async fn rate_limits(tx: &mut Tx, ids: Option<&[domain::RateLimitId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::rate_limits::load(tx, ids).await?;
    let is_in_force = |it: &&domain::rate_limit::RateLimit| it.archived_at.is_none() && it.is_enabled;
    Ok(rows.iter().filter(is_in_force).map(|it| Content::RateLimit(it.into())).collect())
}

async fn kill_switches(tx: &mut Tx, ids: Option<&[domain::KillSwitchId]>) -> Result<Vec<Content>, PublishError> {
    let rows = store::kill_switches::load(tx, ids).await?;
    Ok(rows.iter().filter(|it| it.lifted_at.is_none()).map(|it| Content::KillSwitch(it.into())).collect())
}

/// Loads the organization's data keys, opened, by version.
pub async fn data_keys(tx: &mut Tx, cx: &Cx) -> Result<Vec<(u32, Key)>, PublishError> {
    let organization = tx.organization();
    let keys = store::credentials::list_data_keys(tx).await?;
    let open = |key: store::credentials::SealedDataKey| {
        Ok((u32::from(key.version), cx.keyring.data_key(organization, &key.sealed)?))
    };
    keys.into_iter().map(open).collect()
}

async fn organization_content(tx: &mut Tx, cx: &Cx) -> Result<Content, PublishError> {
    let row = store::organizations::get(tx).await?;
    let keys = data_keys(tx, cx).await?;
    let key_peppers = match keys.last() {
        Some((version, key)) => peppers(cx, row.id, *version, key)?,
        None => Vec::new(),
    };
    let (id, slug, max_stale, response_retention) =
        (row.id, row.slug.to_string(), row.max_stale, row.response_retention);
    Ok(Content::Organization(Organization { id, slug, max_stale, response_retention, key_peppers }))
}

fn peppers(
    cx: &Cx,
    organization: OrganizationId,
    data_key_version: u32,
    data_key: &Key,
) -> Result<Vec<SealedSecret>, PublishError> {
    let seal = |version: u16| {
        let pepper = cx.keyring.key_pepper(organization, version);
        let label = format!("pepper-nonce|{organization}|{version}|{data_key_version}");
        let nonce = Derived(cx.keyring.derive_at(version, &label));
        let version = u32::from(version);
        let sealed = keyring::seal(data_key, &pepper_place(organization, version), pepper.as_ref(), &nonce)?;
        Ok(SealedSecret { version, data_key_version, sealed: Bytes::from(sealed) })
    };
    cx.keyring.versions().map(seal).collect()
}

/// A nonce that follows from what it seals. Safe because it never meets a second plaintext under the same key.
struct Derived(Key);

impl Entropy for Derived {
    fn fill(&self, buffer: &mut [u8]) {
        for (to, from) in buffer.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
    }
}
