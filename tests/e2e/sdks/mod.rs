//! Unchanged vendor SDKs against Headgate, with aimock as the upstream of every provider: each client's language reaches each
//! provider's, and what works is written to `docs/compatibility.md`.
//!
//! One server, one upstream, all scripts. A cell of the page is a run: it holds a tick only when its scenario passed, and
//! otherwise a reason that is stated in `matrix`; a reason for what works is as wrong as none for what does not.

mod matrix;
mod rows;

use std::path::Path;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use testkit::fleet::list_all;
use testkit::headgate::{Start, data_dir};
use testkit::{Aimock, Headgate, Script, until};

use self::matrix::{CLIENTS, Client, Ran};
use self::rows::{Group, PROVIDERS, Provider};
use crate::chat::LEDGER_WITHIN;

/// Scripts that run at the same time.
const AT_ONCE: usize = 3;

/// What must have reached every provider, and how it is told.
const MARKERS: [(&str, &str); 5] = [
    ("the picture", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"),
    ("the schema of an answer", "\"age\""),
    ("a tool", "\"get_weather\""),
    ("the result of a tool", "sunny"),
    ("the result of a second call", "rainy"),
];

/// The providers whose own API may be used.
const OWN: [&str; 2] = ["bedrock", "cohere"];

/// Gives the workspace a deployment of every provider, all with aimock behind them.
async fn set_up(headgate: &Headgate, aimock: &Aimock) -> Result<()> {
    let admin = headgate.as_admin()?;
    let credentials = format!("/api/v1/organizations/{}/credentials", headgate.field("organization_id"));
    let deployments = format!("/api/v1/workspaces/{}/deployments", headgate.field("workspace_id"));
    for Provider { name, kind, model, base, secret, .. } in PROVIDERS {
        let base_url = format!("{}{base}", aimock.url());
        let is_own = OWN.contains(name);
        let body = json!({"provider": kind, "name": name, "base_url": base_url, "secret": secret, "allows_passthrough": is_own});
        let credential = admin.post(&credentials, &body).await.with_context(|| name.to_owned())?;
        let body = json!({"name": name, "provider": kind, "upstream_model": model, "credential_id": credential["id"]});
        admin.post(&deployments, &body).await.with_context(|| name.to_owned())?;
    }
    let client = headgate.as_client()?;
    until("the node knows all models", LEDGER_WITHIN, || async {
        let listed = client.get("/v1/models").await?.to_string();
        Ok(PROVIDERS.iter().all(|provider| listed.contains(&format!("\"{}\"", provider.name))).then_some(()))
    })
    .await
}

async fn run(client: &'static Client, headgate: &Headgate) -> Result<Ran> {
    let models: Vec<&str> = client.table.rows.list().map(|provider| provider.name).collect();
    let script = Script::new(client.script)?
        .arg(headgate.field("gateway_url").trim_end_matches('/'))
        .arg(headgate.field("virtual_key"))
        .arg(&models.join(","))
        .arg(client.variant);
    let results = script.run().await.with_context(|| client.title.to_owned())?;
    Ok(Ran { client, results })
}

#[tokio::test]
async fn the_sdks_of_the_vendors_reach_every_provider() -> Result<()> {
    let aimock = Aimock::start().await?;
    let folder = data_dir()?;
    let mut headgate = Start::role("up", folder.path())?.ready().await?;
    set_up(&headgate, &aimock).await?;
    let running = futures_util::stream::iter(CLIENTS).map(|client| run(client, &headgate));
    let ran: Vec<Result<Ran>> = running.buffered(AT_ONCE).collect().await;
    let ran = ran.into_iter().collect::<Result<Vec<_>>>()?;
    let wrong = matrix::list_wrong(&ran);
    assert!(wrong.is_empty(), "{} cells are not as stated:\n{}", wrong.len(), wrong.join("\n"));
    check_upstream(&aimock, headgate.field("virtual_key")).await?;
    check_ledger(&headgate).await?;
    assert!(headgate.stop().await?.success());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    testkit::golden::check(&path, &matrix::render(&ran)?);
    Ok(())
}

/// What reached the upstreams: each provider's own secret, never the client's key, and word of every client that left.
async fn check_upstream(aimock: &Aimock, key: &str) -> Result<()> {
    let calls = aimock.calls().await?;
    assert!(!json!(calls).to_string().contains(key), "the virtual key was forwarded");
    for Provider { name, mark, sends, group, .. } in PROVIDERS {
        let of_provider: Vec<&Value> = calls
            .iter()
            .filter(|call| call["path"].as_str().is_some_and(|path| path.starts_with(mark.path)))
            .filter(|call| call["body"].to_string().contains(mark.body))
            .collect();
        assert!(!of_provider.is_empty(), "nothing reached {name}");
        for call in &of_provider {
            let sent = call["headers"][mark.header].as_str().unwrap_or_default();
            assert!(sent.contains(sends), "{name}: {} is `{sent}`", mark.header);
        }
        if !matches!(group, Group::Chat | Group::Claude) {
            continue;
        }
        for (what, marker) in MARKERS {
            let has_come = of_provider.iter().any(|call| call["body"].to_string().contains(marker));
            assert!(has_come, "{name}: {what} did not reach it");
        }
        let n_left = of_provider.iter().filter(|call| call["ended"] == "hung up").count();
        assert!(n_left > 0, "{name}: no client's leaving reached the upstream");
    }
    Ok(())
}

/// What an answer of the upstreams counts: tokens in, tokens out, searches, pictures, milliseconds of sound, characters.
type Count = [u64; 6];
const CHAT_COUNT: Count = [12, 5, 0, 0, 0, 0];
const TEXT_COUNT: Count = [7, 0, 0, 0, 0, 0];
const SEARCH_COUNT: Count = [0, 0, 1, 0, 0, 0];
/// Who counts pictures may count tokens, too; one and two pictures are asked for.
const PICTURE_COUNTS: &[Count] = &[[7, 11, 0, 1, 0, 0], [7, 11, 0, 2, 0, 0], [0, 0, 0, 2, 0, 0]];
const SPEECH_COUNT: Count = [0, 0, 0, 0, 0, 7];
/// Three seconds; of a stream the tokens as well.
const SOUND_COUNTS: &[Count] = &[[0, 0, 0, 0, 3_000, 0], [7, 11, 0, 0, 3_000, 0]];
const NO_COUNT: Count = [0; 6];

/// Every call is in the ledger with the upstream's own count.
async fn check_ledger(headgate: &Headgate) -> Result<()> {
    let admin = headgate.as_admin()?;
    let path = format!("/api/v1/workspaces/{}/logs", headgate.field("workspace_id"));
    let n_chats = PROVIDERS.iter().filter(|provider| matches!(provider.group, Group::Chat | Group::Claude)).count();
    let events = until("clients that left are in the ledger", LEDGER_WITHIN, || async {
        let events = list_all(&admin, &path).await?;
        let n_left = events.iter().filter(|event| event["outcome"] == "client_closed").count();
        Ok((n_left >= n_chats).then_some(events))
    })
    .await?;
    let own = OWN.map(|name| format!("passthrough/{name}"));
    let counted: Vec<(&str, &[Count])> = (PROVIDERS.iter())
        .map(|provider| match provider.group {
            Group::Chat | Group::Claude => (provider.name, &[CHAT_COUNT][..]),
            Group::Vectors => (provider.name, &[TEXT_COUNT][..]),
            Group::Ranking => (provider.name, &[TEXT_COUNT, SEARCH_COUNT][..]),
            Group::Pictures => (provider.name, PICTURE_COUNTS),
            Group::Speech => (provider.name, &[SPEECH_COUNT][..]),
            Group::Recordings => (provider.name, SOUND_COUNTS),
            Group::Moderation => (provider.name, &[TEXT_COUNT, NO_COUNT][..]),
        })
        .chain(own.iter().map(|name| (name.as_str(), &[CHAT_COUNT, TEXT_COUNT, SEARCH_COUNT][..])))
        .collect();
    for (model, counts) in counted {
        let of_model = events.iter().filter(|event| event["model"] == model);
        let whole: Vec<&Value> = of_model.filter(|event| event["outcome"] == "success").collect();
        assert!(!whole.is_empty(), "{model} has no whole answer in the ledger");
        for event in whole {
            let (usage, units) = (&event["usage"], &event["units"]);
            let units = ["searches", "images", "audio_ms", "characters"].map(|name| &units[name]);
            let counted = [&usage["input"], &usage["output"], units[0], units[1], units[2], units[3]];
            let counted = counted.map(|count| count.as_u64().unwrap_or_default());
            if event["endpoint"] == "count_tokens" {
                assert!(counted == NO_COUNT && event["cost_usd"] == "0", "{model}: counting is free: {event}");
                continue;
            }
            assert!(counts.contains(&counted) && event["is_unmetered"] != true, "{model}: {event}");
        }
    }
    Ok(())
}
