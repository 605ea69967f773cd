//! Orders of attempts, strategy by strategy.

use std::collections::HashMap;
use std::sync::Arc;

use domain::route::{Affinity, Case, HashKey, LatencyMeasure, Node, RetryBudget, Rules, Share, Target, Test, Timeouts};
use rustc_hash::FxHashMap;

use super::*;
use crate::compile::Parts;
use crate::facts::tests::Call;
use crate::snapshot::CredentialUse;

#[derive(Default, Clone)]
struct Known {
    health: HashMap<u128, Health>,
    load: HashMap<u128, Load>,
    cost: HashMap<u128, u64>,
}

impl Signals for Known {
    fn health(&self, id: DeploymentId) -> Health {
        self.health.get(&id.as_uuid()).copied().unwrap_or(Health::Fit)
    }
    fn load(&self, id: DeploymentId) -> Load {
        self.load.get(&id.as_uuid()).copied().unwrap_or_default()
    }
    fn cost(&self, deployment: &DeploymentPolicy) -> Option<u64> {
        self.cost.get(&deployment.id.as_uuid()).copied()
    }
}

fn id(n: u128) -> DeploymentId {
    DeploymentId::from_uuid(n)
}

fn leaf(n: u128) -> Node {
    Node::Deployment { deployment_id: id(n) }
}

fn leaves(list: &[u128]) -> Vec<Node> {
    list.iter().map(|n| leaf(*n)).collect()
}

/// Deployments above 90 are switched off.
fn compile(targets: &[Target], tree: Option<&Node>, rules: &Rules) -> ModelPolicy {
    let deployment = |n: u128| {
        Arc::new(DeploymentPolicy {
            id: id(n),
            name: n.to_string(),
            provider: "echo".to_owned(),
            upstream_model: "echo-1".to_owned(),
            base_model: None,
            facts: None,
            quantization: None,
            credential: CredentialUse::None,
            is_enabled: n <= 90,
        })
    };
    let all: Vec<_> = (1..=99).map(deployment).collect();
    let by_id: FxHashMap<_, _> = all.iter().map(|it| (it.id, it)).collect();
    let parts = Parts { targets, tree, rules, max_attempts: 3, timeouts: Timeouts::default() };
    parts.compile("m".into(), &by_id, &mut |field, id| panic!("{field} {id}"))
}

fn tree(node: &Node) -> ModelPolicy {
    compile(&[], Some(node), &Rules::default())
}

fn plan_of(model: &ModelPolicy, call: &Call, known: &Known, seed: u64) -> Plan {
    plan(model, &Asked { facts: call, signals: known, wish: None, seed, turn: seed })
}

fn order(model: &ModelPolicy, call: &Call, known: &Known, seed: u64) -> Vec<u128> {
    let plan = plan_of(model, call, known, seed);
    plan.slots().iter().map(|slot| model.targets[usize::from(*slot)].deployment.id.as_uuid()).collect()
}

fn simple(model: &ModelPolicy, seed: u64) -> Vec<u128> {
    order(model, &Call::default(), &Known::default(), seed)
}

fn ejected(list: &[u128]) -> Known {
    Known { health: list.iter().map(|n| (*n, Health::Ejected)).collect(), ..Known::default() }
}

fn targets(list: &[(u128, u16, u32)]) -> ModelPolicy {
    let target = |(n, priority, weight): &(u128, u16, u32)| Target {
        deployment_id: id(*n),
        priority: *priority,
        weight: *weight,
    };
    compile(&list.iter().map(target).collect::<Vec<_>>(), None, &Rules::default())
}

#[test]
fn targets_go_by_priority_and_ejected_ones_last() {
    let model = targets(&[(2, 1, 1), (1, 0, 1), (3, 2, 1), (91, 0, 1)]);
    let call = Call::default();
    assert_eq!(simple(&model, 1), [1, 2, 3]);
    assert_eq!(order(&model, &call, &ejected(&[1]), 1), [2, 3, 1]);
    assert_eq!(order(&model, &call, &ejected(&[1, 2, 3]), 1), [1, 2, 3]);
    assert!(simple(&targets(&[(91, 0, 1)]), 1).is_empty());
}

#[test]
fn weights_share_first_place_in_proportion_and_zero_is_last() {
    let model = targets(&[(1, 0, 3), (2, 0, 1), (3, 0, 0)]);
    let first = (0..8_000).filter(|seed| simple(&model, *seed)[0] == 1).count();
    assert!((5_800..6_200).contains(&first), "{first}");
    assert!((0..1_000).all(|seed| simple(&model, seed)[2] == 3));
    assert_eq!(simple(&model, 7), simple(&model, 7));
}

