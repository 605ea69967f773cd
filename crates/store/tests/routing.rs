//! Credentials and data keys, deployments, routes, virtual keys and prices.

use std::time::Duration;

use domain::credential::{Credential, SealedSecret};
use domain::deployment::Deployment;
use domain::image::{ImageKind, ImageRate};
use domain::page::Limit;
use domain::price::{LongContextRates, PriceSource, PriceVersion, Rates, ServiceTier, TierRates};
use domain::route::{Hedge, Node, Route, Rules, Share, Target, Timeouts};
use domain::secret::TokenMac;
use domain::virtual_key::KeySecret;
use domain::{CredentialId, DeploymentId, Price, PriceId, RouteId};
use store::credentials::SealedDataKey;
use store::{Constraint, StoreError, credentials, deployments, prices, routes, virtual_keys};

use crate::support::{NOON, Tenant, World, key, name, note, permit, uuid};

fn credential(tenant: &Tenant, title: &str) -> Credential {
    Credential {
        id: CredentialId::from_uuid(uuid()),
        organization_id: tenant.id,
        provider: "openai".to_owned(),
        name: name(title),
        base_url: "https://api.example.com/v1".to_owned(),
        secret: Some(SealedSecret { key_version: 1, ciphertext: vec![1, 2, 3] }),
        secret_version: 1,
        allows_passthrough: true,
        data_policy: None,
        hint: "abcd".to_owned(),
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

fn deployment(tenant: &Tenant, model: &str, credential_id: Option<CredentialId>) -> Deployment {
    Deployment {
        id: DeploymentId::from_uuid(uuid()),
        organization_id: tenant.id,
        workspace_id: tenant.workspace.id,
        name: name(model),
        provider: "openai".to_owned(),
        upstream_model: model.to_owned(),
        base_model: None,
        credential_id,
        is_enabled: true,
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

fn route(tenant: &Tenant, model: &str, deployment_id: DeploymentId) -> Route {
    Route {
        id: RouteId::from_uuid(uuid()),
        organization_id: tenant.id,
        workspace_id: tenant.workspace.id,
        name: name(model),
        targets: vec![Target { deployment_id, priority: 0, weight: 1 }],
        tree: None,
        max_attempts: 3,
        timeouts: Timeouts::default(),
        rules: Rules::default(),
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

#[tokio::test]
async fn a_credential_keeps_its_seal_changes_by_version_and_forgets_its_secret() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let data_key = SealedDataKey { version: 1, sealed: vec![9; 60], created_at: NOON };
    credentials::insert_data_key(&mut tx, &permit, &data_key).await.expect("added");
    credentials::reseal_data_key(&mut tx, &permit, &SealedDataKey { sealed: vec![8], ..data_key.clone() })
        .await
        .expect("resealed");
    let keys = credentials::list_data_keys(&mut tx).await.expect("listed");
    assert_eq!(keys, [SealedDataKey { sealed: vec![8], ..data_key }]);

    let mut stored = credential(&tenant, "main");
    credentials::insert(&mut tx, &permit, &stored).await.expect("added");
    assert_eq!(credentials::get(&mut tx, stored.id).await.expect("found"), stored);
    stored.secret = Some(SealedSecret { key_version: 1, ciphertext: vec![4] });
    stored.secret_version = 2;
    assert_eq!(credentials::update(&mut tx, &permit, &stored).await.expect("updated"), 2);
    assert!(matches!(credentials::update(&mut tx, &permit, &stored).await, Err(StoreError::Stale(_))));
    stored.version = 2;
    assert_eq!(credentials::load(&mut tx, None).await.expect("loaded"), [stored.clone()]);
    credentials::archive(&mut tx, &permit, stored.id, NOON).await.expect("archived");
    let archived = credentials::get(&mut tx, stored.id).await.expect("still there");
    assert_eq!((archived.secret, archived.archived_at), (None, Some(NOON)));
    // The name is free again, and only live ones are listed.
    credentials::insert(&mut tx, &permit, &credential(&tenant, "main")).await.expect("the name is free");
    assert_eq!(credentials::list(&mut tx, None, Limit::default()).await.expect("listed").items.len(), 1);
    let twin = credentials::insert(&mut tx, &permit, &credential(&tenant, "main")).await;
    assert!(matches!(twin, Err(StoreError::Conflict(Constraint::CredentialName))));
}

#[tokio::test]
async fn deployments_and_routes_share_their_names() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let mut first = deployment(&tenant, "gpt-4o", None);
    deployments::insert(&mut tx, &permit, &first).await.expect("added");
    let clash = routes::insert(&mut tx, &permit, &route(&tenant, "gpt-4o", first.id)).await;
    assert!(matches!(clash, Err(StoreError::Conflict(Constraint::DeploymentName))));
    let smart = route(&tenant, "smart", first.id);
    routes::insert(&mut tx, &permit, &smart).await.expect("added");
    first.name = name("smart");
    let clash = deployments::update(&mut tx, &permit, &first).await;
    assert!(matches!(clash, Err(StoreError::Conflict(Constraint::RouteName))));
    first.name = name("gpt-4o-mini");
    first.is_enabled = false;
    assert_eq!(deployments::update(&mut tx, &permit, &first).await.expect("updated"), 2);
    first.version = 2;
    assert_eq!(deployments::get(&mut tx, first.id).await.expect("found"), first);

    let mut renamed = smart.clone();
    renamed.name = name("gpt-4o");
    renamed.targets.push(Target { deployment_id: DeploymentId::from_uuid(uuid()), priority: 1, weight: 0 });
    renamed.timeouts.connect_ms = 1;
    renamed.rules.hedge = Some(Hedge { after_ms: 250 });
    assert_eq!(routes::update(&mut tx, &permit, &renamed).await.expect("updated"), 2);
    assert!(matches!(routes::update(&mut tx, &permit, &renamed).await, Err(StoreError::Stale(_))));
    renamed.version = 2;
    assert_eq!(routes::get(&mut tx, smart.id).await.expect("found"), renamed);
    let leaf = Node::Deployment { deployment_id: first.id };
    renamed.targets.clear();
    renamed.tree = Some(Node::Weighted { children: vec![Share { weight: 3, node: leaf }] });
    assert_eq!(routes::update(&mut tx, &permit, &renamed).await.expect("updated"), 3);
    renamed.version = 3;
    assert_eq!(routes::get(&mut tx, smart.id).await.expect("found"), renamed);
    routes::archive(&mut tx, &permit, smart.id, NOON).await.expect("archived");
    assert!(routes::list(&mut tx, tenant.workspace.id, None, Limit::default()).await.expect("listed").items.is_empty());
    assert_eq!(routes::load(&mut tx, None).await.expect("loaded").len(), 1);
    deployments::archive(&mut tx, &permit, first.id, NOON).await.expect("archived");
    let listed = deployments::list(&mut tx, tenant.workspace.id, None, Limit::default()).await.expect("listed");
    assert!(listed.items.is_empty());
    assert_eq!(deployments::load(&mut tx, Some(&[first.id])).await.expect("loaded").len(), 1);
    note(&mut tx, &permit, "route.create");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn a_credential_in_use_is_found_through_its_deployments() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let without = Credential { secret: None, hint: String::new(), ..credential(&tenant, "main") };
    credentials::insert(&mut tx, &permit, &without).await.expect("added");
    let user = deployment(&tenant, "gpt-4o", Some(without.id));
    deployments::insert(&mut tx, &permit, &user).await.expect("added");
    deployments::insert(&mut tx, &permit, &deployment(&tenant, "other", None)).await.expect("added");
    assert_eq!(deployments::list_by_credential(&mut tx, without.id).await.expect("listed"), [user]);
    let dangling = deployment(&tenant, "dangling", Some(CredentialId::from_uuid(1)));
    let refused = deployments::insert(&mut tx, &permit, &dangling).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::Reference))));
}

