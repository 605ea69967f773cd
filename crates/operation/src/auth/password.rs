//! Turns passwords into argon2id hashes and back into a yes or no.
//!
//! Hashing runs on blocking threads, at most one per core at a time, so that a flood of sign-ins cannot starve the API.
//! Invariant: [`Passwords::verify`] does the same work for an unknown account as for a wrong password.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, KeyId, Params, ParamsBuilder, Version};
use domain::Entropy;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::keyring::Key;

/// Memory of one hash in KiB; OWASP's password storage cheat sheet lists (47104, 1, 1) among its equal minimums.
const MEMORY_KIB: u32 = 47_104;
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// How long a sign-in may wait for its turn at the hash before it is told to come back.
const TURN: Duration = Duration::from_secs(10);
/// How long a password that somebody else made works; it is meant to be used at once.
pub const ONE_TIME_LIFE: Duration = Duration::from_secs(72 * 3_600);
/// Shortest and longest password accepted, in characters.
pub const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a new password is refused. The text is shown to the person who chose it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Fewer characters than allowed.
    #[error("use at least 12 characters")]
    Short,
    /// More characters than allowed.
    #[error("use at most 128 characters")]
    Long,
    /// zxcvbn scores it below 3.
    #[error("too easy to guess: {hint}")]
    Guessable {
        /// What would make it stronger.
        hint: String,
    },
}

/// The hash could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many hashes are waiting.
    #[error("too many sign-ins at once")]
    Busy,
    /// The stored hash or the parameters do not parse.
    #[error("password hash cannot be processed")]
    Malformed,
}

/// The answer of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right; `is_outdated` asks for a new hash with today's parameters.
    Right {
        /// The hash was made with other parameters than [`Passwords::hash`] uses now.
        is_outdated: bool,
    },
    /// Wrong password, or no such account.
    Wrong,
}

/// Hashes and verifies passwords under a pepper. A hash names the version of its pepper in the PHC parameter `keyid`; none means
/// the first.
pub struct Passwords {
    turns: Arc<Semaphore>,
    peppers: Peppers,
    dummy: Arc<str>,
}

/// Peppers by version, from 1.
type Peppers = Arc<[Key]>;

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// Builds the hasher; computes one hash for the accounts that do not exist (about 60 ms).
    pub fn new(peppers: Vec<Key>, entropy: &dyn Entropy) -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let peppers: Peppers = peppers.into();
        let dummy = compute(&peppers, &generate(entropy), &salt(entropy)?)?.into();
        Ok(Self { turns: Arc::new(Semaphore::new(cores)), peppers, dummy })
    }

    /// Returns the PHC string of a new password with a fresh salt.
    pub async fn hash(&self, password: &str, entropy: &dyn Entropy) -> Result<String, PasswordError> {
        let salt = salt(entropy)?;
        let password = Zeroizing::new(password.to_owned());
        let peppers = Arc::clone(&self.peppers);
        self.in_turn(move || compute(&peppers, &password, &salt)).await
    }

    /// Compares a password with a stored hash; `None` stands for an account that does not exist and costs the same.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<Verdict, PasswordError> {
        let is_known = stored.is_some();
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.dummy), Into::into);
        let password = Zeroizing::new(password.to_owned());
        let peppers = Arc::clone(&self.peppers);
        let verdict = self.in_turn(move || compare(&peppers, &password, &stored)).await?;
        Ok(if is_known { verdict } else { Verdict::Wrong })
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)?;
        let done = runtime::tasks::blocking("password.hash", move || {
            let _turn = turn;
            work()
        });
        done.await.ok_or(PasswordError::Malformed)?
    }
}

/// Returns the hasher of a pepper version; its hashes name the version, unless it is the first.
fn hasher(peppers: &[Key], version: usize) -> Result<Argon2<'_>, PasswordError> {
    let pepper = version.checked_sub(1).and_then(|at| peppers.get(at)).ok_or(PasswordError::Malformed)?;
    let mut params = ParamsBuilder::new();
    params.m_cost(MEMORY_KIB).t_cost(PASSES).p_cost(LANES);
    if version > 1 {
        let name = u16::try_from(version).map_err(|_| PasswordError::Malformed)?.to_be_bytes();
        params.keyid(KeyId::new(&name).map_err(|_| PasswordError::Malformed)?);
    }
    let params = params.build().map_err(|_| PasswordError::Malformed)?;
    Argon2::new_with_secret(pepper.as_ref(), Algorithm::Argon2id, Version::V0x13, params)
        .map_err(|_| PasswordError::Malformed)
}

