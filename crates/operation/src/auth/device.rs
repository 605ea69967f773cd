//! Remembers a browser that has signed in to an account, so that guessing by others cannot keep its owner out.
//!
//! After a sign-in the browser gets a second cookie: a random device number and a MAC that binds it to the account. Attempts
//! that bring it are counted by that device and by nothing that strangers can use up (OWASP, "Slow Down Online Guessing Attacks
//! with Device Cookies"). It signs nobody in. Invariant: a device cookie of one account is worth nothing for another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Entropy;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::keyring::Key;

/// How long a browser is remembered.
pub const LIFE: std::time::Duration = std::time::Duration::from_secs(180 * 24 * 3_600);
/// The number of a browser that has signed in to an account.
pub type Device = [u8; 16];
const MAC_LENGTH: usize = 32;

/// Makes the cookie's value for an account, keeping the number the browser has.
#[must_use]
pub fn issue(key: &Key, account: &str, known: Option<Device>, entropy: &dyn Entropy) -> String {
    let device = known.unwrap_or_else(|| {
        let mut fresh = Device::default();
        entropy.fill(&mut fresh);
        fresh
    });
    let mut value = device.to_vec();
    value.extend_from_slice(&mac(key, account, device));
    URL_SAFE_NO_PAD.encode(value)
}

/// Reads a cookie's value: the device's number, if it was issued for this account.
#[must_use]
pub fn check(key: &Key, account: &str, value: &str) -> Option<Device> {
    let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
    let (device, given) = bytes.split_first_chunk::<16>()?;
    let is_right: bool = mac(key, account, *device).ct_eq(given).into();
    is_right.then_some(*device)
}

fn mac(key: &Key, account: &str, device: Device) -> [u8; MAC_LENGTH] {
    // HMAC takes keys of any length; 32 bytes cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_ref()) else { return [0; MAC_LENGTH] };
    mac.update(&device);
    mac.update(account.trim().to_lowercase().as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;
    use zeroize::Zeroizing;

    #[test]
    fn a_device_is_known_for_its_account_under_its_key_only() {
        let key = Zeroizing::new([1; 32]);
        let value = issue(&key, "ada@example.com", None, &SeededEntropy::new(1));
        let device = check(&key, " ADA@example.com", &value).expect("its own account");
        assert_eq!(check(&key, "bob@example.com", &value), None);
        assert_eq!(check(&Zeroizing::new([2; 32]), "ada@example.com", &value), None);
        for junk in ["", "AAAA", &value[..value.len() - 2], &value.replacen(&value[..1], "_", 1)] {
            assert_eq!(check(&key, "ada@example.com", junk), None, "{junk}");
        }
        // A second account on the same browser shares the number: whoever guesses there is still counted once.
        let second = issue(&key, "bob@example.com", Some(device), &SeededEntropy::new(2));
        assert_eq!(check(&key, "bob@example.com", &second), Some(device));
    }
}
