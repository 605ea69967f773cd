//! Virtual keys: shown once, stored as a keyed hash, rotated with overlap, revoked for ever.

use api::field::Field;
use api::ops::members::{ListMembers, MemberPath, RemoveMember};
use api::ops::virtual_keys::{
    GetVirtualKey, IssueVirtualKey, ListVirtualKeys, NewVirtualKey, RevokeVirtualKey, RotateVirtualKey, Rotation,
    UpdateVirtualKey, VirtualKeyChange, VirtualKeyPath, VirtualKeyQuery,
};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::secret::TokenMac;
use domain::virtual_key::{KeyStatus, VirtualKey};
use domain::{Role, Scope, VirtualKeyId};

use crate::world::World;

fn place(world: &World) -> WorkspacePath {
    WorkspacePath { workspace_id: world.workspace() }
}

fn new(world: &World) -> NewVirtualKey {
    NewVirtualKey {
        environment_id: world.environment("production"),
        name: "checkout".parse().expect("a name"),
        allowed_models: vec!["echo/*".parse().expect("a pattern")],
        expires_at: None,
    }
}

async fn stored(world: &World, id: VirtualKeyId) -> VirtualKey {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    store::virtual_keys::get(&mut tx, id).await.expect("the key")
}

/// Whether a secret is one that nodes would accept now.
fn is_accepted(world: &World, key: &VirtualKey, secret: &str) -> bool {
    let organization = world.organization();
    let mac = TokenMac::compute(&world.cx.keyring.key_pepper(organization, 1), &organization.to_string(), secret);
    key.secrets.iter().any(|one| one.mac.matches(&mac) && one.retires_at.is_none_or(|at| world.now() < at))
}

#[tokio::test]
async fn the_secret_is_shown_once_and_stored_as_a_hash() {
    let world = World::new().await;
    let owner = world.as_owner();
    let issued = owner.call::<IssueVirtualKey>(place(&world), NoQuery {}, new(&world)).await.expect("a key");
    assert!(issued.secret.starts_with("hgk_p1_"), "{}", issued.secret);
    assert!(is_accepted(&world, &stored(&world, issued.virtual_key.id).await, &issued.secret));
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: issued.virtual_key.id };
    let got = owner.call::<GetVirtualKey>(path, NoQuery {}, Empty {}).await.expect("the key");
    assert_eq!(got, issued.virtual_key);
    let secret_part = issued.secret.split('_').nth(3).expect("the secret part");
    for path in [
        format!("/api/v1/workspaces/{}/virtual-keys", world.workspace()),
        format!("/api/v1/organizations/{}/audit", world.organization()),
    ] {
        assert!(!owner.send("GET", &path, None).await.body.contains(secret_part), "{path}");
    }
    let query = VirtualKeyQuery { environment_id: Some(world.environment("staging")), ..VirtualKeyQuery::default() };
    assert!(owner.call::<ListVirtualKeys>(place(&world), query, Empty {}).await.expect("keys").items.is_empty());
}

#[tokio::test]
async fn a_rotation_overlaps_and_then_only_the_new_secret_works() {
    let world = World::new().await;
    let owner = world.as_owner();
    let first = owner.call::<IssueVirtualKey>(place(&world), NoQuery {}, new(&world)).await.expect("a key");
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: first.virtual_key.id };
    let second =
        owner.call::<RotateVirtualKey>(path, NoQuery {}, Rotation { overlap_secs: 3_600 }).await.expect("a rotation");
    assert_eq!(second.virtual_key.hint, first.virtual_key.hint);
    assert_eq!(second.virtual_key.old_secret_retires_at, Some(world.now().plus(std::time::Duration::from_secs(3_600))));
    let key = stored(&world, first.virtual_key.id).await;
    assert!(is_accepted(&world, &key, &first.secret) && is_accepted(&world, &key, &second.secret));
    let early = owner.refused::<RotateVirtualKey>(path, NoQuery {}, Rotation { overlap_secs: 0 }).await;
    assert_eq!(early.status, 409);

    world.advance(3_600);
    assert!(!is_accepted(&world, &key, &first.secret) && is_accepted(&world, &key, &second.secret));
    let third = owner.call::<RotateVirtualKey>(path, NoQuery {}, Rotation { overlap_secs: 0 }).await.expect("a cut");
    let key = stored(&world, first.virtual_key.id).await;
    assert_eq!(key.secrets.len(), 1);
    assert!(is_accepted(&world, &key, &third.secret) && !is_accepted(&world, &key, &second.secret));
    let long = owner.refused::<RotateVirtualKey>(path, NoQuery {}, Rotation { overlap_secs: 2_592_001 }).await;
    assert_eq!(long.fields[0].pointer, "/overlap_secs");
}

