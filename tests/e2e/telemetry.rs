//! What leaves a node beside answers: spans, by the names of the conventions, over each way that collectors take them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use testkit::collector::{Collector, Span, attribute, hex, text_of};
use testkit::headgate::{Start, data_dir};
use testkit::upstream::{Call, Reply, Step, openai_chunk, openai_end, openai_whole};
use testkit::{Headgate, Upstream, until};

use crate::chat::{MODEL, openai_at};

pub(crate) const EXPORTED_WITHIN: Duration = Duration::from_secs(20);
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

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_away_and_what_is_too_much_is_counted() -> Result<()> {
    let (upstream, folder) = (Upstream::counting().await?, data_dir()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let place = listener.local_addr()?;
    drop(listener);
    let [_, (base_name, base)] = openai_at(&upstream.url());
    let mut headgate = Start::role("up", folder.path())?
        .env("OPENAI_API_KEY", "sk-upstream")
        .env(base_name, &base)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .flag("--otlp-endpoint", &format!("http://{place}"))
        .ready()
        .await?;
    let client = headgate.as_client()?;
    // Nothing but what these calls' clients sample is exported: two spans for each call, of six calls two have room.
    for n in 1..=6 {
        let parent = format!("00-{TRACE}-{n:016x}-01");
        client.ask(Method::POST, "/v1/chat/completions", &[("traceparent", &parent)], Some(&body("Hi", false))).await?;
    }
    let lost = until("the rest is counted", EXPORTED_WITHIN, || async {
        let text = headgate.as_operator()?.send(Method::GET, "/metrics", &[], None).await?.text();
        let line = text.lines().find_map(|line| line.strip_prefix("headgate_spans_lost_total "));
        Ok(line.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n >= 8))
    })
    .await?;
    assert_eq!(lost, 8);
    until("it is said", EXPORTED_WITHIN, || async {
        Ok(headgate.log().contains("the trace collector does not take spans").then_some(()))
    })
    .await?;

    let collector = Collector::start_at(place).await?;
    until("what waited comes", EXPORTED_WITHIN, || async {
        let (calls, attempts) = (collector.spans("gateway.request"), collector.spans(&format!("chat {MODEL}")));
        Ok((calls.len() == 2 && attempts.len() == 2).then_some(()))
    })
    .await?;
    let parents: Vec<String> =
        collector.spans("gateway.request").iter().map(|span| hex(&span.parent_span_id)).collect();
    assert_eq!(parents, ["0000000000000001", "0000000000000002"]);
    until("it is said, too", EXPORTED_WITHIN, || async {
        Ok(headgate.log().contains("the trace collector takes spans again").then_some(()))
    })
    .await?;
    assert!(headgate.stop().await?.success(), "{}", headgate.log());
    Ok(())
}

pub(crate) fn body(content: &str, is_stream: bool) -> Value {
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
