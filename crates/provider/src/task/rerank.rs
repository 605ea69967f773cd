//! Ranking of documents. The client's form is what Cohere, Jina and vLLM agree on; vendors differ in the name of the cap and of
//! the list, and in what they count.
//!
//! Facts: the vendors' API references, read November 2026. Invariant: every result names a document of the request.

use bytes::Bytes;
use domain::usage::{TokenUsage, UnitUsage};
use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::{Asked, Form, Told, Written, answer as read_json, invalid, object, text, unknown_fields};
use crate::provider::{Call, Place, PrepareError};
use crate::skim::Skimmed;
use llm::canonical::error::DecodeError;

/// What everybody takes.
const KNOWN: &[&str] =
    &["model", "query", "documents", "top_n", "top_k", "return_documents", "max_tokens_per_doc", "truncation"];
/// Most documents of one call, as Cohere's.
const MAX_DOCUMENTS: usize = 10_000;

/// A vendor's form.
#[derive(Debug)]
pub struct Rerank {
    top: &'static str,
}

/// With the cap called `top_n`.
pub static RERANK: Rerank = Rerank { top: "top_n" };
/// With the cap called `top_k`.
pub static RERANK_TOP_K: Rerank = Rerank { top: "top_k" };

impl Form for Rerank {
    fn write(&self, call: &Call<'_>, model: &str, _place: &Place) -> Result<Written, PrepareError> {
        let asked = object(call)?;
        let query = text(&asked, "query")?;
        let documents = texts(&asked)?;
        let mut body = json!({"model": model, "query": query, "documents": documents});
        if let Some(top) = top(&asked)? {
            body[self.top] = top.into();
        }
        for name in ["max_tokens_per_doc", "truncation"] {
            if !asked[name].is_null() {
                body[name] = asked[name].clone();
            }
        }
        let losses = unknown_fields(&asked, KNOWN, "the ranking of documents knows no such parameter");
        Ok(Written { losses, ..Written::json(&body) })
    }

    fn read(&self, asked: &Asked, _content_type: &HeaderValue, body: &Bytes) -> Result<Told, DecodeError> {
        let said = read_json(body)?;
        let list = said["results"].as_array().or_else(|| said["data"].as_array()).ok_or(DecodeError::Truncated)?;
        let ranked: Option<Vec<(usize, f64)>> = list
            .iter()
            .map(|result| {
                let index = usize::try_from(result["index"].as_u64()?).ok()?;
                let score = result["relevance_score"].as_f64().or_else(|| result["score"].as_f64())?;
                Some((index, score))
            })
            .collect();
        let ranked = ranked.ok_or(DecodeError::Truncated)?;
        let billed = &said["meta"]["billed_units"];
        let usage = &said["usage"];
        let input = [&usage["total_tokens"], &usage["prompt_tokens"], &billed["input_tokens"]];
        let input = input.into_iter().find_map(Value::as_u64);
        // A vendor that counts neither tokens nor searches has done one search.
        let searches = billed["search_units"].as_u64().unwrap_or(u64::from(input.is_none()));
        let mut written = answer(&asked.value(), &asked.model, &ranked).ok_or(DecodeError::Truncated)?;
        if let Some(id) = said["id"].as_str() {
            written["id"] = id.into();
        }
        tell(&mut written, input, searches);
        let found = Skimmed {
            usage: input.map(|input| TokenUsage { input, ..TokenUsage::default() }),
            units: UnitUsage { searches, ..UnitUsage::default() },
            ..Skimmed::default()
        };
        Ok(Told::json(&written, found))
    }
}

/// Reads the documents' texts: strings, or objects with a `text`.
fn texts(asked: &Value) -> Result<Vec<&str>, PrepareError> {
    let list = asked["documents"].as_array().filter(|list| !list.is_empty() && list.len() <= MAX_DOCUMENTS);
    let list = list.ok_or_else(|| invalid("documents", "must be 1 to 10000 strings, or objects with a text"))?;
    let text = |document: &'_ Value| document.as_str().or_else(|| document["text"].as_str()).map(str::len);
    if !list.iter().all(|document| text(document).is_some()) {
        return Err(invalid("documents", "must be strings, or objects with a text"));
    }
    Ok(list.iter().filter_map(|document| document.as_str().or_else(|| document["text"].as_str())).collect())
}

fn top(asked: &Value) -> Result<Option<u64>, PrepareError> {
    let given = if asked["top_n"].is_null() { &asked["top_k"] } else { &asked["top_n"] };
    match given {
        Value::Null => Ok(None),
        value => value.as_u64().filter(|top| *top > 0).map(Some).ok_or_else(|| invalid("top_n", "must be 1 or more")),
    }
}

/// Ranks documents here: the caller says how well each answers the query.
pub(crate) fn rank(asked: &Value, score: impl Fn(&str, &str) -> f64) -> Result<Vec<(usize, f64)>, PrepareError> {
    let query = text(asked, "query")?;
    let documents = texts(asked)?;
    let mut ranked: Vec<(usize, f64)> =
        documents.iter().enumerate().map(|(index, document)| (index, score(query, document))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if let Some(top) = top(asked)? {
        ranked.truncate(usize::try_from(top).unwrap_or(usize::MAX));
    }
    Ok(ranked)
}

/// Writes an answer in the client's form; `None` when a result names no document of the request.
#[must_use]
pub(crate) fn answer(asked: &Value, model: &str, ranked: &[(usize, f64)]) -> Option<Value> {
    let documents = asked["documents"].as_array()?;
    let is_returned = asked["return_documents"].as_bool().unwrap_or(false);
    let mut results = Vec::with_capacity(ranked.len());
    for (index, score) in ranked {
        let document = documents.get(*index)?;
        let mut result = Map::new();
        result.insert("index".to_owned(), (*index).into());
        result.insert("relevance_score".to_owned(), (*score).into());
        if is_returned {
            let document = if document.is_string() { json!({"text": document}) } else { document.clone() };
            result.insert("document".to_owned(), document);
        }
        results.push(Value::Object(result));
    }
    Some(json!({"object": "list", "model": model, "results": results}))
}

/// Adds what was counted, under the names of both vendors.
pub(crate) fn tell(answer: &mut Value, input: Option<u64>, searches: u64) {
    if let Some(input) = input {
        answer["usage"] = json!({"prompt_tokens": input, "total_tokens": input});
    }
    if searches > 0 {
        answer["meta"] = json!({"billed_units": {"search_units": searches}});
    }
}
