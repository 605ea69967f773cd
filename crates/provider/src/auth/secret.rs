//! What a credential's secret looks like: one string, or the JSON that a vendor hands out, each field checked by name.
//!
//! Reading only; what is done with the values is `sigv4`'s and `exchange`'s. Invariant: no error and no `Debug` shows a value.
//!
//! The JSON forms, beside the plain key that every one of these providers takes too:
//!
//! - AWS: `access_key_id`, `secret_access_key`, and as wanted `session_token`, `region`, `role_arn`, `external_id`,
//!   `session_name`, `sts_endpoint`; or `role_arn` with `web_identity_token`.
//! - Google: a service account's key file as downloaded (`client_email`, `private_key`, `private_key_id`, `token_uri`).
//! - Microsoft Entra: `tenant_id`, `client_id`, `client_secret`, and as wanted `authority`, `scope`.
//!
//! An address in a secret is where the secret goes, so it must be `https`; plain `http` only to this machine.

use domain::Secret;
use serde_json::{Map, Value};

/// Longest secret taken; a service account's file is about 2,500 bytes.
pub const MAX_SECRET: usize = 16 * 1024;

/// What forms of secret a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// One string.
    Key,
    /// One string (a Bedrock API key) or AWS credentials.
    Aws,
    /// One string (an API key or a token) or a service account.
    Google,
    /// One string (an API key) or an Entra application.
    Entra,
}

/// Why a secret was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct SecretError {
    /// The field of the JSON at fault; empty for the secret as such.
    pub field: &'static str,
    /// Why, and what to do.
    pub reason: &'static str,
}

/// AWS credentials.
pub(crate) struct AwsSecret {
    /// Absent when a web identity is exchanged for them.
    pub(crate) keys: Option<AwsKeys>,
    pub(crate) region: Option<String>,
    pub(crate) role: Option<AwsRole>,
}

/// What a request is signed with.
pub(crate) struct AwsKeys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret<String>,
    pub(crate) session_token: Option<Secret<String>>,
}

/// A role to take on.
pub(crate) struct AwsRole {
    pub(crate) arn: String,
    pub(crate) session_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) web_identity_token: Option<Secret<String>>,
    /// Where to ask for it, when not at the region's own address.
    pub(crate) endpoint: Option<String>,
}

/// A Google service account.
pub(crate) struct ServiceAccount {
    pub(crate) client_email: String,
    pub(crate) private_key: Secret<String>,
    pub(crate) private_key_id: Option<String>,
    pub(crate) token_uri: String,
}

/// An application registered with Microsoft Entra.
pub(crate) struct EntraClient {
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret<String>,
    pub(crate) authority: String,
    pub(crate) scope: String,
}

/// A secret as read.
pub(crate) enum Reading {
    Key,
    Aws(Box<AwsSecret>),
    Google(ServiceAccount),
    Entra(EntraClient),
}

impl SecretForm {
    /// Checks a secret as it is entered.
    pub fn check(self, text: &str) -> Result<(), SecretError> {
        match self.read(text)? {
            Reading::Google(account) => super::exchange::check_private_key(&account),
            Reading::Key | Reading::Aws(_) | Reading::Entra(_) => Ok(()),
        }
    }

