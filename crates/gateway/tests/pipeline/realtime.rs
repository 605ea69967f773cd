//! Realtime sessions through the whole gateway: a client's WebSocket, a scripted upstream's, and what the ledger says of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::budget::Measure;
use domain::route::{Node, Rules};
use domain::usage::{AttemptOutcome, Endpoint, Outcome};
use domain::{ModelPattern, NanoUsd, Timestamp};
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::{GatewayConfig, Lane, RealtimeLimits};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use policy::Content;
use policy::resource::KeyStatus;
use realtime::{Message, Socket};
use serde_json::{Value, json};

use super::budgets::{Lent, budget};
use crate::harness::Bench;
use crate::harness::policy::{SECRET, World, deployment_id, token};
use crate::harness::upstream::{Trouble, openai_error};

const MAX_MESSAGE: usize = 64 * 1024;

/// A handshake of a client.
pub(super) struct Knock {
    path: String,
    headers: Vec<(&'static str, String)>,
}

impl Knock {
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), headers: Vec::new() }
            .with("authorization", &format!("Bearer {}", token().expose()))
    }

    pub(super) fn without_key(path: &str) -> Self {
        Self { path: path.to_owned(), headers: Vec::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    async fn send(self, lane: &Lane) -> Response<Incoming> {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let lane = lane.clone();
        runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.expect("shakes hands");
        runtime::tasks::spawn("test.client", async move {
            // The test sees what it needs in the answers.
            let _ = connection.with_upgrades().await;
        });
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.path.parse().expect("a path");
        request.headers_mut().insert("host", "gateway.test".parse().expect("a host"));
        let _ = realtime::handshake::ask(request.headers_mut());
        for (name, value) in self.headers {
            request.headers_mut().insert(name, value.parse().expect("a header value"));
        }
        sender.send_request(request).await.expect("an answer")
    }

    /// Opens a session; gives the head of its answer, too.
    pub(super) async fn open(self, lane: &Lane) -> (Socket, HeaderMap) {
        let answer = self.send(lane).await;
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let headers = answer.headers().clone();
        let upgraded = hyper::upgrade::on(answer).await.expect("a connection");
        (realtime::to_upstream(Box::new(TokioIo::new(upgraded)), 1024 * 1024).await, headers)
    }

    /// Is refused; gives status and error.
    pub(super) async fn refused(self, lane: &Lane) -> (u16, Value) {
        let answer = self.send(lane).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice::<Value>(&body).expect("JSON")["error"].take())
    }
}

pub(super) async fn say(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.expect("takes it");
}

async fn hear(socket: &mut Socket) -> Message {
    loop {
        match socket.next().await.expect("a message").expect("a message") {
            Message::Ping(_) | Message::Pong(_) => {}
            other => return other,
        }
    }
}

pub(super) async fn hear_event(socket: &mut Socket) -> Value {
    serde_json::from_str(hear(socket).await.to_text().expect("text")).expect("JSON")
}

pub(super) async fn hear_close(socket: &mut Socket) -> Option<u16> {
    match hear(socket).await {
        Message::Close(frame) => frame.map(|frame| frame.code.into()),
        other => unreachable!("not the end: {other:?}"),
    }
}

/// What the vendor says first.
fn greeting() -> Value {
    json!({"type": "session.created", "session": {"type": "realtime", "model": "up-1",
        "audio": {"input": {"transcription": {"model": "up-heard"}}}}})
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})
}

/// 100 input tokens, 40 of them read from the cache, 50 of all sound; 20 output tokens, 15 of them sound.
fn done(id: &str, status: &str) -> Value {
    json!({"type": "response.done", "response": {"id": id, "status": status, "usage": {"total_tokens": 120, "input_tokens": 100,
        "output_tokens": 20, "input_token_details": {"text_tokens": 50, "audio_tokens": 50, "cached_tokens": 40,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 30}}, "output_token_details": {"text_tokens": 5, "audio_tokens": 15}}}})
}

