use proptest::prelude::*;
use serde_json::{Value, json};

use super::reader::find_special;
use super::*;

fn scanned(body: &str) -> Scan {
    scan(body.as_bytes()).unwrap()
}

fn refused(body: &str) -> String {
    scan(body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn policy_fields_are_read_in_one_pass() {
    let body = json!({
        "model": "gpt-4o-mini", "stream": true, "max_tokens": 12, "max_completion_tokens": 40, "n": 2, "user": "u-1",
        "stream_options": {"include_usage": false}, "temperature": 0.5,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    })
    .to_string();
    let scan = scanned(&body);
    assert_eq!(scan.model.as_ref().unwrap().value, "gpt-4o-mini");
    assert_eq!(scan.model.as_ref().unwrap().span.of(body.as_bytes()), b"\"gpt-4o-mini\"");
    assert!(scan.is_stream() && !scan.wants_usage() && scan.has_tools() && scan.has_images());
    assert_eq!(scan.output_cap(), Some(40));
    assert_eq!((scan.n, scan.n_messages, scan.n_images), (Some(2), 2, 1));
    assert_eq!(scan.text_bytes, ("be brief".len() + "what is this?".len()) as u64);
    assert_eq!(scan.media_bytes, "data:image/png;base64,AAAA".len() as u64);
    assert_eq!(scan.user.unwrap().value, "u-1");
}

#[test]
fn an_escaped_key_is_the_key_it_spells() {
    assert_eq!(scanned(r#"{"mod\u0065l":"a"}"#).model.unwrap().value, "a");
    assert_eq!(refused(r#"{"model":"a","mod\u0065l":"b"}"#), r#"the key "model" occurs twice; send it once"#);
}

#[test]
fn repeated_top_level_keys_are_refused_by_name() {
    for key in ["model", "stream", "max_tokens", "messages", "temperature"] {
        let body = format!(r#"{{"{key}":null,"{key}":null}}"#);
        let body = if key == "model" { body.replace("null", "\"m\"") } else { body };
        assert_eq!(scan(body.as_bytes()), Err(ScanError::DuplicateKey { key: key.to_owned() }));
    }
    assert!(refused(r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#).contains("include_usage"));
    // Below the top level only `stream_options` steers us; elsewhere a repeated key is the upstream's business.
    assert!(scan(br#"{"messages":[{"role":"user","role":"user"}]}"#).is_ok());
}

#[test]
fn a_very_deep_body_is_a_clear_error() {
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(scan(deep.as_bytes()), Err(ScanError::TooDeep { .. })));
    let open = "[".repeat(1_000_000);
    assert!(matches!(scan(open.as_bytes()), Err(ScanError::TooDeep { .. })));
}

#[test]
fn faults_name_their_place_and_what_to_do() {
    let check = |body: &str, expected: &str| assert_eq!(refused(body), expected, "{body}");
    check("", "the body is empty; send a JSON object");
    check("[1]", "the body is not a JSON object");
    check("{\"a\":1}x", "the body is not valid JSON at byte 7: nothing may follow the object");
    check("{\"a\":01}", "the body is not valid JSON at byte 6: expected `,` or `}`");
    check("{\"a\":1,}", "the body is not valid JSON at byte 7: expected a key in double quotes");
    check("{\"a\":\"\u{1}\"}", "the body is not valid JSON at byte 6: control characters in strings must be escaped");
    check("{\"a\":\"\\ud800\"}", "the body is not valid JSON at byte 12: half of a surrogate pair is missing");
    check("{\"stream\":\"yes\"}", "\"stream\" must be true or false");
    check("{\"max_tokens\":-1}", "\"max_tokens\" must be a whole number");
    check("{\"max_tokens\":1.5}", "\"max_tokens\" must be a whole number");
    check("{\"model\":null}", "\"model\" must be a string");
    check("{\"model\":7}", "\"model\" must be a string");
    assert_eq!(scan(b"{\"a\":\"\xff\"}"), Err(ScanError::Utf8 { at: 6 }));
    let many: Vec<String> = (0..300).map(|n| format!("\"k{n}\":0")).collect();
    assert_eq!(scan(format!("{{{}}}", many.join(",")).as_bytes()), Err(ScanError::TooManyFields));
}

#[test]
fn text_in_tool_arguments_is_never_taken_for_media() {
    let body = json!({"messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "f", "input": {"data": "x".repeat(1000), "url": "y".repeat(1000)}},
    ]}]});
    let scan = scanned(&body.to_string());
    assert_eq!(scan.media_bytes, 0);
    assert!(scan.prompt_bytes > 2000);
}

#[test]
fn edits_are_spliced_and_leave_the_rest_alone() {
    let check = |body: &str, expected: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let scan = scan(&body).unwrap();
        let mut patch = Patch::default();
        scan.set_model(&mut patch, "b");
        scan.set_include_usage(&mut patch);
        assert_eq!(patch.apply(&body), expected.as_bytes());
    };
    check(r#"{ "model" : "a" , "x":1.0}"#, r#"{"stream_options":{"include_usage":true}, "model" : "b" , "x":1.0}"#);
    check(r#"{"stream_options":null,"model":"a"}"#, r#"{"stream_options":{"include_usage":true},"model":"b"}"#);
    check(r#"{"model":"a","stream_options":{ }}"#, r#"{"model":"b","stream_options":{"include_usage":true }}"#);
    check(
        r#"{"model":"b","stream_options":{"include_usage":false,"q":1}}"#,
        r#"{"model":"b","stream_options":{"include_usage":true,"q":1}}"#,
    );
    check(
        r#"{"model":"b","stream_options":{"q":1}}"#,
        r#"{"model":"b","stream_options":{"include_usage":true,"q":1}}"#,
    );
    check(
        r#"{"model":"b","stream_options":{"include_usage":true}}"#,
        r#"{"model":"b","stream_options":{"include_usage":true}}"#,
    );
    check("{}", r#"{"model":"b","stream_options":{"include_usage":true}}"#);
}

#[test]
fn without_an_edit_the_same_buffer_is_sent() {
    let body = Bytes::from_static(br#"{"model":"a"}"#);
    let scan = scan(&body).unwrap();
    let mut patch = Patch::default();
    scan.set_model(&mut patch, "a");
    assert!(patch.is_empty());
    assert_eq!(patch.apply(&body).as_ptr(), body.as_ptr());
}

#[test]
fn an_answer_is_read_by_top_level_field() {
    let body = br#"{"content":[{"input":{"usage":{"input_tokens":0}}}],"usage":{"input_tokens":7}}"#;
    let mut found = Vec::new();
    visit_fields(body, |key, span| found.push((key.to_owned(), String::from_utf8_lossy(span.of(body)).into_owned())))
        .unwrap();
    assert_eq!(found[1], ("usage".to_owned(), r#"{"input_tokens":7}"#.to_owned()));
}

// === Properties ===

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC*|[\u{0}-\u{1f}\"\\\\a]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec(("[a-z\"\\\\é]{0,6}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Value> {
    proptest::collection::vec(("messages|input|tools|system|metadata|[a-z]{1,5}", any_json()), 0..8)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn agrees(body: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Value>(body);
    let ours = scan(body);
    match (&ours, &theirs) {
        // In the second line, where we are stricter on purpose.
        (Ok(_), Ok(Value::Object(_)))
        | (Err(_), Err(_))
        | (Err(ScanError::DuplicateKey { .. } | ScanError::WrongKind { .. } | ScanError::TooManyFields), Ok(_)) => {
            Ok(())
        }
        (Err(ScanError::NotAnObject), Ok(value)) if !value.is_object() => Ok(()),
        // A number too large for a float is a matter of the reader, not of the grammar.
        (Ok(_), Err(error)) if error.to_string().starts_with("number out of range") => Ok(()),
        _ => Err(TestCaseError::fail(format!("{ours:?} against {theirs:?}"))),
    }
}

/// Bytes with specials everywhere, or long runs without.
fn text_of_any_kind() -> impl Strategy<Value = Vec<u8>> {
    let rarely = prop_oneof![40 => Just(b'a'), 1 => any::<u8>()];
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), proptest::collection::vec(rarely, 0..300)]
}

#[test]
fn geminis_bodies_show_their_caps_in_either_spelling() {
    let camel = json!({
        "contents": [{"role": "user", "parts": [
            {"text": "four"}, {"inlineData": {"mimeType": "image/png", "data": "A".repeat(5000)}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}},
        ]}, {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"data": "counted"}}, "thoughtSignature": "A".repeat(900)}]}],
        "systemInstruction": {"parts": [{"text": "brief"}]},
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generationConfig": {"maxOutputTokens": 64, "candidateCount": 2, "responseSchema": {"type": "OBJECT"}},
    });
    let snake = camel
        .to_string()
        .replace("generationConfig", "generation_config")
        .replace("maxOutputTokens", "max_output_tokens")
        .replace("candidateCount", "candidate_count")
        .replace("systemInstruction", "system_instruction")
        .replace("inlineData", "inline_data")
        .replace("mimeType", "mime_type")
        .replace("fileUri", "file_uri")
        .replace("thoughtSignature", "thought_signature")
        .replace("responseSchema", "response_schema");
    for text in [camel.to_string(), snake] {
        let found = scan(text.as_bytes()).unwrap();
        assert_eq!((found.output_cap(), found.n, found.n_messages), (Some(64), Some(2), 2));
        assert_eq!((found.n_images, found.n_files), (1, 1));
        assert!(found.media_bytes > 5_900 && found.text_bytes < 100 && found.prompt_bytes < 2_000, "{found:?}");
        assert!(found.has_tools() && found.response_format.is_some() && found.system.is_some());
    }
}

#[test]
fn two_spellings_of_one_field_are_one_field_twice() {
    for body in [
        r#"{"generationConfig":{"maxOutputTokens":1},"generation_config":{}}"#,
        r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9999}}"#,
        r#"{"systemInstruction":{},"system_instruction":{}}"#,
    ] {
        assert!(matches!(scan(body.as_bytes()), Err(ScanError::DuplicateKey { .. })), "{body}");
    }
    let wrong = scan(br#"{"generationConfig":7}"#).unwrap_err();
    assert_eq!(wrong.to_string(), "\"generationConfig\" must be an object");
    assert!(scan(br#"{"generationConfig":null}"#).is_ok());
}

#[test]
fn fields_of_the_body_itself_are_known() {
    let body = r#"{"model":"m","metadata":{"seed":1},"st\u006fp":"x","generation_config":{},"messages":["\"user\""]}"#;
    let found = scanned(body);
    let has = |name| found.has_field(name, body.as_bytes());
    assert!(["model", "metadata", "stop", "generationConfig", "messages"].into_iter().all(has));
    assert!(!["seed", "user", "generation_config", "x", ""].into_iter().any(has));
}

#[test]
fn what_keeps_a_body_from_being_relayed_is_noted() {
    let flags = |messages: &str| {
        let found = scanned(&format!(r#"{{"model":"m","messages":{messages}}}"#));
        (found.has_developer, found.has_proofs)
    };
    assert_eq!(flags(r#"[{"role":"developer","content":"x"}]"#), (true, false));
    assert_eq!(
        flags(r#"[{"role":"user","content":"a \"developer\" writes gemini:x and call_1_hgsig_x"}]"#),
        (false, false)
    );
    assert_eq!(flags(r#"[{"role":"assistant","tool_calls":[{"id":"call_1_hgsig_Zg"}]}]"#), (false, true));
    assert_eq!(flags(r#"[{"role":"tool","tool_call_id":"call_1_hgsig_Zg","content":"x"}]"#), (false, true));
    assert_eq!(flags(r#"[{"content":[{"type":"thinking","thinking":"","signature":"gemini:x"}]}]"#), (false, true));
    assert_eq!(flags(r#"[{"content":[{"type":"tool_use","id":"t","input":{"id":"a_hgsig_b"}}]}]"#), (false, false));
    assert!(scanned(r#"{"contents":[{"parts":[{"text":"","thoughtSignature":"aGVhZGdhdGU6e30"}]}]}"#).has_proofs);
    assert!(scanned(r#"{"input":[{"type":"reasoning","encrypted_content":"headgate:x"}]}"#).has_proofs);
}

#[test]
fn whose_reasoning_a_conversation_holds_is_noted() {
    let of = |messages: &str| scanned(&format!(r#"{{"model":"m","messages":{messages}}}"#)).proofs;
    let of_input = |item: &str| scanned(&format!(r#"{{"model":"m","input":[{item}]}}"#)).proofs;
    let of_part = |part: &str| scanned(&format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#)).proofs;
    assert!(of(r#"[{"role":"user","content":"a signature: EqQB"}]"#).is_empty());
    assert_eq!(of(r#"[{"content":[{"type":"thinking","thinking":"a","signature":"EqQB"}]}]"#), Proofs::ANTHROPIC);
    assert_eq!(
        of(r#"[{"content":[{"type":"thinking","thinking":"a","signature":"openai:rs_1:gAAAA"}]}]"#),
        Proofs::OPENAI
    );
    assert_eq!(of(r#"[{"reasoning_details":[{"text":"a","signature":"gemini:Zg=="}]}]"#), Proofs::GEMINI);
    assert_eq!(of_input(r#"{"type":"reasoning","encrypted_content":"gAAAAx"}"#), Proofs::OPENAI);
    assert_eq!(of_input(r#"{"type":"reasoning","encrypted_content":"headgate:EqQB"}"#), Proofs::ANTHROPIC);
    assert_eq!(of_part(r#"{"text":"a","thoughtSignature":"Zm9v"}"#), Proofs::GEMINI);
    assert_eq!(of_part(r#"{"text":"a","thoughtSignature":"aGVhZGdhdGU6RXFRQg=="}"#), Proofs::ANTHROPIC);
    let in_id = of(r#"[{"role":"assistant","tool_calls":[{"id":"call_1_hgsig_Zg"}]}]"#);
    assert!(!in_id.is_empty() && !in_id.are_content());
    let spec = |name| crate::find(name).unwrap().spec();
    assert!(
        Proofs::ANTHROPIC.are_taken_by(spec("anthropic"), "x")
            && Proofs::ANTHROPIC.are_taken_by(spec("vertex"), "claude-x")
    );
    assert!(
        !Proofs::ANTHROPIC.are_taken_by(spec("openai"), "gpt") && Proofs::OPENAI.are_taken_by(spec("openai"), "gpt")
    );
    assert!(in_id.are_taken_by(spec("gemini"), "x") && !in_id.are_taken_by(spec("anthropic"), "x"));
}

proptest! {
    #[test]
    fn every_body_is_judged_as_serde_json_judges_it(body in any_body(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&body).unwrap() } else { serde_json::to_vec(&body).unwrap() };
        agrees(&text)?;
    }

    #[test]
    fn damaged_bodies_are_judged_as_serde_json_judges_them(
        body in any_body(), place in any::<proptest::sample::Index>(), byte in any::<u8>(), kind in 0..3,
    ) {
        let mut text = serde_json::to_vec(&body).unwrap();
        let at = place.index(text.len());
        match kind {
            0 => text[at] = byte,
            1 => { text.remove(at); }
            _ => text.insert(at, byte),
        }
        agrees(&text)?;
    }

    #[test]
    fn arbitrary_bytes_never_pass_where_serde_json_fails(text in "[\\[\\]{}\",:0-9eE.+\\-a-u\\\\ ]{0,40}") {
        agrees(text.as_bytes())?;
    }

    #[test]
    fn edits_change_only_what_they_name(mut body in any_body(), model in "\\PC{0,10}", spaces in any::<bool>()) {
        body["model"] = Value::from("old");
        let text = Bytes::from(if spaces { serde_json::to_vec_pretty(&body).unwrap() } else { serde_json::to_vec(&body).unwrap() });
        if let Ok(scan) = scan(&text) {
            let mut patch = Patch::default();
            scan.set_model(&mut patch, &model);
            scan.set_include_usage(&mut patch);
            let edited: Value = serde_json::from_slice(&patch.apply(&text)).unwrap();
            // Their reader rounds long floats, so compare with what it reads from the same text.
            let mut expected: Value = serde_json::from_slice(&text).unwrap();
            expected["model"] = Value::from(model);
            expected["stream_options"] = json!({"include_usage": true});
            prop_assert_eq!(edited, expected);
        }
    }

    #[test]
    fn specials_are_found_at_every_alignment(text in text_of_any_kind(), from in 0..8_usize) {
        let expected = (from..text.len()).find(|at| matches!(text[*at], b'"' | b'\\' | 0..0x20)).unwrap_or(text.len().max(from));
        let mut is_wide = false;
        prop_assert_eq!(find_special(&text, from, &mut is_wide), expected);
        // A control character ends the reading, so what is said of the bytes before it is not asked for.
        if !matches!(text.get(expected), Some(0..0x20)) {
            prop_assert_eq!(is_wide, text.get(from..expected).is_some_and(|before| !before.is_ascii()));
        }
    }
}
