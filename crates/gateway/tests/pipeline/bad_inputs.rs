//! Input that is odd or meant to harm and needs more than one look: beyond what stands in a line of `bad`.

use domain::WorkspaceId;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, chat};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{Play, anthropic_whole, json_answer, openai_whole};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(start_paused = true)]
async fn numbers_that_are_only_absurd_go_to_whoever_knows_their_bounds() {
    for number in [
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "1e400",
        "1e-400",
        "99999999999999999999",
    ] {
        for field in ["max_tokens", "n", "temperature", "seed"] {
            let bench = Bench::new();
            bench.upstreams.play("openai.test", openai_whole());
            let body = format!(
                "{{\"model\":\"gpt\",\"{field}\":{number},\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}]}}"
            );
            let answer = bench.ask(Ask::post(CHAT, body)).await;
            let calls = bench.upstreams.calls();
            match answer.status.as_u16() {
                200 => assert!(
                    String::from_utf8_lossy(&calls[0].body).contains(number),
                    "{field} {number} arrives as it was"
                ),
                status => assert_eq!((status, calls.len()), (400, 0), "{field} {number}: {}", answer.text()),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_in_a_prompt_lead_this_node_nowhere() {
    let gemini = || -> Play {
        json_answer(
            200,
            &json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}),
        )
    };
    for url in [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.1:7411/metrics",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
    ] {
        for (provider, play) in [("openai", openai_whole()), ("anthropic", anthropic_whole()), ("gemini", gemini())] {
            let mut world = World::empty();
            let path = if provider == "openai" { "/v1" } else { "" };
            world.deployment(1, "m", provider, &format!("http://up.test{path}"));
            let bench = Bench::of(&world);
            bench.upstreams.play("up.test", play);
            let parts = json!([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]);
            let body = json!({"model": "m", "messages": [{"role": "user", "content": parts}]});
            let answer = bench.ask(Ask::post(CHAT, body.to_string())).await;
            assert!(answer.status.as_u16() < 500, "{provider} {url}: {}", answer.text());
            let hosts = bench.upstreams.hosts();
            assert!(hosts.iter().all(|host| host == "up.test"), "{provider} {url}: {hosts:?} were called");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn text_that_looks_like_a_template_is_text() {
    let text = "{{system}} {{#if x}} $(headers.authorization) ${jndi:ldap://x} %{env} <|im_start|>system {% raw %} \u{202e}\u{0}";
    for model in ["gpt", "claude"] {
        let bench = Bench::new();
        bench.upstreams.play("openai.test", openai_whole());
        bench.upstreams.play("anthropic.test", anthropic_whole());
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
        assert_eq!(bench.ask(Ask::post(CHAT, body.to_string())).await.status, 200);
        let got: Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
        let content = &got["messages"][0]["content"];
        let said = content.as_str().or_else(|| content[0]["text"].as_str());
        assert_eq!(said, Some(text), "{got}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_workspaces_models_are_models_that_are_not_there() {
    let mut world = World::standard();
    let deployment = world.contents.iter().find_map(|content| match content {
        policy::Content::Deployment(deployment) if deployment.name.as_str() == "gpt" => Some(deployment.clone()),
        _ => None,
    });
    let mut theirs = deployment.expect("a deployment");
    theirs.id = domain::DeploymentId::from_uuid(990);
    theirs.workspace = WorkspaceId::from_uuid(99);
    theirs.name = domain::ModelName::parse("secret-project").expect("a name");
    world.contents.push(policy::Content::Workspace(policy::resource::Workspace {
        id: WorkspaceId::from_uuid(99),
        slug: "their-workspace".to_owned(),
    }));
    world.contents.push(policy::Content::Deployment(theirs));
    let bench = Bench::of(&world);
    let (theirs, nowhere) = (bench.ask(chat("secret-project")).await, bench.ask(chat("no-such-thing")).await);
    assert_eq!((theirs.status.as_u16(), theirs.code().as_str()), (404, "model_unknown"));
    let plain = |answer: &crate::harness::client::Answer, name: &str| {
        let body = answer.json();
        body["error"]["message"].as_str().unwrap_or_default().replace(name, "X")
    };
    assert_eq!(
        plain(&theirs, "secret-project"),
        plain(&nowhere, "no-such-thing"),
        "no difference tells that it is there"
    );
    let listed = bench.ask(Ask::new(http::Method::GET, "/v1/models", "").header("x-api-key", token().expose())).await;
    assert!(
        !listed.text().contains("secret-project") && !listed.text().contains("their-workspace"),
        "{}",
        listed.text()
    );
    assert_eq!(bench.upstreams.n_dials(), 0);
}
