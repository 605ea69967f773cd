//! Secrets of ours that somebody found: whoever shows one has it ended, and learns nothing.

use api::field::Field;
use api::ops::OrganizationPath;
use api::ops::access_tokens::{AccessTokenPath, CreateAccessToken, NewAccessToken, RotateAccessToken, TokenRotation};
use api::ops::alerts::{AlertQuery, AlertView, ListAlerts};
use api::ops::audit::{AuditEntryView, AuditQuery, ListAuditEntries};
use api::ops::nodes::{CreateJoinToken, NewJoinToken};
use api::ops::virtual_keys::{
    GetVirtualKey, IssueVirtualKey, IssuedVirtualKeyView, NewVirtualKey, RotateVirtualKey, Rotation, VirtualKeyPath,
    VirtualKeyView,
};
use api::{Empty, NoQuery};
use domain::alert::{AlertKind, Severity};
use domain::secret::{RevocationCause, TokenKind, TokenSecret};
use domain::virtual_key::KeyStatus;
use domain::{Role, Scope};
use http::StatusCode;
use operation::ControlConfig;
use runtime::rng::SystemEntropy;
use serde_json::json;

use crate::world::{Answer, World};

const REPORT: &str = "/api/v1/found-secrets";
const ADDRESS: &str = "203.0.113.7";

async fn behind_a_proxy() -> World {
    World::with(ControlConfig { trust_forwarded_for: true, ..ControlConfig::default() }, &[]).await
}

/// Shows what was found, as nobody.
async fn show(world: &World, body: &str) -> Answer {
    world.anonymous().with("x-forwarded-for", ADDRESS).send("POST", REPORT, Some(body)).await
}

/// Shows one secret, which must not be answered otherwise than any other.
async fn show_one(world: &World, token: &str) {
    let answer = show(world, &json!({ "token": token }).to_string()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::ACCEPTED, "{}"));
}

async fn issue(world: &World) -> IssuedVirtualKeyView {
    let body = NewVirtualKey {
        environment_id: world.environment("production"),
        name: "checkout".parse().expect("a name"),
        allowed_models: Vec::new(),
        expires_at: None,
    };
    let place = api::ops::WorkspacePath { workspace_id: world.workspace() };
    world.as_owner().call::<IssueVirtualKey>(place, NoQuery {}, body).await.expect("a key")
}

fn path(world: &World, key: &VirtualKeyView) -> VirtualKeyPath {
    VirtualKeyPath { workspace_id: world.workspace(), virtual_key_id: key.id }
}

async fn seen(world: &World, key: &VirtualKeyView) -> VirtualKeyView {
    world.as_owner().call::<GetVirtualKey>(path(world, key), NoQuery {}, Empty {}).await.expect("the key")
}

