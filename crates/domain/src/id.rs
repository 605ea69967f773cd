//! Typed, prefixed, time-ordered identifiers (TypeID text form over UUIDv7).
//!
//! The same text appears in JSON, SQL, protobuf, logs and URLs, so that one grep joins them all. Ids are minted only from an
//! injected clock and entropy ([`IdMint`]); parsing is strict: prefix, length, alphabet and the 128-bit bound are checked.
//! Source of the text form: TypeID specification 0.3 (Crockford base32, lower case, 26 characters).

use std::fmt;
use std::str::FromStr;

use crate::rng::Entropy;
use crate::time::{Clock, Timestamp};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Says why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ followed by 26 characters of 0-9 a-z")]
pub struct ParseIdError {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

/// Mints the 128-bit values behind ids: UUIDv7 whose order follows the order of minting within one process and millisecond.
pub trait IdMint {
    /// Returns a fresh UUIDv7 value.
    fn next_uuid(&self) -> u128;
}

/// Composes a UUIDv7 from a time and 80 random bits (the 74 that the layout keeps are used).
#[must_use]
pub fn uuid_v7(at: Timestamp, random: [u8; 10]) -> u128 {
    let millis = u128::from(at.as_millis()) & 0xffff_ffff_ffff;
    let mut tail = [0_u8; 16];
    tail[6..].copy_from_slice(&random);
    let random = u128::from_be_bytes(tail);
    let rand_a = (random >> 64) & 0x0fff;
    let rand_b = random & 0x3fff_ffff_ffff_ffff;
    (millis << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b
}

/// Mints an UUIDv7 from the two ports. Callers that need monotonic order within a millisecond use an [`IdMint`].
pub fn mint(clock: &dyn Clock, entropy: &dyn Entropy) -> u128 {
    let mut random = [0_u8; 10];
    entropy.fill(&mut random);
    uuid_v7(clock.now(), random)
}

fn encode(value: u128) -> [u8; 26] {
    // In parts that a register holds: 8, 60 and 60 bits.
    const PART: u128 = (1 << 60) - 1;
    let mut out = [0_u8; 26];
    for (part, place) in [(value >> 120, 0..2), ((value >> 60) & PART, 2..14), (value & PART, 14..26)] {
        let mut rest = u64::try_from(part).unwrap_or_default();
        for slot in out[place].iter_mut().rev() {
            *slot = ALPHABET[usize::from(rest.to_le_bytes()[0] & 31)];
            rest >>= 5;
        }
    }
    out
}

fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != 26 || text[0] > b'7' {
        return None;
    }
    text.iter().try_fold(0_u128, |value, byte| {
        let digit = ALPHABET.iter().position(|candidate| candidate == byte)?;
        Some((value << 5) | digit as u128)
    })
}

/// An id that is written as text many times a second.
pub trait IdText {
    /// Appends the text that `Display` gives, without a formatter.
    fn append_to(&self, out: &mut Vec<u8>);
}

/// Returns the creation time inside an id's UUIDv7, in microseconds (millisecond precision).
#[must_use]
pub fn minted_at(value: u128) -> Timestamp {
    let millis = i64::try_from(value >> 80).unwrap_or(i64::MAX / 1_000);
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUIDv7 value, as minted or as decoded.
            #[must_use]
            pub const fn from_uuid(value: u128) -> Self {
                Self(value)
            }

            /// Returns the 128-bit value.
            #[must_use]
            pub const fn as_uuid(self) -> u128 {
                self.0
            }

            /// Mints a new id from the clock and entropy behind `mint`.
            pub fn mint(mint: &dyn IdMint) -> Self {
                Self(mint.next_uuid())
            }

            /// Returns the time inside the id (millisecond precision).
            #[must_use]
            pub fn minted_at(self) -> Timestamp {
                minted_at(self.0)
            }
        }

