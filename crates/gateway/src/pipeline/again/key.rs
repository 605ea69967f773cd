//! What makes two calls the same, part by part.
//!
//! Invariant: whatever can make another answer right is a part: who asks and who shares, what the route says, what is asked for, the
//! headers that reach an upstream or steer the route, and the body with every field.

use domain::route::CacheScope;
use http::{HeaderMap, Uri};
use policy::Caller;
use policy::cache::CachePolicy;
use state::{CacheKey, KeyMaker, canonical};

use crate::pipeline::resolve::Wanted;
use crate::pipeline::settle::Meter;

/// Begins the names of headers that vendors read.
const VENDORS: [&str; 2] = ["anthropic-", "openai-"];

/// Makes the key of a call; `None` when it cannot have one: no end user where answers are kept by end user, or no secret.
pub(super) fn make(
    caller: &Caller<'_>,
    rule: &CachePolicy,
    uri: &Uri,
    headers: &HeaderMap,
    wanted: &Wanted,
    meter: &Meter,
) -> Option<CacheKey> {
    let mut key = KeyMaker::new(&caller.organization.cache_secret()?);
    key.part("organization", &caller.organization.id.as_uuid().to_le_bytes());
    key.part("workspace", &caller.workspace.id.as_uuid().to_le_bytes());
    let scope = rule.rule.scope;
    key.part("scope", scope.as_str().as_bytes());
    if scope != CacheScope::Workspace {
        key.part("environment", &caller.key.key.environment.as_uuid().to_le_bytes());
    }
    match scope {
        CacheScope::Key => key.part("key", &caller.key.key.id.as_uuid().to_le_bytes()),
        CacheScope::EndUser => key.part("end user", meter.notes.end_user.as_ref()?.as_bytes()),
        CacheScope::Environment | CacheScope::Workspace => {}
    }
    key.part("route", &rule.content);
    key.part("endpoint", meter.endpoint.as_str().as_bytes());
    // Gemini's address says more than the model: whether to stream, and in which form.
    key.part("path", uri.path().as_bytes());
    key.part("query", uri.query().unwrap_or_default().as_bytes());
    key.part("stream", &[u8::from(meter.is_stream)]);
    key.part("model", meter.model.as_bytes());
    write_headers(rule, headers, &mut key);
    key.part("body", b"");
    canonical::write(&wanted.body, &mut key)?;
    key.finish()
}

fn write_headers(rule: &CachePolicy, headers: &HeaderMap, key: &mut KeyMaker) {
    let is_vendors = |name: &str| VENDORS.iter().any(|start| name.starts_with(start));
    let is_routes = |name: &str| rule.headers.iter().any(|header| header == name);
    let mut names: Vec<_> =
        headers.keys().filter(|name| is_vendors(name.as_str()) || is_routes(name.as_str())).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for name in names {
        for value in headers.get_all(name) {
            key.part("header", name.as_str().as_bytes());
            key.part("value", value.as_bytes());
        }
    }
}
