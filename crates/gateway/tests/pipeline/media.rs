//! Pictures and documents that a call names by address, for upstreams that want bytes.

use domain::route::Timeouts;
use gateway::{GatewayConfig, Limits};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::Ask;
use crate::harness::policy::World;
use crate::harness::upstream::{Play, Step, Trouble, json_answer, openai_error, openai_whole};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n-the rest-";
const PNG_TEXT: &str = "iVBORw0KGgotdGhlIHJlc3Qt";
const LIMIT: usize = 200_000;

fn bench() -> Bench {
    let mut world = World::empty();
    world.deployment(1, "near", "ollama", "http://ollama.test");
    world.deployment(2, "far", "ollama", "http://other.test");
    world.deployment(3, "own", "openai", "http://openai.test/v1");
    world.route(1, "m", &[1], 1, Timeouts::default());
    world.route(2, "both", &[1, 2], 2, Timeouts::default());
    world.route(3, "fetches", &[3], 1, Timeouts::default());
    let limits = Limits { max_fetched_bytes: LIMIT, ..Limits::default() };
    Bench::with(GatewayConfig { limits, ..GatewayConfig::default() }, &world)
}

fn body(model: &str, urls: &[&str]) -> Value {
    let pictures: Vec<Value> = urls.iter().map(|url| json!({"type": "image_url", "image_url": {"url": url}})).collect();
    json!({"model": model, "messages": [{"role": "user", "content": pictures}]})
}

fn ask(model: &str, urls: &[&str]) -> Ask {
    Ask::post("/v1/chat/completions", body(model, urls).to_string())
}

fn answered() -> Play {
    json_answer(
        200,
        &json!({"model": "up-1", "message": {"role": "assistant", "content": "A dot."}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 9, "eval_count": 3}),
    )
}

