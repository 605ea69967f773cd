//! A conversation kept between calls: what a call asks to be remembered, what is kept of it, what a later call continues.
//!
//! Works on items as the client wrote them, so that nothing of them is lost whoever answers. Not here: where it is kept.
//! Invariant: what goes back to a model names nothing that only the upstream that made it could look up.

use bytes::{Bytes, BytesMut};

use hub::canonical::error::DecodeError;
use hub::canonical::json::Raw;
use hub::codec::json::{self, Node, object_bytes, raw_object, write_object};

/// What a request says about remembering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Id of the answer that the call continues.
    pub previous: Option<String>,
    /// Whether the answer should be kept; `None` leaves it to whoever keeps.
    pub store: Option<bool>,
    /// Whether the answer is to be made after the call has returned.
    pub is_background: bool,
}

/// Reads what a request body says about remembering.
pub fn read_wish(body: &[u8]) -> Result<Wish, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    Ok(Wish {
        previous: object.find_string("previous_response_id")?,
        store: object.find_bool("store")?,
        is_background: object.find_bool("background")? == Some(true),
    })
}

/// One call and its answer, as they are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Everything the model was given but instructions: the items of earlier turns, then the call's own.
    pub input: Vec<Raw>,
    /// The answer.
    pub response: Raw,
}

impl Turn {
    /// Writes it for keeping.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        object_bytes(|object| {
            object.array("input", |array| self.input.iter().for_each(|item| array.raw(item)));
            object.raw("response", &self.response);
        })
    }

    /// Reads what was kept.
    pub fn decode(kept: &[u8]) -> Result<Self, DecodeError> {
        let root = json::root(kept)?;
        let object = root.object()?;
        let input = object.get("input")?.array()?.iter().map(|node| node.raw()).collect();
        Ok(Self { input, response: object.get("response")?.raw() })
    }

    /// Returns the items that a later call continues from.
    #[must_use]
    pub fn history(&self) -> Vec<Raw> {
        let mut items = self.input.clone();
        if let Ok(root) = json::root(self.response.as_str().as_bytes())
            && let Ok(object) = root.object()
            && let Some(output) = object.find("output")
            && let Ok(output) = output.array()
        {
            items.extend(output.iter().filter_map(|node| replayed(&node)));
        }
        items
    }

    /// Writes the list of the input's items; each gets an id where it has none.
    #[must_use]
    pub fn encode_input_list(&self) -> Bytes {
        let ids: Vec<Raw> = (0..self.input.len()).filter_map(|at| Raw::of(&format!("item_{at}"))).collect();
        let named = |(item, id): (&Raw, &Raw)| match find_id(item) {
            Some(_) => item.clone(),
            None => item.with_field("id", id).unwrap_or_else(|| item.clone()),
        };
        let items: Vec<Raw> = self.input.iter().zip(&ids).map(named).collect();
        object_bytes(|object| {
            object.str("object", "list");
            object.array("data", |array| items.iter().for_each(|item| array.raw(item)));
            object.opt_str("first_id", items.first().and_then(find_id).as_deref());
            object.opt_str("last_id", items.last().and_then(find_id).as_deref());
            object.bool("has_more", false);
        })
    }
}

fn find_id(item: &Raw) -> Option<String> {
    json::root(item.as_str().as_bytes()).ok()?.object().ok()?.find_string("id").ok()?
}

/// An item of an answer as part of a later request. Ids and states of what was said are the upstream's business; a thought
/// without its content can only be looked up where it was thought.
fn replayed(node: &Node<'_, '_>) -> Option<Raw> {
    let object = node.object().ok()?;
    let kind = object.find_string("type").ok()??;
    let object = node.object().ok()?;
    match kind.as_str() {
        "reasoning" if node.object().ok()?.find("encrypted_content").is_none() => return None,
        "message" | "function_call" | "reasoning" | "custom_tool_call" => object.skip(&["id", "status"]),
        _ => {}
    }
    let rest = object.rest();
    Some(raw_object(|object| object.rest(&rest)))
}

