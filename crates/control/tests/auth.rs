//! Signing in and out, sessions, one's own password, access tokens as a way in.

use api::Empty;
use api::NoQuery;
use api::ops::auth::{ChangePassword, ListSessions, Me, PasswordChange};
use api::ops::members::{AddMember, NewMember};
use api::ops::{NoPath, OrganizationPath, PageQuery};
use control::ControlConfig;
use domain::Role;
use http::{StatusCode, header};

use crate::world::{Actor, Answer, World};

const EMAIL: &str = "admin@localhost";

pub(crate) async fn login(actor: &Actor<'_>, email: &str, password: &str) -> Answer {
    let body = serde_json::json!({ "email": email, "password": password }).to_string();
    actor.send("POST", "/api/v1/auth/login", Some(&body)).await
}

/// Signs the administrator in and returns the cookie.
pub(crate) async fn sign_in(world: &World, password: &str) -> String {
    cookie_of(&login(&world.anonymous(), EMAIL, password).await)
}

pub(crate) fn cookie_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

pub(crate) fn session<'a>(world: &'a World, cookie: &str) -> Actor<'a> {
    world.anonymous().with(header::COOKIE, cookie).with(api::CSRF_HEADER, "1")
}

#[tokio::test]
async fn a_session_works_until_it_ends() {
    let world = World::new().await;
    let cookie = sign_in(&world, &world.secrets.admin_password).await;
    let person = session(&world, &cookie);
    let me = person.call::<Me>(NoPath {}, NoQuery {}, Empty {}).await.expect("me");
    assert_eq!((me.user.email.as_str(), me.is_operator), (EMAIL, true));
    assert_eq!(me.organizations[0].roles, [Role::Owner]);
    assert_eq!(me.organizations[0].workspaces[0].workspace_id, world.workspace());

    let left = person.send("POST", "/api/v1/auth/logout", None).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert!(left.headers[header::SET_COOKIE].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(person.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_when_idle_and_after_a_week_in_any_case() {
    let world = World::new().await;
    let cookie = sign_in(&world, &world.secrets.admin_password).await;
    let person = session(&world, &cookie);
    for _ in 0..14 {
        world.advance(11 * 3_600);
        assert_eq!(person.send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    }
    world.advance(14 * 3_600);
    assert_eq!(person.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);

    let cookie = sign_in(&world, &world.secrets.admin_password).await;
    world.advance(12 * 3_600);
    assert_eq!(session(&world, &cookie).send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_cookie_is_host_bound_over_https_and_the_answer_is_hardened() {
    let config = ControlConfig { public_url: Some("https://headgate.example".to_owned()), ..ControlConfig::default() };
    let world = World::with(config, &[]).await;
    let answer = login(&world.anonymous(), EMAIL, &world.secrets.admin_password).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
    assert!(
        cookie.starts_with("__Host-headgate=") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"),
        "{cookie}"
    );
    assert!(answer.headers[header::STRICT_TRANSPORT_SECURITY].to_str().expect("text").starts_with("max-age="));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(answer.headers.contains_key("x-headgate-request-id"));
}

#[tokio::test]
async fn wrong_password_and_unknown_address_answer_the_same_bytes() {
    let world = World::new().await;
    let wrong = login(&world.anonymous(), EMAIL, "not the password at all").await;
    let unknown = login(&world.anonymous(), "nobody@example.com", "not the password at all").await;
    let junk = login(&world.anonymous(), "no address", "not the password at all").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    assert_eq!((wrong.status, &wrong.body), (junk.status, &junk.body));
    let long = login(&world.anonymous(), EMAIL, &format!("{}{}", world.secrets.admin_password, "x".repeat(200))).await;
    assert_eq!(long.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn plain_http_signs_in_on_this_machine_only() {
    let world = World::new().await;
    let from = |host: &str| world.anonymous().with(header::HOST, host);
    let far = login(&from("headgate.example:7400"), EMAIL, &world.secrets.admin_password).await;
    assert_eq!(far.status, StatusCode::FORBIDDEN);
    assert!(far.problem().detail.expect("a detail").contains("public_url"));
    assert_eq!(login(&from("127.0.0.1:7400"), EMAIL, &world.secrets.admin_password).await.status, StatusCode::OK);
}

#[tokio::test]
async fn guessing_is_slowed_with_a_time_to_come_back() {
    let world = World::new().await;
    for _ in 0..6 {
        assert_eq!(login(&world.anonymous(), EMAIL, "guess guess guess").await.status, StatusCode::UNAUTHORIZED);
    }
    let slowed = login(&world.anonymous(), EMAIL, &world.secrets.admin_password).await;
    assert_eq!((slowed.status.as_u16(), slowed.problem().code.as_str()), (429, "rate_limited"));
    let wait: u64 = slowed.headers[header::RETRY_AFTER].to_str().expect("text").parse().expect("seconds");
    world.advance(wait);
    assert_eq!(login(&world.anonymous(), EMAIL, &world.secrets.admin_password).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let world = World::new().await;
    let (here, there) =
        (sign_in(&world, &world.secrets.admin_password).await, sign_in(&world, &world.secrets.admin_password).await);
    let (here, there) = (session(&world, &here), session(&world, &there));
    let sessions = here.call::<ListSessions>(NoPath {}, PageQuery::default(), Empty {}).await.expect("sessions");
    assert_eq!(sessions.items.iter().filter(|session| session.is_current).count(), 1);
    assert_eq!(sessions.items.len(), 2);

    let change = |current: &str, new: &str| PasswordChange {
        current_password: current.to_owned(),
        new_password: new.to_owned(),
    };
    let current = &world.secrets.admin_password;
    let weak = here.refused::<ChangePassword>(NoPath {}, NoQuery {}, change(current, "password1234")).await;
    assert_eq!((weak.status, weak.fields[0].pointer.as_str()), (422, "/new_password"));
    let wrong = here
        .refused::<ChangePassword>(NoPath {}, NoQuery {}, change("wrong wrong wrong", "violet harbour 19 lantern"))
        .await;
    assert_eq!((wrong.status, wrong.fields[0].pointer.as_str()), (422, "/current_password"));
    here.call::<ChangePassword>(NoPath {}, NoQuery {}, change(current, "violet harbour 19 lantern"))
        .await
        .expect("a change");

    assert_eq!(here.send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    assert_eq!(there.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&world.anonymous(), EMAIL, current).await.status, StatusCode::UNAUTHORIZED);
    sign_in(&world, "violet harbour 19 lantern").await;
}

#[tokio::test]
async fn a_new_person_must_choose_a_password_before_anything_else() {
    let world = World::new().await;
    let body = NewMember {
        email: "ada@example.com".parse().expect("an address"),
        name: "Ada".parse().expect("a name"),
        role: Role::Developer,
        workspace_id: None,
    };
    let place = OrganizationPath { organization_id: world.organization() };
    let added = world.as_owner().call::<AddMember>(place, NoQuery {}, body).await.expect("a member");
    let one_time = added.one_time_password.expect("a one-time password");
    let ada = session(&world, &cookie_of(&login(&world.anonymous(), "ada@example.com", &one_time).await));
    let organization = format!("/api/v1/organizations/{}", world.organization());
    assert_eq!(ada.send("GET", &organization, None).await.problem().code.as_str(), "permission_denied");
    assert_eq!(ada.send("GET", "/api/v1/me", None).await.json()["user"]["must_change_password"], true);
    let change = PasswordChange { current_password: one_time, new_password: "violet harbour 19 lantern".to_owned() };
    ada.call::<ChangePassword>(NoPath {}, NoQuery {}, change).await.expect("a change");
    assert_eq!(ada.send("GET", &organization, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_removed_member_and_a_revoked_token_work_no_longer_than_the_request_at_hand() {
    let world = World::new().await;
    let token = world.member(Role::Admin, domain::Scope::Organization(world.organization())).await;
    let member = world.bearer(&token);
    let path = format!("/api/v1/organizations/{}/members", world.organization());
    let listed = member.send("GET", &path, None).await;
    let admin = listed.json()["items"]
        .as_array()
        .expect("items")
        .iter()
        .find(|item| item["email"].as_str().expect("text").starts_with("admin."))
        .expect("the admin")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let removed = world.as_owner().send("DELETE", &format!("{path}/{admin}"), None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(member.send("GET", &path, None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bearers_that_are_wrong_are_told_what_is_wrong_and_nothing_else() {
    let world = World::new().await;
    let virtual_key = world.bearer(&world.secrets.virtual_key).send("GET", "/api/v1/me", None).await;
    assert_eq!(virtual_key.status, StatusCode::UNAUTHORIZED);
    assert!(virtual_key.body.contains("virtual key"));
    let mut wrong = world.secrets.access_token.clone();
    wrong.replace_range(20..21, if &wrong[20..21] == "A" { "B" } else { "A" });
    for token in ["", "hga_x", &wrong] {
        let answer = world.bearer(token).send("GET", "/api/v1/me", None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    // A wrong bearer is not saved by a good cookie.
    let cookie = sign_in(&world, &world.secrets.admin_password).await;
    let both = world.bearer(&wrong).with(header::COOKIE, &cookie).send("GET", "/api/v1/me", None).await;
    assert_eq!(both.status, StatusCode::UNAUTHORIZED);
}
