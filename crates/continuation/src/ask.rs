//! What the next upstream is asked: the client's own request, and at its end what was said so far.

use bytes::Bytes;
use llm::canonical::content::{Block, Content, Message, Role};
use llm::canonical::request::ChatRequest;
use llm::dialect::{Dialect, RequestOptions, Speak as _, Undo};
use provider::scan::{Scan, scan};
use provider::{Call, Operation};

/// Tells a model that cannot go on from a message of its own what to do.
const INSTRUCTION: &str = "Your answer above was cut off. Go on from exactly where it ends: begin with the very next character, \
                           repeat nothing of it, and say nothing about the interruption.";
/// Bytes of text per token, when what is left of a cap on tokens is reckoned.
const BYTES_PER_TOKEN: u64 = 4;

/// A request in the client's dialect.
#[derive(Debug)]
pub struct Asked {
    /// Its body.
    pub body: Bytes,
    /// What `scan` reads in it.
    pub scan: Scan,
}

/// Says whether an answer to a call may be one that can go on elsewhere: one choice of free text, as a stream. Looks only at what
/// was scanned; [`ask`] has the last word.
#[must_use]
pub fn may_continue(call: &Call<'_>) -> bool {
    let is_chat = matches!(call.operation, Operation::Chat(dialect) if dialect != Dialect::OpenAiCompletions);
    let is_plain = call.scan.response_format.is_none() && call.scan.n.is_none_or(|n| n <= 1);
    is_chat && is_plain && call.scan.is_stream()
}

/// Makes the request that goes on from `said`; with `is_prefilled` for an upstream that goes on from a message of its own, else
/// with an instruction. `None` when the answer cannot go on, or not like that.
#[must_use]
pub fn ask(call: &Call<'_>, said: &str, is_prefilled: bool) -> Option<Asked> {
    let Operation::Chat(client) = call.operation else { return None };
    // Gemini's says the model in the address; nothing of it is in the body.
    let model = call.scan.model.as_ref().map_or("", |model| model.value.as_str());
    let mut request = call.decode(client, model).ok()?;
    if request.response_format.is_some() || request.logprobs.is_some() || request.n.is_some_and(|n| n > 1) {
        return None;
    }
    let has_said = !said.trim().is_empty();
    // Who thinks first begins a new message.
    if is_prefilled && (!has_said || request.reasoning.is_some()) {
        return None;
    }
    if has_said {
        append(&mut request, said, is_prefilled);
        shorten(&mut request, said);
    }
    let options = RequestOptions { replay_reasoning: true, cache_control: true, ..RequestOptions::STANDARD };
    let encoded = client.encode_request(&request, &options).ok().filter(|encoded| encoded.undo == Undo::default())?;
    let mut found = scan(&encoded.body).ok()?;
    found.stream = Some(true);
    Some(Asked { body: encoded.body, scan: found })
}

fn append(request: &mut ChatRequest, said: &str, is_prefilled: bool) {
    // Upstreams refuse blanks at the end of a message to go on from.
    let said = if is_prefilled { said.trim_end() } else { said };
    match request.messages.last_mut() {
        // The client itself had begun the answer.
        Some(Message { role: Role::Assistant, content, .. }) => {
            match content.last_mut().map(|block| &mut block.content) {
                Some(Content::Text(begun)) => begun.text.push_str(said),
                _ => content.push(Block::text(said)),
            }
        }
        _ => request.messages.push(Message::new(Role::Assistant, vec![Block::text(said)])),
    }
    if !is_prefilled {
        request.messages.push(Message::new(Role::User, vec![Block::text(INSTRUCTION)]));
    }
}

/// The cap on tokens is the caller's money: what was said counts. A cap that thinking counts against too is left alone.
fn shorten(request: &mut ChatRequest, said: &str) {
    if request.reasoning.is_none()
        && let Some(cap) = &mut request.max_tokens
    {
        let used = u64::try_from(said.len()).unwrap_or(u64::MAX) / BYTES_PER_TOKEN;
        cap.tokens = cap.tokens.saturating_sub(used).max(1);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn asked(client: Dialect, body: &Value, said: &str, is_prefilled: bool) -> Option<Value> {
        let body = Bytes::from(body.to_string());
        let mut scan = scan(&body).unwrap();
        scan.stream = Some(true);
        let headers = HeaderMap::new();
        let call =
            Call { operation: Operation::Chat(client), body: &body, scan: &scan, headers: &headers, inlined: None };
        let asked = ask(&call, said, is_prefilled)?;
        assert!(asked.scan.is_stream());
        serde_json::from_slice(&asked.body).ok()
    }

    #[test]
    fn the_request_is_the_clients_own_with_what_was_said_at_its_end() {
        let body = json!({"model": "m", "stream": true, "max_tokens": 100, "temperature": 0.5, "x_own": {"kept": true},
            "messages": [{"role": "user", "content": "Hi"}]});
        let told = asked(Dialect::OpenAiChat, &body, "Hello, this is", false).unwrap();
        assert_eq!(told["messages"][0], body["messages"][0]);
        assert_eq!(told["messages"][1], json!({"role": "assistant", "content": "Hello, this is"}));
        assert_eq!(told["messages"][2]["role"], "user");
        assert_eq!((&told["temperature"], &told["x_own"], &told["model"]), (&json!(0.5), &body["x_own"], &json!("m")));
        assert_eq!(told["max_tokens"], 97, "what was said counts");
        let again = asked(Dialect::OpenAiChat, &body, "", false).unwrap();
        assert_eq!((&again["messages"], &again["max_tokens"]), (&body["messages"], &body["max_tokens"]));
    }

    #[test]
    fn a_message_to_go_on_from_ends_without_blanks() {
        let body =
            json!({"model": "m", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
        let told = asked(Dialect::AnthropicMessages, &body, "Hello \n", true).unwrap();
        assert_eq!(told["messages"].as_array().unwrap().len(), 2);
        assert_eq!(told["messages"][1]["content"][0]["text"], "Hello");
        assert_eq!(asked(Dialect::AnthropicMessages, &body, " \n", true), None);
        let thinking = json!({"type": "enabled", "budget_tokens": 1024});
        let mut thoughtful = body.clone();
        thoughtful["thinking"] = thinking;
        assert_eq!(asked(Dialect::AnthropicMessages, &thoughtful, "Hello", true), None);
        assert!(asked(Dialect::AnthropicMessages, &thoughtful, "Hello", false).is_some());
    }

    #[test]
    fn an_answer_that_the_client_began_goes_on_as_one() {
        let body = json!({"model": "m", "stream": true, "max_tokens": 100,
            "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "He"}]});
        let told = asked(Dialect::AnthropicMessages, &body, "llo", true).unwrap();
        assert_eq!(told["messages"][1]["content"][0]["text"], "Hello");
    }

    #[test]
    fn what_is_no_free_text_is_not_asked_for() {
        for more in [json!({"response_format": {"type": "json_object"}}), json!({"n": 2}), json!({"logprobs": true})] {
            let mut body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(asked(Dialect::OpenAiChat, &body, "Hello", false), None, "{more}");
        }
        let body = json!({"model": "m", "stream": true, "input": "Hi", "text": {"format": {"type": "json_object"}}});
        assert_eq!(asked(Dialect::OpenAiResponses, &body, "Hello", false), None);
    }
}
