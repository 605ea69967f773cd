//! AWS Signature Version 4, pure: the same request, keys and time give the same signature.
//!
//! Facts: AWS's description of the signing process and its test suite. Invariant: exactly the bytes that are sent are signed;
//! the path is encoded once more for the canonical request, as every service but S3 wants it.

use bytes::Bytes;
use domain::Timestamp;
use hmac::{Hmac, Mac as _};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::SignError;
use super::secret::AwsKeys;

/// What may stand unencoded in a path, besides letters and digits.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Where a signature is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SigningScope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Signs a request: `host`, `content-type` and every `x-amz-` header that is in it.
pub(crate) fn sign(
    request: &mut Request<Bytes>,
    keys: &AwsKeys,
    scope: SigningScope<'_>,
    now: Timestamp,
) -> Result<(), SignError> {
    let time = amz_time(now);
    let day = &time[..8];
    let headers = request.headers_mut();
    headers.insert(DATE, HeaderValue::try_from(time.as_str()).map_err(|_| SignError::Unsendable)?);
    if let Some(token) = &keys.session_token {
        headers.insert(TOKEN, super::sensitive(token.expose().clone())?);
    }
    let (canonical, signed) = canonical_request(request)?;
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let first = format!("AWS4{}", keys.secret_access_key.expose());
    let key = [day, scope.region, scope.service, "aws4_request"]
        .into_iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, text.as_bytes()));
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={signed}, Signature={signature}",
        keys.access_key_id
    );
    request.headers_mut().insert(AUTHORIZATION, super::sensitive(value)?);
    Ok(())
}

/// Returns the canonical request and the names of the signed headers.
fn canonical_request(request: &Request<Bytes>) -> Result<(String, String), SignError> {
    let uri = request.uri();
    let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut headers: Vec<(&str, String)> = vec![("host", host.to_owned())];
    for name in request.headers().keys() {
        if *name != CONTENT_TYPE && !name.as_str().starts_with("x-amz-") {
            continue;
        }
        let mut values = Vec::new();
        for value in request.headers().get_all(name) {
            let value = value.to_str().map_err(|_| SignError::Unsendable)?;
            values.push(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        headers.push((name.as_str(), values.join(",")));
    }
    headers.sort_unstable();
    let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = headers.iter().fold(String::new(), |lines, (name, value)| lines + name + ":" + value + "\n");
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let mut query: Vec<String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| if pair.contains('=') || pair.is_empty() { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort_unstable();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        request.method(),
        utf8_percent_encode(path, PATH),
        query.join("&"),
        hex(&Sha256::digest(request.body()))
    );
    Ok((canonical, signed))
}

fn amz_time(now: Timestamp) -> String {
    let (year, month, day) = now.date();
    let seconds = now.as_secs().rem_euclid(86_400);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use domain::Secret;

    use super::*;

    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn signature(method: &str, uri: &str, headers: &[(&str, &str)], body: &str, service: &str, token: &str) -> String {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Bytes::from(body.to_owned())).unwrap();
        let keys = AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: Some(Secret::new(token.to_owned())).filter(|token| !token.expose().is_empty()),
        };
        let scope = SigningScope { region: "us-east-1", service };
        sign(&mut request, &keys, scope, "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        assert!(request.headers()["authorization"].is_sensitive());
        let value = request.headers()["authorization"].to_str().unwrap().to_owned();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_vendors_own_test_suite_is_met() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let unreserved =
            "https://example.amazonaws.com/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let root = "https://example.amazonaws.com/";
        // get-header-value-trim and its like need headers that we never sign, so they are left out.
        for (method, uri, headers, body, token, expected) in [
            ("GET", root, &[][..], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", root, &[], "", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "https://example.amazonaws.com/?Param1=value2&Param1=Value1",
                &[],
                "",
                "",
                "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
            ),
            (
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                "",
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("GET", unreserved, &[], "", "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
            (
                "POST",
                root,
                &form,
                "Param1=value1",
                "",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            ("POST", root, &[], "", TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
        ] {
            assert_eq!(signature(method, uri, headers, body, "service", token), expected, "{method} {uri}");
        }
    }

    #[test]
    fn an_encoded_model_is_encoded_once_more() {
        // Computed with the vendor's Python SDK (botocore 1.44.5).
        let json = [("content-type", "application/json"), ("user-agent", "not signed")];
        let host = "https://bedrock-runtime.us-east-1.amazonaws.com/model";
        let of = |path: &str, body, token| signature("POST", &format!("{host}/{path}"), &json, body, "bedrock", token);
        assert_eq!(
            of("anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse", r#"{"messages":[]}"#, ""),
            "b103ed8afc3664d93d04d6a557c1a620a6e218225be2abad17ceda3e1569a3ec"
        );
        assert_eq!(
            of("arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse-stream", "{}", "TOKEN=="),
            "7dd2845c3e24623ae2529e47252e7d6590d747fb07ba68c2938970a20cd52f94"
        );
    }
}
