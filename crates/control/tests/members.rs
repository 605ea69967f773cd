//! What happens to people: disabled, enabled, removed, given a new password; by whom, and what ends with it.

use api::ops::members::{
    AddMember, BindRole, DisableMember, EnableMember, ListMembers, MemberPath, MemberView, NewMember, NewRoleBinding,
    RemoveMember, ResetMemberPassword,
};
use api::ops::organizations::{CreateOrganization, NewOrganization};
use api::ops::{NoPath, OrganizationPath, PageQuery};
use api::{Client, Empty, NoQuery};
use domain::{OrganizationId, Role, Scope};
use http::{StatusCode, header};

use crate::auth::{cookie_of, login, session};
use crate::world::{Actor, World};

const PASSWORD: &str = "violet harbour 19 lantern";

fn place(organization_id: OrganizationId) -> OrganizationPath {
    OrganizationPath { organization_id }
}

fn path(organization_id: OrganizationId, member: &MemberView) -> MemberPath {
    MemberPath { organization_id, member_id: member.id }
}

/// Adds Ada with a role and lets her choose her password; returns her membership and her browser.
async fn ada(world: &World, role: Role) -> (MemberView, Actor<'_>) {
    let body = NewMember {
        email: "ada@example.com".parse().expect("an address"),
        name: "Ada".parse().expect("a name"),
        role,
        workspace_id: None,
    };
    let added =
        world.as_owner().call::<AddMember>(place(world.organization()), NoQuery {}, body).await.expect("a member");
    let one_time = added.one_time_password.expect("a one-time password");
    (added.member, choose(world, &one_time, PASSWORD).await)
}

/// Signs Ada in with a one-time password and chooses another.
async fn choose<'a>(world: &'a World, one_time: &str, password: &str) -> Actor<'a> {
    let ada = session(world, &cookie_of(&login(&world.anonymous(), "ada@example.com", one_time).await));
    let body = serde_json::json!({ "current_password": one_time, "new_password": password }).to_string();
    let changed = ada.send("POST", "/api/v1/me/password", Some(&body)).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    ada
}

/// Makes the administrator found a second organization with Ada in it; returns it and the administrator's browser.
async fn second_organization(world: &World) -> (OrganizationId, MemberView, Actor<'_>) {
    let cookie = crate::auth::sign_in(world, &world.secrets.admin_password).await;
    let admin = session(world, &cookie);
    let new = NewOrganization { slug: "acme".parse().expect("a slug"), name: "Acme".parse().expect("a name") };
    let acme = admin.call::<CreateOrganization>(NoPath {}, NoQuery {}, new).await.expect("an organization").id;
    let body = NewMember {
        email: "ada@example.com".parse().expect("an address"),
        name: "Ada".parse().expect("a name"),
        role: Role::Viewer,
        workspace_id: None,
    };
    let joined = admin.call::<AddMember>(place(acme), NoQuery {}, body).await.expect("a member");
    (acme, joined.member, admin)
}

async fn status(actor: &Actor<'_>, path: &str) -> u16 {
    actor.send("GET", path, None).await.status.as_u16()
}

