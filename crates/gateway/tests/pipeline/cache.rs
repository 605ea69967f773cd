//! Answers given again: to whom, for how long, which never, and what they cost.

use std::time::Duration;

use domain::rng::SeededEntropy;
use domain::route::{Cache, CacheMode, CacheScope, Timeouts};
use domain::usage::{CacheOutcome, Outcome, UsageEvent};
use domain::{EnvironmentId, TokenKind, TokenSecret, VirtualKeyId};
use policy::Content;
use policy::resource::{Environment, KeySecret, Route};
use policy::testing::PEPPER;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, Connection, chat, chat_stream, gemini, messages, responses};
use crate::harness::policy::{ORG, WORKSPACE, World};
use crate::harness::upstream::{
    OPENAI_WHOLE, Play, Step, Upstreams, anthropic_steps, anthropic_stream, anthropic_whole, chunk, gemini_stream,
    json_answer, openai_end, openai_error, openai_stream, openai_whole, raw_answer, responses_whole, stream,
};

/// The route `kept` on `openai.test`, `claudes` on `anthropic.test` and `geminis` on `gemini.test`, all under one rule.
fn world(rule: Cache) -> World {
    let mut world = World::standard();
    for (n, (name, deployment)) in [("kept", 1), ("claudes", 2), ("geminis", 8), ("also", 1)].into_iter().enumerate() {
        world.route(50 + n as u128, name, &[deployment], 1, Timeouts::default());
        route(&mut world, name).rules.cache = Some(rule);
    }
    world
}

fn route<'a>(world: &'a mut World, wanted: &str) -> &'a mut Route {
    let routes = world.contents.iter_mut().filter_map(|content| match content {
        Content::Route(route) => Some(route),
        _ => None,
    });
    routes.into_iter().find(|route| route.name.as_str() == wanted).expect("the route")
}

fn bench(rule: Cache) -> Bench {
    Bench::of(&world(rule))
}

fn usual() -> Bench {
    bench(Cache::default())
}

/// A key of its own; in another environment when `n` is even.
fn other_key(world: &mut World, n: u8) -> TokenSecret {
    let environment = EnvironmentId::from_uuid(if n.is_multiple_of(2) { 33 } else { 3 });
    if n.is_multiple_of(2) {
        let slug = "production".to_owned();
        world.contents.push(Content::Environment(Environment { id: environment, workspace: WORKSPACE, slug }));
    }
    let token = TokenSecret::generate(TokenKind::VirtualKey, 'd', &SeededEntropy::new(100 + u64::from(n)));
    let mut key = world.key.clone();
    (key.id, key.kid, key.environment) = (VirtualKeyId::from_uuid(1_000 + u128::from(n)), token.kid(), environment);
    key.secrets = vec![KeySecret { pepper_version: 1, mac: token.mac(&PEPPER, &ORG.to_string()), retires_at: None }];
    world.contents.push(Content::VirtualKey(key));
    token
}

fn ask(body: &Value) -> Ask {
    Ask::post("/v1/chat/completions", body.to_string())
}

fn ask_as(token: &TokenSecret, body: &Value) -> Ask {
    Ask::new(http::Method::POST, "/v1/chat/completions", body.to_string())
        .header("authorization", format!("Bearer {}", token.expose()))
        .header("content-type", "application/json")
}

fn hello() -> Value {
    json!({"model": "kept", "messages": [{"role": "user", "content": "Hi"}]})
}

fn with(name: &str, value: Value) -> Value {
    let mut body = hello();
    body[name] = value;
    body
}

fn cache_of(answer: &Answer) -> &str {
    answer.header("x-headgate-cache")
}

/// Lets everything run until all wait for something: only then does virtual time pass.
async fn quiet() {
    let passed = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
    assert!(passed.is_err());
}

