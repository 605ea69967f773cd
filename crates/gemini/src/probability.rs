//! Token probabilities in Gemini's words: what was said and what might have been, in two lists side by side.
//!
//! Invariant: what came from Gemini goes out as it came.

use hub::canonical::error::DecodeError;
use hub::canonical::json::Raw;
use hub::canonical::probability::{Candidate, Probabilities, Token};
use hub::codec::json::{self, Array, Node, Object, ObjectWriter};

/// Reads `logprobsResult`.
pub(super) fn read(node: &Node<'_, '_>) -> Probabilities {
    Probabilities { raw: node.raw(), tokens: read_tokens(node).unwrap_or_default() }
}

fn read_tokens(node: &Node<'_, '_>) -> Result<Vec<Token>, DecodeError> {
    let object = node.object()?.camel();
    let chosen = object.get("chosenCandidates")?;
    let top = object.find("topCandidates");
    let top = top.as_ref().map(Node::array).transpose()?;
    let mut steps = top.as_ref().map(Array::iter);
    let mut tokens = Vec::new();
    for said in chosen.array()?.iter() {
        let mut top = Vec::new();
        if let Some(step) = steps.as_mut().and_then(Iterator::next)
            && let Some(candidates) = step.object()?.find("candidates")
        {
            for candidate in candidates.array()?.iter() {
                top.push(read_candidate(&candidate.object()?.camel())?);
            }
        }
        tokens.push(Token { said: read_candidate(&said.object()?.camel())?, top });
    }
    Ok(tokens)
}

fn read_candidate(object: &Object<'_, '_>) -> Result<Candidate, DecodeError> {
    let logprob = object.get("logProbability")?;
    logprob.f64()?;
    Ok(Candidate { token: object.get("token")?.boxed()?, logprob: logprob.raw() })
}

/// Says it as Gemini does; `None` when it was not understood.
pub(super) fn write(found: &Probabilities, is_ours: bool) -> Option<Raw> {
    if is_ours {
        return Some(found.raw.clone());
    }
    let lists = |object: &mut ObjectWriter<'_>| {
        if found.tokens.iter().any(|token| !token.top.is_empty()) {
            object.array("topCandidates", |array| {
                for token in &found.tokens {
                    array.object(|object| {
                        object.array("candidates", |array| {
                            for it in &token.top {
                                array.object(|object| write_candidate(it, object));
                            }
                        });
                    });
                }
            });
        }
        object.array("chosenCandidates", |array| {
            for token in &found.tokens {
                array.object(|object| write_candidate(&token.said, object));
            }
        });
    };
    (!found.tokens.is_empty()).then(|| json::raw_object(lists))
}

fn write_candidate(it: &Candidate, object: &mut ObjectWriter<'_>) {
    object.str("token", &it.token);
    object.raw("logProbability", &it.logprob);
}
