mod golden;
mod page;
mod priced;
mod tasks;
mod usage;

use std::time::Duration;

use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::failure::{FailureKind, Scope};
use crate::scan::scan;
use crate::skim::{StreamSkim, skim_body};

struct Case {
    operation: Operation,
    body: Bytes,
    scan: Scan,
    headers: HeaderMap,
}

impl Case {
    fn new(operation: Operation, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        let scan = scan(&body).unwrap();
        Self { operation, body, scan, headers: HeaderMap::new() }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    fn call(&self) -> Call<'_> {
        Call { operation: self.operation, body: &self.body, scan: &self.scan, headers: &self.headers, inlined: None }
    }

    fn prepared(&self, provider: &str, base: &str, model: &str) -> Result<Prepared, PrepareError> {
        let provider = find(provider).unwrap();
        let base = Base::parse(provider.spec(), base).unwrap();
        provider.prepare(&self.call(), &Target { base: &base, upstream_model: model, base_model: None, facts: None })
    }

    fn local(&self, model: &str) -> Result<LocalAnswer, PrepareError> {
        let stamp = Stamp { id: "req_1", now: "2026-11-22T10:00:00Z".parse().unwrap(), base_url: None };
        find("echo").unwrap().local(&self.call(), model, &stamp).unwrap()
    }
}

const CHAT: Operation = Operation::Chat(Dialect::OpenAiChat);
const MESSAGES: Operation = Operation::Chat(Dialect::AnthropicMessages);

fn chat(more: &Value) -> Value {
    merged(&json!({"model": "asked", "messages": [{"role": "user", "content": "hello to the echo provider"}]}), more)
}

fn messages(more: &Value) -> Value {
    merged(&chat(&json!({"max_tokens": 100})), more)
}

