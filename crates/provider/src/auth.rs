//! Ways of proving to an upstream who pays, as pure functions of (request, secret, time).
//!
//! Which scheme a provider uses is data in its `Spec`; what a secret looks like is `secret`'s, and what has to be exchanged
//! before use is `exchange`'s. Invariant: a secret only ever becomes a header value that is marked sensitive, and a secret that
//! cannot be one is an error that does not show it.

mod exchange;
mod secret;
mod sigv4;

use bytes::Bytes;
use domain::{Secret, Timestamp};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Request};

pub use exchange::{ExchangeError, Exchanged, TokenExchange};
pub use secret::{MAX_SECRET, SecretError, SecretForm};

pub(crate) use exchange::{exchange, stand_in};
use secret::Reading;
use sigv4::SigningScope;

/// Where a provider wants its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Nowhere: the provider takes none.
    None,
    /// `Authorization: Bearer`; left out when there is no secret, for upstreams inside one's own network.
    Bearer,
    /// `Authorization: Token`.
    Token,
    /// A header of the vendor's own, such as `x-goog-api-key`.
    Header(&'static str),
    /// Anthropic's `x-api-key`, or for its OAuth tokens (`sk-ant-oat…`) a bearer token with the beta that allows it.
    AnthropicKey,
    /// Azure's `api-key`, or a bearer token for what Entra gave (a signed token, which begins like one).
    Azure,
    /// Google Cloud: a bearer token, or `x-goog-api-key` for an API key (`AIza…`).
    GoogleCloud,
    /// AWS Signature Version 4 for this service, or a bearer token for a Bedrock API key.
    Aws {
        /// The service's name in the signature.
        service: &'static str,
    },
}

/// Why a request could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The provider needs a secret and the credential has none.
    #[error("the credential has no secret; enter one")]
    Missing,
    /// The secret holds characters that no header may carry, often a stray line break.
    #[error(
        "the credential's secret holds a character that cannot be sent; enter it again without spaces or line breaks"
    )]
    Unsendable,
    /// The secret's JSON lacks something.
    #[error("the credential's secret cannot be read; enter it again")]
    Unreadable,
    /// Nothing says in which region the service is.
    #[error("no region is known; use the region's own base address or put \"region\" in the secret")]
    NoRegion,
    /// The secret is exchanged for another before use, and that was not done.
    #[error("the credential's secret has to be exchanged for a short-lived one first")]
    NotExchanged,
}

impl Scheme {
    /// Returns the forms of secret that the scheme takes.
    #[must_use]
    pub const fn secret_form(self) -> SecretForm {
        match self {
            Self::None | Self::Bearer | Self::Token | Self::Header(_) | Self::AnthropicKey => SecretForm::Key,
            Self::Azure => SecretForm::Entra,
            Self::GoogleCloud => SecretForm::Google,
            Self::Aws { .. } => SecretForm::Aws,
        }
    }
}

const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Adds the secret to a request.
pub fn sign(
    scheme: Scheme,
    request: &mut Request<Bytes>,
    secret: Option<&Secret<String>>,
    now: Timestamp,
) -> Result<(), SignError> {
    let secret = secret.map(|secret| secret.expose().as_str()).filter(|secret| !secret.is_empty());
    let headers = request.headers_mut();
    match (scheme, secret) {
        (Scheme::None, _) | (Scheme::Bearer, None) => Ok(()),
        (_, None) => Err(SignError::Missing),
        (Scheme::Token, Some(secret)) => {
            headers.insert(AUTHORIZATION, sensitive(format!("Token {secret}"))?);
            Ok(())
        }
        (Scheme::Header(name), Some(secret)) => {
            headers.insert(HeaderName::from_static(name), sensitive(secret.to_owned())?);
            Ok(())
        }
        (Scheme::AnthropicKey, Some(secret)) if secret.starts_with("sk-ant-oat") => {
            bearer(headers, secret)?;
            add_beta(headers)
        }
        (Scheme::AnthropicKey, Some(secret)) => {
            headers.insert(HeaderName::from_static("x-api-key"), sensitive(secret.to_owned())?);
            Ok(())
        }
        (Scheme::Azure | Scheme::GoogleCloud, Some(secret)) if secret.starts_with('{') => Err(SignError::NotExchanged),
        (Scheme::Azure, Some(secret)) if secret.starts_with("eyJ") => bearer(headers, secret),
        (Scheme::Azure, Some(secret)) => {
            headers.insert(HeaderName::from_static("api-key"), sensitive(secret.to_owned())?);
            Ok(())
        }
        (Scheme::GoogleCloud, Some(secret)) if secret.starts_with("AIza") => {
            headers.insert(HeaderName::from_static("x-goog-api-key"), sensitive(secret.to_owned())?);
            Ok(())
        }
        (Scheme::Bearer | Scheme::GoogleCloud, Some(secret)) => bearer(headers, secret),
        (Scheme::Aws { service }, Some(secret)) => sign_aws(service, request, secret, now),
    }
}

