//! Routes as trees with rules, and what requests may ask of them: who is called, in which order, and how it is explained.

use domain::credential::DataPolicy;
use domain::model::Quantization;
use domain::route::{Dropped, FailureClass, Fallback, Hedge, Node, Overrides, RetryBudget, Rules, Shadow, Timeouts};
use domain::usage::{AttemptOutcome, SkipReason};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, chat, chat_stream};
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{Play, Step, Upstreams, json_answer, openai_error, openai_stream, openai_whole, stream};

fn leaf(n: u128) -> Node {
    Node::Deployment { deployment_id: deployment_id(n) }
}

/// Three deployments of two providers under the route `smart`, tried in order.
fn world(rules: Rules) -> World {
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://a.test/v1");
    world.deployment(2, "two", "openai_compatible", "http://b.test/v1");
    world.deployment(3, "large", "openai", "http://c.test/v1");
    world.tree(1, "smart", Node::Ordered { children: vec![leaf(1), leaf(2)] }, rules);
    world.route(2, "other", &[3], 1, Timeouts::default());
    world
}

fn fallback(on: FailureClass, to: &[u128], stop: bool) -> Rules {
    let to = to.iter().map(|n| deployment_id(*n)).collect();
    Rules { fallbacks: vec![Fallback { on, to, stop }], ..Rules::default() }
}

/// A chat request with more fields.
fn ask(model: &str, more: &Value) -> Ask {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    Ask::post("/v1/chat/completions", body.to_string())
}

fn overflow() -> Play {
    let error = json!({"error": {"message": "This model's maximum context length is 10 tokens", "type": "invalid_request_error", "code": "context_length_exceeded"}});
    json_answer(400, &error)
}

fn filtered() -> Play {
    let error = json!({"error": {"message": "The response was filtered", "type": null, "code": "content_filter"}});
    json_answer(400, &error)
}

/// Plays `first` at the first target, and answers everywhere else.
async fn hosts_after(rules: Rules, first: Play) -> (u16, Vec<String>) {
    let bench = Bench::of(&world(rules));
    bench.upstreams.play("a.test", first);
    bench.upstreams.play("b.test", openai_whole());
    bench.upstreams.play("c.test", openai_whole());
    let answer = bench.ask(chat("smart")).await;
    (answer.status.as_u16(), bench.upstreams.hosts())
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_failure_leads_where_its_rule_says() {
    let (a, b, c) = ("a.test".to_owned(), "b.test".to_owned(), "c.test".to_owned());
    let cases = [
        (FailureClass::ContextWindow, overflow()),
        (FailureClass::ContentFilter, filtered()),
        (FailureClass::RateLimit, openai_error(429, "slow down")),
        (FailureClass::Error, openai_error(500, "no luck")),
    ];
    for (class, play) in cases {
        let usual = hosts_after(Rules::default(), play.clone()).await;
        let is_of_request = matches!(class, FailureClass::ContextWindow | FailureClass::ContentFilter);
        let expected = if is_of_request { (400, vec![a.clone()]) } else { (200, vec![a.clone(), b.clone()]) };
        assert_eq!(usual, expected, "{class:?} without a rule");
        let onward = hosts_after(fallback(class, &[], false), play.clone()).await;
        assert_eq!(onward, (200, vec![a.clone(), b.clone()]), "{class:?} onward");
        let elsewhere = hosts_after(fallback(class, &[3], false), play.clone()).await;
        assert_eq!(elsewhere, (200, vec![a.clone(), c.clone()]), "{class:?} to a named one");
        let stopped = hosts_after(fallback(class, &[], true), play).await.1;
        assert_eq!(stopped, [a.as_str()], "{class:?} stops");
    }
}

fn filtered_whole() -> Play {
    json_answer(
        200,
        &json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}}),
    )
}

