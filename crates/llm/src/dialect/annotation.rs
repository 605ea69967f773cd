//! Citations of addresses, which chat completions nest under their type and responses do not.

use crate::canonical::json::Raw;
use crate::codec::json;

use super::Dialect;
use super::openai_usage::fields_of;

const KIND: &str = "url_citation";

/// Returns the items of a list of annotations.
pub(super) fn list(raw: &Raw) -> Vec<Raw> {
    let root = json::root(raw.as_str().as_bytes()).and_then(|root| root.array());
    root.map(|array| array.iter().map(|node| node.raw()).collect()).unwrap_or_default()
}

/// Gives an annotation in the form of `to`; `None` when it has none there.
pub(super) fn translate(raw: &Raw, from: Dialect, to: Dialect) -> Option<Raw> {
    match (from, to) {
        _ if from == to => Some(raw.clone()),
        (Dialect::OpenAiChat, Dialect::OpenAiResponses) => {
            let inner = fields_of(raw)?.into_iter().find(|(name, _)| &**name == KIND)?.1;
            let fields = fields_of(&inner)?;
            Some(json::raw_object(|object| {
                object.str("type", KIND);
                for (name, value) in &fields {
                    object.raw(name, value);
                }
            }))
        }
        (Dialect::OpenAiResponses, Dialect::OpenAiChat) => {
            let fields = fields_of(raw)?;
            let kind = fields.iter().find(|(name, _)| &**name == "type")?;
            (kind.1.as_str() == "\"url_citation\"").then(|| {
                json::raw_object(|object| {
                    object.str("type", KIND);
                    object.object(KIND, |object| {
                        for (name, value) in fields.iter().filter(|(name, _)| &**name != "type") {
                            object.raw(name, value);
                        }
                    });
                })
            })
        }
        _ => None,
    }
}