#[test]
fn every_passed_over_target_has_a_reason() {
    let node = Node::Conditional {
        cases: vec![Case { when: vec![Test::Tools { is: true }], node: leaf(1) }],
        otherwise: Box::new(Node::Ordered { children: leaves(&[2, 3, 91]) }),
    };
    let model = tree(&node);
    let known = Known { health: [(2, Health::RateLimited)].into(), ..Known::default() };
    let plan = plan_of(&model, &Call::default(), &known, 1);
    let reason = |n: u128| {
        let slot = model.targets.iter().position(|target| target.deployment.id == id(n)).unwrap();
        plan.skip(u8::try_from(slot).unwrap())
    };
    assert_eq!(plan.slots().len(), 2);
    assert_eq!(reason(1), Some(SkipReason::OtherBranch));
    assert_eq!(reason(2), Some(SkipReason::RateLimited));
    assert_eq!(reason(3), None);
    assert_eq!(reason(91), Some(SkipReason::Disabled));
    assert_eq!(model.tree.path(1), "conditional > ordered");
}

#[test]
fn round_robin_goes_in_turn_and_falls_back_on_the_next() {
    let model = tree(&Node::RoundRobin { children: leaves(&[1, 2, 3]) });
    assert_eq!([0, 1, 2, 3].map(|turn| simple(&model, turn)[0]), [1, 2, 3, 1]);
    assert_eq!(simple(&model, 1), [2, 3, 1]);
    assert!(model.tree.has_turns());
}

#[test]
fn measured_strategies_take_the_least() {
    let load = |n_in_flight, first_token_us, per_token_us, recent_tokens| Load {
        n_in_flight,
        first_token_us,
        per_token_us,
        recent_tokens,
    };
    let known = Known {
        load: [(1, load(5, 100, 9, 7)), (2, load(1, 400, 8, 8)), (3, load(3, 900, 1, 9))].into(),
        cost: [(2, 10), (3, 5)].into(),
        ..Known::default()
    };
    let take = |node: &Node| order(&tree(node), &Call::default(), &known, 1);
    let children = || leaves(&[1, 2, 3]);
    assert_eq!(take(&Node::LeastBusy { children: children() }), [2, 3, 1]);
    assert_eq!(take(&Node::UsageBased { children: children() }), [1, 2, 3]);
    assert_eq!(take(&Node::LowestCost { children: children() }), [3, 2, 1], "no price is last");
    let latency = |measure| Node::LowestLatency { children: children(), measure };
    // 600, 800, 3600: what waits counts.
    assert_eq!(take(&latency(LatencyMeasure::FirstToken)), [1, 2, 3]);
    assert_eq!(take(&latency(LatencyMeasure::PerToken)), [3, 2, 1]);
}

#[test]
fn a_branch_is_worth_its_best_fit_leaf() {
    let pair = |list: &[u128]| Node::Ordered { children: leaves(list) };
    let node = Node::LowestCost { children: vec![pair(&[1, 2]), pair(&[3, 4])] };
    let mut known = Known { cost: [(1, 1), (2, 90), (3, 20), (4, 20)].into(), ..Known::default() };
    assert_eq!(order(&tree(&node), &Call::default(), &known, 1), [1, 2, 3, 4]);
    known.health = [(1, Health::Ejected)].into();
    assert_eq!(order(&tree(&node), &Call::default(), &known, 1), [3, 4, 2, 1]);
}

#[test]
fn a_key_keeps_its_child_and_only_a_lost_childs_share_moves() {
    let by = HashKey::Header { name: "x-tenant".to_owned() };
    let hashed = |list: &[u128]| tree(&Node::ConsistentHash { children: leaves(list), by: by.clone() });
    let (three, two) = (hashed(&[1, 2, 3]), hashed(&[1, 3]));
    let mut moved = 0;
    for n in 0..300 {
        let key: &'static str = Box::leak(format!("tenant-{n}").into_boxed_str());
        let call = Call { pairs: vec![("x-tenant", key)], ..Call::default() };
        let before = order(&three, &call, &Known::default(), 1);
        assert_eq!(before, order(&three, &call, &Known::default(), 2), "no chance in it");
        let after = order(&two, &call, &Known::default(), 3);
        if before[0] == 2 {
            moved += 1;
            assert_eq!(after[0], before[1], "what was second comes first");
        } else {
            assert_eq!(after[0], before[0]);
        }
    }
    assert!((70..130).contains(&moved), "{moved}");
    assert!(
        (0..50).map(|seed| simple(&three, seed)[0]).any(|first| first != simple(&three, 50)[0]),
        "by chance without"
    );
}

#[test]
fn a_canary_has_its_share_and_is_never_a_fallback() {
    let canary = Node::Canary { percent: 20, canary: Box::new(leaf(1)), stable: Box::new(leaf(2)) };
    let model = tree(&canary);
    let orders: Vec<_> = (0..5_000).map(|seed| simple(&model, seed)).collect();
    let chosen = orders.iter().filter(|order| **order == [1, 2]).count();
    assert!((900..1_100).contains(&chosen), "{chosen}");
    assert!(orders.iter().all(|order| *order == [1, 2] || *order == [2]));
}