fn sign_aws(service: &str, request: &mut Request<Bytes>, secret: &str, now: Timestamp) -> Result<(), SignError> {
    let Reading::Aws(read) = SecretForm::Aws.read(secret).map_err(|_| SignError::Unreadable)? else {
        return bearer(request.headers_mut(), secret);
    };
    let (Some(keys), None) = (&read.keys, &read.role) else { return Err(SignError::NotExchanged) };
    let host = request.uri().host().unwrap_or_default().to_owned();
    let region = read.region.as_deref().or_else(|| region_of(&host)).ok_or(SignError::NoRegion)?;
    let service = service_of(&host).unwrap_or(service);
    sigv4::sign(request, keys, SigningScope { region, service }, now)
}

/// Finds the service that a host of Bedrock's belongs to: the runtime signs as the service itself, the other half as its own.
fn service_of(host: &str) -> Option<&'static str> {
    host.split('.').find_map(|part| match part {
        "bedrock-runtime" | "bedrock-runtime-fips" => Some("bedrock"),
        "bedrock-mantle" => Some("bedrock-mantle"),
        _ => None,
    })
}

/// Finds the region in a host such as `bedrock-runtime.eu-west-1.amazonaws.com`: the part with two dashes and a number.
fn region_of(host: &str) -> Option<&str> {
    host.split('.').find(|part| {
        let mut words = part.rsplit('-');
        let ends_in_number =
            words.next().is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
        ends_in_number && words.count() >= 2
    })
}

fn bearer(headers: &mut HeaderMap, secret: &str) -> Result<(), SignError> {
    headers.insert(AUTHORIZATION, sensitive(format!("Bearer {secret}"))?);
    Ok(())
}

fn add_beta(headers: &mut HeaderMap) -> Result<(), SignError> {
    let name = HeaderName::from_static("anthropic-beta");
    let value = match headers.get(&name).and_then(|value| value.to_str().ok()) {
        Some(betas) if betas.split(',').any(|beta| beta.trim() == OAUTH_BETA) => return Ok(()),
        Some(betas) => format!("{betas},{OAUTH_BETA}"),
        None => OAUTH_BETA.to_owned(),
    };
    headers.insert(name, HeaderValue::try_from(value).map_err(|_| SignError::Unsendable)?);
    Ok(())
}

