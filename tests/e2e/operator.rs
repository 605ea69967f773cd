//! Whoever runs the machine: gets back in, helps somebody else back in, replaces the root key; nothing that works stops working.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testkit::headgate::{Start, data_dir, executable};
use testkit::{Actor, Headgate};

use crate::chat::chat;

/// Runs a command on a data directory; gives its status and what it said.
pub(crate) async fn run(folder: &Path, words: &[&str]) -> Result<(bool, String)> {
    let mut command = tokio::process::Command::new(executable()?);
    command.args(words).arg("--data-dir").arg(folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    for name in ["PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"] {
        if let Some(value) = runtime::config::Environment::of_process().find(name) {
            command.env(name, value);
        }
    }
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.context("it did not end")??;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.success(), said.join("\n")))
}

/// Runs a command that succeeds and says one line of JSON.
async fn told(folder: &Path, words: &[&str]) -> Result<Value> {
    let (is_fine, said) = run(folder, words).await?;
    ensure!(is_fine, "{words:?}: {said}");
    let line = said.lines().next().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("{words:?} said {said}"))
}

async fn sign_in(headgate: &Headgate, email: &str, password: &Value) -> Result<u16> {
    let body = json!({ "email": email, "password": password });
    let nobody = Actor::new(headgate.field("console_url"), None)?;
    let answer = nobody.send(Method::POST, "/api/v1/auth/login", &[], Some(&body)).await?;
    Ok(answer.status.as_u16())
}

/// Asks who a bearer is.
async fn me(headgate: &Headgate, bearer: &str) -> Result<u16> {
    let answer = headgate.as_admin()?.with_bearer(bearer).send(Method::GET, "/api/v1/me", &[], None).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn the_operator_gets_back_in_and_replaces_the_root_key() -> Result<()> {
    let folder = data_dir()?;
    let mut first = Headgate::up(folder.path()).await?;
    let (key, token) = (first.field("virtual_key").to_owned(), first.field("access_token").to_owned());
    let organization = first.field("organization_id").to_owned();
    let ada = json!({ "email": "ada@example.com", "name": "Ada", "role": "viewer" });
    let members = format!("/api/v1/organizations/{organization}/members");
    first.as_admin()?.post(&members, &ada).await?;
    assert!(first.stop().await?.success(), "{}", first.log());

    // A lost password: what the contract names is made anew; the keys of clients stay.
    let reset = told(folder.path(), &["admin", "reset", "--json"]).await?;
    for field in ["admin_password", "access_token", "virtual_key"] {
        assert!(reset[field].as_str().is_some_and(|secret| secret.len() >= 24), "{field}: {reset}");
    }
    let helped = told(folder.path(), &["admin", "reset-password", "ada@example.com", "--json"]).await?;
    let mut second = Headgate::up(folder.path()).await?;
    assert_eq!(sign_in(&second, "admin@localhost", &json!(first.field("admin_password"))).await?, 401);
    assert_eq!(sign_in(&second, "admin@localhost", &reset["admin_password"]).await?, 200);
    assert_eq!(sign_in(&second, "ada@example.com", &helped["one_time_password"]).await?, 200);
    let new_token = reset["access_token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(me(&second, &token).await?, 401);
    assert_eq!(me(&second, &new_token).await?, 200);
    for key in [key.as_str(), reset["virtual_key"].as_str().unwrap_or_default()] {
        assert_eq!(chat(&second.as_client()?.with_bearer(key), "echo/echo-1", "Hi").await?.status, 200);
    }
    assert!(second.stop().await?.success(), "{}", second.log());

    // A root key that was seen by too many.
    let root_key = folder.path().join("root.key");
    let old = std::fs::read(&root_key)?;
    let rotated = told(folder.path(), &["admin", "rotate-root-key", "--json"]).await?;
    assert_ne!(std::fs::read(&root_key)?, old);
    let kept = rotated["old_root_key_file"].as_str().context("where the old one is")?;
    assert_eq!(std::fs::read(kept)?, old);
    let (_, examined) = run(folder.path(), &["doctor"]).await?;
    let active = format!("{} is the active root key", rotated["root_key_id"].as_str().unwrap_or_default());
    assert!(examined.contains(&active), "{examined}");
    let mut third = Headgate::up(folder.path()).await?;
    assert_eq!(chat(&third.as_client()?.with_bearer(&key), "echo/echo-1", "Still?").await?.status, 200);
    assert_eq!(me(&third, &new_token).await?, 200);
    assert_eq!(sign_in(&third, "admin@localhost", &reset["admin_password"]).await?, 200);
    assert!(third.stop().await?.success(), "{}", third.log());

    // The old key is refused with words that help.
    std::fs::write(&root_key, old)?;
    let (status, said) = Start::role("up", folder.path())?.ended().await?;
    assert!(!status.success() && said.contains("rotate-root-key"), "{said}");
    let (is_fine, examined) = run(folder.path(), &["doctor"]).await?;
    assert!(!is_fine && examined.contains("the root key at hand is"), "{examined}");
    Ok(())
}