    /// Reads a secret. What begins with a brace is JSON, everything else a key.
    pub(crate) fn read(self, text: &str) -> Result<Reading, SecretError> {
        let text = text.trim();
        let refuse = |reason| Err(SecretError { field: "", reason });
        if text.is_empty() {
            return refuse("enter the secret");
        }
        if text.len() > MAX_SECRET {
            return refuse("is longer than 16384 bytes");
        }
        if self == Self::Key || !text.starts_with('{') {
            // It becomes a header's value.
            return if text.len() <= 4_096 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(Reading::Key)
            } else {
                refuse("use 1 to 4096 visible ASCII characters without spaces")
            };
        }
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else {
            return refuse("begins like JSON but is none; paste the whole file");
        };
        let fields = Fields(&fields);
        match self {
            Self::Key => Ok(Reading::Key),
            Self::Aws => aws(&fields).map(|secret| Reading::Aws(Box::new(secret))),
            Self::Google => google(&fields).map(Reading::Google),
            Self::Entra => entra(&fields).map(Reading::Entra),
        }
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn find(&self, field: &'static str) -> Result<Option<String>, SecretError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(_) => Err(SecretError { field, reason: "must be a string" }),
        }
    }

    fn get(&self, field: &'static str) -> Result<String, SecretError> {
        self.find(field)?.ok_or(SecretError { field, reason: "is required" })
    }

    /// Finds a value that becomes part of a header or an address.
    fn find_word(&self, field: &'static str, allowed: &str) -> Result<Option<String>, SecretError> {
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || allowed.contains(character);
        match self.find(field)? {
            Some(word) if !word.chars().all(is_allowed) => {
                Err(SecretError { field, reason: "holds a character that it cannot have" })
            }
            word => Ok(word),
        }
    }

    fn find_address(&self, field: &'static str) -> Result<Option<String>, SecretError> {
        let Some(text) = self.find_word(field, ":/.-_~[]")? else { return Ok(None) };
        let is_address = match text.parse::<http::Uri>() {
            Ok(uri) => match (uri.scheme_str(), uri.host()) {
                (Some("https"), Some(host)) => !host.is_empty(),
                (Some("http"), Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
                _ => false,
            },
            Err(_) => false,
        };
        if is_address { Ok(Some(text)) } else { Err(SecretError { field, reason: "must be an https:// address" }) }
    }
}

fn aws(fields: &Fields<'_>) -> Result<AwsSecret, SecretError> {
    let region = fields.find_word("region", "-")?;
    let web_identity_token = fields.find_word("web_identity_token", "-_.=+/")?.map(Secret::new);
    let role = match fields.find_word("role_arn", ":/_+=,.@-")? {
        Some(arn) if !arn.starts_with("arn:") => {
            return Err(SecretError { field: "role_arn", reason: "must begin with arn:" });
        }
        Some(arn) => Some(AwsRole {
            arn,
            session_name: fields.find_word("session_name", "_+=,.@-")?.unwrap_or_else(|| "headgate".to_owned()),
            external_id: fields.find("external_id")?,
            web_identity_token,
            endpoint: fields.find_address("sts_endpoint")?,
        }),
        None if web_identity_token.is_some() => {
            return Err(SecretError { field: "role_arn", reason: "is required with web_identity_token" });
        }
        None => None,
    };
    let is_by_identity = role.as_ref().is_some_and(|role| role.web_identity_token.is_some());
    let keys = if is_by_identity {
        None
    } else {
        let access_key_id = fields.find_word("access_key_id", "")?;
        Some(AwsKeys {
            access_key_id: access_key_id.ok_or(SecretError { field: "access_key_id", reason: "is required" })?,
            secret_access_key: Secret::new(fields.get("secret_access_key")?),
            session_token: fields.find_word("session_token", "-_.=+/")?.map(Secret::new),
        })
    };
    Ok(AwsSecret { keys, region, role })
}

fn google(fields: &Fields<'_>) -> Result<ServiceAccount, SecretError> {
    if let Some(kind) = fields.find("type")?
        && kind != "service_account"
    {
        return Err(SecretError { field: "type", reason: "must be service_account; other kinds are not taken" });
    }
    Ok(ServiceAccount {
        client_email: fields.get("client_email")?,
        private_key: Secret::new(fields.get("private_key")?),
        private_key_id: fields.find("private_key_id")?,
        token_uri: fields
            .find_address("token_uri")?
            .unwrap_or_else(|| "https://oauth2.googleapis.com/token".to_owned()),
    })
}

