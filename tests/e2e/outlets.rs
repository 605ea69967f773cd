//! Nothing that is a client's secret or words is in any outlet: logs, metrics, traces, and every file that a process writes.

use std::path::Path;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;
use testkit::collector::Collector;
use testkit::headgate::data_dir;
use testkit::upstream::{Call, Reply, Step, openai_chunk, openai_end, openai_whole};
use testkit::{Actor, Headgate, Upstream, until};

use crate::telemetry::{EXPORTED_WITHIN, body, start};

const UPSTREAM_KEY: &str = "sk-canary-upstream-0123456789abcdef";
const CREDENTIAL: &str = "sk-canary-credential-0123456789abcdef";

/// Answers as the prompt wishes, each time with a canary.
fn speak_canaries(call: &Call) -> Reply {
    let error = json!({"error": {"message": "canary-error-body", "type": "x", "param": null, "code": null}});
    let text = call.body["messages"].to_string();
    match text.as_str() {
        text if text.contains("please 500") => Reply::json(500, &error),
        text if text.contains("please 401") => Reply::json(401, &error),
        text if text.contains("please 400") => Reply::json(400, &error),
        text if text.contains("please junk") => Reply::json(200, &json!("canary-error-body")),
        text if call.body["stream"] == true => {
            let end = if text.contains("please break") { vec![Step::HangUp] } else { openai_end(call.number, 7) };
            let start = Step::Send(openai_chunk(call.number, "canary-answer"));
            Reply::stream([vec![start], end].concat())
        }
        _ => {
            let mut whole = openai_whole(call.number);
            let Some(Step::Send(sent)) = whole.steps.first_mut() else { return whole };
            let answer = String::from_utf8_lossy(sent).replace("one two three", "canary-answer");
            *sent = answer.into_bytes().into();
            whole
        }
    }
}

/// What the management API takes and gives: a sign-in, a wrong password, a credential, a join token.
struct Managed {
    session: String,
    join_token: String,
}

async fn use_the_management(headgate: &Headgate, upstream: &Upstream) -> Result<Managed> {
    let admin = headgate.as_admin()?;
    let of_organization = |what: &str| format!("/api/v1/organizations/{}/{what}", headgate.field("organization_id"));
    let credential =
        json!({"provider": "openai_compatible", "name": "by hand", "base_url": upstream.url(), "secret": CREDENTIAL});
    admin.post(&of_organization("credentials"), &credential).await?;
    let group = admin.post(&of_organization("node-groups"), &json!({"slug": "elsewhere"})).await?;
    let body = json!({"group_id": group["id"]});
    let issued = admin.post(&of_organization("join-tokens"), &body).await?;
    let join_token = issued["secret"].as_str().context("a join token")?.split(['_', '.']).nth(3);
    let join_token = join_token.context("its secret part")?.to_owned();
    let nobody = Actor::new(headgate.field("console_url"), None)?;
    let sign_in = |password: &str| {
        let body = json!({"email": headgate.field("admin_email"), "password": password});
        let nobody = &nobody;
        async move { nobody.send(Method::POST, "/api/v1/auth/login", &[], Some(&body)).await }
    };
    sign_in("canary-wrong-password").await?;
    let answer = sign_in(headgate.field("admin_password")).await?;
    let cookie = answer.header("set-cookie").split([';', '=']).nth(1).unwrap_or_default();
    Ok(Managed { session: cookie.to_owned(), join_token })
}