#[test]
fn a_conversation_stays_where_it_is_while_that_is_fit() {
    let node = Node::Weighted { children: [1, 2, 3].map(|n| Share { weight: 1, node: leaf(n) }).to_vec() };
    let model = tree(&node);
    let call = Call { pairs: vec![("conversation", "c-1")], ..Call::default() };
    let home = order(&model, &call, &Known::default(), 0)[0];
    assert!((0..100).all(|seed| order(&model, &call, &Known::default(), seed)[0] == home));
    let away = order(&model, &call, &ejected(&[home]), 1);
    assert!(away[0] != home && away[2] == home);
    let off = compile(&[], Some(&node), &Rules { affinity: Affinity::Off, ..Rules::default() });
    assert!((0..100).any(|seed| order(&off, &call, &Known::default(), seed)[0] != home));
    let firsts: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|text| {
            order(&model, &Call { pairs: vec![("conversation", text)], ..Call::default() }, &Known::default(), 1)[0]
        })
        .to_vec();
    assert!(firsts.iter().any(|first| *first != firsts[0]), "conversations are spread");
}

#[test]
fn ejection_is_ignored_when_it_would_overrun_what_is_left() {
    let pool = Node::RoundRobin { children: leaves(&[1, 2, 3, 4]) };
    let model = tree(&pool);
    let call = Call::default();
    assert_eq!(order(&model, &call, &ejected(&[1, 2]), 0), [3, 4, 1, 2], "half is fit");
    assert_eq!(order(&model, &call, &ejected(&[1, 2, 3]), 0), [1, 2, 3, 4], "more than half is out");
    // Another vendor stands by with room: the pool's few are spared.
    let model = tree(&Node::Ordered { children: vec![pool, leaf(5)] });
    assert_eq!(order(&model, &call, &ejected(&[1, 2, 3]), 0), [4, 5, 1, 2, 3]);
}

#[test]
fn what_came_back_gets_its_share_little_by_little() {
    let model = targets(&[(1, 0, 1), (2, 1, 1)]);
    let known = Known { health: [(1, Health::Warming(25))].into(), ..Known::default() };
    let first = (0..4_000).filter(|seed| order(&model, &Call::default(), &known, *seed)[0] == 1).count();
    assert!((900..1_100).contains(&first), "{first}");
}

#[test]
fn what_asked_for_a_pause_comes_after_the_fit_and_before_the_ejected() {
    let model = targets(&[(1, 0, 1), (2, 1, 1), (3, 2, 1)]);
    let known = Known { health: [(1, Health::Ejected), (2, Health::RateLimited)].into(), ..Known::default() };
    assert_eq!(order(&model, &Call::default(), &known, 1), [3, 2, 1]);
}

#[test]
fn a_request_may_leave_out_and_reorder() {
    struct Cheap;
    impl Wish for Cheap {
        fn refuses(&self, deployment: &DeploymentPolicy, _: &dyn Signals) -> Option<SkipReason> {
            (deployment.id == id(2)).then_some(SkipReason::Excluded)
        }
        fn rank(&self, deployment: &DeploymentPolicy, signals: &dyn Signals) -> u64 {
            signals.cost(deployment).unwrap_or(u64::MAX)
        }
        fn has_ranks(&self) -> bool {
            true
        }
    }
    let model = targets(&[(1, 0, 1), (2, 1, 1), (3, 2, 1)]);
    let known = Known { cost: [(1, 9), (3, 1)].into(), ..Known::default() };
    let call = Call::default();
    let asked = Asked { facts: &call, signals: &known, wish: Some(&Cheap), seed: 1, turn: 0 };
    let plan = plan(&model, &asked);
    assert_eq!(plan.slots(), [2, 0]);
    assert_eq!(plan.skip(1), Some(SkipReason::Excluded));
}

#[test]
fn rules_find_their_deployments_also_outside_of_the_tree() {
    let text = r#"{"fallbacks":[{"on":"context_window","to":["dep_00000000000000000000000009"]},{"on":"timeout","stop":true},{"on":"content_filter"}]}"#;
    let rules: Rules = serde_json::from_str(text).unwrap();
    let model = compile(&[], Some(&leaf(1)), &rules);
    let class = domain::route::FailureClass::ContextWindow;
    assert_eq!(*model.rules.next(class), crate::snapshot::Next::To([1].into()));
    assert_eq!(*model.rules.next(domain::route::FailureClass::Timeout), crate::snapshot::Next::Stop);
    assert_eq!(*model.rules.next(domain::route::FailureClass::ContentFilter), crate::snapshot::Next::Further);
    assert_eq!(*model.rules.next(domain::route::FailureClass::Error), crate::snapshot::Next::Usual);
    assert_eq!(model.rules.retry_budget, RetryBudget::default());
    assert_eq!(simple(&model, 1), [1], "only a failure leads there");
}
