//! Organizations, people, memberships, sessions, access tokens, idempotency keys and jobs.

use std::time::Duration;

use domain::access_token::{AccessToken, OldSecret};
use domain::member::{Member, RoleBinding};
use domain::page::Limit;
use domain::rbac::Grant;
use domain::secret::TokenMac;
use domain::session::Session;
use domain::user::User;
use domain::{
    AccessTokenId, MemberId, OrganizationId, Role, RoleBindingId, Scope, SessionId, Timestamp, UserId, WorkspaceId,
};
use store::users::NewPassword;
use store::{
    Constraint, StoreError, access_tokens, environments, idempotency, jobs, members, organizations, sessions, settings,
    signing_keys, users, virtual_keys, workspaces,
};

use crate::support::{NOON, Tenant, World, key, kid, name, note, permit, uuid};

fn person(email: &str) -> User {
    User {
        id: UserId::from_uuid(uuid()),
        email: name(email),
        name: name("Ada"),
        must_change_password: false,
        version: 1,
        created_at: NOON,
        disabled_at: None,
    }
}

fn member(tenant: &Tenant, user: &User) -> Member {
    Member {
        id: MemberId::from_uuid(uuid()),
        organization_id: tenant.id,
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        created_at: NOON,
        disabled_at: None,
    }
}

async fn join(world: &World, tenant: &Tenant, user: &User, is_new: bool, roles: &[(Role, Scope)]) -> Member {
    let (permit, member) = (permit(tenant.id), member(tenant, user));
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    if is_new {
        users::insert(&mut tx, &permit, user, Some(NewPassword::Own("$argon2id$v=19$x"))).await.expect("a new user");
    }
    members::insert(&mut tx, &permit, &member).await.expect("a new member");
    for (role, scope) in roles {
        let binding = RoleBinding {
            id: RoleBindingId::from_uuid(uuid()),
            organization_id: tenant.id,
            member_id: member.id,
            role: *role,
            scope: *scope,
            created_at: NOON,
        };
        members::bind(&mut tx, &permit, &binding).await.expect("bound");
    }
    note(&mut tx, &permit, "member.create");
    tx.commit().await.expect("committed");
    member
}

#[tokio::test]
async fn an_organization_is_read_back_and_changed_by_version() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let mut found = organizations::get(&mut tx).await.expect("found");
    found.name = name("Renamed");
    found.max_stale = Duration::from_mins(90);
    assert_eq!(organizations::update(&mut tx, &permit, &found).await.expect("updated"), 2);
    assert!(matches!(organizations::update(&mut tx, &permit, &found).await, Err(StoreError::Stale(_))));
    note(&mut tx, &permit, "organization.update");
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    let all = organizations::list_all(&mut system).await.expect("listed");
    found.version = 2;
    assert_eq!(all, [found.clone()]);
    let unknown = OrganizationId::from_uuid(3);
    assert_eq!(organizations::list_by_ids(&mut system, &[unknown, tenant.id]).await.expect("listed"), [found]);
}

#[tokio::test]
async fn slugs_are_unique_where_they_should_be() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let mut twin = tenant.workspace.clone();
    twin.id = WorkspaceId::from_uuid(uuid());
    let refused = workspaces::insert(&mut tx, &permit, &twin).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::WorkspaceSlug))));
    drop(tx);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let mut twin = tenant.environment.clone();
    twin.id = domain::EnvironmentId::from_uuid(uuid());
    let refused = environments::insert(&mut tx, &permit, &twin).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::EnvironmentSlug))));
}

