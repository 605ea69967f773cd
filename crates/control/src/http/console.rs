//! Serves the console: embedded files, the single-page fallback, and the headers that keep a browser honest.
//!
//! Knows nothing of the API. Files with a content hash in their name are immutable; everything else is revalidated.
//! Invariant: every answer carries the content security policy, also errors.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

/// Gives the bytes of a console file by its path (`index.html`, `assets/app-0123abcd.js`, `assets/app-0123abcd.js.br`).
pub type ConsoleFiles = Arc<dyn Fn(&str) -> Option<Cow<'static, [u8]>> + Send + Sync>;

/// Answers console requests.
#[derive(Clone)]
pub struct Console {
    files: ConsoleFiles,
    policy: HeaderValue,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("policy", &self.policy).finish_non_exhaustive()
    }
}

const NO_CONSOLE: &str = "<!doctype html><title>Headgate</title><p>This build has no console inside. \
    Build it with <code>cargo xtask build</code>; the API is at <a href=\"/docs\">/docs</a>.";

impl Console {
    /// Prepares the console; reads `index.html` once to allow its inline scripts and styles by hash.
    #[must_use]
    pub fn new(files: ConsoleFiles) -> Self {
        let index = files("index.html").unwrap_or(Cow::Borrowed(NO_CONSOLE.as_bytes()));
        let policy = content_policy(&String::from_utf8_lossy(&index));
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { files, policy }
    }

    /// A console without files: says how to get one.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(Arc::new(|_| None))
    }

    /// Answers one request for a path that no API route owns.
    #[must_use]
    pub fn respond(&self, method: &Method, path: &str, request: &HeaderMap) -> Response {
        let mut response = if method == Method::GET || method == Method::HEAD {
            self.file(path.trim_start_matches('/'), request)
        } else {
            plain(StatusCode::METHOD_NOT_ALLOWED, "The console answers GET only.")
        };
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }

    fn file(&self, path: &str, request: &HeaderMap) -> Response {
        if let Some(response) = self.embedded(path, request) {
            return response;
        }
        // A path with a file ending that is not there is a broken link; anything else is a page of the application.
        let is_page = !path.rsplit('/').next().unwrap_or("").contains('.');
        if !is_page {
            return plain(StatusCode::NOT_FOUND, "There is no such file.");
        }
        self.embedded("index.html", request).unwrap_or_else(|| {
            let mut response = Response::new(Body::from(NO_CONSOLE));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            response
        })
    }

    fn embedded(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        let ending = path.rsplit('.').next().unwrap_or("");
        if path.is_empty() || ending == "br" || ending == "gz" {
            return None;
        }
        let accepted = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        let compressed = [("br", ".br"), ("gzip", ".gz")].into_iter().find_map(|(coding, ending)| {
            let is_accepted = accepts(accepted, coding);
            is_accepted.then(|| (self.files)(&format!("{path}{ending}")))?.map(|bytes| (coding, bytes))
        });
        let (coding, bytes) = match compressed {
            Some((coding, bytes)) => (Some(coding), bytes),
            None => (None, (self.files)(path)?),
        };
        let tag = format!("\"{}\"", STANDARD.encode(&Sha256::digest(&bytes)[..12]));
        let is_fresh = request.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
        let body = match (is_fresh, bytes) {
            (true, _) => Body::empty(),
            (false, Cow::Borrowed(bytes)) => Body::from(Bytes::from_static(bytes)),
            (false, Cow::Owned(bytes)) => Body::from(bytes),
        };
        let mut response = Response::new(body);
        if is_fresh {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        let caching = if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        Some(response)
    }
}

fn accepts(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        pieces.next().is_some_and(|name| name.eq_ignore_ascii_case(coding)) && !pieces.any(|piece| piece == "q=0")
    })
}

/// Returns whether a file name carries its content hash: `name-<8 or more hexadecimal digits>.ending`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let hash = stem.rsplit(['-', '_']).next().unwrap_or("");
    stem.len() > hash.len() && hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Builds the policy: only our own files run, plus the inline blocks that `index.html` itself holds, named by hash.
fn content_policy(index: &str) -> String {
    let scripts = inline_hashes(index, "script");
    let styles = inline_hashes(index, "style");
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'{styles}; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// Returns ` 'sha256-…'` for each element of that name which has text of its own.
fn inline_hashes(html: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let mut hashes = String::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once(open.as_str()) {
        let Some((head, body)) = after.split_once('>') else { break };
        let Some((text, next)) = body.split_once(close.as_str()) else { break };
        if !head.contains("src=") && !text.is_empty() {
            hashes.extend([" 'sha256-", &STANDARD.encode(Sha256::digest(text.as_bytes())), "'"]);
        }
        rest = next;
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console() -> Console {
        Console::new(Arc::new(|path| {
            let text: &'static str = match path {
                "index.html" => "<html><script type=\"module\">start()</script><script src=\"/a.js\"></script></html>",
                "assets/app-0123456789ab.js" => "js",
                "assets/app-0123456789ab.js.br" => "br",
                _ => return None,
            };
            Some(Cow::Borrowed(text.as_bytes()))
        }))
    }

    fn get(path: &str, headers: &[(header::HeaderName, &'static str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        console().respond(&Method::GET, path, &headers)
    }

    #[test]
    fn hashed_files_are_immutable_compressed_and_revalidated_by_tag() {
        let response = get("/assets/app-0123456789ab.js", &[(header::ACCEPT_ENCODING, "gzip, br")]);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        let plain = get("/assets/app-0123456789ab.js", &[(header::ACCEPT_ENCODING, "br;q=0")]);
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        assert_ne!(plain.headers()[header::ETAG], response.headers()[header::ETAG]);
    }

    #[test]
    fn pages_fall_back_to_the_index_and_missing_files_do_not() {
        let page = get("/workspaces/ws_1/keys", &[]);
        assert_eq!(
            (page.status(), &page.headers()[header::CACHE_CONTROL]),
            (StatusCode::OK, &HeaderValue::from_static("no-cache"))
        );
        assert_eq!(get("/assets/gone.js", &[]).status(), StatusCode::NOT_FOUND);
        assert_eq!(get("/assets/app-0123456789ab.js.br", &[]).status(), StatusCode::NOT_FOUND);
        assert_eq!(console().respond(&Method::POST, "/", &HeaderMap::new()).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn the_policy_allows_the_index_own_inline_script_and_nothing_else() {
        let policy = get("/", &[]).headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let hash = STANDARD.encode(Sha256::digest(b"start()"));
        assert!(policy.contains(&format!("script-src 'self' 'wasm-unsafe-eval' 'sha256-{hash}';")), "{policy}");
        assert!(!policy.contains("unsafe-inline") && policy.contains("frame-ancestors 'none'"));
    }

    #[test]
    fn a_build_without_console_says_so() {
        let response = Console::absent().respond(&Method::GET, "/", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
    }
}
