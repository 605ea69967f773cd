//! Ranking, moderation, pictures and speech: every surface, forms with files, what is counted, and what breaks.

use domain::image::{ImageKind, ImageRate};
use domain::price::UnitRates;
use domain::usage::{Endpoint, Outcome};
use http::StatusCode;
use policy::Content;
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, Connection};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{Play, Step, json_answer, raw_answer};

const fn each(nanos: i64) -> domain::Price {
    domain::Price::per_million(nanos * 1_000_000)
}

fn bench() -> Bench {
    let mut world = World::empty();
    world.deployment(1, "rank", "cohere", "http://cohere.test");
    world.deployment(2, "whisper", "openai", "http://openai.test/v1");
    world.deployment(3, "voice", "elevenlabs", "http://eleven.test");
    world.deployment(4, "vectors", "ollama", "http://ollama.test");
    world.deployment(5, "claude", "anthropic", "http://anthropic.test");
    world.deployment(6, "echo/echo-rerank", "echo", "");
    world.deployment(7, "echo/echo-image", "echo", "");
    world.deployment(8, "echo/echo-speech", "echo", "");
    world.deployment(9, "draw", "openai", "http://draw.test/v1");
    let units = UnitRates {
        image: Some(each(40_000_000)),
        audio_second: Some(each(100_000)),
        character: Some(each(15_000)),
        search: Some(each(2_000_000)),
        page: None,
    };
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            price.rates.units = units;
            let rate = |size, quality, nanos| ImageRate { kind: ImageKind::of(size, quality), each: each(nanos) };
            price.images =
                vec![rate(Some("1024x1792"), None, 80_000_000), rate(Some("1024x1792"), Some("hd"), 120_000_000)];
        }
    }
    Bench::of(&world)
}

fn form(model: &str, more: &[(&str, &str)]) -> Ask {
    form_to("/v1/audio/transcriptions", ("file", "a.mp3", "audio/mpeg"), model, more)
}