fn merged(base: &Value, more: &Value) -> Value {
    let mut base = base.clone();
    for (name, value) in more.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

pub(super) fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn names_are_unique_and_sorted() {
    let names: Vec<&str> = ALL.iter().map(|provider| provider.spec().name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

#[test]
fn traces_name_a_provider_as_the_conventions_do() {
    let named = ["azure_openai", "bedrock", "bedrock_mantle", "gemini", "mistral", "vertex", "xai"].map(otel_name);
    let conventional =
        ["azure.ai.openai", "aws.bedrock", "aws.bedrock", "gcp.gemini", "mistral_ai", "gcp.vertex_ai", "x_ai"];
    assert_eq!(named, conventional);
    assert_eq!(["openai", "echo", "of a later version"].map(otel_name), ["openai", "echo", "of a later version"]);
}

#[test]
fn the_same_dialect_goes_untouched_but_for_the_model() {
    let body = chat(&json!({"unknown_field": [1.0, 2e5]}));
    let case = Case::new(CHAT, &body).header("idempotency-key", "k");
    let prepared = case.prepared("openai", "https://api.openai.com/v1", "gpt-4o").unwrap();
    let request = prepared.request;
    assert_eq!(request.uri(), "https://api.openai.com/v1/chat/completions");
    assert_eq!(request.method(), "POST");
    let expected = String::from_utf8(case.body.to_vec()).unwrap().replace("\"asked\"", "\"gpt-4o\"");
    assert_eq!(request.body(), expected.as_bytes());
    assert_eq!(request.headers()["idempotency-key"], "k");
    assert_eq!(prepared.relay, Relay::Untouched { dialect: Dialect::OpenAiChat, withhold_usage: false });
    // The name of the model as it is: the same buffer.
    let same = case.prepared("openai", "https://api.openai.com/v1", "asked").unwrap();
    assert_eq!(same.request.body().as_ptr(), case.body.as_ptr());
}

#[test]
fn a_stream_is_asked_for_its_usage_and_the_client_spared_the_extra_event() {
    let relay = |more: &Value| {
        let prepared = Case::new(CHAT, &chat(more)).prepared("openai", "https://x/v1", "m").unwrap();
        let body = json_of(prepared.request.body());
        (body["stream_options"]["include_usage"].clone(), prepared.relay)
    };
    let untouched = |withhold_usage| Relay::Untouched { dialect: Dialect::OpenAiChat, withhold_usage };
    assert_eq!(relay(&json!({"stream": true})), (json!(true), untouched(true)));
    assert_eq!(
        relay(&json!({"stream": true, "stream_options": {"include_usage": true}})),
        (json!(true), untouched(false))
    );
    assert_eq!(relay(&json!({"stream": false})), (Value::Null, untouched(false)));
}

#[test]
fn responses_go_untouched_where_they_are_spoken_and_translated_elsewhere() {
    const RESPONSES: Operation = Operation::Chat(Dialect::OpenAiResponses);
    let body =
        json!({"model": "asked", "input": "hello", "stream": true, "store": true, "previous_response_id": "resp_0"});
    let case = Case::new(RESPONSES, &body);
    let prepared = case.prepared("openai", "https://api.openai.com/v1", "asked").unwrap();
    assert_eq!(prepared.request.uri(), "https://api.openai.com/v1/responses");
    assert_eq!(prepared.request.body().as_ptr(), case.body.as_ptr());
    assert_eq!(prepared.relay, Relay::Untouched { dialect: Dialect::OpenAiResponses, withhold_usage: false });
    for (provider, base) in [("anthropic", "https://x"), ("openai_compatible", "https://x/v1"), ("ollama", "https://x")]
    {
        // Nobody there remembers the answer that this one continues.
        let error = case.prepared(provider, base, "m").unwrap_err().to_string();
        assert!(error.starts_with("previous_response_id: the upstream keeps no answers; send"), "{provider}: {error}");
        let alone = Case::new(RESPONSES, &json!({"model": "asked", "input": "hello", "stream": true}));
        let prepared = alone.prepared(provider, base, "m").unwrap();
        assert!(matches!(prepared.relay, Relay::Translated { .. }), "{provider}");
        assert_eq!(json_of(prepared.request.body())["messages"][0]["content"], "hello", "{provider}");
    }
}

#[test]
fn only_listed_headers_go_upstream() {
    let mut case = Case::new(MESSAGES, &messages(&json!({})));
    for name in [
        "authorization",
        "x-api-key",
        "x-headgate-key",
        "cookie",
        "host",
        "connection",
        "transfer-encoding",
        "x-forwarded-for",
        "accept-encoding",
        "content-length",
    ] {
        case = case.header(name, "client-secret");
    }
    let case = case.header("anthropic-beta", "a-beta").header("anthropic-version", "2024-01-01");
    let mut request = case.prepared("anthropic", "https://api.anthropic.com", "m").unwrap().request;
    let secret = Secret::new("sk-ours".to_owned());
    find("anthropic").unwrap().sign(&mut request, Some(&secret), Timestamp::default()).unwrap();
    let mut names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent", "x-api-key"]);
    assert_eq!(request.headers()["x-api-key"], "sk-ours");
    assert_eq!(request.headers()["anthropic-version"], "2024-01-01");
    assert!(!format!("{request:?}").contains("sk-ours"));
}

#[test]
fn another_dialect_is_translated() {
    let case = Case::new(CHAT, &chat(&json!({"stream": true})));
    let prepared = case.prepared("anthropic", "https://api.anthropic.com", "claude-haiku-4-5").unwrap();
    assert_eq!(prepared.request.uri(), "https://api.anthropic.com/v1/messages");
    assert_eq!(prepared.request.headers()["anthropic-version"], "2023-06-01");
    let body = json_of(prepared.request.body());
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("claude-haiku-4-5"), &json!(64_000), &json!(true))
    );
    assert!(matches!(prepared.relay, Relay::Translated { dialect: Dialect::AnthropicMessages, .. }));

    let case = Case::new(MESSAGES, &messages(&json!({})));
    let prepared = case.prepared("openai", "https://api.openai.com/v1", "gpt-5").unwrap();
    let body = json_of(prepared.request.body());
    assert_eq!((&body["model"], &body["max_completion_tokens"]), (&json!("gpt-5"), &json!(100)));
}

#[test]
fn the_most_effort_is_the_next_to_most_where_a_surface_does_not_take_it() {
    let most = json!({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}});
    for (case, model, expected) in [
        // A client that asks another vendor's model for reasoning is heard on Responses, where it is taken.
        (Case::new(MESSAGES, &messages(&most)), "gpt-5.6-sol", "max"),
        (Case::new(CHAT, &chat(&json!({"reasoning_effort": "max"}))), "gpt-5.6-sol", "xhigh"),
        (Case::new(CHAT, &chat(&json!({"reasoning_effort": "high"}))), "gpt-5.6-sol", "high"),
    ] {
        let prepared = case.prepared("openai", "https://api.openai.com/v1", model).unwrap();
        let body = json_of(prepared.request.body());
        let effort = body.get("reasoning").map_or(&body["reasoning_effort"], |reasoning| &reasoning["effort"]);
        assert_eq!(effort, expected);
    }
}

