//! Ways of proving to an upstream who pays, as pure functions of (request, secret).
//!
//! Which scheme a provider uses is data in its `Spec`. Invariant: a secret only ever becomes a header value that is marked
//! sensitive, and a secret that cannot be one is an error that does not show it.

use domain::Secret;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// Where a provider wants its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Nowhere: the provider takes none.
    None,
    /// `Authorization: Bearer`; left out when there is no secret, for upstreams inside one's own network.
    Bearer,
    /// Anthropic's `x-api-key`, or for its OAuth tokens (`sk-ant-oat…`) a bearer token with the beta that allows it.
    AnthropicKey,
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
}

const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Adds the secret to the headers of a request.
pub fn sign(scheme: Scheme, headers: &mut HeaderMap, secret: Option<&Secret<String>>) -> Result<(), SignError> {
    match (scheme, secret.map(|secret| secret.expose().as_str()).filter(|secret| !secret.is_empty())) {
        (Scheme::None, _) | (Scheme::Bearer, None) => Ok(()),
        (Scheme::AnthropicKey, None) => Err(SignError::Missing),
        (Scheme::Bearer, Some(secret)) => bearer(headers, secret),
        (Scheme::AnthropicKey, Some(secret)) if secret.starts_with("sk-ant-oat") => {
            bearer(headers, secret)?;
            add_beta(headers)
        }
        (Scheme::AnthropicKey, Some(secret)) => {
            headers.insert(HeaderName::from_static("x-api-key"), sensitive(secret.to_owned())?);
            Ok(())
        }
    }
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

    fn signed(scheme: Scheme, secret: &str) -> Result<HeaderMap, SignError> {
        let mut headers = HeaderMap::new();
        sign(scheme, &mut headers, Some(&Secret::new(secret.to_owned()))).map(|()| headers)
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
        let mut headers =
            HeaderMap::from_iter([(HeaderName::from_static("anthropic-beta"), HeaderValue::from_static("a,b"))]);
        sign(Scheme::AnthropicKey, &mut headers, Some(&Secret::new("sk-ant-oat".to_owned()))).unwrap();
        assert_eq!(headers["anthropic-beta"], "a,b,oauth-2025-04-20");
    }
}
