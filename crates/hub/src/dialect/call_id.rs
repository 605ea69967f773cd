//! What ids of tool calls carry besides the id.
//!
//! Gemini signs its thinking on the call itself and refuses the call later without the signature, but plain clients of
//! other dialects return nothing of a call except id, name and arguments. So the signature travels in the id,
//! `<id>_hgsig_<base64url>`, which every vendor's alphabet for ids allows, and is taken off again before an upstream sees
//! the id. Some Gemini models give no ids at all; those made up for them are known by their beginning and never sent.

/// Stands between an id and the signature.
const MARK: &str = "_hgsig_";
const MADE_UP: &str = "call_gemini_";
/// How proofs of reasoning begin that name the vendor who gave them. The last is the base64 of `headgate:`.
const PROOFS: [&str; 4] = ["gemini:", "openai:", "headgate:", "aGVhZGdhdGU6"];

/// Puts a signature (base64) into an id; `None` when the signature is not base64.
pub fn sign(id: &str, signature: &str) -> Option<String> {
    let body = signature.trim_end_matches('=');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    if body.is_empty() || body.len() % 4 == 1 || !body.bytes().all(is_base64) {
        return None;
    }
    Some(format!("{id}{MARK}{}", body.replace('+', "-").replace('/', "_")))
}

/// Splits an id into the upstream's own and the signature in standard base64.
pub fn split(id: &str) -> (&str, Option<String>) {
    match id.split_once(MARK) {
        None => (id, None),
        Some((id, body)) => {
            let mut signature = body.replace('-', "+").replace('_', "/");
            signature.push_str(&"=="[..(4 - body.len() % 4) % 4 % 3]);
            (id, Some(signature))
        }
    }
}

/// Returns the id without the signature.
pub fn bare(id: &str) -> &str {
    id.split_once(MARK).map_or(id, |(id, _)| id)
}

/// Makes up an id; `seed` and `number` tell calls of different answers and of one answer apart.
pub fn make_up(seed: &str, number: u32) -> String {
    let seed: String = seed.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    format!("{MADE_UP}{seed}_{number}")
}

/// Says whether an id was made up here.
pub fn is_made_up(id: &str) -> bool {
    id.starts_with(MADE_UP)
}

/// Says whether a string of a request, as it is written, is a proof of reasoning that was given to the client in a form that
/// the vendor whose dialect it speaks does not know; `is_id` when it is the id of something. A request with such a string must
/// be translated even when the upstream speaks its dialect.
#[must_use]
pub fn is_proof(written: &[u8], is_id: bool) -> bool {
    // Few strings begin like one, so most are told apart by a byte.
    let may_be = matches!(written, [b'g' | b'o' | b'h' | b'a', _, ..]);
    may_be && PROOFS.iter().any(|proof| written.starts_with(proof.as_bytes()))
        || is_id && memchr::memmem::find(written, MARK.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_survive_in_ids() {
        for signature in ["Zg==", "Zm8=", "Zm9v", "//4=", "+/+/"] {
            let id = sign("call_1", signature).unwrap();
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
            assert_eq!(split(&id), ("call_1", Some(signature.to_owned())));
            assert_eq!(bare(&id), "call_1");
            assert!(is_proof(id.as_bytes(), true) && !is_proof(id.as_bytes(), false));
        }
        assert_eq!(sign("call_1", "not base64"), None);
        assert_eq!(sign("call_1", ""), None);
        assert_eq!(split("call_1"), ("call_1", None));
    }

    #[test]
    fn proofs_are_known_by_their_beginning() {
        assert!(
            ["gemini:x", "openai:", "headgate:e30", "aGVhZGdhdGU6e30"].iter().all(|it| is_proof(it.as_bytes(), false))
        );
        assert!(["", "g", "gemini", "a gemini:x", "EqQB"].iter().all(|it| !is_proof(it.as_bytes(), true)));
    }
}