#[tokio::test]
async fn a_key_rotates_with_overlap_and_is_revoked_for_ever() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut issued = key(&tenant, "ci");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit, &issued).await.expect("added");
    assert_eq!(virtual_keys::get(&mut tx, issued.id).await.expect("found"), issued);
    let retiring = KeySecret { retires_at: Some(NOON.plus(Duration::from_mins(30))), ..issued.secrets[0] };
    let current = KeySecret { mac: TokenMac::from_bytes([8; 32]), ..issued.secrets[0] };
    issued.secrets = vec![current, retiring];
    assert_eq!(virtual_keys::update(&mut tx, &permit, &issued).await.expect("rotated"), 2);
    issued.version = 2;
    assert_eq!(virtual_keys::load(&mut tx, Some(&[issued.id])).await.expect("loaded"), [issued.clone()]);
    let listed = virtual_keys::list(&mut tx, tenant.workspace.id, Some(tenant.environment.id), None, Limit::default());
    assert_eq!(listed.await.expect("listed").items, [issued.clone()]);
    virtual_keys::revoke(&mut tx, &permit, issued.id, NOON).await.expect("revoked");
    assert!(matches!(virtual_keys::revoke(&mut tx, &permit, issued.id, NOON).await, Err(StoreError::NotFound(_))));
    issued.version = 3;
    assert!(matches!(virtual_keys::update(&mut tx, &permit, &issued).await, Err(StoreError::Stale(_))));
    let mut twin = key(&tenant, "twin");
    twin.kid = issued.kid;
    let refused = virtual_keys::insert(&mut tx, &permit, &twin).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::Kid))));
}

#[tokio::test]
async fn a_price_is_added_once_and_never_changes() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let rates =
        Rates { input: Price::per_million(150_000_000), output: Price::per_million(600_000_000), ..Rates::default() };
    let price = PriceVersion {
        id: PriceId::from_uuid(uuid()),
        organization_id: tenant.id,
        provider: "openai".to_owned(),
        upstream_model: "gpt-4o-mini".to_owned(),
        effective_at: NOON,
        source: PriceSource::Catalog,
        rates,
        long_context: vec![LongContextRates { above_input_tokens: 200_000, rates }],
        tiers: vec![TierRates {
            tier: ServiceTier::Flex,
            rates,
            long_context: vec![LongContextRates { above_input_tokens: 200_000, rates }],
        }],
        images: vec![ImageRate { kind: ImageKind::of(Some("1024x1792"), Some("hd")), each: rates.input }],
        created_at: NOON,
    };
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    assert!(prices::insert(&mut tx, &permit, &price).await.expect("added"));
    let copy = PriceVersion { id: PriceId::from_uuid(uuid()), ..price.clone() };
    assert!(!prices::insert(&mut tx, &permit, &copy).await.expect("known"));
    let own = PriceVersion { id: PriceId::from_uuid(uuid()), source: PriceSource::Own, ..price.clone() };
    assert!(prices::insert(&mut tx, &permit, &own).await.expect("added"));
    let listed = prices::list_by_model(&mut tx, "openai", "gpt-4o-mini").await.expect("listed");
    assert_eq!(listed, [price.clone(), own.clone()]);
    assert_eq!(prices::list(&mut tx, None, Limit::default()).await.expect("listed").items, [own, price.clone()]);
    assert_eq!(prices::load(&mut tx, Some(&[price.id])).await.expect("loaded"), [price]);
}
