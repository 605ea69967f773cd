//! One command on a clean machine, then the same command again.

use std::time::Duration;

use anyhow::Result;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Gate, Reply};
use testkit::{Headgate, Upstream, until};

use crate::chat::{MODEL, chat, openai_at};

#[tokio::test]
async fn the_first_start_gives_everything_and_the_second_keeps_it() -> Result<()> {
    let folder = data_dir()?;
    let mut first = Headgate::up(folder.path()).await?;
    for field in [
        "console_url",
        "api_url",
        "gateway_url",
        "sync_url",
        "admin_url",
        "organization_id",
        "workspace_id",
        "admin_email",
        "admin_password",
        "access_token",
        "virtual_key",
    ] {
        assert!(!first.field(field).is_empty(), "{field} is missing: {}", first.ready_line());
    }
    for environment in ["development", "staging", "production"] {
        assert!(first.ready_line()["environments"][environment].is_string(), "{environment}");
    }

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", first.pid()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    let core: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"], "a crash would write secrets to a disk: {limits}");

    let client = first.as_client()?;
    let answer = chat(&client, "echo/echo-1", "Hello, Headgate").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let content = answer.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
    assert!(content.contains("Hello, Headgate"), "{content}");
    for header in ["request-id", "model", "provider", "attempts", "cache", "cost-usd", "overhead-us", "policy-revision"]
    {
        assert!(
            !answer.header(&format!("x-headgate-{header}")).is_empty(),
            "x-headgate-{header}: {:?}",
            answer.headers
        );
    }
    assert_eq!(answer.header("x-headgate-provider"), "echo");

    let models = client.get("/v1/models").await?.to_string();
    assert!(models.contains("echo/echo-1"), "{models}");

    let limits = client.get("/v1/headgate/limits").await?;
    assert!(limits["models"]["available"].to_string().contains("echo/echo-1"), "{limits}");
    assert!(limits["in_flight"]["remaining"].as_u64() > Some(0), "{limits}");
    let call = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]});
    let shown = client.post("/v1/headgate/transform", &json!({"surface": "chat_completions", "body": call})).await?;
    assert!(shown["target"]["provider"] == "echo" && shown["request"].is_null(), "{shown}");

    let (key, token) = (first.field("virtual_key").to_owned(), first.field("access_token").to_owned());
    let workspace = first.field("workspace_id").to_owned();
    let admin = first.as_admin()?;
    let requests = until("the call is in the usage", Duration::from_secs(20), || async {
        let usage = admin.get(&format!("/api/v1/workspaces/{workspace}/usage")).await?;
        Ok(usage["total"]["requests"].as_u64().filter(|n| *n > 0))
    })
    .await?;
    // The chat; a look at the models is not a call of one.
    assert_eq!(requests, 1);

    assert_eq!(first.said_to_the_end().await?.len(), 1, "the ready line and nothing else: {:?}", first.said());
    assert!(first.stop().await?.success(), "{}", first.log());
    let mut second = Headgate::up(folder.path()).await?;
    for secret in ["admin_password", "access_token", "virtual_key"] {
        assert!(second.ready_line()[secret].is_null(), "{secret} is stored as a hash and cannot be shown again");
    }
    for id in ["organization_id", "workspace_id"] {
        assert_eq!(second.field(id), first.field(id));
    }
    let again = chat(&second.as_client()?.with_bearer(&key), "echo/echo-1", "Still there?").await?;
    assert_eq!(again.status, 200, "{}", again.text());
    let admin = second.as_admin()?.with_bearer(&token);
    let usage = admin.get(&format!("/api/v1/workspaces/{workspace}/usage")).await?;
    assert!(usage["total"]["requests"].as_u64() >= Some(1), "usage survives: {usage}");
    assert!(second.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_second_headgate_on_the_same_data_directory_is_refused() -> Result<()> {
    let folder = data_dir()?;
    let mut first = Headgate::up(folder.path()).await?;
    let (status, said) = Start::role("up", folder.path())?.ended().await?;
    assert!(!status.success());
    assert!(said.contains("another Headgate") && said.contains("--data-dir"), "{said}");
    assert_eq!(chat(&first.as_client()?, "echo/echo-1", "Unharmed?").await?.status, 200);
    assert!(first.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn provider_variables_make_credentials_and_models() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let folder = data_dir()?;
    let variables = openai_at(&upstream.url());
    let start = variables.iter().fold(Start::role("up", folder.path())?, |start, (name, value)| start.env(name, value));
    let mut headgate = start.ready().await?;
    let client = headgate.as_client()?;
    let answer = chat(&client, MODEL, "Hi").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-headgate-provider"), "openai");

    let call = upstream.calls().first().cloned().expect("the upstream was called");
    assert_eq!(call.headers["authorization"], "Bearer sk-upstream-secret-000000");
    assert_eq!(call.body, json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}));
    assert!(!format!("{:?}", call.headers).contains(headgate.field("virtual_key")), "the virtual key was forwarded");
    for secret in [headgate.field("virtual_key"), headgate.field("access_token"), "sk-upstream-secret-000000"] {
        assert!(!headgate.log().contains(secret), "a secret is in the log");
    }
    assert!(headgate.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_key_file_that_variables_name_makes_a_cloud_and_one_that_is_not_there_does_no_harm() -> Result<()> {
    let (without, folder, keys) = (data_dir()?, data_dir()?, data_dir()?);
    let file = keys.path().join("key.json");
    let variables = |start: Start| {
        let path = file.to_str().expect("a plain path");
        let start = start.env("GOOGLE_APPLICATION_CREDENTIALS", path);
        start.env("GOOGLE_CLOUD_PROJECT", "p-1").env("GOOGLE_CLOUD_LOCATION", "europe-west4")
    };
    let mut headgate = variables(Start::role("up", without.path())?).ready().await?;
    assert!(headgate.log().contains("the provider is left out"), "{}", headgate.log());
    assert!(!models_of(&headgate).await?.iter().any(|name| name.starts_with("gemini")));
    assert!(headgate.stop().await?.success());

    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?.serialize_pem();
    let account = json!({"type": "service_account", "project_id": "p-1", "client_email": "gate@p-1.iam.gserviceaccount.com",
        "private_key": key, "private_key_id": "k1", "token_uri": "https://oauth2.googleapis.com/token"});
    std::fs::write(&file, account.to_string())?;
    let mut headgate = variables(Start::role("up", folder.path())?).ready().await?;
    let names = models_of(&headgate).await?;
    assert!(names.iter().any(|name| name.starts_with("gemini")), "{names:?}");
    let path = format!("/api/v1/organizations/{}/credentials", headgate.field("organization_id"));
    let listed = headgate.as_admin()?.get(&path).await?;
    let made = listed["items"].as_array().into_iter().flatten().find(|made| made["provider"] == "vertex");
    let address = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4";
    assert_eq!(made.expect("a credential")["base_url"], address, "{listed}");
    for wrong in ["PRIVATE KEY", "could not be asked"] {
        assert!(!headgate.log().contains(wrong), "{wrong} is in the log");
    }
    assert!(headgate.stop().await?.success());
    Ok(())
}

/// Names of the models that clients of the first key see.
async fn models_of(headgate: &Headgate) -> Result<Vec<String>> {
    let listed = headgate.as_client()?.get("/v1/models").await?;
    let names = listed["data"].as_array().into_iter().flatten();
    Ok(names.filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn a_server_behind_a_foreign_address_is_asked_once_which_models_it_has() -> Result<()> {
    let (openai, anthropic) = (Upstream::counting().await?, Upstream::counting().await?);
    let names = ["llama3:8b", "org/Model-1.5", "no model name", "llama3:8b"];
    let list: Vec<_> = names.iter().map(|name| json!({"id": name, "object": "model"})).collect();
    openai.list_models(Reply::json(200, &json!({"object": "list", "data": list})));
    let list = json!({"data": [{"type": "model", "id": "claude-of-a-proxy", "display_name": "C"}], "has_more": false});
    anthropic.list_models(Reply::json(200, &list));
    let folder = data_dir()?;
    let describe = || {
        let start = Start::role("up", folder.path())?.env("ANTHROPIC_API_KEY", "sk-ant-proxy-000000");
        let start = start.env("ANTHROPIC_BASE_URL", &anthropic.url());
        anyhow::Ok(openai_at(&openai.url()).iter().fold(start, |start, (name, value)| start.env(name, value)))
    };
    let mut first = describe()?.ready().await?;
    let models = models_of(&first).await?;
    for name in ["llama3:8b", "org/Model-1.5", "claude-of-a-proxy"] {
        assert!(models.contains(&name.to_owned()), "{name}: {models:?}");
    }
    assert!(!models.contains(&MODEL.to_owned()), "the vendor's catalog is not what this server has: {models:?}");
    let answer = chat(&first.as_client()?, "llama3:8b", "Hi").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let call = openai.calls().first().cloned().expect("the server was called");
    assert_eq!((call.path.as_str(), &call.body["model"]), ("/v1/chat/completions", &json!("llama3:8b")));

    let asked = openai.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].path.as_str(), &asked[0].headers["authorization"]),
        ("/v1/models", &"Bearer sk-upstream-secret-000000".parse()?)
    );
    let asked = anthropic.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/v1/models"));
    assert_eq!(asked[0].headers["x-api-key"], "sk-ant-proxy-000000");

    // Its answer stands: the next start asks nobody.
    assert!(first.stop().await?.success());
    let mut second = describe()?.ready().await?;
    assert_eq!((openai.asked().len(), anthropic.asked().len()), (1, 1));
    assert!(second.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_say_which_models_it_has_gets_those_of_the_catalog() -> Result<()> {
    let never = Gate::closed();
    let upstream = Upstream::counting().await?;
    let replies = [
        Reply::json(401, &json!({"error": "who are you?"})),
        Reply::json(200, &json!({"data": []})),
        Reply { before: Some(never), ..Reply::json(200, &json!({"data": [{"id": "late"}]})) },
    ];
    for reply in replies {
        upstream.list_models(reply);
        let folder = data_dir()?;
        let start = Start::role("up", folder.path())?;
        let variables = openai_at(&upstream.url());
        let mut headgate = variables.iter().fold(start, |start, (name, value)| start.env(name, value)).ready().await?;
        assert!(models_of(&headgate).await?.contains(&MODEL.to_owned()));
        let said = headgate.list_complaints();
        let warned = said.iter().filter(|line| line.contains("could not be asked which models it has")).count();
        assert_eq!(warned, 1, "{said:?}");
        assert!(headgate.stop().await?.success());
    }
    assert_eq!(upstream.asked().len(), 3);
    Ok(())
}

#[tokio::test]
async fn what_the_environment_or_a_flag_gets_wrong_is_said_before_anything_starts() -> Result<()> {
    let folder = data_dir()?;
    let (status, said) = Start::role("up", folder.path())?.env("HEADGATE_DRAIN_TIMEOUT", "soon").ended().await?;
    assert!(!status.success() && said.contains("drain_timeout") && said.contains("expected a time"), "{said}");
    let file = folder.path().join("headgate.toml");
    std::fs::write(&file, "gateway-addr = '127.0.0.1:0'\n")?;
    let start = Start::role("up", folder.path())?.flag("--config", &file.to_string_lossy());
    let (status, said) = start.ended().await?;
    assert!(!status.success() && said.contains("did you mean `gateway_addr`?"), "{said}");
    Ok(())
}
