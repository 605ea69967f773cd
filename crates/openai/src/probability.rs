//! Token probabilities in OpenAI's words: `content`, a list that chat completions and responses have alike, and the lists side by
//! side of legacy completions.
//!
//! Invariant: what came from a dialect with the same words goes out as it came.

use hub::canonical::error::DecodeError;
use hub::canonical::json::Raw;
use hub::canonical::probability::{Candidate, Probabilities, Token};
use hub::codec::json::{self, Array, Node, ObjectWriter};
use hub::dialect::Dialect;

/// Reads `{"content":[…],"refusal":[…]}`.
pub(crate) fn read(raw: Raw) -> Probabilities {
    let tokens = json::root(raw.as_str().as_bytes()).and_then(|root| read_lists(&root)).unwrap_or_default();
    Probabilities { raw, tokens }
}

/// Reads `{"tokens":[…],"token_logprobs":[…],"top_logprobs":[…]}`.
pub(crate) fn read_columns(raw: Raw) -> Probabilities {
    let tokens = json::root(raw.as_str().as_bytes()).and_then(|root| zip_columns(&root)).unwrap_or_default();
    Probabilities { raw, tokens }
}

/// Says it as chat completions do; `None` when it was not understood.
pub(crate) fn write(found: &Probabilities, origin: Dialect) -> Option<Raw> {
    if origin.is_openai() {
        return Some(found.raw.clone());
    }
    let list = |object: &mut ObjectWriter<'_>| {
        object.array("content", |array| {
            for Token { said, top } in &found.tokens {
                array.object(|object| {
                    write_candidate(said, object);
                    object.array("top_logprobs", |array| {
                        for it in top {
                            array.object(|object| write_candidate(it, object));
                        }
                    });
                });
            }
        });
        object.null("refusal");
    };
    (!found.tokens.is_empty()).then(|| json::raw_object(list))
}

fn write_candidate(it: &Candidate, object: &mut ObjectWriter<'_>) {
    object.str("token", &it.token);
    object.raw("logprob", &it.logprob);
    // A token that is no whole character comes as one that stands for any.
    if it.token.contains(char::REPLACEMENT_CHARACTER) {
        return object.null("bytes");
    }
    object.array("bytes", |array| it.token.bytes().for_each(|byte| array.literal(&byte.to_string())));
}

fn read_lists(root: &Node<'_, '_>) -> Result<Vec<Token>, DecodeError> {
    let object = root.object()?;
    let mut tokens = Vec::new();
    for name in ["content", "refusal"] {
        let Some(list) = object.find(name) else { continue };
        for token in list.array()?.iter() {
            let token = token.object()?;
            let mut top = Vec::new();
            if let Some(others) = token.find("top_logprobs") {
                for other in others.array()?.iter() {
                    let other = other.object()?;
                    top.push(Candidate {
                        token: other.get("token")?.boxed()?,
                        logprob: number(&other.get("logprob")?)?,
                    });
                }
            }
            let said = Candidate { token: token.get("token")?.boxed()?, logprob: number(&token.get("logprob")?)? };
            tokens.push(Token { said, top });
        }
    }
    Ok(tokens)
}

fn zip_columns(root: &Node<'_, '_>) -> Result<Vec<Token>, DecodeError> {
    let object = root.object()?;
    let (said, probable) = (object.get("tokens")?, object.get("token_logprobs")?);
    let top = object.find("top_logprobs");
    let top = top.as_ref().map(Node::array).transpose()?;
    let mut others = top.as_ref().map(Array::iter);
    let mut tokens = Vec::new();
    for (token, logprob) in said.array()?.iter().zip(probable.array()?.iter()) {
        let mut top = Vec::new();
        if let Some(other) = others.as_mut().and_then(Iterator::next).filter(Node::is_object) {
            for (name, value) in &other.object()?.rest().0 {
                top.push(Candidate { token: name.clone(), logprob: value.clone() });
            }
        }
        // The first token of a prompt that is repeated has no probability.
        if !logprob.is_null() {
            tokens.push(Token { said: Candidate { token: token.boxed()?, logprob: number(&logprob)? }, top });
        }
    }
    Ok(tokens)
}

fn number(node: &Node<'_, '_>) -> Result<Raw, DecodeError> {
    node.f64().map(|_| node.raw())
}