#[test]
fn token_counts_go_to_those_who_count_and_are_estimated_for_the_rest() {
    let case = Case::new(Operation::CountTokens(Dialect::AnthropicMessages), &chat(&json!({})));
    let prepared = case.prepared("anthropic", "https://api.anthropic.com", "claude-haiku-4-5").unwrap();
    assert_eq!(prepared.request.uri(), "https://api.anthropic.com/v1/messages/count_tokens");
    assert_eq!(prepared.relay, Relay::Count { dialect: Dialect::AnthropicMessages });
    let stamp = Stamp { id: "req_1", now: Timestamp::default(), base_url: Some("http://127.0.0.1:8000/v1") };
    assert!(find("anthropic").unwrap().local(&case.call(), "m", &stamp).is_none());
    let answer = find("openai").unwrap().local(&case.call(), "m", &stamp).unwrap().unwrap();
    assert!(answer.is_estimated && json_of(&answer.chunks[0])["input_tokens"].as_u64().unwrap() > 3);
    // OpenAI itself counts, but servers that are like it seldom do.
    let home = Stamp { base_url: Some("https://api.openai.com/v1/"), ..stamp };
    assert!(find("openai").unwrap().local(&case.call(), "m", &home).is_none());
    let prepared = case.prepared("openai", "https://api.openai.com/v1", "gpt-5.4").unwrap();
    assert_eq!(prepared.request.uri(), "https://api.openai.com/v1/responses/input_tokens");
    assert_eq!(prepared.relay, Relay::Count { dialect: Dialect::OpenAiResponses });
    assert!(find("groq").unwrap().local(&case.call(), "m", &home).unwrap().unwrap().is_estimated);
    assert!(find("openai").unwrap().local(&Case::new(CHAT, &chat(&json!({}))).call(), "m", &stamp).is_none());
}

#[test]
fn a_model_that_a_cloud_resells_is_known_by_its_own_name() {
    use llm::dialect::{ReasoningStyle, SchemaStyle};

    let options = |provider: &str, model: &str| find(provider).unwrap().request_options(model, None);
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    for (provider, model) in [("bedrock", arn), ("vertex", "claude-sonnet-4-5@20250929")] {
        let options = options(provider, model);
        assert_eq!((options.reasoning, options.default_max_tokens), (ReasoningStyle::Budget, 64_000), "{model}");
    }
    assert_eq!(options("bedrock", "global.anthropic.claude-opus-4-8").reasoning, ReasoningStyle::Effort);
    let old = options("bedrock", "anthropic.claude-3-haiku-20240307-v1:0");
    assert_eq!((old.reasoning, old.json_schema), (ReasoningStyle::Unsupported, SchemaStyle::ForcedTool));
    assert_eq!(options("vertex", "gemini-2.5-pro").reasoning, ReasoningStyle::BudgetAlways);
}

#[test]
fn what_a_provider_lacks_is_said() {
    let case = Case::new(Operation::Embeddings, &json!({"model": "m", "input": "x"}));
    let error = case.prepared("anthropic", "https://api.anthropic.com", "m").unwrap_err();
    assert_eq!(error.to_string(), "Anthropic offers no embeddings; choose a model of another provider");
    let prepared = case.prepared("openai_compatible", "http://127.0.0.1:8000/v1/", "e").unwrap();
    assert_eq!(prepared.request.uri(), "http://127.0.0.1:8000/v1/embeddings");
    assert_eq!(
        (json_of(prepared.request.body()), prepared.relay),
        (json!({"model": "e", "input": "x"}), Relay::Embeddings)
    );
}

