//! What is sealed of a destination: its address and the secrets that go with it. Invariant: nothing here has a `Debug` that shows
//! them, and [`Address::hint`] is all of an address that may be shown.

use domain::alert::{Destination, DestinationKind};
use domain::{Entropy, Timestamp};
use http::Uri;
use serde::{Deserialize, Serialize};

use crate::sign;

/// Where events of PagerDuty go.
pub const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// Address and secrets of a destination that is called by HTTP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The whole address.
    pub url: String,
    /// Secrets that webhooks are signed with, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing: Vec<SigningSecret>,
    /// The integration's key of PagerDuty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
}

/// A secret that webhooks are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret {
    /// `whsec_…`.
    pub secret: String,
    /// From then on it signs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<Timestamp>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("hint", &self.hint()).finish_non_exhaustive()
    }
}

/// What is wrong with an address; fit for a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No address at all.
    #[error("give a whole address, such as https://hooks.example.com/alerts")]
    Url,
    /// A user or a fragment in it.
    #[error("must have neither a user name nor a fragment")]
    Parts,
    /// Longer than is kept.
    #[error("must be at most 1024 characters long")]
    Long,
    /// The key is none.
    #[error("give the integration key: up to 64 letters and digits")]
    RoutingKey,
}

impl Address {
    /// Checks an address of a webhook.
    pub fn parse(url: &str) -> Result<Self, Unfit> {
        let url = url.trim();
        if url.len() > Destination::MAX_URL {
            return Err(Unfit::Long);
        }
        if url.contains('#') {
            return Err(Unfit::Parts);
        }
        let uri: Uri = url.parse().map_err(|_| Unfit::Url)?;
        let is_http = matches!(uri.scheme_str(), Some("https" | "http"));
        if !is_http || uri.host().is_none_or(str::is_empty) {
            return Err(Unfit::Url);
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Unfit::Parts);
        }
        Ok(Self { url: url.to_owned(), signing: Vec::new(), routing_key: None })
    }

    /// Adds the integration's key of PagerDuty.
    pub fn with_routing_key(mut self, key: &str) -> Result<Self, Unfit> {
        let key = key.trim();
        let is_sound = (1..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_sound {
            return Err(Unfit::RoutingKey);
        }
        self.routing_key = Some(key.to_owned());
        Ok(self)
    }

    /// Takes a new signing secret and returns it; the one before signs until `retires_at`, older ones no more.
    pub fn rotate(&mut self, retires_at: Option<Timestamp>, entropy: &dyn Entropy) -> String {
        let secret = sign::new_secret(entropy);
        self.signing.truncate(1);
        match (retires_at, self.signing.first_mut()) {
            (Some(at), Some(old)) => old.retires_at = Some(at),
            _ => self.signing.clear(),
        }
        self.signing.insert(0, SigningSecret { secret: secret.clone(), retires_at: None });
        secret
    }

    /// Returns the secrets that sign at a time.
    pub fn signing_at(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let is_used = move |it: &&SigningSecret| it.retires_at.is_none_or(|at| now < at);
        self.signing.iter().filter(is_used).map(|it| it.secret.as_str())
    }

    /// Returns what of the address may be shown: scheme, host and port.
    #[must_use]
    pub fn hint(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let shown = uri.and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)));
        shown.unwrap_or_default()
    }

    /// Says whether destinations of a kind have an address.
    #[must_use]
    pub const fn is_of(kind: DestinationKind) -> bool {
        !matches!(kind, DestinationKind::Email)
    }
}

#[cfg(test)]
mod tests {
    use domain::rng::SeededEntropy;

    use super::*;

    #[test]
    fn an_address_shows_its_origin_and_nothing_more() {
        let address = Address::parse(" https://hooks.slack.com/services/T0/B0/secret?x=1 ").expect("an address");
        assert_eq!(address.hint(), "https://hooks.slack.com");
        assert!(!format!("{address:?}").contains("secret"));
        assert_eq!(Address::parse("http://10.0.0.7:8080/x").expect("an address").hint(), "http://10.0.0.7:8080");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (url, unfit) in [
            ("", Unfit::Url),
            ("hooks.example.com", Unfit::Url),
            ("ftp://example.com/", Unfit::Url),
            ("https://", Unfit::Url),
            ("https://user:pw@example.com/", Unfit::Parts),
            ("https://example.com/#a", Unfit::Parts),
        ] {
            assert_eq!(Address::parse(url), Err(unfit), "{url}");
        }
        assert_eq!(Address::parse(&format!("https://example.com/{}", "a".repeat(1_100))), Err(Unfit::Long));
        let address = || Address::parse(PAGERDUTY).expect("an address");
        assert!(address().with_routing_key("R0123456789ABCDEF").is_ok());
        assert_eq!(address().with_routing_key("a b"), Err(Unfit::RoutingKey));
    }

    #[test]
    fn after_a_rotation_both_secrets_sign_until_the_old_one_retires() {
        let entropy = SeededEntropy::new(1);
        let at = |secs: i64| Timestamp::from_micros(secs * 1_000_000);
        let mut address = Address::parse("https://example.com/").expect("an address");
        let first = address.rotate(None, &entropy);
        let second = address.rotate(Some(at(100)), &entropy);
        assert_eq!(address.signing_at(at(99)).collect::<Vec<_>>(), [&second, &first]);
        assert_eq!(address.signing_at(at(100)).collect::<Vec<_>>(), [&second]);
        let third = address.rotate(Some(at(300)), &entropy);
        assert_eq!(address.signing_at(at(200)).collect::<Vec<_>>(), [&third, &second]);
        let fourth = address.rotate(None, &entropy);
        assert_eq!(address.signing_at(at(200)).collect::<Vec<_>>(), [&fourth]);
        let json = serde_json::to_string(&address).expect("serialises");
        assert_eq!(serde_json::from_str::<Address>(&json).expect("parses"), address);
    }
}