/// A session with `gpt`, greeted: the client's side and the upstream's.
async fn session(bench: &Bench) -> (Socket, Socket) {
    let ((mut client, _), upstream) =
        tokio::join!(Knock::at("/v1/realtime?model=gpt").open(&bench.lane), greeted(bench, "openai.test"));
    assert_eq!(hear_event(&mut client).await["type"], "session.created");
    (client, upstream)
}

pub(super) async fn greeted(bench: &Bench, host: &str) -> Socket {
    let mut upstream = bench.upstreams.socket(host).await;
    say(&mut upstream, greeting()).await;
    upstream
}

#[tokio::test(start_paused = true)]
async fn each_turn_is_in_the_ledger_before_the_client_sees_its_end() {
    let bench = Bench::of(&priced());
    let (mut client, mut upstream) = session(&bench).await;
    for n in 1..=2 {
        say(&mut client, json!({"type": "response.create"})).await;
        assert_eq!(hear_event(&mut upstream).await["type"], "response.create");
        say(&mut upstream, created(&format!("resp_{n}"))).await;
        assert_eq!(hear_event(&mut client).await["type"], "response.created");
        let opened = bench.ledger.opened.lock().clone();
        assert_eq!(opened.len(), 1 + n, "a note of the session and of each turn, so that a kill is seen");
        assert_eq!((opened[0].endpoint, opened[n].endpoint), (Endpoint::RealtimeSession, Endpoint::Realtime));
        say(&mut upstream, done(&format!("resp_{n}"), "completed")).await;
        assert_eq!(hear_event(&mut client).await["type"], "response.done");
        assert_eq!(bench.ledger.events.lock().len(), n, "booked before it is seen");
        assert_eq!(bench.ledger.events.lock()[n - 1].id, opened[n].id);
    }
    client.close(None).await.expect("closes");
    assert_eq!(hear_close(&mut upstream).await, None);
    let events = bench.ledger.wait(3).await;
    let (turn, end) = (&events[0], &events[2]);
    assert_eq!((turn.endpoint, turn.outcome, turn.status), (Endpoint::Realtime, Outcome::Success, 200));
    assert_eq!((turn.model.as_str(), turn.upstream_model.as_deref()), ("gpt", Some("up-1")));
    assert_eq!((turn.usage.input, turn.usage.cached_input, turn.usage.output), (60, 40, 20));
    let modal = turn.attempts[0].modal.as_deref().copied().expect("is noted");
    assert_eq!((modal.audio_input, modal.cached_audio_input, modal.audio_output), (20, 30, 15));
    // Dollars a million: text 1, 0.5 cached, 2 out; sound 10, 0.5 cached as text is, 20 out.
    let cost = (40 + 20 * 10) * 1_000 + 40 * 500 + (5 * 2 + 15 * 20) * 1_000;
    assert_eq!((turn.cost, turn.is_estimated), (NanoUsd::from_nanos(cost), false));
    assert_eq!(turn.attempts[0].upstream_request_id.as_deref(), Some("resp_1"));
    assert_eq!(turn.conversation_id.as_deref(), Some(end.id.to_string().as_str()));
    assert!(turn.metadata.contains(&("headgate.session".to_owned(), end.id.to_string())));
    assert_eq!((end.endpoint, end.outcome, end.status), (Endpoint::RealtimeSession, Outcome::Success, 101));
    assert_eq!((end.usage.total(), end.cost, end.attempts[0].outcome), (0, NanoUsd::ZERO, AttemptOutcome::Success));
    assert_eq!(bench.gateway.metrics().in_flight(), 0);
}

/// Money in the amount of `n_windows` turns at the most: 32,000 tokens in and 4,096 out.
fn lent(n_windows: u64, more: u64) -> Lent {
    const WINDOW: u64 = 32_000 * 10_000 + 4_096 * 20_000;
    let mut world = priced();
    for content in &mut world.contents {
        match content {
            Content::Deployment(it) if it.upstream_model == "up-1" => "gpt-realtime".clone_into(&mut it.upstream_model),
            Content::Price(it) if it.upstream_model == "up-1" => "gpt-realtime".clone_into(&mut it.upstream_model),
            _ => {}
        }
    }
    world.contents.push(Content::Budget(budget(Measure::Cost)));
    Lent::of(&world, n_windows * WINDOW + more)
}

