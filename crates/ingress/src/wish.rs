//! What a request says about answers that are given again, and what comes of it under the route's rule.
//!
//! `x-headgate-cache` and `x-headgate-cache-ttl` go before `Cache-Control` (RFC 9111, section 5.2.1). Invariant: a request can
//! ask for less than the rule allows, never for more.

use std::time::Duration;

use domain::code::GatewayCode;
use domain::route::{Cache, CacheMode};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use crate::rejection::Rejection;

/// What the headers of ours say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    mode: Option<Mode>,
    ttl_s: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As the rule says; also where it wants to be asked.
    On,
    /// Neither look nor keep.
    Off,
    /// Do not look, but keep.
    Refresh,
    /// Look, and never ask an upstream.
    Only,
}

/// What is done for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether an answer may be given again.
    pub looks: bool,
    /// How long the answer of this call may be given again; `None` when it is not kept.
    pub keeps_for: Option<Duration>,
    /// The greatest age of an answer.
    pub max_age: Option<Duration>,
    /// Whether no upstream may be asked.
    pub is_only: bool,
}

impl Wish {
    /// Reads `x-headgate-cache`.
    pub fn read_mode(&mut self, value: &HeaderValue) -> Result<(), Rejection> {
        self.mode = Some(match value.as_bytes() {
            b"on" => Mode::On,
            b"off" => Mode::Off,
            b"refresh" => Mode::Refresh,
            b"only" => Mode::Only,
            _ => {
                let detail = "x-headgate-cache must be one of on, off, refresh and only";
                return Err(Rejection::new(GatewayCode::RequestInvalid, detail));
            }
        });
        Ok(())
    }

    /// Reads `x-headgate-cache-ttl`.
    pub fn read_ttl(&mut self, value: &HeaderValue) -> Result<(), Rejection> {
        self.ttl_s = value.to_str().ok().and_then(|text| text.parse().ok());
        if self.ttl_s.is_some() {
            return Ok(());
        }
        let detail = "x-headgate-cache-ttl must be a whole number of seconds";
        Err(Rejection::new(GatewayCode::RequestInvalid, detail))
    }

    /// Says whether nothing but an answer given again will do.
    pub fn is_only(self) -> bool {
        self.mode == Some(Mode::Only)
    }

    /// Works out what is done under a rule; `None` for nothing.
    pub fn under(self, rule: Cache, headers: &HeaderMap) -> Option<Terms> {
        let control = Control::read(headers);
        let mode = match (self.mode, &control) {
            (Some(mode), _) => mode,
            (None, control) if control.no_store => Mode::Off,
            (None, control) if control.only_if_cached => Mode::Only,
            (None, control) if control.no_cache => Mode::Refresh,
            (None, _) => Mode::On,
        };
        let is_asked = self.mode.is_some() || self.ttl_s.is_some() || control.only_if_cached;
        if mode == Mode::Off || (rule.mode == CacheMode::OnRequest && !is_asked) {
            return None;
        }
        let ttl_s = self.ttl_s.unwrap_or(rule.ttl_s).min(rule.ttl_s);
        let keeps_for = (ttl_s > 0 && mode != Mode::Only).then(|| Duration::from_secs(u64::from(ttl_s)));
        let max_age = control.max_age_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
        Some(Terms { looks: mode != Mode::Refresh, keeps_for, max_age, is_only: mode == Mode::Only })
    }
}

/// The directives of `Cache-Control` that a request may have and that mean something here.
#[derive(Debug, Default)]
struct Control {
    no_store: bool,
    no_cache: bool,
    only_if_cached: bool,
    max_age_s: Option<u32>,
}

impl Control {
    fn read(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in value.to_str().unwrap_or_default().split(',') {
                let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-store" => control.no_store = true,
                    "no-cache" => control.no_cache = true,
                    "only-if-cached" => control.only_if_cached = true,
                    // An age that cannot be read is none at all: the answer must be new (section 4.2.1).
                    "max-age" => control.max_age_s = Some(argument.trim().trim_matches('"').parse().unwrap_or(0)),
                    _ => {}
                }
            }
        }
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Cache =
        Cache { mode: CacheMode::Always, ttl_s: 60, scope: domain::route::CacheScope::Key, coalesce: false };

    fn terms(rule: Cache, lines: &[(&'static str, &'static str)]) -> Option<(bool, Option<u64>, Option<u64>, bool)> {
        let (mut wish, mut headers) = (Wish::default(), HeaderMap::new());
        for (name, value) in lines {
            let value = HeaderValue::from_static(value);
            match *name {
                "cache" => wish.read_mode(&value).expect("a mode"),
                "ttl" => wish.read_ttl(&value).expect("a time"),
                _ => drop(headers.append(CACHE_CONTROL, value)),
            }
        }
        let terms = wish.under(rule, &headers)?;
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
        Some((terms.looks, seconds(terms.keeps_for), seconds(terms.max_age), terms.is_only))
    }

    #[test]
    fn a_request_asks_for_less_and_never_for_more() {
        assert_eq!(terms(RULE, &[]), Some((true, Some(60), None, false)));
        assert_eq!(terms(RULE, &[("ttl", "5")]), Some((true, Some(5), None, false)));
        assert_eq!(terms(RULE, &[("ttl", "500")]), Some((true, Some(60), None, false)));
        assert_eq!(terms(RULE, &[("ttl", "0")]), Some((true, None, None, false)));
        assert_eq!(terms(RULE, &[("cache", "off")]), None);
        assert_eq!(terms(RULE, &[("cache", "refresh")]), Some((false, Some(60), None, false)));
        assert_eq!(terms(RULE, &[("cache", "only")]), Some((true, None, None, true)));
    }

    #[test]
    fn cache_control_is_honoured_and_ours_goes_before_it() {
        assert_eq!(terms(RULE, &[("", "no-store")]), None);
        assert_eq!(terms(RULE, &[("", "No-Cache, max-age=\"7\"")]), Some((false, Some(60), Some(7), false)));
        assert_eq!(terms(RULE, &[("", "max-age=x")]), Some((true, Some(60), Some(0), false)));
        assert_eq!(terms(RULE, &[("", "private"), ("", "only-if-cached")]), Some((true, None, None, true)));
        assert_eq!(terms(RULE, &[("", "no-store"), ("cache", "on")]), Some((true, Some(60), None, false)));
    }

    #[test]
    fn a_rule_that_wants_to_be_asked_is() {
        let rule = Cache { mode: CacheMode::OnRequest, ..RULE };
        assert_eq!(terms(rule, &[]), None);
        assert_eq!(terms(rule, &[("", "no-cache")]), None);
        for asked in [("cache", "on"), ("ttl", "60")] {
            assert_eq!(terms(rule, &[asked]), Some((true, Some(60), None, false)));
        }
        for bad in ["", "yes", "hit", "ON"] {
            assert!(Wish::default().read_mode(&HeaderValue::from_static(bad)).is_err(), "{bad}");
        }
        assert!(Wish::default().read_ttl(&HeaderValue::from_static("-1")).is_err());
    }
}
