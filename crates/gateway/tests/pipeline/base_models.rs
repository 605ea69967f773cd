//! Deployments whose upstream names a model otherwise than the catalog: what is known of the model holds all the same.

use domain::model::{Capability, Modality, ModelFacts, ModelKind};
use http::Method;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::Ask;
use crate::harness::policy::{World, token};
use crate::harness::upstream::{anthropic_whole, openai_whole};

fn ask(body: &Value) -> Ask {
    Ask::post("/v1/chat/completions", body.to_string())
}

fn hot() -> Value {
    json!({"model": "gpt", "temperature": 0.2, "messages": [{"role": "user", "content": "Hi"}]})
}

#[tokio::test(start_paused = true)]
async fn a_deployment_has_the_limits_abilities_and_price_of_the_model_that_it_is() {
    let mut world = World::standard();
    world.base_model(1, "openai/gpt-5");
    let bench = Bench::of(&world);
    let shown = Ask::new(Method::GET, "/v1/models/gpt", "").header("x-api-key", token().expose());
    let shown = bench.ask(shown).await.json();
    let known = provider::catalog::find("openai", "gpt-5").expect("a model of the catalog");
    assert_eq!(shown["context_length"], json!(known.facts.context_tokens), "{shown}");

    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(ask(&hot())).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-headgate-cost-usd")), (200, "0.00006"));
    assert_eq!(answer.header("x-headgate-dropped"), "temperature", "a model that thinks takes none");
    let sent: Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
    assert_eq!(
        (&sent["model"], &sent["temperature"]),
        (&json!("up-1"), &Value::Null),
        "the upstream's own name is sent"
    );
    let event = &bench.ledger.wait(1).await[0];
    assert_eq!(event.upstream_model.as_deref(), Some("up-1"));
}

#[tokio::test(start_paused = true)]
async fn an_own_price_of_the_very_name_goes_before_that_of_the_model() {
    let mut world = World::standard();
    world.base_model(1, "openai/gpt-5");
    world.own_price(1);
    let bench = Bench::of(&world);
    bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(bench.ask(ask(&hot())).await.header("x-headgate-cost-usd"), "0.00002");
}

/// A model of which only its organization knows.
fn own() -> ModelFacts {
    ModelFacts {
        kind: ModelKind::Chat,
        context_tokens: 7_000,
        max_output_tokens: Some(900),
        capabilities: vec![Capability::Tools, Capability::Reasoning],
        input: vec![Modality::Text],
        output: vec![Modality::Text],
        dimensions: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_organization_says_of_a_model_goes_before_the_catalog() {
    let mut world = World::standard();
    world.base_model(1, "openai/gpt-5");
    world.describe(1, Some(&own()), None);
    let bench = Bench::of(&world);
    let shown = Ask::new(Method::GET, "/v1/models/gpt", "").header("x-api-key", token().expose());
    let shown = bench.ask(shown).await.json();
    assert_eq!(
        (&shown["context_length"], &shown["top_provider"]["max_completion_tokens"]),
        (&json!(7_000), &json!(900))
    );
    let parameters = shown["supported_parameters"].to_string();
    assert!(parameters.contains("tools") && !parameters.contains("response_format"), "{parameters}");
}

#[tokio::test(start_paused = true)]
async fn a_translated_call_says_what_a_described_model_understands() {
    let body = json!({"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}});
    for (capabilities, is_native) in
        [(vec![Capability::JsonSchema, Capability::Tools], true), (vec![Capability::Tools], false)]
    {
        let mut world = World::standard();
        world.describe(2, Some(&ModelFacts { capabilities, ..own() }), None);
        let bench = Bench::of(&world);
        bench.upstreams.play("anthropic.test", anthropic_whole());
        assert_eq!(bench.ask(ask(&body)).await.status, 200);
        let sent: Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
        assert_eq!(
            (sent.get("output_config").is_some() || sent.get("output_format").is_some(), sent.get("tools").is_some()),
            (is_native, !is_native),
            "{sent}"
        );
    }
}
