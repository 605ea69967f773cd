//! What secret scanners need to know of our tokens: how to find them, how to be sure, where to report them.
//!
//! Made from the code that makes tokens, so it cannot differ from it. Public, and tells nothing of this installation but its
//! own address.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use domain::secret::{TokenKind, checksum_of};
use http::{HeaderValue, header};
use serde_json::json;

/// Where it stands.
pub const PATH: &str = "/.well-known/secret-scanning";

/// Writes the document; the address of reports is whole when the installation knows its own.
#[must_use]
pub fn document(public_url: Option<&str>) -> String {
    let base = public_url.unwrap_or_default().trim_end_matches('/');
    let tokens = TokenKind::ALL.map(|kind| {
        let pattern = kind.pattern();
        json!({ "type": format!("headgate_{}", kind.as_str()), "prefix": kind.prefix(), "pattern": pattern })
    });
    let document = json!({
        "issuer": "headgate",
        "tokens": tokens,
        "checksum": {
            "where": "after the last underscore",
            "of": "everything before the last underscore",
            "algorithm": "CRC-32/ISO-HDLC, as six digits of base 62 (0-9A-Za-z), most significant first",
            "example": { "of": "headgate", "checksum": checksum_of("headgate") }
        },
        "report": {
            "url": format!("{base}{}/found-secrets", api::BASE),
            "method": "POST",
            "body": "{\"token\", \"url\"} or a list of such, of at most 100; other fields are passed over",
            "answer": "202 whether or not anything was revoked"
        }
    });
    document.to_string()
}

/// Answers with the document.
pub(super) fn respond(document: &str) -> Response {
    let mut response = Body::from(document.to_owned()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_kind_and_a_whole_address_where_there_is_one() {
        let text = document(Some("https://console.example/"));
        for kind in TokenKind::ALL {
            assert!(text.contains(&json!(kind.pattern()).to_string()), "{text}");
        }
        assert!(text.contains("\"https://console.example/api/v1/found-secrets\""), "{text}");
        assert!(document(None).contains("\"/api/v1/found-secrets\""));
    }
}
