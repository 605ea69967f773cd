//! Secrets that are exchanged first: asked for once, kept, asked for again in time, and never told.

use std::time::Duration;

use domain::route::Timeouts;
use domain::usage::AttemptOutcome;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{Ask, chat};
use crate::harness::policy::World;
use crate::harness::upstream::{Call, Play, json_answer, openai_whole, raw_answer};

const VERTEX: &str = "http://vertex.test/v1/projects/p/locations/us-central1";
const AZURE: &str = "http://azure.test";
const BEDROCK: &str = "http://bedrock-runtime.eu-west-1.test";

fn service_account() -> String {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key").serialize_pem();
    json!({"type": "service_account", "client_email": "gate@p.iam.test", "private_key": key, "private_key_id": "canary",
        "token_uri": "http://localhost/token"})
    .to_string()
}

fn application() -> String {
    json!({"tenant_id": "t-1", "client_id": "c-1", "client_secret": "canary", "authority": "http://localhost"})
        .to_string()
}

fn role(more: &serde_json::Value) -> String {
    let mut secret =
        json!({"role_arn": "arn:aws:iam::1:role/r", "region": "eu-west-1", "sts_endpoint": "http://localhost/"});
    for (name, value) in more.as_object().expect("fields") {
        secret[name] = value.clone();
    }
    secret.to_string()
}

fn token(token: &str, seconds: u64) -> Play {
    json_answer(200, &json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"}))
}

fn gemini() -> Play {
    json_answer(
        200,
        &json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}}),
    )
}

fn converse() -> Play {
    json_answer(
        200,
        &json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}}),
    )
}

fn keys(id: &str) -> Play {
    let xml = format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s2</SecretAccessKey>\
         <SessionToken>session-1</SessionToken><Expiration>2026-11-22T13:00:00Z</Expiration></Credentials></AssumeRoleResult>\
         </AssumeRoleResponse>"
    );
    raw_answer(200, "text/xml", xml)
}

fn bench_of(provider: &str, base_url: &str, secret: &str) -> Bench {
    let mut world = World::empty();
    world.deployment_with(1, "m", provider, base_url, secret);
    Bench::of(&world)
}

fn sent_to<'c>(calls: &'c [Call], host: &str) -> Vec<&'c Call> {
    calls.iter().filter(|call| call.host == host).collect()
}

