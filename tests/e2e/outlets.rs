//! Nothing that is a client's secret or words is in any outlet: logs, metrics, traces, and every file that a process writes.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::json;
use tempfile::TempDir;
use testkit::collector::{Collector, hex};
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Call, Reply, Step, openai_chunk, openai_end, openai_whole};
use testkit::{Actor, Headgate, Upstream, until};

use crate::chat::openai_at;
use crate::telemetry::{EXPORTED_WITHIN, body};

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

/// The processes of an installation, with the folder of each: the first has the console, the last serves calls.
struct Site {
    processes: Vec<Headgate>,
    folders: Vec<TempDir>,
}

/// Adds to a process everything that is to be looked at: each level of its log, and traces.
fn watched(start: Start, collector: &Collector) -> Start {
    let start = start.env("HEADGATE_LOG", "debug").env("OTEL_BSP_SCHEDULE_DELAY", "100");
    start.flag("--otlp-endpoint", &collector.url())
}

impl Site {
    /// Everything in one process.
    async fn one(upstream: &Upstream, collector: &Collector) -> Result<Self> {
        let folder = data_dir()?;
        let start = watched(Start::role("up", folder.path())?, collector);
        Ok(Self { processes: vec![with_openai(start, upstream).ready().await?], folders: vec![folder] })
    }

    /// A control plane and a node that joined it. The token goes on being a secret: a node keeps it from its outlets, too.
    async fn two(upstream: &Upstream, collector: &Collector) -> Result<(Self, String)> {
        let folders = vec![data_dir()?, data_dir()?];
        let start = watched(Start::role("control", folders[0].path())?, collector);
        let control = with_openai(start, upstream).ready().await?;
        let token = issue_join_token(&control, "everywhere").await?;
        let start = watched(Start::role("gateway", folders[1].path())?, collector);
        let start = start.flag("--control", control.field("sync_url")).env("HEADGATE_JOIN_TOKEN", &token);
        let node = start.flag("--egress-allow-private", "127.0.0.0/8").ready().await?;
        node.until_ready().await?;
        Ok((Self { processes: vec![control, node], folders }, token))
    }

    /// What the console's process said on its first start.
    fn console(&self) -> &Headgate {
        &self.processes[0]
    }

    fn client(&self) -> Result<Actor> {
        let node = self.processes.last().context("a process serves calls")?;
        Actor::new(node.field("gateway_url"), Some(self.console().field("virtual_key")))
    }

    /// Stops all and returns everything that left them.
    async fn outlets(mut self, collector: &Collector) -> Result<Vec<(String, Vec<u8>)>> {
        let mut outlets = Vec::new();
        for process in &self.processes {
            let metrics = process.as_operator()?.send(Method::GET, "/metrics", &[], None).await?;
            outlets.push(("metrics".to_owned(), metrics.body.to_vec()));
        }
        // The node first, which still has to report.
        for process in self.processes.iter_mut().rev() {
            assert!(process.stop().await?.success(), "{}", process.log());
            assert!(process.log().contains("\"level\":\"DEBUG\""), "all levels are on");
            outlets.push(("the log".to_owned(), process.log().into_bytes()));
        }
        outlets.push(("traces".to_owned(), collector.text().into_bytes()));
        for folder in &self.folders {
            read_all(folder.path(), &mut outlets)?;
        }
        Ok(outlets)
    }
}

fn with_openai(start: Start, upstream: &Upstream) -> Start {
    let [_, (base_name, base)] = openai_at(&upstream.url());
    start.env("OPENAI_API_KEY", UPSTREAM_KEY).env(base_name, &base)
}

async fn issue_join_token(headgate: &Headgate, group: &str) -> Result<String> {
    let admin = headgate.as_admin()?;
    let base = format!("/api/v1/organizations/{}", headgate.field("organization_id"));
    let group = admin.post(&format!("{base}/node-groups"), &json!({ "slug": group })).await?;
    let issued = admin.post(&format!("{base}/join-tokens"), &json!({"group_id": group["id"]})).await?;
    Ok(issued["secret"].as_str().context("a join token")?.to_owned())
}

/// The part of one of our own tokens that nobody may see; what stands before it names the token.
fn secret_part(token: &str) -> Result<String> {
    token.split(['_', '.']).nth(3).map(str::to_owned).context("a secret part")
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
    let join_token = secret_part(&issue_join_token(headgate, "elsewhere").await?)?;
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
    let (upstream, collector) = (Upstream::start(speak_canaries).await?, Collector::start().await?);
    search(Site::one(&upstream, &collector).await?, &upstream, &collector, Vec::new()).await
}

#[tokio::test]
async fn no_outlet_of_separate_processes_holds_one_either() -> Result<()> {
    let (upstream, collector) = (Upstream::start(speak_canaries).await?, Collector::start().await?);
    let (site, token) = Site::two(&upstream, &collector).await?;
    search(site, &upstream, &collector, vec![secret_part(&token)?]).await
}

