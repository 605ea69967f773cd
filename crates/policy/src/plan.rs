//! Targets and health hints → the order of attempts. Pure: the same seed gives the same order.
//!
//! Lower priorities go first; equal ones are shuffled by weight. Targets that health holds back come after all healthy ones,
//! as a last resort: when everything is ejected, trying is better than refusing. Unusable deployments are left out.

use std::sync::Arc;

use domain::DeploymentId;

use crate::snapshot::{DeploymentPolicy, ModelPolicy, TargetPolicy};

/// What is known of a deployment's health at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing speaks against it.
    Healthy,
    /// It failed lately; only when nothing better is left.
    Ejected,
}

/// One attempt of a plan.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What to try.
    pub deployment: Arc<DeploymentPolicy>,
    /// Its health when the plan was made.
    pub health: Health,
}

/// Returns the attempts in order: every usable target once, then again from the front until the model's limit is reached.
///
/// Empty when no target is usable (`no_healthy_target`).
#[must_use]
pub fn plan(model: &ModelPolicy, seed: u64, health: &mut dyn FnMut(DeploymentId) -> Health) -> Vec<Attempt> {
    let mut random = SplitMix(seed);
    let mut usable: Vec<(Health, u16, u64, &TargetPolicy)> = model
        .targets
        .iter()
        .filter(|target| target.deployment.is_usable())
        .map(|target| (health(target.deployment.id), target.target.priority, random.race(target.target.weight), target))
        .collect();
    usable.sort_by_key(|(health, priority, draw, _)| (*health, *priority, *draw));
    let order = usable
        .iter()
        .map(|(health, _, _, target)| Attempt { deployment: Arc::clone(&target.deployment), health: *health });
    order.cycle().take(usize::from(model.max_attempts.max(1))).collect()
}

/// `SplitMix64`: small, seedable, good enough to share load.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws an arrival time at rate `weight`: the first to arrive of several is chosen in proportion to its weight
    /// (exponential race). Weight 0 arrives last.
    fn race(&mut self, weight: u32) -> u64 {
        let draw = self.next();
        if weight == 0 {
            return u64::MAX;
        }
        // -log2(u) in fixed point: 64-bit uniform → bits of leading zeros and a fraction by linear interpolation would bias the
        // shares, so the logarithm is computed bit by bit (squaring), 32 fractional bits.
        let neg_log = neg_log2(draw | 1);
        (neg_log << 8) / u64::from(weight)
    }
}

/// Returns -log2(x / 2^64) with 32 fractional bits; `x` is not zero.
const fn neg_log2(x: u64) -> u64 {
    let zeros = x.leading_zeros();
    // Normalised to [1, 2) with 63 fractional bits; squaring doubles the logarithm and its overflow is the next bit.
    let mut mantissa = (x << zeros) as u128;
    let mut log = 0_u64;
    let mut bit = 0;
    while bit < 32 {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >> 64 != 0 {
            log |= 1;
            mantissa >>= 1;
        }
        bit += 1;
    }
    // log2(x) = (63 - zeros) + log/2^32, so -log2(x/2^64) = 1 + zeros - log/2^32.
    ((1 + zeros as u64) << 32) - log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::CredentialUse;
    use domain::route::{Target, Timeouts};

    fn model(targets: &[(u128, u16, u32, bool)], max_attempts: u16) -> ModelPolicy {
        let target = |(id, priority, weight, is_enabled): &(u128, u16, u32, bool)| {
            let id = DeploymentId::from_uuid(*id);
            TargetPolicy {
                target: Target { deployment_id: id, priority: *priority, weight: *weight },
                deployment: Arc::new(DeploymentPolicy {
                    id,
                    name: id.to_string(),
                    provider: "echo".to_owned(),
                    upstream_model: "echo-1".to_owned(),
                    credential: CredentialUse::None,
                    is_enabled: *is_enabled,
                }),
            }
        };
        let targets = targets.iter().map(target).collect();
        ModelPolicy {
            name: "m".into(),
            route: None,
            targets,
            max_attempts,
            timeouts: Timeouts::default(),
            is_listed: true,
        }
    }

    fn order(model: &ModelPolicy, seed: u64, ejected: &[u128]) -> Vec<u128> {
        let mut health =
            |id: DeploymentId| if ejected.contains(&id.as_uuid()) { Health::Ejected } else { Health::Healthy };
        plan(model, seed, &mut health).iter().map(|attempt| attempt.deployment.id.as_uuid()).collect()
    }

    #[test]
    fn priorities_come_in_order_and_ejected_ones_last() {
        let model = model(&[(1, 0, 1, true), (2, 1, 1, true), (3, 2, 1, true), (4, 0, 1, false)], 3);
        assert_eq!(order(&model, 1, &[]), [1, 2, 3]);
        assert_eq!(order(&model, 1, &[1]), [2, 3, 1]);
        assert_eq!(order(&model, 1, &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn attempts_go_round_until_the_limit_and_none_without_targets() {
        assert_eq!(order(&model(&[(1, 0, 1, true), (2, 1, 1, true)], 5), 1, &[]), [1, 2, 1, 2, 1]);
        assert!(order(&model(&[(1, 0, 1, false)], 3), 1, &[]).is_empty());
    }

    #[test]
    fn weights_share_first_place_in_proportion_and_zero_is_last() {
        let model = model(&[(1, 0, 3, true), (2, 0, 1, true), (3, 0, 0, true)], 3);
        let first = (0..8_000).filter(|seed| order(&model, *seed, &[])[0] == 1).count();
        assert!((5_800..6_200).contains(&first), "{first}");
        assert!((0..1_000).all(|seed| order(&model, seed, &[])[2] == 3));
        assert_eq!(order(&model, 7, &[]), order(&model, 7, &[]));
    }
}
