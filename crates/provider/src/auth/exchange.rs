//! Secrets that are exchanged for a short-lived one before use: what to send, and how to read the answer.
//!
//! No sending, no caching: the gateway runs an exchange and keeps its result until shortly before it expires. What comes out is
//! a secret in the form that `sign` takes. Invariant: neither request nor result shows a secret in `Debug`.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use domain::{Secret, Timestamp};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::secret::{AwsRole, AwsSecret, EntraClient, Reading, SecretError, SecretForm, ServiceAccount};
use super::sigv4::{self, SigningScope};
use super::{SignError, secret};

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
/// What may stand unencoded in a form, besides letters and digits.
const WORD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How long a signed assertion holds; the most that Google takes.
const ASSERTION: Duration = Duration::from_secs(3_600);
/// What Google's tokens are asked for.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// One exchange, to be sent once.
pub struct TokenExchange {
    /// What to send.
    pub request: Request<Bytes>,
    answer: AnswerForm,
    /// What the other side's words must not show, should they repeat it.
    hidden: Option<Secret<String>>,
}

/// What an exchange gave.
#[derive(Debug)]
pub struct Exchanged {
    /// The secret to sign requests with.
    pub secret: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why an exchange gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The other side refused: the stored secret is wrong, or may not do this.
    #[error("the exchange of the credential was refused with status {status}: {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// The other side's words, at most 200 characters.
        reason: Box<str>,
    },
    /// The answer is not one.
    #[error("the answer to the exchange of the credential cannot be read")]
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum AnswerForm {
    /// OAuth 2.0's JSON.
    Token,
    /// STS's XML; the region goes on into the secret.
    Sts { region: Option<String> },
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenExchange").field("uri", self.request.uri()).finish_non_exhaustive()
    }
}

impl TokenExchange {
    /// Reads the answer.
    pub fn parse(&self, status: u16, body: &[u8], now: Timestamp) -> Result<Exchanged, ExchangeError> {
        if !(200..300).contains(&status) {
            let text = String::from_utf8_lossy(&body[..body.len().min(2_048)]);
            let mut reason = reason_of(&text);
            if let Some(hidden) = &self.hidden {
                reason = reason.replace(hidden.expose().as_str(), "(hidden)");
            }
            let reason = reason.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(ExchangeError::Refused { status, reason });
        }
        let read = match &self.answer {
            AnswerForm::Token => read_token(body, now),
            AnswerForm::Sts { region } => read_sts(body, region.as_deref()),
        };
        read.ok_or(ExchangeError::Malformed)
    }
}

/// Makes what stands for the result of an exchange where a request is shown and not sent; `None` when nothing is exchanged.
pub(crate) fn stand_in(form: SecretForm, secret: &Secret<String>) -> Option<Secret<String>> {
    let text = match form.read(secret.expose()).ok()? {
        Reading::Key => return None,
        Reading::Aws(secret) => {
            secret.role.as_ref()?;
            json!({"access_key_id": "HIDDEN", "secret_access_key": "hidden", "region": secret.region}).to_string()
        }
        // Each begins like what it stands for.
        Reading::Google(_) => "ya29.hidden".to_owned(),
        Reading::Entra(_) => "eyJ.hidden".to_owned(),
    };
    Some(Secret::new(text))
}

/// Makes the exchange that a secret needs, `None` when it is used as it is.
pub(crate) fn exchange(
    form: SecretForm,
    secret: &Secret<String>,
    now: Timestamp,
) -> Result<Option<TokenExchange>, SignError> {
    match form.read(secret.expose()).map_err(|_| SignError::Unreadable)? {
        Reading::Key => Ok(None),
        Reading::Aws(secret) => match &secret.role {
            Some(role) => sts(&secret, role, now).map(Some),
            None => Ok(None),
        },
        Reading::Google(account) => google(&account, now).map(Some),
        Reading::Entra(client) => entra(&client).map(Some),
    }
}

fn post(address: &str, form: &[(&str, &str)]) -> Result<Request<Bytes>, SignError> {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, WORD));
    let body = form.iter().map(pair).collect::<Vec<_>>().join("&");
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.parse().map_err(|_| SignError::Unreadable)?;
    request.headers_mut().insert(CONTENT_TYPE, FORM);
    Ok(request)
}

fn reason_of(text: &str) -> String {
    if let Ok(answer) = serde_json::from_str::<Value>(text) {
        let words = [answer["error"].as_str(), answer["error_description"].as_str()];
        return words.into_iter().flatten().collect::<Vec<_>>().join(": ");
    }
    let words = [tag(text, "Code"), tag(text, "Message")];
    words.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn read_token(body: &[u8], now: Timestamp) -> Option<Exchanged> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty())?;
    // Entra's older endpoint says the number as a string.
    let seconds = &answer["expires_in"];
    let seconds = seconds.as_u64().or_else(|| seconds.as_str().and_then(|text| text.parse().ok()))?;
    let expires_at = now.plus(Duration::from_secs(seconds.min(86_400)));
    Some(Exchanged { secret: Secret::new(token.to_owned()), expires_at })
}

