//! Calls that were billed wrongly or not at all, and doors that stood open.

use std::sync::Arc;

use domain::Price;
use domain::budget::Measure;
use domain::usage::{Outcome, TokenUsage};
use policy::Content;
use policy::resource::KeyStatus;
use serde_json::json;

use super::{limited, per_minute};
use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream, gemini, messages, next, responses};
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{
    Step, anthropic_whole, chunk, gemini_stream, json_answer, openai_error, openai_whole, stream,
};
use crate::pipeline::budgets::{COST, Lent, budget, short};

#[tokio::test(start_paused = true)]
async fn llmgateway_3443_what_no_upstream_counted_is_not_billed_by_a_guess() {
    let bench = Bench::new();
    let long = "word ".repeat(20_000);
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Break]));
    let body = json!({"model": "gpt", "stream": true, "messages": [{"role": "user", "content": long}]});
    bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.cost.as_nanos()), (Outcome::UpstreamBroken, 0));
}

/// What a call through Anthropic's language costs, with prices in dollars a million as the vendor has them.
async fn anthropic_cost(usage: serde_json::Value, [input, write, read, output]: [f64; 4]) -> (i64, TokenUsage) {
    let mut world = World::standard();
    #[expect(clippy::cast_possible_truncation, reason = "prices of vendors have few digits")]
    let price = |dollars: f64| Price::per_million((dollars * 1_000_000_000.0).round() as i64);
    for content in &mut world.contents {
        if let Content::Price(it) = content
            && it.provider == "anthropic"
        {
            (it.rates.input, it.rates.output) = (price(input), price(output));
            (it.rates.cache_write_5m, it.rates.cached_input) = (Some(price(write)), Some(price(read)));
        }
    }
    let bench = Bench::of(&world);
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn",
        "stop_sequence": null, "content": [{"type": "text", "text": "Hi"}], "usage": usage});
    bench.upstreams.play("anthropic.test", json_answer(200, &answer));
    assert_eq!(bench.ask(messages("claude")).await.status, 200);
    let event = bench.event().await;
    (event.cost.as_nanos(), event.usage)
}

#[tokio::test(start_paused = true)]
async fn litellm_9812_what_is_written_to_a_cache_is_billed_once() {
    // The issue's numbers: $0.054399 by the vendor's own bill, $0.091311 by the other gateway's.
    let usage = json!({"input_tokens": 3, "cache_creation_input_tokens": 12_304, "cache_read_input_tokens": 0,
        "output_tokens": 550});
    let (cost, counted) = anthropic_cost(usage, [3.0, 3.75, 0.30, 15.0]).await;
    assert_eq!(cost, 54_399_000);
    assert_eq!((counted.input, counted.total_input()), (3, 12_307));
}

#[tokio::test(start_paused = true)]
async fn litellm_11364_each_kind_of_token_is_billed_at_its_own_price() {
    let usage = json!({"input_tokens": 10, "cache_creation_input_tokens": 32_435, "cache_read_input_tokens": 66_360,
        "output_tokens": 5_120});
    let (cost, _) = anthropic_cost(usage, [5.0, 6.25, 0.5, 25.0]).await;
    assert_eq!(cost, 10 * 5_000 + 32_435 * 6_250 + 66_360 * 500 + 5_120 * 25_000);
}

#[tokio::test(start_paused = true)]
async fn litellm_14457_a_stream_whose_client_left_is_in_the_ledger() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), chunk(" there"), Step::Hang]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    drop((body, connection));
    let event = bench.event().await;
    assert_eq!((event.outcome, event.is_estimated), (Outcome::ClientClosed, true));
    assert!(event.usage.output > 0 && event.cost.as_nanos() > 0, "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn litellm_17364_a_client_that_leaves_ends_the_upstreams_work() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    drop((body, connection));
    bench.upstreams.wait_for_dropped_body().await;
}

