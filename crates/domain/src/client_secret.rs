//! The text form of a client secret: what a server gives to a browser or an app for one realtime session, in place of its key.
//!
//! `hge_<kid>.<grant>.<mac>`: the public id of the virtual key it was made with, what it grants (opaque here), and a MAC over both under the
//! organization's pepper and the key's own stored MAC. Nothing is kept of it anywhere: every node that knows the key can check it, and it ends
//! with the key's secret. Invariant: the scope of its MAC is no virtual key's, so neither can stand for the other.

use std::fmt::Write as _;

use crate::secret::{Kid, TokenMac};

const PREFIX: &str = "hge_";
const MAC_LENGTH: usize = 64;
/// Longest text that is looked at: a grant may carry the settings of a session.
const MAX_LENGTH: usize = 8 * 1024;

/// A client secret as it was presented; nothing of it is verified.
#[derive(Clone, Copy)]
pub struct ClientSecret<'a> {
    kid: Kid,
    signed: &'a str,
    grant: &'a str,
    mac: TokenMac,
}

impl<'a> ClientSecret<'a> {
    /// Says by its beginning whether a token means to be one.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Takes a presented text apart.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (signed, mac) = text.rsplit_once('.')?;
        let (kid, grant) = signed.strip_prefix(PREFIX)?.split_once('.')?;
        Some(Self { kid: Kid::parse(kid)?, signed, grant, mac: parse_mac(mac)? })
    }

    /// Makes the secret of a key; `parent` is the stored MAC of the key's secret with which it lives and ends.
    #[must_use]
    pub fn issue(kid: Kid, grant: &str, pepper: &[u8; 32], organization: &str, parent: &TokenMac) -> String {
        let mut text = format!("{PREFIX}{kid}.{grant}");
        let mac = compute(&text, pepper, organization, parent);
        text.push('.');
        write_mac(&mac, &mut text);
        text
    }

    /// Says whether it was made by [`Self::issue`] of the same things.
    #[must_use]
    pub fn is_made_of(&self, pepper: &[u8; 32], organization: &str, parent: &TokenMac) -> bool {
        compute(self.signed, pepper, organization, parent).matches(&self.mac)
    }

    /// Returns the public id of the virtual key.
    #[must_use]
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// Returns what it grants, as it was issued.
    #[must_use]
    pub const fn grant(&self) -> &'a str {
        self.grant
    }
}

fn compute(signed: &str, pepper: &[u8; 32], organization: &str, parent: &TokenMac) -> TokenMac {
    let mut text = format!("{signed}.");
    write_mac(parent, &mut text);
    TokenMac::compute(pepper, &format!("{organization}/client-secret"), &text)
}

fn write_mac(mac: &TokenMac, out: &mut String) {
    for byte in mac.as_bytes() {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

fn parse_mac(text: &str) -> Option<TokenMac> {
    if text.len() != MAC_LENGTH || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; MAC_LENGTH / 2];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let is_hex = pair.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| is_hex)?, 16).ok()?;
    }
    Some(TokenMac::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEPPER: [u8; 32] = [7; 32];

    fn issued() -> String {
        let kid = Kid::parse("abcdefghijkl").unwrap();
        ClientSecret::issue(kid, "e30", &PEPPER, "org_a", &TokenMac::from_bytes([9; 32]))
    }

    #[test]
    fn a_secret_is_made_of_key_organization_and_pepper() {
        let text = issued();
        let secret = ClientSecret::parse(&text).unwrap();
        assert_eq!((secret.kid().as_str(), secret.grant()), ("abcdefghijkl", "e30"));
        let parent = TokenMac::from_bytes([9; 32]);
        assert!(secret.is_made_of(&PEPPER, "org_a", &parent));
        assert!(!secret.is_made_of(&[8; 32], "org_a", &parent));
        assert!(!secret.is_made_of(&PEPPER, "org_b", &parent));
        assert!(!secret.is_made_of(&PEPPER, "org_a", &TokenMac::from_bytes([1; 32])));
    }

    #[test]
    fn whoever_changes_a_letter_has_nothing() {
        let text = issued();
        for (at, letter) in text.char_indices() {
            let other = if letter == 'b' { "c" } else { "b" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let is_good = ClientSecret::parse(&changed)
                .is_some_and(|secret| secret.is_made_of(&PEPPER, "org_a", &TokenMac::from_bytes([9; 32])));
            assert!(!is_good, "{changed}");
        }
    }

    #[test]
    fn junk_is_refused_without_harm() {
        let long = format!("hge_abcdefghijkl.{}.{}", "a".repeat(MAX_LENGTH), "0".repeat(64));
        let upper = issued().to_ascii_uppercase().replace("HGE_", "hge_");
        for text in ["", "hge_", "hge_a.b.c", "hge_abcdefghijkl.é.é", "hgk_abcdefghijkl.e30.00", &long, &upper] {
            assert!(ClientSecret::parse(text).is_none(), "{text}");
        }
    }
}