// === Echo ===

#[test]
fn echo_answers_what_it_was_sent_on_both_surfaces() {
    let answer = Case::new(CHAT, &chat(&json!({}))).local("echo-1").unwrap();
    let body = json_of(&answer.chunks[0]);
    assert_eq!(body["choices"][0]["message"]["content"], "hello to the echo provider");
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("echo-1")));
    assert_eq!(skim_body(Dialect::OpenAiChat, &answer.chunks[0]).usage, Some(answer.usage));
    assert!(answer.usage.input > 0 && answer.usage.output >= 5 && !answer.is_estimated);

    let answer = Case::new(MESSAGES, &messages(&json!({}))).local("echo-1").unwrap();
    let body = json_of(&answer.chunks[0]);
    assert_eq!((&body["type"], &body["content"][0]["text"]), (&json!("message"), &json!("hello to the echo provider")));
    assert_eq!(skim_body(Dialect::AnthropicMessages, &answer.chunks[0]).usage, Some(answer.usage));
}

#[test]
fn echo_streams_in_several_chunks() {
    for (operation, dialect, body) in [
        (CHAT, Dialect::OpenAiChat, chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))),
        (MESSAGES, Dialect::AnthropicMessages, messages(&json!({"stream": true}))),
    ] {
        let answer = Case::new(operation, &body).local("echo-1").unwrap();
        assert!(answer.chunks.len() >= 5 && answer.content_type == "text/event-stream");
        let mut skim = StreamSkim::new(dialect);
        let mut events = Vec::new();
        let mut decoder = dialect.decoder(Mode::Stream, Undo::default());
        for chunk in &answer.chunks {
            skim.push(chunk);
            decoder.push(chunk, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        let found = skim.finish();
        assert_eq!((found.usage, found.is_complete), (Some(answer.usage), true));
        let folded = llm::canonical::answer::fold(events);
        assert!(format!("{:?}", folded.choices[0].blocks).contains("hello to the echo provider"));
    }
}

#[test]
fn echo_obeys_the_output_cap() {
    let answer = Case::new(CHAT, &chat(&json!({"max_tokens": 2}))).local("echo-1").unwrap();
    let body = json_of(&answer.chunks[0]);
    assert_eq!(
        (&body["choices"][0]["message"]["content"], &body["choices"][0]["finish_reason"]),
        (&json!("hello to "), &json!("length"))
    );
    assert_eq!(answer.usage.output, 2);
}

fn weather() -> Value {
    json!({"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
        "additionalProperties": false,
    }}})
}

#[test]
fn echo_calls_a_tool_with_valid_arguments_and_speaks_after_its_result() {
    let body = chat(&json!({"tools": [weather()]}));
    let answer = json_of(&Case::new(CHAT, &body).local("echo-1").unwrap().chunks[0]);
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(call["function"]["name"], "weather");
    let arguments = json_of(call["function"]["arguments"].as_str().unwrap().as_bytes());
    assert_eq!(arguments, json!({"city": "hello to the echo provider", "days": 1}));

    let body = chat(&json!({"tools": [weather()], "messages": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]}));
    let answer = json_of(&Case::new(CHAT, &body).local("echo-1").unwrap().chunks[0]);
    assert_eq!(answer["choices"][0]["message"]["content"], "sunny");

    let body = messages(&json!({"tools": [{"name": "weather", "input_schema": weather()["function"]["parameters"]}]}));
    let answer = json_of(&Case::new(MESSAGES, &body).local("echo-1").unwrap().chunks[0]);
    assert_eq!((&answer["stop_reason"], &answer["content"][0]["input"]["days"]), (&json!("tool_use"), &json!(1)));
}

#[test]
fn echo_answers_a_schema_with_json_that_obeys_it() {
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {
        "type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"],
    }}});
    let answer =
        json_of(&Case::new(CHAT, &chat(&json!({"response_format": format}))).local("echo-1").unwrap().chunks[0]);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(json_of(text.as_bytes()), json!({"said": "hello to the echo provider"}));
}