fn form_to(path: &str, (part, name, kind): (&str, &str, &str), model: &str, more: &[(&str, &str)]) -> Ask {
    let field = |(name, value): (&str, &str)| {
        format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = more.iter().copied().chain([("model", model)]).map(field).collect();
    let file = format!(
        "--b0\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
    );
    let mut body = fields.into_bytes();
    body.extend_from_slice(file.as_bytes());
    body.extend_from_slice(&[0; 16_000]);
    body.extend_from_slice(b"\r\n--b0--\r\n");
    Ask::new(http::Method::POST, path, body)
        .header("authorization", format!("Bearer {}", token().expose()))
        .header("content-type", "multipart/form-data; boundary=b0")
}

fn speak(model: &str) -> Ask {
    let body = json!({"model": model, "input": "Hello", "voice": "JBFqnCBsd6RMkjVDRZzb"});
    Ask::post("/v1/audio/speech", body.to_string())
}

fn rank(model: &str) -> Ask {
    let body = json!({"model": model, "query": "a cat", "documents": ["a dog", "the cat", "a cat"], "top_n": 2});
    Ask::post("/v1/rerank", body.to_string())
}

async fn counted(bench: &Bench) -> (Endpoint, domain::usage::UnitUsage, String, bool) {
    let event = bench.event().await;
    assert_eq!(event.outcome, Outcome::Success);
    assert_eq!(event.attempts.last().map(|attempt| attempt.units), Some(event.units));
    (event.endpoint, event.units, event.cost.to_string(), event.is_estimated)
}

fn ok(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

/// Asks for pictures of a kind and returns the cost and the kind that was booked.
async fn drawn(more: serde_json::Value, answer: serde_json::Value) -> (String, Option<String>) {
    let bench = bench();
    let mut body = json!({"model": "draw", "prompt": "a cat", "n": 2});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let mut said = json!({"created": 1, "data": [{"b64_json": ""}, {"b64_json": ""}]});
    said.as_object_mut().expect("an object").extend(answer.as_object().expect("an object").clone());
    bench.upstreams.play("draw.test", json_answer(200, &said));
    ok(&bench.ask(Ask::post("/v1/images/generations", body.to_string())).await);
    let event = bench.event().await;
    assert_eq!(event.units.images, 2);
    (event.cost.to_string(), event.attempts[0].image.as_deref().map(ToString::to_string))
}

#[tokio::test(start_paused = true)]
async fn pictures_are_billed_by_size_and_quality() {
    let kind = |text: &str| Some(text.to_owned());
    let (tall, hd) = (json!({"size": "1024x1792"}), json!({"size": "1024x1792", "quality": "hd"}));
    assert_eq!(drawn(json!({}), json!({})).await, ("0.08".to_owned(), None));
    assert_eq!(drawn(tall, json!({})).await, ("0.16".to_owned(), kind("1024x1792")));
    assert_eq!(drawn(hd.clone(), json!({})).await, ("0.24".to_owned(), kind("1024x1792 hd")));
    // What was made decides, not what was asked for.
    let made = json!({"size": "1024x1024", "quality": "standard"});
    assert_eq!(drawn(hd, made).await, ("0.08".to_owned(), kind("1024x1024 standard")));
    let auto = json!({"size": "auto", "quality": "auto"});
    let made = json!({"size": "1024x1792", "quality": "hd"});
    assert_eq!(drawn(auto, made).await, ("0.24".to_owned(), kind("1024x1792 hd")));
}

#[tokio::test(start_paused = true)]
async fn sound_and_pictures_among_tokens_are_billed_apart() {
    let mut world = World::empty();
    world.deployment(1, "hear", "openai", "http://hear.test/v1");
    world.deployment(2, "see", "gemini", "http://see.test");
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            price.rates.modal.audio_input = Some(domain::Price::per_million(10_000_000_000));
            price.rates.modal.image_output = Some(domain::Price::per_million(30_000_000_000));
        }
    }
    let chat = |model| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "?"}]});
        Ask::post("/v1/chat/completions", body.to_string())
    };
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 60}});
    let message = json!({"role": "assistant", "content": "Hi"});
    let said = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}]});
    let bench = Bench::of(&world);
    bench.upstreams.play("hear.test", json_answer(200, &said));
    ok(&bench.ask(chat("hear")).await);
    let event = bench.event().await;
    assert_eq!(event.attempts[0].modal.as_deref().map(|modal| modal.audio_input), Some(60));
    assert_eq!(event.cost.as_nanos(), 40 * 1_000 + 60 * 10_000 + 10 * 2_000);

    // The same through a translation.
    let said = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 1300, "totalTokenCount": 1350,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO", "tokenCount": 20}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}});
    let bench = Bench::of(&world);
    bench.upstreams.play("see.test", json_answer(200, &said));
    ok(&bench.ask(chat("see")).await);
    let event = bench.event().await;
    let modal = event.attempts[0].modal.as_deref().copied().unwrap_or_default();
    assert_eq!((modal.audio_input, modal.image_output), (20, 1290));
    assert_eq!(event.cost.as_nanos(), 30 * 1_000 + 20 * 10_000 + 10 * 2_000 + 1290 * 30_000);
}

#[tokio::test(start_paused = true)]
async fn ranking_is_billed_by_the_search() {
    let bench = bench();
    let said = json!({"id": "r", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.4}],
        "meta": {"billed_units": {"search_units": 1}}});
    bench.upstreams.play("cohere.test", json_answer(200, &said));
    let answer = bench.ask(rank("rank")).await;
    ok(&answer);
    assert_eq!(answer.json()["results"][0], json!({"index": 2, "relevance_score": 0.9}));
    assert_eq!(answer.header("x-headgate-cost-usd"), "0.002");
    assert_eq!(answer.header("content-type"), "application/json");
    let calls = bench.upstreams.calls();
    assert_eq!(calls[0].path, "/v2/rerank");
    let (endpoint, units, cost, is_estimated) = counted(&bench).await;
    assert_eq!((endpoint, units.searches, cost.as_str(), is_estimated), (Endpoint::Rerank, 1, "0.002", false));
}