fn sensitive(text: String) -> Result<HeaderValue, SignError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| SignError::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(uri: &str, scheme: Scheme, secret: &str) -> Result<HeaderMap, SignError> {
        let mut request = Request::builder().uri(uri).body(Bytes::new()).unwrap();
        sign(scheme, &mut request, Some(&Secret::new(secret.to_owned())), Timestamp::default())?;
        Ok(request.headers().clone())
    }

    fn signed(scheme: Scheme, secret: &str) -> Result<HeaderMap, SignError> {
        at("https://api.test/", scheme, secret)
    }

    #[test]
    fn each_scheme_puts_the_secret_in_its_place_and_hides_it() {
        assert_eq!(signed(Scheme::Bearer, "sk-1").unwrap()["authorization"], "Bearer sk-1");
        assert_eq!(signed(Scheme::AnthropicKey, "sk-ant-api").unwrap()["x-api-key"], "sk-ant-api");
        let oauth = signed(Scheme::AnthropicKey, "sk-ant-oat01").unwrap();
        assert_eq!(
            (&oauth["authorization"], &oauth["anthropic-beta"]),
            (&"Bearer sk-ant-oat01".parse().unwrap(), &OAUTH_BETA.parse().unwrap())
        );
        assert!(oauth.get("x-api-key").is_none());
        assert!(!format!("{:?}", signed(Scheme::Bearer, "sk-secret").unwrap()).contains("sk-secret"));
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_an_error_without_the_secret() {
        let error = signed(Scheme::Bearer, "sk-1\nx: y").unwrap_err();
        assert_eq!(error, SignError::Unsendable);
        assert!(!error.to_string().contains("sk-1"));
        assert_eq!(signed(Scheme::AnthropicKey, ""), Err(SignError::Missing));
        assert!(signed(Scheme::Bearer, "").unwrap().is_empty());
    }

    #[test]
    fn the_clients_betas_stay_beside_ours() {
        let mut request = Request::builder().header("anthropic-beta", "a,b").body(Bytes::new()).unwrap();
        let secret = Secret::new("sk-ant-oat".to_owned());
        sign(Scheme::AnthropicKey, &mut request, Some(&secret), Timestamp::default()).unwrap();
        assert_eq!(request.headers()["anthropic-beta"], "a,b,oauth-2025-04-20");
    }

    #[test]
    fn clouds_take_keys_and_tokens_each_in_its_place() {
        assert_eq!(signed(Scheme::Header("x-goog-api-key"), "AIzaX").unwrap()["x-goog-api-key"], "AIzaX");
        assert_eq!(signed(Scheme::GoogleCloud, "AIzaX").unwrap()["x-goog-api-key"], "AIzaX");
        assert_eq!(signed(Scheme::GoogleCloud, "ya29.x").unwrap()["authorization"], "Bearer ya29.x");
        assert_eq!(signed(Scheme::Azure, "0123abcd").unwrap()["api-key"], "0123abcd");
        assert_eq!(signed(Scheme::Azure, "eyJh.e.y").unwrap()["authorization"], "Bearer eyJh.e.y");
        for scheme in [Scheme::Azure, Scheme::GoogleCloud] {
            assert_eq!(signed(scheme, "{}"), Err(SignError::NotExchanged));
        }
    }

    #[test]
    fn aws_requests_are_signed_for_the_region_of_the_address() {
        const BEDROCK: Scheme = Scheme::Aws { service: "bedrock" };
        let keys = r#"{"access_key_id":"AKID","secret_access_key":"s"}"#;
        let signed_at = |uri: &str, secret: &str| {
            at(uri, BEDROCK, secret).map(|headers| headers["authorization"].to_str().unwrap().to_owned())
        };
        let value = signed_at("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", keys).unwrap();
        assert!(
            value.starts_with("AWS4-HMAC-SHA256 Credential=AKID/19700101/eu-west-1/bedrock/aws4_request"),
            "{value}"
        );
        assert!(
            signed_at("https://bedrock-runtime.us-gov-west-1.amazonaws.com/", keys)
                .unwrap()
                .contains("/us-gov-west-1/")
        );
        assert_eq!(signed_at("https://gateway.test/", keys), Err(SignError::NoRegion));
        let with_region = r#"{"access_key_id":"AKID","secret_access_key":"s","region":"us-west-2"}"#;
        assert!(signed_at("https://gateway.test/", with_region).unwrap().contains("/us-west-2/"));
        assert_eq!(signed_at("https://gateway.test/", "ABSKkey").unwrap(), "Bearer ABSKkey");
        // The other half of the service signs under its own name, wherever its half of the languages is called.
        assert!(
            signed_at("https://bedrock-mantle.us-east-1.api.aws/v1/responses", keys)
                .unwrap()
                .contains("/us-east-1/bedrock-mantle/")
        );
        let runtime = Request::builder().uri("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/responses");
        let mut runtime = runtime.body(Bytes::new()).unwrap();
        let mantle = Scheme::Aws { service: "bedrock-mantle" };
        sign(mantle, &mut runtime, Some(&Secret::new(keys.to_owned())), Timestamp::default()).unwrap();
        assert!(runtime.headers()["authorization"].to_str().unwrap().contains("/us-east-1/bedrock/aws4_request"));
        let role = r#"{"access_key_id":"AKID","secret_access_key":"s","role_arn":"arn:aws:iam::1:role/r"}"#;
        assert_eq!(signed_at("https://gateway.test/", role), Err(SignError::NotExchanged));
        assert_eq!(signed_at("https://gateway.test/", "{}"), Err(SignError::Unreadable));
    }
}