// === Google ===

fn google(account: &ServiceAccount, now: Timestamp) -> Result<TokenExchange, SignError> {
    let key = rsa_key(account).ok_or(SignError::Unreadable)?;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = json!({
        "iss": account.client_email,
        "scope": GOOGLE_SCOPE,
        "aud": account.token_uri,
        "iat": now.as_secs(),
        "exp": now.plus(ASSERTION).as_secs(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let said = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature)
        .map_err(|_| SignError::Unreadable)?;
    let assertion = format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature));
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.as_str())];
    let request = post(&account.token_uri, &form)?;
    Ok(TokenExchange { request, answer: AnswerForm::Token, hidden: Some(Secret::new(assertion)) })
}

/// Reads the PEM (PKCS#8, or PKCS#1 as older files have it).
fn rsa_key(account: &ServiceAccount) -> Option<RsaKeyPair> {
    let pem = account.private_key.expose();
    let body: String =
        pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().concat();
    let der = STANDARD.decode(body).ok()?;
    RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).ok()
}

/// Checks the key when it is entered and not at the first call.
pub(super) fn check_private_key(account: &ServiceAccount) -> Result<(), SecretError> {
    let reason = "is no RSA key in PEM (PKCS#8); paste the key file as it was downloaded";
    rsa_key(account).map(|_| ()).ok_or(SecretError { field: "private_key", reason })
}

// === Entra ===

fn entra(client: &EntraClient) -> Result<TokenExchange, SignError> {
    let address = format!("{}/{}/oauth2/v2.0/token", client.authority.trim_end_matches('/'), client.tenant_id);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client.client_id.as_str()),
        ("client_secret", client.client_secret.expose().as_str()),
        ("scope", client.scope.as_str()),
    ];
    let request = post(&address, &form)?;
    Ok(TokenExchange { request, answer: AnswerForm::Token, hidden: Some(client.client_secret.clone()) })
}

// === AWS ===