#[tokio::test]
async fn workspaces_are_listed_in_pages_changed_and_archived() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    for number in 0..4 {
        let mut more = tenant.workspace.clone();
        (more.id, more.slug) = (WorkspaceId::from_uuid(uuid()), name(&format!("more-{number}")));
        workspaces::insert(&mut tx, &permit, &more).await.expect("added");
    }
    let limit = Limit::new(2).expect("a limit");
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = workspaces::list(&mut tx, None, cursor.as_ref(), limit).await.expect("listed");
        seen.extend(page.items.into_iter().map(|workspace| workspace.slug.to_string()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["main", "more-0", "more-1", "more-2", "more-3"]);
    let foreign = domain::page::Cursor("key_00000000000000000000000000".to_owned());
    assert!(matches!(workspaces::list(&mut tx, None, Some(&foreign), limit).await, Err(StoreError::Cursor)));

    let mut renamed = tenant.workspace.clone();
    renamed.name = name("Renamed");
    assert_eq!(workspaces::update(&mut tx, &permit, &renamed).await.expect("updated"), 2);
    assert!(matches!(workspaces::update(&mut tx, &permit, &renamed).await, Err(StoreError::Stale(_))));
    workspaces::archive(&mut tx, &permit, renamed.id, NOON).await.expect("archived");
    assert!(matches!(workspaces::archive(&mut tx, &permit, renamed.id, NOON).await, Err(StoreError::NotFound(_))));
    assert_eq!(workspaces::get(&mut tx, renamed.id).await.expect("still there").archived_at, Some(NOON));
    assert_eq!(workspaces::list(&mut tx, None, None, Limit::default()).await.expect("listed").items.len(), 4);
    note(&mut tx, &permit, "workspace.archive");
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(workspaces::find_organization(&mut system, renamed.id).await.expect("found"), Some(tenant.id));
    assert_eq!(workspaces::find_organization(&mut system, WorkspaceId::from_uuid(1)).await.expect("none"), None);
}

#[tokio::test]
async fn environments_come_in_order_of_promotion() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let mut production = tenant.environment.clone();
    (production.id, production.slug, production.position) =
        (domain::EnvironmentId::from_uuid(uuid()), name("production"), 2);
    environments::insert(&mut tx, &permit, &production).await.expect("added");
    let mut first = environments::get(&mut tx, tenant.environment.id).await.expect("found");
    assert_eq!(first, tenant.environment);
    first.position = 9;
    assert_eq!(environments::update(&mut tx, &permit, &first).await.expect("updated"), 2);
    let order = environments::list(&mut tx, tenant.workspace.id).await.expect("listed");
    assert_eq!(order.iter().map(|environment| environment.id).collect::<Vec<_>>(), [production.id, first.id]);
    assert_eq!(environments::load(&mut tx, Some(&[production.id])).await.expect("loaded"), [production.clone()]);
    // One without keys may go for good.
    virtual_keys::insert(&mut tx, &permit, &key(&tenant, "ci")).await.expect("added");
    assert!(environments::has_keys(&mut tx, first.id).await.expect("asked"));
    assert!(!environments::has_keys(&mut tx, production.id).await.expect("asked"));
    environments::delete(&mut tx, &permit, production.id).await.expect("deleted");
    assert!(matches!(environments::delete(&mut tx, &permit, production.id).await, Err(StoreError::NotFound(_))));
    let in_use = environments::delete(&mut tx, &permit, first.id).await;
    assert!(matches!(in_use, Err(StoreError::Conflict(Constraint::Reference))));
}

#[tokio::test]
async fn a_person_is_one_over_all_organizations_and_seen_only_where_they_belong() {
    let world = World::new().await;
    let (first, second, third) = (world.tenant("a1").await, world.tenant("a2").await, world.tenant("a3").await);
    let ada = person("ada@example.com");
    let owner = [(Role::Owner, Scope::Organization(first.id))];
    let viewer = [(Role::Viewer, Scope::Workspace(second.id, second.workspace.id))];
    let membership = join(&world, &first, &ada, true, &owner).await;
    join(&world, &second, &ada, false, &viewer).await;

    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(users::find_by_email(&mut system, &ada.email).await.expect("found"), Some(ada.clone()));
    let mut grants = members::list_grants(&mut system, ada.id).await.expect("granted");
    grants.sort_by_key(|grant| grant.scope);
    let mut expected = [owner, viewer].map(|[(role, scope)]| Grant { role, scope });
    expected.sort_by_key(|grant| grant.scope);
    assert_eq!(grants, expected);
    drop(system);

    let mut tx = world.store.read(first.id).await.expect("a read");
    assert_eq!(members::get(&mut tx, membership.id).await.expect("found"), membership);
    assert_eq!(members::find_by_user(&mut tx, ada.id).await.expect("found"), Some(membership.clone()));
    assert_eq!(members::list(&mut tx, None, Limit::default()).await.expect("listed").items.len(), 1);
    assert_eq!(members::list_bindings(&mut tx, Some(&[membership.id])).await.expect("listed").len(), 1);
    assert_eq!(users::get(&mut tx, ada.id).await.expect("a member"), ada);
    let mut tx = world.store.read(third.id).await.expect("a read");
    assert!(users::find(&mut tx, ada.id).await.expect("readable").is_none());

    let mut tx = world.store.write(first.id).await.expect("our turn");
    let again = members::insert(&mut tx, &permit(first.id), &member(&first, &ada)).await;
    assert!(matches!(again, Err(StoreError::Conflict(Constraint::Member))));
    drop(tx);
    let mut tx = world.store.write(third.id).await.expect("our turn");
    let again = users::insert(&mut tx, &permit(third.id), &person("ada@example.com"), None).await;
    assert!(matches!(again, Err(StoreError::Conflict(Constraint::UserEmail))));
}

