//! A base address, checked once, from which the addresses of all calls are made.
//!
//! Invariant: every address made here has the scheme, host and port of the base, and a path below it. Of a request nothing
//! becomes part of a path but the model's name, as one encoded segment; names that could lead elsewhere are refused.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Place, Spec, Surface};

/// What may stand unencoded in a model's segment, besides letters and digits.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');
/// What stands for the model in a path.
const MODEL: &str = "{model}";
/// Longest name of a model in a path; an ARN of an inference profile has about 150 bytes.
const MAX_MODEL: usize = 512;

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
    #[error("the address must not have a query or a fragment, save for what the provider names (such as api-version)")]
    Query,
    /// The path could lead elsewhere.
    #[error("the path of the address must not hold `..`, `//`, `\\` or encoded characters")]
    Path,
}

/// A path below a base leads elsewhere, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path cannot be used below the provider's base address; use plain segments without `..`, `//`, `\\`, `;` or nested encoding"
)]
pub struct PathError;

/// The model's name cannot be part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's model name cannot be part of an address; use its name without `..`, `%`, `?`, `#` or blanks")]
pub struct ModelNameError;

/// A checked base address with the addresses of each operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: Box<str>,
    /// The query that chooses the provider's dated places.
    query: Option<Box<str>>,
    places: Vec<Ready>,
}

/// A place with its addresses made, as far as they can be without a model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ready {
    surface: Surface,
    whole: Address,
    stream: Option<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// The same for all calls: cloning shares its parts.
    Fixed(Uri),
    /// What stands before and after the model.
    Model(Box<str>, Box<str>),
}

impl Base {
    /// Checks a base address and makes the addresses below it.
    pub fn parse(spec: &Spec, text: &str) -> Result<Self, BaseUrlError> {
        let (address, query) = split_query(spec, text.trim())?;
        let uri: Uri = address.parse().map_err(|_| BaseUrlError::NotAbsolute)?;
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
        let places = if query.is_some() { spec.dated_places } else { spec.places };
        let make = |below: &str| {
            let below = join(path, below, query);
            match below.split_once(MODEL) {
                Some((before, after)) => Ok(Address::Model(before.into(), after.into())),
                None => uri_of(&scheme, &authority, &below).map(Address::Fixed).ok_or(BaseUrlError::Path),
            }
        };
        let ready = |place: &Place| {
            let stream = place.stream.map(make).transpose()?;
            Ok(Ready { surface: place.surface, whole: make(place.path)?, stream })
        };
        let places = places.iter().map(ready).collect::<Result<_, _>>()?;
        Ok(Self { scheme, authority, path: path.into(), query: query.map(Into::into), places })
    }

    /// Returns the address of an operation, `None` when the provider has none. Cheap without a model in it: the parts are
    /// shared.
    pub fn uri(&self, surface: Surface, model: &str, is_stream: bool) -> Result<Option<Uri>, ModelNameError> {
        let Some(ready) = self.places.iter().find(|ready| ready.surface == surface) else { return Ok(None) };
        let address = ready.stream.as_ref().filter(|_| is_stream).unwrap_or(&ready.whole);
        match address {
            Address::Fixed(uri) => Ok(Some(uri.clone())),
            Address::Model(before, after) => {
                check_model(model)?;
                let path = format!("{before}{}{after}", utf8_percent_encode(model, SEGMENT));
                uri_of(&self.scheme, &self.authority, &path).map(Some).ok_or(ModelNameError)
            }
        }
    }

