//! Models as an organization describes them: listed beside the catalog, told to nodes with the deployments that serve them.

use api::ops::credentials::{CreateCredential, CredentialChange, CredentialPath, NewCredential, UpdateCredential};
use api::ops::deployments::{CreateDeployment, NewDeployment};
use api::ops::models::{
    AddModel, ListModels, ModelChange, ModelFactsView, ModelPath, ModelQuery, ModelView, NewModel, RemoveModel,
    UpdateModel,
};
use api::ops::{OrganizationPath, WorkspacePath};
use api::{Empty, NoQuery};
use domain::change::Change;
use domain::credential::DataPolicy;
use domain::model::{Capability, Modality, ModelKind, Quantization};
use domain::{DeploymentId, Role, Scope};
use policy::resource::{Content, Deployment};
use policy::wire;

use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn facts(context_tokens: u64) -> ModelFactsView {
    ModelFactsView { context_tokens, max_output_tokens: Some(2_000), ..ModelFactsView::default() }
}

fn new(provider: &str, name: &str, facts: ModelFactsView) -> NewModel {
    NewModel { provider: provider.to_owned(), upstream_model: name.to_owned(), facts }
}

async fn list(world: &World, own: Option<bool>, search: &str) -> Vec<ModelView> {
    let query = ModelQuery { own, search: Some(search.to_owned()), limit: Some(200), ..ModelQuery::default() };
    world.as_owner().call::<ListModels>(org(world), query, Empty {}).await.expect("models").items
}

async fn deployment(world: &World, name: &str, upstream_model: &str, base: Option<&str>) -> DeploymentId {
    let new = NewDeployment {
        name: name.parse().expect("a model name"),
        provider: "echo".to_owned(),
        upstream_model: upstream_model.to_owned(),
        base_model: base.map(ToOwned::to_owned),
        credential_id: None,
        is_enabled: true,
    };
    let path = WorkspacePath { workspace_id: world.workspace() };
    world.as_owner().call::<CreateDeployment>(path, NoQuery {}, new).await.expect("a deployment").id
}

/// What nodes are told of a deployment now.
async fn told(world: &World, id: DeploymentId) -> Deployment {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a transaction");
    let all = operation::resources::all(&mut tx, &world.cx).await.expect("resources");
    let contents = all.iter().map(|resource| wire::decode(resource).expect("a content"));
    let mut found = contents.filter_map(|content| match content {
        Content::Deployment(deployment) if deployment.id == id => Some(deployment),
        _ => None,
    });
    found.next().expect("the deployment")
}

