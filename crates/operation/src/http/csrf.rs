//! Refuses requests that another site made a browser send.
//!
//! Only ambient credentials (the session cookie) need this: a bearer token is never added by a browser on its own. Fetch
//! metadata is asked first, `Origin` second, and an API header that forms cannot send is wanted on top (OWASP CSRF
//! prevention cheat sheet, "Fetch Metadata headers", read 2026-11).

use api::CSRF_HEADER;
use http::{HeaderMap, Method, header};

/// Why a request is taken for a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// The browser says that another site started the request.
    #[error("the request was started by another site")]
    OtherSite,
    /// `x-headgate-csrf: 1` is missing.
    #[error("send the header x-headgate-csrf: 1 with every change made under a session cookie, or use an access token")]
    HeaderMissing,
}

/// Checks where a request came from; for every unsafe request, signed in or not.
pub fn check_origin(method: &Method, headers: &HeaderMap, own_origin: Option<&str>) -> Result<(), Forged> {
    if method.is_safe() {
        return Ok(());
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return if site == "same-origin" || site == "none" { Ok(()) } else { Err(Forged::OtherSite) };
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let Ok(origin) = origin.to_str() else { return Err(Forged::OtherSite) };
    let is_own = own_origin.is_some_and(|own| own.eq_ignore_ascii_case(origin)) || is_host(origin, headers);
    if is_own { Ok(()) } else { Err(Forged::OtherSite) }
}

/// Checks the API header; for every unsafe request that is authenticated by a cookie.
pub fn check_header(method: &Method, headers: &HeaderMap) -> Result<(), Forged> {
    if method.is_safe() || headers.get(CSRF_HEADER).is_some_and(|value| value == "1") {
        Ok(())
    } else {
        Err(Forged::HeaderMissing)
    }
}

/// Returns whether the origin names the host that the request was sent to.
fn is_host(origin: &str, headers: &HeaderMap) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn fetch_metadata_decides_when_present() {
        for (site, is_fine) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            let request = headers(&[("sec-fetch-site", site), ("host", "a.example"), ("origin", "https://a.example")]);
            assert_eq!(check_origin(&Method::POST, &request, None).is_ok(), is_fine, "{site}");
        }
    }

    #[test]
    fn the_origin_must_be_our_own() {
        let own = Some("https://console.example");
        for (origin, is_fine) in [
            ("https://console.example", true),
            ("http://127.0.0.1:7400", true),
            ("https://evil.example", false),
            ("null", false),
            ("https://console.example.evil.example", false),
        ] {
            let request = headers(&[("origin", origin), ("host", "127.0.0.1:7400")]);
            assert_eq!(check_origin(&Method::DELETE, &request, own).is_ok(), is_fine, "{origin}");
        }
        assert_eq!(check_origin(&Method::POST, &HeaderMap::new(), own), Ok(()));
    }

    #[test]
    fn reads_are_free_and_changes_want_the_header() {
        assert_eq!(check_origin(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")]), None), Ok(()));
        assert_eq!(check_header(&Method::GET, &HeaderMap::new()), Ok(()));
        assert_eq!(check_header(&Method::PATCH, &HeaderMap::new()), Err(Forged::HeaderMissing));
        assert_eq!(check_header(&Method::PATCH, &headers(&[(CSRF_HEADER, "1")])), Ok(()));
    }
}