fn sends(status: u16, headers: Vec<(&'static str, String)>, bytes: &'static [u8]) -> Play {
    Play::Answer { status, headers, steps: vec![Step::Chunk(bytes.into())] }
}

fn leads_to(url: &str) -> Play {
    sends(302, vec![("location", url.to_owned())], b"")
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_fetched_once_and_sent_as_bytes_to_every_target() {
    let bench = bench();
    bench.upstreams.play("pics.example", leads_to("https://cdn.pics.example/dot"));
    bench.upstreams.play("cdn.pics.example", sends(200, vec![("content-type", "text/plain".to_owned())], PNG));
    bench.upstreams.play("ollama.test", openai_error(503, "overloaded"));
    bench.upstreams.play("other.test", answered());
    let answer = bench.ask(ask("both", &["http://pics.example/dot?sig=1", "http://pics.example/dot?sig=1"])).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "A dot.", "{}", answer.text());
    assert_eq!(bench.upstreams.hosts(), ["pics.example", "cdn.pics.example", "ollama.test", "other.test"]);
    let calls = bench.upstreams.calls();
    for call in &calls[2..] {
        let sent: Value = serde_json::from_slice(&call.body).expect("JSON");
        assert_eq!(sent["messages"][0]["images"], json!([PNG_TEXT, PNG_TEXT]));
    }
    for call in &calls[..2] {
        let names: Vec<&str> = call.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(
            names
                .iter()
                .all(|name| ["accept", "accept-encoding", "host", "user-agent", "content-length"].contains(name)),
            "{names:?}"
        );
    }
    assert_eq!(calls[0].path, "/dot?sig=1");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fetches_is_sent_the_address() {
    let bench = bench();
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(ask("fetches", &["https://pics.example/dot"])).await;
    assert_eq!((answer.status.as_u16(), bench.upstreams.hosts()), (200, vec!["openai.test".to_owned()]));
}

/// Name, address, what stands there, what the client is told, calls of the host.
type Case = (&'static str, &'static str, Vec<Play>, &'static str, usize);

#[tokio::test(start_paused = true)]
async fn what_must_not_be_fetched_is_refused_before_anything_is_sent_to_the_model() {
    let big = Step::Chunk(vec![0x89; 65_536].into());
    let endless = || Play::Answer { status: 200, headers: Vec::new(), steps: vec![big.clone(); 10_000] };
    let redirect = "leads on to an address that cannot be fetched";
    let cases: [Case; 11] = [
        ("the metadata address", "http://169.254.169.254/latest/meta-data/", vec![], "public host", 0),
        ("a name inside", "http://metadata.google.internal/", vec![], "public host", 0),
        ("this machine", "http://127.0.0.1:7410/v1/models", vec![], "public host", 0),
        ("another scheme", "https://user:pw@pics.example/", vec![], "public host", 0),
        ("leads inside", "https://pics.example/", vec![leads_to("http://169.254.169.254/")], redirect, 1),
        ("leads to this machine", "http://pics.example/", vec![leads_to("http://localhost/admin")], redirect, 1),
        ("leads in a circle", "http://pics.example/", vec![leads_to("/"); 9], "more than 3 other addresses", 4),
        ("is no picture", "https://pics.example/", vec![sends(200, vec![], b"<html>")], "PNG, JPEG, GIF or WebP", 1),
        (
            "is packed",
            "https://pics.example/",
            vec![sends(200, vec![("content-encoding", "gzip".to_owned())], PNG)],
            "kind",
            1,
        ),
        ("is not there", "https://pics.example/", vec![sends(404, vec![], b"no")], "status 404", 1),
        ("has no end", "https://pics.example/", vec![endless()], "larger than the 200000 bytes", 1),
    ];
    for (name, url, plays, why, n_calls) in cases {
        let bench = bench();
        for play in plays {
            bench.upstreams.play("pics.example", play);
        }
        let answer = bench.ask(ask("m", &[url])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "request_invalid"),
            "{name}: {}",
            answer.text()
        );
        assert!(answer.text().contains(why) && !answer.text().contains("pw@"), "{name}: {}", answer.text());
        assert_eq!(bench.upstreams.hosts(), vec!["pics.example"; n_calls], "{name}");
        if name == "has no end" {
            bench.upstreams.wait_for_dropped_body().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_slow_or_away_costs_the_call_and_no_more_than_its_time() {
    let bench = bench();
    bench.upstreams.play("pics.example", Play::Hang);
    let started = tokio::time::Instant::now();
    let answer = bench.ask(ask("m", &["https://pics.example/"])).await;
    assert!(answer.text().contains("in time") && started.elapsed().as_secs() <= 10, "{}", answer.text());
    bench.upstreams.trouble("away.example", Trouble::Refuse);
    let answer = bench.ask(ask("m", &["https://away.example/"])).await;
    assert!(answer.text().contains("cannot be reached") && answer.status.as_u16() == 400, "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_few_addresses_and_bytes_are_fetched_for_one_call() {
    let bench = bench();
    let urls: Vec<String> = (0..17).map(|n| format!("https://pics.example/{n}")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let answer = bench.ask(ask("m", &urls)).await;
    assert!(answer.text().contains("no more than 16 addresses"), "{}", answer.text());
    let steps = vec![Step::Chunk(PNG.into()), Step::Chunk(vec![0; 90_000].into())];
    for _ in 0..3 {
        bench.upstreams.play("pics.example", Play::Answer { status: 200, headers: Vec::new(), steps: steps.clone() });
    }
    let answer = bench.ask(ask("m", &urls[..3])).await;
    assert!(answer.text().contains("may be fetched for one call"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn what_would_be_fetched_is_shown_and_not_fetched() {
    let bench = bench();
    let asked = json!({"surface": "chat_completions", "body": body("m", &["https://pics.example/dot"])});
    let shown = bench.ask(Ask::post("/v1/headgate/transform", asked.to_string())).await.json();
    assert_eq!(shown["fetched"], json!([{"url": "https://pics.example/dot", "kind": "picture"}]));
    assert_eq!(shown["request"]["body"]["messages"][0]["images"], json!(["KGZldGNoZWQp"]));
    assert!(bench.upstreams.hosts().is_empty());
}
