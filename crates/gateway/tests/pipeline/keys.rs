//! The five ways to send a key, none of which reaches an upstream; and what is said of bad and unverifiable keys.

use domain::Timestamp;
use domain::usage::Outcome;
use http::Method;
use serde_json::json;

use crate::harness::client::{Answer, Ask, chat};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{anthropic_whole, openai_whole};
use crate::harness::{Bench, START};

const STYLES: [(&str, &str); 5] =
    [("authorization", "Bearer "), ("x-api-key", ""), ("api-key", ""), ("x-goog-api-key", ""), ("x-headgate-key", "")];

fn ask_with(headers: &[(&'static str, String)], model: &str) -> Ask {
    let body = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let ask = Ask::new(Method::POST, "/v1/chat/completions", body.to_string());
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value.clone()))
}

fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn five_styles_work_and_never_reach_an_upstream() {
    let bench = Bench::new();
    for (name, prefix) in STYLES {
        let key = format!("{prefix}{}", token().expose());
        bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(bench.ask(ask_with(&[(name, key.clone())], "gpt")).await.status, 200, "{name}");
        bench.upstreams.play("anthropic.test", anthropic_whole());
        assert_eq!(bench.ask(ask_with(&[(name, key)], "claude")).await.status, 200, "{name}");
    }
    let calls = bench.upstreams.calls();
    assert_eq!(calls.len(), 10);
    for call in calls {
        let shown = format!("{:?} {:?}", call.headers, call.body);
        assert!(!shown.contains("hgk_"), "{shown}");
        for foreign in ["x-headgate-key", "x-goog-api-key", "api-key", "cookie"] {
            assert!(call.headers.get(foreign).is_none(), "{foreign}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_client_header_passes_that_is_not_on_the_list() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    let ask = chat("gpt")
        .header("cookie", "session=1")
        .header("x-forwarded-for", "1.2.3.4")
        .header("openai-organization", "org-x")
        .header("x-anything", "1");
    bench.ask(ask).await;
    let headers = bench.upstreams.calls()[0].headers.clone();
    for name in ["cookie", "x-forwarded-for", "openai-organization", "x-anything", "x-headgate-key"] {
        assert!(headers.get(name).is_none(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_keys_are_401_and_make_no_event() {
    let bench = Bench::new();
    let good = token().expose().to_owned();
    let other = domain::TokenSecret::rotate(
        domain::TokenKind::VirtualKey,
        'd',
        token().kid(),
        &domain::rng::SeededEntropy::new(5),
    );
    let bearer = |text: &str| vec![("authorization", format!("Bearer {text}"))];
    for headers in [
        vec![],
        bearer("sk-proj-1234567890"),
        bearer(&good[..good.len() - 1]),
        bearer(other.expose()),
        bearer(&"x".repeat(5_000)),
        vec![("authorization", "Basic eDp5".to_owned())],
        vec![("authorization", format!("Bearer {good}")), ("x-api-key", "sk-other".to_owned())],
    ] {
        check(&bench.ask(ask_with(&headers, "gpt")).await, 401, "key_invalid");
    }
    assert!(bench.ledger.events.lock().is_empty());
    assert_eq!(bench.upstreams.n_dials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_says_whether_it_showed_the_old_secret_of_a_rotation() {
    let start: Timestamp = START.parse().expect("an instant");
    for retires_at in [None, Some(start.plus(std::time::Duration::from_secs(3_600)))] {
        let mut world = World::standard();
        world.key.secrets[0].retires_at = retires_at;
        let bench = Bench::of(&world);
        bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(bench.ask(chat("gpt")).await.status, 200);
        assert_eq!(bench.event().await.is_by_old_secret, retires_at.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_models_goes_by_the_name_that_the_call_gives() {
    // One deployment under its two names: the public one, and what its provider calls it.
    for (lists, by_name, by_provider) in [
        (&[][..], 200, 200),
        (&["gpt"], 200, 403),
        (&["openai/up-1"], 403, 200),
        (&["openai/*"], 403, 200),
        (&["gpt", "openai/up-1"], 200, 200),
        (&["*"], 200, 200),
    ] {
        let mut world = World::standard();
        for pattern in lists {
            world.allow(pattern);
        }
        let bench = Bench::of(&world);
        for (name, status) in [("gpt", by_name), ("openai/up-1", by_provider)] {
            if status == 200 {
                bench.upstreams.play("openai.test", openai_whole());
            }
            let answer = bench.ask(chat(name)).await;
            check(&answer, status, if status == 200 { "" } else { "model_not_allowed" });
        }
        for call in bench.upstreams.calls() {
            let sent: serde_json::Value = serde_json::from_slice(&call.body).expect("JSON");
            assert_eq!(sent["model"], "up-1");
        }
        let get = Ask::new(Method::GET, "/v1/models", "").header("x-api-key", token().expose());
        let listed = bench.ask(get).await.json();
        let names: Vec<_> = listed["data"].as_array().into_iter().flatten().map(|model| &model["id"]).collect();
        assert_eq!(names.contains(&&json!("gpt")), by_name == 200, "{lists:?}: {names:?}");
        assert!(!names.contains(&&json!("openai/up-1")), "a model is listed once, by its own name: {names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn revoked_and_expired_are_told_to_the_holder() {
    let mut world = World::standard();
    world.key.status = policy::resource::KeyStatus::Revoked;
    check(&Bench::of(&world).ask(chat("gpt")).await, 401, "key_revoked");
    let mut world = World::standard();
    world.key.expires_at = Some(START.parse().expect("an instant"));
    check(&Bench::of(&world).ask(chat("gpt")).await, 401, "key_expired");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_verified_is_503_with_a_time_to_come_back() {
    let mut world = World::standard();
    world.confirmed_at = Timestamp::from_micros(0);
    let bench = Bench::of(&world);
    let answer = bench.ask(ask_with(&[("x-api-key", token().expose().to_owned())], "gpt")).await;
    check(&answer, 503, "policy_stale");
    assert_eq!(answer.header("retry-after"), "5");
    // What cannot be a key of anybody is known to be wrong, whatever policy says.
    check(&bench.ask(ask_with(&[("x-api-key", "hgk_d1_unknown".to_owned())], "gpt")).await, 401, "key_invalid");
    let bench = Bench::new();
    bench.policy.store(std::sync::Arc::default());
    check(&bench.ask(chat("gpt")).await, 503, "policy_stale");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_ends_on_the_policy_it_began_with() {
    let bench = Bench::new();
    bench.upstreams.play(
        "openai.test",
        crate::harness::upstream::stream(vec![
            crate::harness::upstream::chunk("Hello"),
            crate::harness::upstream::chunk(" there"),
            crate::harness::upstream::Step::Chunk("data: [DONE]\n\n".into()),
        ]),
    );
    let mut connection = crate::harness::client::Connection::open(&bench.lane).await;
    let response = connection.start(crate::harness::client::chat_stream("gpt")).await;
    let mut revoked = World::standard();
    revoked.key.status = policy::resource::KeyStatus::Revoked;
    bench.policy.store(std::sync::Arc::new(revoked.snapshot()));
    let answer = crate::harness::client::read(response).await;
    assert!(answer.text().ends_with("[DONE]\n\n"));
    assert_eq!(bench.event().await.outcome, Outcome::Success);
    check(&bench.ask(chat("gpt")).await, 401, "key_revoked");
}