/// Has a site do everything that it does with secrets and words, and looks for them in whatever left it.
async fn search(site: Site, upstream: &Upstream, collector: &Collector, more: Vec<String>) -> Result<()> {
    let client = site.client()?;
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
    let managed = use_the_management(site.console(), upstream).await?;
    let forged = client.with_bearer("hgk_d1_aaaaaaaaaaaa_canaryforgedkeycanaryforgedkey00_000000");
    forged.send(Method::POST, "/v1/messages", &headers, Some(&body("canary-prompt", false))).await?;
    until("spans are exported", EXPORTED_WITHIN, || async {
        Ok((collector.spans("gateway.request").len() >= 28).then_some(()))
    })
    .await?;
    let field = |name: &str| site.console().field(name).to_owned();
    let (key, token) = (secret_part(&field("virtual_key"))?, secret_part(&field("access_token"))?);
    let own = [field("admin_password"), key, token, managed.join_token, managed.session];
    let mut outlets = site.outlets(collector).await?;
    let root_key = take_root_key(&mut outlets)?;
    assert!(root_key.len() > 40, "{root_key}");

    let words = [
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
        &root_key,
    ];
    let secrets = words.into_iter().map(str::to_owned).chain(own).chain(more);
    let needles = Needles::of(secrets.flat_map(|secret| forms_of(&secret)).collect());
    for (outlet, bytes) in &outlets {
        if let Some((at, needle)) = needles.find_in(bytes) {
            let around = &bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())];
            anyhow::bail!("{needle} is in {outlet}: {}", String::from_utf8_lossy(around));
        }
    }
    Ok(())
}

/// Takes the root key's own file out of what is looked at and returns its text. Everything that writes to a disk must be there.
fn take_root_key(outlets: &mut Vec<(String, Vec<u8>)>) -> Result<String> {
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

// === What is looked for ===

/// Shorter than this, a text would be found by chance.
const SHORTEST: usize = 8;

/// A text as it is, in base64 wherever in a longer text it may begin, percent-encoded, and in hexadecimal.
fn forms_of(text: &str) -> Vec<String> {
    assert!(text.len() >= SHORTEST, "too short to be looked for: {text}");
    let mut forms = vec![text.to_owned()];
    for before in 0..3 {
        // What depends on neighbours is left out: the first characters that hold bits of what stands before, and those of what follows.
        let encoded = STANDARD_NO_PAD.encode([&b"\0\0\0"[..before], text.as_bytes()].concat());
        let sure = &encoded[(before * 8).div_ceil(6)..(before + text.len()) * 8 / 6];
        forms.extend([sure.to_owned(), sure.replace('+', "-").replace('/', "_")]);
    }
    for percent in [|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}")] {
        let kept = |byte: u8| byte.is_ascii_alphanumeric();
        forms.push(
            text.bytes().map(|byte| if kept(byte) { char::from(byte).to_string() } else { percent(byte) }).collect(),
        );
    }
    forms.push(hex(text.as_bytes()));
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Many texts that are looked for at once, by their first two bytes: the disk of an installation has some hundred megabytes.
struct Needles {
    texts: Vec<String>,
    by_start: Vec<Vec<usize>>,
}

impl Needles {
    fn of(texts: Vec<String>) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (index, text) in texts.iter().enumerate() {
            by_start[start_of(text.as_bytes())].push(index);
        }
        Self { texts, by_start }
    }

    /// Finds the first place of any of them.
    fn find_in(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        (0..bytes.len().saturating_sub(1)).find_map(|at| {
            let found = self.by_start[start_of(&bytes[at..])]
                .iter()
                .find(|index| bytes[at..].starts_with(self.texts[**index].as_bytes()));
            found.map(|index| (at, self.texts[*index].as_str()))
        })
    }
}

fn start_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[test]
fn a_secret_is_found_in_whatever_form_it_stands() {
    let secret = "sk-canary/of+a~test";
    let needles = Needles::of(forms_of(secret));
    for before in ["", "a", "ab", "abc", "key="] {
        let whole = format!("{before}{secret}, and more");
        let escaped = hex(secret.as_bytes());
        for text in [
            whole.clone(),
            STANDARD.encode(&whole),
            URL_SAFE_NO_PAD.encode(&whole),
            format!("{before}sk%2Dcanary%2Fof%2Ba%7Etest"),
            format!("{before}sk%2dcanary%2fof%2ba%7etest"),
            format!("{before}{escaped}"),
        ] {
            assert!(needles.find_in(text.as_bytes()).is_some(), "{text}");
        }
    }
    assert_eq!(needles.find_in(b"sk-canary/of+a test, c2stY2FuYXJ5L29mK2EgdGVzdA, sk%2Dcanary%2Fof%2Ba%20test"), None);
    assert_eq!((needles.find_in(b""), needles.find_in(b"s")), (None, None));
}
