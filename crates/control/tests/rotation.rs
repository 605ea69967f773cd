//! A change of the root key: everything made before still works, nothing new opens under the old key, and an interrupted change
//! goes on where it stopped.

use std::sync::Arc;

use api::ops::audit::VerifyAudit;
use api::ops::credentials::{CreateCredential, NewCredential};
use api::ops::virtual_keys::{IssueVirtualKey, NewVirtualKey};
use api::ops::{OrganizationPath, WorkspacePath};
use api::{Empty, NoQuery};
use control::{Assets, jobs};
use domain::credential::seal_context;
use domain::secret::TokenMac;
use http::{StatusCode, header};
use operation::keyring::{KeyError, Keyring};
use operation::rotation::{self, Rotated, Work};
use operation::{ControlConfig, Cx, LocalKey, Ports};
use runtime::health::Readiness;
use runtime::rng::SystemEntropy;

use crate::auth::{login, session, sign_in};
use crate::world::{Actor, ROOT_KEY, World};

const NEW_KEY: [u8; 32] = [9; 32];

async fn rotate(world: &World, old: [u8; 32], new: [u8; 32]) -> Result<Rotated, KeyError> {
    let work = Work { store: &world.cx.store, entropy: &SystemEntropy, mint: &world.cx.mint, now: world.now() };
    rotation::rotate(&work, &LocalKey::new(old), &LocalKey::new(new)).await
}

/// Starts the control plane of a world again, under another root key.
async fn restart(world: &mut World, root_key: [u8; 32]) -> Result<(), KeyError> {
    let store = world.cx.store.clone();
    let keyring = Keyring::open(&LocalKey::new(root_key), &store, &SystemEntropy, world.now()).await?;
    let ports = Ports { store, clock: Arc::clone(&world.cx.clock), entropy: Arc::new(SystemEntropy), keyring };
    let cx = Cx::new(ports, ControlConfig::default())?;
    let assets = Assets { console: None, openapi: "{}" };
    world.router = control::http::router(Arc::clone(&cx), assets, Arc::new(Readiness::new())).expect("a whole table");
    world.cx = cx;
    Ok(())
}

fn credential(name: &str) -> NewCredential {
    NewCredential {
        provider: "openai_compatible".to_owned(),
        name: name.parse().expect("a name"),
        base_url: Some("https://up.example/v1".to_owned()),
        secret: Some(format!("sk-{name}-0123456789abcdef")),
        allows_passthrough: false,
        data_policy: None,
    }
}

/// The owner, who may repeat a request.
fn remembered(world: &World) -> Actor<'_> {
    world.as_owner().with(api::IDEMPOTENCY_HEADER, "k")
}

/// Opens a credential's secret as a node would, with the keys a control plane of `keyring` grants.
async fn open_secret(world: &World, keyring: &Keyring, id: domain::CredentialId) -> Option<String> {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    let credential = store::credentials::get(&mut tx, id).await.expect("a credential");
    let sealed = credential.secret.expect("a secret");
    let keys = store::credentials::list_data_keys(&mut tx).await.expect("data keys");
    let key = keys.iter().find(|key| key.version == sealed.key_version).expect("its data key");
    let key = keyring.data_key(world.organization(), &key.sealed).ok()?;
    let place = seal_context(world.organization(), id, credential.secret_version);
    let plain = operation::keyring::open(&key, &place, &sealed.ciphertext).ok()?;
    Some(String::from_utf8(plain.to_vec()).expect("text"))
}

/// Whether a virtual key verifies with the pepper of its version.
async fn verifies(world: &World, id: domain::VirtualKeyId, secret: &str) -> bool {
    let organization = world.organization();
    let mut tx = world.cx.store.read(organization).await.expect("a read");
    let key = store::virtual_keys::get(&mut tx, id).await.expect("a key");
    key.secrets.iter().any(|one| {
        let pepper = world.cx.keyring.key_pepper(organization, one.pepper_version);
        one.mac.matches(&TokenMac::compute(&pepper, &organization.to_string(), secret))
    })
}

