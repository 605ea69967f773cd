//! Input that is odd or meant to harm, beyond what cannot be read at all (`hostile`): each has its answer, what is refused
//! reaches no upstream, and what is let through arrives as it was.

use domain::WorkspaceId;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, chat};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{Play, anthropic_whole, json_answer, openai_whole};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(start_paused = true)]
async fn numbers_that_are_none() {
    let bench = Bench::new();
    for number in
        ["NaN", "Infinity", "-Infinity", "0x10", "01", "1.", ".5", "+1", "-1", "1.5", "\"7\"", "[]", "{}", "true"]
    {
        let body = format!(
            "{{\"model\":\"gpt\",\"max_tokens\":{number},\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}]}}"
        );
        for path in [CHAT, "/v1/messages"] {
            let answer = bench.ask(Ask::post(path, body.clone())).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (400, "request_invalid"),
                "{number}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(bench.upstreams.n_dials(), 0);
}

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
async fn a_great_many_of_everything() {
    let message = |n: usize| json!({"role": if n.is_multiple_of(2) { "user" } else { "assistant" }, "content": format!("turn {n}")});
    let tool =
        |n: usize| json!({"type": "function", "function": {"name": format!("f{n}"), "parameters": {"type": "object"}}});
    let many_messages = json!({"model": "M", "messages": (0..10_001).map(message).collect::<Vec<_>>()});
    let many_tools =
        json!({"model": "M", "tools": (0..10_000).map(tool).collect::<Vec<_>>(), "messages": [message(0)]});
    let keys: serde_json::Map<String, Value> = (0..100_000).map(|n| (format!("k{n}"), json!(n))).collect();
    let many_keys = json!({"model": "M", "metadata": keys, "messages": [message(0)]});
    let deep =
        (0..100).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"inner": inner}}));
    let nested = json!({"model": "M", "messages": [message(0)], "tools": [{"type": "function", "function": {"name": "f", "parameters": deep}}]});
    let recursive = json!({"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"});
    let recursive = json!({"model": "M", "messages": [message(0)],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": recursive}}]});
    for (name, body) in [
        ("messages", many_messages),
        ("tools", many_tools),
        ("keys", many_keys),
        ("a nested schema", nested),
        ("a recursive schema", recursive),
    ] {
        for model in ["gpt", "claude"] {
            let bench = Bench::new();
            bench.upstreams.play("openai.test", openai_whole());
            bench.upstreams.play("anthropic.test", anthropic_whole());
            let mut body = body.clone();
            body["model"] = json!(model);
            let answer = bench.ask(Ask::post(CHAT, body.to_string())).await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 400),
                "{name} for {model}: {} {}",
                answer.status,
                answer.text()
            );
            assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served after {name}");
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

#[tokio::test(start_paused = true)]
async fn connections_that_play_tricks() {
    let bench = Bench::new();
    let key = token().expose().to_owned();
    let list = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n");
    // A thousand requests at once are answered in their order, each once.
    let pipelined = bench.raw(&[list.repeat(1_000).as_bytes()]).await;
    assert_eq!(pipelined.matches("HTTP/1.1 200").count(), 1_000);
    // An upgrade is not granted, and what follows is a request of its own.
    let upgrade = format!(
        "GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    let upgraded = bench
        .raw(&[format!("{upgrade}GET /v1/nothing HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n").as_bytes()])
        .await;
    assert!(!upgraded.contains("HTTP/1.1 101"), "{upgraded}");
    assert_eq!(
        (upgraded.matches("HTTP/1.1 200").count(), upgraded.matches("HTTP/1.1 404").count()),
        (1, 1),
        "{upgraded}"
    );
    for (name, request) in [
        ("two hosts", format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\nx-api-key: {key}\r\n\r\n")),
        (
            "another host in the line",
            format!("GET http://evil.test/v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n"),
        ),
        ("no host", format!("GET /v1/models HTTP/1.1\r\nx-api-key: {key}\r\n\r\n")),
        ("CONNECT", format!("CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443\r\nx-api-key: {key}\r\n\r\n")),
        ("TRACE", format!("TRACE /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n")),
        (
            "a long address",
            format!("GET /v1/models/{} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n", "a".repeat(65_000)),
        ),
        ("a header without a colon", format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key {key}\r\n\r\n")),
    ] {
        let answer = bench.raw(&[request.as_bytes()]).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{name}: {answer}");
        let is_plain = answer.starts_with("HTTP/1.1 200")
            || answer.starts_with("HTTP/1.1 4")
            || answer.starts_with("HTTP/1.1 505");
        assert!(is_plain || answer.is_empty(), "{name}: {answer}");
        assert!(!answer.contains(&key), "{name}: the key is not told back: {answer}");
    }
    assert_eq!(bench.upstreams.n_dials(), 0);
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn keys_count_only_where_they_belong() {
    let bench = Bench::new();
    let key = token().expose().to_owned();
    let get = |path: &str| Ask::new(http::Method::GET, path, "");
    let swapped: String =
        key.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c }).collect();
    for (name, ask) in [
        ("no key", get("/v1/models")),
        ("a key as a cookie", get("/v1/models").header("cookie", format!("x-api-key={key}"))),
        ("a key as basic credentials", get("/v1/models").header("authorization", format!("Basic {key}"))),
        ("half a key", get("/v1/models").header("x-api-key", &key[..key.len() / 2])),
        ("a key and more", get("/v1/models").header("x-api-key", format!("{key}x"))),
        ("two keys in one", get("/v1/models").header("x-api-key", format!("{key},{key}"))),
        ("another case", get("/v1/models").header("x-api-key", swapped)),
        (
            "a signed token without a signature",
            get("/v1/models").header("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
        ),
    ] {
        let answer = bench.ask(ask).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "key_invalid"), "{name}: {}", answer.text());
        assert!(!answer.text().contains(&key[8..]), "{name}");
    }
    for header in ["X-API-KEY", "x-Api-Key"] {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\n{header}: {key}\r\nconnection: close\r\n\r\n");
        assert!(bench.raw(&[request.as_bytes()]).await.starts_with("HTTP/1.1 200"), "{header}");
    }
}
