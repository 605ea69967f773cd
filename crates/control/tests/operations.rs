//! The lives of the aggregates through the API: creating, changing, refusing, paging, versions, repeated requests.

use api::field::Field;
use api::ops::access_tokens::{
    AccessTokenPath, CreateAccessToken, ListAccessTokens, NewAccessToken, RevokeAccessToken,
};
use api::ops::deployments::{
    ArchiveDeployment, CreateDeployment, DeploymentChange, DeploymentPath, ListDeployments, NewDeployment,
    UpdateDeployment,
};
use api::ops::environments::{CreateEnvironment, DeleteEnvironment, EnvironmentPath, ListEnvironments, NewEnvironment};
use api::ops::members::{AddMember, BindRole, ListMembers, NewMember, NewRoleBinding, RoleBindingPath, UnbindRole};
use api::ops::models::{
    ImageRateView, ListModels, ListPrices, ListProviders, ModelQuery, NewPrice, PriceQuery, RatesView, SetPrice,
    UnitRatesView,
};
use api::ops::nodes::{
    CreateJoinToken, CreateNodeGroup, ListNodeGroups, NewJoinToken, NewNodeGroup, NodeGroupChange, NodeGroupPath,
    UpdateNodeGroup,
};
use api::ops::organizations::{CreateOrganization, NewOrganization, OrganizationChange, UpdateOrganization};
use api::ops::routes::{ArchiveRoute, CreateRoute, NewRoute, RouteChange, RoutePath, UpdateRoute};
use api::ops::usage::{UsageQuery, WorkspaceUsage};
use api::ops::workspaces::{ArchiveWorkspace, CreateWorkspace, ListWorkspaces, NewWorkspace};
use api::ops::{NoPath, OrganizationPath, PageQuery, WorkspacePath};
use api::{Client, Empty, NoQuery};
use domain::route::{Node, Target};
use domain::{DeploymentId, NanoUsd, OrganizationId, Role, Scope};
use http::{StatusCode, header};

use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn ws(world: &World) -> WorkspacePath {
    WorkspacePath { workspace_id: world.workspace() }
}

fn page(limit: u16) -> PageQuery {
    PageQuery { limit: Some(limit), cursor: None }
}

fn model(name: &str) -> NewDeployment {
    NewDeployment {
        name: name.parse().expect("a model name"),
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        base_model: None,
        credential_id: None,
        is_enabled: true,
    }
}

#[tokio::test]
async fn a_first_start_has_what_the_first_call_needs() {
    let world = World::new().await;
    let owner = world.as_owner();
    let models = owner.call::<ListDeployments>(ws(&world), page(200), Empty {}).await.expect("models");
    let names: Vec<_> = models.items.iter().map(|model| model.name.as_str()).collect();
    assert!(names.contains(&"echo/echo-1") && names.contains(&"echo/echo-embed"), "{names:?}");
    let prices = owner.call::<ListPrices>(org(&world), PriceQuery::default(), Empty {}).await.expect("prices");
    assert!(!prices.items.is_empty() && prices.items.iter().all(|price| price.id.is_some()));
    let environments =
        owner.call::<ListEnvironments>(ws(&world), PageQuery::default(), Empty {}).await.expect("environments");
    let slugs: Vec<_> = environments.items.iter().map(|environment| environment.slug.as_str()).collect();
    assert_eq!(slugs, ["development", "staging", "production"]);
    let groups = owner.call::<ListNodeGroups>(org(&world), PageQuery::default(), Empty {}).await.expect("groups");
    assert!(groups.items[0].holds_all);
    let providers = owner.call::<ListProviders>(org(&world), NoQuery {}, Empty {}).await.expect("providers");
    assert!(providers.items.iter().any(|provider| provider.name == "echo" && !provider.needs_credential));
    let usage = owner
        .call::<WorkspaceUsage>(
            ws(&world),
            UsageQuery { group_by: Some("model,day".to_owned()), ..UsageQuery::default() },
            Empty {},
        )
        .await
        .expect("usage");
    assert_eq!((usage.total.requests, usage.rows.len()), (0, 0));
    let wrong = owner
        .refused::<WorkspaceUsage>(
            ws(&world),
            UsageQuery { group_by: Some("colour".to_owned()), ..UsageQuery::default() },
            Empty {},
        )
        .await;
    assert_eq!(wrong.fields[0].pointer, "group_by");
}

