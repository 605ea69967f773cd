//! The session cookie: its name, its attributes, and the opaque value inside.
//!
//! The value is 256 random bits; the database holds only its SHA-256, so a stolen table signs nobody in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Entropy;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::auth::device;

/// Longest life of a session, however much it is used.
pub const ABSOLUTE_LIFE: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);
/// Life of a session after its last use.
pub const IDLE_LIFE: std::time::Duration = std::time::Duration::from_secs(12 * 3_600);

/// How the console is reached, which decides the cookie's name and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By https, also behind a proxy that terminates it: `__Host-` prefix and `Secure`.
    Https,
    /// By http on a loopback address: browsers refuse `__Host-` there.
    LoopbackHttp,
}

impl Reach {
    /// Returns the cookie's name.
    #[must_use]
    pub const fn cookie_name(self) -> &'static str {
        match self {
            Self::Https => api::SESSION_COOKIE_SECURE,
            Self::LoopbackHttp => api::SESSION_COOKIE_LOOPBACK,
        }
    }

    /// Returns the `Set-Cookie` value that signs in.
    #[must_use]
    pub fn set(self, value: &str) -> String {
        let (name, age) = (self.cookie_name(), ABSOLUTE_LIFE.as_secs());
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{}", self.secure())
    }

    /// Returns the `Set-Cookie` value that signs out.
    #[must_use]
    pub fn clear(self) -> String {
        format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{}", self.cookie_name(), self.secure())
    }

    /// Says whether a browser may sign in at this `Host`: over plain http only on this machine, where nobody listens in.
    #[must_use]
    pub fn allows(self, host: Option<&str>) -> bool {
        let Some(host) = host.filter(|_| self == Self::LoopbackHttp) else { return true };
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or(""),
            None => host.split(':').next().unwrap_or(""),
        };
        let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        is_loopback || name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
    }

    /// Returns the name of the cookie that remembers the browser.
    #[must_use]
    pub const fn device_name(self) -> &'static str {
        match self {
            Self::Https => "__Host-headgate_device",
            Self::LoopbackHttp => "headgate_device",
        }
    }

    /// Returns the `Set-Cookie` value that remembers the browser.
    #[must_use]
    pub fn remember(self, value: &str) -> String {
        let (name, age) = (self.device_name(), device::LIFE.as_secs());
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{}", self.secure())
    }

    const fn secure(self) -> &'static str {
        match self {
            Self::Https => "; Secure",
            Self::LoopbackHttp => "",
        }
    }

    /// Finds the session value among the request's cookies.
    #[must_use]
    pub fn find(self, headers: &HeaderMap) -> Option<String> {
        find(headers, self.cookie_name())
    }

    /// Finds what the browser was given to be remembered by.
    #[must_use]
    pub fn find_device(self, headers: &HeaderMap) -> Option<String> {
        find(headers, self.device_name())
    }
}

fn find(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|line| {
        line.split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    })
}

/// Makes a session value.
#[must_use]
pub fn generate(entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    entropy.fill(bytes.as_mut());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))
}

/// Returns what is stored for a session value.
#[must_use]
pub fn digest(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

    #[test]
    fn the_cookie_is_locked_to_the_host_when_https() {
        let value = generate(&SeededEntropy::new(1));
        assert_eq!(value.len(), 43);
        let cookie = Reach::Https.set(&value);
        assert!(cookie.starts_with("__Host-headgate=") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"));
        assert!(!cookie.contains("Domain"));
        assert!(!Reach::LoopbackHttp.set(&value).contains("Secure"));
    }

    #[test]
    fn plain_http_signs_in_on_this_machine_only() {
        for (host, is_fine) in [
            ("127.0.0.1:7400", true),
            ("localhost:7400", true),
            ("[::1]:7400", true),
            ("headgate.localhost", true),
            ("10.0.0.5:7400", false),
            ("headgate.example", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(Reach::LoopbackHttp.allows(Some(host)), is_fine, "{host}");
            assert!(Reach::Https.allows(Some(host)));
        }
        assert!(Reach::LoopbackHttp.allows(None));
    }

    #[test]
    fn the_value_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; headgate_session=xyz; c=d".parse().unwrap());
        assert_eq!(Reach::LoopbackHttp.find(&headers).as_deref(), Some("xyz"));
        assert_eq!(Reach::Https.find(&headers), None);
    }
}