impl Bench {
    /// Plays a usual answer and says whether the call needed it.
    async fn is_new(&self, ask: Ask) -> bool {
        let before = self.upstreams.calls().len();
        self.upstreams.play("openai.test", openai_whole());
        let answer = self.ask(ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let is_new = self.upstreams.calls().len() > before;
        assert_eq!(cache_of(&answer) != "hit", is_new, "{answer:?}");
        if !is_new {
            self.upstreams.forget("openai.test");
        }
        is_new
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_question_is_answered_again_and_costs_nothing() {
    let bench = usual();
    bench.upstreams.play("openai.test", openai_whole());
    let first = bench.ask(chat("kept")).await;
    assert_eq!((first.status.as_u16(), cache_of(&first), first.header("age")), (200, "miss", ""));
    tokio::time::advance(Duration::from_secs(7)).await;
    // The same in another order and with other space.
    let same = r#"{ "messages": [ {"content":"\u0048i","role":"user"} ], "model":"kept" }"#;
    let again = bench.ask(Ask::post("/v1/chat/completions", same)).await;
    assert_eq!((again.status.as_u16(), cache_of(&again), again.header("age")), (200, "hit", "7"));
    assert_eq!((again.text(), again.header("content-type")), (OPENAI_WHOLE, "application/json"));
    assert_eq!((again.header("x-headgate-cost-usd"), again.header("x-headgate-attempts")), ("0", ""));
    assert_eq!((again.header("x-headgate-model"), again.header("x-headgate-provider")), ("up-1", "openai"));
    assert_ne!(again.header("x-headgate-request-id"), first.header("x-headgate-request-id"));
    assert_eq!(bench.upstreams.calls().len(), 1);

    let events = bench.ledger.wait(2).await;
    let [first, again]: [UsageEvent; 2] = events.try_into().expect("two events");
    assert_eq!((first.cache.outcome, first.cost.to_string().as_str()), (CacheOutcome::Miss, "0.00002"));
    assert_eq!((again.outcome, again.cache.outcome), (Outcome::Success, CacheOutcome::Hit));
    assert_eq!((again.cost.as_nanos(), again.usage.total(), again.attempts.len()), (0, 0, 0));
    assert_eq!((again.cache.saved_input, again.cache.saved_output), (10, 5));
    assert_eq!(again.cache.saved_cost.to_string(), "0.00002");
    assert_eq!((again.deployment_id, again.price_id, again.finish_reason.as_deref()), (None, None, Some("stop")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_its_time() {
    let bench = bench(Cache { ttl_s: 60, ..Cache::default() });
    assert!(bench.is_new(ask(&hello())).await);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(!bench.is_new(ask(&hello())).await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(bench.is_new(ask(&hello())).await);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(bench.is_new(ask(&hello()).header("x-headgate-cache-ttl", "5")).await);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(bench.is_new(ask(&hello())).await);
}

#[tokio::test(start_paused = true)]
async fn whatever_could_change_an_answer_makes_another_question() {
    let bench = usual();
    assert!(bench.is_new(ask(&hello())).await);
    for body in [
        with("temperature", json!(0)),
        with("temperature", json!(0.0)),
        with("temperature", json!(1)),
        with("user", json!("ann")),
        with("user", json!("bob")),
        with("max_tokens", json!(null)),
        with("seed", json!(1)),
        with("never_heard_of", json!({"deep": [1]})),
        with("messages", json!([{"role": "user", "content": "hi"}])),
        with("messages", json!([{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}])),
        with("model", json!("also")),
    ] {
        assert!(bench.is_new(ask(&body)).await, "{body}");
        assert!(!bench.is_new(ask(&body)).await, "{body}");
    }
    for (name, value) in [("openai-beta", "a"), ("openai-beta", "b"), ("anthropic-beta", "a")] {
        assert!(bench.is_new(ask(&hello()).header(name, value)).await, "{name}: {value}");
        assert!(!bench.is_new(ask(&hello()).header(name, value)).await, "{name}: {value}");
    }
    assert!(bench.is_new(Ask::post("/v1/chat/completions?x=1", hello().to_string())).await);
    assert!(bench.is_new(messages("kept")).await, "another dialect");
    assert!(!bench.is_new(ask(&hello()).header("user-agent", "other").header("x-stainless-lang", "js")).await);
}

#[tokio::test(start_paused = true)]
async fn answers_stay_with_those_who_may_share_them() {
    for (scope, same_environment, other_environment) in
        [(CacheScope::Key, false, false), (CacheScope::Environment, true, false), (CacheScope::Workspace, true, true)]
    {
        let mut world = world(Cache { scope, ..Cache::default() });
        let (near, far) = (other_key(&mut world, 1), other_key(&mut world, 2));
        let bench = Bench::of(&world);
        assert!(bench.is_new(ask(&hello())).await);
        assert_eq!(!bench.is_new(ask_as(&near, &hello())).await, same_environment, "{scope:?}");
        assert_eq!(!bench.is_new(ask_as(&far, &hello())).await, other_environment, "{scope:?}");
    }
    let bench = bench(Cache { scope: CacheScope::EndUser, ..Cache::default() });
    let of = |user: &str| ask(&hello()).header("x-headgate-user", user);
    assert!(bench.is_new(of("ann")).await && !bench.is_new(of("ann")).await);
    assert!(bench.is_new(of("bob")).await);
    for _ in 0..2 {
        bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(cache_of(&bench.ask(ask(&hello())).await), "off", "no end user, nothing kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_changed_is_asked_anew() {
    let mut world = world(Cache::default());
    let bench = Bench::of(&world);
    assert!(bench.is_new(ask(&hello())).await);
    bench.policy.store(world.snapshot().into());
    assert!(!bench.is_new(ask(&hello())).await, "another revision with the same content");
    route(&mut world, "kept").max_attempts = 2;
    bench.policy.store(world.snapshot().into());
    assert!(bench.is_new(ask(&hello())).await);
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content
            && deployment.name.as_str() == "gpt"
        {
            deployment.upstream_model = "up-new".to_owned();
        }
    }
    bench.policy.store(world.snapshot().into());
    assert!(bench.is_new(ask(&hello())).await, "the deployment behind it");
}

#[tokio::test(start_paused = true)]
async fn streams_come_again_as_streams_byte_for_byte() {
    let bench = usual();
    for (host, play, make) in [
        ("openai.test", openai_stream(), (|| chat_stream("kept")) as fn() -> Ask),
        ("anthropic.test", anthropic_stream(), || crate::harness::client::messages_stream("claudes")),
        ("anthropic.test", anthropic_stream(), || chat_stream("claudes")),
        ("gemini.test", gemini_stream(), || gemini("geminis", "streamGenerateContent?alt=sse")),
        ("gemini.test", gemini_stream(), || gemini("geminis", "streamGenerateContent")),
    ] {
        bench.upstreams.play(host, play);
        let first = bench.ask(make()).await;
        assert_eq!((first.status.as_u16(), cache_of(&first)), (200, "miss"), "{}", first.text());
        let again = bench.ask(make()).await;
        assert_eq!((again.status.as_u16(), cache_of(&again)), (200, "hit"), "{}", again.text());
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("content-length"), "", "it is a stream still");
    }
    assert_eq!(bench.upstreams.calls().len(), 5);
    let events = bench.ledger.wait(10).await;
    assert!(events.iter().all(|event| event.is_stream && event.outcome == Outcome::Success));
    let saved: Vec<u64> = events.iter().map(|event| event.cache.saved_output).collect();
    assert_eq!(saved, [0, 5, 0, 5, 0, 5, 0, 5, 0, 5]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_stream_come_one_by_one() {
    let bench = usual();
    bench.upstreams.play("anthropic.test", anthropic_stream());
    bench.ask(crate::harness::client::messages_stream("claudes")).await;
    let mut connection = Connection::open(&bench.lane).await;
    let response = connection.start(crate::harness::client::messages_stream("claudes")).await;
    let mut body = response.into_body();
    let mut n_pieces = 0;
    while crate::harness::client::next(&mut body).await.is_some() {
        n_pieces += 1;
    }
    assert!(n_pieces >= anthropic_steps().len(), "{n_pieces}");
}

#[tokio::test(start_paused = true)]
async fn tool_calls_are_answers_too() {
    let bench = usual();
    let message = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices":
        [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    bench.upstreams.play("openai.test", json_answer(200, &body));
    bench.ask(chat("kept")).await;
    let again = bench.ask(chat("kept")).await;
    assert_eq!((cache_of(&again), again.json()), ("hit", body));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_whole_is_never_given_again() {
    let finish = |reason: Value| {
        json_answer(
            200,
            &json!({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hel"}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
        )
    };
    let filtered =
        Step::Chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n".into());
    let cut = |last: Step| stream(vec![chunk("Hel"), last]);
    let in_band = Step::Chunk("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".into());
    let long = OPENAI_WHOLE.replace("Hello there", &"x".repeat(1_100_000));
    let plays: [(bool, Play); 9] = [
        (false, finish(json!("content_filter"))),
        (false, finish(Value::Null)),
        (false, openai_error(500, "no")),
        (false, openai_error(400, "no")),
        (false, raw_answer(200, "application/json", long)),
        (true, cut(Step::Break)),
        (true, cut(in_band)),
        (true, cut(Step::Hang)),
        (true, stream([chunk("Hel"), filtered].into_iter().chain(openai_end().into_iter().skip(2)).collect())),
    ];
    for (n, (is_stream, play)) in plays.into_iter().enumerate() {
        let bench = usual();
        let make = || if is_stream { chat_stream("kept") } else { chat("kept") };
        bench.upstreams.play("openai.test", play);
        bench.ask(make()).await;
        bench.upstreams.play("openai.test", if is_stream { openai_stream() } else { openai_whole() });
        let next = bench.ask(make()).await;
        assert_eq!((next.status.as_u16(), cache_of(&next)), (200, "miss"), "{n}: {}", next.text());
        assert!(next.text().contains("there"), "{n}: {}", next.text());
        assert_eq!(cache_of(&bench.ask(make()).await), "hit", "{n}: the whole one is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_left_is_not_kept() {
    let bench = usual();
    let gate = Upstreams::gate();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hel"), Step::Gate(gate.clone()), chunk("lo")]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("kept")).await.into_body();
    crate::harness::client::next(&mut body).await.expect("a piece");
    drop((body, connection));
    bench.ledger.wait(1).await;
    bench.upstreams.play("openai.test", openai_stream());
    assert_eq!(cache_of(&bench.ask(chat_stream("kept")).await), "miss");
}

#[tokio::test(start_paused = true)]
async fn what_leaves_something_behind_is_asked_each_time() {
    let bench = usual();
    for body in [
        with("store", json!(true)),
        with("n", json!(2)),
        with("models", json!(["also"])),
        with("provider", json!({"order": ["openai"]})),
    ] {
        for _ in 0..2 {
            bench.upstreams.play("openai.test", openai_whole());
            assert_eq!(cache_of(&bench.ask(ask(&body)).await), "off", "{body}");
        }
    }
    // Responses are kept unless one says otherwise; one that continues another is the whole conversation by then.
    for (more, cache) in [
        (json!({}), ["off", "off"]),
        (json!({"store": false, "previous_response_id": "resp_up"}), ["miss", "hit"]),
        (json!({"store": false}), ["miss", "hit"]),
    ] {
        for wanted in cache {
            bench.upstreams.play("openai.test", json_answer(200, &responses_whole()));
            let answer = bench.ask(responses("kept", &more)).await;
            assert_eq!((answer.status.as_u16(), cache_of(&answer)), (200, wanted), "{more}: {}", answer.text());
            bench.upstreams.forget("openai.test");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_say_what_they_want() {
    let bench = usual();
    let say = |value: &str| ask(&hello()).header("x-headgate-cache", value);
    let missed = bench.ask(say("only")).await;
    assert_eq!((missed.status.as_u16(), missed.code().as_str(), cache_of(&missed)), (504, "cache_miss", "miss"));
    assert!(bench.is_new(say("off")).await);
    assert!(bench.is_new(ask(&hello())).await, "off kept nothing");
    assert!(!bench.is_new(say("only")).await);
    assert!(bench.is_new(say("refresh")).await);
    assert!(!bench.is_new(say("on")).await);
    let control = |value: &str| ask(&hello()).header("cache-control", value);
    assert!(bench.is_new(control("no-store")).await && bench.is_new(control("no-cache")).await);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(!bench.is_new(control("max-age=11")).await);
    assert!(bench.is_new(control("max-age=10")).await, "not older than that");
    assert!(!bench.is_new(control("only-if-cached")).await);
    assert!(bench.is_new(ask(&hello()).header("x-headgate-debug", "1")).await);
    let refused = bench.ask(say("sometimes")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "request_invalid"));
}

#[tokio::test(start_paused = true)]
async fn a_route_may_want_to_be_asked() {
    let bench = bench(Cache { mode: CacheMode::OnRequest, ..Cache::default() });
    assert!(bench.is_new(ask(&hello())).await && bench.is_new(ask(&hello())).await);
    assert!(bench.is_new(ask(&hello()).header("x-headgate-cache-ttl", "60")).await);
    assert!(!bench.is_new(ask(&hello()).header("x-headgate-cache", "on")).await);
    assert!(bench.is_new(ask(&hello())).await);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_the_rule_gives_nothing_again() {
    let bench = usual();
    for value in ["on", "refresh", "off"] {
        bench.upstreams.play("openai.test", openai_whole());
        let answer =
            bench.ask(chat("gpt").header("x-headgate-cache", value).header("x-headgate-cache-ttl", "60")).await;
        assert_eq!((answer.status.as_u16(), cache_of(&answer)), (200, "off"));
    }
    let missed = bench.ask(chat("gpt").header("x-headgate-cache", "only")).await;
    assert_eq!((missed.status.as_u16(), missed.code().as_str()), (504, "cache_miss"));
    assert_eq!(bench.upstreams.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn vectors_are_answers_too() {
    let mut world = world(Cache::default());
    world.route(60, "vectors", &[1], 1, Timeouts::default());
    route(&mut world, "vectors").rules.cache = Some(Cache::default());
    let bench = Bench::of(&world);
    let body = json!({"object": "list", "model": "up", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    bench.upstreams.play("openai.test", json_answer(200, &body));
    let make = || Ask::post("/v1/embeddings", json!({"model": "vectors", "input": "Hi"}).to_string());
    assert_eq!(cache_of(&bench.ask(make()).await), "miss");
    let again = bench.ask(make()).await;
    assert_eq!((cache_of(&again), again.json()), ("hit", body));
}

// === Identical calls at the same time ===

fn together() -> Bench {
    bench(Cache { ttl_s: 0, coalesce: true, ..Cache::default() })
}

#[tokio::test(start_paused = true)]
async fn identical_calls_under_way_share_one_answer() {
    let bench = together();
    let gate = Upstreams::gate();
    let whole = vec![Step::Gate(gate.clone()), Step::Chunk(OPENAI_WHOLE.into())];
    let play =
        Play::Answer { status: 200, headers: vec![("content-type", "application/json".to_owned())], steps: whole };
    bench.upstreams.play("openai.test", play);
    let open = async {
        quiet().await;
        gate.notify_one();
    };
    let (one, two, three, ()) =
        tokio::join!(bench.ask(chat("kept")), bench.ask(chat("kept")), bench.ask(chat("kept")), open);
    let mut seen = [&one, &two, &three].map(|answer| {
        assert_eq!((answer.status.as_u16(), answer.text()), (200, OPENAI_WHOLE));
        cache_of(answer)
    });
    seen.sort_unstable();
    assert_eq!(seen, ["hit", "hit", "miss"]);
    assert_eq!(bench.upstreams.calls().len(), 1);
    let events = bench.ledger.wait(3).await;
    let shared: Vec<_> = events.iter().filter(|event| event.cache.outcome == CacheOutcome::Coalesced).collect();
    assert_eq!(shared.len(), 2);
    assert!(shared.iter().all(|event| event.cost.as_nanos() == 0 && event.cache.saved_output == 5));
    assert!(bench.is_new(ask(&hello())).await, "nothing is kept when nothing shall be");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_hands_over() {
    let bench = together();
    bench.upstreams.play("openai.test", Play::Hang);
    bench.upstreams.play("openai.test", openai_whole());
    let mut connection = Connection::open(&bench.lane).await;
    let leader = async {
        // Leaves after a while.
        let left = tokio::time::timeout(Duration::from_secs(1), connection.start(chat("kept"))).await;
        assert!(left.is_err());
        drop(connection);
    };
    let follow = async {
        bench.upstreams.wait_for_calls(1).await;
        tokio::join!(bench.ask(chat("kept")), bench.ask(chat("kept")))
    };
    let ((), (one, two)) = tokio::join!(leader, follow);
    let mut seen = [&one, &two].map(|answer| {
        assert_eq!((answer.status.as_u16(), answer.text()), (200, OPENAI_WHOLE));
        cache_of(answer)
    });
    seen.sort_unstable();
    assert_eq!(seen, ["hit", "miss"]);
    assert_eq!(bench.upstreams.calls().len(), 2);
    let events = bench.ledger.wait(3).await;
    assert_eq!(events.iter().filter(|event| event.outcome == Outcome::ClientClosed).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_shared() {
    let bench = together();
    let gate = Upstreams::gate();
    let refused = Play::Answer { status: 400, headers: vec![], steps: vec![Step::Gate(gate.clone())] };
    bench.upstreams.play("openai.test", refused);
    bench.upstreams.play("openai.test", openai_whole());
    let open = async {
        quiet().await;
        gate.notify_one();
    };
    let (one, two, ()) = tokio::join!(bench.ask(chat("kept")), bench.ask(chat("kept")), open);
    let mut seen = [one.status.as_u16(), two.status.as_u16()];
    seen.sort_unstable();
    assert_eq!(seen, [200, 400]);
    assert_eq!(bench.upstreams.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_questions_and_streams_do_not_wait() {
    let bench = together();
    bench.upstreams.play("openai.test", Play::Hang);
    let mut connection = Connection::open(&bench.lane).await;
    let waiting = connection.start(chat("kept"));
    let others = async {
        bench.upstreams.wait_for_calls(1).await;
        assert!(bench.is_new(ask(&with("seed", json!(1)))).await);
        bench.upstreams.play("openai.test", openai_stream());
        assert_eq!(bench.ask(chat_stream("kept")).await.status, 200);
        bench.upstreams.play("anthropic.test", anthropic_whole());
        assert_eq!(bench.ask(chat("claudes")).await.status, 200);
    };
    tokio::select! {
        _ = waiting => unreachable!("it hangs"),
        () = others => {}
    }
}
