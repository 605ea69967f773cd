//! Credentials: sealed, bound to their origin, never readable.

use api::ops::OrganizationPath;
use api::ops::WorkspacePath;
use api::ops::credentials::{
    ArchiveCredential, CreateCredential, CredentialChange, CredentialPath, NewCredential, UpdateCredential,
};
use api::ops::deployments::{CreateDeployment, NewDeployment};
use api::{Client, Empty, NoQuery};
use domain::credential::{Credential, seal_context};
use domain::{CredentialId, Role, Scope};
use operation::keyring;

use crate::world::World;

const CANARY: &str = "sk-canary-0123456789abcdef";

fn place(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn new(name: &str, base_url: Option<&str>, secret: Option<&str>) -> NewCredential {
    NewCredential {
        provider: "openai".to_owned(),
        name: name.parse().expect("a name"),
        base_url: base_url.map(ToOwned::to_owned),
        secret: secret.map(ToOwned::to_owned),
        allows_passthrough: false,
        data_policy: None,
    }
}

async fn stored(world: &World, id: CredentialId) -> Credential {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    store::credentials::get(&mut tx, id).await.expect("the credential")
}

async fn opened(world: &World, credential: &Credential) -> Vec<u8> {
    let mut tx = world.cx.store.read(world.organization()).await.expect("a read");
    let keys = store::credentials::list_data_keys(&mut tx).await.expect("data keys");
    let key = world.cx.keyring.data_key(world.organization(), &keys[0].sealed).expect("the data key");
    let sealed = credential.secret.as_ref().expect("a secret");
    let place = seal_context(world.organization(), credential.id, credential.secret_version);
    keyring::open(&key, &place, &sealed.ciphertext).expect("the place it was sealed for").to_vec()
}

#[tokio::test]
async fn a_secret_is_never_readable_again() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = new("main", None, Some(CANARY));
    let made = Client::new(&owner)
        .call_once::<CreateCredential>("c-1", &place(&world), &NoQuery {}, &body)
        .await
        .expect("a credential");
    assert_eq!(
        (made.hint.as_str(), made.has_secret, made.base_url.as_str()),
        ("cdef", true, "https://api.openai.com/v1")
    );
    let (organization, workspace) = (world.organization(), world.workspace());
    let lists = api::ops::all().filter(|meta| meta.method == api::Method::Get && meta.path.matches('{').count() < 2);
    for meta in lists {
        let path = meta
            .path
            .replace("{organization_id}", &organization.to_string())
            .replace("{workspace_id}", &workspace.to_string());
        let answer = owner.send("GET", &format!("/api/v1{path}"), None).await;
        assert!(!answer.body.contains("canary"), "{}", meta.name);
    }
    let credential = stored(&world, made.id).await;
    let sealed = credential.secret.clone().expect("a secret").ciphertext;
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    assert_eq!(opened(&world, &credential).await, CANARY.as_bytes());
    let digest =
        owner.send("GET", &format!("/api/v1/organizations/{organization}/audit?action=credential.create"), None).await;
    assert!(digest.body.contains("hmac-sha256:"), "{}", digest.body);
}

#[tokio::test]
async fn a_new_origin_wants_the_secret_again_and_a_new_path_does_not() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner
        .call::<CreateCredential>(place(&world), NoQuery {}, new("main", Some("https://up.example/v1"), Some(CANARY)))
        .await
        .expect("a credential");
    let path = CredentialPath { organization_id: world.organization(), credential_id: made.id };
    let moved = |version, base_url: &str, secret: Option<&str>| CredentialChange {
        allows_passthrough: None,
        data_policy: None,
        version: Some(version),
        name: None,
        base_url: Some(base_url.to_owned()),
        secret: secret.map(ToOwned::to_owned),
    };
    for elsewhere in [
        "https://evil.example/v1",
        "http://up.example/v1",
        "https://up.example:8443/v1",
        "https://up.example.evil.example/v1",
    ] {
        let refused = owner.refused::<UpdateCredential>(path, NoQuery {}, moved(1, elsewhere, None)).await;
        assert_eq!((refused.status, refused.fields[0].pointer.as_str()), (422, "/secret"), "{elsewhere}");
    }
    for bad in [
        "ftp://up.example",
        "https://user:pass@up.example",
        "https://up.example/v1?x=1",
        "https://up.example/../x",
        "up.example",
    ] {
        let refused = owner.refused::<UpdateCredential>(path, NoQuery {}, moved(1, bad, Some(CANARY))).await;
        assert_eq!(refused.fields[0].pointer, "/base_url", "{bad}");
    }
    let same = owner
        .call::<UpdateCredential>(path, NoQuery {}, moved(1, "https://up.example/other/v1/", None))
        .await
        .expect("the same origin");
    assert_eq!(same.base_url, "https://up.example/other/v1");
    assert_eq!(opened(&world, &stored(&world, made.id).await).await, CANARY.as_bytes());
    let elsewhere = owner
        .call::<UpdateCredential>(path, NoQuery {}, moved(2, "https://new.example/v1", Some("sk-other-0123456789xyzw")))
        .await
        .expect("with the secret");
    assert_eq!((elsewhere.hint.as_str(), elsewhere.version), ("xyzw", 3));
    let credential = stored(&world, made.id).await;
    assert_eq!(
        (credential.secret_version, opened(&world, &credential).await),
        (2, b"sk-other-0123456789xyzw".to_vec())
    );
}

