//! What a stranger reads and pastes: the README's first calls as they are printed, and what `headgate up` says to a person.
//!
//! Only addresses are replaced: the ports of a test are free ones. Nothing is set that a fresh start would not have.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use testkit::headgate::{Start, data_dir};
use testkit::{Actor, Headgate, Script, until};

use crate::chat::chat;

/// The gateway's address in documents.
const PRINTED: &str = "http://127.0.0.1:7410";

fn document(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Lists the fenced blocks below a heading, as (language, text).
fn blocks<'a>(document: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    let below = document.split_once(&format!("\n## {heading}\n")).map_or("", |(_, below)| below);
    let section = below.split_once("\n## ").map_or(below, |(section, _)| section);
    let fenced = section.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[tokio::test]
async fn the_readmes_first_calls_work_as_they_are_printed() -> Result<()> {
    let readme = document("README.md")?;
    let blocks = blocks(&readme, "A first call");
    let languages: Vec<&str> = blocks.iter().map(|(language, _)| *language).collect();
    assert_eq!(languages, ["bash", "python", "typescript"]);
    let folder = data_dir()?;
    let mut headgate = Headgate::up(folder.path()).await?;
    for (language, text) in blocks {
        assert!(text.contains(PRINTED), "{language} names the gateway");
        let text = text.replace(PRINTED, headgate.field("gateway_url").trim_end_matches('/'));
        let script = Script::of_document(language, &text)?.env("HEADGATE_KEY", headgate.field("virtual_key"));
        let said = script.text().await?;
        assert!(said.contains("Hello"), "{language} printed: {said}");
    }
    assert!(headgate.stop().await?.success());
    Ok(())
}

/// What stands in the guide for the key that a first start prints.
const KEY: &str = "hgk_d1_…";
/// The guide's models, which need an account; the built-in one needs none.
const MODELS: [&str; 2] = ["gpt-4o-mini", "claude-sonnet-4-5"];

#[tokio::test]
async fn the_guides_first_calls_work_as_they_are_printed_but_for_key_and_model() -> Result<()> {
    let guide = document("docs/guides/getting-started.md")?;
    let (first, sdks) = (blocks(&guide, "A first call"), blocks(&guide, "Official SDKs, unchanged"));
    let languages: Vec<&str> = first.iter().chain(&sdks).map(|(language, _)| *language).collect();
    assert_eq!(languages, ["sh", "python", "python", "ts", "ts"]);
    let folder = data_dir()?;
    let mut headgate = Headgate::up(folder.path()).await?;
    let key = headgate.field("virtual_key");
    for (language, text) in first.into_iter().chain(sdks) {
        assert!(text.contains(PRINTED), "{language} names the gateway: {text}");
        assert!(text.contains(KEY) || text.contains("process.env.HEADGATE_KEY"), "{language} names the key: {text}");
        let text = text.replace(PRINTED, headgate.field("gateway_url").trim_end_matches('/')).replace(KEY, key);
        let text = MODELS.iter().fold(text, |text, model| text.replace(model, "echo/echo-1"));
        assert!(text.contains("\"echo/echo-1\""), "{language} asks for a model: {text}");
        let said = Script::of_document(language, &text)?.env("HEADGATE_KEY", key).text().await?;
        assert!(said.contains("Hello"), "{language} printed: {said}\n{text}");
    }
    assert!(headgate.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_first_command_builds_starts_and_starts_again() -> Result<()> {
    let readme = document("README.md")?;
    let commands = readme.lines().filter_map(|line| line.strip_prefix("cargo xtask "));
    assert_eq!(commands.take(1).collect::<Vec<_>>()[0].split_whitespace().next(), Some("up"));
    let folder = data_dir()?;
    let mut first = Start::from_checkout(folder.path()).ready().await?;
    let (key, token) = (first.field("virtual_key").to_owned(), first.field("access_token").to_owned());
    let client = first.as_client()?;
    assert_eq!(chat(&client, "echo/echo-1", "Hello from OpenAI's side").await?.status, 200);
    let message = json!({"role": "user", "content": "Hello from Anthropic's side"});
    let body = json!({"model": "echo/echo-1", "max_tokens": 50, "messages": [message]});
    let answer = client.post("/v1/messages", &body).await?;
    assert!(answer["type"] == "message" && answer.to_string().contains("Anthropic's side"), "{answer}");
    let usage = format!("/api/v1/workspaces/{}/usage", first.field("workspace_id"));
    let admin = first.as_admin()?;
    until("both calls are in the usage", Duration::from_secs(20), || async {
        Ok((admin.get(&usage).await?["total"]["requests"] == 2).then_some(()))
    })
    .await?;
    // The console is inside, and not a page that says how to build it.
    let page = Actor::new(first.field("console_url"), None)?.send(http::Method::GET, "/", &[], None).await?.text();
    assert!(page.contains("/headgate-") && page.contains(".js"), "{page}");
    assert_eq!(first.said_to_the_end().await?.len(), 1, "one line and nothing else: {:?}", first.said());
    assert!(!first.log().contains("Compiling "), "the suite's build serves: run it whole\n{}", first.log());

    let mut second = Start::from_checkout(folder.path()).ready().await?;
    for secret in ["admin_password", "access_token", "virtual_key"] {
        assert!(second.ready_line()[secret].is_null(), "{secret} is stored as a hash and cannot be shown again");
    }
    for id in ["organization_id", "workspace_id"] {
        assert_eq!(second.field(id), first.field(id));
    }
    assert_eq!(chat(&second.as_client()?.with_bearer(&key), "echo/echo-1", "Still there?").await?.status, 200);
    let usage = second.as_admin()?.with_bearer(&token).get(&usage).await?;
    assert!(usage["total"]["requests"].as_u64() >= Some(2), "usage survives: {usage}");
    assert!(second.stop().await?.success(), "{}", second.log());
    Ok(())
}

/// The word behind a label such as `Console`.
fn labelled<'a>(lines: &'a [String], label: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix("  ")?.strip_prefix(label)?.split_whitespace().next())
}

/// The call to paste: from `curl` to the line with the body.
fn pasted(lines: &[String]) -> String {
    let from = lines.iter().position(|line| line.trim_start().starts_with("curl ")).unwrap_or(lines.len());
    lines[from..].join("\n")
}

fn is_body(line: &str) -> bool {
    line.trim_start().starts_with("-d '")
}

#[tokio::test]
async fn a_person_is_told_where_to_go_and_can_paste_the_first_call() -> Result<()> {
    let folder = data_dir()?;
    let mut headgate = Start::for_people("up", folder.path())?.told(is_body).await?;
    let said = headgate.said().to_vec();
    let console = labelled(&said, "Console").context("the console's address")?;
    assert!(Actor::new(console, None)?.send(http::Method::GET, "/livez", &[], None).await?.status.is_success());
    let token = labelled(&said, "API token").context("an access token")?;
    let admin = Actor::new(console, Some(token))?;
    assert!(admin.get("/api/v1/me").await?.to_string().contains("organization"));
    assert_eq!(labelled(&said, "Sign in"), Some("admin@localhost"));
    let password = labelled(&said, "Password").context("a password")?.to_owned();
    let key = labelled(&said, "Key").context("a key")?.to_owned();
    let call = pasted(&said);
    assert!(call.contains(&key), "{call}");
    let answer = Script::of_document("bash", &call)?.text().await?;
    assert!(answer.contains("Hello") && answer.contains("chat.completion"), "{answer}");
    headgate.stop().await?;

    let mut again = Start::for_people("up", folder.path())?.told(is_body).await?;
    let said = again.said_to_the_end().await?.join("\n");
    assert!(said.contains("password set earlier; `headgate admin reset`"), "{said}");
    assert!(said.contains("Bearer $HEADGATE_KEY") && !said.contains(&key) && !said.contains(&password), "{said}");
    // What it says after that goes elsewhere: nothing follows the call to paste.
    assert!(said.trim_end().ends_with("}'"), "{said}");
    Ok(())
}