fn sts(secret: &AwsSecret, role: &AwsRole, now: Timestamp) -> Result<TokenExchange, SignError> {
    let region = secret.region.as_deref().unwrap_or("us-east-1");
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let usual = || format!("https://sts.{region}.amazonaws.com{suffix}/");
    let address = role.endpoint.clone().unwrap_or_else(usual);
    let mut form = vec![("Version", "2011-06-15"), ("RoleArn", &role.arn), ("RoleSessionName", &role.session_name)];
    let action = if role.web_identity_token.is_some() { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
    form.insert(0, ("Action", action));
    if let Some(token) = &role.web_identity_token {
        form.push(("WebIdentityToken", token.expose()));
    } else if let Some(id) = &role.external_id {
        form.push(("ExternalId", id));
    }
    let mut request = post(&address, &form)?;
    match (&role.web_identity_token, &secret.keys) {
        // The token speaks for itself; the call is not signed.
        (Some(_), _) => {}
        (None, Some(keys)) => sigv4::sign(&mut request, keys, SigningScope { region, service: "sts" }, now)?,
        (None, None) => return Err(SignError::Missing),
    }
    let hidden = match (&role.web_identity_token, &secret.keys) {
        (Some(token), _) => Some(token.clone()),
        (None, keys) => keys.as_ref().map(|keys| keys.secret_access_key.clone()),
    };
    Ok(TokenExchange { request, answer: AnswerForm::Sts { region: secret.region.clone() }, hidden })
}

fn read_sts(body: &[u8], region: Option<&str>) -> Option<Exchanged> {
    let text = std::str::from_utf8(body).ok()?;
    let secret = json!({
        "access_key_id": tag(text, "AccessKeyId")?,
        "secret_access_key": tag(text, "SecretAccessKey")?,
        "session_token": tag(text, "SessionToken")?,
        "region": region,
    });
    let expires_at = tag(text, "Expiration")?.parse().ok()?;
    let secret = secret.to_string();
    SecretForm::Aws.read(&secret).ok().filter(|reading| matches!(reading, secret::Reading::Aws(_)))?;
    Some(Exchanged { secret: Secret::new(secret), expires_at })
}

/// Returns the text of the first element of a name; STS's elements have no attributes and no entities in what we read.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(value, _)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{self, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    const NOW: &str = "2026-11-22T10:00:00Z";

    fn made(form: SecretForm, secret: &str) -> TokenExchange {
        exchange(form, &Secret::new(secret.to_owned()), NOW.parse().unwrap()).unwrap().unwrap()
    }

    fn service_account() -> String {
        let key = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der>::as_der(&key).unwrap();
        let key =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        json!({
            "type": "service_account",
            "client_email": "gate@project.iam.gserviceaccount.com",
            "private_key": key,
            "private_key_id": "k1",
            "token_uri": "https://oauth2.googleapis.com/token",
            "project_id": "project",
        })
        .to_string()
    }

    #[test]
    fn a_service_account_signs_an_assertion_that_its_public_key_verifies() {
        let text = service_account();
        assert_eq!(SecretForm::Google.check(&text), Ok(()));
        let exchange = made(SecretForm::Google, &text);
        assert_eq!(exchange.request.uri(), "https://oauth2.googleapis.com/token");
        let body = std::str::from_utf8(exchange.request.body()).unwrap();
        let assertion =
            body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
        let (said, signature) = assertion.rsplit_once('.').unwrap();
        let (_, claims) = said.split_once('.').unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
        assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
        let Reading::Google(account) = SecretForm::Google.read(&text).unwrap() else { panic!() };
        let key = rsa_key(&account).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
            .verify(said.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
    }

    #[test]
    fn a_token_is_kept_until_it_ends() {
        let exchange = made(SecretForm::Google, &service_account());
        let now = NOW.parse().unwrap();
        let given = exchange.parse(200, br#"{"access_token":"ya29.x","expires_in":3599}"#, now).unwrap();
        assert_eq!(
            (given.secret.expose().as_str(), given.expires_at.to_string()),
            ("ya29.x", "2026-11-22T10:59:59Z".to_owned())
        );
        assert_eq!(exchange.parse(200, b"<html>", now).unwrap_err(), ExchangeError::Malformed);
        let refused = exchange.parse(400, br#"{"error":"invalid_grant","error_description":"no such account"}"#, now);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the exchange of the credential was refused with status 400: invalid_grant: no such account"
        );
        assert!(!format!("{exchange:?} {given:?}").contains("ya29"));
    }

    #[test]
    fn a_refusal_that_repeats_the_secret_does_not_show_it() {
        let exchange = made(SecretForm::Entra, r#"{"tenant_id":"t","client_id":"c","client_secret":"s-canary"}"#);
        let body = br#"{"error":"invalid_client","error_description":"no s-canary\n here"}"#;
        let refused = exchange.parse(401, body, NOW.parse().unwrap()).unwrap_err().to_string();
        assert!(refused.ends_with("status 401: invalid_client: no (hidden) here"), "{refused}");
    }

    #[test]
    fn what_stands_in_for_a_result_signs_like_one() {
        let account = Secret::new(service_account());
        assert_eq!(stand_in(SecretForm::Google, &account).unwrap().expose(), "ya29.hidden");
        let role = r#"{"access_key_id":"AKID","secret_access_key":"s","role_arn":"arn:aws:iam::1:role/r"}"#;
        let keys = stand_in(SecretForm::Aws, &Secret::new(role.to_owned())).unwrap();
        assert!(super::exchange(SecretForm::Aws, &keys, NOW.parse().unwrap()).unwrap().is_none());
        assert!(!keys.expose().contains("AKID"));
        assert!(stand_in(SecretForm::Google, &Secret::new("AIza".to_owned())).is_none());
    }

    #[test]
    fn an_entra_application_asks_its_tenant() {
        let exchange = made(SecretForm::Entra, r#"{"tenant_id":"t-1","client_id":"c-1","client_secret":"s/1"}"#);
        assert_eq!(exchange.request.uri(), "https://login.microsoftonline.com/t-1/oauth2/v2.0/token");
        assert_eq!(
            exchange.request.body(),
            "grant_type=client_credentials&client_id=c-1&client_secret=s%2F1\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        );
    }

    #[test]
    fn a_role_is_taken_on_with_keys_or_with_a_web_identity() {
        let keys = r#"{"access_key_id":"AKID","secret_access_key":"s","role_arn":"arn:aws:iam::1:role/r","external_id":"e 1","region":"eu-west-1"}"#;
        let exchange = made(SecretForm::Aws, keys);
        assert_eq!(exchange.request.uri(), "https://sts.eu-west-1.amazonaws.com/");
        assert!(exchange.request.headers()["authorization"].to_str().unwrap().contains("/eu-west-1/sts/aws4_request"));
        assert_eq!(
            exchange.request.body(),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
             &RoleSessionName=headgate&ExternalId=e%201"
        );
        let answer = b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
            <SecretAccessKey>s2</SecretAccessKey><SessionToken>tok</SessionToken><Expiration>2026-11-22T11:00:00Z</Expiration>\
            </Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let given = exchange.parse(200, answer, NOW.parse().unwrap()).unwrap();
        assert_eq!(given.expires_at.to_string(), "2026-11-22T11:00:00Z");
        // What comes out signs requests and needs no further exchange.
        assert!(super::exchange(SecretForm::Aws, &given.secret, NOW.parse().unwrap()).unwrap().is_none());

        let identity = made(SecretForm::Aws, r#"{"role_arn":"arn:aws:iam::1:role/r","web_identity_token":"e.y.j"}"#);
        assert!(!identity.request.headers().contains_key("authorization"));
        assert!(identity.request.body().starts_with(b"Action=AssumeRoleWithWebIdentity"));
    }

    #[test]
    fn plain_keys_are_not_exchanged() {
        for form in [SecretForm::Key, SecretForm::Aws, SecretForm::Google, SecretForm::Entra] {
            let key = Secret::new("key".to_owned());
            assert!(exchange(form, &key, NOW.parse().unwrap()).unwrap().is_none());
        }
    }
}
