//! The first start, later starts, variables of providers, the administrator's reset, recurring jobs.

use api::ops::credentials::{
    ArchiveCredential, CredentialChange, CredentialPath, CredentialView, ListCredentials, UpdateCredential,
};
use api::ops::deployments::ListDeployments;
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use control::bootstrap::{self, FromEnvironment};
use control::jobs;
use http::StatusCode;
use operation::ControlConfig;

use crate::world::{Secrets, World};

fn variables(pairs: &'static [(&'static str, &'static str)]) -> Vec<FromEnvironment> {
    let get = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    bootstrap::variables(get, |_| None)
}

async fn credentials(world: &World) -> Vec<CredentialView> {
    let place = OrganizationPath { organization_id: world.organization() };
    world.as_owner().call::<ListCredentials>(place, PageQuery::default(), Empty {}).await.expect("credentials").items
}

async fn models(world: &World) -> Vec<String> {
    let place = WorkspacePath { workspace_id: world.workspace() };
    let page =
        world.as_owner().call::<ListDeployments>(place, PageQuery { limit: Some(200), cursor: None }, Empty {}).await;
    page.expect("models").items.into_iter().map(|model| model.name.to_string()).collect()
}

#[tokio::test]
async fn later_starts_find_the_installation_and_make_nothing() {
    let world = World::new().await;
    let entries = audit_entries(&world).await;
    let again = bootstrap::run(&world.cx, &[]).await.expect("a second start");
    assert!(again.secrets.is_none());
    assert_eq!((again.organization_id, again.workspace_id), (world.organization(), world.workspace()));
    assert_eq!(again.environments, world.installation.environments);
    assert_eq!(audit_entries(&world).await, entries);
}

async fn audit_entries(world: &World) -> u64 {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    store::audit::head(&mut tx).await.expect("a head").0
}

#[tokio::test]
async fn variables_become_a_credential_and_its_models() {
    let found = variables(&[
        ("OPENAI_API_KEY", "sk-env-0123456789abcdef"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        ("ANTHROPIC_API_KEY", " "),
    ]);
    assert_eq!(found.len(), 1);
    let world = World::with(ControlConfig::default(), &found).await;
    let stored = credentials(&world).await;
    assert_eq!(
        (stored.len(), stored[0].base_url.as_str(), stored[0].hint.as_str()),
        (1, "http://127.0.0.1:9/v1", "cdef")
    );
    assert!(models(&world).await.iter().any(|name| name == "gpt-4o-mini"));
}

#[tokio::test]
async fn a_new_value_is_applied_and_a_stale_one_is_not() {
    let first = variables(&[("OPENAI_API_KEY", "sk-env-0123456789aaaa")]);
    let world = World::with(ControlConfig::default(), &first).await;
    let id = credentials(&world).await[0].id;
    // Replaced by hand: the unchanged variable does not bring the old key back.
    let path = CredentialPath { organization_id: world.organization(), credential_id: id };
    let change = CredentialChange {
        version: Some(1),
        secret: Some("sk-hand-0123456789bbbb".to_owned()),
        ..CredentialChange::default()
    };
    world.as_owner().call::<UpdateCredential>(path, NoQuery {}, change).await.expect("a change");
    bootstrap::run(&world.cx, &first).await.expect("a start");
    assert_eq!(credentials(&world).await[0].hint, "bbbb");
    // A new value of the variable is what its owner wants.
    bootstrap::run(&world.cx, &variables(&[("OPENAI_API_KEY", "sk-env-0123456789cccc")])).await.expect("a start");
    let now = credentials(&world).await;
    assert_eq!((now.len(), now[0].id, now[0].hint.as_str()), (1, id, "cccc"));
    // Without the variable everything stays.
    bootstrap::run(&world.cx, &[]).await.expect("a start");
    assert_eq!(credentials(&world).await[0].hint, "cccc");
    // Archived stays archived until the value is another one; then it is made anew, and taken names are left alone.
    world.as_owner().call::<ArchiveCredential>(path, NoQuery {}, Empty {}).await.expect("an archived credential");
    bootstrap::run(&world.cx, &variables(&[("OPENAI_API_KEY", "sk-env-0123456789cccc")])).await.expect("a start");
    assert!(credentials(&world).await.is_empty());
    bootstrap::run(&world.cx, &variables(&[("OPENAI_API_KEY", "sk-env-0123456789dddd")])).await.expect("a start");
    assert_eq!(credentials(&world).await[0].hint, "dddd");
}

#[tokio::test]
async fn a_variable_set_later_adds_its_provider() {
    let world = World::new().await;
    assert!(credentials(&world).await.is_empty());
    bootstrap::run(&world.cx, &variables(&[("ANTHROPIC_API_KEY", "sk-ant-0123456789abcdef")])).await.expect("a start");
    assert_eq!(credentials(&world).await[0].provider, "anthropic");
    assert!(models(&world).await.iter().any(|name| name.starts_with("claude")));
}

#[tokio::test]
async fn nonsense_in_a_variable_does_not_keep_the_installation_from_starting() {
    let world = World::with(
        ControlConfig::default(),
        &variables(&[("OPENAI_API_KEY", "two words"), ("OPENAI_BASE_URL", "nonsense")]),
    )
    .await;
    assert!(credentials(&world).await.is_empty());
    assert!(models(&world).await.iter().any(|name| name == "echo/echo-1"));
}

#[tokio::test]
async fn a_reset_makes_new_secrets_and_ends_the_old_ones() {
    let world = World::new().await;
    let cookie = crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    let reset = bootstrap::reset_admin(&world.cx).await.expect("a reset").secrets.expect("new secrets");
    assert!(!format!("{reset:?}").contains(reset.virtual_key.expose()), "secrets are not for logs");
    let reset = Secrets::of(&reset);
    assert_eq!(world.as_owner().send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
    let session = world.anonymous().with(http::header::COOKIE, &cookie);
    assert_eq!(session.send("GET", "/api/v1/me", None).await.status, StatusCode::UNAUTHORIZED);
    crate::auth::sign_in(&world, &reset.admin_password).await;
    assert_eq!(world.bearer(&reset.access_token).send("GET", "/api/v1/me", None).await.status, StatusCode::OK);
    assert_ne!(reset.virtual_key, world.secrets.virtual_key);
}

#[tokio::test]
async fn jobs_run_when_due_and_not_before() {
    let world = World::new().await;
    assert_eq!(jobs::run_due(&world.cx).await, ["audit_seal", "leases", "nodes", "ledger", "retention", "price_book"]);
    assert!(jobs::run_due(&world.cx).await.is_empty());
    world.advance(10);
    assert_eq!(jobs::run_due(&world.cx).await, ["audit_seal", "nodes"]);
    world.advance(3_600);
    assert_eq!(jobs::run_due(&world.cx).await, ["audit_seal", "leases", "nodes", "ledger", "retention"]);
}

#[tokio::test]
async fn retention_forgets_sessions_and_answers_that_have_passed_their_time() {
    let world = World::new().await;
    let cookie = crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    jobs::run_due(&world.cx).await;
    world.advance(8 * 24 * 3_600);
    jobs::run_due(&world.cx).await;
    let mut tx = world.cx.store.system().await.expect("a transaction");
    let hash = operation::auth::cookie::digest(cookie.split_once('=').expect("a pair").1);
    assert!(store::sessions::find_by_secret(&mut tx, &hash).await.expect("a look-up").is_none());
}