fn organization(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

/// What finders did, newest first.
async fn entries(world: &World) -> Vec<AuditEntryView> {
    let query = AuditQuery { limit: Some(200), ..AuditQuery::default() };
    let page = world.as_owner().call::<ListAuditEntries>(organization(world), query, Empty {}).await.expect("entries");
    page.items.into_iter().filter(|entry| entry.actor_kind == "finder").collect()
}

async fn alerts(world: &World) -> Vec<AlertView> {
    let query = AlertQuery { kind: Some(AlertKind::SecretFound), ..AlertQuery::default() };
    world.as_owner().call::<ListAlerts>(organization(world), query, Empty {}).await.expect("alerts").items
}

#[tokio::test]
async fn a_key_that_is_shown_ends_with_a_reason_an_entry_and_an_alert() {
    let world = behind_a_proxy().await;
    let issued = issue(&world).await;
    let found = json!({ "token": issued.secret, "url": "https://code.example/repo/blob/main/.env" });
    assert_eq!(show(&world, &found.to_string()).await.status, StatusCode::ACCEPTED);

    let key = seen(&world, &issued.virtual_key).await;
    assert_eq!((key.status, key.revoked_because), (KeyStatus::Revoked, Some(RevocationCause::Found)));
    assert_eq!(key.revoked_at, Some(world.now()));
    let [entry] = &entries(&world).await[..] else { panic!("one entry") };
    assert_eq!((entry.action.as_str(), entry.ip.as_deref()), ("virtual_key.revoke", Some(ADDRESS)));
    assert_eq!((entry.subject_id.clone(), entry.workspace_id), (key.id.to_string(), Some(world.workspace())));
    let [alert] = &alerts(&world).await[..] else { panic!("one alert") };
    assert_eq!((alert.severity, alert.workspace_id), (Severity::Critical, Some(world.workspace())));
    assert_eq!(alert.facts["said_to_be_at"], "https://code.example/repo/blob/main/.env");
    let told = format!("{entry:?} {alert:?}");
    assert!(!told.contains(issued.secret.split('_').nth(3).expect("the secret part")), "{told}");

    // Showing it again, or a key that was revoked by somebody with the right to, changes nothing.
    show_one(&world, &issued.secret).await;
    assert_eq!((seen(&world, &key).await, entries(&world).await.len()), (key, 1));
}

#[tokio::test]
async fn what_only_looks_like_a_secret_ends_nothing_and_is_answered_alike() {
    let world = World::new().await;
    let issued = issue(&world).await;
    let kid = TokenSecret::kid_of(TokenKind::VirtualKey, &issued.secret).expect("a key id");
    let other_secret = TokenSecret::rotate(TokenKind::VirtualKey, 'p', kid, &SystemEntropy);
    let last = if issued.secret.ends_with('A') { "B" } else { "A" };
    let bad_checksum = format!("{}{last}", &issued.secret[..issued.secret.len() - 1]);
    for token in [other_secret.expose(), &bad_checksum, "sk-proj-0123456789", "", "hgk_"] {
        show_one(&world, token).await;
    }
    for kind in TokenKind::ALL {
        show_one(&world, TokenSecret::generate(kind, 'p', &SystemEntropy).expose()).await;
    }
    assert_eq!(seen(&world, &issued.virtual_key).await, issued.virtual_key);
    assert!(entries(&world).await.is_empty() && alerts(&world).await.is_empty());
}

#[tokio::test]
async fn of_a_key_that_is_being_rotated_only_the_secret_that_is_shown_ends() {
    let world = World::new().await;
    let first = issue(&world).await;
    let place = path(&world, &first.virtual_key);
    let owner = world.as_owner();
    let second =
        owner.call::<RotateVirtualKey>(place, NoQuery {}, Rotation { overlap_secs: 3_600 }).await.expect("a rotation");

    show_one(&world, &first.secret).await;
    let key = seen(&world, &first.virtual_key).await;
    assert_eq!((key.status, key.old_secret_retires_at, key.revoked_because), (KeyStatus::Active, None, None));
    assert_eq!(entries(&world).await[0].action, "virtual_key.retire_secret");

    // One that has ended ends nothing: whoever rotated a leaked secret away keeps the new one.
    show_one(&world, &first.secret).await;
    let third =
        owner.call::<RotateVirtualKey>(place, NoQuery {}, Rotation { overlap_secs: 60 }).await.expect("a rotation");
    world.advance(61);
    show_one(&world, &second.secret).await;
    assert_eq!(seen(&world, &key).await.status, KeyStatus::Active);
    assert_eq!(entries(&world).await.len(), 1);
    show_one(&world, &third.secret).await;
    assert_eq!(seen(&world, &key).await.status, KeyStatus::Revoked);
}

#[tokio::test]
async fn of_an_access_token_that_is_being_rotated_only_the_secret_that_is_shown_ends() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewAccessToken { name: "ci".parse().expect("a name"), expires_at: None };
    let first = owner.call::<CreateAccessToken>(organization(&world), NoQuery {}, body).await.expect("a token");
    let place = AccessTokenPath { organization_id: world.organization(), access_token_id: first.access_token.id };
    let rotation = TokenRotation { overlap_secs: 3_600, expires_at: Field::Absent };
    let second = owner.call::<RotateAccessToken>(place, NoQuery {}, rotation.clone()).await.expect("a rotation");
    show_one(&world, &first.secret).await;
    let works =
        async |secret: &str| world.bearer(secret).send("GET", "/api/v1/me", None).await.status == StatusCode::OK;
    assert!(!works(&first.secret).await && works(&second.secret).await);
    assert_eq!(entries(&world).await[0].action, "access_token.retire_secret");

    // One that has ended ends nothing, here and after the overlap.
    show_one(&world, &first.secret).await;
    let third = owner.call::<RotateAccessToken>(place, NoQuery {}, rotation).await.expect("a rotation");
    world.advance(3_601);
    show_one(&world, &second.secret).await;
    assert!(works(&third.secret).await);
    assert_eq!((entries(&world).await.len(), alerts(&world).await.len()), (1, 1));
    show_one(&world, &third.secret).await;
    assert!(!works(&third.secret).await);
    assert_eq!((entries(&world).await[0].action.as_str(), alerts(&world).await.len()), ("access_token.revoke", 2));
}

