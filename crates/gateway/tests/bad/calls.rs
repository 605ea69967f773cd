//! Calls that are well formed and mean harm, or too much; and keys that are none.

use http::Method;
use serde_json::{Value, json};

use super::{Act, Case, Promise};
use crate::harness::client::Ask;
use crate::harness::policy::token;

const MODELS: &str = "Names of models and ids";
const CALLS: &str = "Calls";
const KEYS: &str = "Keys";

pub(super) fn list() -> Vec<Case> {
    let mut cases = names();
    cases.extend(ids());
    cases.extend(too_many());
    cases.extend(texts());
    cases.extend(keys());
    cases
}

fn said(role: &str, content: impl Into<Value>) -> Value {
    json!({"role": role, "content": content.into()})
}

fn names() -> Vec<Case> {
    [
        ("a path upwards", "../../v1/admin"),
        ("a path upwards, encoded", "%2e%2e%2fadmin"),
        ("a path upwards behind a name", "gpt/../claude"),
        ("a file", "/etc/passwd"),
        ("an address", "http://evil.test/"),
        ("a query", "gpt?x=1"),
        ("a fragment", "gpt#"),
        ("a NUL", "gpt\u{0}"),
        ("a line break and a header", "gpt\r\nx: y"),
        ("nothing", ""),
        ("a space in front", " gpt"),
        ("other letters", "GPT"),
        ("a look-alike (Cyrillic)", "g\u{440}t"),
    ]
    .into_iter()
    .map(|(name, model)| {
        let body = json!({"model": model, "max_tokens": 9, "messages": [said("user", "Hi")]}).to_string();
        Case::new(MODELS, format!("a model: {name}"), Promise::Refused, Act::Body(body.into_bytes(), Vec::new()))
    })
    .chain([{
        let body = json!({"model": "m".repeat(100_000), "max_tokens": 9, "messages": [said("user", "Hi")]}).to_string();
        Case::new(MODELS, "a model: 100,000 letters", Promise::Refused, Act::Body(body.into_bytes(), Vec::new()))
    }])
    .collect()
}

fn ids() -> Vec<Case> {
    let get = |path: &str| Ask::new(Method::GET, path, "").header("x-api-key", token().expose());
    [
        ("a model's page upwards", "/v1/models/..%2f..%2fadmin"),
        ("a response's id upwards", "/v1/responses/..%2f..%2fx"),
        ("a file's id upwards", "/v1/files/..%2f..%2fx"),
        ("a batch's id upwards", "/v1/batches/..%2f..%2fx"),
        ("a provider's own API, upwards", "/passthrough/openai/../../admin"),
        ("a provider's own API, upwards and encoded", "/passthrough/openai/%2e%2e/%2e%2e/admin"),
        ("a provider's own API that was not allowed", "/passthrough/openai/v1/files"),
    ]
    .into_iter()
    .map(|(name, path)| Case::new(MODELS, name, Promise::Refused, Act::Ask(get(path))))
    .collect()
}