#[tokio::test]
async fn no_outlet_holds_a_secret_a_prompt_or_an_answer() -> Result<()> {
    let upstream = Upstream::start(speak_canaries).await?;
    let (collector, folder) = (Collector::start().await?, data_dir()?);
    let mut headgate = start(&upstream, &collector, folder.path(), UPSTREAM_KEY).await?;
    let client = headgate.as_client()?;
    let headers = [("x-canary", "canary-header"), ("cookie", "canary-cookie=1"), ("baggage", "a=canary-baggage")];
    let mut n_seen = 0;
    for wish in ["", "please 500", "please 401", "please 400", "please junk", "please break"] {
        for is_stream in [false, true] {
            for path in ["/v1/chat/completions", "/v1/messages"] {
                let ask = body(&format!("canary-prompt {wish}"), is_stream);
                let answer = client.send(Method::POST, path, &headers, Some(&ask)).await?;
                n_seen += usize::from(answer.text().contains("canary-answer"));
            }
        }
    }
    assert!(n_seen >= 4, "the clients themselves get their answers");
    for broken in ["{\"model\":\"canary-prompt", "[\"canary-prompt\"]", "{\"model\":1,\"messages\":\"canary-prompt\"}"]
    {
        client.open(Method::POST, "/v1/chat/completions", &headers, broken.into()).await?;
    }
    let managed = use_the_management(&headgate, &upstream).await?;
    let forged = client.with_bearer("hgk_d1_aaaaaaaaaaaa_canaryforgedkeycanaryforgedkey00_000000");
    forged.send(Method::POST, "/v1/messages", &headers, Some(&body("canary-prompt", false))).await?;
    until("spans are exported", EXPORTED_WITHIN, || async {
        Ok((collector.spans("gateway.request").len() >= 28).then_some(()))
    })
    .await?;
    let metrics = headgate.as_operator()?.send(Method::GET, "/metrics", &[], None).await?.text();
    let secret_part = |name: &str| headgate.field(name).split('_').nth(3).map(str::to_owned).context("a secret part");
    let (key, token) = (secret_part("virtual_key")?, secret_part("access_token")?);
    let password = headgate.field("admin_password").to_owned();
    assert!(headgate.stop().await?.success(), "{}", headgate.log());

    let mut outlets = vec![
        ("the log".to_owned(), headgate.log().into_bytes()),
        ("metrics".to_owned(), metrics.into_bytes()),
        ("traces".to_owned(), collector.text().into_bytes()),
    ];
    let root_key = read_disk(folder.path(), &mut outlets)?;
    assert!(root_key.len() > 40, "{root_key}");
    assert!(headgate.log().contains("\"level\":\"DEBUG\""), "all levels are on");
    for (outlet, bytes) in &outlets {
        for canary in [
            "canary-prompt",
            "canary-answer",
            "canary-error-body",
            "canary-header",
            "canary-cookie",
            "canary-baggage",
            "canary-wrong-password",
            "canaryforgedkey",
            UPSTREAM_KEY,
            CREDENTIAL,
            &key,
            &token,
            &password,
            &root_key,
            &managed.join_token,
            &managed.session,
        ] {
            assert!(canary.len() >= 8, "too short to be looked for: {canary}");
            let found = memchr::memmem::find(bytes, canary.as_bytes());
            let around = found.map(|at| &bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())]);
            assert!(
                found.is_none(),
                "{canary} is in {outlet}: {}",
                String::from_utf8_lossy(around.unwrap_or_default())
            );
        }
    }
    Ok(())
}

/// Reads everything on the disk, the database's own files included, but for the file of the root key, whose text is returned.
fn read_disk(folder: &Path, outlets: &mut Vec<(String, Vec<u8>)>) -> Result<String> {
    read_all(folder, outlets)?;
    let at = outlets.iter().position(|(path, _)| path.ends_with("/root.key")).context("a root key")?;
    let (_, root_key) = outlets.swap_remove(at);
    for part in ["/node/policy/", "/node/spool/", "/postgres/data/base/", "/postgres/data/pg_wal/"] {
        assert!(outlets.iter().any(|(path, _)| path.contains(part)), "{part} is looked at");
    }
    Ok(String::from_utf8_lossy(&root_key).trim().to_owned())
}

fn read_all(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, into)?;
        } else {
            into.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    Ok(())
}
