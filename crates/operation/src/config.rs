//! What the control plane has to be told at start. Values only: reading flags, environment and files is `runtime::config`.

use std::time::Duration;

use crate::auth::cookie::Reach;

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// How browsers reach the console, such as `https://headgate.example.com`. None: by the listen address over plain http.
    pub public_url: Option<String>,
    /// Whether `x-forwarded-for` of the immediate peer is believed: only behind a proxy that sets it.
    pub trust_forwarded_for: bool,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// How long usage events are kept; sums stay.
    pub usage_retention: Duration,
    /// The gateway's address as clients see it, for snippets and settings.
    pub gateway_url: String,
    /// The address nodes dial, for join commands.
    pub sync_url: String,
    /// The release, for settings.
    pub version: &'static str,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            trust_forwarded_for: false,
            max_body_bytes: 1_024 * 1_024,
            usage_retention: Duration::from_secs(400 * 24 * 3_600),
            gateway_url: "http://127.0.0.1:7410".to_owned(),
            sync_url: "https://127.0.0.1:7401".to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl ControlConfig {
    /// Returns whether browsers come by https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Returns how the session cookie must look.
    #[must_use]
    pub fn reach(&self) -> Reach {
        if self.is_https() { Reach::Https } else { Reach::LoopbackHttp }
    }

    /// Returns the console's own origin, if it was told.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let url = self.public_url.as_deref()?;
        let path = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| at + 3 + slash));
        Some(path.map_or(url, |at| &url[..at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_cut_from_the_public_url() {
        let config = |url: &str| ControlConfig { public_url: Some(url.to_owned()), ..ControlConfig::default() };
        assert_eq!(config("https://a.example/headgate/").origin(), Some("https://a.example"));
        assert_eq!(config("http://127.0.0.1:7400").origin(), Some("http://127.0.0.1:7400"));
        assert_eq!(config("https://a.example").reach(), Reach::Https);
    }
}
