//! The request headers of the public contract, one by one: each is honoured and lands where it should.

use domain::usage::UsageEvent;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, chat, chat_stream, messages, messages_stream};
use crate::harness::upstream::{Play, anthropic_stream, openai_stream, openai_whole};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What an event notes of the client's headers: user, conversation, trace, metadata, tags.
fn noted(event: &UsageEvent) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let metadata: Vec<_> = event.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "{} {} {} [{}] [{}]",
        text(&event.end_user),
        text(&event.conversation_id),
        text(&event.trace_id),
        metadata.join(","),
        event.tags.join(",")
    )
}

#[tokio::test(start_paused = true)]
async fn notes_land_in_the_usage_event_and_nowhere_upstream() {
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    for (lines, expected) in [
        (vec![], "- - - [] []".to_owned()),
        (vec![("x-headgate-user", "ann")], "ann - - [] []".to_owned()),
        (vec![("x-headgate-conversation-id", "c-1")], "- c-1 - [] []".to_owned()),
        (vec![("x-headgate-trace-id", "t-1")], "- - t-1 [] []".to_owned()),
        (vec![("traceparent", parent.as_str())], format!("- - {TRACE} [] []")),
        (vec![("traceparent", parent.as_str()), ("x-headgate-trace-id", "t-1")], "- - t-1 [] []".to_owned()),
        (
            vec![("x-headgate-metadata", r#"{"team":"search","app":"web"}"#)],
            "- - - [app=web,team=search] []".to_owned(),
        ),
        (vec![("x-headgate-tags", "a, b")], "- - - [] [a,b]".to_owned()),
        (
            vec![("baggage", "headgate.user=bob,headgate.tags=x%2Cy,headgate.metadata.team=ads,other=1")],
            "bob - - [team=ads] [x,y]".to_owned(),
        ),
        (vec![("x-headgate-user", "ann"), ("baggage", "headgate.user=bob")], "ann - - [] []".to_owned()),
    ] {
        let bench = Bench::new();
        bench.upstreams.play("openai.test", openai_whole());
        let ask = lines.iter().fold(chat("gpt"), |ask, (name, value)| ask.header(name, *value));
        assert_eq!(bench.ask(ask).await.status, 200);
        assert_eq!(noted(&bench.event().await), expected, "{lines:?}");
        let call = &bench.upstreams.calls()[0];
        for (name, _) in &lines {
            assert!(!call.headers.contains_key(*name), "{name} stays here");
        }
        assert!(!call.headers.contains_key("traceparent"), "no trace is handed on while tracing is off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_kept_to_the_millisecond() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", Play::Hang);
    let started = tokio::time::Instant::now();
    let answer = bench.ask(chat("gpt").header("x-headgate-timeout-ms", "1500")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "upstream_timeout"));
    assert!((1_500..1_600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert!((1_500_000..1_600_000).contains(&bench.event().await.duration_us));
}

#[tokio::test(start_paused = true)]
async fn debug_adds_what_is_known_at_the_end_to_the_last_event() {
    for (host, ask, play) in [
        ("openai.test", chat_stream("gpt"), openai_stream()),
        ("anthropic.test", messages_stream("claude"), anthropic_stream()),
        ("anthropic.test", chat_stream("claude"), anthropic_stream()),
        ("openai.test", messages_stream("gpt"), openai_stream()),
        ("", chat_stream("echo/echo-1"), Play::Close),
        ("", messages_stream("echo/echo-1"), Play::Close),
    ] {
        let bench = Bench::new();
        bench.upstreams.play(host, play);
        let answer = bench.ask(ask.header("x-headgate-debug", "1")).await;
        let annotated: Vec<Value> = answer
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data: ").filter(|data| data.contains("x_headgate")))
            .map(|data| serde_json::from_str(data).expect("JSON"))
            .collect();
        let event = bench.event().await;
        assert_eq!(annotated.len(), 1, "{}", answer.text());
        let told = &annotated[0]["x_headgate"];
        assert_eq!(told["request_id"], event.id.to_string());
        assert_eq!(told["cost_usd"], event.cost.to_string(), "{told}");
        assert_eq!(told["usage"]["output"], event.usage.output);
    }
}

#[tokio::test(start_paused = true)]
async fn anthropics_clients_end_with_the_right_count_of_both_sides() {
    for (host, model, play) in [
        ("openai.test", "gpt", openai_stream()),
        ("anthropic.test", "claude", anthropic_stream()),
        ("", "echo/echo-1", Play::Close),
    ] {
        let bench = Bench::new();
        bench.upstreams.play(host, play);
        let answer = bench.ask(messages_stream(model)).await;
        let (mut started, mut last) = (Value::Null, Value::Null);
        for data in answer.text().lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: Value = serde_json::from_str(data).expect("JSON");
            match event["type"].as_str() {
                Some("message_start") => started = event["message"]["usage"].clone(),
                Some("message_delta") => last = event["usage"].clone(),
                _ => {}
            }
        }
        // As the vendor's SDKs do: what the last event says replaces what the first said.
        let input = last["input_tokens"].as_u64().or(started["input_tokens"].as_u64());
        let event = bench.event().await;
        assert_eq!(
            (input, last["output_tokens"].as_u64()),
            (Some(event.usage.input), Some(event.usage.output)),
            "{model}"
        );
        // An upstream of another dialect tells its count at the end; who knows it says it at the start.
        let known = if model == "gpt" { 0 } else { event.usage.input };
        assert_eq!(started["input_tokens"], known, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_of_ours_that_means_nothing_is_named_and_a_prompt_is_not_passed_over() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(chat("gpt").header("x-headgate-tag", "a").header("x-headgate-user", "ann")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-dropped")), (200, "x-headgate-tag"));
    assert_eq!(bench.event().await.dropped, ["x-headgate-tag"]);
    let refused = bench.ask(chat("gpt").header("x-headgate-prompt", "greeting@production")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (404, "prompt_unknown"));
}

/// Headers that every call with an attempt is answered with.
const ANSWERED: [&str; 6] = [
    "x-headgate-request-id",
    "x-headgate-policy-revision",
    "x-headgate-attempts",
    "x-headgate-model",
    "x-headgate-provider",
    "x-headgate-overhead-us",
];

#[tokio::test(start_paused = true)]
async fn every_surface_says_the_same_of_its_call() {
    let embed = json!({"model": "echo/echo-embed", "input": "Hi"});
    let count = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]});
    let content = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
    let respond = json!({"model": "echo/echo-1", "input": "Hi", "store": false});
    let completion = json!({"model": "echo/echo-1", "prompt": "Hi"});
    for (ask, is_whole) in [
        (chat("echo/echo-1"), true),
        (chat_stream("echo/echo-1"), false),
        (messages("echo/echo-1"), true),
        (messages_stream("echo/echo-1"), false),
        (Ask::post("/v1/embeddings", embed.to_string()), true),
        (Ask::post("/v1/responses", respond.to_string()), true),
        (Ask::post("/v1/completions", completion.to_string()), true),
        (Ask::post("/v1beta/models/echo/echo-1:generateContent", content.to_string()), true),
        (Ask::post("/v1/messages/count_tokens", count.to_string()), true),
    ] {
        let bench = Bench::new();
        let path = ask.path().to_owned();
        let answer = bench.ask(ask).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for name in ANSWERED {
            assert!(!answer.header(name).is_empty(), "{path} has no {name}");
        }
        // Of a stream it is known only at its end.
        assert_eq!(!answer.header("x-headgate-cost-usd").is_empty(), is_whole, "{path}");
    }
}