#[test]
fn echo_gives_several_answers_and_refuses_too_many() {
    let answer = Case::new(CHAT, &chat(&json!({"n": 3}))).local("echo-1").unwrap();
    assert_eq!(json_of(&answer.chunks[0])["choices"].as_array().unwrap().len(), 3);
    assert_eq!(answer.usage.output % 3, 0);
    let error = Case::new(CHAT, &chat(&json!({"n": 1_000}))).local("echo-1").unwrap_err();
    assert_eq!(error.to_string(), "n: echo gives 1 to 16 answers");
}

#[test]
fn echo_embeds_with_the_asked_length_and_form() {
    let of = |more: &Value| {
        let body = merged(&json!({"model": "echo/echo-embed", "input": ["a b", "c"]}), more);
        Case::new(Operation::Embeddings, &body).local("echo-embed")
    };
    let answer = of(&json!({})).unwrap();
    let body = json_of(&answer.chunks[0]);
    assert_eq!(
        (body["data"].as_array().unwrap().len(), body["data"][1]["embedding"].as_array().unwrap().len()),
        (2, 256)
    );
    assert_eq!(body["usage"]["prompt_tokens"], answer.usage.input);
    let body = json_of(&of(&json!({"dimensions": 8, "encoding_format": "base64"})).unwrap().chunks[0]);
    // 8 × 4 bytes in base64.
    assert_eq!(body["data"][0]["embedding"].as_str().unwrap().len(), 44);
    assert!(of(&json!({"dimensions": 0})).is_err());
    assert!(of(&json!({"dimensions": 100_000})).is_err());
}

#[test]
fn echo_counts_what_it_bills() {
    let count =
        Case::new(Operation::CountTokens(Dialect::AnthropicMessages), &messages(&json!({}))).local("echo-1").unwrap();
    let answer = Case::new(MESSAGES, &messages(&json!({}))).local("echo-1").unwrap();
    assert_eq!(json_of(&count.chunks[0])["input_tokens"], answer.usage.input);
}

proptest! {
    #[test]
    fn echo_gives_back_any_text(text in "\\PC{1,200}", stream in any::<bool>()) {
        let body = chat(&json!({"messages": [{"role": "user", "content": text}], "stream": stream}));
        let answer = Case::new(CHAT, &body).local("echo-1").unwrap();
        let mode = if stream { Mode::Stream } else { Mode::Whole };
        let mut decoder = Dialect::OpenAiChat.decoder(mode, Undo::default());
        let mut events = Vec::new();
        for chunk in &answer.chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        let folded = llm::canonical::answer::fold(events);
        let said: Vec<&str> = folded.choices[0].blocks.iter().filter_map(|block| match &block.content {
            llm::canonical::content::Content::Text(text) => Some(text.text.as_str()),
            _ => None,
        }).collect();
        prop_assert_eq!(said.concat(), text);
    }
}

// === Recorded answers ===

/// Cases whose meaning was written by hand, in `expect.json`; all others are in `golden`.
const CASES: [&str; 6] = ["basic", "stream", "tool_call", "usage", "error_400", "error_429"];

#[test]
fn recorded_answers_mean_what_they_say() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for provider in ["anthropic", "openai", "openai_compatible"].map(|name| find(name).unwrap()) {
        for case in CASES {
            let dir = root.join(provider.spec().name).join(case);
            let read = |name: &str| {
                std::fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", dir.display()))
            };
            let request = read("request.json");
            let expect = json_of(&read("expect.json"));
            let dialect = provider.spec().dialects[0];
            check_request(provider, &request, &expect);
            if case.starts_with("error") {
                check_error(provider, &read("upstream.json"), &expect);
            } else if json_of(&request)["stream"] == json!(true) {
                check_stream(dialect, &read("upstream.sse"), &expect);
            } else {
                let found = skim_body(dialect, &read("upstream.json"));
                check_usage(found.usage, &expect);
                assert_eq!(format!("{:?}", found.finish.unwrap()), expect["finish"].as_str().unwrap());
            }
        }
    }
}

