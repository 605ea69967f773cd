//! Secrets: a wrapper that cannot be printed, and the text form of every token that Headgate issues.
//!
//! A token reads `<kind><env><version>_<kid>_<secret>_<crc>`, for example `hgk_d1_…`: `_` only, so that a double click selects
//! it; a 12-character public key id that may be logged and is the look-up key; 32 characters of secret (190 bits); a CRC-32
//! that lets scanners and the edge reject junk without a look-up. Stored is only `HMAC-SHA-256(pepper, scope || 0 || token)`.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::actor::ActorKind;
use crate::rng::Entropy;
use crate::usage::text_enum;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 32;
const CRC_LENGTH: usize = 6;

/// Holds a value that must not be shown: no `Debug`, no `Display`, no serialisation; memory is wiped on drop.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Reads the value; the only way to it, so that `grep expose` finds every use.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de, T: Zeroize + serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// What a token opens; the first three letters of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `hgk`: a virtual key for the gateway.
    VirtualKey,
    /// `hga`: an access token for the management API.
    AccessToken,
    /// `hgj`: a node's join token.
    JoinToken,
}

text_enum! {
    /// Why a secret was revoked, when nobody with the right to revoke it did.
    RevocationCause {
        /// Somebody found it where it should not be, and showed it.
        Found = "found",
    }
}

impl RevocationCause {
    /// Returns the cause that follows from who revokes; none for those who have the right to.
    #[must_use]
    pub const fn by(actor: ActorKind) -> Option<Self> {
        match actor {
            ActorKind::Finder => Some(Self::Found),
            _ => None,
        }
    }
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::VirtualKey, Self::AccessToken, Self::JoinToken];

    /// Returns the stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual_key",
            Self::AccessToken => "access_token",
            Self::JoinToken => "join_token",
        }
    }

    /// Returns the regular expression that finds tokens of this kind in text; a checksum sorts out what only looks like one.
    #[must_use]
    pub fn pattern(self) -> String {
        const LETTERS: &str = "[0-9A-Za-z]";
        let prefix = self.prefix();
        format!(
            r"\b{prefix}_[a-z][0-9]_{LETTERS}{{{KID_LENGTH}}}_{LETTERS}{{{SECRET_LENGTH}}}_{LETTERS}{{{CRC_LENGTH}}}\b"
        )
    }

    /// Returns the three letters.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::VirtualKey => "hgk",
            Self::AccessToken => "hga",
            Self::JoinToken => "hgj",
        }
    }
}

/// The public part of a token: twelve base62 characters, safe to log and to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid([u8; KID_LENGTH]);

impl Kid {
    /// Parses twelve base62 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; KID_LENGTH] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Kid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Kid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a key id of twelve letters and digits"))
    }
}

/// The text is not a token that Headgate issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the shape of a token of this kind at all.
    #[error("not a Headgate token of the expected kind")]
    Shape,
    /// The shape is right, the checksum is not: mistyped or cut.
    #[error("the token's checksum does not match; it was mistyped or cut")]
    Checksum,
}

/// A whole token in clear. Exists where it is issued and where it is presented, nowhere else.
#[derive(Clone, Debug)]
pub struct TokenSecret {
    text: Secret<String>,
    kid: Kid,
}

/// The stored form of a token: compared in constant time, useless without the pepper.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenMac([u8; 32]);

impl TokenMac {
    /// Wraps a stored MAC.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Computes the MAC of a presented token text under `pepper`, bound to `scope` (the organization's id, or `control`).
    #[must_use]
    pub fn compute(pepper: &[u8; 32], scope: &str, token: &str) -> Self {
        // HMAC accepts keys of any length; 32 bytes cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(pepper) else { return Self([0; 32]) };
        mac.update(scope.as_bytes());
        mac.update(&[0]);
        mac.update(token.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[mac]")
    }
}

/// Draws `length` base62 characters without bias (bytes of 248 and more are thrown away).
#[must_use]
pub fn random_base62(entropy: &dyn Entropy, length: usize) -> String {
    let mut out = String::with_capacity(length);
    let mut buffer = [0_u8; 64];
    while out.len() < length {
        entropy.fill(&mut buffer);
        let usable = buffer.iter().filter(|byte| **byte < 248).take(length - out.len());
        out.extend(usable.map(|byte| char::from(BASE62[usize::from(*byte % 62)])));
    }
    buffer.zeroize();
    out
}

/// Returns the checksum that a token ends with, of all that comes before its last `_`: the CRC-32 of ISO-HDLC as six base62 digits
/// (`0-9A-Za-z`), most significant first.
#[must_use]
pub fn checksum_of(text: &str) -> String {
    checksum(text).iter().map(|byte| char::from(*byte)).collect()
}

fn checksum(text: &str) -> [u8; CRC_LENGTH] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut out = [b'0'; CRC_LENGTH];
    for slot in out.iter_mut().rev() {
        *slot = BASE62[usize::from(u8::try_from(rest % 62).unwrap_or(0))];
        rest /= 62;
    }
    out
}

impl TokenSecret {
    /// Issues a new token. `environment` is one lower-case letter that tells people where it belongs (`d`, `s`, `p`, …).
    #[must_use]
    pub fn generate(kind: TokenKind, environment: char, entropy: &dyn Entropy) -> Self {
        let environment = if environment.is_ascii_lowercase() { environment } else { 'x' };
        let kid = random_base62(entropy, KID_LENGTH);
        Self::assemble(kind, environment, &kid, &random_base62(entropy, SECRET_LENGTH))
    }