#[tokio::test(start_paused = true)]
async fn each_turn_holds_what_its_model_can_take_and_none_is_made_without_money() {
    // What a turn costs: see above.
    const COST: u64 = (40 + 20 * 10) * 1_000 + 40 * 500 + (5 * 2 + 15 * 20) * 1_000;
    let lent = lent(1, COST);
    let bench = &lent.bench;
    let (mut client, mut upstream) = session(bench).await;
    for n in 1..=2 {
        say(&mut client, json!({"type": "response.create"})).await;
        assert_eq!(hear_event(&mut upstream).await["type"], "response.create", "turn {n}");
        say(&mut upstream, created(&format!("resp_{n}"))).await;
        assert_eq!(hear_event(&mut client).await["type"], "response.created");
        assert!(bench.ledger.opened.lock()[n].holds[0].amount > 400_000_000);
        say(&mut upstream, done(&format!("resp_{n}"), "completed")).await;
        assert_eq!(hear_event(&mut client).await["type"], "response.done");
        assert_eq!(bench.ledger.events.lock()[n - 1].charges[0].amount, COST);
        // Money for the next turn is asked for meanwhile; people take longer to speak.
        tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await.expect_err("a while");
    }
    say(&mut client, json!({"type": "response.create"})).await;
    let refused = hear_event(&mut client).await;
    assert_eq!((&refused["type"], &refused["error"]["code"]), (&json!("error"), &json!("budget_exhausted")));
    client.close(None).await.expect("closes");
    assert_eq!(lent.posted(3).await, 2 * COST);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_opened_without_money_for_one_turn() {
    let poor = lent(0, 1_000);
    let (status, error) = Knock::at("/v1/realtime?model=gpt").refused(&poor.bench.lane).await;
    assert_eq!((status, &error["code"]), (402, &json!("budget_exhausted")));
    let mut world = priced();
    world.contents.push(Content::Budget(budget(Measure::Cost)));
    let unknown = Lent::of(&world, 1_000_000_000);
    let (status, error) = Knock::at("/v1/realtime?model=gpt").refused(&unknown.bench.lane).await;
    assert_eq!(status, 402);
    assert!(error["message"].to_string().contains("nobody can say beforehand"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_down_is_charged_when_it_is_known() {
    let lent = lent(2, 0);
    let (mut client, mut upstream) = session(&lent.bench).await;
    let kind = "conversation.item.input_audio_transcription.completed";
    let usage = json!({"type": "tokens", "input_tokens": 30, "output_tokens": 6});
    say(&mut upstream, json!({"type": kind, "item_id": "item_1", "transcript": "Hi", "usage": usage})).await;
    assert_eq!(hear_event(&mut client).await["type"], kind);
    let event = lent.bench.event().await;
    let cost = u64::try_from(event.cost.as_nanos()).expect("a cost");
    assert_eq!(event.charges.iter().map(|charge| charge.amount).sum::<u64>(), cost);
    drop((client, upstream));
    assert_eq!(lent.posted(2).await, cost);
}

/// `gpt` with prices for sound, and for what writes down.
fn priced() -> World {
    let mut world = World::standard();
    for content in &mut world.contents {
        if let Content::Price(price) = content
            && price.upstream_model == "up-1"
        {
            let per_million = domain::Price::per_million;
            price.rates.cached_input = Some(per_million(500_000_000));
            price.rates.modal.audio_input = Some(per_million(10_000_000_000));
            price.rates.modal.audio_output = Some(per_million(20_000_000_000));
        }
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_written_down_is_booked_under_its_own_model() {
    let bench = Bench::new();
    let (mut client, mut upstream) = session(&bench).await;
    let kind = "conversation.item.input_audio_transcription.completed";
    let usage =
        json!({"type": "tokens", "input_tokens": 30, "output_tokens": 6, "input_token_details": {"audio_tokens": 30}});
    say(&mut upstream, json!({"type": kind, "item_id": "item_1", "transcript": "Hi", "usage": usage})).await;
    assert_eq!(hear_event(&mut client).await["type"], kind);
    let event = bench.event().await;
    assert_eq!((event.endpoint, event.upstream_model.as_deref()), (Endpoint::Realtime, Some("up-heard")));
    assert_eq!((event.usage.input, event.usage.output), (30, 6));
    assert_eq!(event.attempts[0].modal.as_deref().map(|modal| modal.audio_input), Some(30));
}

#[tokio::test(start_paused = true)]
async fn the_upstream_sees_our_credential_and_nothing_of_the_clients() {
    let bench = Bench::new();
    let knock = Knock::without_key("/v1/realtime?model=gpt")
        .with(
            "sec-websocket-protocol",
            &format!("realtime, openai-insecure-api-key.{}, openai-beta.realtime-v1", token().expose()),
        )
        .with("cookie", "a=b");
    let ((_client, head), _upstream) = tokio::join!(knock.open(&bench.lane), greeted(&bench, "openai.test"));
    assert_eq!(head["sec-websocket-protocol"], "realtime");
    assert_eq!(
        (&head["x-headgate-model"], &head["x-headgate-provider"], &head["x-headgate-attempts"]),
        (&"up-1".parse().expect("a value"), &"openai".parse().expect("a value"), &"1".parse().expect("a value"))
    );
    assert!(head.contains_key("x-headgate-request-id") && head.contains_key("x-headgate-policy-revision"));
    let call = &bench.upstreams.calls()[0];
    assert_eq!(call.path, "/v1/realtime?model=up-1");
    assert_eq!(call.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(
        (&call.headers["openai-beta"], &call.headers["host"]),
        (&"realtime=v1".parse().expect("a value"), &"openai.test".parse().expect("a value"))
    );
    let all = format!("{:?}", call.headers);
    assert!(
        !all.contains(token().expose()) && !all.contains("cookie") && !all.contains("sec-websocket-protocol"),
        "{all}"
    );
}

#[tokio::test(start_paused = true)]
async fn azures_address_names_the_deployment() {
    let mut world = World::standard();
    world.deployment(20, "voice", "azure_openai", "http://azure.test?api-version=2024-10-01-preview");
    let bench = Bench::of(&world);
    let knock = Knock::without_key("/openai/realtime?api-version=2025-04-01-preview&deployment=voice")
        .with("api-key", token().expose());
    let (_client, _upstream) = tokio::join!(knock.open(&bench.lane), greeted(&bench, "azure.test"));
    assert_eq!(bench.upstreams.calls()[0].path, "/openai/realtime?deployment=up-20&api-version=2024-10-01-preview");
    assert_eq!(bench.upstreams.calls()[0].headers["api-key"], SECRET);
    let knock = Knock::at("/openai/v1/realtime?model=gpt&intent=transcription");
    let (_client, _upstream) = tokio::join!(knock.open(&bench.lane), greeted(&bench, "openai.test"));
    assert_eq!(bench.upstreams.calls()[1].path, "/v1/realtime?intent=transcription");
}

#[tokio::test(start_paused = true)]
async fn what_can_be_refused_is_refused_in_http() {
    let mut world = World::standard();
    world.allow("gpt");
    world.allow("claude");
    let bench = Bench::of(&world);
    for (knock, status, code) in [
        (Knock::without_key("/v1/realtime?model=gpt"), 401, "key_invalid"),
        (Knock::at("/v1/realtime?model=gpt").with("x-api-key", "hgk_other"), 401, "key_invalid"),
        (Knock::at("/v1/realtime"), 400, "request_invalid"),
        (Knock::at("/v1/realtime?model=none"), 404, "model_unknown"),
        (Knock::at("/v1/realtime?model=gemini"), 403, "model_not_allowed"),
        (Knock::at("/v1/realtime?model=claude"), 400, "request_invalid"),
        (Knock::at("/v1/realtime?model=gpt").with("upgrade", "h2c"), 400, "request_invalid"),
        (Knock::at("/v1/realtime?model=gpt").with("sec-websocket-version", "8"), 400, "request_invalid"),
    ] {
        let path = knock.path.clone();
        let (found, error) = knock.refused(&bench.lane).await;
        assert_eq!((found, error["code"].as_str()), (status, Some(code)), "{path}: {error}");
    }
    let (_, error) = Knock::at("/v1/realtime?model=claude").refused(&bench.lane).await;
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Anthropic has no realtime")), "{error}");
    assert_eq!(bench.upstreams.n_dials(), 0);
}

#[tokio::test(start_paused = true)]
async fn targets_that_do_not_agree_to_speak_are_passed_over() {
    let bench = Bench::new();
    bench.upstreams.trouble("a.test", Trouble::Refuse);
    // After the provider of the first, another one's turn comes.
    let at_c = async {
        // It shakes hands and then says that it knows no such model.
        let mut upstream = bench.upstreams.socket("c.test").await;
        say(&mut upstream, json!({"type": "error", "error": {"type": "invalid_request_error", "code": "model_not_found", "message": "x"}})).await;
    };
    let ((mut client, head), (), _upstream) =
        tokio::join!(Knock::at("/v1/realtime?model=chain").open(&bench.lane), at_c, greeted(&bench, "b.test"));
    assert_eq!(hear_event(&mut client).await["type"], "session.created");
    assert_eq!(
        (&head["x-headgate-model"], &head["x-headgate-attempts"]),
        (&"up-5".parse().expect("a value"), &"3".parse().expect("a value"))
    );
    drop(client);
    let event = bench.event().await;
    let outcomes: Vec<_> = event.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Connect, AttemptOutcome::Broken, AttemptOutcome::Success]);
    assert_eq!(event.deployment_id, Some(deployment_id(5)));
}

#[tokio::test(start_paused = true)]
async fn rehearsed_failures_pass_targets_over_and_hurt_nobody() {
    let rules = Rules { is_rehearsal_allowed: true, ..Rules::default() };
    for how in ["429", "500", "timeout", "cut"] {
        let mut world = World::standard();
        let leaf = |n| Node::Deployment { deployment_id: deployment_id(n) };
        world.tree(2, "smart", Node::Ordered { children: vec![leaf(4), leaf(5)] }, rules.clone());
        let bench = Bench::of(&world);
        let knock = Knock::at("/v1/realtime?model=smart").with("x-headgate-rehearse", &format!("chain-a={how}"));
        let (opened, _upstream) = tokio::join!(knock.open(&bench.lane), greeted(&bench, "b.test"));
        drop(opened);
        let event = bench.event().await;
        assert_eq!((event.attempts.len(), event.deployment_id), (2, Some(deployment_id(5))), "{how}");
        let (_opened, _upstream) =
            tokio::join!(Knock::at("/v1/realtime?model=smart").open(&bench.lane), greeted(&bench, "a.test"));
        assert_eq!(bench.upstreams.hosts(), ["b.test", "a.test"], "nothing was held against it");
    }
    let bench = Bench::new();
    let knock = Knock::at("/v1/realtime?model=chain").with("x-headgate-rehearse", "chain-a=500");
    assert_eq!(knock.refused(&bench.lane).await.0, 400, "its route does not allow it");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_the_handshake_is_understood() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_error(404, "The model `up-1` does not exist"));
    let (status, error) = Knock::at("/v1/realtime?model=gpt").refused(&bench.lane).await;
    assert_eq!((status, error["code"].as_str()), (404, None), "{error}");
    bench.upstreams.play("openai.test", openai_error(401, "Incorrect API key provided: sk-upstr***"));
    let (status, error) = Knock::at("/v1/realtime?model=gpt").refused(&bench.lane).await;
    assert_eq!((status, error["code"].as_str()), (502, Some("upstream_error")), "{error}");
    assert!(!error.to_string().contains("sk-upstr"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_key_revoked_in_mid_session_ends_it_and_books_the_turn_under_way() {
    let bench = Bench::new();
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut upstream, created("resp_1")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    let mut world = World::standard();
    world.key.status = KeyStatus::Revoked;
    bench.policy.store(Arc::new(world.snapshot()));
    assert_eq!(hear_event(&mut client).await["error"]["code"], "key_revoked");
    assert_eq!(hear_close(&mut client).await, Some(1008));
    assert_eq!(hear_event(&mut upstream).await["type"], "response.cancel");
    say(&mut upstream, done("resp_1", "cancelled")).await;
    assert_eq!(hear_close(&mut upstream).await, Some(1001));
    drop((client, upstream));
    let events = bench.ledger.wait(2).await;
    assert_eq!(
        (events[0].outcome, events[0].usage.total(), events[0].is_estimated),
        (Outcome::ClientClosed, 120, false)
    );
    assert_eq!((events[1].outcome, events[1].code.as_deref()), (Outcome::Rejected, Some("key_revoked")));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_its_model_or_deployment_is_taken_away() {
    let mut narrowed = World::standard();
    narrowed.key.models = Some(vec![ModelPattern::parse("claude").expect("a pattern")]);
    let mut disabled = World::standard();
    for content in &mut disabled.contents {
        if let Content::Deployment(deployment) = content
            && deployment.id == deployment_id(1)
        {
            deployment.is_enabled = false;
        }
    }
    let mut expired = World::standard();
    expired.key.expires_at = Some(Timestamp::from_micros(1));
    for (world, code) in [(narrowed, "model_not_allowed"), (disabled, "no_healthy_target"), (expired, "key_expired")] {
        let bench = Bench::new();
        let (mut client, _upstream) = session(&bench).await;
        bench.policy.store(Arc::new(world.snapshot()));
        assert_eq!(hear_event(&mut client).await["error"]["code"], code);
        assert_eq!(hear_close(&mut client).await, Some(1008), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_needs_a_place_among_those_in_flight() {
    let mut config = GatewayConfig::default();
    config.limits.max_in_flight_per_key = 2;
    let bench = Bench::with(config, &World::standard());
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut client, json!({"type": "response.create"})).await;
    say(&mut client, json!({"type": "response.create", "event_id": "second"})).await;
    let error = hear_event(&mut client).await;
    assert_eq!((&error["error"]["code"], &error["error"]["event_id"]), (&json!("rate_limited"), &json!("second")));
    assert_eq!(hear_event(&mut upstream).await["type"], "response.create");
    say(&mut upstream, created("resp_1")).await;
    say(&mut upstream, done("resp_1", "completed")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    assert_eq!(hear_event(&mut client).await["type"], "response.done");
    say(&mut client, json!({"type": "response.create", "event_id": "third"})).await;
    assert_eq!(hear_event(&mut upstream).await["event_id"], "third");
    // What the upstream makes by itself, at the end of speech, needs one as well.
    say(&mut upstream, created("resp_2")).await;
    say(&mut upstream, created("resp_3")).await;
    let cancel = hear_event(&mut upstream).await;
    assert_eq!((&cancel["type"], &cancel["response_id"]), (&json!("response.cancel"), &json!("resp_3")));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_dies_ends_the_session_with_its_turn() {
    let bench = Bench::new();
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut upstream, created("resp_1")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    drop(upstream);
    assert_eq!(hear_event(&mut client).await["error"]["code"], "upstream_error");
    assert_eq!(hear_close(&mut client).await, Some(1011));
    drop(client);
    let events = bench.ledger.wait(2).await;
    assert_eq!(
        (events[0].outcome, events[0].is_estimated, events[0].cost),
        (Outcome::UpstreamBroken, true, NanoUsd::ZERO)
    );
    assert_eq!((events[1].endpoint, events[1].outcome), (Endpoint::RealtimeSession, Outcome::UpstreamBroken));
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_counts_against_its_target() {
    let bench = Bench::new();
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut upstream, created("resp_1")).await;
    let details = json!({"type": "failed", "error": {"type": "server_error", "code": "server_error"}});
    say(&mut upstream, json!({"type": "response.done", "response": {"id": "resp_1", "status": "failed", "status_details": details, "usage": null}})).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    assert_eq!(hear_event(&mut client).await["type"], "response.done");
    let event = bench.event().await;
    assert_eq!((event.outcome, event.code.as_deref()), (Outcome::UpstreamFailed, Some("upstream_error")));
    assert_eq!((event.cost, event.is_estimated), (NanoUsd::ZERO, false));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_is_settled() {
    let bench = Bench::new();
    let (client, mut upstream) = session(&bench).await;
    drop(client);
    assert_eq!(hear_close(&mut upstream).await, Some(1001));
    let event = bench.event().await;
    assert_eq!((event.outcome, event.status), (Outcome::ClientClosed, 101));
    assert_eq!(bench.gateway.metrics().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_limit_is_refused() {
    let config = GatewayConfig {
        realtime: RealtimeLimits { max_message_bytes: MAX_MESSAGE, ..RealtimeLimits::default() },
        ..GatewayConfig::default()
    };
    let bench = Bench::with(config, &World::standard());
    let (mut client, _upstream) = session(&bench).await;
    client.send(Message::text("x".repeat(MAX_MESSAGE + 1))).await.expect("takes it");
    assert_eq!(hear_event(&mut client).await["error"]["code"], "request_too_large");
    assert_eq!(hear_close(&mut client).await, Some(1009));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_says_so_after_the_turn_under_way() {
    let bench = Bench::new();
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut upstream, created("resp_1")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    bench.lane.leave();
    say(&mut upstream, json!({"type": "response.output_text.delta", "delta": "still"})).await;
    assert_eq!(hear_event(&mut client).await["delta"], "still", "while it leaves, everybody is served");
    bench.lane.stop();
    say(&mut upstream, done("resp_1", "completed")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.done");
    assert_eq!(hear_event(&mut client).await["error"]["code"], "draining");
    assert_eq!(hear_close(&mut client).await, Some(1001));
    drop((client, upstream));
    let events = bench.ledger.wait(2).await;
    assert_eq!((events[0].outcome, events[1].code.as_deref()), (Outcome::Success, Some("draining")));
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_time_to_be_told_of() {
    let bench = Bench::with(GatewayConfig { drain_ms: 30_000, ..GatewayConfig::default() }, &World::standard());
    let (mut client, mut upstream) = session(&bench).await;
    say(&mut upstream, created("resp_1")).await;
    assert_eq!(hear_event(&mut client).await["type"], "response.created");
    let stopped_at = tokio::time::Instant::now();
    bench.lane.stop();
    assert_eq!(hear_event(&mut client).await["error"]["code"], "draining", "the turn never ends");
    assert_eq!(hear_close(&mut client).await, Some(1001));
    assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&stopped_at.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn echo_holds_sessions_without_an_upstream() {
    let bench = Bench::new();
    let (mut client, head) = Knock::at("/v1/realtime?model=echo%2Fecho-1").open(&bench.lane).await;
    assert_eq!(head["x-headgate-provider"], "echo");
    assert_eq!(hear_event(&mut client).await["session"]["model"], "echo-1");
    let content = json!([{"type": "input_text", "text": "Hello there"}]);
    say(
        &mut client,
        json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}),
    )
    .await;
    say(&mut client, json!({"type": "response.create"})).await;
    let mut text = String::new();
    loop {
        let event = hear_event(&mut client).await;
        match event["type"].as_str() {
            Some("response.output_text.delta") => text.push_str(event["delta"].as_str().expect("text")),
            Some("response.done") => break,
            _ => {}
        }
    }
    assert_eq!(text, "Hello there");
    let event = bench.event().await;
    assert_eq!((event.usage.input, event.usage.output, event.finish_reason.as_deref()), (3, 3, Some("stop")));
    assert!(event.cost > NanoUsd::ZERO);
}
