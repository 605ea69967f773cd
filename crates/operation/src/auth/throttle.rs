//! Slows down password guessing with token buckets, without letting an attacker lock a victim out.
//!
//! Three buckets count failed attempts: per network address, per (address, account) and per account. An address that has
//! signed in to an account before is exempt from the account's bucket, so a distributed attack slows strangers only. A browser
//! that has (see [`crate::auth::device`]) has a bucket to itself, which nobody else can use up, not even behind the same address.
//! In memory and per process: a restart forgives. Invariant: a successful sign-in costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use domain::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::auth::device::Device;

/// How many attempts may come at once, and how long one takes to come back.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u32,
    refill: Duration,
}

const PER_ADDRESS: Rate = Rate { burst: 30, refill: Duration::from_secs(2) };
const PER_PAIR: Rate = Rate { burst: 6, refill: Duration::from_secs(20) };
const PER_ACCOUNT: Rate = Rate { burst: 20, refill: Duration::from_secs(10) };
/// Above this many buckets the ones that are full again are dropped.
const SWEEP_AT: usize = 50_000;
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Pair(IpAddr, [u8; 16]),
    Account([u8; 16]),
    Device(Device),
}

/// Holds how far in the future a bucket is full again: the "theoretical arrival time" form of a token bucket.
#[derive(Default)]
struct State {
    full_at: HashMap<Key, Timestamp>,
    known: HashMap<(IpAddr, [u8; 16]), Timestamp>,
}

/// Counts failed sign-ins.
#[derive(Default)]
pub struct LoginThrottle(Mutex<State>);

impl std::fmt::Debug for LoginThrottle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginThrottle").finish_non_exhaustive()
    }
}

/// One attempt that has been let through and counted; give it back with [`LoginThrottle::succeeded`].
#[derive(Debug)]
pub struct Attempt {
    address: IpAddr,
    account: [u8; 16],
    device: Option<Device>,
}

/// Too many attempts; the earliest time for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryAgainIn(pub Duration);

impl LoginThrottle {
    /// Counts an attempt, or says when to come back. `account` is what was typed, known or not; `device` is a browser that has
    /// signed in to it.
    pub fn begin(
        &self,
        address: IpAddr,
        account: &str,
        device: Option<Device>,
        now: Timestamp,
    ) -> Result<Attempt, TryAgainIn> {
        let attempt = Attempt { address: network(address), account: digest(account), device };
        let mut state = self.0.lock();
        state.sweep(now);
        let buckets = state.buckets(&attempt, now);
        let wait = buckets.iter().filter_map(|(key, rate)| state.wait(*key, *rate, now)).max();
        if let Some(wait) = wait {
            return Err(TryAgainIn(wait));
        }
        for (key, rate) in buckets {
            let full_at = state.full_at.get(&key).copied().unwrap_or(now).max(now);
            state.full_at.insert(key, full_at.plus(rate.refill));
        }
        Ok(attempt)
    }

    /// Takes a counted attempt back and remembers the address as one that belongs to the account.
    pub fn succeeded(&self, attempt: &Attempt, now: Timestamp) {
        let mut state = self.0.lock();
        for (key, rate) in state.buckets(attempt, now) {
            if let Some(full_at) = state.full_at.get_mut(&key) {
                *full_at = full_at.minus(rate.refill);
            }
        }
        state.known.insert((attempt.address, attempt.account), now);
    }
}

impl State {
    fn buckets(&self, attempt: &Attempt, now: Timestamp) -> Vec<(Key, Rate)> {
        if let Some(device) = attempt.device {
            return vec![(Key::Device(device), PER_PAIR)];
        }
        let seen = self.known.get(&(attempt.address, attempt.account));
        let is_known = seen.is_some_and(|at| now.since(*at) < KNOWN_FOR);
        let mut buckets =
            vec![(Key::Address(attempt.address), PER_ADDRESS), (Key::Pair(attempt.address, attempt.account), PER_PAIR)];
        if !is_known {
            buckets.push((Key::Account(attempt.account), PER_ACCOUNT));
        }
        buckets
    }

