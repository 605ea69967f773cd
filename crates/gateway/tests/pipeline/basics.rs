//! One call through everything, each way.

use domain::usage::{AttemptOutcome, Endpoint, Outcome};

use crate::harness::Bench;
use crate::harness::client::{chat, chat_stream, messages, messages_stream};
use crate::harness::policy::{SECRET, deployment_id};
use crate::harness::upstream::{OPENAI_WHOLE, Step, anthropic_stream, anthropic_whole, openai_stream, openai_whole};

#[tokio::test(start_paused = true)]
async fn a_whole_answer_passes_untouched_and_is_settled() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(chat("gpt").header("x-headgate-user", "ann").header("x-headgate-tags", "a,b")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, OPENAI_WHOLE));
    assert_eq!(answer.header("x-headgate-model"), "up-1");
    assert_eq!(answer.header("x-headgate-provider"), "openai");
    assert_eq!(answer.header("x-headgate-attempts"), "1");
    assert_eq!(answer.header("x-headgate-cache"), "off");
    assert_eq!(answer.header("x-headgate-cost-usd"), "0.00002");
    assert_eq!(answer.header("x-headgate-policy-revision"), "7");
    assert!(answer.header("x-headgate-overhead-us").parse::<u64>().is_ok());
    let event = bench.event().await;
    assert_eq!(answer.header("x-headgate-request-id"), event.id.to_string());
    assert_eq!(answer.header("x-request-id"), event.id.to_string());
    assert_eq!((event.outcome, event.status, event.endpoint), (Outcome::Success, 200, Endpoint::ChatCompletions));
    assert_eq!((event.usage.input, event.usage.output, event.is_estimated), (10, 5, false));
    assert_eq!((event.cost.to_string().as_str(), event.price_id.is_some()), ("0.00002", true));
    assert_eq!((event.model.as_str(), event.deployment_id), ("gpt", Some(deployment_id(1))));
    assert_eq!((event.end_user.as_deref(), event.tags.len()), (Some("ann"), 2));
    assert_eq!(event.finish_reason.as_deref(), Some("stop"));
    assert_eq!(event.attempts.len(), 1);
    let attempt = &event.attempts[0];
    assert_eq!((attempt.outcome, attempt.status, attempt.n), (AttemptOutcome::Success, Some(200), 1));
    assert_eq!(attempt.upstream_request_id.as_deref(), Some("up-req-1"));
    assert_eq!(bench.ledger.opened.lock().len(), 1);
    let call = &bench.upstreams.calls()[0];
    assert_eq!(call.path, "/v1/chat/completions");
    assert_eq!(call.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(call.headers["host"], "openai.test");
    assert!(std::str::from_utf8(&call.body).expect("text").starts_with("{\"model\":\"up-1\",\"messages\""));
}

#[tokio::test(start_paused = true)]
async fn a_stream_passes_untouched_save_for_the_usage_nobody_asked_for() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_stream());
    let answer = bench.ask(chat_stream("gpt")).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(!answer.text().contains("prompt_tokens"), "{}", answer.text());
    assert!(answer.text().contains("\"Hello\"") && answer.text().ends_with("data: [DONE]\n\n"));
    let event = bench.event().await;
    assert_eq!((event.outcome, event.is_stream), (Outcome::Success, true));
    assert_eq!((event.usage.input, event.usage.output, event.is_estimated), (10, 5, false));
    let sent: serde_json::Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
    assert_eq!(sent["stream_options"]["include_usage"], true);
}

#[tokio::test(start_paused = true)]
async fn an_anthropic_stream_is_byte_for_byte_the_upstreams() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_stream());
    let answer = bench.ask(messages_stream("claude")).await;
    let sent: Vec<u8> = crate::harness::upstream::anthropic_steps()
        .into_iter()
        .flat_map(|step| match step {
            Step::Chunk(bytes) => bytes.to_vec(),
            _ => vec![],
        })
        .collect();
    assert_eq!(answer.body, sent);
    let event = bench.event().await;
    assert_eq!((event.usage.input, event.usage.output), (10, 5));
    assert_eq!(bench.upstreams.calls()[0].headers["x-api-key"], SECRET);
    assert_eq!(answer.header("request-id"), event.id.to_string());
}

#[tokio::test(start_paused = true)]
async fn both_dialects_reach_both_vendors() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let answer = bench.ask(chat("claude")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(answer.json()["usage"]["total_tokens"], 15);

    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(messages("gpt")).await;
    assert_eq!(answer.json()["content"][0]["text"], "Hello there");
    assert_eq!(answer.json()["stop_reason"], "end_turn");

    bench.upstreams.play("anthropic.test", anthropic_stream());
    let answer = bench.ask(chat_stream("claude")).await;
    assert!(answer.text().contains("Hello there") && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());

    bench.upstreams.play("openai.test", openai_stream());
    let answer = bench.ask(messages_stream("gpt")).await;
    assert!(answer.text().contains("event: message_stop"), "{}", answer.text());

    let events = bench.ledger.wait(4).await;
    for event in events {
        assert_eq!((event.outcome, event.usage.input, event.usage.output), (Outcome::Success, 10, 5), "{event:?}");
        assert_eq!(event.cost.to_string(), "0.00002");
    }
}

#[tokio::test(start_paused = true)]
async fn echo_answers_without_an_upstream() {
    let bench = Bench::new();
    for ask in
        [chat("echo/echo-1"), chat_stream("echo/echo-1"), messages("echo/echo-1"), messages_stream("echo/echo-1")]
    {
        let answer = bench.ask(ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("Hi"), "{}", answer.text());
    }
    let events = bench.ledger.wait(4).await;
    for event in &events {
        assert_eq!((event.outcome, event.provider.as_deref()), (Outcome::Success, Some("echo")));
        assert!(event.usage.input > 0 && event.usage.output > 0 && event.cost.as_nanos() > 0, "{event:?}");
    }
    assert_eq!(bench.upstreams.n_dials(), 0);
}

#[tokio::test(start_paused = true)]
async fn debug_puts_what_is_known_into_the_last_event() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_stream());
    let answer = bench.ask(chat_stream("gpt").header("x-headgate-debug", "1")).await;
    let last = answer.text().lines().rev().find(|line| line.contains("x_headgate")).expect("an annotated event");
    let last: serde_json::Value = serde_json::from_str(last.trim_start_matches("data: ")).expect("JSON");
    let event = bench.event().await;
    assert_eq!(last["x_headgate"]["request_id"], event.id.to_string());
    assert_eq!(last["x_headgate"]["cost_usd"], "0.00002");
    assert_eq!(last["x_headgate"]["usage"]["output"], 5);
}

#[tokio::test(start_paused = true)]
async fn connections_to_an_upstream_are_used_again() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.upstreams.play("openai.test", openai_whole());
        bench.upstreams.play("openai.test", openai_stream());
        assert_eq!(bench.ask(chat("gpt")).await.status, 200);
        assert_eq!(bench.ask(chat_stream("gpt")).await.status, 200);
    }
    assert_eq!(bench.upstreams.n_dials(), 1);
}
