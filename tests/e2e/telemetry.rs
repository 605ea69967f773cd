//! What leaves a node beside answers: traces go on across it, and nothing that is a client's secret or words is in any outlet.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use testkit::collector::{Collector, attribute, hex};
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Call, Reply, Step, openai_chunk, openai_end, openai_whole};
use testkit::{Headgate, Upstream, until};

use crate::chat::{MODEL, openai_at};

const EXPORTED_WITHIN: Duration = Duration::from_secs(20);
const UPSTREAM_KEY: &str = "sk-canary-upstream-0123456789abcdef";
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
    assert_eq!(call.headers["traceparent"], format!("00-{TRACE}-{}-01", hex(&span.span_id)));
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
    let forged = client.with_bearer("hgk_d1_aaaaaaaaaaaa_canaryforgedkeycanaryforgedkey00_000000");
    forged.send(Method::POST, "/v1/messages", &headers, Some(&body("canary-prompt", false))).await?;
    until("spans are exported", EXPORTED_WITHIN, || async {
        Ok((collector.spans("gateway.request").len() >= 28).then_some(()))
    })
    .await?;
    let metrics = headgate.as_operator()?.send(Method::GET, "/metrics", &[], None).await?.text();
    let key = headgate.field("virtual_key").split('_').nth(3).context("the key's secret part")?.to_owned();
    assert!(headgate.stop().await?.success(), "{}", headgate.log());

    let mut outlets = vec![
        ("the log".to_owned(), headgate.log().into_bytes()),
        ("metrics".to_owned(), metrics.into_bytes()),
        ("traces".to_owned(), collector.text().into_bytes()),
    ];
    read_all(&folder.path().join("node"), &mut outlets)?;
    assert!(outlets.len() > 4, "the node's files are looked at");
    assert!(headgate.log().contains("\"level\":\"DEBUG\""), "all levels are on");
    for (outlet, bytes) in &outlets {
        for canary in [
            "canary-prompt",
            "canary-answer",
            "canary-error-body",
            "canary-header",
            "canary-cookie",
            "canary-baggage",
            "canaryforgedkey",
            UPSTREAM_KEY,
            &key,
        ] {
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
