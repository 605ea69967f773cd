//! Every strategy of a route through a node: what the node itself measures, counts and reads of a call decides who is called.

use std::time::Duration;

use domain::Price as Rate;
use domain::price::{Rates, UnitRates};
use domain::route::{Bound, Case, HashKey, LatencyMeasure, Node, Rules, Test};
use http::StatusCode;
use policy::Content;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream};
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{Step, Upstreams, chunk, json_answer, openai_end, openai_stream, openai_whole, stream};

const HOSTS: [&str; 3] = ["a.test", "b.test", "c.test"];

fn leaf(n: u128) -> Node {
    Node::Deployment { deployment_id: deployment_id(n) }
}

fn leaves() -> Vec<Node> {
    vec![leaf(1), leaf(2), leaf(3)]
}

/// Three deployments at [`HOSTS`] under the route `m`.
fn world(tree: Node) -> World {
    let mut world = World::empty();
    for (n, host) in (1_u128..).zip(HOSTS) {
        world.deployment(n, &format!("model-{n}"), "openai", &format!("http://{host}/v1"));
    }
    world.tree(1, "m", tree, Rules::default());
    world
}

fn bench(tree: Node) -> Bench {
    Bench::of(&world(tree))
}

/// A call of the route with more fields.
fn ask(more: &Value) -> Ask {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    Ask::post("/v1/chat/completions", body.to_string())
}

/// Makes a call that every host would answer, and says which one did.
async fn host_of(bench: &Bench, ask: Ask) -> String {
    for host in HOSTS {
        bench.upstreams.forget(host);
        bench.upstreams.play(host, openai_whole());
    }
    assert_eq!(bench.ask(ask).await.status, 200);
    bench.upstreams.hosts().pop().expect("a call")
}

/// How many of the hosts got calls, and of which most and fewest.
fn spread(hosts: &[String]) -> [usize; 3] {
    HOSTS.map(|host| hosts.iter().filter(|it| *it == host).count())
}