fn entra(fields: &Fields<'_>) -> Result<EntraClient, SecretError> {
    let required = |field| SecretError { field, reason: "is required" };
    Ok(EntraClient {
        tenant_id: fields.find_word("tenant_id", "-.")?.ok_or(required("tenant_id"))?,
        client_id: fields.find_word("client_id", "-")?.ok_or(required("client_id"))?,
        client_secret: Secret::new(fields.get("client_secret")?),
        authority: fields.find_address("authority")?.unwrap_or_else(|| "https://login.microsoftonline.com".to_owned()),
        scope: fields.find("scope")?.unwrap_or_else(|| "https://cognitiveservices.azure.com/.default".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(form: SecretForm, text: &str) -> String {
        form.check(text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_takes_a_plain_key() {
        for form in [SecretForm::Key, SecretForm::Aws, SecretForm::Google, SecretForm::Entra] {
            assert_eq!(form.check(" sk-123 "), Ok(()));
            assert_eq!(refused(form, ""), "enter the secret");
            assert_eq!(refused(form, "two words"), "use 1 to 4096 visible ASCII characters without spaces");
        }
        assert_eq!(SecretForm::Key.check("{odd-but-a-key}"), Ok(()));
    }

    #[test]
    fn a_fault_names_its_field() {
        for (form, text, message) in [
            (SecretForm::Aws, "{", "begins like JSON but is none; paste the whole file"),
            (SecretForm::Aws, "{}", "access_key_id: is required"),
            (SecretForm::Aws, r#"{"access_key_id":"AK"}"#, "secret_access_key: is required"),
            (SecretForm::Aws, r#"{"access_key_id":5}"#, "access_key_id: must be a string"),
            (SecretForm::Aws, r#"{"region":"us east"}"#, "region: holds a character that it cannot have"),
            (SecretForm::Aws, r#"{"role_arn":"role/x"}"#, "role_arn: must begin with arn:"),
            (SecretForm::Aws, r#"{"web_identity_token":"t"}"#, "role_arn: is required with web_identity_token"),
            (
                SecretForm::Google,
                r#"{"type":"authorized_user"}"#,
                "type: must be service_account; other kinds are not taken",
            ),
            (SecretForm::Google, r#"{"client_email":"a@b"}"#, "private_key: is required"),
            (
                SecretForm::Google,
                r#"{"client_email":"a@b","private_key":"k","token_uri":"http://x"}"#,
                "token_uri: must be an https:// address",
            ),
            (
                SecretForm::Google,
                r#"{"client_email":"a@b","private_key":"k"}"#,
                "private_key: is no RSA key in PEM (PKCS#8); paste the key file as it was downloaded",
            ),
            (
                SecretForm::Aws,
                r#"{"role_arn":"arn:aws:iam::1:role/x","web_identity_token":"t","sts_endpoint":"http://sts.test/"}"#,
                "sts_endpoint: must be an https:// address",
            ),
            (SecretForm::Entra, r#"{"client_id":"c"}"#, "tenant_id: is required"),
            (SecretForm::Entra, r#"{"tenant_id":"a/../b"}"#, "tenant_id: holds a character that it cannot have"),
        ] {
            assert_eq!(refused(form, text), message, "{text}");
        }
    }

    #[test]
    fn whole_secrets_are_taken() {
        for (form, text) in [
            (SecretForm::Aws, r#"{"access_key_id":"AKID","secret_access_key":"a/b+c","region":"eu-west-1"}"#),
            (SecretForm::Aws, r#"{"role_arn":"arn:aws:iam::1:role/x","web_identity_token":"e.y.j"}"#),
            (SecretForm::Entra, r#"{"tenant_id":"t-1","client_id":"c-1","client_secret":"s~1"}"#),
            (
                SecretForm::Entra,
                r#"{"tenant_id":"t","client_id":"c","client_secret":"s","authority":"http://127.0.0.1:8080"}"#,
            ),
        ] {
            assert_eq!(form.check(text), Ok(()), "{text}");
        }
    }
}