fn check_request(provider: &dyn Provider, request: &[u8], expect: &Value) {
    let dialect = provider.spec().dialects[0];
    let case = Case::new(Operation::Chat(dialect), &json_of(request));
    let prepared = case.prepared(provider.spec().name, "https://upstream.test/v1", "served-model").unwrap();
    let sent = json_of(prepared.request.body());
    let mut expected = json_of(request);
    expected["model"] = json!("served-model");
    if let Some(options) = expect.get("sent_stream_options") {
        expected["stream_options"] = options.clone();
    }
    assert_eq!(sent, expected);
}

fn check_usage(usage: Option<TokenUsage>, expect: &Value) {
    let expected: Option<TokenUsage> = serde_json::from_value(expect["usage"].clone()).unwrap();
    assert_eq!(usage, expected);
}

fn check_stream(dialect: Dialect, body: &[u8], expect: &Value) {
    for at in 0..=body.len() {
        let mut skim = StreamSkim::new(dialect);
        skim.push(&body[..at]);
        skim.push(&body[at..]);
        let found = skim.finish();
        check_usage(found.usage, expect);
        assert_eq!(format!("{:?}", found.finish.unwrap()), expect["finish"].as_str().unwrap());
        assert!(found.is_complete && found.has_output());
    }
}

fn check_error(provider: &dyn Provider, body: &[u8], expect: &Value) {
    let mut headers = HeaderMap::new();
    for (name, value) in expect["headers"].as_object().into_iter().flatten() {
        let name: http::HeaderName = name.parse().unwrap();
        headers.insert(name, value.as_str().unwrap().parse().unwrap());
    }
    let status = u16::try_from(expect["status"].as_u64().unwrap()).unwrap();
    let failure = provider.classify(status, &headers, body, Timestamp::default());
    let words =
        (failure.kind.as_str(), format!("{:?}", failure.scope), failure.retry_after.map(|wait| wait.as_millis()));
    let wait = expect["retry_after_ms"].as_u64().map(u128::from);
    assert_eq!(words, (expect["kind"].as_str().unwrap(), expect["scope"].as_str().unwrap().to_owned(), wait));
    assert!(!failure.message.is_empty());
}

#[test]
fn a_transport_failure_fails_over() {
    let failure = Failure::transport(FailureKind::Connect);
    assert_eq!((failure.scope, failure.can_retry(), failure.retry_after), (Scope::Provider, true, None::<Duration>));
}

// === What upstreams fetch and what they want brought ===

const PICTURE: &str = "https://pics.example/dot";
const PAPER: &str = "http://papers.example/a.pdf";

fn with_media(picture: &str, paper: &str) -> Value {
    messages(&json!({"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": picture}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {"type": "url", "url": paper}}]},
        {"type": "image", "source": {"type": "url", "url": picture}},
        {"type": "text", "text": "What is this?"},
    ]}]}))
}

fn needed(provider: &str, model: &str, operation: Operation, body: &Value) -> Vec<String> {
    let case = Case::new(operation, body);
    find(provider).unwrap().needs(&case.call(), model).into_iter().map(|need| need.url.into()).collect()
}

#[test]
fn each_upstream_is_brought_what_it_does_not_fetch() {
    let both = vec![PAPER.to_owned(), PICTURE.to_owned()];
    for (provider, model, expected) in [
        ("bedrock", "us.amazon.nova-pro-v1:0", both.clone()),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", both.clone()),
        ("vertex", "claude-sonnet-4-5@20250929", both.clone()),
        ("ollama", "qwen3:8b", both.clone()),
        ("gemini", "gemini-2.5-flash", both),
        ("vertex", "gemini-2.5-flash", vec![PAPER.to_owned()]),
        ("anthropic", "claude-sonnet-4-5", vec![PAPER.to_owned()]),
        ("openai", "gpt-5", vec![PAPER.to_owned()]),
        ("cohere", "command-a-03-2025", vec![PAPER.to_owned()]),
    ] {
        assert_eq!(needed(provider, model, MESSAGES, &with_media(PICTURE, PAPER)), expected, "{provider} {model}");
    }
    // A count is of what would be sent.
    let counts = Operation::CountTokens(Dialect::AnthropicMessages);
    let counted = |provider, model| needed(provider, model, counts, &with_media(PICTURE, PAPER));
    assert_eq!(counted("gemini", "gemini-2.5-flash"), [PAPER, PICTURE]);
    assert_eq!(counted("anthropic", "claude-sonnet-4-5"), [PAPER]);
    // Between a client and an upstream of one language; of other schemes; and without media at all.
    let own = chat(&json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "file", "file": {"file_data": PAPER}}]}]}));
    assert!(needed("openrouter", "m", CHAT, &own).is_empty());
    assert!(needed("bedrock", "amazon.nova", MESSAGES, &with_media("s3://bucket/a", "gs://bucket/b")).is_empty());
    assert!(needed("bedrock", "amazon.nova", CHAT, &chat(&json!({}))).is_empty());
}