/// Returns a request body in which earlier items stand before the call's own and no answer is continued, with all its items.
pub fn continued(body: &[u8], history: Vec<Raw>) -> Result<(Bytes, Vec<Raw>), DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    object.skip(&["previous_response_id"]);
    let mut items = history;
    if let Some(input) = object.find("input") {
        items.extend(read_items(&input)?);
    }
    let rest = object.rest();
    let mut out = BytesMut::with_capacity(body.len());
    write_object(&mut out, |object| {
        object.rest(&rest);
        object.array("input", |array| items.iter().for_each(|item| array.raw(item)));
    });
    Ok((out.freeze(), items))
}

/// Returns the items of a request's input.
pub fn input_items(body: &[u8]) -> Result<Vec<Raw>, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    object.find("input").map_or_else(|| Ok(Vec::new()), |input| read_items(&input))
}

fn read_items(input: &Node<'_, '_>) -> Result<Vec<Raw>, DecodeError> {
    if input.is_array() {
        return Ok(input.array()?.iter().map(|node| node.raw()).collect());
    }
    let text = input.string()?;
    Ok(vec![raw_object(|object| {
        object.str("type", "message");
        object.str("role", "user");
        object.array("content", |array| {
            array.object(|object| {
                object.str("type", "input_text");
                object.str("text", &text);
            });
        });
    })])
}

/// Returns an answer's id, when it is one that can be kept: complete, or cut by its length.
#[must_use]
pub fn kept_id(response: &[u8]) -> Option<String> {
    let root = json::root(response).ok()?;
    let object = root.object().ok()?;
    let status = object.find_string("status").ok()??;
    let id = object.find_string("id").ok()?;
    id.filter(|_| matches!(status.as_str(), "completed" | "incomplete"))
}

/// Returns the answer inside the data of the event that ends a stream.
#[must_use]
pub fn final_response(data: &[u8]) -> Option<Raw> {
    Some(json::root(data).ok()?.object().ok()?.find("response")?.raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(text).unwrap()
    }

    #[test]
    fn a_turn_is_continued_by_its_items() {
        let response = r#"{"id":"resp_1","status":"completed","output":[
            {"id":"rs_1","type":"reasoning","summary":[]},
            {"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"x"},
            {"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]},
            {"id":"ws_1","type":"web_search_call","status":"completed"}]}"#;
        let input = input_items(br#"{"input":"Hello","model":"m"}"#).unwrap();
        let turn = Turn { input, response: raw(response) };
        assert_eq!(Turn::decode(&turn.encode()), Ok(turn.clone()));
        let body = br#"{"model":"m","previous_response_id":"resp_1","input":[{"role":"user","content":"Go on"}],"store":false}"#;
        let (body, items) = continued(body, turn.history()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&read["model"], &read["store"], read.get("previous_response_id")),
            (&"m".into(), &false.into(), None)
        );
        let texts: Vec<_> = items.iter().map(Raw::as_str).collect();
        assert_eq!(
            texts,
            [
                r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}"#,
                r#"{"type":"reasoning","summary":[],"encrypted_content":"x"}"#,
                r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}"#,
                r#"{"id":"ws_1","type":"web_search_call","status":"completed"}"#,
                r#"{"role":"user","content":"Go on"}"#,
            ]
        );
        let list: serde_json::Value = serde_json::from_slice(&turn.encode_input_list()).unwrap();
        assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&"item_0".into(), &false.into()));
    }

    #[test]
    fn only_answers_that_ended_are_kept() {
        assert_eq!(kept_id(br#"{"id":"resp_1","status":"incomplete"}"#).as_deref(), Some("resp_1"));
        for other in [r#"{"id":"resp_1","status":"failed"}"#, r#"{"status":"completed"}"#, "[]", ""] {
            assert_eq!(kept_id(other.as_bytes()), None, "{other}");
        }
    }
}