#[tokio::test]
async fn a_described_model_is_listed_beside_the_catalog_and_in_place_of_its_entry() {
    let world = World::new().await;
    let owner = world.as_owner();
    let n_before = list(&world, None, "gpt-4o").await.len();
    let own = owner.call::<AddModel>(org(&world), NoQuery {}, new("openai_compatible", "house-7b", facts(8_000))).await;
    let own = own.expect("a model");
    assert_eq!(
        (own.facts.kind, own.context_tokens, own.max_output_tokens),
        (Some(ModelKind::Chat), Some(8_000), Some(2_000))
    );
    let usual = [Capability::Tools, Capability::JsonSchema, Capability::Sampling];
    assert_eq!(own.facts.capabilities.as_deref(), Some(&usual[..]));
    assert_eq!((own.facts.input.as_deref(), own.own.expect("own").version), (Some(&[Modality::Text][..]), 1));
    let of_catalog = new("openai", "gpt-4o", ModelFactsView { quantization: Some(Quantization::Fp8), ..facts(9_000) });
    owner.call::<AddModel>(org(&world), NoQuery {}, of_catalog.clone()).await.expect("another");
    let listed = list(&world, None, "gpt-4o").await;
    assert_eq!(listed.len(), n_before, "in place, not beside");
    let shown = listed.iter().find(|it| it.upstream_model == "gpt-4o" && it.provider == "openai").expect("the model");
    assert_eq!((shown.context_tokens, shown.facts.quantization), (Some(9_000), Some(Quantization::Fp8)));
    assert!(shown.price.is_some(), "it still costs what the vendor asks");
    assert_eq!(list(&world, Some(true), "").await.len(), 2);
    assert!(list(&world, Some(false), "").await.iter().all(|it| it.own.is_none() && it.upstream_model != "house-7b"));

    let taken = owner.refused::<AddModel>(org(&world), NoQuery {}, of_catalog).await;
    assert_eq!((taken.status, taken.fields[0].pointer.as_str()), (409, "/upstream_model"));
    let path = ModelPath { organization_id: world.organization(), model_id: shown.own.expect("own").id };
    let change = ModelChange { version: Some(1), facts: Some(facts(10_000)) };
    let changed = owner.call::<UpdateModel>(path, NoQuery {}, change.clone()).await.expect("a change");
    assert_eq!((changed.own.expect("own").version, changed.facts.quantization), (2, None), "all of it is new");
    assert_eq!(owner.refused::<UpdateModel>(path, NoQuery {}, change).await.status, 412, "somebody was faster");
    owner.call::<RemoveModel>(path, NoQuery {}, Empty {}).await.expect("removed");
    let back = list(&world, None, "gpt-4o").await;
    assert!(back.iter().all(|it| it.own.is_none()) && back.len() == n_before, "the catalog holds again");
    assert_eq!(owner.refused::<RemoveModel>(path, NoQuery {}, Empty {}).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_place_and_reading_is_not_describing() {
    let world = World::new().await;
    let owner = world.as_owner();
    for (provider, facts, pointer) in [
        ("nobody", facts(1), "/provider"),
        ("openai", facts(0), "/facts/context_tokens"),
        ("openai", ModelFactsView { max_output_tokens: Some(0), ..facts(9) }, "/facts/max_output_tokens"),
        ("openai", facts(1_999), "/facts/max_output_tokens"),
        ("openai", ModelFactsView { dimensions: Some(0), ..facts(2_000) }, "/facts/dimensions"),
        ("openai", ModelFactsView { input: Some(Vec::new()), ..facts(2_000) }, "/facts/input"),
    ] {
        let refused = owner.refused::<AddModel>(org(&world), NoQuery {}, new(provider, "m", facts)).await;
        assert_eq!((refused.status, refused.fields[0].pointer.as_str()), (422, pointer));
    }
    let scope = Scope::Organization(world.organization());
    let viewer = world.as_role(Role::BillingAdmin, scope).await;
    let refused = viewer.refused::<AddModel>(org(&world), NoQuery {}, new("openai", "m", facts(2_000))).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn nodes_hear_of_a_description_with_the_deployments_that_serve_the_model() {
    let world = World::new().await;
    let owner = world.as_owner();
    let direct = deployment(&world, "direct", "house-7b", None).await;
    let stranger = deployment(&world, "other", "else", None).await;
    assert_eq!(told(&world, direct).await.facts, None);
    let description = ModelFactsView { quantization: Some(Quantization::Int4), ..facts(8_000) };
    let own =
        owner.call::<AddModel>(org(&world), NoQuery {}, new("echo", "house-7b", description)).await.expect("a model");
    let tuned = deployment(&world, "tuned", "ft:9", Some("echo/house-7b")).await;

    let heard = told(&world, direct).await;
    assert_eq!((heard.facts.expect("facts").context_tokens, heard.quantization), (8_000, Some(Quantization::Int4)));
    let heard = told(&world, tuned).await;
    assert_eq!(
        (heard.facts.expect("facts").context_tokens, heard.quantization),
        (8_000, None),
        "it is held in its own way"
    );
    assert_eq!(told(&world, stranger).await.facts, None);

    let mut tx = world.cx.store.read(world.organization()).await.expect("a transaction");
    let before = store::changes::revision(&mut tx).await.expect("a revision");
    drop(tx);
    let path = ModelPath { organization_id: world.organization(), model_id: own.own.expect("own").id };
    owner
        .call::<UpdateModel>(path, NoQuery {}, ModelChange { version: Some(1), facts: Some(facts(6_000)) })
        .await
        .expect("a change");
    let mut tx = world.cx.store.read(world.organization()).await.expect("a transaction");
    let changed =
        store::changes::list_after(&mut tx, before).await.expect("changes").expect("still in the log").changes;
    let mut wanted = [Change::Deployment(direct), Change::Deployment(tuned)];
    wanted.sort_unstable();
    assert_eq!(changed.into_iter().collect::<std::collections::BTreeSet<_>>(), wanted.into_iter().collect());
    assert_eq!(told(&world, tuned).await.facts.expect("facts").context_tokens, 6_000);
}

#[tokio::test]
async fn what_a_provider_does_with_data_is_said_of_an_account_and_told_to_nodes() {
    let world = World::new().await;
    let owner = world.as_owner();
    let new = NewCredential {
        provider: "openai".to_owned(),
        name: "Contract 7".parse().expect("a name"),
        base_url: None,
        secret: Some("sk-test-0123456789abcdef".to_owned()),
        allows_passthrough: false,
        data_policy: Some(DataPolicy::NoTraining),
    };
    let made = owner.call::<CreateCredential>(org(&world), NoQuery {}, new).await.expect("a credential");
    assert_eq!(made.data_policy, Some(DataPolicy::NoTraining));
    let path = CredentialPath { organization_id: world.organization(), credential_id: made.id };
    let change = |version, word: &str| CredentialChange {
        version: Some(version),
        data_policy: Some(word.to_owned()),
        ..CredentialChange::default()
    };
    let refused = owner.refused::<UpdateCredential>(path, NoQuery {}, change(1, "never")).await;
    assert_eq!(refused.fields[0].pointer, "/data_policy");
    for (version, word, policy) in [(1, "zero_retention", Some(DataPolicy::ZeroRetention)), (2, "", None)] {
        let changed = owner.call::<UpdateCredential>(path, NoQuery {}, change(version, word)).await.expect("a change");
        assert_eq!(changed.data_policy, policy);
        let mut tx = world.cx.store.read(world.organization()).await.expect("a transaction");
        let all = operation::resources::all(&mut tx, &world.cx).await.expect("resources");
        let told = all.iter().find_map(|resource| match wire::decode(resource).expect("a content") {
            Content::Credential(it) if it.id == made.id => Some(it.data_policy),
            _ => None,
        });
        assert_eq!(told, Some(policy));
    }
}
