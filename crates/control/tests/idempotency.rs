//! Repeating a request: every `POST` of the table either keeps the promise of its idempotency key, or does not make it.

use api::{IDEMPOTENCY_HEADER, Method};
use domain::node::Node;
use domain::{JobName, NodeId, Permit, Role, Scope};
use http::StatusCode;

use crate::world::{Actor, Answer, World};

/// One act of a story in which each operation finds what it needs: its path below the base, and a body it accepts.
struct Act {
    operation: &'static str,
    path: String,
    body: String,
}

fn act(operation: &'static str, path: String, body: impl Into<String>) -> Act {
    Act { operation, path, body: body.into() }
}

async fn send(actor: &Actor<'_>, act: &Act, body: &str) -> Answer {
    let key = format!("key of {}", act.operation);
    let path = format!("{}{}", api::BASE, act.path);
    actor.clone().with(IDEMPOTENCY_HEADER, &key).send("POST", &path, Some(body)).await
}

/// Performs an act twice, then something else under the same key, and returns the first answer.
async fn check(actor: &Actor<'_>, act: Act, done: &mut Vec<&'static str>) -> serde_json::Value {
    let (first, again) = (send(actor, &act, &act.body).await, send(actor, &act, &act.body).await);
    assert!(first.status.is_success(), "{}: {}", act.operation, first.body);
    assert_eq!((first.status, first.json()), (again.status, again.json()), "{}", act.operation);
    assert_eq!(again.headers["idempotent-replayed"], "true", "{}", act.operation);
    // The same values written otherwise are another request: what was sent is compared, not what it means.
    let other = send(actor, &act, &format!("{} ", act.body)).await;
    assert_eq!((other.status, other.problem().code.as_str()), (StatusCode::CONFLICT, "idempotency_mismatch"));
    done.push(act.operation);
    first.json()
}

