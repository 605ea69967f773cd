//! Rotating access tokens: two secrets for a while, then one; and of virtual keys, when the old secret was last shown.

use api::field::Field;
use api::ops::access_tokens::{
    AccessTokenPath, AccessTokenView, CreateAccessToken, IssuedAccessTokenView, ListAccessTokens, NewAccessToken,
    RevokeAccessToken, RotateAccessToken, TokenRotation,
};
use api::ops::audit::{AuditQuery, ListAuditEntries};
use api::ops::virtual_keys::{
    GetVirtualKey, IssueVirtualKey, NewVirtualKey, RotateVirtualKey, Rotation, VirtualKeyPath,
};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::id::IdMint as _;
use domain::usage::UsageEvent;
use domain::{AccessTokenId, Role, Scope, Timestamp};
use http::StatusCode;

use crate::usage::{book_from, event};
use crate::world::{Actor, World};

const HOUR: u64 = 3_600;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn path(world: &World, id: AccessTokenId) -> AccessTokenPath {
    AccessTokenPath { organization_id: world.organization(), access_token_id: id }
}

fn overlap(overlap_secs: u64) -> TokenRotation {
    TokenRotation { overlap_secs, expires_at: Field::Absent }
}

async fn create(world: &World, actor: &Actor<'_>, expires_at: Option<Timestamp>) -> IssuedAccessTokenView {
    let body = NewAccessToken { name: "ci".parse().expect("a name"), expires_at };
    actor.call::<CreateAccessToken>(org(world), NoQuery {}, body).await.expect("a token")
}

async fn rotate(world: &World, actor: &Actor<'_>, id: AccessTokenId, overlap_secs: u64) -> IssuedAccessTokenView {
    actor.call::<RotateAccessToken>(path(world, id), NoQuery {}, overlap(overlap_secs)).await.expect("a rotation")
}

async fn status(world: &World, secret: &str) -> StatusCode {
    world.bearer(secret).send("GET", "/api/v1/me", None).await.status
}

async fn seen(world: &World, id: AccessTokenId) -> AccessTokenView {
    let page = PageQuery { limit: Some(200), cursor: None };
    let listed = world.as_owner().call::<ListAccessTokens>(org(world), page, Empty {}).await.expect("tokens");
    listed.items.into_iter().find(|token| token.id == id).expect("the token")
}

fn after(world: &World, seconds: u64) -> Timestamp {
    world.now().plus(std::time::Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_rotated_token_has_two_secrets_for_the_overlap_and_then_one() {
    let world = World::new().await;
    let owner = world.as_owner();
    let first = create(&world, &owner, None).await;
    let id = first.access_token.id;
    let second = rotate(&world, &owner, id, HOUR).await;
    assert_eq!(second.access_token.hint, first.access_token.hint);
    assert_ne!(second.secret, first.secret);
    assert_eq!(second.access_token.old_secret_retires_at, Some(after(&world, HOUR)));
    assert_eq!(second.access_token.rotated_at, Some(world.now()));
    assert_eq!(
        (status(&world, &first.secret).await, status(&world, &second.secret).await),
        (StatusCode::OK, StatusCode::OK)
    );
    let early = owner.refused::<RotateAccessToken>(path(&world, id), NoQuery {}, overlap(0)).await;
    assert_eq!(early.status, 409);

    world.advance(HOUR);
    assert_eq!(status(&world, &first.secret).await, StatusCode::UNAUTHORIZED);
    let token = seen(&world, id).await;
    assert_eq!((token.old_secret_retires_at, token.old_secret_last_used_at), (None, None));
    // With none, the old one stops at once; a token may rotate itself.
    let third = rotate(&world, &world.bearer(&second.secret), id, 0).await;
    assert_eq!(status(&world, &second.secret).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&world, &third.secret).await, StatusCode::OK);
    let long = owner.refused::<RotateAccessToken>(path(&world, id), NoQuery {}, overlap(2_592_001)).await;
    assert_eq!(long.fields[0].pointer, "/overlap_secs");
}

#[tokio::test]
async fn the_last_use_of_the_old_secret_is_told_apart() {
    let world = World::new().await;
    let owner = world.as_owner();
    let first = create(&world, &owner, None).await;
    let id = first.access_token.id;
    status(&world, &first.secret).await;
    world.advance(HOUR);
    let second = rotate(&world, &owner, id, 24 * HOUR).await;
    assert_eq!(
        seen(&world, id).await.old_secret_last_used_at,
        None,
        "what was before the rotation is of no secret that is old"
    );
    world.advance(HOUR);
    let shown = world.now();
    assert_eq!(status(&world, &first.secret).await, StatusCode::OK);
    // Less than a minute later is not written down.
    world.advance(5);
    status(&world, &first.secret).await;
    world.advance(HOUR);
    status(&world, &second.secret).await;
    let token = seen(&world, id).await;
    assert_eq!((token.old_secret_last_used_at, token.last_used_at), (Some(shown), Some(world.now())));
}

#[tokio::test]
async fn the_end_of_a_token_is_its_old_secrets_too_and_only_the_new_one_outlives_it() {
    let world = World::new().await;
    let owner = world.as_owner();
    let first = create(&world, &owner, Some(after(&world, HOUR))).await;
    let id = first.access_token.id;
    let later = after(&world, 100 * HOUR);
    let past = TokenRotation { overlap_secs: 0, expires_at: Field::Value(world.now()) };
    let refused = owner.refused::<RotateAccessToken>(path(&world, id), NoQuery {}, past).await;
    assert_eq!(refused.fields[0].pointer, "/expires_at");
    let body = TokenRotation { overlap_secs: 24 * HOUR, expires_at: Field::Value(later) };
    let second = owner.call::<RotateAccessToken>(path(&world, id), NoQuery {}, body).await.expect("a rotation");
    assert_eq!(second.access_token.expires_at, Some(later));
    assert_eq!(second.access_token.old_secret_retires_at, Some(after(&world, HOUR)));
    world.advance(HOUR);
    assert_eq!(status(&world, &first.secret).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&world, &second.secret).await, StatusCode::OK);
    world.advance(99 * HOUR);
    let ended = owner.refused::<RotateAccessToken>(path(&world, id), NoQuery {}, overlap(0)).await;
    assert_eq!((ended.status, status(&world, &second.secret).await.as_u16()), (409, 401));
}