#[tokio::test]
async fn what_cannot_be_a_credential_is_refused_field_by_field() {
    let world = World::new().await;
    let owner = world.as_owner();
    for (body, pointer) in [
        (NewCredential { provider: "nobody".to_owned(), ..new("a", None, Some(CANARY)) }, "/provider"),
        (NewCredential { provider: "echo".to_owned(), ..new("a", None, Some(CANARY)) }, "/provider"),
        (NewCredential { provider: "openai_compatible".to_owned(), ..new("a", None, Some(CANARY)) }, "/base_url"),
        (new("a", None, None), "/secret"),
        (new("a", None, Some("two words")), "/secret"),
        (new("a", None, Some("line\nbreak")), "/secret"),
    ] {
        let refused = owner.refused::<CreateCredential>(place(&world), NoQuery {}, body).await;
        assert_eq!((refused.status, refused.fields[0].pointer.as_str()), (422, pointer), "{refused}");
        assert!(!refused.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn secrets_of_several_fields_are_checked_by_field_and_kept_as_they_are() {
    let world = World::new().await;
    let owner = world.as_owner();
    let azure = |secret| NewCredential {
        provider: "azure_openai".to_owned(),
        ..new("azure", Some("https://main.openai.azure.com"), Some(secret))
    };
    let whole = r#"{"tenant_id":"t-1","client_id":"c-1","client_secret":"canary-~1"}"#;
    let made = owner.call::<CreateCredential>(place(&world), NoQuery {}, azure(whole)).await.expect("an application");
    assert_eq!(made.hint, "", "nothing of a JSON form is shown");
    assert_eq!(opened(&world, &stored(&world, made.id).await).await, whole.as_bytes());
    let lacking = r#"{"tenant_id":"t-1","client_secret":"canary-~1"}"#;
    let refused = owner.refused::<CreateCredential>(place(&world), NoQuery {}, azure(lacking)).await;
    assert_eq!(refused.fields[0].pointer, "/secret");
    assert!(refused.to_string().contains("client_id"), "{refused}");
    assert!(!refused.to_string().contains("canary"));
}

#[tokio::test]
async fn archiving_destroys_the_secret_and_takes_its_models_out_of_routing() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner
        .call::<CreateCredential>(place(&world), NoQuery {}, new("main", None, Some(CANARY)))
        .await
        .expect("a credential");
    let model = |credential_id| NewDeployment {
        name: "gpt".parse().expect("a model name"),
        provider: "openai".to_owned(),
        upstream_model: "gpt-4o-mini".to_owned(),
        base_model: None,
        credential_id,
        is_enabled: true,
    };
    let workspace = WorkspacePath { workspace_id: world.workspace() };
    let bare = owner.refused::<CreateDeployment>(workspace, NoQuery {}, model(None)).await;
    assert_eq!(bare.fields[0].pointer, "/credential_id");
    let foreign =
        owner.refused::<CreateDeployment>(workspace, NoQuery {}, model(Some(CredentialId::from_uuid(1)))).await;
    assert_eq!(foreign.fields[0].pointer, "/credential_id");
    // A developer of one workspace may not use the organization's credentials.
    let developer = world.as_role(Role::Developer, Scope::Workspace(world.organization(), world.workspace())).await;
    assert_eq!(developer.refused::<CreateDeployment>(workspace, NoQuery {}, model(Some(made.id))).await.status, 403);
    let deployment =
        owner.call::<CreateDeployment>(workspace, NoQuery {}, model(Some(made.id))).await.expect("a model");

    let path = CredentialPath { organization_id: world.organization(), credential_id: made.id };
    owner.call::<ArchiveCredential>(path, NoQuery {}, Empty {}).await.expect("an archived credential");
    assert_eq!(stored(&world, made.id).await.secret, None);
    let url = format!("/api/v1/workspaces/{}/deployments/{}", world.workspace(), deployment.id);
    assert_eq!(owner.send("GET", &url, None).await.json()["is_enabled"], false);
    let again = owner.send("PATCH", &url, Some(r#"{"version":2,"is_enabled":true}"#)).await;
    assert_eq!(again.problem().fields[0].pointer, "/credential_id");
}