fn id(value: &serde_json::Value, field: &str) -> String {
    let found = if field.is_empty() { &value["id"] } else { &value[field]["id"] };
    found.as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

#[tokio::test]
async fn every_post_keeps_the_promise_of_its_key_or_makes_none() {
    let world = World::new().await;
    let owner = world.as_owner();
    let (org, ws) = (format!("/organizations/{}", world.organization()), format!("/workspaces/{}", world.workspace()));
    let done = &mut Vec::new();
    let named = |slug: &str| format!(r#"{{"slug":"{slug}","name":"{slug}"}}"#);

    check(&owner, act("organizations.create", "/organizations".to_owned(), named("acme")), done).await;
    check(&owner, act("workspaces.create", format!("{org}/workspaces"), named("more")), done).await;
    check(&owner, act("environments.create", format!("{ws}/environments"), named("preview")), done).await;
    let token = act("access_tokens.create", format!("{org}/access-tokens"), r#"{"name":"ci"}"#);
    let token = format!("{org}/access-tokens/{}/rotate", id(&check(&owner, token, done).await, "access_token"));
    check(&owner, act("access_tokens.rotate", token, "{}"), done).await;
    let credential = r#"{"provider":"openai_compatible","name":"c","base_url":"https://up.example/v1","secret":"sk-0123456789abcdef"}"#;
    check(&owner, act("credentials.create", format!("{org}/credentials"), credential), done).await;
    let price =
        r#"{"provider":"echo","upstream_model":"echo-1","usd_per_million_tokens":{"input":"0.15","output":"0.6"}}"#;
    let set = check(&owner, act("prices.set", format!("{org}/prices"), price), done).await;
    let own = r#"{"provider":"echo","upstream_model":"house","facts":{"context_tokens":8000}}"#;
    check(&owner, act("models.add", format!("{org}/models"), own), done).await;
    let model = r#"{"name":"m","provider":"echo","upstream_model":"echo-1"}"#;
    let model = check(&owner, act("deployments.create", format!("{ws}/deployments"), model), done).await;
    let targets =
        format!(r#"{{"name":"r","targets":[{{"deployment_id":"{}","priority":1,"weight":1}}]}}"#, id(&model, ""));
    check(&owner, act("routes.create", format!("{ws}/routes"), targets), done).await;

    let budget = r#"{"name":"b","measure":"requests","limits":[{"window":"day","amount":1}]}"#;
    check(&owner, act("budgets.create", format!("{ws}/budgets"), budget), done).await;
    check(&owner, act("organization_budgets.create", format!("{org}/budgets"), budget), done).await;
    let limit = r#"{"name":"l","rates":[{"measure":"concurrent","amount":1}]}"#;
    check(&owner, act("rate_limits.create", format!("{ws}/rate-limits"), limit), done).await;
    check(&owner, act("organization_rate_limits.create", format!("{org}/rate-limits"), limit), done).await;
    let destination = check_alerts(&world, done).await;
    let switch = r#"{"target":{"kind":"provider","id":"mistral"},"reason":"r"}"#;
    check(&owner, act("kill_switches.throw", format!("{org}/kill-switches"), switch), done).await;
    let delivery = delivery_to(&world, &destination).await;
    check(
        &owner,
        act("alert_deliveries.redeliver", format!("{org}/alert-deliveries/{delivery}/redeliver"), "{}"),
        done,
    )
    .await;
    check_books(&world, &id(&set, ""), done).await;

    let key = format!(r#"{{"environment_id":"{}","name":"k"}}"#, world.environment("development"));
    let key = check(&owner, act("virtual_keys.issue", format!("{ws}/virtual-keys"), key), done).await;
    let key = format!("{ws}/virtual-keys/{}", id(&key, "virtual_key"));
    check(&owner, act("virtual_keys.rotate", format!("{key}/rotate"), "{}"), done).await;
    check(&owner, act("virtual_keys.revoke", format!("{key}/revoke"), "{}"), done).await;

    let ada = r#"{"email":"ada@example.com","name":"Ada","role":"viewer"}"#;
    let ada = id(&check(&owner, act("members.add", format!("{org}/members"), ada), done).await, "member");
    let binding = format!(r#"{{"member_id":"{ada}","role":"auditor"}}"#);
    check(&owner, act("role_bindings.bind", format!("{org}/role-bindings"), binding), done).await;
    for operation in ["members.reset_password", "members.disable", "members.enable"] {
        let verb = operation.trim_start_matches("members.").replace('_', "-");
        check(&owner, act(operation, format!("{org}/members/{ada}/{verb}"), "{}"), done).await;
    }
    let group = check(&owner, act("node_groups.create", format!("{org}/node-groups"), r#"{"slug":"g"}"#), done).await;
    let token = format!(r#"{{"group_id":"{}"}}"#, id(&group, ""));
    check(&owner, act("join_tokens.create", format!("{org}/join-tokens"), token), done).await;
    let node = insert_node(&world).await;
    check(&owner, act("nodes.revoke", format!("{org}/nodes/{node}/revoke"), "{}"), done).await;

    done.sort_unstable();
    let mut promised: Vec<_> =
        api::ops::all().filter(|meta| meta.is_idempotent_by_key()).map(|meta| meta.name).collect();
    promised.sort_unstable();
    assert_eq!(*done, promised, "an operation that takes a key belongs into the story above");
    let rest = api::ops::all().filter(|meta| meta.method == Method::Post && !meta.is_idempotent_by_key());
    assert_eq!(
        rest.map(|meta| meta.name).collect::<Vec<_>>(),
        [
            "auth.login",
            "auth.logout",
            "auth.change_password",
            // What has ended stays ended.
            "found_secrets.report",
            // What asks, and changes nothing.
            "routes.dry_run",
            "reports.make",
            "reports.csv",
            "reports.jsonl",
            "reports.what_if"
        ]
    );
}

/// What corrects and completes the books.
async fn check_books(world: &World, price: &str, done: &mut Vec<&'static str>) {
    let owner = world.as_owner();
    let org = format!("/organizations/{}", world.organization());
    let rerate =
        format!(r#"{{"price_id":"{price}","from":"2026-11-01T00:00:00Z","to":"2026-11-02T00:00:00Z","reason":"r"}}"#);
    check(&owner, act("ledger.rerate", format!("{org}/ledger/rerate"), rerate), done).await;
    let entry = r#"{"kind":"credit","amount_usd":"10","reason":"r"}"#;
    check(&owner, act("ledger.enter", format!("{org}/ledger/entries"), entry), done).await;
    let markup = r#"{"provider":"openai","effective_month":"2026-11","basis_points":500}"#;
    check(&owner, act("markups.set", format!("{org}/markups"), markup), done).await;
    let export =
        r#"{"format":"anthropic_costs","file_name":"f","content":"usage_date_utc,model,cost_usd\n2026-11-22,m,1\n"}"#;
    check(&owner, act("reconciliations.create", format!("{org}/reconciliations"), export), done).await;
}

/// A destination of alerts, made, tried and given a new secret.
async fn check_alerts(world: &World, done: &mut Vec<&'static str>) -> String {
    crate::alerts::may_send(world);
    let owner = world.as_owner();
    let destinations = format!("/organizations/{}/alert-destinations", world.organization());
    // Nobody listens there, which is an answer as well.
    let new = r#"{"name":"d","kind":"webhook","url":"http://127.0.0.1:1/"}"#;
    let made = check(&owner, act("alert_destinations.create", destinations.clone(), new), done).await;
    let destination = id(&made, "destination");
    for (operation, verb) in
        [("alert_destinations.test", "test"), ("alert_destinations.rotate_secret", "rotate-secret")]
    {
        check(&owner, act(operation, format!("{destinations}/{destination}/{verb}"), "{}"), done).await;
    }
    destination
}

/// The delivery of the one alert there is.
async fn delivery_to(world: &World, destination: &str) -> String {
    let mut tx = world.cx.store.system().await.expect("a transaction");
    store::alerts::route(&mut tx, world.now()).await.expect("routed");
    tx.commit().await.expect("committed");
    let path = format!("/api/v1/organizations/{}/alert-deliveries?destination_id={destination}", world.organization());
    let listed = world.as_owner().send("GET", &path, None).await.json();
    listed["items"][0]["id"].as_str().expect("a delivery").to_owned()
}

async fn insert_node(world: &World) -> NodeId {
    use domain::id::IdMint as _;
    let organization_id = world.organization();
    let node = Node {
        id: NodeId::from_uuid(world.cx.mint.next_uuid()),
        group_id: world.installation.node_group_id,
        organization_id,
        name: "gateway-1".to_owned(),
        hpke_public_key: vec![1; 32],
        certificate_serial: "01".to_owned(),
        certificate_expires_at: world.now(),
        created_at: world.now(),
        revoked_at: None,
    };
    let permit = Permit::system(JobName::NodeSync, Scope::Organization(organization_id));
    let mut tx = world.cx.store.write(organization_id).await.expect("a write");
    store::nodes::insert(&mut tx, &permit, &node).await.expect("a node");
    world.record(&mut tx, &permit);
    tx.commit().await.expect("a commit");
    node.id
}

#[tokio::test]
async fn the_document_offers_the_key_where_the_server_honours_it() {
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("the document");
    for meta in api::ops::all() {
        let operation = &document["paths"][format!("{}{}", api::BASE, meta.path)][meta.method.as_str().to_lowercase()];
        let parameters = operation["parameters"].as_array().expect("parameters");
        let is_offered = parameters.iter().any(|parameter| parameter["name"] == IDEMPOTENCY_HEADER);
        assert_eq!(is_offered, meta.is_idempotent_by_key(), "{}", meta.name);
    }
    // Where it is not offered it does nothing, and nothing is kept: two different sign-ins under one key are two answers.
    let world = World::new().await;
    let person = world.as_role(Role::Viewer, Scope::Organization(world.organization())).await;
    let body = r#"{"current_password":"a","new_password":"b"}"#;
    for _ in 0..2 {
        let answer = person.clone().with(IDEMPOTENCY_HEADER, "k").send("POST", "/api/v1/me/password", Some(body)).await;
        assert!(!answer.headers.contains_key("idempotent-replayed"));
    }
}