#[tokio::test(start_paused = true)]
async fn a_recording_goes_on_as_it_came_and_is_billed_by_the_second() {
    let bench = bench();
    bench
        .upstreams
        .play("openai.test", json_answer(200, &json!({"text": "Hi", "usage": {"type": "duration", "seconds": 3}})));
    let answer = bench.ask(form("whisper", &[("response_format", "json")])).await;
    ok(&answer);
    assert_eq!(answer.json()["text"], "Hi");
    let sent = &bench.upstreams.calls()[0];
    assert_eq!(sent.path, "/v1/audio/transcriptions");
    assert_eq!(sent.headers["content-type"], "multipart/form-data; boundary=b0");
    let form = provider::task::multipart::parse(&sent.body).expect("a form");
    assert_eq!((form.text("model"), form.text("response_format")), (Some("up-2"), Some("json")));
    assert_eq!(form.file("file").map(|file| form.value(file).len()), Some(16_000));
    let (endpoint, units, cost, is_estimated) = counted(&bench).await;
    assert_eq!((endpoint, units.audio_ms), (Endpoint::Transcriptions, 3_000));
    assert_eq!((cost.as_str(), is_estimated), ("0.0003", false));
}

#[tokio::test(start_paused = true)]
async fn a_translation_of_speech_is_asked_for_as_one() {
    let bench = bench();
    bench.upstreams.play("openai.test", json_answer(200, &json!({"text": "Good day", "duration": 2.5})));
    let file = ("file", "a.mp3", "audio/mpeg");
    let ask = form_to("/v1/audio/translations", file, "whisper", &[("response_format", "verbose_json")]);
    let answer = bench.ask(ask).await;
    ok(&answer);
    assert_eq!(answer.json()["text"], "Good day");
    let sent = &bench.upstreams.calls()[0];
    assert_eq!(sent.path, "/v1/audio/translations");
    let form = provider::task::multipart::parse(&sent.body).expect("a form");
    assert_eq!((form.text("model"), form.text("response_format")), (Some("up-2"), Some("verbose_json")));
    assert_eq!(form.file("file").map(|file| form.value(file).len()), Some(16_000));
    let (endpoint, units, cost, is_estimated) = counted(&bench).await;
    assert_eq!((endpoint, units.audio_ms), (Endpoint::Translations, 2_500));
    assert_eq!((cost.as_str(), is_estimated), ("0.00025", false));
}

