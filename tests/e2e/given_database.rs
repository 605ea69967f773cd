//! The database is somebody else's: the production path by `--database-url`, from an empty database to a call in the ledger.
//!
//! Nothing of these stories may need a private cluster: what is asked is that the address alone is enough, and that it is shown to
//! nobody with its password.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::headgate::{Start, data_dir};
use testkit::{Actor, Gateway, Headgate, Postgres, Upstream, until};

use crate::chat::{LEDGER_WITHIN, MODEL, chat, openai_at};
use crate::operator::run;

/// A root key as operators keep it: outside of any data directory.
const ROOT_KEY: &str = "5b1d0e6f7a8c9b2d3e4f5061728394a5b6c7d8e9f00112233445566778899aab";

fn describe(role: &str, folder: &Path, postgres: &Postgres) -> Result<Start> {
    Ok(Start::role(role, folder)?.flag("--database-url", postgres.url()).env("HEADGATE_ROOT_KEY", ROOT_KEY))
}

/// The password in a database's address.
fn password_of(postgres: &Postgres) -> Result<&str> {
    let authority = postgres.url().split('@').next().unwrap_or_default();
    authority.rsplit(':').next().context("the address has a password")
}

/// Runs `headgate migrate --json` and returns the names of what it applied.
async fn migrate(folder: &Path, postgres: &Postgres) -> Result<Vec<Value>> {
    let (is_fine, said) = run(folder, &["migrate", "--json", "--database-url", postgres.url()]).await?;
    ensure!(is_fine, "{said}");
    let told: Value = serde_json::from_str(said.lines().next().unwrap_or_default()).context("one line of JSON")?;
    told["applied"].as_array().cloned().context("a list of migrations")
}

/// Neither logs nor the files of a data directory may hold these.
fn holds_none_of(secrets: &[&str], text: &str) {
    for secret in secrets {
        assert!(secret.len() >= 16 && !text.contains(secret), "a secret is shown: {text}");
    }
}

async fn join_token_of(control: &Headgate) -> Result<String> {
    let (admin, organization) = (control.as_admin()?, control.field("organization_id"));
    let base = format!("/api/v1/organizations/{organization}");
    let group = admin.post(&format!("{base}/node-groups"), &serde_json::json!({"slug": "everywhere"})).await?;
    let issued = admin.post(&format!("{base}/join-tokens"), &serde_json::json!({"group_id": group["id"]})).await?;
    Ok(issued["secret"].as_str().context("a join token's secret is shown once")?.to_owned())
}

/// Waits until so many requests are in the usage of the first workspace.
async fn until_booked(admin: &Actor, workspace: &str, n: u64) -> Result<Value> {
    until(&format!("{n} requests are booked"), LEDGER_WITHIN, || async {
        let usage = admin.get(&format!("/api/v1/workspaces/{workspace}/usage")).await?;
        Ok((usage["total"]["requests"].as_u64() >= Some(n)).then_some(usage))
    })
    .await
}