#[tokio::test]
async fn roles_are_bound_once_and_leave_with_the_member() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let ada = person("ada@example.com");
    let scope = Scope::Organization(tenant.id);
    let membership = join(&world, &tenant, &ada, true, &[(Role::Owner, scope)]).await;
    let permit = permit(tenant.id);
    let binding = RoleBinding {
        id: RoleBindingId::from_uuid(uuid()),
        organization_id: tenant.id,
        member_id: membership.id,
        role: Role::Owner,
        scope,
        created_at: NOON,
    };
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let twice = members::bind(&mut tx, &permit, &binding).await;
    assert!(matches!(twice, Err(StoreError::Conflict(Constraint::RoleBinding))), "null workspaces are equal too");
    drop(tx);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let binding = RoleBinding { role: Role::Auditor, ..binding };
    members::bind(&mut tx, &permit, &binding).await.expect("bound");
    assert_eq!(members::get_binding(&mut tx, binding.id).await.expect("found"), binding);
    members::unbind(&mut tx, &permit, binding.id).await.expect("unbound");
    assert!(matches!(members::unbind(&mut tx, &permit, binding.id).await, Err(StoreError::NotFound(_))));
    members::delete(&mut tx, &permit, membership.id).await.expect("removed");
    assert!(members::list_bindings(&mut tx, None).await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_disabled_membership_counts_for_nothing_and_organizations_learn_only_numbers_of_others() {
    let world = World::new().await;
    let (first, second) = (world.tenant("first").await, world.tenant("second").await);
    let ada = person("ada@example.com");
    let here = join(&world, &first, &ada, true, &[(Role::Owner, Scope::Organization(first.id))]).await;
    join(&world, &second, &ada, false, &[(Role::Viewer, Scope::Organization(second.id))]).await;
    let permit_here = permit(first.id);
    let mut tx = world.store.write(first.id).await.expect("our turn");
    assert_eq!(members::list_live_owners(&mut tx).await.expect("listed").len(), 1);
    members::disable(&mut tx, &permit_here, here.id, NOON).await.expect("disabled");
    assert!(matches!(members::disable(&mut tx, &permit_here, here.id, NOON).await, Err(StoreError::NotFound(_))));
    assert!(members::list_live_owners(&mut tx).await.expect("listed").is_empty());
    assert_eq!(members::get(&mut tx, here.id).await.expect("found").disabled_at, Some(NOON));
    let elsewhere = members::count_elsewhere(&mut tx, ada.id).await.expect("counted");
    assert_eq!(elsewhere, members::Elsewhere { all: 1, live: 1 });
    note(&mut tx, &permit_here, "member.disable");
    tx.commit().await.expect("committed");

    let mut system = world.store.system().await.expect("a transaction");
    let grants = members::list_grants(&mut system, ada.id).await.expect("listed");
    assert_eq!(grants.iter().map(|grant| grant.scope.organization()).collect::<Vec<_>>(), [second.id]);
    assert!(members::has_live(&mut system, ada.id).await.expect("counted"));
    assert_eq!(members::list_organizations(&mut system, ada.id).await.expect("listed").len(), 2);
    drop(system);
    let mut tx = world.store.write(second.id).await.expect("their turn");
    let elsewhere = members::count_elsewhere(&mut tx, ada.id).await.expect("counted");
    assert_eq!(elsewhere, members::Elsewhere { all: 1, live: 0 });
    drop(tx);
    // Who is no member is nobody's business.
    let third = world.tenant("third").await;
    let mut tx = world.store.write(third.id).await.expect("their turn");
    let elsewhere = members::count_elsewhere(&mut tx, ada.id).await.expect("counted");
    assert_eq!(elsewhere, members::Elsewhere { all: 0, live: 0 });
    drop(tx);
    let mut tx = world.store.write(first.id).await.expect("our turn");
    members::enable(&mut tx, &permit_here, here.id).await.expect("enabled");
    assert!(matches!(members::enable(&mut tx, &permit_here, here.id).await, Err(StoreError::NotFound(_))));
    assert_eq!(members::list_live_owners(&mut tx).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn an_organization_ends_sessions_of_its_members_and_of_nobody_else() {
    let world = World::new().await;
    let (ours, theirs) = (world.tenant("ours").await, world.tenant("theirs").await);
    let (ada, eve) = (person("ada@example.com"), person("eve@example.com"));
    join(&world, &ours, &ada, true, &[]).await;
    join(&world, &theirs, &eve, true, &[]).await;
    let mut system = world.store.system().await.expect("a transaction");
    for (user, secret) in [(&ada, [1; 32]), (&ada, [2; 32]), (&eve, [3; 32])] {
        let session = Session {
            id: SessionId::from_uuid(uuid()),
            user_id: user.id,
            created_at: NOON,
            last_seen_at: NOON,
            ip: None,
            user_agent: None,
        };
        sessions::insert(&mut system, &session, &secret).await.expect("added");
    }
    system.commit().await.expect("committed");
    let mut tx = world.store.write(ours.id).await.expect("our turn");
    assert_eq!(sessions::delete_all(&mut tx, eve.id, None).await.expect("none"), 0);
    assert_eq!(sessions::delete_all(&mut tx, ada.id, None).await.expect("ended"), 2);
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    assert!(sessions::list(&mut system, ada.id).await.expect("listed").is_empty());
    assert_eq!(sessions::list(&mut system, eve.id).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn passwords_are_set_by_permit_and_rehashed_only_when_unchanged() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let ada = person("ada@example.com");
    join(&world, &tenant, &ada, true, &[]).await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let one_time = NewPassword::OneTime("$new", NOON.plus(Duration::from_hours(1)));
    users::set_password(&mut tx, &permit, ada.id, one_time).await.expect("set");
    let mut changed = users::get(&mut tx, ada.id).await.expect("found");
    assert!(changed.must_change_password);
    changed.name = name("Ada L.");
    users::update(&mut tx, &permit, &changed).await.expect("updated");
    users::disable(&mut tx, &permit, ada.id, NOON).await.expect("disabled");
    assert!(matches!(users::disable(&mut tx, &permit, ada.id, NOON).await, Err(StoreError::NotFound(_))));
    note(&mut tx, &permit, "user.update");
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    users::rehash(&mut system, ada.id, "$stale", "$never").await.expect("no error");
    users::rehash(&mut system, ada.id, "$new", "$newer").await.expect("no error");
    let hash = users::find_password_hash(&mut system, ada.id, NOON).await.expect("found");
    assert_eq!(hash.as_deref(), Some("$newer"));
    let late = users::find_password_hash(&mut system, ada.id, NOON.plus(Duration::from_hours(1))).await.expect("none");
    assert_eq!(late, None, "a one-time password ends");
    assert_eq!(users::get(&mut system, ada.id).await.expect("found").disabled_at, Some(NOON));
}

#[tokio::test]
async fn sessions_are_found_by_their_hash_move_forward_and_end() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let ada = person("ada@example.com");
    join(&world, &tenant, &ada, true, &[]).await;
    let session = |at: Timestamp| Session {
        id: SessionId::from_uuid(uuid()),
        user_id: ada.id,
        created_at: at,
        last_seen_at: at,
        ip: Some("192.0.2.1".to_owned()),
        user_agent: None,
    };
    let (first, second) = (session(NOON), session(NOON.plus(Duration::from_hours(1))));
    let mut system = world.store.system().await.expect("a transaction");
    sessions::insert(&mut system, &first, &[1; 32]).await.expect("added");
    sessions::insert(&mut system, &second, &[2; 32]).await.expect("added");
    assert_eq!(sessions::find_by_secret(&mut system, &[1; 32]).await.expect("found"), Some(first.clone()));
    assert_eq!(sessions::find_by_secret(&mut system, &[3; 32]).await.expect("none"), None);
    let later = NOON.plus(Duration::from_mins(2));
    sessions::touch(&mut system, first.id, later).await.expect("touched");
    sessions::touch(&mut system, first.id, NOON).await.expect("ignored");
    let listed = sessions::list(&mut system, ada.id).await.expect("listed");
    assert_eq!(listed.iter().map(|session| session.last_seen_at).collect::<Vec<_>>(), [second.last_seen_at, later]);
    assert_eq!(sessions::delete_ended(&mut system, NOON, NOON).await.expect("none"), 0);
    assert_eq!(sessions::delete_all(&mut system, ada.id, Some(second.id)).await.expect("ended"), 1);
    sessions::delete(&mut system, ada.id, second.id).await.expect("ended");
    assert!(matches!(sessions::delete(&mut system, ada.id, second.id).await, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn access_tokens_are_found_by_public_id_and_revoked_for_ever() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let ada = person("ada@example.com");
    join(&world, &tenant, &ada, true, &[]).await;
    let permit = permit(tenant.id);
    let token = access_token(&tenant, &ada);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    access_tokens::insert(&mut tx, &permit, &token).await.expect("added");
    note(&mut tx, &permit, "access_token.issue");
    tx.commit().await.expect("committed");

    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(access_tokens::find_by_kid(&mut system, token.kid).await.expect("found"), Some(token.clone()));
    access_tokens::touch(&mut system, &token, None, NOON).await.expect("touched");
    system.commit().await.expect("committed");

    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    assert_eq!(access_tokens::get(&mut tx, token.id).await.expect("found").last_used_at, Some(NOON));
    let page = access_tokens::list(&mut tx, Some(ada.id), None, Limit::default()).await.expect("listed");
    assert_eq!(page.items.len(), 1);
    access_tokens::revoke(&mut tx, &permit, token.id, NOON).await.expect("revoked");
    let again = access_tokens::revoke(&mut tx, &permit, token.id, NOON).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))));
    assert_eq!(access_tokens::revoke_all(&mut tx, &permit, ada.id, NOON).await.expect("none left"), 0);
    let rotated = access_tokens::rotate(&mut tx, &permit, &token).await;
    assert!(matches!(rotated, Err(StoreError::NotFound(_))), "a revoked token never changes again");
}

#[tokio::test]
async fn a_rotated_access_token_keeps_its_old_secret_and_when_that_was_shown() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let ada = person("ada@example.com");
    join(&world, &tenant, &ada, true, &[]).await;
    let (permit, hour) = (permit(tenant.id), Duration::from_hours(1));
    let mut token = access_token(&tenant, &ada);
    let first = token.mac;
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    access_tokens::insert(&mut tx, &permit, &token).await.expect("added");
    token.old_secret =
        Some(OldSecret { mac: first, pepper_version: 1, retires_at: NOON.plus(hour), last_used_at: None });
    (token.mac, token.pepper_version, token.rotated_at) = (TokenMac::from_bytes([8; 32]), 2, Some(NOON));
    token.expires_at = None;
    access_tokens::rotate(&mut tx, &permit, &token).await.expect("rotated");
    note(&mut tx, &permit, "access_token.rotate");
    tx.commit().await.expect("committed");

    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(access_tokens::find_by_kid(&mut system, token.kid).await.expect("found"), Some(token.clone()));
    let later = NOON.plus(Duration::from_secs(90));
    for (mac, at) in [(Some(&first), later), (Some(&first), NOON), (None, later.plus(hour)), (Some(&token.mac), later)]
    {
        access_tokens::touch(&mut system, &token, mac, at).await.expect("touched");
    }
    let found = access_tokens::find_by_kid(&mut system, token.kid).await.expect("found").expect("the token");
    assert_eq!(found.last_used_at, Some(later.plus(hour)));
    assert_eq!(
        found.old_secret.and_then(|old| old.last_used_at),
        Some(later),
        "of the old secret alone, and never back"
    );
}