    /// Says whether the base has the query that chooses the provider's dated places.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        self.query.is_some()
    }

    /// Says whether the base names a version, and one from before a date. Versions begin with theirs (`2024-06-01`, `2024-09-01-preview`).
    #[must_use]
    pub fn is_before(&self, date: &str) -> bool {
        let version = self.query.as_deref().and_then(|query| query.split_once('=')).map(|(_, version)| version);
        version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()) && version < date)
    }

    /// Returns the address of anything below the base. `rest` and `query` are as a client wrote them, percent-encoded.
    ///
    /// Whatever decodes before it routes must find nothing in them that leads out of the base. Parameters that usually hold a
    /// key are left out of the query.
    pub fn below(&self, rest: &str, query: Option<&str>) -> Result<Uri, PathError> {
        check_rest(rest)?;
        let query = query.map_or(Ok(String::new()), public_query)?;
        let own = self.query.as_deref();
        // The base's own parameter is the operator's choice.
        let is_own = |pair: &&str| own.is_some_and(|own| own.split('=').next() == pair.split('=').next());
        let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_own(pair)).collect();
        let below = if pairs.is_empty() { format!("/{rest}") } else { format!("/{rest}?{}", pairs.join("&")) };
        uri_of(&self.scheme, &self.authority, &join(&self.path, &below, own)).ok_or(PathError)
    }

    /// Lists what may be at an address below the base, and the model that the address names.
    pub fn surfaces_at(&self, uri: &Uri) -> impl Iterator<Item = (Surface, Option<String>)> {
        self.places.iter().filter_map(|ready| {
            std::iter::once(&ready.whole).chain(&ready.stream).find_map(|address| match address {
                Address::Fixed(fixed) => (fixed.path() == uri.path()).then_some((ready.surface, None)),
                Address::Model(before, after) => {
                    let after = after.split('?').next().unwrap_or_default();
                    let model = uri.path().strip_prefix(&**before)?.strip_suffix(after)?;
                    let model = percent_decode_str(model).decode_utf8().ok()?;
                    check_model(&model).ok()?;
                    Some((ready.surface, Some(model.into_owned())))
                }
            })
        })
    }

    /// Returns the scheme, host and port that a credential is bound to, in lower case.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority).to_ascii_lowercase()
    }
}

/// Splits off the query that the provider's addresses may have: `api-version=…` and nothing else.
fn split_query<'t>(spec: &Spec, text: &'t str) -> Result<(&'t str, Option<&'t str>), BaseUrlError> {
    if text.contains('#') {
        return Err(BaseUrlError::Query);
    }
    let Some((address, query)) = text.split_once('?') else { return Ok((text, None)) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_known = query
        .split_once('=')
        .is_some_and(|(name, value)| spec.base_query == Some(name) && !value.is_empty() && value.bytes().all(is_plain));
    if is_known { Ok((address, Some(query))) } else { Err(BaseUrlError::Query) }
}

fn check_path(path: &str) -> Result<(), BaseUrlError> {
    let is_bad = path.contains("..")
        || path.contains("//")
        || path.contains('\\')
        || path.contains('%')
        || path.contains(['{', '}'])
        || path.split('/').any(|segment| segment == ".");
    if is_bad { Err(BaseUrlError::Path) } else { Ok(()) }
}

/// A server that decodes and resolves before it routes must find nothing in the name that leads elsewhere.
fn check_model(model: &str) -> Result<(), ModelNameError> {
    let is_bad = model.is_empty()
        || model.len() > MAX_MODEL
        || model.contains(['%', '?', '#', '\\', ';'])
        || model.chars().any(|character| character.is_control() || character.is_whitespace())
        || model.split('/').any(|part| matches!(part, "" | "." | ".."));
    if is_bad { Err(ModelNameError) } else { Ok(()) }
}

fn check_rest(rest: &str) -> Result<(), PathError> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#?;{}\"<>^`|".contains(&byte);
    if rest.is_empty() || rest.len() > 2_048 || !rest.bytes().all(is_plain) {
        return Err(PathError);
    }
    // The last may be empty: a slash at the end means something to some.
    let segments = rest.strip_suffix('/').unwrap_or(rest).split('/');
    for segment in segments {
        let text = percent_decode_str(segment).decode_utf8().map_err(|_| PathError)?;
        let is_bad = text.contains(['%', '\\', '?', '#', ';'])
            || text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
            || text.split('/').any(|part| matches!(part, "" | "." | ".."));
        if is_bad {
            return Err(PathError);
        }
    }
    Ok(())
}

/// Leaves out of a query what usually holds a key.
fn public_query(query: &str) -> Result<String, PathError> {
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') || query.len() > 8_192 {
        return Err(PathError);
    }
    let is_public = |pair: &&str| {
        let name =
            percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy().to_ascii_lowercase();
        !matches!(name.as_str(), "key" | "api_key" | "api-key" | "apikey" | "access_token" | "token" | "auth")
            && !name.starts_with("x-amz-")
    };
    Ok(query.split('&').filter(is_public).collect::<Vec<_>>().join("&"))
}