/// Returns the version that a hash names.
fn version_of(params: &Params) -> Result<usize, PasswordError> {
    match params.keyid() {
        [] => Ok(1),
        [high, low] => Ok(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => Err(PasswordError::Malformed),
    }
}

fn salt(entropy: &dyn Entropy) -> Result<SaltString, PasswordError> {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    SaltString::encode_b64(&bytes).map_err(|_| PasswordError::Malformed)
}

fn compute(peppers: &[Key], password: &str, salt: &SaltString) -> Result<String, PasswordError> {
    let newest = hasher(peppers, peppers.len())?;
    let hash = newest.hash_password(password.as_bytes(), salt).map_err(|_| PasswordError::Malformed)?;
    Ok(hash.to_string())
}

fn compare(peppers: &[Key], password: &str, stored: &str) -> Result<Verdict, PasswordError> {
    let parsed = PasswordHash::new(stored).map_err(|_| PasswordError::Malformed)?;
    let params = Params::try_from(&parsed).map_err(|_| PasswordError::Malformed)?;
    let version = version_of(&params)?;
    if hasher(peppers, version)?.verify_password(password.as_bytes(), &parsed).is_err() {
        return Ok(Verdict::Wrong);
    }
    let costs = (params.m_cost(), params.t_cost(), params.p_cost());
    let is_current = costs == (MEMORY_KIB, PASSES, LANES) && version == peppers.len();
    Ok(Verdict::Right { is_outdated: !is_current })
}

/// Checks a password that a person chose. `context` are words that must not carry it: the e-mail, the organization's name.
pub fn check_policy(password: &str, context: &[&str]) -> Result<(), Weak> {
    let length = password.chars().count();
    if length < *LENGTH.start() {
        return Err(Weak::Short);
    }
    if length > *LENGTH.end() {
        return Err(Weak::Long);
    }
    let estimate = zxcvbn::zxcvbn(password, context);
    if estimate.score() >= zxcvbn::Score::Three {
        return Ok(());
    }
    let hint = estimate.feedback().map_or_else(String::new, |feedback| {
        let warning = feedback.warning().map(|warning| warning.to_string());
        let first = feedback.suggestions().first().map(ToString::to_string);
        warning.into_iter().chain(first).collect::<Vec<_>>().join(" ")
    });
    let hint = if hint.is_empty() { "add a few uncommon words".to_owned() } else { hint };
    Err(Weak::Guessable { hint })
}

/// Returns a fresh password of 24 letters and digits (142 bits).
pub fn generate(entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut password = Zeroizing::new(String::with_capacity(24));
    let mut buffer = Zeroizing::new([0_u8; 64]);
    while password.len() < 24 {
        entropy.fill(buffer.as_mut());
        // Bytes of 248 and more are skipped: 256 is no multiple of 62, and a modulo would favour the first letters.
        let letters =
            buffer.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        let room = 24 - password.len();
        password.extend(letters.take(room));
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

    fn peppers(bytes: &[u8]) -> Vec<Key> {
        bytes.iter().map(|byte| Zeroizing::new([*byte; 32])).collect()
    }

    #[tokio::test]
    async fn a_hash_under_an_older_pepper_is_right_and_outdated() {
        let entropy = SeededEntropy::new(7);
        let old = Passwords::new(peppers(&[1]), &entropy).unwrap();
        let new = Passwords::new(peppers(&[1, 2]), &entropy).unwrap();
        let stored = old.hash("violet harbour 19 lantern", &entropy).await.unwrap();
        let right = new.verify("violet harbour 19 lantern", Some(&stored)).await.unwrap();
        assert_eq!(right, Verdict::Right { is_outdated: true });
        let stored = new.hash("violet harbour 19 lantern", &entropy).await.unwrap();
        assert!(stored.contains("keyid="), "{stored}");
        let right = new.verify("violet harbour 19 lantern", Some(&stored)).await.unwrap();
        assert_eq!(right, Verdict::Right { is_outdated: false });
        let unknown = old.verify("violet harbour 19 lantern", Some(&stored)).await;
        assert!(matches!(unknown, Err(PasswordError::Malformed)), "a pepper that is not here is no answer");
    }

    #[tokio::test]
    async fn a_hash_verifies_only_its_own_password_and_only_under_its_pepper() {
        let entropy = SeededEntropy::new(7);
        let passwords = Passwords::new(peppers(&[1]), &entropy).unwrap();
        let stored = passwords.hash("violet harbour 19 lantern", &entropy).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{stored}");
        let right = passwords.verify("violet harbour 19 lantern", Some(&stored)).await.unwrap();
        assert_eq!(right, Verdict::Right { is_outdated: false });
        assert_eq!(passwords.verify("violet harbour 19 lanterN", Some(&stored)).await.unwrap(), Verdict::Wrong);
        let other = Passwords::new(peppers(&[2]), &entropy).unwrap();
        assert_eq!(other.verify("violet harbour 19 lantern", Some(&stored)).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn an_unknown_account_is_hashed_for_and_refused() {
        let passwords = Passwords::new(peppers(&[1]), &SeededEntropy::new(7)).unwrap();
        assert_eq!(passwords.verify("anything at all", None).await.unwrap(), Verdict::Wrong);
        assert!(passwords.dummy.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"));
    }

    #[tokio::test]
    async fn a_broken_stored_hash_is_an_error_and_not_a_match() {
        let passwords = Passwords::new(peppers(&[1]), &SeededEntropy::new(7)).unwrap();
        assert!(matches!(passwords.verify("x", Some("not a hash")).await, Err(PasswordError::Malformed)));
    }

    #[test]
    fn the_policy_refuses_short_long_and_guessable_passwords() {
        assert_eq!(check_policy("elevenchars", &[]), Err(Weak::Short));
        assert_eq!(check_policy(&"x".repeat(129), &[]), Err(Weak::Long));
        assert!(matches!(check_policy("password1234", &[]), Err(Weak::Guessable { .. })));
        assert!(matches!(check_policy("acme-corporation", &["acme-corporation"]), Err(Weak::Guessable { .. })));
        assert_eq!(check_policy("violet harbour 19 lantern", &["ada@example.com"]), Ok(()));
    }

    #[test]
    fn generated_passwords_pass_the_policy_and_differ() {
        let entropy = SeededEntropy::new(3);
        let (one, two) = (generate(&entropy), generate(&entropy));
        assert_eq!(one.len(), 24);
        assert_ne!(one, two);
        assert_eq!(check_policy(&one, &[]), Ok(()));
    }
}