fn access_token(tenant: &Tenant, owner: &User) -> AccessToken {
    AccessToken {
        id: AccessTokenId::from_uuid(uuid()),
        organization_id: tenant.id,
        user_id: owner.id,
        name: name("ci"),
        kid: kid(),
        mac: TokenMac::from_bytes([9; 32]),
        pepper_version: 1,
        old_secret: None,
        created_at: NOON,
        rotated_at: None,
        expires_at: Some(NOON.plus(Duration::from_hours(1))),
        revoked_at: None,
        revoked_because: None,
        last_used_at: None,
    }
}

#[tokio::test]
async fn a_repeated_request_finds_its_answer_and_another_one_is_told_apart() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let find = idempotency::find(&mut tx, "usr_1", "abc", &[1; 32]).await.expect("looked up");
    assert_eq!(find, idempotency::Known::Nothing);
    idempotency::insert(&mut tx, ("usr_1", "abc"), &[1; 32], (201, b"answer"), NOON).await.expect("kept");
    tx.commit().await.expect("committed");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    let same = idempotency::find(&mut tx, "usr_1", "abc", &[1; 32]).await.expect("looked up");
    assert_eq!(same, idempotency::Known::Answered { status: 201, response: b"answer".to_vec() });
    let other = idempotency::find(&mut tx, "usr_1", "abc", &[2; 32]).await.expect("looked up");
    assert_eq!(other, idempotency::Known::OtherRequest);
    let other = idempotency::find(&mut tx, "usr_2", "abc", &[1; 32]).await.expect("looked up");
    assert_eq!(other, idempotency::Known::Nothing);
    drop(tx);
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(idempotency::delete_before(&mut system, NOON.plus(Duration::from_secs(1))).await.expect("deleted"), 1);
}

