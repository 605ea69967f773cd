//! System entropy behind `domain::Entropy`. The only place that draws random bytes from the operating system.

use domain::Entropy;

/// Draws from the operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // A system that cannot give randomness must not issue secrets: the process ends here and says why.
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0_u8; 32], [0_u8; 32]);
        SystemEntropy.fill(&mut first);
        SystemEntropy.fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