#[tokio::test(start_paused = true)]
async fn turns_go_round() {
    let bench = bench(Node::RoundRobin { children: leaves() });
    let mut hosts = Vec::new();
    for _ in 0..9 {
        hosts.push(host_of(&bench, chat("m")).await);
    }
    assert_eq!(spread(&hosts), [3, 3, 3]);
    for three in hosts.windows(3) {
        assert_eq!(spread(three), [1, 1, 1], "each once before any comes again");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_the_fewest_calls_under_way_is_called() {
    let bench = bench(Node::LeastBusy { children: leaves() });
    let mut held = Vec::new();
    for n in 1..=3 {
        let gate = Upstreams::gate();
        for host in HOSTS {
            bench.upstreams.forget(host);
            bench.upstreams.play(host, stream([vec![chunk("Hello"), Step::Gate(gate.clone())], openai_end()].concat()));
        }
        let mut connection = Connection::open(&bench.lane).await;
        let answer = connection.start(chat_stream("m")).await;
        bench.upstreams.wait_for_calls(n).await;
        held.push((connection, answer, gate));
    }
    assert_eq!(spread(&bench.upstreams.hosts()), [1, 1, 1], "three calls under way, each elsewhere");
    // The second host is free again, and so the next one's.
    let free = bench.upstreams.hosts()[1].clone();
    let (_connection, answer, gate) = held.remove(1);
    gate.notify_one();
    assert_eq!(crate::harness::client::read(answer).await.status, 200);
    bench.ledger.wait(1).await;
    assert_eq!(host_of(&bench, chat("m")).await, free);
}

/// Makes a call whose stream takes its time: until its first word, and from there to its end, each by host.
async fn timed_stream(bench: &Bench, times: [(Duration, Duration); 2]) {
    let (first, last) = (Upstreams::gate(), Upstreams::gate());
    let steps = [vec![Step::Gate(first.clone()), chunk("Hello"), Step::Gate(last.clone())], openai_end()].concat();
    for host in HOSTS {
        bench.upstreams.forget(host);
        bench.upstreams.play(host, stream(steps.clone()));
    }
    let n = bench.ledger.events.lock().len();
    let timed = async {
        bench.upstreams.wait_for_calls(n + 1).await;
        let (pause, rest) = times[usize::from(bench.upstreams.hosts()[n] == HOSTS[1])];
        tokio::time::advance(pause).await;
        first.notify_one();
        // Until the first word is through.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(rest).await;
        last.notify_one();
    };
    let (answer, ()) = tokio::join!(bench.ask(chat_stream("m")), timed);
    assert_eq!(answer.status, 200);
    bench.ledger.wait(n + 1).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_the_fastest_lately_is_called() {
    let (soon, late) = (Duration::from_millis(100), Duration::from_secs(4));
    for (measure, slow, quick) in [
        (LatencyMeasure::FirstToken, (late, soon), (soon, late)),
        (LatencyMeasure::PerToken, (soon, late), (soon, soon)),
    ] {
        let bench = bench(Node::LowestLatency { children: vec![leaf(1), leaf(2)], measure });
        // Each is asked once while nothing is known of it.
        for _ in 0..2 {
            timed_stream(&bench, [slow, quick]).await;
        }
        assert_eq!(spread(&bench.upstreams.hosts()), [1, 1, 0], "{measure:?}");
        for _ in 0..5 {
            timed_stream(&bench, [slow, quick]).await;
        }
        assert_eq!(spread(&bench.upstreams.hosts()), [1, 6, 0], "{measure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_the_cheapest_for_this_call_is_called() {
    // The first is dear, the second has cheap input and dear output, the third the other way round.
    let dollars = |dollars: i64| Rate::per_million(dollars * 1_000_000_000);
    let rates = [(9, 9), (1, 8), (4, 2)].map(|(input, output)| Rates {
        input: dollars(input),
        output: dollars(output),
        ..Rates::default()
    });
    let bench = billed_by(world(Node::LowestCost { children: leaves() }), &rates);
    let long = "word ".repeat(4_000);
    let short_answer = json!({"max_tokens": 16, "messages": [{"role": "user", "content": long}]});
    let long_answer = json!({"max_tokens": 4_000});
    assert_eq!(host_of(&bench, ask(&short_answer)).await, "b.test", "much is read");
    assert_eq!(host_of(&bench, ask(&long_answer)).await, "c.test", "much is written");
}

/// Gives the targets prices of their own.
fn billed_by(mut world: World, rates: &[Rates; 3]) -> Bench {
    for content in &mut world.contents {
        if let Content::Price(price) = content
            && let Some(n) = price.upstream_model.strip_prefix("up-").and_then(|n| n.parse::<usize>().ok())
        {
            price.rates = rates[n - 1];
        }
    }
    Bench::of(&world)
}

fn units(rates: UnitRates) -> Rates {
    Rates { units: rates, ..Rates::default() }
}

/// Which host a call goes to, whatever that one says.
async fn asked_host(bench: &Bench, ask: Ask) -> (StatusCode, Vec<String>) {
    for host in HOSTS {
        bench.upstreams.forget(host);
        bench.upstreams.play(host, json_answer(200, &json!({"results": [], "data": []})));
    }
    let before = bench.upstreams.hosts().len();
    let status = bench.ask(ask).await.status;
    (status, bench.upstreams.hosts().split_off(before))
}

fn draw(more: &Value) -> Ask {
    let mut body = json!({"model": "m", "prompt": "A cat"});
    body.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
    Ask::post("/v1/images/generations", body.to_string())
}

#[tokio::test(start_paused = true)]
async fn what_is_billed_by_the_piece_is_compared_by_it() {
    let each = |nanos: i64| Some(Rate::per_million(nanos * 1_000_000));
    // A picture of middling quality is some thousand tokens: at $100 a million some ten cents.
    let by_token = Rates { output: Rate::per_million(100_000_000_000), ..Rates::default() };
    let picture = |nanos| units(UnitRates { image: each(nanos), ..UnitRates::default() });
    let spoken = |nanos| units(UnitRates { character: each(nanos), ..UnitRates::default() });
    let search = |nanos| units(UnitRates { search: each(nanos), ..UnitRates::default() });
    let pictures = [by_token, picture(80_000_000), picture(40_000_000)];
    let speak = || Ask::post("/v1/audio/speech", json!({"model": "m", "input": "Hello", "voice": "alloy"}).to_string());
    for (rates, call, wanted) in [
        (pictures, draw(&json!({})), "c.test"),
        ([pictures[0], pictures[1], picture(200_000_000)], draw(&json!({})), "b.test"),
        ([pictures[0], picture(200_000_000), picture(120_000_000)], draw(&json!({"n": 2})), "a.test"),
        ([spoken(30_000), spoken(15_000), spoken(16_000)], speak(), "b.test"),
    ] {
        let bench = billed_by(world(Node::LowestCost { children: leaves() }), &rates);
        let (status, hosts) = asked_host(&bench, call).await;
        assert_eq!((status, hosts), (StatusCode::OK, vec![wanted.to_owned()]), "{rates:?}");
    }
    // The same where a request asks for it.
    let floor = billed_by(world(Node::Ordered { children: leaves() }), &pictures);
    assert_eq!(asked_host(&floor, draw(&json!({"model": "m:floor"}))).await.1, ["c.test"]);
    assert_eq!(asked_host(&floor, draw(&json!({"provider": {"sort": "price"}}))).await.1, ["c.test"]);
    let at_most = |most: Value| draw(&json!({"provider": {"max_price": most}}));
    assert_eq!(asked_host(&floor, at_most(json!({"image": 0.09}))).await.1, ["b.test"]);
    assert_eq!(asked_host(&floor, at_most(json!({"image": 0.05}))).await.1, ["c.test"]);
    assert_eq!(asked_host(&floor, at_most(json!({"request": 0.05}))).await.1, ["a.test"], "it is billed by its tokens");
    assert_eq!(asked_host(&floor, at_most(json!({"prompt": 1, "completion": 1}))).await.1, ["b.test"]);
    assert_eq!(asked_host(&floor, at_most(json!({"image": 0.01}))).await, (StatusCode::BAD_REQUEST, vec![]));
    let mut ranks = World::empty();
    for (n, host) in (1_u128..).zip(HOSTS) {
        ranks.deployment(n, &format!("rank-{n}"), "cohere", &format!("http://{host}"));
    }
    ranks.tree(1, "m", Node::LowestCost { children: leaves() }, Rules::default());
    let rates = [search(2_000_000), search(3_000_000), search(1_000_000)];
    let rank = Ask::post("/v1/rerank", json!({"model": "m", "query": "q", "documents": ["a", "b"]}).to_string());
    assert_eq!(asked_host(&billed_by(ranks, &rates), rank).await.1, ["c.test"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_given_the_fewest_tokens_in_the_last_minute_is_called() {
    let bench = bench(Node::UsageBased { children: vec![leaf(1), leaf(2)] });
    let large = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "up", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1_000}});
    for host in HOSTS {
        bench.upstreams.play(host, json_answer(200, &large));
    }
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    bench.ledger.wait(1).await;
    let loaded = bench.upstreams.hosts().remove(0);
    for _ in 0..6 {
        assert_ne!(host_of(&bench, chat("m")).await, loaded, "15 tokens a call, against a thousand");
    }
    // What was used in one minute of the clock counts less and less throughout the next.
    tokio::time::advance(Duration::from_secs(120)).await;
    let mut hosts = Vec::new();
    for _ in 0..6 {
        hosts.push(host_of(&bench, chat("m")).await);
    }
    assert_eq!(hosts.iter().filter(|host| **host == loaded).count(), 3, "{hosts:?}");
}

/// Makes the call of a number.
type Make = fn(usize) -> Ask;

#[tokio::test(start_paused = true)]
async fn the_same_key_leads_to_the_same_place_and_keys_are_spread() {
    let header = HashKey::Header { name: "x-tenant".to_owned() };
    let cases: [(HashKey, Make); 5] = [
        (HashKey::User, |n| ask(&json!({"user": format!("user-{n}")}))),
        (HashKey::User, |n| chat("m").header("x-headgate-user", format!("user-{n}"))),
        (HashKey::Conversation, |n| chat("m").header("x-headgate-conversation-id", format!("talk-{n}"))),
        (HashKey::Conversation, |n| ask(&json!({"prompt_cache_key": format!("talk-{n}")}))),
        (header, |n| chat("m").header("x-tenant", format!("tenant-{n}"))),
    ];
    for (by, ask) in cases {
        let bench = bench(Node::ConsistentHash { children: leaves(), by: by.clone() });
        let mut hosts = Vec::new();
        for n in 0..24 {
            let host = host_of(&bench, ask(n)).await;
            for _ in 0..3 {
                assert_eq!(host_of(&bench, ask(n)).await, host, "{by:?} {n}");
            }
            hosts.push(host);
        }
        assert!(spread(&hosts).iter().all(|n| *n >= 2), "{by:?}: {:?}", spread(&hosts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_gets_its_share_and_falls_back_on_what_is_proven() {
    let canary = |percent| bench(Node::Canary { percent, canary: Box::new(leaf(1)), stable: Box::new(leaf(2)) });
    for (percent, expected) in [(0, 0..=0), (100, 40..=40), (50, 8..=32)] {
        let bench = canary(percent);
        let mut hosts = Vec::new();
        for _ in 0..40 {
            hosts.push(host_of(&bench, chat("m")).await);
        }
        let n_new = spread(&hosts)[0];
        assert!(expected.contains(&n_new), "{percent} percent: {n_new} of 40");
    }
    let bench = canary(100);
    bench.upstreams.play("a.test", crate::harness::upstream::openai_error(500, "no luck"));
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"]);
}

/// Whether a call takes the branch that the tests open.
async fn takes(tests: &[Test], ask: Ask) -> bool {
    let cases = vec![Case { when: tests.to_vec(), node: leaf(1) }];
    let bench = bench(Node::Conditional { cases, otherwise: Box::new(leaf(2)) });
    for host in HOSTS {
        bench.upstreams.play(host, if ask.is_stream() { openai_stream() } else { openai_whole() });
    }
    let answer = bench.ask(ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    bench.upstreams.hosts() == ["a.test"]
}

fn list(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_taken_by_what_a_call_is() {
    let picture = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]});
    let tools =
        json!({"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]});
    let schema =
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}});
    let long = json!({"messages": [{"role": "user", "content": "word ".repeat(2_000)}]});
    let (plain, streamed) = (json!({}), json!({"stream": true}));
    let with = |name: &'static str, value: &'static str| ask(&plain).header(name, value);
    let named = |name: &str, is: &[&str]| (name.to_owned(), list(is));
    let metadata = named("team", &["search", "growth*"]);
    let header = named("x-plan", &["gold", "plat*"]);
    let effort = |values: &[&str]| Test::Parameter {
        name: "reasoning_effort".to_owned(),
        is: list(values),
        at_least: None,
        at_most: None,
    };
    let warm = Test::Parameter {
        name: "temperature".to_owned(),
        is: Vec::new(),
        at_least: Some(Bound(0.5)),
        at_most: Some(Bound(1.0)),
    };
    let metadata = Test::Metadata { name: metadata.0, is: metadata.1 };
    let header = Test::Header { name: header.0, is: header.1 };
    let tag = Test::Tag { is: list(&["batch", "night-*"]) };
    let large = Test::InputTokens { at_least: Some(1_000), at_most: None };
    let capped = Test::MaxTokens { at_least: None, at_most: Some(100) };
    let cases: Vec<(Test, Ask, Ask)> = vec![
        (
            metadata.clone(),
            with("x-headgate-metadata", r#"{"team":"search"}"#),
            with("x-headgate-metadata", r#"{"team":"sales"}"#),
        ),
        (metadata, with("x-headgate-metadata", r#"{"team":"growth-eu"}"#), ask(&plain)),
        (header.clone(), with("x-plan", "gold"), with("x-plan", "silver")),
        (header, with("x-plan", "platinum"), ask(&plain)),
        (tag.clone(), with("x-headgate-tags", "a, batch"), with("x-headgate-tags", "batches")),
        (tag, with("x-headgate-tags", "night-3"), ask(&plain)),
        (Test::Stream { is: true }, ask(&streamed), ask(&plain)),
        (Test::Tools { is: true }, ask(&tools), ask(&plain)),
        (Test::Images { is: true }, ask(&picture), ask(&plain)),
        (Test::Schema { is: true }, ask(&schema), ask(&plain)),
        (Test::Schema { is: false }, ask(&plain), ask(&schema)),
        (large, ask(&long), ask(&plain)),
        (capped.clone(), ask(&json!({"max_tokens": 100})), ask(&json!({"max_tokens": 101}))),
        (capped, ask(&json!({"max_completion_tokens": 5})), ask(&plain)),
        (effort(&["high", "x*"]), ask(&json!({"reasoning_effort": "high"})), ask(&json!({"reasoning_effort": "low"}))),
        (effort(&["high", "x*"]), ask(&json!({"reasoning_effort": "xhigh"})), ask(&plain)),
        (warm, ask(&json!({"temperature": 0.7})), ask(&json!({"temperature": 1.5}))),
    ];
    for (test, yes, no) in cases {
        assert!(takes(std::slice::from_ref(&test), yes).await, "{test:?} holds");
        assert!(!takes(std::slice::from_ref(&test), no).await, "{test:?} does not hold");
    }
    // All tests of a case must hold.
    let both = [Test::Stream { is: true }, Test::Tools { is: true }];
    assert!(!takes(&both, ask(&streamed)).await);
    let mut all = tools;
    all["stream"] = json!(true);
    assert!(takes(&both, ask(&all)).await);
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_taken_by_the_time_of_day_where_the_rule_says() {
    // Every test begins on a Sunday at noon, UTC.
    let between = |from: u16, until: u16, days: &[u8], offset: i16| Test::Time {
        from_minute: from * 60,
        until_minute: until * 60,
        days: days.to_vec(),
        utc_offset_minutes: offset,
    };
    for (test, holds) in [
        (between(12, 13, &[], 0), true),
        (between(11, 12, &[], 0), false),
        (between(12, 13, &[7], 0), true),
        (between(12, 13, &[1, 2, 3, 4, 5], 0), false),
        (between(20, 21, &[], 480), true),
        // It began on Saturday evening and ends on Sunday afternoon.
        (between(20, 14, &[6], 0), true),
        (between(20, 14, &[7], 0), false),
    ] {
        assert_eq!(takes(std::slice::from_ref(&test), chat("m")).await, holds, "{test:?}");
    }
}
