//! Dry runs over records, without a database.

use domain::id::{EnvironmentId, NodeId, OrganizationId, RequestId, RouteId, VirtualKeyId, WorkspaceId};
use domain::route::{Case, Node, Rules, Share, Test, Timeouts};
use domain::usage::{CacheUse, Outcome, UnitUsage};
use domain::{CredentialId, ModelName, NanoUsd};

use super::*;

fn event(n: u128) -> UsageEvent {
    UsageEvent {
        id: RequestId::from_uuid(n),
        organization_id: OrganizationId::from_uuid(1),
        workspace_id: WorkspaceId::from_uuid(1),
        environment_id: EnvironmentId::from_uuid(1),
        virtual_key_id: VirtualKeyId::from_uuid(1),
        node_id: NodeId::from_uuid(1),
        endpoint: Endpoint::ChatCompletions,
        model: "r".to_owned(),
        route_id: None,
        deployment_id: None,
        provider: None,
        upstream_model: None,
        is_stream: false,
        outcome: Outcome::Success,
        status: 200,
        code: None,
        finish_reason: None,
        started_at: Timestamp::from_micros(0),
        duration_us: 1,
        first_byte_us: None,
        overhead_us: 1,
        usage: TokenUsage { input: 100, cached_input: 20, output: 5, ..TokenUsage::default() },
        units: UnitUsage::default(),
        is_estimated: false,
        is_unmetered: false,
        cost: NanoUsd::ZERO,
        price_id: None,
        cache: CacheUse::default(),
        policy_revision: 1,
        end_user: None,
        conversation_id: None,
        trace_id: None,
        metadata: Vec::new(),
        routing: None,
        tags: Vec::new(),
        dropped: Vec::new(),
        charges: Vec::new(),
        is_by_old_secret: false,
        attempts: Vec::new(),
    }
}

fn leaf(n: u128) -> Node {
    Node::Deployment { deployment_id: DeploymentId::from_uuid(n) }
}

/// A route over deployments 1 to 5; the fourth is switched off, and the fifth has a credential that is not there.
fn route(tree: Node) -> ModelPolicy {
    let deployment = |n: u128| Deployment {
        id: DeploymentId::from_uuid(n),
        workspace: WorkspaceId::from_uuid(1),
        name: ModelName::parse(&format!("m{n}")).expect("a name"),
        provider: "echo".to_owned(),
        upstream_model: format!("m{n}"),
        base_model: None,
        facts: None,
        quantization: None,
        credential: (n == 5).then(|| CredentialId::from_uuid(9)),
        is_enabled: n != 4,
    };
    let route = Route {
        id: RouteId::from_uuid(1),
        workspace: WorkspaceId::from_uuid(1),
        name: ModelName::parse("r").expect("a name"),
        targets: Vec::new(),
        tree: Some(tree),
        max_attempts: 3,
        timeouts: Timeouts::default(),
        rules: Rules::default(),
    };
    draft(&route, &(1..=5).map(deployment).collect::<Vec<_>>(), &[])
}

const NO_PRICE: CostOf<'_> = &|_, _| None;

fn shares(model: &ModelPolicy, trial: &Trial) -> Vec<(u128, u16)> {
    trial.firsts().map(|(slot, n)| (model.targets[slot].deployment.id.as_uuid(), n)).collect()
}

#[test]
fn chance_is_drawn_and_counted_and_the_same_question_has_the_same_answer() {
    let share = |weight, n| Share { weight, node: leaf(n) };
    let model = route(Node::Weighted { children: vec![share(3, 1), share(1, 2)] });
    let trial = try_on(&model, &event(7), NO_PRICE, 1_000, 0);
    let first = trial.first[0];
    assert!((700..800).contains(&first) && trial.first[1] == 1_000 - first, "{first}");
    assert_eq!(try_on(&model, &event(7), NO_PRICE, 1_000, 0).first, trial.first);
    let turns = route(Node::RoundRobin { children: vec![leaf(1), leaf(2)] });
    assert_eq!(shares(&turns, &try_on(&turns, &event(7), NO_PRICE, 10, 3)), [(1, 5), (2, 5)]);
    // A conversation stays where it is: nothing is left to chance.
    let talk = UsageEvent { conversation_id: Some("c".to_owned()), ..event(8) };
    assert_eq!(try_on(&model, &talk, NO_PRICE, 100, 0).firsts().count(), 1);
}

#[test]
fn what_cannot_be_tried_is_named_with_its_reason_and_a_route_of_nothing_else_refuses() {
    let model = route(Node::Ordered { children: vec![leaf(4), leaf(5), leaf(1)] });
    let trial = try_on(&model, &event(1), NO_PRICE, 4, 0);
    assert_eq!(shares(&model, &trial), [(1, 4)]);
    let skips: Vec<_> = (0..3).map(|slot| trial.plan.skip(slot).map(domain::usage::SkipReason::as_str)).collect();
    assert_eq!(skips, [Some("disabled"), Some("no_credential"), None]);
    assert!(trial.unknown.is_empty());
    let empty = route(Node::Ordered { children: vec![leaf(4), leaf(5)] });
    assert!(try_on(&empty, &event(1), NO_PRICE, 4, 0).plan.is_empty());
}

#[test]
fn a_decision_says_which_facts_it_lacked_and_only_when_it_asked_for_them() {
    let case = |test, n| Case { when: vec![test], node: leaf(n) };
    let model = route(Node::Conditional {
        cases: vec![
            case(Test::Tag { is: vec!["eu*".into()] }, 1),
            case(Test::Header { name: "x-team".into(), is: vec!["a".into()] }, 2),
        ],
        otherwise: Box::new(Node::LeastBusy { children: vec![leaf(2), leaf(3)] }),
    });
    let tagged = UsageEvent { tags: vec!["eu-west".into()], ..event(1) };
    let known = try_on(&model, &tagged, NO_PRICE, 8, 0);
    assert_eq!((shares(&model, &known), known.unknown.len()), (vec![(1, 8)], 0));
    let trial = try_on(&model, &event(2), NO_PRICE, 200, 0);
    assert_eq!(trial.unknown, [Unknown::Headers, Unknown::Load]);
    let even = trial.firsts().map(|(_, n)| n).collect::<Vec<_>>();
    assert!(even.len() == 2 && even.iter().all(|n| (70..=130).contains(n)), "{even:?}");
}

#[test]
fn prices_are_compared_as_a_node_compares_them() {
    let model = route(Node::LowestCost { children: vec![leaf(1), leaf(2), leaf(3)] });
    let cost = |deployment: &DeploymentPolicy, usage: TokenUsage| {
        assert_eq!((usage.input, usage.output), (120, 500), "the whole prompt, and the usual answer");
        match deployment.id.as_uuid() {
            1 => Some(9),
            2 => Some(3),
            _ => None,
        }
    };
    let trial = try_on(&model, &event(1), &cost, 3, 0);
    assert_eq!((shares(&model, &trial), trial.unknown), (vec![(2, 3)], vec![Unknown::Price]));
}
