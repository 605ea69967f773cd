//! What leaves a node beside answers: traces go on across it, and nothing that is a client's secret or words is in any outlet.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::collector::{Collector, Span, attribute, hex, text_of};
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Call, Reply, Step, openai_chunk, openai_end, openai_whole};
use testkit::{Actor, Headgate, Upstream, until};

use crate::chat::{MODEL, openai_at};

const EXPORTED_WITHIN: Duration = Duration::from_secs(20);
const UPSTREAM_KEY: &str = "sk-canary-upstream-0123456789abcdef";
const CREDENTIAL: &str = "sk-canary-credential-0123456789abcdef";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn start(upstream: &Upstream, collector: &Collector, folder: &Path, upstream_key: &str) -> Result<Headgate> {
    let [_, (base_name, base)] = openai_at(&upstream.url());
    Start::role("up", folder)?
        .env("OPENAI_API_KEY", upstream_key)
        .env(base_name, &base)
        .env("HEADGATE_LOG", "debug")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .flag("--otlp-endpoint", &collector.url())
        .ready()
        .await
}

/// Attributes whose values differ from run to run.
const CHANGING: [&str; 9] = [
    "request.id",
    "organization.id",
    "workspace.id",
    "virtual_key.id",
    "deployment.id",
    "policy.revision",
    "server.port",
    "gen_ai.response.time_to_first_chunk",
    "trace.client_id",
];

/// Writes spans as text: name, kind, status and attributes, without what differs from run to run.
fn render(title: &str, spans: &[Span]) -> String {
    let mut text = format!("# {title}\n");
    for span in spans {
        let status = span.status.as_ref().map_or(0, |status| status.code);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{} (kind {}, status {status})", span.name, span.kind);
        let mut lines: Vec<String> = (span.attributes.iter())
            .map(|attribute| {
                let is_changing = CHANGING.contains(&attribute.key.as_str());
                let value = if is_changing { "…".to_owned() } else { text_of(attribute.value.as_ref()) };
                format!("  {} = {value}\n", attribute.key)
            })
            .collect();
        lines.sort_unstable();
        text += &lines.concat();
    }
    text + "\n"
}

#[tokio::test]
async fn spans_say_what_the_conventions_name() -> Result<()> {
    let answer = |call: &Call| match call.body["messages"].to_string() {
        text if text.contains("please 500") => Reply::json(500, &json!({"error": {"message": "away"}})),
        _ if call.body["stream"] == true => {
            Reply::stream([vec![Step::Send(openai_chunk(11, "one"))], openai_end(11, 7)].concat())
        }
        _ => openai_whole(11),
    };
    let upstream = Upstream::start(answer).await?;
    let (collector, folder) = (Collector::start().await?, data_dir()?);
    let mut headgate = start(&upstream, &collector, folder.path(), "sk-upstream").await?;
    let client = headgate.as_client()?;
    let (mut text, mut n_calls) = (String::new(), 0);
    for (title, content, is_stream) in
        [("A whole answer", "Hi", false), ("A stream", "Hi", true), ("A failure", "please 500", false)]
    {
        let named = [("x-headgate-conversation-id", "talk-1")];
        let mut ask = body(content, is_stream);
        ask["temperature"] = json!(0.25);
        client.send(Method::POST, "/v1/chat/completions", &named, Some(&ask)).await?;
        n_calls += 1;
        let call = until("the call's span is exported", EXPORTED_WITHIN, || async {
            Ok(collector.spans("gateway.request").into_iter().nth(n_calls - 1))
        })
        .await?;
        // Attempts end before their call does.
        let mut spans = collector.spans(&format!("chat {MODEL}"));
        spans.retain(|span| span.parent_span_id == call.span_id && span.trace_id == call.trace_id);
        assert_eq!(attribute(&call, "attempts"), spans.len().to_string(), "one span for each attempt");
        spans.truncate(1);
        spans.insert(0, call);
        text += &render(title, &spans);
    }
    assert!(headgate.stop().await?.success(), "{}", headgate.log());
    testkit::golden::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/golden/spans.txt"), &text);
    Ok(())
}

#[tokio::test]
async fn spans_reach_a_collector_over_tls_and_one_that_cannot_be_used_stops_nothing() -> Result<()> {
    let ((collector, certificate), folder) = (Collector::start_tls().await?, data_dir()?);
    let file = folder.path().join("collector.pem");
    std::fs::write(&file, certificate)?;
    let start = |endpoint: &str| -> Result<Start> {
        let start = Start::role("up", folder.path())?.env("OTEL_BSP_SCHEDULE_DELAY", "100");
        Ok(start.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint))
    };
    let ask = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]});
    let trusting = start(&collector.url())?.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &file.to_string_lossy());
    let mut headgate = trusting.ready().await?;
    let key = headgate.field("virtual_key").to_owned();
    headgate.as_client()?.post("/v1/chat/completions", &ask).await?;
    until("the span is exported", EXPORTED_WITHIN, || async {
        Ok(collector.spans("gateway.request").into_iter().next())
    })
    .await?;
    assert!(headgate.stop().await?.success(), "{}", headgate.log());

    // Its certificate is nobody's; then an address that is none.
    for (endpoint, complaint) in [
        (collector.url().as_str(), "the trace collector does not take spans"),
        ("collector at home", "the trace collector cannot be used"),
    ] {
        let mut headgate = start(endpoint)?.ready().await?;
        headgate.as_client()?.with_bearer(&key).post("/v1/chat/completions", &ask).await?;
        until("it is said", EXPORTED_WITHIN, || async { Ok(headgate.log().contains(complaint).then_some(())) }).await?;
        assert!(headgate.stop().await?.success(), "{}", headgate.log());
    }
    Ok(())
}