#[tokio::test(start_paused = true)]
async fn pictures_are_edited_and_varied_from_those_that_are_sent() {
    for (path, endpoint, more) in [
        ("/v1/images/edits", Endpoint::ImageEdits, &[("prompt", "a hat"), ("n", "2"), ("size", "1024x1792")][..]),
        ("/v1/images/variations", Endpoint::ImageVariations, &[("n", "2"), ("size", "1024x1792")][..]),
    ] {
        let bench = bench();
        let said = json!({"created": 1, "data": [{"b64_json": "AAAA"}, {"b64_json": "AAAA"}]});
        bench.upstreams.play("draw.test", json_answer(200, &said));
        let answer = bench.ask(form_to(path, ("image", "a.png", "image/png"), "draw", more)).await;
        ok(&answer);
        assert_eq!(answer.json(), said);
        let sent = &bench.upstreams.calls()[0];
        assert_eq!(sent.path, path);
        let form = provider::task::multipart::parse(&sent.body).expect("a form");
        assert_eq!((form.text("model"), form.text("size")), (Some("up-9"), Some("1024x1792")));
        let picture = form.file("image").expect("the picture");
        assert_eq!((picture.file_name, form.value(picture).len()), (Some("a.png"), 16_000));
        let event = bench.event().await;
        assert_eq!((event.endpoint, event.units.images, event.cost.to_string()), (endpoint, 2, "0.16".to_owned()));
        assert_eq!(event.attempts[0].image.as_deref().map(ToString::to_string).as_deref(), Some("1024x1792"));
        // A form asks for no choice of targets, and is not told yes by silence.
        let choosing = form_to(path, ("image", "a.png", "image/png"), "draw", &[("provider", "{}")]);
        let refused = bench.ask(choosing).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::BAD_REQUEST, "request_invalid"));
        assert!(refused.text().contains("\\\"provider\\\" is not understood"), "{}", refused.text());
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_of_models_tells_what_pictures_and_sound_cost() {
    let bench = bench();
    let get = Ask::new(http::Method::GET, "/v1/models/draw", "").header("x-api-key", token().expose());
    let price = bench.ask(get).await.json()["pricing"].clone();
    for (kind, dollars) in
        [("image", "0.04"), ("web_search", "0.002"), ("audio_second", "0.0001"), ("character", "0.000015")]
    {
        assert_eq!(price[kind], dollars, "{price}");
    }
    assert_eq!(price["page"], serde_json::Value::Null);
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_does_not_count_is_worked_out_and_said_to_be() {
    let bench = bench();
    bench.upstreams.play("openai.test", raw_answer(200, "text/plain; charset=utf-8", "Hi\n"));
    let answer = bench.ask(form("whisper", &[("response_format", "text")])).await;
    ok(&answer);
    assert_eq!((answer.text(), answer.header("content-type")), ("Hi\n", "text/plain; charset=utf-8"));
    let (_, units, _, is_estimated) = counted(&bench).await;
    assert_eq!((units.audio_ms, is_estimated), (1_000, true), "16,000 bytes at 128 kbit/s");
}

#[tokio::test(start_paused = true)]
async fn a_transcription_is_streamed_with_its_usage() {
    let bench = bench();
    let events = concat!(
        "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n",
        "data: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":2,\"total_tokens\":16}}\n\n"
    );
    bench.upstreams.play("openai.test", raw_answer(200, "text/event-stream", events));
    let answer = bench.ask(form("whisper", &[("stream", "true")])).await;
    ok(&answer);
    assert_eq!((answer.text(), answer.header("content-type")), (events, "text/event-stream"));
    let event = bench.event().await;
    assert_eq!((event.usage.input, event.usage.output, event.is_stream), (14, 2, true));
}

#[tokio::test(start_paused = true)]
async fn speech_arrives_as_it_is_made() {
    let bench = bench();
    let gate = crate::harness::upstream::Upstreams::gate();
    let steps = vec![Step::Chunk("first".into()), Step::Gate(gate.clone()), Step::Chunk("second".into())];
    bench.upstreams.play(
        "eleven.test",
        Play::Answer { status: 200, headers: vec![("content-type", "audio/mpeg".to_owned())], steps },
    );
    let mut connection = Connection::open(&bench.lane).await;
    let response = connection.start(speak("voice")).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"audio/mpeg".parse().expect("a value"))
    );
    let mut body = response.into_body();
    assert_eq!(crate::harness::client::next(&mut body).await.as_deref(), Some(&b"first"[..]));
    gate.notify_one();
    assert_eq!(crate::harness::client::next(&mut body).await.as_deref(), Some(&b"second"[..]));
    assert_eq!(crate::harness::client::next(&mut body).await, None);
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb?output_format=mp3_44100_128");
    assert_eq!(bench.upstreams.calls()[0].headers["xi-api-key"], crate::harness::policy::SECRET);
    let (endpoint, units, cost, is_estimated) = counted(&bench).await;
    assert_eq!((endpoint, units.characters, cost.as_str(), is_estimated), (Endpoint::Speech, 5, "0.000075", false));
}

#[tokio::test(start_paused = true)]
async fn sound_that_breaks_off_breaks_the_connection_and_costs_nothing() {
    let bench = bench();
    let gate = crate::harness::upstream::Upstreams::gate();
    let steps = vec![Step::Chunk("first".into()), Step::Gate(gate.clone()), Step::Break];
    bench.upstreams.play(
        "eleven.test",
        Play::Answer { status: 200, headers: vec![("content-type", "audio/mpeg".to_owned())], steps },
    );
    let mut connection = Connection::open(&bench.lane).await;
    let response = connection.start(speak("voice")).await;
    let mut body = response.into_body();
    assert_eq!(crate::harness::client::next(&mut body).await.as_deref(), Some(&b"first"[..]));
    gate.notify_one();
    let rest = http_body_util::BodyExt::collect(body).await;
    assert!(rest.is_err(), "a client can tell half a recording from a whole one");
    let event = bench.event().await;
    assert_eq!((event.outcome, event.cost.as_nanos()), (Outcome::UpstreamBroken, 0));
}