    /// Issues a new secret under an existing key id, for rotation with overlap.
    #[must_use]
    pub fn rotate(kind: TokenKind, environment: char, kid: Kid, entropy: &dyn Entropy) -> Self {
        let environment = if environment.is_ascii_lowercase() { environment } else { 'x' };
        Self::assemble(kind, environment, kid.as_str(), &random_base62(entropy, SECRET_LENGTH))
    }

    fn assemble(kind: TokenKind, environment: char, kid: &str, secret: &str) -> Self {
        let mut text = format!("{}_{environment}1_{kid}_{secret}", kind.prefix());
        let crc = checksum(&text);
        text.push('_');
        text.extend(crc.iter().map(|byte| char::from(*byte)));
        let mut bytes = [b'0'; KID_LENGTH];
        bytes.copy_from_slice(&kid.as_bytes()[..KID_LENGTH]);
        Self { text: Secret::new(text), kid: Kid(bytes) }
    }

    /// Parses a presented token; checks shape and checksum, allocates only the copy it keeps.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, TokenError> {
        let kid = Self::kid_of(kind, text)?;
        Ok(Self { text: Secret::new(text.to_owned()), kid })
    }

    /// Checks shape and checksum of a presented token and returns its key id, without allocation.
    pub fn kid_of(kind: TokenKind, text: &str) -> Result<Kid, TokenError> {
        let body = text.strip_prefix(kind.prefix()).and_then(|rest| rest.strip_prefix('_')).ok_or(TokenError::Shape)?;
        let mut parts = body.split('_');
        let (Some(head), Some(kid), Some(secret), Some(crc), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Shape);
        };
        let head_ok = head.len() == 2 && head.as_bytes()[0].is_ascii_lowercase() && head.as_bytes()[1].is_ascii_digit();
        let secret_ok = secret.len() == SECRET_LENGTH && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let kid =
            Kid::parse(kid).filter(|_| head_ok && secret_ok && crc.len() == CRC_LENGTH).ok_or(TokenError::Shape)?;
        let signed = &text[..text.len() - CRC_LENGTH - 1];
        if checksum(signed) == crc.as_bytes() { Ok(kid) } else { Err(TokenError::Checksum) }
    }

    /// Returns the public key id.
    #[must_use]
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// Returns the whole token, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Computes what is stored in place of the token.
    #[must_use]
    pub fn mac(&self, pepper: &[u8; 32], scope: &str) -> TokenMac {
        TokenMac::compute(pepper, scope, self.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    #[test]
    fn a_token_parses_back_and_a_changed_letter_does_not() {
        let token = TokenSecret::generate(TokenKind::VirtualKey, 'd', &SeededEntropy::new(7));
        let text = token.expose().to_owned();
        assert_eq!(text.len(), 3 + 1 + 2 + 1 + 12 + 1 + 32 + 1 + 6);
        assert_eq!(TokenSecret::kid_of(TokenKind::VirtualKey, &text), Ok(token.kid()));
        let changed = text.replacen(&text[20..21], if &text[20..21] == "A" { "B" } else { "A" }, 1);
        assert!(TokenSecret::kid_of(TokenKind::VirtualKey, &changed).is_err());
        assert_eq!(TokenSecret::kid_of(TokenKind::AccessToken, &text), Err(TokenError::Shape));
    }

    #[test]
    fn the_published_pattern_and_checksum_are_those_of_real_tokens() {
        for kind in TokenKind::ALL {
            let text = TokenSecret::generate(kind, 'p', &SeededEntropy::new(9)).expose().to_owned();
            let (signed, crc) = text.rsplit_once('_').expect("a checksum");
            assert_eq!(checksum_of(signed), crc);
            // Each class of the pattern with its count, laid over the text.
            let mut shape = String::new();
            for part in text.split('_').skip(1) {
                let class =
                    if part.len() == 2 { "[a-z][0-9]".to_owned() } else { format!("[0-9A-Za-z]{{{}}}", part.len()) };
                shape.push('_');
                shape.push_str(&class);
            }
            assert_eq!(kind.pattern(), format!(r"\b{}{shape}\b", kind.prefix()));
        }
        assert_eq!(checksum_of("headgate"), "2WVNyp");
    }

    #[test]
    fn junk_of_any_shape_is_refused_without_panic() {
        for text in [
            "",
            "hgk_",
            "hgk_d1_a_b_c",
            "hgk_dé_aaaaaaaaaaaa_b_c",
            "sk-1234",
            "hgk_d1_aaaaaaaaaaaa_________",
            "\u{1F511}",
        ] {
            assert!(TokenSecret::kid_of(TokenKind::VirtualKey, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mac_is_bound_to_pepper_and_scope() {
        let token = TokenSecret::generate(TokenKind::VirtualKey, 'p', &SeededEntropy::new(1));
        let mac = token.mac(&[1; 32], "org_a");
        assert!(mac.matches(&token.mac(&[1; 32], "org_a")));
        assert!(!mac.matches(&token.mac(&[2; 32], "org_a")) && !mac.matches(&token.mac(&[1; 32], "org_b")));
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hush".to_owned())), "[secret]");
        let token = TokenSecret::generate(TokenKind::JoinToken, 'x', &SeededEntropy::new(3));
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
