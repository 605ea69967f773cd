//! Anthropic's switches (`anthropic-beta`) where Claude is not at home: each cloud knows some, refuses calls with others, and has
//! its own place for them.
//!
//! Facts: the clouds' documentation and field notes, read November 2026. Invariant: a switch that the cloud does not know is
//! left out, never renamed; what a client wrote into the body itself stays as it is.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("anthropic-beta");
/// Their place in a body of Bedrock's.
const FIELD: &str = "anthropic_beta";

/// What Amazon takes with Claude's own form.
pub(super) const BEDROCK: &[&str] = &[
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "token-efficient-tools-2025-02-19",
    "tool-examples-2025-10-29",
    "tool-search-tool-2025-10-19",
];
/// What Google takes.
pub(super) const VERTEX: &[&str] = &[
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "interleaved-thinking-2025-05-14",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

fn asked<'h>(headers: &'h HeaderMap, known: &[&str]) -> Vec<&'h str> {
    let values = headers.get_all(HEADER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).map(str::trim).filter(|beta| known.contains(beta)).collect()
}

/// Leaves in a request's header what is known.
pub(super) fn keep_known(headers: &mut HeaderMap, known: &[&str]) {
    let kept = HeaderValue::try_from(asked(headers, known).join(","));
    headers.remove(HEADER);
    if let Ok(kept) = kept
        && !kept.is_empty()
    {
        headers.insert(HEADER, kept);
    }
}

/// Writes what is known of a client's header into a body.
pub(super) fn write_known(client: &HeaderMap, known: &[&str], body: &Bytes) -> Option<Bytes> {
    let asked = asked(client, known);
    let rest = body.strip_prefix(b"{")?;
    if asked.is_empty() || super::rules::has_key(body, FIELD) {
        return None;
    }
    let mut out = BytesMut::with_capacity(body.len() + 64 + asked.iter().map(|beta| beta.len() + 3).sum::<usize>());
    out.put_slice(b"{\"");
    out.put_slice(FIELD.as_bytes());
    // Known ones hold nothing that JSON would have to escape.
    out.put_slice(format!("\":[\"{}\"]", asked.join("\",\"")).as_bytes());
    if !rest.trim_ascii_start().starts_with(b"}") {
        out.put_u8(b',');
    }
    out.put_slice(rest);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HEADER, HeaderValue::from_static(list))])
    }

    #[test]
    fn only_known_switches_reach_a_cloud() {
        let mut sent = headers("claude-code-20250219, context-1m-2025-08-07,effort-2025-11-24");
        keep_known(&mut sent, VERTEX);
        assert_eq!(sent[HEADER], "context-1m-2025-08-07");
        let mut none = headers("claude-code-20250219");
        keep_known(&mut none, VERTEX);
        assert!(none.is_empty());
    }

    #[test]
    fn a_body_holds_them_once() {
        let write =
            |body: &'static str, list| write_known(&headers(list), BEDROCK, &Bytes::from_static(body.as_bytes()));
        let two = "context-1m-2025-08-07,x,effort-2025-11-24";
        let written = write("{\"max_tokens\":1}", two).unwrap();
        assert_eq!(written, "{\"anthropic_beta\":[\"context-1m-2025-08-07\",\"effort-2025-11-24\"],\"max_tokens\":1}");
        assert_eq!(
            write("{ }", two).unwrap(),
            "{\"anthropic_beta\":[\"context-1m-2025-08-07\",\"effort-2025-11-24\"] }"
        );
        assert_eq!(write("{\"anthropic_beta\":[]}", two), None, "the client's own word");
        assert_eq!(write("{}", "x"), None);
        assert_eq!(write("[]", two), None);
    }
}