    fn wait(&self, key: Key, rate: Rate, now: Timestamp) -> Option<Duration> {
        let owed = self.full_at.get(&key)?.since(now);
        let allowed = rate.refill * (rate.burst - 1);
        owed.checked_sub(allowed).filter(|wait| !wait.is_zero())
    }

    fn sweep(&mut self, now: Timestamp) {
        if self.full_at.len() > SWEEP_AT {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.known.len() > SWEEP_AT {
            self.known.retain(|_, at| now.since(*at) < KNOWN_FOR);
        }
    }
}

fn digest(account: &str) -> [u8; 16] {
    let whole = Sha256::digest(account.trim().to_lowercase().as_bytes());
    let mut half = [0_u8; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// Returns the address that is counted: IPv4 as it is, IPv6 by its /64, which one customer usually owns whole.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn guessing_one_account_from_one_address_is_slowed_and_recovers() {
        let throttle = LoginThrottle::default();
        for _ in 0..6 {
            throttle.begin(ip("192.0.2.1"), "ada@example.com", None, START).unwrap();
        }
        let refused = throttle.begin(ip("192.0.2.1"), "ADA@example.com ", None, START).unwrap_err();
        assert_eq!(refused, TryAgainIn(Duration::from_secs(20)));
        throttle.begin(ip("192.0.2.1"), "ada@example.com", None, at(20)).unwrap();
        throttle.begin(ip("192.0.2.1"), "ada@example.com", None, at(20)).unwrap_err();
    }

    #[test]
    fn a_distributed_attack_slows_strangers_but_not_the_owner() {
        let throttle = LoginThrottle::default();
        let owner = throttle.begin(ip("198.51.100.7"), "ada@example.com", None, START).unwrap();
        throttle.succeeded(&owner, START);
        for n in 0..20 {
            throttle.begin(ip(&format!("203.0.113.{n}")), "ada@example.com", None, START).unwrap();
        }
        throttle.begin(ip("203.0.113.99"), "ada@example.com", None, START).unwrap_err();
        throttle.begin(ip("198.51.100.7"), "ada@example.com", None, START).unwrap();
    }

    #[test]
    fn a_known_browser_is_not_kept_out_by_others_behind_its_address_or_anywhere() {
        let throttle = LoginThrottle::default();
        for n in 0..30 {
            drop(throttle.begin(ip("192.0.2.1"), "ada@example.com", None, START));
            drop(throttle.begin(ip("192.0.2.1"), &format!("user{n}@example.com"), None, START));
            drop(throttle.begin(ip(&format!("203.0.113.{n}")), "ada@example.com", None, START));
        }
        throttle.begin(ip("192.0.2.1"), "ada@example.com", None, START).unwrap_err();
        for _ in 0..6 {
            throttle.begin(ip("192.0.2.1"), "ada@example.com", Some([1; 16]), START).unwrap();
        }
        // A stolen device cookie does not open the way to endless guessing either.
        throttle.begin(ip("198.51.100.7"), "ada@example.com", Some([1; 16]), START).unwrap_err();
    }

    #[test]
    fn spraying_many_accounts_from_one_address_is_slowed_by_the_address() {
        let throttle = LoginThrottle::default();
        for n in 0..30 {
            throttle.begin(ip("2001:db8::1"), &format!("user{n}@example.com"), None, START).unwrap();
        }
        throttle.begin(ip("2001:db8::ffff:2"), "other@example.com", None, START).unwrap_err();
        throttle.begin(ip("2001:db8:0:1::1"), "other@example.com", None, START).unwrap();
    }

    #[test]
    fn success_costs_nothing() {
        let throttle = LoginThrottle::default();
        for _ in 0..100 {
            let attempt = throttle.begin(ip("192.0.2.1"), "ada@example.com", None, START).unwrap();
            throttle.succeeded(&attempt, START);
        }
    }
}
