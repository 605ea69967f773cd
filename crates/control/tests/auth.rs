//! Signing in and out, sessions, one's own password, access tokens as a way in.

use api::Empty;
use api::NoQuery;
use api::ops::auth::{ChangePassword, ListSessions, Me, PasswordChange};
use api::ops::members::{AddMember, NewMember};
use api::ops::{NoPath, OrganizationPath, PageQuery};
use domain::Role;
use domain::id::IdMint as _;
use http::{StatusCode, header};
use operation::ControlConfig;

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

/// Makes the administrator an owner of another organization, too, and gives its id.
async fn second_organization(world: &World, person: domain::UserId) -> domain::OrganizationId {
    let (_, id, _) = world.as_stranger().await;
    let permit = domain::Permit::system(domain::JobName::Bootstrap, domain::Scope::Organization(id));
    let (email, name) = (EMAIL.parse().expect("an address"), "Admin".parse().expect("a name"));
    let member_id = domain::MemberId::from_uuid(world.cx.mint.next_uuid());
    let (created_at, disabled_at) = (world.now(), None);
    let member = domain::member::Member {
        id: member_id,
        organization_id: id,
        user_id: person,
        email,
        name,
        created_at,
        disabled_at,
    };
    let mut tx = world.cx.store.write(id).await.expect("a write");
    store::members::insert(&mut tx, &permit, &member).await.expect("a member");
    world.record(&mut tx, &permit);
    tx.commit().await.expect("a commit");
    world.bind_to(member_id, Role::Owner, domain::Scope::Organization(id)).await;
    id
}

/// How many acts of people on their own things are in the log of an organization.
async fn n_own_acts(world: &World, organization: domain::OrganizationId) -> usize {
    let mut tx = world.cx.store.read(organization).await.expect("a read");
    let limit = domain::Limit::new(domain::Limit::MAX).expect("a limit");
    let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
    page.items
        .iter()
        .filter(|entry| entry.action.starts_with("session.") || entry.action == "user.change_password")
        .count()
}

#[tokio::test]
async fn an_act_on_ones_own_things_stands_in_every_log_of_the_person_or_did_not_happen() {
    let world = World::new().await;
    let current = world.secrets.admin_password.clone();
    let first = sign_in(&world, &current).await;
    let me = session(&world, &first).call::<Me>(NoPath {}, NoQuery {}, Empty {}).await.expect("me");
    let organizations = [world.organization(), second_organization(&world, me.user.id).await];
    let seen = async || [n_own_acts(&world, organizations[0]).await, n_own_acts(&world, organizations[1]).await];
    assert_eq!(seen().await, [1, 0], "signed in before the second organization");
    let second = sign_in(&world, &current).await;
    assert_eq!(seen().await, [2, 1]);

    // The log of the later organization cannot be written: its next number is taken.
    let breaks = "UPDATE audit_head SET seq = 0 WHERE organization_id = (SELECT max(organization_id) FROM audit_head)";
    assert_eq!(world.database.tamper(breaks).await.expect("tampered"), 1);
    let new = "violet harbour 19 lantern";
    let change = PasswordChange { current_password: current.clone(), new_password: new.to_owned() };
    let status = |answer: Answer| answer.status;
    assert_eq!(status(login(&world.anonymous(), EMAIL, &current).await), StatusCode::INTERNAL_SERVER_ERROR);
    let person = session(&world, &second);
    let refused = person.refused::<ChangePassword>(NoPath {}, NoQuery {}, change.clone()).await;
    assert_eq!(refused.status, 500);
    assert_eq!(status(person.send("POST", "/api/v1/auth/logout", Some("{}")).await), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(seen().await, [2, 1], "no log tells of what did not happen");
    let sessions = person.call::<ListSessions>(NoPath {}, PageQuery::default(), Empty {}).await.expect("signed in");
    assert_eq!(sessions.items.len(), 2, "and nothing happened");

    let mends = "UPDATE audit_head SET seq = (SELECT max(seq) FROM audit_entries e WHERE e.organization_id = audit_head.organization_id)";
    world.database.tamper(mends).await.expect("mended");
    person.call::<ChangePassword>(NoPath {}, NoQuery {}, change).await.expect("the password of before still held");
    assert_eq!(seen().await, [3, 2]);
    assert_eq!(status(person.send("POST", "/api/v1/auth/logout", Some("{}")).await).as_u16() / 100, 2);
    assert_eq!(seen().await, [4, 3]);
    assert_eq!(status(person.send("GET", "/api/v1/me", None).await), StatusCode::UNAUTHORIZED);
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
