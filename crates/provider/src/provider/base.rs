//! A base address, checked once, from which the addresses of all calls are made.
//!
//! Model names and other values of a request never become part of a path. Invariant: every address made here has the scheme,
//! host and port of the base, and a path below it.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::{Operation, Spec};

/// Why an address cannot be a base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not an absolute address.
    #[error("expected an address such as https://api.example.com/v1")]
    NotAbsolute,
    /// Neither `http` nor `https`.
    #[error("the address must begin with https:// or http://")]
    Scheme,
    /// It holds a user name or password.
    #[error("the address must not hold a user name or password; enter the secret as the credential's secret")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("the address must not have a query or a fragment")]
    Query,
    /// The path could lead elsewhere.
    #[error("the path of the address must not hold `..`, `//`, `\\` or encoded characters")]
    Path,
}

/// A checked base address with the addresses of each operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    chat: Uri,
    count: Option<Uri>,
    embeddings: Option<Uri>,
}

impl Base {
    /// Checks a base address and makes the addresses below it.
    pub fn parse(spec: &Spec, text: &str) -> Result<Self, BaseUrlError> {
        if text.contains('#') || text.contains('?') {
            return Err(BaseUrlError::Query);
        }
        let uri: Uri = text.trim().parse().map_err(|_| BaseUrlError::NotAbsolute)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(BaseUrlError::NotAbsolute);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(BaseUrlError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(BaseUrlError::NotAbsolute);
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/');
        check_path(path)?;
        let make = |below: &str| join(&scheme, &authority, path, below);
        Ok(Self {
            chat: make(spec.chat_path)?,
            count: spec.count_path.map(make).transpose()?,
            embeddings: spec.embeddings_path.map(make).transpose()?,
        })
    }

    /// Returns the address of an operation, `None` when the provider has none. Cheap: the parts are shared.
    #[must_use]
    pub fn uri(&self, operation: Operation) -> Option<&Uri> {
        match operation {
            Operation::Chat(_) => Some(&self.chat),
            Operation::CountTokens => self.count.as_ref(),
            Operation::Embeddings => self.embeddings.as_ref(),
        }
    }

    /// Returns the scheme, host and port that a credential is bound to, in lower case.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = self.chat.scheme_str().unwrap_or_default();
        let authority = self.chat.authority().map(Authority::as_str).unwrap_or_default();
        format!("{scheme}://{authority}").to_ascii_lowercase()
    }
}

fn check_path(path: &str) -> Result<(), BaseUrlError> {
    let is_bad = path.contains("..")
        || path.contains("//")
        || path.contains('\\')
        || path.contains('%')
        || path.split('/').any(|segment| segment == ".");
    if is_bad { Err(BaseUrlError::Path) } else { Ok(()) }
}

fn join(scheme: &Scheme, authority: &Authority, path: &str, below: &str) -> Result<Uri, BaseUrlError> {
    // A base given with the version, where the provider's paths have it too, means the same place.
    let path = match (path.strip_suffix("/v1"), below.starts_with("/v1/")) {
        (Some(shorter), true) => shorter,
        _ => path,
    };
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(format!("{path}{below}"))
        .build()
        .map_err(|_| BaseUrlError::Path)
}
