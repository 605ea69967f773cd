//! `GET /explain` says which revision and which rule decide a call: golden answers, one for each way a call can be decided.

use std::fmt::Write as _;
use std::path::Path;

use domain::Timestamp;
use gateway::GatewayConfig;
use policy::resource::KeyStatus;

use super::{get, start_in};
use crate::harness::policy::{World, token};

/// Asks a node that holds `world`.
async fn ask(world: World, model: &str) -> String {
    let running = start_in(GatewayConfig::default(), world).await;
    let (status, body) = get(running.handle.admin_addr, &format!("/explain?kid={}&model={model}", token().kid())).await;
    assert_eq!(status, 200, "{body}");
    running.handle.drain().await;
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

#[tokio::test]
async fn explain_names_the_revision_and_the_rule_that_decide() {
    let standard = World::standard();
    let mut revoked = standard.clone();
    revoked.key.status = KeyStatus::Revoked;
    let mut expired = standard.clone();
    expired.key.expires_at = Some(Timestamp::from_micros(1));
    let mut limited = standard.clone();
    limited.key.models = Some(vec!["claude".parse().expect("a pattern")]);
    let cases = [
        ("a route", standard.clone(), "chain"),
        ("a deployment", standard.clone(), "gpt"),
        ("nothing of that name", standard, "none"),
        ("a revoked key", revoked, "gpt"),
        ("an expired key", expired, "gpt"),
        ("a key that may not", limited, "gpt"),
    ];
    let mut text = String::new();
    for (what, world, model) in cases {
        let answer = ask(world, model).await;
        assert!(!answer.contains("canary"), "{answer}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "=== {what}: {model}\n{answer}");
    }
    testkit::golden::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/listener/explain.golden.txt"), &text);
}
