//! Bodies that are no calls, or too much of one.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::{Act, Case, Promise};
use crate::harness::client::Ask;
use crate::harness::policy::token;

const CLASS: &str = "Bodies";

pub(super) fn list() -> Vec<Case> {
    let mut cases: Vec<Case> = not_calls()
        .into_iter()
        .map(|(name, body)| Case::new(CLASS, name, Promise::Refused, Act::Body(body, Vec::new())))
        .collect();
    cases.extend(numbers());
    cases.extend(large());
    cases.extend(packed());
    cases.extend(forms());
    cases.extend(odd());
    cases
}

fn not_calls() -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{{\"model\":\"gpt\",\"messages\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        ("nothing", b"".to_vec()),
        ("half an object", b"{".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a text", b"\"gpt\"".to_vec()),
        ("no messages", b"{\"model\":\"gpt\"}".to_vec()),
        ("no model", b"{\"messages\":[]}".to_vec()),
        ("a comma too many", b"{\"model\":\"gpt\",\"messages\":[],}".to_vec()),
        ("text behind the object", b"{\"model\":\"gpt\",\"messages\":[]} trailing".to_vec()),
        ("two models", b"{\"model\":\"gpt\",\"model\":\"claude\",\"messages\":[]}".to_vec()),
        ("two models, one escaped", b"{\"model\":\"gpt\",\"mod\\u0065l\":\"claude\",\"messages\":[]}".to_vec()),
        ("a number for a model", b"{\"model\":5,\"messages\":[]}".to_vec()),
        ("an object for a model", b"{\"model\":{\"a\":1},\"messages\":[]}".to_vec()),
        ("a text for messages", b"{\"model\":\"gpt\",\"messages\":\"Hi\"}".to_vec()),
        ("null for messages", b"{\"model\":\"gpt\",\"messages\":null}".to_vec()),
        ("`stream: \"yes\"`", b"{\"model\":\"gpt\",\"stream\":\"yes\",\"messages\":[]}".to_vec()),
        ("`stream: \"true\"`", b"{\"model\":\"gpt\",\"stream\":\"true\",\"messages\":[]}".to_vec()),
        ("`stream: 1`", b"{\"model\":\"gpt\",\"stream\":1,\"messages\":[]}".to_vec()),
        ("bytes that are no UTF-8", b"{\"model\":\"gpt\",\"messages\":[],\"x\":\"\xff\xfe\"}".to_vec()),
        ("a lone surrogate", b"{\"model\":\"gpt\",\"messages\":[],\"x\":\"\\ud800\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"model\":\"gpt\",\"messages\":[]}".to_vec()),
        ("lists in lists, 10,000 deep", deep.into_bytes()),
        ("lists in lists without an end, 1,000,000 deep", "[".repeat(1_000_000).into_bytes()),
    ]
}

fn numbers() -> Vec<Case> {
    ["NaN", "Infinity", "0x10", "01", "1.", "+1", "-1", "1.5", "\"7\"", "[]", "true"]
        .into_iter()
        .map(|number| {
            let body = format!(
                "{{\"model\":\"gpt\",\"max_tokens\":{number},\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}]}}"
            );
            let name = format!("`max_tokens: {number}`");
            Case::new(CLASS, name, Promise::Refused, Act::Body(body.into_bytes(), Vec::new()))
        })
        .collect()
}

fn large() -> Vec<Case> {
    let keys: Map<String, Value> = (0..1_000_000).map(|n| (format!("k{n}"), json!(n))).collect();
    let keys = json!({"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "metadata": keys}).to_string();
    let picture =
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(50 << 20))}});
    let picture = json!({"model": "gpt", "messages": [{"role": "user", "content": [picture]}]}).to_string();
    vec![
        Case::new(CLASS, "1,000,000 keys", Promise::Served, Act::Chat(keys)),
        Case::new(
            CLASS,
            "a picture of 50 MiB in base64",
            Promise::Refused,
            Act::Body(picture.into_bytes(), Vec::new()),
        ),
    ]
}

fn packed() -> Vec<Case> {
    let pack = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("ends")
    };
    let good = pack(br#"{"model":"echo/echo-1","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#);
    let bomb = pack(&vec![b' '; 50_000_000]);
    [
        ("gzip", Promise::Served, good.clone(), "gzip"),
        ("gzip, a thousand times larger unpacked", Promise::Refused, bomb, "gzip"),
        ("gzip that is cut", Promise::Refused, good[..good.len() - 3].to_vec(), "gzip"),
        ("gzip that is none", Promise::Refused, b"{}".to_vec(), "gzip"),
        ("a packing that is not known", Promise::Refused, good.clone(), "br"),
        ("packed twice", Promise::Refused, good, "gzip, gzip"),
    ]
    .into_iter()
    .map(|(name, promise, body, encoding)| {
        Case::new(CLASS, name, promise, Act::Body(body, vec![("content-encoding", encoding.to_owned())]))
    })
    .collect()
}

/// Forms with files.
fn forms() -> Vec<Case> {
    let part = |boundary: &str, name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let send = |kind: &str, body: String| {
        Act::Ask(
            Ask::new(http::Method::POST, "/v1/audio/transcriptions", body)
                .header("authorization", format!("Bearer {}", token().expose()))
                .header("content-type", kind),
        )
    };
    let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n";
    let model = part("b", "model", "gpt");
    [
        ("a form with another boundary", send("multipart/form-data; boundary=c", "no form".to_owned())),
        ("a form that is cut", send("multipart/form-data; boundary=b", format!("{model}{file}"))),
        ("a form with two models", send("multipart/form-data; boundary=b", format!("{model}{model}{file}--b--\r\n"))),
    ]
    .into_iter()
    .map(|(name, act)| Case::new(CLASS, name, Promise::Refused, act))
    .chain(
        [
            // The body itself begins with it.
            ("a form whose boundary is not said", send("multipart/form-data", format!("{model}{file}--b--\r\n"))),
            ("JSON where a form belongs", send("application/json", r#"{"model":"gpt"}"#.to_owned())),
        ]
        .map(|(name, act)| Case::new(CLASS, name, Promise::Served, act)),
    )
    .collect()
}

/// What is only odd, and goes on to whoever knows what it means.
fn odd() -> Vec<Case> {
    let call =
        |more: &str| format!("{{\"model\":\"gpt\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}],{more}}}");
    [
        ("a field that nobody knows", "\"x_unknown\":{\"kept\":[]}", call("\"x_unknown\":{\"kept\":[]}")),
        ("an empty list of stops", "\"stop\":[]", call("\"stop\":[]")),
        ("a number beyond what fits", "\"seed\":99999999999999999999", call("\"seed\":99999999999999999999")),
        ("`temperature: 1e400`", "\"temperature\":1e400", call("\"temperature\":1e400")),
        (
            "`content: null`",
            "\"content\":null",
            r#"{"model":"gpt","messages":[{"role":"assistant","content":null},{"role":"user","content":"Hi"}]}"#
                .to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, arrives, body)| Case::new(CLASS, name, Promise::Arrives(arrives), Act::Chat(body)))
    .collect()
}