        impl IdText for $name {
            fn append_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(concat!($prefix, "_").as_bytes());
                out.extend_from_slice(&encode(self.0));
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = encode(self.0);
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| decode(rest.as_bytes()))
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+

        /// Every id kind with its prefix, in the order of declaration.
        pub const ID_KINDS: &[(&str, &str)] = &[$((stringify!($name), $prefix)),+];
    };
}

ids! {
    /// A tenant.
    OrganizationId "org",
    /// An isolation unit inside an organization.
    WorkspaceId "ws",
    /// A named stage inside a workspace.
    EnvironmentId "env",
    /// A person.
    UserId "usr",
    /// A person in an organization.
    MemberId "mem",
    /// A robot in an organization.
    ServiceAccountId "svc",
    /// A role granted at a scope.
    RoleBindingId "rb",
    /// A secret that a client sends to the gateway.
    VirtualKeyId "key",
    /// A secret for the management API.
    AccessTokenId "tok",
    /// A signed-in browser.
    SessionId "ses",
    /// A stored provider secret.
    CredentialId "cred",
    /// Provider, upstream model and credential: one thing that can serve.
    DeploymentId "dep",
    /// Targets with retry and timeout rules under a model name.
    RouteId "rte",
    /// A model that an organization describes itself.
    ModelId "mdl",
    /// A dated price of one model.
    PriceId "prc",
    /// How much may be spent on something.
    BudgetId "bud",
    /// Money of an account that one life of one node may spend.
    LeaseId "lse",
    /// How much in what span of time.
    RateLimitId "rl",
    /// Something that is, or was, stopped at once.
    KillSwitchId "ks",
    /// A set of nodes with the organizations they may hold.
    NodeGroupId "ng",
    /// One gateway process.
    NodeId "node",
    /// A single-use secret with which a node enrols.
    JoinTokenId "jt",
    /// One client call.
    RequestId "req",
    /// A file or a batch that lies at an upstream.
    RemoteId "rem",
    /// Money that somebody entered into the ledger.
    LedgerEntryId "ent",
    /// A provider's export that was held against the ledger.
    ReconciliationId "rcn",
    /// One line of the audit log.
    AuditEntryId "aud",
    /// Something that happened that somebody wants to hear of.
    AlertId "alrt",
    /// Where alerts are sent.
    DestinationId "dst",
    /// An alert on its way to a destination.
    DeliveryId "dlv",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_orders_like_the_value() {
        let low = OrganizationId::from_uuid(uuid_v7(Timestamp::from_micros(1_000_000), [0; 10]));
        let high = OrganizationId::from_uuid(uuid_v7(Timestamp::from_micros(2_000_000), [255; 10]));
        assert!(low < high && low.to_string() < high.to_string());
        assert_eq!(high.to_string().parse(), Ok(high));
        assert_eq!(low.minted_at(), Timestamp::from_micros(1_000_000));
    }

    #[test]
    fn matches_the_published_typeid_vectors() {
        assert_eq!(encode(0), *b"00000000000000000000000000");
        assert_eq!(encode(u128::MAX), *b"7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(decode(b"01h455vb4pex5vsknk084sn02q"), Some(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057));
    }

    #[test]
    fn foreign_prefix_overflow_and_bad_letters_are_refused() {
        for text in [
            "ws_00000000000000000000000000",
            "org_80000000000000000000000000",
            "org_0000000000000000000000000u",
            "org_0",
            "org",
            "",
        ] {
            assert_eq!(text.parse::<OrganizationId>(), Err(ParseIdError { prefix: "org" }), "{text}");
        }
    }

    #[test]
    fn version_and_variant_bits_are_those_of_uuid_7() {
        let value = uuid_v7(Timestamp::from_micros(1_700_000_000_000_000), [0xff; 10]);
        assert_eq!((value >> 76) & 0xf, 7);
        assert_eq!((value >> 62) & 0b11, 0b10);
    }
}