#[tokio::test]
async fn recurring_work_is_done_by_one_and_a_lost_lease_shows() {
    let world = World::new().await;
    let hold = Duration::from_mins(1);
    let at = |secs| NOON.plus(Duration::from_secs(secs));
    let mut system = world.store.system().await.expect("a transaction");
    let first = jobs::claim(&mut system, "seal", at(0), hold).await.expect("asked").expect("due at once");
    assert_eq!(jobs::claim(&mut system, "seal", at(30), hold).await.expect("asked"), None);
    let second = jobs::claim(&mut system, "seal", at(60), hold).await.expect("asked").expect("the lease ran out");
    let late = jobs::finish(&mut system, "seal", first, (at(61), at(120)), None).await;
    assert!(matches!(late, Err(StoreError::Stale(_))));
    jobs::finish(&mut system, "seal", second, (at(62), at(120)), Some("late")).await.expect("finished");
    assert_eq!(jobs::claim(&mut system, "seal", at(100), hold).await.expect("asked"), None);
    assert!(jobs::claim(&mut system, "seal", at(120), hold).await.expect("asked").is_some());
}

#[tokio::test]
async fn settings_and_signing_keys_are_kept() {
    let world = World::new().await;
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(settings::find::<String>(&mut system, "first").await.expect("none"), None);
    settings::set(&mut system, "first", &"a", NOON).await.expect("set");
    settings::set(&mut system, "first", &"b", NOON).await.expect("replaced");
    assert_eq!(settings::find::<String>(&mut system, "first").await.expect("found").as_deref(), Some("b"));
    assert!(matches!(settings::find::<u64>(&mut system, "first").await, Err(StoreError::Corrupt { .. })));

    let key = |kid: &str, at: Timestamp| signing_keys::SigningKey {
        kid: kid.to_owned(),
        purpose: "policy".to_owned(),
        public: vec![1],
        sealed: vec![2],
        created_at: at,
        retired_at: None,
    };
    let (old, new) = (key("old", NOON), key("new", NOON.plus(Duration::from_secs(1))));
    signing_keys::lock(&mut system, "policy").await.expect("our turn");
    signing_keys::insert(&mut system, &old).await.expect("added");
    signing_keys::insert(&mut system, &new).await.expect("added");
    signing_keys::retire(&mut system, "old", NOON).await.expect("retired");
    signing_keys::reseal(&mut system, "new", &[3]).await.expect("resealed");
    let listed = signing_keys::list(&mut system, "policy").await.expect("listed");
    let expected = [
        signing_keys::SigningKey { sealed: vec![3], ..new },
        signing_keys::SigningKey { retired_at: Some(NOON), ..old },
    ];
    assert_eq!(listed, expected);
    assert!(signing_keys::list(&mut system, "audit").await.expect("listed").is_empty());
}