fn authorization(call: &Call) -> String {
    call.headers["authorization"].to_str().expect("text").to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_exchange_serves_all_calls_that_wait() {
    let bench = bench_of("vertex", VERTEX, &service_account());
    let gate = crate::harness::upstream::Upstreams::gate();
    let body = json!({"access_token": "ya29.one", "expires_in": 3_599}).to_string();
    bench.upstreams.play(
        "localhost",
        Play::Answer {
            status: 200,
            headers: vec![("content-length", body.len().to_string())],
            steps: vec![
                crate::harness::upstream::Step::Gate(gate.clone()),
                crate::harness::upstream::Step::Chunk(body.into()),
            ],
        },
    );
    for _ in 0..50 {
        bench.upstreams.play("vertex.test", gemini());
    }
    let calls = futures_util::future::join_all((0..50).map(|_| bench.ask(chat("m"))));
    let opened = async {
        bench.upstreams.wait_for_calls(1).await;
        gate.notify_one();
    };
    let (answers, ()) = tokio::join!(calls, opened);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let calls = bench.upstreams.calls();
    assert_eq!(sent_to(&calls, "localhost").len(), 1);
    let served = sent_to(&calls, "vertex.test");
    assert_eq!(served.len(), 50);
    assert!(served.iter().all(|call| authorization(call) == "Bearer ya29.one"));
    assert!(calls.iter().all(|call| !format!("{call:?}").contains("BEGIN")), "the key itself is never sent");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_and_while_it_holds_nobody_waits() {
    let bench = bench_of("vertex", VERTEX, &service_account());
    bench.upstreams.play("localhost", token("ya29.one", 3_600));
    for _ in 0..2 {
        bench.upstreams.play("vertex.test", gemini());
    }
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    tokio::time::advance(Duration::from_secs(3_600 - 200)).await;
    bench.upstreams.play("localhost", token("ya29.two", 3_600));
    assert_eq!(bench.ask(chat("m")).await.status, 200, "served with the token that still holds");
    let used =
        || -> Vec<_> { sent_to(&bench.upstreams.calls(), "vertex.test").into_iter().map(authorization).collect() };
    assert_eq!(used(), ["Bearer ya29.one", "Bearer ya29.one"]);
    // The renewal runs beside the calls and ends before one of the next.
    for _ in 0..100 {
        bench.upstreams.play("vertex.test", gemini());
        assert_eq!(bench.ask(chat("m")).await.status, 200);
    }
    assert_eq!(used().last().map(String::as_str), Some("Bearer ya29.two"));
    assert_eq!(sent_to(&bench.upstreams.calls(), "localhost").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_exchange_fails_the_credential_and_tells_no_secret() {
    let mut world = World::empty();
    world.deployment_with(1, "first", "azure_openai", AZURE, &application());
    world.deployment(2, "second", "openai", "http://openai.test/v1");
    world.route(1, "chain", &[1, 2], 3, Timeouts::default());
    let bench = Bench::of(&world);
    let refusal = json!({"error": "invalid_client", "error_description": "AADSTS7000215: not canary"});
    bench.upstreams.play("localhost", json_answer(401, &refusal));
    let refused = bench.ask(chat("first")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (502, "upstream_error"));
    assert!(refused.text().contains("could not be exchanged for a token"), "{}", refused.text());
    assert!(!refused.text().contains("canary") && !refused.text().contains("AADSTS"), "{}", refused.text());
    bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200, "another credential serves");
    assert_eq!(bench.upstreams.hosts(), ["localhost", "openai.test"], "the refusal stands for a moment");
    let events = bench.ledger.wait(2).await;
    assert_eq!(events[1].attempts[0].outcome, AttemptOutcome::Unsendable);
    // Later it is tried again: the application may have been mended.
    tokio::time::advance(Duration::from_secs(6)).await;
    bench.upstreams.play("localhost", token("eyJ.a.b", 3_600));
    bench.upstreams.play("azure.test", openai_whole());
    assert_eq!(bench.ask(chat("first")).await.status, 200);
    let calls = bench.upstreams.calls();
    assert_eq!(authorization(sent_to(&calls, "azure.test")[0]), "Bearer eyJ.a.b");
    assert_eq!(sent_to(&calls, "localhost")[1].path, "/t-1/oauth2/v2.0/token");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_token_counts_against_the_calls_time() {
    let mut world = World::empty();
    world.deployment_with(1, "slow", "azure_openai", AZURE, &application());
    let timeouts = Timeouts { first_byte_ms: 3_000, ..Timeouts::default() };
    world.route(1, "m", &[1], 1, timeouts);
    let bench = Bench::of(&world);
    bench.upstreams.play("localhost", Play::Hang);
    let started = tokio::time::Instant::now();
    let answer = bench.ask(chat("m")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "upstream_timeout"));
    assert!(started.elapsed() < Duration::from_millis(3_200), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_upstream_does_not_take_is_asked_for_anew() {
    let bench = bench_of("azure_openai", AZURE, &application());
    bench.upstreams.play("localhost", token("eyJ.one", 3_600));
    bench.upstreams.play("azure.test", openai_whole());
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    tokio::time::advance(Duration::from_secs(60)).await;
    bench.upstreams.play("azure.test", json_answer(401, &json!({"error": {"code": "401", "message": "expired"}})));
    assert_eq!(bench.ask(chat("m")).await.status, 502);
    bench.upstreams.play("localhost", token("eyJ.two", 3_600));
    bench.upstreams.play("azure.test", openai_whole());
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    let calls = bench.upstreams.calls();
    assert_eq!(authorization(sent_to(&calls, "azure.test")[2]), "Bearer eyJ.two");
}

#[tokio::test(start_paused = true)]
async fn roles_are_taken_on_with_keys_and_with_web_identities() {
    for (secret, action, is_signed) in [
        (role(&json!({"access_key_id": "AKID", "secret_access_key": "canary"})), "Action=AssumeRole&", true),
        (role(&json!({"web_identity_token": "e.y.j"})), "Action=AssumeRoleWithWebIdentity&", false),
    ] {
        let bench = bench_of("bedrock", BEDROCK, &secret);
        bench.upstreams.play("localhost", keys("ASIA1"));
        for _ in 0..2 {
            bench.upstreams.play("bedrock-runtime.eu-west-1.test", converse());
            let answer = bench.ask(chat("m")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let calls = bench.upstreams.calls();
        let asked = sent_to(&calls, "localhost");
        assert_eq!(asked.len(), 1);
        assert!(asked[0].body.starts_with(action.as_bytes()), "{:?}", asked[0].body);
        assert_eq!(asked[0].headers.contains_key("authorization"), is_signed);
        for call in sent_to(&calls, "bedrock-runtime.eu-west-1.test") {
            assert!(authorization(call).contains("Credential=ASIA1/20261122/eu-west-1/bedrock"), "{call:?}");
            assert_eq!(call.headers["x-amz-security-token"], "session-1");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn temporary_keys_sign_as_they_are() {
    let secret =
        json!({"access_key_id": "ASIA9", "secret_access_key": "s", "session_token": "given", "region": "eu-west-1"});
    let bench = bench_of("bedrock", BEDROCK, &secret.to_string());
    bench.upstreams.play("bedrock-runtime.eu-west-1.test", converse());
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    let calls = bench.upstreams.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].headers["x-amz-security-token"], "given");
}

#[tokio::test(start_paused = true)]
async fn showing_a_request_exchanges_nothing() {
    let bench = bench_of("vertex", VERTEX, &service_account());
    let body =
        json!({"surface": "chat_completions", "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}});
    let shown = bench.ask(Ask::post("/v1/headgate/transform", body.to_string())).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert_eq!(shown.json()["request"]["headers"]["authorization"], "Bearer (hidden)");
    assert!(bench.upstreams.calls().is_empty());
}
