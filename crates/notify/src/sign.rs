//! Signatures of webhooks, as Standard Webhooks 1.0 has them: HMAC-SHA-256 over id, time and body, under a secret that both sides
//! know. During a rotation there is one signature for each secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Entropy;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What secrets begin with.
pub const PREFIX: &str = "whsec_";

/// Makes a secret: 256 bits in the text form of the standard.
#[must_use]
pub fn new_secret(entropy: &dyn Entropy) -> String {
    let mut key = Zeroizing::new([0_u8; 32]);
    entropy.fill(key.as_mut());
    format!("{PREFIX}{}", STANDARD.encode(key.as_ref()))
}

/// Signs a message; `None` when the secret is none.
#[must_use]
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let key = Zeroizing::new(STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use domain::rng::SeededEntropy;

    use super::*;

    #[test]
    fn matches_the_published_vector() {
        // From the specification's reference implementations.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn secrets_differ_and_have_the_length_that_the_standard_asks_for() {
        let entropy = SeededEntropy::new(1);
        let (one, two) = (new_secret(&entropy), new_secret(&entropy));
        assert_ne!(one, two);
        let bytes = STANDARD.decode(one.strip_prefix(PREFIX).expect("the prefix")).expect("base64");
        assert_eq!(bytes.len(), 32);
        assert_eq!(sign("no secret", "id", 1, b""), None);
    }
}
