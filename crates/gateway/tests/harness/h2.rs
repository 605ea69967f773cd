//! The headers of HTTP/2 as HPACK writes them.
//!
//! Only what an attacker needs; nothing is checked.

use super::policy::token;

/// Writes headers in HPACK, each as a literal that nobody remembers (RFC 7541 §6.2.2).
pub(crate) fn literal(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

/// The same as a literal that is remembered (RFC 7541 §6.2.1).
pub(crate) fn remembered(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

fn string(text: &str) -> Vec<u8> {
    // A length takes seven bits, or says with all of them that more follow, seven at a time (RFC 7541 §5.1).
    let mut bytes = Vec::new();
    let mut rest = text.len();
    if rest < 127 {
        bytes.push(u8::try_from(rest).expect("seven bits"));
    } else {
        bytes.push(127);
        rest -= 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("seven bits"));
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// The head of a call, and more.
pub(crate) fn call_head(more: &[(&str, &str)]) -> Vec<u8> {
    let key = token();
    let own = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway.test"),
        (":path", "/v1/chat/completions"),
        ("x-api-key", key.expose()),
    ];
    [literal(&own), literal(more)].concat()
}
