//! Who may call what: every operation of the table against every kind of actor, and what they may learn from refusals.

use std::fmt::Write as _;

use api::{Access, Meta, Method};
use control::http::table;
use domain::rbac::Level;
use domain::{CredentialId, Permission, Role, Scope};
use expect_test::expect_file;
use http::StatusCode;

use crate::world::{Actor, Answer, World};

/// A body that no operation can read: the decision has been made by then, and nothing happens.
const UNREADABLE: &str = "{";

fn path(meta: &Meta, world: &World) -> String {
    fill(meta, &world.organization().to_string(), &world.workspace().to_string(), |_| String::new())
}

/// Fills a template; ids below the place come from `other`, or are random when it gives nothing.
fn fill(meta: &Meta, organization: &str, workspace: &str, other: impl Fn(&str) -> String) -> String {
    let mut out = api::BASE.to_owned();
    for part in meta.path.split('/').skip(1) {
        out.push('/');
        match part {
            "{organization_id}" => out.push_str(organization),
            "{workspace_id}" => out.push_str(workspace),
            name if name.starts_with('{') => {
                let given = other(name);
                out.push_str(if given.is_empty() { "x_unknown" } else { &given });
            }
            fixed => out.push_str(fixed),
        }
    }
    out
}

async fn decision(actor: &Actor<'_>, meta: &Meta, path: &str) -> &'static str {
    let answer = actor.send(meta.method.as_str(), path, Some(UNREADABLE)).await;
    match answer.status.as_u16() {
        400 | 404 if is_unreadable(&answer) => "yes",
        401 => "401",
        403 => "403",
        404 => "404",
        other => panic!("{}: {other} {}", meta.name, answer.body),
    }
}

/// Whether the request came as far as its body, or to the id below its place.
fn is_unreadable(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST && answer.body.contains("not valid JSON")
}

#[tokio::test]
async fn the_matrix_is_as_committed() {
    let world = World::new().await;
    let (organization, workspace) =
        (Scope::Organization(world.organization()), Scope::Workspace(world.organization(), world.workspace()));
    let mut actors = vec![
        ("anonymous".to_owned(), world.anonymous()),
        ("other organization".to_owned(), world.as_stranger().await.0),
    ];
    for (scope, place) in [(organization, ""), (workspace, " (workspace)")] {
        for role in Role::ALL {
            actors.push((format!("{role}{place}"), world.as_role(*role, scope).await));
        }
    }
    let mut table = String::from(
        "# Who may call what\n\n\
         Every operation against nobody, the owner of another organization, and each role at organization and at workspace scope.\n\
         `yes` means that the decision lets the call through; 404 that the caller may not even know the thing exists.\n\
         Rewritten by `UPDATE_EXPECT=1 cargo test -p headgate-control matrix`; read the difference before you commit it.\n\n",
    );
    let names: Vec<_> = actors.iter().map(|(name, _)| name.as_str()).collect();
    let _ = write!(table, "| operation | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for meta in api::ops::all() {
        // Ids below the place must be well-formed, or they would be absent before anything is read.
        let path = fill(meta, &world.organization().to_string(), &world.workspace().to_string(), |name| {
            random_id(name, &world)
        });
        let mut cells = Vec::new();
        for (_, actor) in &actors {
            cells.push(decision(actor, meta, &path).await);
        }
        let _ = writeln!(table, "| `{}` | {} |", meta.name, cells.join(" | "));
    }
    expect_file!["authz_matrix.md"].assert_eq(&table);
}

/// A fresh id of the kind a parameter wants.
fn random_id(parameter: &str, world: &World) -> String {
    use domain::id::IdMint as _;
    let value = world.cx.mint.next_uuid();
    let kind = parameter.trim_matches(['{', '}']);
    let prefix = match kind {
        "session_id" => "ses",
        "environment_id" => "env",
        "member_id" => "mem",
        "role_binding_id" => "rb",
        "access_token_id" => "tok",
        "credential_id" => "cred",
        "deployment_id" => "dep",
        "route_id" => "rte",
        "model_id" => "mdl",
        "virtual_key_id" => "key",
        "budget_id" => "bud",
        "rate_limit_id" => "rl",
        "kill_switch_id" => "ks",
        "destination_id" => "dst",
        "delivery_id" => "dlv",
        "request_id" => "req",
        "node_group_id" => "ng",
        "node_id" => "node",
        "join_token_id" => "jt",
        "reconciliation_id" => "rcn",
        other => panic!("{other}: say what kind of id it is"),
    };
    CredentialId::from_uuid(value).to_string().replacen("cred", prefix, 1)
}

#[tokio::test]
async fn foreign_and_non_existent_places_answer_the_same_bytes() {
    let world = World::new().await;
    let (stranger, own_organization, own_workspace) = world.as_stranger().await;
    let unknown_organization = domain::OrganizationId::from_uuid(1).to_string();
    let unknown_workspace = domain::WorkspaceId::from_uuid(1).to_string();
    for meta in api::ops::all().filter(|meta| matches!(meta.access, Access::Organization(_) | Access::Workspace(_))) {
        let foreign = stranger.send(meta.method.as_str(), &path(meta, &world), None).await;
        for (organization, workspace) in [(unknown_organization.as_str(), unknown_workspace.as_str()), ("junk", "junk")]
        {
            let absent = stranger
                .send(meta.method.as_str(), &fill(meta, organization, workspace, |_| String::new()), None)
                .await;
            assert_eq!((foreign.status, &foreign.body), (absent.status, &absent.body), "{}", meta.name);
        }
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{}", meta.name);
        assert!(!foreign.body.contains(&world.organization().to_string()));
        assert_ne!((own_organization, own_workspace), (world.organization(), world.workspace()));
    }
}

#[tokio::test]
async fn ids_of_another_organization_are_absent_below_ones_own() {
    let world = World::new().await;
    let victim = victim_ids(&world).await;
    let (stranger, organization, workspace) = world.as_stranger().await;
    let (organization, workspace) = (organization.to_string(), workspace.to_string());
    let mut n_checked = 0;
    for meta in api::ops::all().filter(|meta| ids_below(meta).next().is_some()) {
        let body = match meta.method {
            Method::Patch => Some(r#"{"version":1}"#),
            Method::Post => Some("{}"),
            Method::Get | Method::Delete => None,
        };
        let path = fill(meta, &organization, &workspace, |name| id_of(&victim, name));
        let foreign = stranger.send(meta.method.as_str(), &path, body).await;
        let random = |name: &str| random_id(name, &world);
        let absent = stranger.send(meta.method.as_str(), &fill(meta, &organization, &workspace, random), body).await;
        assert_eq!((foreign.status, &foreign.body), (absent.status, &absent.body), "{}", meta.name);
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{}", meta.name);
        n_checked += 1;
    }
    assert!(n_checked >= 25, "{n_checked}");
}

/// The parameters of an operation that name something below its place.
fn ids_below(meta: &Meta) -> impl Iterator<Item = &'static str> {
    meta.path
        .split('/')
        .filter(|part| part.starts_with('{') && !matches!(*part, "{organization_id}" | "{workspace_id}"))
}

/// The victim's id for a parameter. Every parameter has one: comparing random ids with random ids would prove nothing.
fn id_of(victim: &[(&'static str, String)], parameter: &str) -> String {
    let found = victim.iter().find(|(kind, _)| parameter == format!("{{{kind}}}"));
    found.unwrap_or_else(|| panic!("{parameter}: say what the other organization has of it")).1.clone()
}

/// Every typed id in a text.
fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    let is_id = |word: &&str| {
        word.rsplit_once('_').is_some_and(|(kind, id)| {
            id.len() == 26 && kind.bytes().all(|byte| byte.is_ascii_lowercase()) && !kind.is_empty()
        })
    };
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_id)
}

/// What every operation that reads answers at a place, asked for the ids of the victim.
async fn read_all(
    actor: &Actor<'_>,
    place: (&str, &str),
    victim: &[(&'static str, String)],
) -> Vec<(&'static str, StatusCode, String)> {
    let mut answers = Vec::new();
    for meta in api::ops::all().filter(|meta| meta.method == Method::Get) {
        let answer = actor.send("GET", &fill(meta, place.0, place.1, |name| id_of(victim, name)), None).await;
        answers.push((meta.name, answer.status, answer.body));
    }
    answers
}

#[tokio::test]
async fn nothing_that_one_organization_reads_names_anything_of_another_with_the_policies_on_and_off() {
    let world = World::new().await;
    let victim = victim_ids(&world).await;
    let owner = world.as_owner();
    let (stranger, organization, workspace) = world.as_stranger().await;
    let (organization, workspace) = (organization.to_string(), workspace.to_string());
    let theirs = (world.organization().to_string(), world.workspace().to_string());
    let (own, theirs) = ((organization.as_str(), workspace.as_str()), (theirs.0.as_str(), theirs.1.as_str()));
    // What the first organization can read of itself, every typed id in it.
    let known = read_all(&owner, theirs, &victim).await;
    let secret: std::collections::BTreeSet<&str> =
        known.iter().filter(|(_, status, _)| *status == StatusCode::OK).flat_map(|(_, _, body)| ids_in(body)).collect();
    for (parameter, id) in &victim {
        assert!(secret.contains(id.as_str()) || *parameter == "session_id", "{parameter}: no operation shows it");
    }
    let told = [read_all(&stranger, own, &victim).await, read_all(&stranger, theirs, &victim).await];
    for (name, _, body) in told.iter().flatten() {
        let leaked = ids_in(body).find(|id| secret.contains(*id));
        assert_eq!(leaked, None, "{name} tells: {body}");
    }
    let n_read = told.iter().flatten().filter(|(_, status, _)| *status == StatusCode::OK).count();
    assert!(n_read >= 25, "only {n_read} reads were let through");

    // The statements alone give the same answers. What was refused above is in the audit log now, and so is each export of it.
    let read_again = async || {
        let mut answers = read_all(&owner, theirs, &victim).await;
        answers.extend(read_all(&stranger, own, &victim).await);
        answers.extend(read_all(&stranger, theirs, &victim).await);
        answers.retain(|(name, ..)| !name.starts_with("audit."));
        answers
    };
    let with_policies = read_again().await;
    let off = "DO $$ DECLARE target regclass; BEGIN
                   FOR target IN SELECT oid::regclass FROM pg_class WHERE relrowsecurity LOOP
                       EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', target);
                   END LOOP; END $$";
    world.database.tamper(off).await.expect("switched off");
    for (with, without) in with_policies.iter().zip(read_again().await) {
        assert_eq!(*with, without);
    }
}

/// Real ids of the first organization, by parameter name.
async fn victim_ids(world: &World) -> Vec<(&'static str, String)> {
    let owner = world.as_owner();
    let (organization, workspace) = (world.organization(), world.workspace());
    let make = async |path: String, body: &str| {
        let made = owner.send("POST", &format!("/api/v1{path}"), Some(body)).await;
        assert!(made.status.is_success(), "{path}: {}", made.body);
        made.json()
    };
    let first = |answer: Answer| answer.json()["items"][0]["id"].as_str().expect("an item").to_owned();
    let new = r#"{"provider":"openai_compatible","name":"c","base_url":"https://up.example/v1","secret":"sk-1234567890abcdef"}"#;
    make(format!("/organizations/{organization}/credentials"), new).await;
    let new = r#"{"name":"b","measure":"requests","limits":[{"window":"day","amount":1}]}"#;
    make(format!("/workspaces/{workspace}/budgets"), new).await;
    let new = r#"{"name":"l","rates":[{"measure":"concurrent","amount":1}]}"#;
    make(format!("/workspaces/{workspace}/rate-limits"), new).await;
    let new = r#"{"name":"d","kind":"webhook","url":"https://hooks.example"}"#;
    make(format!("/organizations/{organization}/alert-destinations"), new).await;
    let new = r#"{"target":{"kind":"provider","id":"openai"},"reason":"r"}"#;
    make(format!("/organizations/{organization}/kill-switches"), new).await;
    let new =
        r#"{"format":"anthropic_costs","file_name":"f","content":"usage_date_utc,model,cost_usd\n2026-11-22,m,1\n"}"#;
    make(format!("/organizations/{organization}/reconciliations"), new).await;
    // The kill switch is told of.
    let mut tx = world.cx.store.system().await.expect("a transaction");
    store::alerts::route(&mut tx, world.now()).await.expect("routed");
    tx.commit().await.expect("committed");
    let mut ids = Vec::new();
    for (parameter, list) in [
        ("reconciliation_id", format!("/api/v1/organizations/{organization}/reconciliations")),
        ("environment_id", format!("/api/v1/workspaces/{workspace}/environments")),
        ("member_id", format!("/api/v1/organizations/{organization}/members")),
        ("access_token_id", format!("/api/v1/organizations/{organization}/access-tokens")),
        ("credential_id", format!("/api/v1/organizations/{organization}/credentials")),
        ("deployment_id", format!("/api/v1/workspaces/{workspace}/deployments")),
        ("virtual_key_id", format!("/api/v1/workspaces/{workspace}/virtual-keys")),
        ("budget_id", format!("/api/v1/workspaces/{workspace}/budgets")),
        ("rate_limit_id", format!("/api/v1/workspaces/{workspace}/rate-limits")),
        ("destination_id", format!("/api/v1/organizations/{organization}/alert-destinations")),
        ("delivery_id", format!("/api/v1/organizations/{organization}/alert-deliveries")),
        ("kill_switch_id", format!("/api/v1/organizations/{organization}/kill-switches")),
    ] {
        ids.push((parameter, first(owner.send("GET", &list, None).await)));
    }
    let deployment = id_of(&ids, "{deployment_id}");
    let new = format!(r#"{{"name":"r","targets":[{{"deployment_id":"{deployment}","priority":0,"weight":1}}]}}"#);
    let route = make(format!("/workspaces/{workspace}/routes"), &new).await;
    ids.push(("route_id", route["id"].as_str().expect("an id").to_owned()));
    ids.extend(victim_nodes(world).await);
    let new = r#"{"provider":"openai","upstream_model":"house","facts":{"context_tokens":8000}}"#;
    let model = make(format!("/organizations/{organization}/models"), new).await;
    ids.push(("model_id", model["own"]["id"].as_str().expect("an id").to_owned()));
    let listed = owner.send("GET", &format!("/api/v1/organizations/{organization}/members"), None).await.json();
    let binding = listed["items"][0]["role_bindings"][0]["id"].as_str().expect("a binding").to_owned();
    ids.push(("role_binding_id", binding));
    let event = crate::usage::event(world, workspace, 1, "m");
    crate::usage::book(world, std::slice::from_ref(&event)).await;
    ids.push(("request_id", event.id.to_string()));
    let cookie = crate::auth::sign_in(world, &world.secrets.admin_password).await;
    ids.push((
        "session_id",
        first(crate::auth::session(world, &cookie).send("GET", "/api/v1/me/sessions", None).await),
    ));
    ids
}

/// A node group of the first organization, a node in it and a token to join it.
async fn victim_nodes(world: &World) -> Vec<(&'static str, String)> {
    use domain::id::IdMint as _;
    let owner = world.as_owner();
    let base = format!("/api/v1/organizations/{}", world.organization());
    let group = owner.send("POST", &format!("{base}/node-groups"), Some(r#"{"slug":"g"}"#)).await;
    let group = group.json()["id"].as_str().unwrap_or_else(|| panic!("{}", group.body)).to_owned();
    world.cx.set_authority("fingerprint".to_owned());
    let token = owner.send("POST", &format!("{base}/join-tokens"), Some(&format!(r#"{{"group_id":"{group}"}}"#))).await;
    let token = token.json()["join_token"]["id"].as_str().unwrap_or_else(|| panic!("{}", token.body)).to_owned();
    let node = domain::node::Node {
        id: domain::NodeId::from_uuid(world.cx.mint.next_uuid()),
        group_id: group.parse().expect("an id"),
        organization_id: world.organization(),
        name: "n".to_owned(),
        hpke_public_key: vec![1; 32],
        certificate_serial: "0f".to_owned(),
        certificate_expires_at: world.now().plus(std::time::Duration::from_secs(60)),
        created_at: world.now(),
        revoked_at: None,
    };
    let permit = domain::Permit::system(domain::JobName::Bootstrap, Scope::Organization(world.organization()));
    let mut tx = world.cx.store.write(world.organization()).await.expect("a write");
    store::nodes::insert(&mut tx, &permit, &node).await.expect("a node");
    world.record(&mut tx, &permit);
    tx.commit().await.expect("a commit");
    vec![("node_group_id", group), ("join_token_id", token), ("node_id", node.id.to_string())]
}

#[tokio::test]
async fn a_workspace_role_does_not_reach_the_workspace_beside_it() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = r#"{"slug":"beside","name":"Beside"}"#;
    let made =
        owner.send("POST", &format!("/api/v1/organizations/{}/workspaces", world.organization()), Some(body)).await;
    let beside = made.json()["id"].as_str().expect("a workspace").to_owned();
    let member = world.as_role(Role::Owner, Scope::Workspace(world.organization(), world.workspace())).await;
    let own = member.send("GET", &format!("/api/v1/workspaces/{}/virtual-keys", world.workspace()), None).await;
    assert_eq!(own.status, StatusCode::OK);
    let other = member.send("GET", &format!("/api/v1/workspaces/{beside}/virtual-keys"), None).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    let listed = member.send("GET", &format!("/api/v1/organizations/{}/workspaces", world.organization()), None).await;
    assert!(!listed.body.contains(&beside) && listed.body.contains(&world.workspace().to_string()));
}

#[tokio::test]
async fn every_unsafe_operation_refuses_forgeries() {
    let world = World::new().await;
    let cookie = crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    for meta in api::ops::all().filter(|meta| meta.method.is_unsafe()) {
        let path = fill(meta, &world.organization().to_string(), &world.workspace().to_string(), |name| {
            random_id(name, &world)
        });
        let session = world.anonymous().with(http::header::COOKIE, &cookie);
        if meta.access != Access::Public {
            let bare = session.send(meta.method.as_str(), &path, Some(UNREADABLE)).await;
            assert_eq!((bare.status.as_u16(), bare.problem().code.as_str()), (403, "cross_site"), "{}", meta.name);
        }
        let forged = session.clone().with("sec-fetch-site", "cross-site").with(api::CSRF_HEADER, "1");
        let forged = forged.send(meta.method.as_str(), &path, Some(UNREADABLE)).await;
        assert_eq!((forged.status.as_u16(), forged.problem().code.as_str()), (403, "cross_site"), "{}", meta.name);
        let own = session.with("sec-fetch-site", "same-origin").with(api::CSRF_HEADER, "1");
        let own = own.send(meta.method.as_str(), &path, Some(UNREADABLE)).await;
        assert!(is_unreadable(&own), "{}: {} {}", meta.name, own.status, own.body);
    }
}

#[test]
fn the_table_is_mounted_whole_and_a_gap_is_refused() {
    assert!(table::mount().finish(api::ops::all()).is_ok());
    let first = api::ops::all().next().expect("an operation").name;
    let error = table::mount().finish(api::ops::all().skip(1)).expect_err("a surplus handler");
    assert!(error.to_string().contains(first), "{error}");
    let error = operation::http::mount::Mount::default().finish(api::ops::all()).expect_err("missing handlers");
    assert!(error.to_string().contains(first), "{error}");
}

#[test]
fn a_role_that_holds_more_permissions_is_let_through_more() {
    let organization = domain::OrganizationId::from_uuid(1);
    let scopes = [Scope::Organization(organization), Scope::Workspace(organization, domain::WorkspaceId::from_uuid(2))];
    let actor = |role, scope| domain::Actor {
        kind: domain::ActorKind::Anonymous,
        grants: vec![domain::rbac::Grant { role, scope }],
        organization: None,
    };
    for less in Role::ALL {
        for more in Role::ALL.iter().filter(|more| less.permissions().all(|permission| more.grants(permission))) {
            for (granted, asked) in scopes.iter().flat_map(|granted| scopes.iter().map(move |asked| (*granted, *asked)))
            {
                for permission in Permission::ALL {
                    let is_monotone =
                        !actor(*less, granted).may(*permission, asked) || actor(*more, granted).may(*permission, asked);
                    assert!(is_monotone, "{less} ⊆ {more}: {permission}");
                }
            }
        }
    }
    assert!(Permission::ALL.iter().any(|permission| permission.level() == Level::Workspace));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// One more grant never takes anything away, whatever the actor holds already.
    #[test]
    fn a_further_grant_takes_nothing_away(held in proptest::collection::vec((0..8_usize, 0..3_usize), 0..6), further in (0..8_usize, 0..3_usize)) {
        let (own, other) = (domain::OrganizationId::from_uuid(1), domain::OrganizationId::from_uuid(2));
        let places = [Scope::Organization(own), Scope::Workspace(own, domain::WorkspaceId::from_uuid(3)), Scope::Organization(other)];
        let grant = |(role, place): (usize, usize)| domain::rbac::Grant { role: Role::ALL[role], scope: places[place] };
        let before: Vec<_> = held.into_iter().map(grant).collect();
        let after: Vec<_> = before.iter().copied().chain([grant(further)]).collect();
        for permission in Permission::ALL {
            for place in places {
                proptest::prop_assert!(!domain::rbac::allows(&before, *permission, place) || domain::rbac::allows(&after, *permission, place));
            }
        }
    }
}