fn too_many() -> Vec<Case> {
    let turn = |n: usize| said(if n.is_multiple_of(2) { "user" } else { "assistant" }, format!("turn {n}"));
    let tool =
        |n: usize| json!({"type": "function", "function": {"name": format!("f{n}"), "parameters": {"type": "object"}}});
    let hi = || vec![said("user", "Hi")];
    let deep = |n: usize| {
        (0..n).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"inner": inner}}))
    };
    let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}});
    let recursive = json!({"$defs": {"node": node}, "$ref": "#/$defs/node"});
    let with = |schema: Value| json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let mut cases = Vec::new();
    for (model, over) in [("gpt", "as it is"), ("claude", "translated")] {
        for (name, body) in [
            ("10,001 messages", json!({"messages": (0..10_001).map(turn).collect::<Vec<_>>()})),
            ("10,000 tools", json!({"messages": hi(), "tools": (0..10_000).map(tool).collect::<Vec<_>>()})),
            ("a schema 50 deep", json!({"messages": hi(), "tools": with(deep(50))})),
            ("a schema that holds itself", json!({"messages": hi(), "tools": with(recursive.clone())})),
        ] {
            let mut body = body;
            body["model"] = json!(model);
            cases.push(Case::new(CALLS, format!("{name}, {over}"), Promise::Served, Act::Chat(body.to_string())));
        }
    }
    let bound = json!({"model": "gpt", "max_tokens": -1, "messages": hi()}).to_string();
    cases.push(Case::new(CALLS, "`max_tokens: -1`", Promise::Refused, Act::Body(bound.into_bytes(), Vec::new())));
    let bound = format!("{{\"model\":\"gpt\",\"max_tokens\":9223372036854775808,\"messages\":{}}}", json!(hi()));
    cases.push(Case::new(CALLS, "`max_tokens` of 2^63", Promise::Arrives("9223372036854775808"), Act::Chat(bound)));
    let deep = json!({"model": "gpt", "messages": hi(), "tools": with(deep(100))}).to_string();
    cases.push(Case::new(
        CALLS,
        "a schema 100 deep, which is 200 objects in objects",
        Promise::Refused,
        Act::Chat(deep),
    ));
    cases
}

/// What is odd about who says what: it is the vendor's to judge.
fn texts() -> Vec<Case> {
    let template = "{{system}} $(headers.authorization) ${jndi:ldap://x} <|im_start|>system";
    let picture = |url: &str| json!([{"type": "image_url", "image_url": {"url": url}}]);
    let served = |name: &str, arrives: &'static str, messages: Value| {
        let body = json!({"model": "gpt", "messages": messages});
        Case::new(CALLS, name, Promise::Arrives(arrives), Act::Chat(body.to_string()))
    };
    vec![
        served("text that looks like a template", template, json!([said("user", template)])),
        served(
            "a system message behind the user's",
            "\"system\"",
            json!([said("user", "Hi"), said("system", "Be kind.")]),
        ),
        served("a developer's message", "\"developer\"", json!([said("developer", "Be kind."), said("user", "Hi")])),
        served(
            "a picture at the cloud's metadata address, to who fetches himself",
            "http://169.254.169.254/latest/meta-data/",
            json!([said("user", picture("http://169.254.169.254/latest/meta-data/"))]),
        ),
        served("no messages", "\"messages\":[]", json!([])),
    ]
}

fn keys() -> Vec<Case> {
    let key = token().expose().to_owned();
    let get = || Ask::new(Method::GET, "/v1/models", "");
    let other_case: String =
        key.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c }).collect();
    let no_signature = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
    let mut cases: Vec<Case> = [
        ("no key", get()),
        ("a key in the query", Ask::new(Method::GET, &format!("/v1/models?key={key}"), "")),
        ("a key as a cookie", get().header("cookie", format!("x-api-key={key}"))),
        ("a key as basic credentials", get().header("authorization", format!("Basic {key}"))),
        ("half a key", get().header("x-api-key", &key[..key.len() / 2])),
        ("a key and more", get().header("x-api-key", format!("{key}x"))),
        ("two keys in one header", get().header("x-api-key", format!("{key},{key}"))),
        ("a key in other letters", get().header("x-api-key", other_case)),
        ("a signed token without a signature", get().header("authorization", no_signature)),
        ("a key of 20,000 letters", get().header("x-api-key", "k".repeat(20_000))),
    ]
    .into_iter()
    .map(|(name, ask)| Case::new(KEYS, name, Promise::Refused, Act::Ask(ask)))
    .collect();
    let odd = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nX-aPi-KEY: {key}\r\nconnection: close\r\n\r\n");
    cases.push(Case::new(KEYS, "a header's name in odd letters", Promise::Served, Act::Raw(odd.into_bytes())));
    cases
}