#[tokio::test]
async fn pages_cover_every_row_exactly_once() {
    let world = World::new().await;
    let owner = world.as_owner();
    for n in 0..7 {
        owner.call::<CreateDeployment>(ws(&world), NoQuery {}, model(&format!("m-{n}"))).await.expect("a model");
    }
    let whole = owner.call::<ListDeployments>(ws(&world), page(200), Empty {}).await.expect("all").items;
    let mut seen = Vec::new();
    let mut query = page(2);
    loop {
        let next = owner.call::<ListDeployments>(ws(&world), query, Empty {}).await.expect("a page");
        seen.extend(next.items);
        let Some(cursor) = next.next_cursor else { break };
        query = PageQuery { limit: Some(2), cursor: Some(cursor) };
    }
    assert_eq!(seen, whole);
    for query in ["limit=0", "limit=201", "limit=x", "cursor=junk"] {
        let answer =
            owner.send("GET", &format!("/api/v1/workspaces/{}/deployments?{query}", world.workspace()), None).await;
        assert_eq!(answer.problem().code.as_str(), "request_invalid", "{query}");
    }
}

#[tokio::test]
async fn a_change_wants_the_version_that_was_seen() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner.call::<CreateDeployment>(ws(&world), NoQuery {}, model("m")).await.expect("a model");
    let path = DeploymentPath { workspace_id: world.workspace(), deployment_id: made.id };
    let url = format!("/api/v1/workspaces/{}/deployments/{}", world.workspace(), made.id);
    let got = owner.send("GET", &url, None).await;
    assert_eq!(got.headers[header::ETAG], "\"1\"");
    assert_eq!(
        owner.clone().with(header::IF_NONE_MATCH, "\"1\"").send("GET", &url, None).await.status,
        StatusCode::NOT_MODIFIED
    );

    let missing = owner
        .refused::<UpdateDeployment>(
            path,
            NoQuery {},
            DeploymentChange { is_enabled: Some(false), ..DeploymentChange::default() },
        )
        .await;
    assert_eq!((missing.status, missing.code.as_str()), (428, "version_required"));
    let changed =
        owner.clone().with(header::IF_MATCH, "\"1\"").send("PATCH", &url, Some(r#"{"is_enabled":false}"#)).await;
    assert_eq!((changed.status, &changed.headers[header::ETAG]), (StatusCode::OK, &"\"2\"".parse().expect("a tag")));
    let stale = DeploymentChange { version: Some(1), is_enabled: Some(true), ..DeploymentChange::default() };
    let stale = owner.refused::<UpdateDeployment>(path, NoQuery {}, stale).await;
    assert_eq!((stale.status, stale.code.as_str()), (412, "version_mismatch"));
    let both = owner.clone().with(header::IF_MATCH, "\"2\"").send("PATCH", &url, Some(r#"{"version":1}"#)).await;
    assert_eq!(both.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_repeated_request_gives_the_first_answer_and_does_the_work_once() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewAccessToken { name: "ci".parse().expect("a name"), expires_at: None };
    let client = Client::new(&owner);
    let first = client.call_once::<CreateAccessToken>("k-1", &org(&world), &NoQuery {}, &body).await.expect("a token");
    let again =
        client.call_once::<CreateAccessToken>("k-1", &org(&world), &NoQuery {}, &body).await.expect("the same token");
    assert_eq!(first, again);
    let tokens = owner.call::<ListAccessTokens>(org(&world), page(200), Empty {}).await.expect("tokens");
    assert_eq!(tokens.items.iter().filter(|token| token.name.as_str() == "ci").count(), 1);

    let other = NewAccessToken { name: "other".parse().expect("a name"), expires_at: None };
    let mismatch =
        client.call_once::<CreateAccessToken>("k-1", &org(&world), &NoQuery {}, &other).await.expect_err("a mismatch");
    assert_eq!(mismatch.problem().map(|problem| problem.code.as_str()), Some("idempotency_mismatch"));
    // Another person's key of the same text is another key.
    let admin = world.as_role(Role::Admin, Scope::Organization(world.organization())).await;
    let theirs = Client::new(&admin)
        .call_once::<CreateAccessToken>("k-1", &org(&world), &NoQuery {}, &body)
        .await
        .expect("a token");
    assert_ne!(theirs.secret, first.secret);
}

#[tokio::test]
async fn concurrent_repeats_do_the_work_once() {
    let world = World::new().await;
    let owner = world.as_owner();
    let place = org(&world);
    let body = NewWorkspace { slug: "beta".parse().expect("a slug"), name: "Beta".parse().expect("a name") };
    let client = Client::new(&owner);
    let calls = (0..4).map(|_| client.call_once::<CreateWorkspace>("same", &place, &NoQuery {}, &body));
    let answers: Vec<_> =
        futures_util::future::join_all(calls).await.into_iter().map(|answer| answer.expect("a workspace").id).collect();
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn names_are_shared_by_models_and_routes_and_freed_by_archiving() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner.call::<CreateDeployment>(ws(&world), NoQuery {}, model("m")).await.expect("a model");
    let taken = owner.refused::<CreateDeployment>(ws(&world), NoQuery {}, model("m")).await;
    assert_eq!((taken.status, taken.fields[0].pointer.as_str()), (409, "/name"));

    let target = Target { deployment_id: made.id, priority: 1, weight: 1 };
    let route = |name: &str, targets: Vec<Target>| NewRoute {
        name: name.parse().expect("a name"),
        targets,
        tree: None,
        max_attempts: None,
        timeouts: None,
        rules: None,
    };
    let taken = owner.refused::<CreateRoute>(ws(&world), NoQuery {}, route("m", vec![target])).await;
    assert_eq!(taken.status, 409);
    let twice = owner.refused::<CreateRoute>(ws(&world), NoQuery {}, route("r", vec![target, target])).await;
    assert_eq!(twice.fields[0].pointer, "/targets/1/deployment_id");
    let none = owner.refused::<CreateRoute>(ws(&world), NoQuery {}, route("r", Vec::new())).await;
    assert_eq!(none.fields[0].pointer, "/targets");
    let made_route =
        owner.call::<CreateRoute>(ws(&world), NoQuery {}, route("r", vec![target])).await.expect("a route");
    let path = RoutePath { workspace_id: world.workspace(), route_id: made_route.id };
    let change = RouteChange { version: Some(1), max_attempts: Some(11), ..RouteChange::default() };
    assert_eq!(owner.refused::<UpdateRoute>(path, NoQuery {}, change).await.fields[0].pointer, "/max_attempts");

    let leaf = |id| Node::Deployment { deployment_id: id };
    let unknown = Node::Ordered { children: vec![leaf(made.id), leaf(DeploymentId::from_uuid(7))] };
    let change = RouteChange { version: Some(1), tree: Field::Value(unknown), ..RouteChange::default() };
    let refused = owner.refused::<UpdateRoute>(path, NoQuery {}, change).await;
    assert_eq!(refused.fields[0].pointer, "/tree/children/1/deployment_id");
    let tree = Node::RoundRobin { children: vec![leaf(made.id)] };
    let change = RouteChange { version: Some(1), tree: Field::Value(tree.clone()), ..RouteChange::default() };
    let changed = owner.call::<UpdateRoute>(path, NoQuery {}, change).await.expect("a tree");
    assert_eq!((changed.targets.len(), changed.tree), (0, Some(tree)), "a tree takes the place of targets");

    let at = DeploymentPath { workspace_id: world.workspace(), deployment_id: made.id };
    let used = owner.refused::<ArchiveDeployment>(at, NoQuery {}, Empty {}).await;
    assert!(used.detail.expect("a detail").contains("route r"));
    owner.call::<ArchiveRoute>(path, NoQuery {}, Empty {}).await.expect("an archived route");
    owner.call::<ArchiveDeployment>(at, NoQuery {}, Empty {}).await.expect("an archived model");
    owner.call::<CreateDeployment>(ws(&world), NoQuery {}, model("m")).await.expect("the name is free again");
}

#[tokio::test]
async fn a_change_that_nodes_could_not_use_is_not_committed() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner.call::<CreateDeployment>(ws(&world), NoQuery {}, model("m")).await.expect("a model");
    // No command writes such a row; the check is there for the one that some day would.
    world.database.tamper("UPDATE deployments SET upstream_model = '' WHERE name = 'm'").await.expect("a row");
    let path = DeploymentPath { workspace_id: world.workspace(), deployment_id: made.id };
    let change = DeploymentChange { version: Some(1), is_enabled: Some(false), ..DeploymentChange::default() };
    let refused = owner.refused::<UpdateDeployment>(path, NoQuery {}, change).await;
    assert_eq!(refused.status, 422);
    assert!(refused.detail.expect("a detail").contains(&made.id.to_string()));
    let url = format!("/api/v1/workspaces/{}/deployments/{}", world.workspace(), made.id);
    assert_eq!(owner.send("GET", &url, None).await.json()["version"], 1);
}

#[tokio::test]
async fn nobody_gives_more_than_they_have_and_the_last_owner_stays() {
    let world = World::new().await;
    let owner = world.as_owner();
    let members = owner.call::<ListMembers>(org(&world), page(200), Empty {}).await.expect("members");
    let (administrator, binding) = (members.items[0].id, members.items[0].role_bindings[0].id);
    let bind = |role| NewRoleBinding { member_id: administrator, role, workspace_id: None };

    let security = world.as_role(Role::SecurityAdmin, Scope::Organization(world.organization())).await;
    for role in [Role::Owner, Role::Admin, Role::Developer] {
        assert_eq!(security.refused::<BindRole>(org(&world), NoQuery {}, bind(role)).await.status, 403, "{role}");
    }
    security.call::<BindRole>(org(&world), NoQuery {}, bind(Role::SecurityAdmin)).await.expect("their own role");
    let admin = world.as_role(Role::Admin, Scope::Organization(world.organization())).await;
    assert_eq!(admin.refused::<BindRole>(org(&world), NoQuery {}, bind(Role::Owner)).await.status, 403);

    let path = RoleBindingPath { organization_id: world.organization(), role_binding_id: binding };
    assert_eq!(admin.refused::<UnbindRole>(path, NoQuery {}, Empty {}).await.status, 403);
    let last = owner.refused::<UnbindRole>(path, NoQuery {}, Empty {}).await;
    assert_eq!((last.status, last.code.as_str()), (409, "conflict"));
    let twice = owner.refused::<BindRole>(org(&world), NoQuery {}, bind(Role::Owner)).await;
    assert_eq!(twice.status, 409);
}

#[tokio::test]
async fn a_known_person_joins_another_organization_with_the_password_they_have() {
    let world = World::new().await;
    let cookie = crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    let admin = world.anonymous().with(header::COOKIE, &cookie);
    let new = NewOrganization { slug: "acme".parse().expect("a slug"), name: "Acme".parse().expect("a name") };
    let acme = admin.call::<CreateOrganization>(NoPath {}, NoQuery {}, new).await.expect("an organization");
    let ada = |workspace_id| NewMember {
        email: "ada@example.com".parse().expect("an address"),
        name: "Ada".parse().expect("a name"),
        role: Role::Viewer,
        workspace_id,
    };
    let first = admin.call::<AddMember>(org(&world), NoQuery {}, ada(Some(world.workspace()))).await.expect("a member");
    assert_eq!(first.member.role_bindings[0].workspace_id, Some(world.workspace()));
    assert!(first.one_time_password.is_some());
    let again = admin.refused::<AddMember>(org(&world), NoQuery {}, ada(None)).await;
    assert_eq!((again.status, again.fields[0].pointer.as_str()), (409, "/email"));
    let place = OrganizationPath { organization_id: acme.id };
    let foreign = admin.refused::<AddMember>(place, NoQuery {}, ada(Some(world.workspace()))).await;
    assert_eq!(foreign.fields[0].pointer, "/workspace_id");
    let second = admin.call::<AddMember>(place, NoQuery {}, ada(None)).await.expect("a member");
    assert_eq!((second.one_time_password, second.member.user_id), (None, first.member.user_id));
}

#[tokio::test]
async fn tokens_of_others_are_seen_and_revoked_only_with_the_permission() {
    let world = World::new().await;
    let viewer = world.as_viewer().await;
    let body = |name: &str| NewAccessToken { name: name.parse().expect("a name"), expires_at: None };
    let own = viewer.call::<CreateAccessToken>(org(&world), NoQuery {}, body("mine")).await.expect("a token");
    let listed = viewer.call::<ListAccessTokens>(org(&world), page(200), Empty {}).await.expect("tokens");
    assert!(listed.items.iter().all(|token| token.user_id == own.access_token.user_id));
    let owner = world.as_owner();
    let theirs = owner.call::<CreateAccessToken>(org(&world), NoQuery {}, body("theirs")).await.expect("a token");
    let path = |id| AccessTokenPath { organization_id: world.organization(), access_token_id: id };
    let hidden = viewer.refused::<RevokeAccessToken>(path(theirs.access_token.id), NoQuery {}, Empty {}).await;
    assert_eq!(hidden.status, 404);
    let auditor = world.as_role(Role::Auditor, Scope::Organization(world.organization())).await;
    assert_eq!(
        auditor.refused::<RevokeAccessToken>(path(theirs.access_token.id), NoQuery {}, Empty {}).await.status,
        403
    );
    owner.call::<RevokeAccessToken>(path(own.access_token.id), NoQuery {}, Empty {}).await.expect("a revocation");
    assert_eq!(world.bearer(&own.secret).send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn organizations_are_founded_by_operators_and_stay_apart() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewOrganization { slug: "acme".parse().expect("a slug"), name: "Acme".parse().expect("a name") };
    let client = Client::new(&owner);
    let acme =
        client.call_once::<CreateOrganization>("o-1", &NoPath {}, &NoQuery {}, &body).await.expect("an organization");
    let again = client.call_once::<CreateOrganization>("o-1", &NoPath {}, &NoQuery {}, &body).await.expect("the same");
    assert_eq!(acme, again);
    // The token of the first organization does not reach into the new one; a session of the same person does.
    assert_eq!(
        owner.send("GET", &format!("/api/v1/organizations/{}", acme.id), None).await.status,
        StatusCode::NOT_FOUND
    );
    let cookie = crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    let person = world.anonymous().with(header::COOKIE, &cookie);
    let place = OrganizationPath { organization_id: acme.id };
    let workspaces = person.call::<ListWorkspaces>(place, page(10), Empty {}).await.expect("workspaces");
    assert_eq!(workspaces.items.len(), 1);
    let change = OrganizationChange { version: Some(1), max_stale_secs: Some(59), ..OrganizationChange::default() };
    assert_eq!(
        person.refused::<UpdateOrganization>(place, NoQuery {}, change).await.fields[0].pointer,
        "/max_stale_secs"
    );
    let shared = NewNodeGroup { slug: "all".parse().expect("a slug"), region: String::new(), holds_all: true };
    assert_eq!(person.refused::<CreateNodeGroup>(place, NoQuery {}, shared).await.fields[0].pointer, "/holds_all");
}

#[tokio::test]
async fn an_archived_workspace_is_gone() {
    let world = World::new().await;
    let owner = world.as_owner();
    owner.call::<ArchiveWorkspace>(ws(&world), NoQuery {}, Empty {}).await.expect("an archived workspace");
    let gone = owner.send("GET", &format!("/api/v1/workspaces/{}", world.workspace()), None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let listed = owner.call::<ListWorkspaces>(org(&world), page(10), Empty {}).await.expect("workspaces");
    assert!(listed.items.is_empty());
}

#[tokio::test]
async fn environments_with_a_history_stay() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewEnvironment { slug: "preview".parse().expect("a slug"), name: "Preview".parse().expect("a name") };
    let made = owner.call::<CreateEnvironment>(ws(&world), NoQuery {}, body).await.expect("an environment");
    assert_eq!(made.position, 4);
    let path = |id| EnvironmentPath { workspace_id: world.workspace(), environment_id: id };
    owner.call::<DeleteEnvironment>(path(made.id), NoQuery {}, Empty {}).await.expect("a deletion");
    let used = owner.refused::<DeleteEnvironment>(path(world.environment("development")), NoQuery {}, Empty {}).await;
    assert_eq!(used.status, 409);
}

#[tokio::test]
async fn own_prices_win_from_their_date_on_and_never_before() {
    let world = World::new().await;
    let owner = world.as_owner();
    let rates = RatesView {
        input: NanoUsd::from_nanos(1),
        cached_input: None,
        cache_write_5m: None,
        cache_write_1h: None,
        output: NanoUsd::from_nanos(2),
        reasoning: None,
        ..RatesView::default()
    };
    let price = |effective_at| NewPrice {
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        effective_at,
        usd_per_million_tokens: rates,
        usd_per_unit: UnitRatesView { image: Some("0.04".parse().expect("dollars")), ..UnitRatesView::default() },
        long_context: Vec::new(),
        tiers: Vec::new(),
        images: vec![ImageRateView { size: Some("1024X1024".to_owned()), quality: None, usd: NanoUsd::from_nanos(3) }],
    };
    let twice = |more: ImageRateView| {
        let mut new = price(None);
        new.images.push(more);
        new
    };
    for (odd, pointer) in [
        (ImageRateView { size: Some("1024x1024".to_owned()), ..ImageRateView::default() }, "/images/1"),
        (ImageRateView::default(), "/images/1"),
        (
            ImageRateView { quality: Some("the best there is".to_owned()), ..ImageRateView::default() },
            "/images/1/quality",
        ),
    ] {
        let refused = owner.refused::<SetPrice>(org(&world), NoQuery {}, twice(odd)).await;
        assert_eq!(refused.fields[0].pointer, pointer);
    }
    let past = owner
        .refused::<SetPrice>(org(&world), NoQuery {}, price(Some("2026-01-01T00:00:00Z".parse().expect("a time"))))
        .await;
    assert_eq!(past.fields[0].pointer, "/effective_at");
    let set = owner.call::<SetPrice>(org(&world), NoQuery {}, price(None)).await.expect("a price");
    assert_eq!(set.images[0].size.as_deref(), Some("1024x1024"));
    assert_eq!(owner.refused::<SetPrice>(org(&world), NoQuery {}, price(None)).await.status, 409);
    let models = owner
        .call::<ListModels>(
            org(&world),
            ModelQuery { search: Some("echo-1".to_owned()), ..ModelQuery::default() },
            Empty {},
        )
        .await
        .expect("models");
    assert_eq!(models.items[0].price, Some(set));
}

#[tokio::test]
async fn join_tokens_name_their_group_and_live_a_bounded_time() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = |ttl_secs| NewJoinToken { group_id: world.installation.node_group_id, ttl_secs };
    assert_eq!(
        owner.refused::<CreateJoinToken>(org(&world), NoQuery {}, body(59)).await.fields[0].pointer,
        "/ttl_secs"
    );
    let issued = owner.call::<CreateJoinToken>(org(&world), NoQuery {}, body(900)).await.expect("a join token");
    assert!(issued.secret.starts_with("hgj_") && issued.command.contains(&issued.secret));
    let listed = owner.send("GET", &format!("/api/v1/organizations/{}/join-tokens", world.organization()), None).await;
    assert!(!listed.body.contains(&issued.secret) && listed.body.contains(&issued.join_token.hint));
    world.advance(901);
    let listed = owner.send("GET", &format!("/api/v1/organizations/{}/join-tokens", world.organization()), None).await;
    assert!(!listed.body.contains(&issued.join_token.hint));
}

#[tokio::test]
async fn a_node_group_is_changed_and_only_operators_share_it() {
    let world = World::new().await;
    let owner = world.as_owner();
    let own = world.organization();
    let (stranger, other, _) = world.as_stranger().await;
    let path = |organization_id, node_group_id| NodeGroupPath { organization_id, node_group_id };
    let first = path(own, world.installation.node_group_id);

    let renamed = NodeGroupChange {
        version: Some(1),
        slug: Some("edge".parse().expect("a slug")),
        region: Some("eu-west".to_owned()),
        ..NodeGroupChange::default()
    };
    let renamed = owner.call::<UpdateNodeGroup>(first, NoQuery {}, renamed).await.expect("a new name");
    assert_eq!((renamed.slug.as_str(), renamed.region.as_str(), renamed.version), ("edge", "eu-west", 2));
    assert!(renamed.holds_all, "what was not named stays");

    let holding = |version, ids: &[OrganizationId]| NodeGroupChange {
        version: Some(version),
        organization_ids: Some(ids.to_vec()),
        ..NodeGroupChange::default()
    };
    let narrowed = owner.call::<UpdateNodeGroup>(first, NoQuery {}, holding(2, &[other])).await.expect("a narrowing");
    assert_eq!((narrowed.holds_all, narrowed.organization_ids.as_slice()), (false, [other].as_slice()));
    let nobody = OrganizationId::from_uuid(1);
    for (change, pointer) in [
        (holding(3, &[]), "/organization_ids"),
        (holding(3, &[own, nobody]), "/organization_ids"),
        (NodeGroupChange { holds_all: Some(true), ..holding(3, &[own]) }, "/organization_ids"),
        (NodeGroupChange { region: Some("x".repeat(81)), ..holding(3, &[own]) }, "/region"),
    ] {
        let refused = owner.refused::<UpdateNodeGroup>(first, NoQuery {}, change).await;
        assert_eq!((refused.status, refused.fields[0].pointer.as_str()), (422, pointer), "{refused}");
    }
    let stale = owner.refused::<UpdateNodeGroup>(first, NoQuery {}, holding(2, &[own])).await;
    assert_eq!(stale.status, 412);

    // Administering nodes is not enough to take a shared fleet away from its tenants, or to hold another tenant.
    let admin = world.as_role(Role::Admin, Scope::Organization(own)).await;
    assert_eq!(admin.refused::<UpdateNodeGroup>(first, NoQuery {}, holding(3, &[own])).await.status, 403);
    let place = OrganizationPath { organization_id: other };
    let new = NewNodeGroup { slug: "theirs".parse().expect("a slug"), region: String::new(), holds_all: false };
    let theirs = stranger.call::<CreateNodeGroup>(place, NoQuery {}, new).await.expect("a group");
    let greedy = holding(1, &[other, own]);
    let greedy = stranger.refused::<UpdateNodeGroup>(path(other, theirs.id), NoQuery {}, greedy).await;
    assert_eq!((greedy.status, greedy.fields[0].pointer.as_str()), (422, "/organization_ids"));
    assert_eq!(
        stranger
            .refused::<UpdateNodeGroup>(path(other, first.node_group_id), NoQuery {}, holding(3, &[other]))
            .await
            .status,
        404
    );

    let audit = owner.send("GET", &format!("/api/v1/organizations/{own}/audit?action=node_group.update"), None).await;
    assert!(audit.body.contains(&other.to_string()), "{}", audit.body);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_name_the_field() {
    let world = World::new().await;
    let owner = world.as_owner();
    let url = format!("/api/v1/workspaces/{}/deployments", world.workspace());
    for (body, pointer) in [
        ("{", ""),
        ("[]", ""),
        (r#"{"name":"m"}"#, "/provider"),
        (r#"{"name":"../m","provider":"echo","upstream_model":"x"}"#, "/name"),
        (r#"{"name":"m","provider":"echo","upstream_model":7}"#, "/upstream_model"),
        (r#"{"name":"m","provider":"echo","upstream_model":"x","colour":1}"#, "/colour"),
        (r#"{"name":"m","name":"n","provider":"echo","upstream_model":"x"}"#, "/name"),
        (r#"{"name":"m","provider":"echo","upstream_model":"x"} x"#, ""),
    ] {
        let answer = owner.send("POST", &url, Some(body)).await;
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code.as_str()), (400, "request_invalid"), "{body}");
        assert_eq!(problem.fields[0].pointer, pointer, "{body}: {problem}");
    }
    let large = owner.send("POST", &url, Some(&" ".repeat(1_100_000))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let unknown = owner.send("GET", "/api/v1/nothing", None).await;
    assert_eq!(unknown.problem().code.as_str(), "not_found");
    let method = owner.send("PUT", &url, None).await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    let nested = owner.send("POST", &url, Some(&"[".repeat(100_000))).await;
    assert_eq!(nested.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn documents_and_health_need_no_proof() {
    let world = World::new().await;
    let nobody = world.anonymous();
    for (path, media) in [
        ("/api/v1/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = nobody.send("GET", path, None).await;
        assert_eq!(
            (answer.status, answer.headers[header::CONTENT_TYPE].to_str().expect("text")),
            (StatusCode::OK, media),
            "{path}"
        );
    }
    assert_eq!(nobody.send("GET", "/livez", None).await.status, StatusCode::OK);
    assert_eq!(nobody.send("GET", "/readyz", None).await.body, "ready\n");
    let metrics = nobody.send("GET", "/metrics", None).await;
    assert!(!metrics.body.contains("headgate_control"), "metrics are for the admin address");
    assert!(
        nobody.send("GET", "/", None).await.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("text")
            .contains("script-src 'self'")
    );
}
