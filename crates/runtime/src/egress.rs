//! Which addresses this process may call. Guards every outgoing request against server-side request forgery.
//!
//! A base URL, a webhook or a discovery document may come from a tenant, so a name must never lead to an address inside the
//! operator's network unless the *operator* allowed it (`egress_allow_private`). Invariant: addresses are checked after
//! resolution and the connection uses exactly the checked ones, so a name cannot change between check and connect; address
//! literals go through the same check.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A block of addresses in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    base: IpAddr,
    prefix: u8,
}

/// One entry of the operator's allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// Addresses of this block, whatever name led there.
    Block(Block),
    /// This host name, whatever private address it resolves to.
    Host(String),
}

/// The text is neither an address, nor a CIDR block, nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a CIDR block such as 10.0.0.0/8 nor a host name; mend egress_allow_private")]
pub struct ParseAllowError(String);

/// Why an address may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` leads to {address}, which is not a public address; the operator can allow it with egress_allow_private"
)]
pub struct Denied {
    /// The host as it stood in the URL.
    pub host: String,
    /// The first refused address.
    pub address: IpAddr,
}

/// The rules of one process.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    allow: Vec<Allow>,
}

// IANA special-purpose registries (RFC 6890 and successors, read November 2026): nothing here is a public destination.
const DENIED: &[(&str, u8)] = &[
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.0.2.0", 24),
    ("192.88.99.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 3),
    ("::", 128),
    ("::1", 128),
    ("64:ff9b::", 96),
    ("64:ff9b:1::", 48),
    ("100::", 64),
    ("2001::", 23),
    ("2001:db8::", 32),
    ("2002::", 16),
    ("3fff::", 20),
    ("fc00::", 7),
    ("fe80::", 10),
    ("fec0::", 10),
    ("ff00::", 8),
];

impl Block {
    /// Tells whether `address` is inside this block. An IPv4-mapped IPv6 address counts as the IPv4 address it carries.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, canonical(address)) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                same_prefix(u128::from(u32::from(base)), u128::from(u32::from(address)), shift)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                same_prefix(base.into(), address.into(), 128 - u32::from(self.prefix.min(128)))
            }
            _ => false,
        }
    }
}

fn same_prefix(left: u128, right: u128, shift: u32) -> bool {
    left.checked_shr(shift).unwrap_or(0) == right.checked_shr(shift).unwrap_or(0)
}

fn canonical(address: IpAddr) -> IpAddr {
    match address {
        // `::a.b.c.d` (deprecated, RFC 4291 §2.5.5.1) reaches an IPv4 host on some stacks, just as `::ffff:a.b.c.d` does.
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), v6.segments()) {
            (Some(v4), _) => IpAddr::V4(v4),
            (None, [0, 0, 0, 0, 0, 0, high, low]) if high != 0 => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            _ => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// Tells whether an address is one of the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    !DENIED.iter().any(|(base, prefix)| {
        base.parse::<IpAddr>().is_ok_and(|base| Block { base, prefix: *prefix }.contains(address))
    })
}

impl Rules {
    /// Public addresses only, plus what the operator lists.
    #[must_use]
    pub fn new(allow: Vec<Allow>) -> Self {
        Self { allow }
    }

    /// The blocks of this machine itself: `127.0.0.0/8` and `::1`. `headgate up` starts with them, so that a local model
    /// server works without a setting.
    #[must_use]
    pub fn loopback() -> Vec<Allow> {
        vec![
            Allow::Block(Block { base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 }),
            Allow::Block(Block { base: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 }),
        ]
    }

    /// Checks one resolved or literal address.
    ///
    /// Errors: [`Denied`] names host and address.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Denied> {
        let allowed = is_public(address)
            || self.allow.iter().any(|allow| match allow {
                Allow::Block(block) => block.contains(address),
                Allow::Host(name) => name.eq_ignore_ascii_case(host),
            });
        if allowed { Ok(()) } else { Err(Denied { host: host.to_owned(), address }) }
    }

    /// Keeps the addresses that may be called.
    ///
    /// Errors: [`Denied`] when none is left, naming the first one refused.
    pub fn filter(&self, host: &str, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Denied> {
        let mut refused = None;
        let mut kept = Vec::new();
        for address in addresses {
            match self.check(host, address.ip()) {
                Ok(()) => kept.push(address),
                Err(denied) => refused = refused.or(Some(denied)),
            }
        }
        match refused {
            Some(denied) if kept.is_empty() => Err(denied),
            _ => Ok(kept),
        }
    }
}

impl FromStr for Allow {
    type Err = ParseAllowError;

    fn from_str(text: &str) -> Result<Self, ParseAllowError> {
        let refused = || ParseAllowError(text.to_owned());
        if let Some((base, prefix)) = text.split_once('/') {
            let base: IpAddr = base.parse().map_err(|_| refused())?;
            let longest = if base.is_ipv4() { 32 } else { 128 };
            let prefix: u8 = prefix.parse().map_err(|_| refused())?;
            return if prefix <= longest { Ok(Self::Block(Block { base, prefix })) } else { Err(refused()) };
        }
        if let Ok(base) = text.parse::<IpAddr>() {
            return Ok(Self::Block(Block { base, prefix: if base.is_ipv4() { 32 } else { 128 } }));
        }
        let is_name =
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if is_name { Ok(Self::Host(text.to_owned())) } else { Err(refused()) }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => write!(f, "{}/{}", block.base, block.prefix),
            Self::Host(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str]) -> Rules {
        Rules::new(allow.iter().map(|entry| entry.parse().expect("a valid entry")).collect())
    }

    fn is_allowed(rules: &Rules, host: &str, address: &str) -> bool {
        rules.check(host, address.parse().expect("an address")).is_ok()
    }

    #[test]
    fn addresses_inside_the_network_are_refused() {
        let refused = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.255.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!is_allowed(&rules(&[]), "example.com", address), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_allowed(&rules(&[]), "example.com", address), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_blocks_and_hosts() {
        let rules = rules(&["10.0.0.0/8", "192.168.7.7", "models.internal", "fd00::/8"]);
        assert!(is_allowed(&rules, "a", "10.200.0.1"));
        assert!(is_allowed(&rules, "a", "192.168.7.7"));
        assert!(!is_allowed(&rules, "a", "192.168.7.8"));
        assert!(is_allowed(&rules, "Models.Internal", "192.168.7.8"));
        assert!(is_allowed(&rules, "a", "fd00::5"));
        assert!(is_allowed(&rules, "a", "::ffff:10.0.0.1"));
        assert!(!is_allowed(&rules, "a", "169.254.169.254"));
    }

    #[test]
    fn a_name_that_resolves_to_both_keeps_the_public_address_only() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:443", "1.1.1.1:443"].iter().map(|a| a.parse().expect("an address")).collect();
        let kept = rules(&[]).filter("rebind.example", addresses.into_iter()).expect("one is left");
        assert_eq!(kept, ["1.1.1.1:443".parse().expect("an address")]);
        let only_private = std::iter::once("127.0.0.1:443".parse().expect("an address"));
        let denied = rules(&[]).filter("rebind.example", only_private).expect_err("none is left");
        assert_eq!(denied.address, "127.0.0.1".parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a b", "http://x"] {
            assert!(text.parse::<Allow>().is_err(), "{text}");
        }
    }
}