#[tokio::test]
async fn a_disabled_member_has_no_session_no_token_and_no_way_in_until_enabled() {
    let world = World::new().await;
    let (member, ada) = ada(&world, Role::Admin).await;
    let tokens = format!("/api/v1/organizations/{}/access-tokens", world.organization());
    let token = ada.send("POST", &tokens, Some(r#"{"name":"ci"}"#)).await.json()["secret"].as_str().unwrap().to_owned();
    let by_token = world.bearer(&token);
    assert_eq!(status(&by_token, "/api/v1/me").await, 200);

    let owner = world.as_owner();
    let at = path(world.organization(), &member);
    let disabled = owner.call::<DisableMember>(at, NoQuery {}, Empty {}).await.expect("disabled");
    assert_eq!(disabled.disabled_at, Some(world.now()));
    assert_eq!((status(&ada, "/api/v1/me").await, status(&by_token, "/api/v1/me").await), (401, 401));
    let refused = login(&world.anonymous(), "ada@example.com", PASSWORD).await;
    let unknown = login(&world.anonymous(), "nobody@example.com", PASSWORD).await;
    assert_eq!((refused.status, &refused.body), (StatusCode::UNAUTHORIZED, &unknown.body));
    let again = owner.call::<DisableMember>(at, NoQuery {}, Empty {}).await.expect("disabling twice");
    assert_eq!(again, disabled);

    let enabled = owner.call::<EnableMember>(at, NoQuery {}, Empty {}).await.expect("enabled");
    assert_eq!((enabled.disabled_at, enabled.role_bindings), (None, member.role_bindings));
    let back = session(&world, &cookie_of(&login(&world.anonymous(), "ada@example.com", PASSWORD).await));
    assert_eq!(status(&back, &tokens).await, 200);
    assert_eq!(status(&by_token, "/api/v1/me").await, 401, "a revoked token stays revoked");
    let log = format!("/api/v1/organizations/{}/audit?action=member.", world.organization());
    let log = owner.send("GET", &log, None).await.body;
    assert!(log.contains("member.disable") && log.contains("member.enable"), "{log}");
}

#[tokio::test]
async fn what_one_organization_does_to_a_person_stays_in_that_organization() {
    let world = World::new().await;
    let (member, ada) = ada(&world, Role::Admin).await;
    let (acme, in_acme, admin) = second_organization(&world).await;
    let (here, there) =
        (format!("/api/v1/organizations/{}", world.organization()), format!("/api/v1/organizations/{acme}"));
    assert_eq!((status(&ada, &here).await, status(&ada, &there).await), (200, 200));

    let owner = world.as_owner();
    let at = path(world.organization(), &member);
    owner.call::<DisableMember>(at, NoQuery {}, Empty {}).await.expect("disabled");
    assert_eq!((status(&ada, &here).await, status(&ada, &there).await), (404, 200));
    let refused = owner.refused::<ResetMemberPassword>(at, NoQuery {}, Empty {}).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));
    assert!(refused.detail.expect("a detail").contains("headgate admin reset-password"));
    // The last live membership takes the sessions along.
    admin.call::<RemoveMember>(path(acme, &in_acme), NoQuery {}, Empty {}).await.expect("removed");
    assert_eq!(status(&ada, "/api/v1/me").await, 401);
    assert_eq!(
        login(&world.anonymous(), "ada@example.com", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED,
        "nothing is left to sign in for"
    );
}

#[tokio::test]
async fn a_reset_password_is_shown_once_ends_sessions_and_must_be_changed() {
    let world = World::new().await;
    let (member, ada) = ada(&world, Role::Developer).await;
    let owner = world.as_owner();
    let at = path(world.organization(), &member);
    let client = Client::new(&owner);
    let made = client.call_once::<ResetMemberPassword>("r-1", &at, &NoQuery {}, &Empty {}).await.expect("a password");
    let again = client.call_once::<ResetMemberPassword>("r-1", &at, &NoQuery {}, &Empty {}).await.expect("the same");
    assert_eq!(made, again, "a repeated request does not make a second one");
    assert_eq!(status(&ada, "/api/v1/me").await, 401);
    assert_eq!(login(&world.anonymous(), "ada@example.com", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    let ada = session(&world, &cookie_of(&login(&world.anonymous(), "ada@example.com", &made.one_time_password).await));
    assert_eq!(status(&ada, &format!("/api/v1/organizations/{}", world.organization())).await, 403);
    choose(&world, &made.one_time_password, "copper meadow 52 anchor").await;
    let log = owner.send("GET", &format!("/api/v1/organizations/{}/audit", world.organization()), None).await.body;
    assert!(log.contains("member.reset_password") && !log.contains(&made.one_time_password));

    let late = owner.call::<ResetMemberPassword>(at, NoQuery {}, Empty {}).await.expect("a password");
    world.advance(72 * 3_600);
    let late = login(&world.anonymous(), "ada@example.com", &late.one_time_password).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED, "a one-time password ends");
}

#[tokio::test]
async fn nobody_disables_themself_their_betters_or_the_last_owner() {
    let world = World::new().await;
    let organization = world.organization();
    let owner = world.as_owner();
    let members =
        owner.call::<ListMembers>(place(organization), PageQuery::default(), Empty {}).await.expect("members").items;
    let last = path(organization, &members[0]);
    for (status, code, refused) in [
        (409, "conflict", owner.refused::<DisableMember>(last, NoQuery {}, Empty {}).await),
        (409, "conflict", owner.refused::<ResetMemberPassword>(last, NoQuery {}, Empty {}).await),
    ] {
        assert_eq!((refused.status, refused.code.as_str()), (status, code), "themself");
    }
    let admin = world.as_role(Role::Admin, Scope::Organization(organization)).await;
    for status in [
        admin.refused::<DisableMember>(last, NoQuery {}, Empty {}).await.status,
        admin.refused::<EnableMember>(last, NoQuery {}, Empty {}).await.status,
        admin.refused::<ResetMemberPassword>(last, NoQuery {}, Empty {}).await.status,
        admin.refused::<RemoveMember>(last, NoQuery {}, Empty {}).await.status,
    ] {
        assert_eq!(status, 403, "an admin has no say over an owner");
    }
    // A second owner who is disabled is none: the first may neither be disabled nor removed by them, and stays.
    let (ada, browser) = ada(&world, Role::Viewer).await;
    let binding = NewRoleBinding { member_id: ada.id, role: Role::Owner, workspace_id: None };
    owner.call::<BindRole>(place(organization), NoQuery {}, binding).await.expect("a second owner");
    owner.call::<DisableMember>(path(organization, &ada), NoQuery {}, Empty {}).await.expect("disabled");
    assert_eq!(browser.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(owner.refused::<RemoveMember>(last, NoQuery {}, Empty {}).await.status, 409);
    owner.call::<EnableMember>(path(organization, &ada), NoQuery {}, Empty {}).await.expect("enabled");
    let back = session(&world, &cookie_of(&login(&world.anonymous(), "ada@example.com", PASSWORD).await));
    back.call::<DisableMember>(last, NoQuery {}, Empty {}).await.expect("one of two owners");
    assert_eq!(back.refused::<DisableMember>(path(organization, &ada), NoQuery {}, Empty {}).await.status, 409);
    assert_eq!(owner.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_machines_operator_resets_anybody_and_every_organization_can_read_it() {
    let world = World::new().await;
    let (_, ada) = ada(&world, Role::Viewer).await;
    let (acme, _, admin) = second_organization(&world).await;
    let made = control::operator::reset_password(&world.cx, "Ada@example.com").await.expect("a password");
    assert_eq!(status(&ada, "/api/v1/me").await, 401);
    choose(&world, made.password.expose(), "copper meadow 52 anchor").await;
    for organization in [world.organization(), acme] {
        let log = admin.send("GET", &format!("/api/v1/organizations/{organization}/audit"), None).await.body;
        assert!(log.contains("user.reset_password"), "{organization}");
    }
    let unknown = control::operator::reset_password(&world.cx, "nobody@example.com").await.expect_err("nobody");
    assert!(unknown.to_string().contains("nobody@example.com"), "{unknown}");
}

#[tokio::test]
async fn guesses_of_strangers_do_not_keep_the_owner_of_an_account_out() {
    let world = World::new().await;
    let answer = login(&world.anonymous(), "admin@localhost", &world.secrets.admin_password).await;
    let device = answer.headers.get_all(header::SET_COOKIE).iter().nth(1).expect("a device cookie");
    let device = device.to_str().expect("text").split(';').next().expect("a pair").to_owned();
    assert!(device.starts_with("headgate_device="), "{device}");
    // Everybody in these worlds comes from one address, as behind one office router.
    for _ in 0..40 {
        login(&world.anonymous(), "admin@localhost", "guess guess guess").await;
    }
    let stranger = login(&world.anonymous(), "admin@localhost", &world.secrets.admin_password).await;
    assert_eq!(stranger.status, StatusCode::TOO_MANY_REQUESTS);
    let own = world.anonymous().with(header::COOKIE, &device);
    assert_eq!(login(&own, "admin@localhost", &world.secrets.admin_password).await.status, StatusCode::OK);
}
