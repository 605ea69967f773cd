//! Client secrets through the whole gateway: what a server asks for, what a browser can do with it, and what nobody can.

use std::sync::Arc;
use std::time::Duration;

use domain::ModelPattern;
use domain::usage::Outcome;
use http::HeaderMap;
use policy::resource::KeyStatus;
use realtime::Socket;
use serde_json::{Value, json};

use super::realtime::{Knock, greeted, hear_close, hear_event};
use crate::harness::Bench;
use crate::harness::client::Ask;
use crate::harness::policy::{KEY, World, token};

/// 2026-11-22T12:00:00Z, when every test starts.
const STARTED_AT: i64 = 1_795_348_800;

fn ask(more: &Value) -> Ask {
    let mut session = json!({"type": "realtime", "model": "gpt"});
    for (name, value) in more.as_object().into_iter().flatten() {
        session[name] = value.clone();
    }
    Ask::post("/v1/realtime/client_secrets", json!({"session": session}).to_string())
}

async fn secret(bench: &Bench, more: &Value) -> String {
    let answer = bench.ask(ask(more)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["value"].as_str().expect("a secret").to_owned()
}

/// What a browser sends: no header but the names of subprotocols.
fn browser(path: &str, secret: &str) -> Knock {
    Knock::without_key(path)
        .with("sec-websocket-protocol", &format!("realtime, openai-insecure-api-key.{secret}"))
        .with("origin", "https://app.example")
}

async fn open(bench: &Bench, knock: Knock) -> (Socket, HeaderMap, Socket) {
    let ((mut client, head), upstream) = tokio::join!(knock.open(&bench.lane), greeted(bench, "openai.test"));
    assert_eq!(hear_event(&mut client).await["type"], "session.created");
    (client, head, upstream)
}

async fn refused(bench: &Bench, knock: Knock) -> (u16, String) {
    let (status, error) = knock.refused(&bench.lane).await;
    (status, error["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_browser_opens_the_session_that_its_server_set_up() {
    let bench = Bench::new();
    let answer = bench.ask(ask(&json!({"instructions": "Be kind.", "audio": {"output": {"voice": "marin"}}}))).await;
    let made = answer.json();
    let secret = made["value"].as_str().expect("a secret");
    assert!(secret.starts_with("hge_") && !answer.text().contains(token().expose()), "{made}");
    assert_eq!((&made["expires_at"], &made["session"]["model"]), (&json!(STARTED_AT + 600), &json!("gpt")));
    // No model in the address: the secret has it.
    let (client, head, mut upstream) = open(&bench, browser("/v1/realtime", secret)).await;
    assert_eq!(head["sec-websocket-protocol"], "realtime");
    let first = hear_event(&mut upstream).await;
    let session = json!({"type": "realtime", "instructions": "Be kind.", "audio": {"output": {"voice": "marin"}}});
    assert_eq!((&first["type"], &first["session"]), (&json!("session.update"), &session));
    let call = &bench.upstreams.calls()[0];
    assert!(!format!("{} {:?}", call.path, call.headers).contains("hge_"), "{:?}", call.headers);
    drop((client, upstream));
    let event = bench.event().await;
    assert_eq!((event.virtual_key_id, event.outcome), (KEY, Outcome::ClientClosed));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_good_for_one_model_one_surface_and_a_while() {
    let bench = Bench::new();
    let secret = secret(&bench, &json!({})).await;
    let (_client, _, _upstream) = open(&bench, browser("/v1/realtime?model=gpt", &secret)).await;
    let other = browser("/v1/realtime?model=chain", &secret);
    assert_eq!(refused(&bench, other).await, (403, "model_not_allowed".to_owned()));
    // Nothing else takes it, making another included.
    let bearer = format!("Bearer {secret}");
    for (path, body) in [
        ("/v1/chat/completions", json!({"model": "gpt", "messages": []})),
        ("/v1/realtime/client_secrets", json!({"session": {"model": "gpt"}})),
    ] {
        let asked = Ask::new(http::Method::POST, path, body.to_string()).header("authorization", bearer.clone());
        let answer = bench.ask(asked).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "key_invalid"), "{path}");
    }
    let forged = format!("{}{}", &secret[..secret.len() - 1], if secret.ends_with('0') { "1" } else { "0" });
    for junk in [forged.as_str(), "hge_", "hge_abcdefghijkl.e30.00"] {
        assert_eq!(refused(&bench, browser("/v1/realtime", junk)).await, (401, "key_invalid".to_owned()), "{junk}");
    }
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(refused(&bench, browser("/v1/realtime", &secret)).await, (401, "key_expired".to_owned()));
    assert_eq!(bench.upstreams.n_dials(), 1, "only the one that was good");
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_secret_and_not_the_key() {
    let bench = Bench::new();
    let brief = json!({"expires_after": {"anchor": "created_at", "seconds": 10}, "session": {"model": "gpt"}});
    let made = bench.ask(Ask::post("/v1/realtime/client_secrets", brief.to_string())).await.json();
    let secret = made["value"].as_str().expect("a secret");
    let (mut client, _, _upstream) = open(&bench, browser("/v1/realtime", secret)).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(refused(&bench, browser("/v1/realtime", secret)).await.1, "key_expired");
    let mut world = World::standard();
    world.key.status = KeyStatus::Revoked;
    bench.policy.store(Arc::new(world.snapshot()));
    assert_eq!(hear_event(&mut client).await["error"]["code"], "key_revoked");
    assert_eq!(hear_close(&mut client).await, Some(1008));
    assert_eq!(refused(&bench, browser("/v1/realtime", secret)).await, (401, "key_revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_a_key_may_not_do_its_secrets_may_not() {
    let mut world = World::standard();
    world.allow("claude");
    let bench = Bench::of(&world);
    let answer = bench.ask(ask(&json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "model_not_allowed"));
    // A key narrowed after the secret was made.
    let bench = Bench::new();
    let secret = secret(&bench, &json!({})).await;
    bench.policy.store(Arc::new(world.snapshot()));
    assert_eq!(refused(&bench, browser("/v1/realtime", &secret)).await, (403, "model_not_allowed".to_owned()));
    // A key that ends sooner than the secret would.
    let mut world = World::standard();
    world.key.expires_at = Some(world.confirmed_at.plus(Duration::from_secs(60)));
    let answer = Bench::of(&world).ask(ask(&json!({}))).await;
    assert_eq!(answer.json()["expires_at"], STARTED_AT + 60);
}

#[tokio::test(start_paused = true)]
async fn the_older_address_and_what_is_not_served_answer_in_words() {
    let bench = Bench::new();
    let answer =
        bench.ask(Ask::post("/v1/realtime/sessions", json!({"model": "gpt", "voice": "verse"}).to_string())).await;
    let made = answer.json();
    assert_eq!(
        (&made["object"], &made["client_secret"]["expires_at"]),
        (&json!("realtime.session"), &json!(STARTED_AT + 60))
    );
    let answer = bench.ask(ask(&json!({"tools": [{"type": "mcp", "authorization": "canary"}]}))).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["param"].as_str()), (400, Some("session.tools")));
    assert!(!answer.text().contains("canary"));
    for (path, word) in [
        ("/v1/realtime/calls", "WebRTC"),
        ("/v1/realtime/transcription_sessions", "intent=transcription"),
        ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "Gemini Live"),
    ] {
        let answer = bench.ask(Ask::post(path, "{}")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "endpoint_unknown"), "{path}");
        assert!(answer.text().contains(word), "{path}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn what_writes_down_is_held_against_the_keys_list() {
    let mut world = World::standard();
    world.deployment(21, "listener", "openai", "http://openai.test/v1");
    world.deployment(22, "hidden", "openai", "http://openai.test/v1");
    world.key.models =
        Some(["gpt", "listener", "openai/whisper-*"].map(|it| ModelPattern::parse(it).expect("a pattern")).to_vec());
    let bench = Bench::of(&world);
    let heard = |model: &str| json!({"audio": {"input": {"transcription": {"model": model}}}});
    let secret = secret(&bench, &heard("up-22")).await;
    let (mut client, _, mut upstream) = open(&bench, browser("/v1/realtime", &secret)).await;
    // What the server set up is no more than the key may do.
    assert_eq!(hear_event(&mut client).await["error"]["code"], "model_not_allowed");
    for (model, is_allowed) in [("up-21", true), ("whisper-1", true), ("gpt-4o-transcribe", false)] {
        super::realtime::say(&mut client, json!({"type": "session.update", "session": heard(model)})).await;
        if is_allowed {
            assert_eq!(hear_event(&mut upstream).await["session"], heard(model), "{model}");
        } else {
            let error = &hear_event(&mut client).await["error"];
            assert_eq!(error["code"], "model_not_allowed", "{model}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains(model)), "{error}");
        }
    }
}