#[tokio::test(start_paused = true)]
async fn vectors_in_a_vendors_own_form_are_numbers_or_base64() {
    let bench = bench();
    for (format, vector) in [("float", json!([0.5, 0.25])), ("base64", json!("AAAAPwAAgD4="))] {
        bench
            .upstreams
            .play("ollama.test", json_answer(200, &json!({"embeddings": [[0.5, 0.25]], "prompt_eval_count": 3})));
        let body = json!({"model": "vectors", "input": "a", "encoding_format": format});
        let answer = bench.ask(Ask::post("/v1/embeddings", body.to_string())).await;
        ok(&answer);
        assert_eq!(answer.json()["data"][0]["embedding"], vector);
        assert_eq!(answer.json()["usage"]["prompt_tokens"], 3);
    }
    assert_eq!(bench.upstreams.calls()[0].path, "/api/embed");
    let said = json!({"embeddings": [[0.5, 0.25]], "prompt_eval_count": 3});
    bench.upstreams.play("ollama.test", json_answer(200, &said));
    let body = json!({"content": {"parts": [{"text": "a"}]}});
    let google = bench.ask(Ask::post("/v1beta/models/vectors:embedContent", body.to_string())).await;
    ok(&google);
    assert_eq!(google.json()["embedding"]["values"], json!([0.5, 0.25]));
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_the_ability_is_passed_over() {
    let mut world = World::empty();
    world.deployment(1, "claude", "anthropic", "http://anthropic.test");
    world.deployment(2, "rank", "cohere", "http://cohere.test");
    world.route(1, "any", &[1, 2], 3, domain::route::Timeouts::default());
    let bench = Bench::of(&world);
    bench.upstreams.play("cohere.test", json_answer(200, &json!({"results": []})));
    ok(&bench.ask(rank("any")).await);
    assert_eq!(bench.upstreams.hosts(), ["cohere.test"]);
    let refused = bench.ask(rank("claude")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "request_invalid"));
    assert!(refused.text().contains("offers no ranking of documents"), "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn echo_ranks_draws_and_sounds() {
    let bench = bench();
    let ranked = bench.ask(rank("echo/echo-rerank")).await;
    ok(&ranked);
    let order: Vec<_> =
        ranked.json()["results"].as_array().expect("a list").iter().map(|one| one["index"].clone()).collect();
    assert_eq!(order, [json!(2), json!(0)], "what shares most words comes first");
    let drawn = bench
        .ask(Ask::post(
            "/v1/images/generations",
            json!({"model": "echo/echo-image", "prompt": "a cat", "n": 2}).to_string(),
        ))
        .await;
    ok(&drawn);
    assert_eq!(drawn.json()["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(drawn.header("x-headgate-cost-usd"), "0.080002");
    let said = bench.ask(speak("echo/echo-speech")).await;
    ok(&said);
    assert_eq!((said.header("content-type"), &said.body[..4]), ("audio/wav", &b"RIFF"[..]));
    let events = bench.ledger.wait(3).await;
    let units: Vec<_> =
        events.iter().map(|event| (event.units.searches, event.units.images, event.units.characters)).collect();
    assert_eq!(units, [(1, 0, 0), (0, 2, 0), (0, 0, 5)]);
}

#[tokio::test(start_paused = true)]
async fn forms_that_are_none_are_refused_before_any_upstream() {
    let bench = bench();
    let ask = |body: &str, kind: &str| {
        Ask::new(http::Method::POST, "/v1/audio/transcriptions", body.to_owned())
            .header("authorization", format!("Bearer {}", token().expose()))
            .header("content-type", kind)
    };
    for (body, kind, told) in [
        ("--b0\r\nbroken", "multipart/form-data; boundary=b0", "well formed"),
        (
            "--b0\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n--b0--\r\n",
            "multipart/form-data; boundary=b0",
            "\"model\"",
        ),
        ("RIFF", "audio/wav", "multipart/form-data"),
    ] {
        let refused = bench.ask(ask(body, kind)).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "request_invalid"), "{body}");
        assert!(
            refused.text().contains(told)
                || refused.json()["error"]["message"].as_str().is_some_and(|text| text.contains(told)),
            "{}",
            refused.text()
        );
    }
    let twice = bench.ask(form("whisper", &[("model", "other")])).await;
    assert_eq!(twice.json()["error"]["param"], "model");
    assert!(bench.upstreams.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tier_of_service_has_its_own_price_also_for_long_contexts() {
    let mut world = World::standard();
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            let half = |rate: domain::Price| domain::Price::per_million(rate.nano_usd_per_million / 2);
            let rates = domain::price::Rates {
                input: half(price.rates.input),
                output: half(price.rates.output),
                ..domain::price::Rates::default()
            };
            let tier = domain::price::ServiceTier::Flex;
            price.tiers = vec![domain::price::TierRates { tier, rates, long_context: Vec::new() }];
        }
    }
    let mut long = world.clone();
    for content in &mut long.contents {
        if let Content::Price(price) = content {
            let rates = domain::price::Rates { input: price.rates.output, ..price.rates };
            price.tiers[0].long_context = vec![domain::price::LongContextRates { above_input_tokens: 9, rates }];
            // What holds without a tier is another's.
            let rates = domain::price::Rates { input: domain::Price::per_million(7_000_000_000), ..rates };
            price.long_context = vec![domain::price::LongContextRates { above_input_tokens: 9, rates }];
        }
    }
    assert_eq!(flex_costs(&world).await, ["0.00001"; 2], "10 in and 5 out at half price, untouched and translated");
    assert_eq!(flex_costs(&long).await, ["0.00003"; 2], "$2 a million each way beyond nine tokens");
}

async fn flex_costs(world: &World) -> Vec<String> {
    let bench = Bench::of(world);
    let flex =
        crate::harness::upstream::OPENAI_WHOLE.replace("\"x_unknown\"", "\"service_tier\":\"flex\",\"x_unknown\"");
    bench.upstreams.play("openai.test", raw_answer(200, "application/json", flex.clone()));
    ok(&bench.ask(crate::harness::client::chat("gpt")).await);
    bench.upstreams.play("openai.test", raw_answer(200, "application/json", flex));
    ok(&bench.ask(crate::harness::client::messages("gpt")).await);
    let events = bench.ledger.wait(2).await;
    events.iter().map(|event| event.cost.to_string()).collect()
}

/// The standard policy with these deployments of a model that the catalog knows to moderate.
fn moderating(deployments: &[u128]) -> Bench {
    let mut world = World::standard();
    for n in deployments {
        world.deployment(*n, &format!("guard-{n}"), "openai", "http://guard.test/v1");
    }
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content
            && deployment.name.as_str().starts_with("guard-")
        {
            "omni-moderation-latest".clone_into(&mut deployment.upstream_model);
        }
    }
    Bench::of(&world)
}

#[tokio::test(start_paused = true)]
async fn a_moderation_without_a_model_goes_to_the_only_one_there_is() {
    let ask = || Ask::post("/v1/moderations", json!({"input": "I am calm"}).to_string());
    let bench = moderating(&[30]);
    bench
        .upstreams
        .play("guard.test", json_answer(200, &json!({"id": "modr-1", "model": "m", "results": [{"flagged": false}]})));
    assert_eq!(bench.ask(ask()).await.status, 200);
    let sent: serde_json::Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
    assert_eq!((&sent["model"], &sent["input"]), (&json!("omni-moderation-latest"), &json!("I am calm")));
    assert_eq!(bench.event().await.model, "guard-30");
    for (deployments, why) in [(&[][..], "none"), (&[30, 31][..], "several")] {
        let refused = moderating(deployments).ask(ask()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "request_invalid"));
        assert!(refused.text().contains(why), "{}", refused.text());
    }
}