#[tokio::test]
async fn a_revoked_key_never_changes_again() {
    let world = World::new().await;
    let owner = world.as_owner();
    let issued = owner.call::<IssueVirtualKey>(place(&world), NoQuery {}, new(&world)).await.expect("a key");
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: issued.virtual_key.id };
    let revoked = owner.call::<RevokeVirtualKey>(path, NoQuery {}, Empty {}).await.expect("a revocation");
    assert_eq!(revoked.status, KeyStatus::Revoked);
    assert_eq!(owner.call::<RevokeVirtualKey>(path, NoQuery {}, Empty {}).await.expect("once more"), revoked);
    assert_eq!(owner.refused::<RotateVirtualKey>(path, NoQuery {}, Rotation { overlap_secs: 0 }).await.status, 409);
    let change = VirtualKeyChange {
        version: Some(revoked.version),
        name: Some("x".parse().expect("a name")),
        ..VirtualKeyChange::default()
    };
    assert_eq!(owner.refused::<UpdateVirtualKey>(path, NoQuery {}, change).await.status, 409);
}

#[tokio::test]
async fn expiry_is_set_moved_and_taken_away() {
    let world = World::new().await;
    let owner = world.as_owner();
    let soon = world.now().plus(std::time::Duration::from_secs(60));
    let body = NewVirtualKey { expires_at: Some(soon), ..new(&world) };
    let issued = owner.call::<IssueVirtualKey>(place(&world), NoQuery {}, body).await.expect("a key");
    world.advance(60);
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: issued.virtual_key.id };
    let expired = owner.call::<GetVirtualKey>(path, NoQuery {}, Empty {}).await.expect("the key");
    assert_eq!(expired.status, KeyStatus::Expired);
    let past = NewVirtualKey { expires_at: Some(soon), ..new(&world) };
    assert_eq!(
        owner.refused::<IssueVirtualKey>(place(&world), NoQuery {}, past).await.fields[0].pointer,
        "/expires_at"
    );
    let change = VirtualKeyChange { version: Some(1), expires_at: Field::Null, ..VirtualKeyChange::default() };
    let live = owner.call::<UpdateVirtualKey>(path, NoQuery {}, change).await.expect("a change");
    assert_eq!((live.status, live.expires_at, live.version), (KeyStatus::Active, None, 2));
    let foreign = NewVirtualKey { environment_id: domain::EnvironmentId::from_uuid(1), ..new(&world) };
    assert_eq!(
        owner.refused::<IssueVirtualKey>(place(&world), NoQuery {}, foreign).await.fields[0].pointer,
        "/environment_id"
    );
}

#[tokio::test]
async fn a_key_names_who_issued_it_for_as_long_as_they_are_a_member() {
    let world = World::new().await;
    let organization_id = world.organization();
    let issuer = world.as_role(Role::Developer, Scope::Organization(organization_id)).await;
    let key = issuer.call::<IssueVirtualKey>(place(&world), NoQuery {}, new(&world)).await.expect("a key").virtual_key;
    let owner = world.as_owner();
    let members = owner.call::<ListMembers>(OrganizationPath { organization_id }, PageQuery::default(), Empty {}).await;
    let member = members.expect("members").items.into_iter().find(|it| Some(it.user_id) == key.created_by);
    let member = member.expect("the issuer is a member");
    assert_eq!(key.created_by_name.as_ref(), Some(&member.name));
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: key.id };
    let seen = async || {
        let list = owner.call::<ListVirtualKeys>(place(&world), VirtualKeyQuery::default(), Empty {}).await;
        let listed = list.expect("keys").items.into_iter().find(|it| it.id == key.id).expect("the key");
        assert_eq!(owner.call::<GetVirtualKey>(path, NoQuery {}, Empty {}).await.expect("the key"), listed);
        listed
    };
    assert_eq!(seen().await, key);
    let path = MemberPath { organization_id, member_id: member.id };
    owner.call::<RemoveMember>(path, NoQuery {}, Empty {}).await.expect("removed");
    let orphan = seen().await;
    assert_eq!((orphan.created_by, orphan.created_by_name), (key.created_by, None));
}