fn filtered_stream() -> Play {
    let event = |delta: Value, finish: Value| {
        let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        Step::Chunk(format!("data: {event}\n\n").into())
    };
    let opening = event(json!({"role": "assistant", "content": ""}), Value::Null);
    stream(vec![opening, event(json!({}), json!("content_filter")), Step::Chunk("data: [DONE]\n\n".into())])
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_filter_took_away_is_none_where_a_rule_says_so() {
    for (ask, filtered, good) in [
        (chat("smart"), filtered_whole as fn() -> Play, openai_whole as fn() -> Play),
        (chat_stream("smart"), filtered_stream, openai_stream),
    ] {
        let bench = Bench::of(&world(fallback(FailureClass::ContentFilter, &[], false)));
        bench.upstreams.play("a.test", filtered());
        bench.upstreams.play("b.test", good());
        let answer = bench.ask(ask).await;
        assert!(answer.status == 200 && answer.text().contains("there"), "{}", answer.text());
        assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"]);
        let event = bench.event().await;
        assert_eq!(event.attempts.len(), 2);
        assert_eq!(event.attempts[0].outcome, AttemptOutcome::Status);
    }
    for (ask, filtered) in [(chat("smart"), filtered_whole as fn() -> Play), (chat_stream("smart"), filtered_stream)] {
        let usual = Bench::of(&world(Rules::default()));
        usual.upstreams.play("a.test", filtered());
        let answer = usual.ask(ask).await;
        assert!(answer.status == 200 && answer.text().contains("content_filter"), "handed on without a rule");
        assert_eq!(usual.upstreams.hosts(), ["a.test"]);
    }
    let bench = Bench::of(&world(fallback(FailureClass::ContentFilter, &[], false)));
    bench.upstreams.play("a.test", filtered_whole());
    bench.upstreams.play("b.test", filtered_whole());
    let answer = bench.ask(chat("smart")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "content_filter".to_owned()));
    let event = bench.event().await;
    assert_eq!((event.usage.input, event.attempts.len()), (20, 2), "what was used is booked");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_load_and_never_ejects() {
    let bench = Bench::of(&world(Rules::default()));
    for _ in 0..8 {
        bench.upstreams.play("a.test", openai_error(429, "slow down"));
        bench.upstreams.play("b.test", openai_whole());
        assert_eq!(bench.ask(chat("smart")).await.status, 200);
    }
    assert_eq!(bench.upstreams.hosts()[..3], ["a.test", "b.test", "b.test"], "others go first while it rests");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_choose_among_the_targets_and_upstreams_do_not_see_it() {
    let cases = [
        (json!({"provider": {"order": ["two"]}}), vec!["b.test"]),
        (json!({"provider": {"only": ["openai_compatible"]}}), vec!["b.test"]),
        (json!({"provider": {"ignore": ["one"]}}), vec!["b.test"]),
        (json!({"provider": {"max_price": {"prompt": 2, "completion": 3}}}), vec!["a.test"]),
        (json!({"provider": {"sort": "price", "data_collection": "allow"}}), vec!["a.test"]),
        (json!({"models": ["other"]}), vec!["a.test"]),
    ];
    for (more, hosts) in cases {
        let bench = Bench::of(&world(Rules::default()));
        for host in ["a.test", "b.test", "c.test"] {
            bench.upstreams.play(host, openai_whole());
        }
        assert_eq!(bench.ask(ask("smart", &more)).await.status, 200, "{more}");
        assert_eq!(bench.upstreams.hosts(), hosts, "{more}");
        let sent = String::from_utf8_lossy(&bench.upstreams.calls()[0].body).into_owned();
        assert!(!sent.contains("\"provider\"") && !sent.contains("\"models\""), "{sent}");
        assert!(sent.contains("hello"));
    }
}

/// The targets of the route: of `one` nobody said anything, `two` is what the table says.
fn stated(policy: Option<DataPolicy>, quantization: Option<Quantization>) -> World {
    let mut world = world(Rules::default());
    if let Some(policy) = policy {
        world.data_policy(2, policy);
    }
    world.describe(2, None, quantization);
    world
}

#[tokio::test(start_paused = true)]
async fn a_request_may_choose_by_what_a_provider_does_with_data_and_how_a_model_is_held() {
    use DataPolicy::{MayTrain, NoTraining, ZeroRetention};
    let deny = json!({"provider": {"data_collection": "deny"}});
    let zdr = json!({"provider": {"zdr": true}});
    let fp8 = json!({"provider": {"quantizations": ["fp8", "bf16"]}});
    let unknown = json!({"provider": {"quantizations": ["unknown"]}});
    let cases = [
        (&deny, stated(Some(NoTraining), None), Ok("b.test")),
        (&deny, stated(Some(ZeroRetention), None), Ok("b.test")),
        (&deny, stated(Some(MayTrain), None), Err(SkipReason::DataPolicy)),
        (&deny, stated(None, None), Err(SkipReason::DataPolicy)),
        (&zdr, stated(Some(NoTraining), None), Err(SkipReason::DataPolicy)),
        (&zdr, stated(Some(ZeroRetention), None), Ok("b.test")),
        (&fp8, stated(None, Some(Quantization::Fp8)), Ok("b.test")),
        (&fp8, stated(None, Some(Quantization::Int4)), Err(SkipReason::Quantization)),
        (&fp8, stated(None, None), Err(SkipReason::Quantization)),
        (&unknown, stated(None, Some(Quantization::Fp8)), Ok("a.test")),
    ];
    for (more, world, expected) in cases {
        let bench = Bench::of(&world);
        for host in ["a.test", "b.test"] {
            bench.upstreams.play(host, openai_whole());
        }
        let told = bench.ask(ask("smart", more)).await;
        match expected {
            Ok(host) => {
                assert_eq!((told.status.as_u16(), bench.upstreams.hosts()), (200, vec![host.to_owned()]), "{more}");
            }
            Err(reason) => {
                assert_eq!((told.status.as_u16(), told.code()), (400, "request_invalid".to_owned()), "{more}");
                let word = if reason == SkipReason::DataPolicy { "does with data" } else { "quantization" };
                assert!(told.text().contains(word), "{}", told.text());
                assert_eq!(
                    bench.upstreams.hosts(),
                    Vec::<String>::new(),
                    "nothing is sent to whom nobody knows: {more}"
                );
                let event = bench.event().await;
                let reasons: Vec<_> =
                    event.routing.as_ref().expect("a routing").skipped.iter().map(|it| it.reason).collect();
                assert_eq!(reasons, [reason, reason], "{more}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_surface_lets_a_request_choose_or_says_that_it_cannot() {
    let ask = |path: &str, body: &Value| Ask::post(path, body.to_string());
    let vectors = json!({"object": "list", "model": "up", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    let checked =
        json!({"id": "m", "model": "up", "results": [{"flagged": false, "categories": {}, "category_scores": {}}]});
    let cases = [
        ("/v1/embeddings", json!({"model": "smart", "input": "a", "provider": {"only": ["two"]}}), &vectors),
        ("/v1/moderations", json!({"model": "smart", "input": "a", "provider": {"order": ["two"]}}), &checked),
        (
            "/v1/moderations",
            json!({"model": "smart", "input": "a", "provider": {"ignore": ["one"]}, "models": ["other"]}),
            &checked,
        ),
    ];
    for (path, body, answer) in cases {
        let bench = Bench::of(&world(Rules::default()));
        for host in ["a.test", "b.test", "c.test"] {
            bench.upstreams.play(host, json_answer(200, answer));
        }
        let told = bench.ask(ask(path, &body)).await;
        assert_eq!(told.status, 200, "{path}: {}", told.text());
        assert_eq!(bench.upstreams.hosts(), ["b.test"], "{path} {body}");
        let sent = String::from_utf8_lossy(&bench.upstreams.calls()[0].body).into_owned();
        assert!(!sent.contains("\"provider\"") && !sent.contains("\"models\""), "{sent}");
    }
    let bench = Bench::of(&world(Rules::default()));
    for (path, body, param) in [
        (
            "/v1/embeddings",
            json!({"model": "smart", "input": "a", "provider": {"data_collection": "never"}}),
            "`allow` or `deny`",
        ),
        ("/v1/embeddings", json!({"model": "smart", "input": "a", "provider": {"quantizations": ["fp9"]}}), "fp9"),
        ("/v1/embeddings", json!({"model": "smart", "input": "a", "provider": {"preferred": true}}), "provider"),
        (
            "/v1beta/models/smart:embedContent",
            json!({"content": {"parts": [{"text": "a"}]}, "provider": {}}),
            "provider",
        ),
        ("/v1/realtime/client_secrets", json!({"session": {"type": "realtime", "model": "smart:nitro"}}), "nitro"),
    ] {
        let told = bench.ask(ask(path, &body)).await;
        assert_eq!(told.status, 400, "{path}: {}", told.text());
        assert!(told.text().contains(param), "{path}: {}", told.text());
    }
    assert_eq!(bench.upstreams.hosts(), Vec::<String>::new());
    // A variant in the address counts like one in the body.
    let refused = Bench::of(&world(Rules { overrides: Overrides::Refused, ..Rules::default() }));
    let content = json!({"contents": [{"parts": [{"text": "a"}]}]});
    for (path, body) in [
        ("/v1beta/models/smart:floor:generateContent", &content),
        ("/v1beta/models/smart:floor:countTokens", &content),
        ("/openai/deployments/smart:nitro/embeddings", &json!({"input": "a"})),
    ] {
        let told = refused.ask(ask(path, body)).await;
        assert_eq!(told.status, 400, "{path}: {}", told.text());
    }
}

#[tokio::test(start_paused = true)]
async fn further_models_are_tried_after_those_of_the_first() {
    let bench = Bench::of(&world(Rules::default()));
    bench.upstreams.play("a.test", overflow());
    bench.upstreams.play("c.test", openai_whole());
    assert_eq!(bench.ask(ask("smart", &json!({"models": ["other"]}))).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "c.test"], "also after what is the request's own fault");
    let unknown = bench.ask(ask("smart", &json!({"models": ["nothing"]}))).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "model_unknown".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn variants_of_a_name_sort_and_what_is_not_allowed_is_refused() {
    let bench = Bench::of(&world(Rules::default()));
    bench.upstreams.play("a.test", openai_whole());
    assert_eq!(bench.ask(chat("smart:floor")).await.status, 200);
    assert_eq!(bench.ask(chat("smart:other")).await.code(), "model_unknown");

    let refused = Bench::of(&world(Rules { overrides: Overrides::Refused, ..Rules::default() }));
    for request in [
        ask("smart", &json!({"provider": {"only": ["one"]}})),
        ask("smart", &json!({"models": ["other"]})),
        chat("smart:nitro"),
    ] {
        let answer = refused.ask(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "request_invalid".to_owned()));
    }
    let promised = bench.ask(ask("smart", &json!({"provider": {"data_collection": "deny"}}))).await;
    assert_eq!(promised.status, 400, "a promise that cannot be kept is not made");
    assert!(refused.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_fallbacks_only_the_first_is_tried() {
    let bench = Bench::of(&world(Rules::default()));
    bench.upstreams.play("a.test", openai_error(500, "no luck"));
    let answer = bench.ask(ask("smart", &json!({"provider": {"allow_fallbacks": false}}))).await;
    assert_eq!((answer.status.as_u16(), bench.upstreams.hosts()), (502, vec!["a.test".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_route_may_refuse_to_leave_anything_out() {
    let mut strict = World::empty();
    strict.deployment(1, "claude", "anthropic", "http://anthropic.test");
    strict.deployment(2, "gpt", "openai", "http://openai.test/v1");
    let rules = Rules { dropped: Dropped::Refused, ..Rules::default() };
    strict.tree(1, "smart", Node::Ordered { children: vec![leaf(1), leaf(2)] }, rules.clone());
    strict.tree(2, "only", leaf(1), rules);
    let bench = Bench::of(&strict);
    bench.upstreams.play("openai.test", openai_whole());
    let request = |model| ask(model, &json!({"logit_bias": {"50256": -100}}));
    assert_eq!(bench.ask(request("smart")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["openai.test"]);
    let refused = bench.ask(request("only")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "request_invalid".to_owned()));
    assert!(refused.text().contains("logit_bias"), "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn rehearsed_failures_fall_back_and_hurt_nobody() {
    let allowed = Rules { is_rehearsal_allowed: true, ..Rules::default() };
    for (how, outcome) in [
        ("429", AttemptOutcome::Status),
        ("500", AttemptOutcome::Status),
        ("timeout", AttemptOutcome::Timeout),
        ("cut", AttemptOutcome::Broken),
    ] {
        let bench = Bench::of(&world(allowed.clone()));
        for _ in 0..8 {
            bench.upstreams.play("b.test", openai_whole());
            let request = chat("smart").header("x-headgate-rehearse", format!("one={how}"));
            assert_eq!(bench.ask(request).await.status, 200, "{how}");
        }
        assert!(bench.upstreams.hosts().iter().all(|host| host == "b.test"), "nothing is sent to who rehearses");
        assert_eq!(bench.ledger.wait(8).await[0].attempts[0].outcome, outcome);
        bench.upstreams.play("a.test", openai_whole());
        assert_eq!(bench.ask(chat("smart")).await.status, 200);
        assert_eq!(bench.upstreams.hosts()[8], "a.test", "it was not ejected");
    }
    let bench = Bench::of(&world(Rules::default()));
    assert_eq!(bench.ask(chat("smart").header("x-headgate-rehearse", "one=500")).await.status, 400);
    let bench = Bench::of(&world(allowed));
    assert_eq!(bench.ask(chat("smart").header("x-headgate-rehearse", "one=explode")).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_is_overtaken_and_booked_as_cancelled() {
    let rules = Rules { hedge: Some(Hedge { after_ms: 300 }), ..Rules::default() };
    let bench = Bench::of(&world(rules.clone()));
    bench.upstreams.play("a.test", Play::Hang);
    bench.upstreams.play("b.test", openai_whole());
    let answer = bench.ask(chat("smart")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-attempts")), (200, "2"));
    let event = bench.event().await;
    let ends: Vec<_> = event.attempts.iter().map(|it| (it.n, it.deployment_id, it.outcome)).collect();
    let (first, second) = (deployment_id(1), deployment_id(2));
    assert_eq!(ends, [(1, first, AttemptOutcome::Cancelled), (2, second, AttemptOutcome::Success)]);
    assert_eq!(event.deployment_id, Some(second));

    let quick = Bench::of(&world(rules.clone()));
    quick.upstreams.play("a.test", openai_whole());
    assert_eq!(quick.ask(chat("smart")).await.status, 200);
    assert_eq!(quick.upstreams.hosts(), ["a.test"], "who answers in time is alone");

    let none = RetryBudget { burst: 0, per_second: 0 };
    let poor = Bench::of(&world(Rules { retry_budget: none, ..rules }));
    let gate = Upstreams::gate();
    let slow = match openai_whole() {
        Play::Answer { status, headers, steps } => {
            Play::Answer { status, headers, steps: [vec![Step::Gate(gate.clone())], steps].concat() }
        }
        other => other,
    };
    poor.upstreams.play("a.test", slow);
    let (answer, ()) = tokio::join!(poor.ask(chat("smart")), async {
        poor.upstreams.wait_for_calls(1).await;
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        gate.notify_one();
    });
    assert_eq!(
        (answer.status.as_u16(), poor.upstreams.hosts()),
        (200, vec!["a.test".to_owned()]),
        "no budget, no hedge"
    );
}

#[tokio::test(start_paused = true)]
async fn a_copy_goes_elsewhere_and_is_a_call_of_its_own() {
    let rules = Rules { shadow: Some(Shadow { deployment_id: deployment_id(3), percent: 100 }), ..Rules::default() };
    let bench = Bench::of(&world(rules));
    bench.upstreams.play("a.test", openai_whole());
    bench.upstreams.play("c.test", openai_error(500, "the copy fails and nobody sees it"));
    let answer = bench.ask(chat("smart")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-attempts")), (200, "1"));
    let events = bench.ledger.wait(2).await;
    let copied = |event: &&domain::usage::UsageEvent| !event.metadata.is_empty();
    let (copy, real) =
        (events.iter().find(copied).expect("a copy"), events.iter().find(|it| !copied(it)).expect("a call"));
    assert_eq!(copy.metadata, [("headgate.shadow_of".to_owned(), real.id.to_string())]);
    assert_eq!((real.status, real.attempts[0].deployment_id), (200, deployment_id(1)));
    assert_eq!((copy.status, copy.attempts[0].deployment_id), (502, deployment_id(3)));
}

#[tokio::test(start_paused = true)]
async fn the_ledger_says_who_was_passed_over_and_when_what_happened() {
    let bench = Bench::of(&world(Rules::default()));
    bench.upstreams.play("a.test", openai_error(429, "slow down"));
    for _ in 0..2 {
        bench.upstreams.play("b.test", openai_whole());
        assert_eq!(bench.ask(chat("smart")).await.status, 200);
    }
    let events = bench.ledger.wait(2).await;
    let skipped = |at: usize| {
        let routing = events[at].routing.clone().expect("it was routed");
        assert!(routing.dispatched_us >= routing.received_us);
        routing.skipped.iter().map(|it| (it.deployment_id, it.reason)).collect::<Vec<_>>()
    };
    assert_eq!(skipped(0), []);
    assert_eq!(skipped(1), [(deployment_id(1), SkipReason::RateLimited)]);
}