#[tokio::test]
async fn a_given_database_is_migrated_served_from_and_its_password_is_shown_to_nobody() -> Result<()> {
    let (upstream, postgres, folder) = (Upstream::counting().await?, Postgres::start().await?, data_dir()?);
    let password = password_of(&postgres)?;

    // An empty database is refused, with what to do; a look at it has changed nothing.
    let (status, said) = describe("control", folder.path(), &postgres)?.ended().await?;
    assert!(!status.success() && said.contains("`headgate migrate`") && said.contains("--auto-migrate"), "{said}");
    holds_none_of(&[password, ROOT_KEY], &said);
    let elsewhere = data_dir()?;
    let applied = migrate(elsewhere.path(), &postgres).await?;
    assert!(applied.len() > 1 && applied[0].as_str().is_some_and(|name| name.starts_with("0001_")), "{applied:?}");
    assert_eq!(migrate(elsewhere.path(), &postgres).await?, Vec::<Value>::new(), "the second time nothing is missing");

    let variables = openai_at(&upstream.url());
    let start = describe("control", folder.path(), &postgres)?;
    let mut control = variables.iter().fold(start, |start, (name, value)| start.env(name, value)).ready().await?;
    assert!(!folder.path().join("postgres").exists(), "no cluster is made beside the given database");
    let (_, sync_address) = control.field("sync_url").split_once("://").context("an address for nodes")?;
    let gateway = Gateway::join_with(sync_address, &join_token_of(&control).await?).await?;
    let answer = chat(&gateway.as_client(control.field("virtual_key"))?, MODEL, "Hi").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let usage = until_booked(&control.as_admin()?, control.field("workspace_id"), 1).await?;
    assert_eq!(usage["total"]["requests"], 1, "{usage}");
    assert_eq!(
        usage["total"]["cost_usd"].as_str(),
        Some(answer.header("x-headgate-cost-usd")),
        "it is billed: {usage}"
    );
    assert!(
        answer.header("x-headgate-cost-usd").contains(['1', '2', '3', '4', '5', '6', '7', '8', '9']),
        "it has a price"
    );

    // What is in force can be asked for, in words and as JSON, without a secret in it.
    for words in [&["config"][..], &["config", "--json"]] {
        let given = ["--database-url", postgres.url(), "--root-key", ROOT_KEY];
        let (is_fine, said) = run(folder.path(), &[words, &given].concat()).await?;
        assert!(is_fine && said.contains("postgres://headgate_owner:(hidden)@localhost/headgate"), "{said}");
        holds_none_of(&[password, ROOT_KEY], &said);
    }
    assert!(control.stop().await?.success(), "{}", control.log());
    holds_none_of(&[password, ROOT_KEY], &(control.log() + &gateway.process.log()));
    Ok(())
}

#[tokio::test]
async fn a_control_plane_may_migrate_by_itself_and_the_next_start_elsewhere_finds_everything() -> Result<()> {
    let (postgres, folder) = (Postgres::start().await?, data_dir()?);
    let mut control = describe("control", folder.path(), &postgres)?.switch("--auto-migrate").ready().await?;
    let (organization, key) = (control.field("organization_id").to_owned(), control.field("virtual_key").to_owned());
    let (workspace, token) = (control.field("workspace_id").to_owned(), control.field("access_token").to_owned());
    assert!(control.stop().await?.success(), "{}", control.log());

    // Another machine with the same address and root key: nothing of the first data directory is needed.
    let elsewhere = data_dir()?;
    let mut first = describe("up", elsewhere.path(), &postgres)?.ready().await?;
    assert_eq!((first.field("organization_id"), first.field("workspace_id")), (&*organization, &*workspace));
    assert!(first.ready_line()["virtual_key"].is_null(), "it was shown once: {}", first.ready_line());
    assert_eq!(chat(&first.as_client()?.with_bearer(&key), "echo/echo-1", "Hi").await?.status, 200);
    until_booked(&first.as_admin()?.with_bearer(&token), &workspace, 1).await?;
    assert!(first.stop().await?.success(), "{}", first.log());
    let mut second = describe("up", elsewhere.path(), &postgres)?.ready().await?;
    assert_eq!(second.field("organization_id"), organization);
    assert_eq!(chat(&second.as_client()?.with_bearer(&key), "echo/echo-1", "Still?").await?.status, 200);
    until_booked(&second.as_admin()?.with_bearer(&token), &workspace, 2).await?;
    assert!(second.stop().await?.success(), "{}", second.log());

    // With another root key nothing is made anew: what is missing is named.
    let (status, said) = Start::role("up", elsewhere.path())?.flag("--database-url", postgres.url()).ended().await?;
    assert!(!status.success() && said.contains("the database is sealed by the root key"), "{said}");
    assert!(!elsewhere.path().join("root.key").exists(), "no other key is laid where the lost one belongs");
    Ok(())
}