#[tokio::test]
async fn after_a_rotation_everything_made_before_still_works() {
    let mut world = World::new().await;
    let (org, ws) =
        (OrganizationPath { organization_id: world.organization() }, WorkspacePath { workspace_id: world.workspace() });
    let cookie = sign_in(&world, &world.secrets.admin_password).await;
    let old_credential = world.as_owner().call::<CreateCredential>(org, NoQuery {}, credential("old")).await.unwrap();
    let new_key = NewVirtualKey {
        environment_id: world.environment("development"),
        name: "old".parse().expect("a name"),
        allowed_models: Vec::new(),
        expires_at: None,
    };
    let old_key = world.as_owner().call::<IssueVirtualKey>(ws, NoQuery {}, new_key.clone()).await.unwrap();
    let tokens = format!("/api/v1/organizations/{}/access-tokens", world.organization());
    let first = remembered(&world).send("POST", &tokens, Some(r#"{"name":"ci"}"#)).await;
    jobs::run_due(&world.cx).await;
    let old_ring = world.cx.keyring.clone();

    let rotated = rotate(&world, ROOT_KEY, NEW_KEY).await.expect("a rotation");
    assert_eq!((rotated.version, rotated.organizations), (2, 1));
    assert_eq!(rotation::active_root_key(&world.cx.store).await.expect("a look"), Some(rotated.root_key_id.clone()));
    restart(&mut world, NEW_KEY).await.expect("a start under the new key");

    // What was made before.
    assert_eq!(session(&world, &cookie).send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    assert_eq!(world.as_owner().send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    assert!(verifies(&world, old_key.virtual_key.id, &old_key.secret).await);
    let opened = open_secret(&world, &world.cx.keyring, old_credential.id).await;
    assert_eq!(opened.as_deref(), Some("sk-old-0123456789abcdef"));
    let again = remembered(&world).send("POST", &tokens, Some(r#"{"name":"ci"}"#)).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()), "answers kept for repeats");
    let signed_in = login(&world.anonymous(), "admin@localhost", &world.secrets.admin_password).await;
    assert_eq!(signed_in.status, StatusCode::OK);
    assert!(signed_in.headers.contains_key(header::SET_COOKIE));
    world.advance(10);
    jobs::run_due(&world.cx).await;
    let verified = world.as_owner().call::<VerifyAudit>(org, NoQuery {}, Empty {}).await.expect("a verification");
    assert!(verified.is_valid, "{:?}", verified.detail);
    let export = format!("/api/v1/organizations/{}/audit/export", world.organization());
    let export = world.as_owner().send("GET", &export, None).await.body;
    assert!(export.contains("root_key.rotate"));
    let pinned = world.cx.audit_signer.public_key();
    assert!(operation::audit_log::verify(export.as_bytes(), Some(&pinned)).expect("a whole log").is_pinned);

    // What is made from now on is out of the old keyring's reach.
    let new_credential = world.as_owner().call::<CreateCredential>(org, NoQuery {}, credential("new")).await.unwrap();
    assert!(open_secret(&world, &world.cx.keyring, new_credential.id).await.is_some());
    assert_eq!(open_secret(&world, &old_ring, new_credential.id).await, None);
    assert_eq!(open_secret(&world, &old_ring, old_credential.id).await, None, "its data key was wrapped anew");
    let newer = world.as_owner().call::<IssueVirtualKey>(ws, NoQuery {}, new_key).await.unwrap();
    assert!(verifies(&world, newer.virtual_key.id, &newer.secret).await);
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    let stored = store::virtual_keys::get(&mut tx, newer.virtual_key.id).await.expect("a key");
    assert_eq!(stored.secrets[0].pepper_version, 2);
}

#[tokio::test]
async fn the_old_root_key_opens_nothing_any_more() {
    let mut world = World::new().await;
    rotate(&world, ROOT_KEY, NEW_KEY).await.expect("a rotation");
    let refused = restart(&mut world, ROOT_KEY).await.expect_err("the old key");
    assert!(refused.to_string().contains("rotate-root-key"), "{refused}");
    assert!(matches!(refused, KeyError::OtherRootKey { .. }));
    let mut tx = world.cx.store.system().await.expect("a transaction");
    for secret in store::root_secrets::list(&mut tx).await.expect("secrets") {
        use operation::root_key::KeyProvider as _;
        let place = format!("v1|root-secret|{}", secret.version);
        assert!(LocalKey::new(ROOT_KEY).unwrap(&place, &secret.sealed).is_err());
    }
}

#[tokio::test]
async fn an_interrupted_rotation_goes_on_and_a_finished_one_does_nothing() {
    let mut world = World::new().await;
    let (_, other, _) = world.as_stranger().await;
    // Interrupted after the first step: the root secrets are under the new key, everything below as it was.
    let mut tx = world.cx.store.read(other).await.expect("a read");
    let before = store::credentials::list_data_keys(&mut tx).await.expect("data keys");
    drop(tx);
    rotate(&world, ROOT_KEY, NEW_KEY).await.expect("a rotation");
    let undo = store::credentials::SealedDataKey { ..before[0].clone() };
    let permit = domain::Permit::system(domain::JobName::Operator, domain::Scope::Organization(other));
    let mut tx = world.cx.store.write(other).await.expect("a write");
    store::credentials::reseal_data_key(&mut tx, &permit, &undo).await.expect("as it was");
    world.record(&mut tx, &permit);
    tx.commit().await.expect("a commit");
    restart(&mut world, NEW_KEY).await.expect("a start in between works, too");
    let rest = rotate(&world, ROOT_KEY, NEW_KEY).await.expect("the rest");
    assert_eq!((rest.version, rest.organizations, rest.signing_keys), (2, 1, 0));
    let nothing = rotate(&world, ROOT_KEY, NEW_KEY).await.expect("nothing");
    assert_eq!((nothing.version, nothing.organizations, nothing.signing_keys), (2, 0, 0));
    // And once more, to a third key.
    let third = rotate(&world, NEW_KEY, [11; 32]).await.expect("a second rotation");
    assert_eq!((third.version, third.organizations), (3, 2));
    restart(&mut world, [11; 32]).await.expect("a start under the third key");
    assert_eq!(world.as_owner().send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    let wrong = rotate(&world, NEW_KEY, [13; 32]).await.expect_err("from a key that no longer counts");
    assert!(matches!(wrong, KeyError::OtherRootKey { .. }));
}