#[tokio::test]
async fn a_scanners_list_ends_secrets_of_every_kind_and_organization() {
    let world = World::new().await;
    let key = issue(&world).await;
    let token = world.member(Role::Viewer, Scope::Organization(world.organization())).await;
    let body = NewJoinToken { group_id: world.installation.node_group_id, ttl_secs: 900 };
    let owner = world.as_owner();
    let join = owner.call::<CreateJoinToken>(organization(&world), NoQuery {}, body).await.expect("a join token");
    let (stranger, _, _) = world.as_stranger().await;
    let theirs = stranger.headers[http::header::AUTHORIZATION].to_str().expect("text").replace("Bearer ", "");
    let found: Vec<_> = [&key.secret, &token, &format!("{}.0123abcd", join.secret), &theirs]
        .into_iter()
        .map(|token| json!({ "token": token, "type": "headgate", "url": "https://x", "source": "content" }))
        .collect();
    assert_eq!(show(&world, &json!(found).to_string()).await.status, StatusCode::ACCEPTED);

    assert_eq!(seen(&world, &key.virtual_key).await.status, KeyStatus::Revoked);
    for gone in [&token, &theirs] {
        assert_eq!(world.bearer(gone).send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
    }
    let place = format!("/api/v1/organizations/{}", world.organization());
    let listed = owner.send("GET", &format!("{place}/join-tokens"), None).await;
    assert!(!listed.body.contains(&join.join_token.hint), "{}", listed.body);
    let tokens = owner.send("GET", &format!("{place}/access-tokens"), None).await;
    assert_eq!(tokens.body.matches(r#""revoked_because":"found""#).count(), 1, "{}", tokens.body);
    let mut actions: Vec<_> = entries(&world).await.into_iter().map(|entry| entry.action).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["access_token.revoke", "join_token.revoke", "virtual_key.revoke"]);
    assert_eq!(alerts(&world).await.len(), 3);
}

#[tokio::test]
async fn reports_are_bounded_in_size_and_number() {
    let world = behind_a_proxy().await;
    let one = json!({ "token": TokenSecret::generate(TokenKind::VirtualKey, 'p', &SystemEntropy).expose() });
    let list = |n: usize| json!(vec![one.clone(); n]).to_string();
    assert_eq!(show(&world, &list(101)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let long = json!({ "token": "x".repeat(api::ops::found_secrets::MAX_BODY) }).to_string();
    assert_eq!(show(&world, &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(show(&world, r#"{"secret":"x"}"#).await.status, StatusCode::BAD_REQUEST);

    assert_eq!(show(&world, &list(100)).await.status, StatusCode::ACCEPTED);
    let refused = show(&world, &one.to_string()).await;
    assert_eq!((refused.status, refused.headers["retry-after"].as_bytes()), (StatusCode::TOO_MANY_REQUESTS, &b"2"[..]));
    let elsewhere = world.anonymous().with("x-forwarded-for", "203.0.113.8");
    assert_eq!(elsewhere.send("POST", REPORT, Some(&one.to_string())).await.status, StatusCode::ACCEPTED);
    world.advance(2);
    assert_eq!(show(&world, &one.to_string()).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn scanners_are_told_how_to_find_our_tokens_and_where_to_report_them() {
    let world = World::new().await;
    let answer = world.anonymous().send("GET", "/.well-known/secret-scanning", None).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_bytes()), (StatusCode::OK, &b"application/json"[..]));
    let told = answer.json();
    assert_eq!(told["report"]["url"], REPORT);
    assert_eq!(told["tokens"].as_array().map(Vec::len), Some(TokenKind::ALL.len()));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SECURITY.md")).expect("a page");
    for kind in TokenKind::ALL {
        assert!(page.contains(&kind.pattern()), "SECURITY.md has {}", kind.pattern());
    }
}