#[tokio::test]
async fn nobody_gets_a_secret_that_acts_for_somebody_else() {
    let world = World::new().await;
    let (owner, viewer) = (world.as_owner(), world.as_viewer().await);
    let (owners, viewers) = (create(&world, &owner, None).await, create(&world, &viewer, None).await);
    let auditor = world.as_role(Role::Auditor, Scope::Organization(world.organization())).await;
    for (actor, token, expected) in [(&viewer, &owners, 404), (&owner, &viewers, 409), (&auditor, &viewers, 409)] {
        let place = path(&world, token.access_token.id);
        let refused = actor.refused::<RotateAccessToken>(place, NoQuery {}, overlap(0)).await;
        assert_eq!(refused.status, expected);
        assert_eq!(status(&world, &token.secret).await, StatusCode::OK);
    }
    // A revoked token has no new secret, and both secrets of a rotated one end with it.
    let second = rotate(&world, &viewer, viewers.access_token.id, HOUR).await;
    owner
        .call::<RevokeAccessToken>(path(&world, viewers.access_token.id), NoQuery {}, Empty {})
        .await
        .expect("its end");
    for secret in [&viewers.secret, &second.secret] {
        assert_eq!(status(&world, secret).await, StatusCode::UNAUTHORIZED);
    }
    let refused =
        viewer.refused::<RotateAccessToken>(path(&world, viewers.access_token.id), NoQuery {}, overlap(0)).await;
    assert_eq!(refused.status, 409);
}

#[tokio::test]
async fn a_rotation_stands_in_the_audit_log_without_a_secret() {
    let world = World::new().await;
    let owner = world.as_owner();
    let first = create(&world, &owner, None).await;
    let second = rotate(&world, &owner, first.access_token.id, HOUR).await;
    let query = AuditQuery { action: Some("access_token.rotate".to_owned()), ..AuditQuery::default() };
    let entries = owner.call::<ListAuditEntries>(org(&world), query, Empty {}).await.expect("entries").items;
    let [entry] = &entries[..] else { panic!("one entry") };
    assert_eq!(entry.subject_id, first.access_token.id.to_string());
    let told = format!("{entry:?}");
    assert!(told.contains("old_secret_retires_at"), "{told}");
    for secret in [&first.secret, &second.secret] {
        assert!(!told.contains(secret.split('_').nth(3).expect("the secret part")), "{told}");
    }
}

#[tokio::test]
async fn of_a_virtual_key_the_last_call_with_the_old_secret_is_told_during_the_overlap() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewVirtualKey {
        environment_id: world.environment("production"),
        name: "checkout".parse().expect("a name"),
        allowed_models: Vec::new(),
        expires_at: None,
    };
    let place = WorkspacePath { workspace_id: world.workspace() };
    let key = owner.call::<IssueVirtualKey>(place, NoQuery {}, body).await.expect("a key").virtual_key;
    let path = VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: key.id };
    for sequence in 1..=2 {
        let rotation = Rotation { overlap_secs: HOUR };
        let rotated = owner.call::<RotateVirtualKey>(path, NoQuery {}, rotation).await.expect("a rotation").virtual_key;
        assert_eq!(rotated.old_secret_last_used_at, None, "a use in the rotation before is none of this one");
        world.advance(60);
        let call = event(&world, world.workspace(), 0, "echo/echo-1");
        let id = domain::RequestId::from_uuid(world.cx.mint.next_uuid());
        let call = UsageEvent { id, virtual_key_id: key.id, started_at: world.now(), is_by_old_secret: true, ..call };
        book_from(&world, sequence, &[call]).await;
        let seen = owner.call::<GetVirtualKey>(path, NoQuery {}, Empty {}).await.expect("the key");
        assert_eq!(seen.old_secret_last_used_at, Some(world.now()));
        world.advance(HOUR);
        let seen = owner.call::<GetVirtualKey>(path, NoQuery {}, Empty {}).await.expect("the key");
        assert_eq!((seen.old_secret_retires_at, seen.old_secret_last_used_at), (None, None));
    }
}