/// What is sent for a call when everything it lacks was brought.
fn sent_of(case: &Case, provider: &str, base: &str, model: &str) -> Value {
    let provider = find(provider).unwrap();
    let mut inlined = crate::media::Inlined::default();
    for need in provider.needs(&case.call(), model) {
        let bytes: &[u8] = if *need.url == *PAPER { b"%PDF-1.7" } else { b"GIF89a" };
        assert!(inlined.bring(need, bytes));
    }
    let base = Base::parse(provider.spec(), base).unwrap();
    let call = Call { inlined: Some(&inlined), ..case.call() };
    json_of(
        provider
            .prepare(&call, &Target { base: &base, upstream_model: model, base_model: None, facts: None })
            .unwrap()
            .request
            .body(),
    )
}

#[test]
fn what_was_brought_stands_in_the_place_of_its_address() {
    let case = Case::new(MESSAGES, &with_media(PICTURE, PAPER));
    let sent = |provider: &str, base: &str, model: &str| sent_of(&case, provider, base, model);
    let bedrock = "https://bedrock-runtime.us-east-1.amazonaws.com";
    let converse = sent("bedrock", bedrock, "us.amazon.nova-pro-v1:0").to_string();
    assert!(converse.contains(r#""format":"gif","source":{"bytes":"R0lGODlh"}"#), "{converse}");
    assert!(converse.contains(r#""format":"pdf""#) && converse.contains("JVBERi0xLjc="), "{converse}");
    // Claude in the client's own language: written anew, because its cloud fetches nothing.
    let claude = sent("bedrock", bedrock, "us.anthropic.claude-sonnet-4-5-20250929-v1:0").to_string();
    assert!(claude.contains(r#"{"type":"base64","media_type":"image/gif","data":"R0lGODlh"}"#), "{claude}");
    assert!(!claude.contains("example"), "{claude}");
    let gemini = sent("gemini", "https://generativelanguage.googleapis.com", "gemini-2.5-flash").to_string();
    assert!(gemini.contains(r#"{"mimeType":"image/gif","data":"R0lGODlh"}"#), "{gemini}");
    let own = sent("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5").to_string();
    assert!(own.contains(PICTURE) && own.contains("application/pdf") && !own.contains(PAPER), "{own}");
    let counts = Case::new(Operation::CountTokens(Dialect::AnthropicMessages), &with_media(PICTURE, PAPER));
    let counted = |provider: &str, base: &str, model: &str| sent_of(&counts, provider, base, model).to_string();
    let gemini = counted("gemini", "https://generativelanguage.googleapis.com", "gemini-2.5-flash");
    assert!(
        gemini.contains(r#"{"mimeType":"image/gif","data":"R0lGODlh"}"#) && !gemini.contains("example"),
        "{gemini}"
    );
    let own = counted("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5");
    assert!(own.contains(PICTURE) && own.contains("application/pdf") && !own.contains(PAPER), "{own}");
    let mut inlined = crate::media::Inlined::default();
    let page = crate::media::Need { url: PICTURE.into(), kind: crate::media::Kind::Image };
    assert!(!inlined.bring(page, b"<html>") && inlined.is_empty());
}

#[test]
fn a_tuned_model_is_called_at_its_endpoint() {
    const BASE: &str = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1";
    let sent = |model: &str, more: &Value| {
        let prepared = Case::new(CHAT, &chat(more)).prepared("vertex", BASE, model).unwrap();
        prepared.request.uri().to_string().strip_prefix(BASE).unwrap().to_owned()
    };
    assert_eq!(sent("4872301990123", &json!({})), "/endpoints/4872301990123:generateContent");
    let streamed = sent("4872301990123", &json!({"stream": true}));
    assert_eq!(streamed, "/endpoints/4872301990123:streamGenerateContent?alt=sse");
    assert_eq!(sent("gemini-3-flash", &json!({})), "/publishers/google/models/gemini-3-flash:generateContent");
}

#[test]
fn the_usual_variables_make_a_secret_and_an_address() {
    let told = |provider: &str, set: &[(&str, &str)]| {
        let get = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = find(provider).unwrap().read_variables(&get);
        (found.secret.map(|secret| secret.expose().clone()), found.base_url)
    };
    let some = |text: &str| Some(text.to_owned());
    let key = ("CLOUDFLARE_API_KEY", "k");
    let account = ("CLOUDFLARE_ACCOUNT_ID", " a1 ");
    let address = "https://api.cloudflare.com/client/v4/accounts/a1/ai/v1";
    assert_eq!(told("cloudflare", &[key, account]), (some("k"), some(address)));
    assert_eq!(told("cloudflare", &[account]), (None, None), "an account alone is other tools' business");
    let host = ("DATABRICKS_HOST", "https://dbc-1.cloud.databricks.com/");
    let address = "https://dbc-1.cloud.databricks.com/serving-endpoints";
    assert_eq!(told("databricks", &[("DATABRICKS_TOKEN", "t"), host]), (some("t"), some(address)));
    assert_eq!(told("openai", &[("OPENAI_API_KEY", " "), ("OPENAI_BASE_URL", "")]), (None, None));
    // Google's SDK reads either name.
    let (own, shared) = (("GEMINI_API_KEY", "g"), ("GOOGLE_API_KEY", "h"));
    assert_eq!(told("gemini", &[shared, own]).0, some("g"));
    assert_eq!(told("gemini", &[shared, ("GEMINI_API_KEY", "")]).0, some("h"));
    // Google's cloud names a file, which is read elsewhere, and has an address only together with a project.
    let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/google/key.json");
    let (project, location) = (("GOOGLE_CLOUD_PROJECT", "p-1"), ("GOOGLE_CLOUD_LOCATION", "europe-west4"));
    let cloud = |set: &[(&str, &str)]| {
        let get = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = find("vertex").unwrap().read_variables(&get);
        (found.secret_file, found.base_url)
    };
    let address = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4";
    assert_eq!(cloud(&[file, project, location]), (some(file.1), some(address)));
    let address = "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global";
    assert_eq!(cloud(&[file, project]), (some(file.1), some(address)));
    assert_eq!(cloud(&[file, location]), (None, None), "the file of another service");
    assert_eq!(cloud(&[project, location]), (None, None), "a project alone is other tools' business");
    // AWS: its own key for this service before the keys of its tools; a region makes the address.
    let (region, keys) = (
        ("AWS_REGION", "eu-west-1"),
        [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s/1"), ("AWS_SESSION_TOKEN", "t")],
    );
    let (secret, address) = told("bedrock", &[keys[0], keys[1], keys[2], region]);
    let secret = secret.unwrap();
    assert_eq!(address, some("https://bedrock-runtime.eu-west-1.amazonaws.com"));
    assert_eq!(find("bedrock").unwrap().spec().check_secret(&secret), Ok(()));
    let expected =
        json!({"access_key_id": "AKID", "secret_access_key": "s/1", "session_token": "t", "region": "eu-west-1"});
    assert_eq!(json_of(secret.as_bytes()), expected);
    let bearer = ("AWS_BEARER_TOKEN_BEDROCK", "ABSK");
    assert_eq!(told("bedrock", &[bearer, keys[0], keys[1], region]).0, some("ABSK"));
    assert_eq!(told("bedrock", &[keys[0], region]), (None, None));
    let china = told("bedrock", &[bearer, ("AWS_DEFAULT_REGION", "cn-north-1")]).1;
    assert_eq!(china, some("https://bedrock-runtime.cn-north-1.amazonaws.com.cn"));
}