#[tokio::test]
async fn spans_reach_a_collector_over_http_as_the_standard_variables_say() -> Result<()> {
    let (plain, folder) = (Collector::start_http().await?, data_dir()?);
    let (secure, certificate) = Collector::start_https().await?;
    let file = folder.path().join("collector.pem");
    std::fs::write(&file, certificate)?;
    let start = || -> Result<Start> { Ok(Start::role("up", folder.path())?.env("OTEL_BSP_SCHEDULE_DELAY", "100")) };
    let ask = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]});
    let base = start()?
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{}/below/", plain.url()))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours,authorization=Bearer%20canary-of-a-collector");
    let mut headgate = base.ready().await?;
    let key = headgate.field("virtual_key").to_owned();
    headgate.as_client()?.post("/v1/chat/completions", &ask).await?;
    let came = |collector: &Collector| {
        let collector = collector.clone();
        async move {
            until("the span is exported", EXPORTED_WITHIN, || async {
                Ok(collector.spans("gateway.request").into_iter().next())
            })
            .await
        }
    };
    let span = came(&plain).await?;
    assert_eq!(attribute(&span, "outcome"), "success");
    let (path, headers) = plain.asked().remove(0);
    assert_eq!(path, "/below/v1/traces");
    assert_eq!(
        (&headers["x-tenant"], &headers["authorization"]),
        (&"ours".parse()?, &"Bearer canary-of-a-collector".parse()?)
    );
    assert!(headgate.stop().await?.success(), "{}", headgate.log());
    assert!(!headgate.log().contains("canary-of-a-collector"), "{}", headgate.log());

    // What is said of traces alone is used as it is, and counts more.
    let exact = start()?
        .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/in?for=us", secure.url()))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &plain.url())
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &file.to_string_lossy());
    let mut headgate = exact.ready().await?;
    headgate.as_client()?.with_bearer(&key).post("/v1/chat/completions", &ask).await?;
    came(&secure).await?;
    let (path, headers) = secure.asked().remove(0);
    assert_eq!((path.as_str(), &headers["content-encoding"]), ("/in?for=us", &"gzip".parse()?));
    assert!(headgate.stop().await?.success(), "{}", headgate.log());

    // Nobody has vouched for the certificate: calls are answered, and it is said why no span arrives.
    let distrusting =
        start()?.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").env("OTEL_EXPORTER_OTLP_ENDPOINT", &secure.url());
    let n_before = secure.asked().len();
    let mut headgate = distrusting.ready().await?;
    headgate.as_client()?.with_bearer(&key).post("/v1/chat/completions", &ask).await?;
    until("it is said", EXPORTED_WITHIN, || async {
        let log = headgate.log();
        let line = log.lines().find(|line| line.contains("the trace collector does not take spans"));
        Ok(line.filter(|line| line.contains("certificate")).map(|_| ()))
    })
    .await?;
    assert!(headgate.stop().await?.success(), "{}", headgate.log());
    assert_eq!(secure.asked().len(), n_before);
    Ok(())
}

fn body(content: &str, is_stream: bool) -> Value {
    json!({"model": MODEL, "stream": is_stream, "max_tokens": 50, "messages": [{"role": "user", "content": content}]})
}

#[tokio::test]
async fn a_clients_trace_goes_on_to_the_upstream() -> Result<()> {
    let (upstream, collector, folder) = (Upstream::counting().await?, Collector::start().await?, data_dir()?);
    let mut headgate = start(&upstream, &collector, folder.path(), "sk-upstream").await?;
    let client = headgate.as_client()?;
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("traceparent", sampled.as_str()),
        ("tracestate", "vendor=canary"),
        ("baggage", "headgate.user=ann,tenant=canary"),
    ];
    client.ask(Method::POST, "/v1/chat/completions", &headers, Some(&body("Hi", false))).await?;
    let span = until("the span is exported", EXPORTED_WITHIN, || async {
        Ok(collector.spans("gateway.request").into_iter().next())
    })
    .await?;
    assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!((attribute(&span, "outcome").as_str(), attribute(&span, "attempts").as_str()), ("success", "1"));
    let call = upstream.calls().remove(0);
    let attempt = collector.spans(&format!("chat {MODEL}")).remove(0);
    assert_eq!((hex(&attempt.trace_id).as_str(), &attempt.parent_span_id), (TRACE, &span.span_id));
    assert_eq!(call.headers["traceparent"], format!("00-{TRACE}-{}-01", hex(&attempt.span_id)));
    assert!(!format!("{:?}", call.headers).contains("canary"), "the client's context stays here: {:?}", call.headers);

    // A caller that does not sample is heeded, and the upstream is told.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let ask = [("traceparent", unsampled.as_str())];
    client.ask(Method::POST, "/v1/chat/completions", &ask, Some(&body("Hi", false))).await?;
    let told = upstream.calls().remove(1).headers["traceparent"].clone();
    assert!(told.to_str()?.starts_with(&format!("00-{TRACE}-")) && told.to_str()?.ends_with("-00"), "{told:?}");

    // Without a caller's trace one begins here. Once it has come, the span before it would have come, too.
    client.ask(Method::POST, "/v1/chat/completions", &[], Some(&body("Hi", false))).await?;
    let spans = until("the third span is exported", EXPORTED_WITHIN, || async {
        Ok(Some(collector.spans("gateway.request")).filter(|spans| spans.len() > 1))
    })
    .await?;
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(spans[1].parent_span_id.is_empty() && hex(&spans[1].trace_id) != TRACE, "{:?}", spans[1]);
    assert!(headgate.stop().await?.success(), "{}", headgate.log());
    Ok(())
}

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