/// Puts a path below another. A base given with what the provider's paths begin with too (`/v1`) means the same place.
fn join(path: &str, below: &str, query: Option<&str>) -> String {
    let is_version = |segment: &str| {
        segment == "openai"
            || segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_shared = |at: usize| below[..at].rsplit('/').next().is_some_and(is_version) && path.ends_with(&below[..at]);
    let shared = below.rmatch_indices('/').map(|(at, _)| at).find(|at| *at > 0 && is_shared(*at)).unwrap_or(0);
    let path = &path[..path.len() - shared];
    match query {
        Some(query) if below.contains('?') => format!("{path}{below}&{query}"),
        Some(query) => format!("{path}{below}?{query}"),
        None => format!("{path}{below}"),
    }
}

fn uri_of(scheme: &Scheme, authority: &Authority, path: &str) -> Option<Uri> {
    Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::find;

    fn base(provider: &str, text: &str) -> Result<Base, BaseUrlError> {
        Base::parse(find(provider).unwrap().spec(), text)
    }

    const CHAT: Surface = Surface::Chat(llm::dialect::Dialect::OpenAiChat);
    const MESSAGES: Surface = Surface::Chat(llm::dialect::Dialect::AnthropicMessages);

    #[test]
    fn a_base_address_is_checked_once() {
        let parse = |text: &str| base("openai", text);
        let uri = |text: &str| parse(text).unwrap().uri(CHAT, "m", false).unwrap().unwrap().to_string();
        assert_eq!(uri("https://api.openai.com/v1"), "https://api.openai.com/v1/chat/completions");
        assert_eq!(uri("https://h:8443/"), "https://h:8443/chat/completions");
        assert_eq!(uri("http://[::1]:8000/a/b/"), "http://[::1]:8000/a/b/chat/completions");
        assert_eq!(parse("HTTPS://API.OpenAI.com/v1").unwrap().origin(), "https://api.openai.com");
        for text in ["https://x", "https://x/", "https://x/v1", "https://x/v1/"] {
            let uri = base("anthropic", text).unwrap().uri(MESSAGES, "m", false).unwrap().unwrap();
            assert_eq!(uri, "https://x/v1/messages", "{text}");
        }
        for (bad, error) in [
            ("", BaseUrlError::NotAbsolute),
            ("api.openai.com", BaseUrlError::NotAbsolute),
            ("ftp://x/v1", BaseUrlError::Scheme),
            ("file:///etc/passwd", BaseUrlError::NotAbsolute),
            ("https://key@x/v1", BaseUrlError::UserInfo),
            ("https://x/v1?a=b", BaseUrlError::Query),
            ("https://x/v1?api-version=2024-10-21", BaseUrlError::Query),
            ("https://x/v1#a", BaseUrlError::Query),
            ("https://x/v1/../admin", BaseUrlError::Path),
            ("https://x/%2e%2e/admin", BaseUrlError::Path),
            ("https://x//y", BaseUrlError::Path),
            ("https://x/{model}", BaseUrlError::NotAbsolute),
        ] {
            let found = parse(bad);
            assert!(found == Err(error) || bad.contains('{') && found.is_err(), "{bad}");
        }
    }

    #[test]
    fn what_base_and_path_share_is_written_once() {
        for (path, below, joined) in [
            ("/v1", "/v1/messages", "/v1/messages"),
            ("/v1", "/chat/completions", "/v1/chat/completions"),
            ("", "/openai/v1/responses", "/openai/v1/responses"),
            ("/openai", "/openai/v1/responses", "/openai/v1/responses"),
            ("/openai/v1", "/openai/v1/responses", "/openai/v1/responses"),
            ("/chat", "/chat/completions", "/chat/chat/completions"),
            ("/proxy/v2", "/v2/chat", "/proxy/v2/chat"),
        ] {
            assert_eq!(join(path, below, None), joined);
        }
        assert_eq!(join("", "/a?alt=sse", Some("b=c")), "/a?alt=sse&b=c");
    }

    #[test]
    fn what_is_below_a_base_stays_below_it() {
        let openai = base("openai", "https://h.test/proxy/v1").unwrap();
        let below = |rest: &str, query| openai.below(rest, query).map(|uri| uri.to_string());
        assert_eq!(below("v1/files", None), Ok("https://h.test/proxy/v1/files".to_owned()));
        assert_eq!(
            below("files/file-1/content", Some("a=b")),
            Ok("https://h.test/proxy/v1/files/file-1/content?a=b".to_owned())
        );
        assert_eq!(
            below("models/a%2Fb", Some("key=hgk_1&after=x&API%5Fkey=y")),
            Ok("https://h.test/proxy/v1/models/a%2Fb?after=x".to_owned())
        );
        for bad in [
            "",
            "/",
            "//",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "%2e%2e/x",
            "a/%2E%2E/b",
            "a%2f..%2fb",
            "a/%252e%252e/b",
            "a\\b",
            "a%5cb",
            "a;b/..;/c",
            "a?b",
            "a#b",
            "a%00b",
            "a%0ab",
            "a%3fb",
            "a b",
            "a%20b",
            "\u{e9}",
        ] {
            assert_eq!(below(bad, None), Err(PathError), "{bad}");
        }
        let azure = base("azure_openai", "https://h.test?api-version=2024-10-21").unwrap();
        let address = azure.below("openai/deployments/d/chat/completions", Some("api-version=1999-01-01&x=1")).unwrap();
        assert_eq!(address, "https://h.test/openai/deployments/d/chat/completions?x=1&api-version=2024-10-21");
        assert_eq!(azure.surfaces_at(&address).next(), Some((CHAT, Some("d".to_owned()))));
        let chat = "https://h.test/proxy/v1/chat/completions".parse().unwrap();
        assert_eq!(openai.surfaces_at(&chat).next(), Some((CHAT, None)));
        assert_eq!(openai.surfaces_at(&"https://h.test/proxy/v1/files".parse().unwrap()).next(), None);
    }

    proptest! {
        #[test]
        fn nothing_below_leads_elsewhere(rest in "\\PC{0,30}|[./%25aeEfF\\\\;@:]{1,14}|(\\.\\./){1,3}x", query in "[a-z=&%/.@]{0,20}") {
            let base = base("openai", "https://h.test/base").unwrap();
            if let Ok(uri) = base.below(&rest, Some(&query)) {
                prop_assert_eq!((uri.scheme_str(), uri.authority().unwrap().as_str()), (Some("https"), "h.test"));
                let inside = uri.path().strip_prefix("/base/").unwrap();
                let decoded = percent_encoding::percent_decode_str(inside).decode_utf8().unwrap();
                prop_assert!(decoded.split(['/', '\\']).all(|part| part != ".." && part != "."));
                prop_assert!(!decoded.contains("//"));
            }
        }

        #[test]
        fn no_model_leads_elsewhere(model in "\\PC{0,40}|[./%a]{1,12}|(\\.\\./){1,3}x") {
            let address = Address::Model("/base/models/".into(), ":go?alt=sse".into());
            let base = Base {
                scheme: Scheme::HTTPS,
                authority: Authority::from_static("h.test"),
                path: "".into(),
                query: None,
                places: vec![Ready { surface: CHAT, whole: address, stream: None }],
            };
            if let Ok(uri) = base.uri(CHAT, &model, false) {
                let uri = uri.unwrap();
                prop_assert_eq!((uri.scheme_str(), uri.authority().unwrap().as_str()), (Some("https"), "h.test"));
                let inside = uri.path().strip_prefix("/base/models/").unwrap().strip_suffix(":go").unwrap();
                prop_assert!(!inside.contains('/') && !inside.is_empty());
                prop_assert_eq!(uri.query(), Some("alt=sse"));
                let decoded = percent_encoding::percent_decode_str(inside).decode_utf8().unwrap();
                prop_assert!(decoded.split('/').all(|part| !part.is_empty() && part != ".." && part != "."));
                prop_assert_eq!(decoded.as_ref(), model.as_str());
            }
        }
    }
}