#[tokio::test(start_paused = true)]
async fn litellm_36426_calls_that_are_translated_are_in_the_ledger_like_any_other() {
    let asks = [responses("claude", &json!({})), chat("claude"), messages("gpt"), responses("gemini", &json!({}))];
    for ask in asks {
        let (bench, path) = (Bench::new(), ask.path().to_owned());
        bench.upstreams.play("anthropic.test", anthropic_whole());
        bench.upstreams.play("openai.test", openai_whole());
        let whole = crate::harness::upstream::gemini_piece("Hello there", 5, Some("STOP"));
        bench.upstreams.play("gemini.test", json_answer(200, &whole));
        assert_eq!(bench.ask(ask).await.status, 200);
        let event = bench.event().await;
        assert_eq!((event.usage.total_input(), event.usage.output), (10, 5), "{path}");
        assert_eq!(u64::try_from(event.cost.as_nanos()), Ok(COST), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn litellm_6633_every_call_has_an_entry_of_its_own() {
    let bench = Bench::new();
    for _ in 0..3 {
        // The upstream says the same id each time, and none at all in its last event.
        bench.upstreams.play("openai.test", crate::harness::upstream::openai_stream());
        let body = json!({"model": "gpt", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await.status, 200);
    }
    let events = bench.ledger.wait(3).await;
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!((ids.len(), events.iter().map(|event| event.usage.output).sum::<u64>()), (3, 15));
}

#[tokio::test(start_paused = true)]
async fn portkey_1754_tokens_of_the_cache_are_part_of_the_prompt_for_clients_of_openai() {
    let bench = Bench::new();
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn",
        "stop_sequence": null, "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5}});
    bench.upstreams.play("anthropic.test", json_answer(200, &answer));
    let usage = bench.ask(chat("claude")).await.json()["usage"].clone();
    assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(60), &json!(65)), "{usage}");
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 30, "{usage}");
}

#[tokio::test(start_paused = true)]
async fn kong_ai_proxy_running_totals_are_not_added_up() {
    let bench = Bench::new();
    bench.upstreams.play("gemini.test", gemini_stream());
    assert_eq!(bench.ask(gemini("gemini", "streamGenerateContent?alt=sse")).await.status, 200);
    let event = bench.event().await;
    assert_eq!((event.usage.total_input(), event.usage.output), (10, 5));
}

#[tokio::test(start_paused = true)]
async fn litellm_14144_a_budget_a_limit_and_an_upstream_that_refuse_are_told_apart() {
    let spent = Lent::new(budget(Measure::Requests), 0);
    let of_budget = spent.bench.ask(short("gpt")).await;
    let bench = limited(super::limit(vec![per_minute(1)]));
    for _ in 0..4 {
        bench.upstreams.play("openai.test", openai_error(429, "You exceeded your current quota"));
    }
    let of_upstream = bench.ask(short("gpt")).await;
    let of_limit = bench.ask(short("gpt")).await;
    let said = [of_budget, of_limit, of_upstream].map(|answer| {
        let error = answer.json()["error"].clone();
        (answer.status.as_u16(), answer.code(), error["type"].as_str().unwrap_or_default().to_owned())
    });
    assert_eq!((said[0].0, said[0].1.as_str()), (402, "budget_exhausted"));
    assert_eq!((said[1].0, said[1].1.as_str()), (429, "rate_limited"));
    assert_eq!(said[2].1, "upstream_error", "{said:?}");
}

// === Doors ===

#[tokio::test(start_paused = true)]
async fn litellm_34479_who_cannot_be_checked_is_never_told_that_the_key_is_wrong() {
    let mut world = World::standard();
    world.confirmed_at = domain::Timestamp::from_micros(0);
    let answer = Bench::of(&world).ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "policy_stale"));
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

#[tokio::test(start_paused = true)]
async fn litellm_25553_a_revoked_key_stays_revoked_whatever_was_under_way_with_it() {
    let bench = Bench::new();
    let gate = crate::harness::upstream::Upstreams::gate();
    let steps = [vec![chunk("Hello"), Step::Gate(gate.clone())], crate::harness::upstream::openai_end()].concat();
    bench.upstreams.play("openai.test", stream(steps));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    let mut revoked = World::standard();
    revoked.key.status = KeyStatus::Revoked;
    bench.policy.store(Arc::new(revoked.snapshot()));
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 401, "at once");
    gate.notify_one();
    while next(&mut body).await.is_some() {}
    bench.event().await;
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 401, "and after a call that had begun before");
}

#[tokio::test(start_paused = true)]
async fn future_agi_936_a_key_ends_at_its_time() {
    let mut world = World::standard();
    world.key.expires_at = Some(world.confirmed_at.plus(std::time::Duration::from_secs(60)));
    let bench = Bench::of(&world);
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let answer = bench.ask(chat("echo/echo-1")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "key_expired"));
}

#[tokio::test(start_paused = true)]
async fn litellm_24952_an_address_in_a_request_leads_a_credential_nowhere() {
    let fields = ["api_base", "base_url", "api_key", "custom_llm_provider", "user_config"];
    let bench = Bench::new();
    for field in fields {
        bench.upstreams.play("openai.test", openai_whole());
        let mut body = json!({"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]});
        body[field] = json!("http://evil.test/v1");
        bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await;
    }
    assert!(bench.upstreams.calls().iter().all(|call| call.host == "openai.test"));
}

#[tokio::test(start_paused = true)]
async fn litellm_2026_03_18_what_is_noted_of_a_call_holds_no_secret() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    let ask = chat("gpt").header("x-headgate-metadata", r#"{"team":"blue"}"#).header("cookie", "session=canary");
    assert_eq!(bench.ask(ask).await.status, 200);
    let noted = format!("{:?} {:?}", bench.event().await, bench.ledger.opened.lock());
    assert!(noted.contains("blue"));
    for secret in [token().expose(), SECRET, "canary", "Bearer"] {
        assert!(!noted.contains(secret), "{secret} in {noted}");
    }
}
