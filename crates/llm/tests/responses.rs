//! What only OpenAI's responses have: items with ids, reasoning that only its vendor reads, failures inside a stream.

use std::fs;

use llm::dialect::{Dialect, Mode, RequestOptions, Speak as _, Undo};

use crate::golden::{decode, encode, fixtures};

/// The answer of `from`, shown to a client of `client` and sent back in its history to an upstream of `from`.
fn replay(from: Dialect, case: &str, client: Dialect) -> String {
    let bytes = fs::read(fixtures().join(from.as_str()).join(case).join("answer.sse")).unwrap();
    let (text, _) = encode(client, Mode::Whole, decode(from, Mode::Stream, Undo::default(), &bytes).unwrap());
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let user = serde_json::json!({"role": "user", "content": "Go on."});
    let body = match client {
        Dialect::OpenAiChat => {
            let messages = [&user, &answer["choices"][0]["message"], &user];
            serde_json::json!({"model": "m", "messages": messages, "reasoning_effort": "low"})
        }
        Dialect::AnthropicMessages => serde_json::json!({
            "model": "m", "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024},
            "messages": [user, {"role": "assistant", "content": answer["content"]}, user],
        }),
        _ => {
            let mut input = vec![user.clone()];
            input.extend(answer["output"].as_array().unwrap().iter().cloned());
            input.push(user);
            serde_json::json!({"model": "m", "input": input, "reasoning": {"effort": "low"}})
        }
    };
    let request = client.decode_request(body.to_string().as_bytes()).unwrap();
    let encoded = from.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    String::from_utf8(encoded.body.to_vec()).unwrap()
}

#[test]
fn a_proof_of_reasoning_returns_through_any_client_to_the_vendor_that_gave_it() {
    for client in [Dialect::OpenAiChat, Dialect::AnthropicMessages, Dialect::OpenAiResponses] {
        let sent = replay(Dialect::OpenAiResponses, "reasoning_stream", client);
        assert!(sent.contains(r#""id":"rs_1""#), "{client:?}: {sent}");
        assert!(sent.contains(r#""encrypted_content":"gAAAA1""#), "{client:?}: {sent}");
        let sent = replay(Dialect::AnthropicMessages, "reasoning_stream", client);
        assert!(sent.contains(r#""signature":"sig1""#), "{client:?}: {sent}");
        assert!(sent.contains(r#""data":"xyz""#), "{client:?}: {sent}");
    }
}

#[test]
fn a_proof_of_one_vendor_is_not_sent_to_another() {
    let body = br#"{"model":"m","input":[{"role":"user","content":"x"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA1"},{"role":"assistant","content":"y"},{"role":"user","content":"z"}],"reasoning":{"effort":"low"}}"#;
    let request = Dialect::OpenAiResponses.decode_request(body).unwrap();
    let sent = Dialect::AnthropicMessages.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    assert!(!std::str::from_utf8(&sent.body).unwrap().contains("gAAAA1"));
    assert_eq!(sent.losses.len(), 1, "{:?}", sent.losses);
    let body = br#"{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"sig1"},{"type":"text","text":"y"}]},{"role":"user","content":"z"}]}"#;
    let request = Dialect::AnthropicMessages.decode_request(body).unwrap();
    let sent = Dialect::OpenAiResponses.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    assert!(!std::str::from_utf8(&sent.body).unwrap().contains("sig1"), "{:?}", sent.losses);
}

#[test]
fn items_of_a_response_keep_their_ids_from_beginning_to_end() {
    let bytes = fs::read(fixtures().join("openai_chat/parallel_tools_stream/answer.sse")).unwrap();
    let events = decode(Dialect::OpenAiChat, Mode::Stream, Undo::default(), &bytes).unwrap();
    let (text, _) = encode(Dialect::OpenAiResponses, Mode::Stream, events);
    let mut items = std::collections::BTreeMap::new();
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        let Some(position) = event["output_index"].as_u64() else { continue };
        let id = event["item_id"].as_str().or(event["item"]["id"].as_str()).unwrap().to_owned();
        assert_eq!(*items.entry(position).or_insert_with(|| id.clone()), id, "{event}");
    }
    assert!(items.len() > 1);
}

#[test]
fn a_failed_stream_of_responses_says_so_in_the_form_that_clients_raise() {
    let bytes = fs::read(fixtures().join("openai_chat/error_stream/answer.sse")).unwrap();
    let events = decode(Dialect::OpenAiChat, Mode::Stream, Undo::default(), &bytes).unwrap();
    let (text, _) = encode(Dialect::OpenAiResponses, Mode::Stream, events);
    let error = text.find("event: error\n").unwrap();
    assert!(text[error..].contains("\"error\":{\"message\":") && text[error..].contains("event: response.failed\n"));
}
