//! Which routes are sound. Says where the first flaw is, as a JSON pointer into the route's document.

use std::collections::BTreeSet;

use super::{Cache, Case, HashKey, Node, Route, Rules, Share, Target, Test, Timeouts};
use crate::DeploymentId;

/// The longest of the durations of a route, in milliseconds.
pub const MAX_MS: u32 = 3_600_000;
/// The largest weight.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The shortest time between two probes of a deployment by one node, in milliseconds.
const MIN_PROBE_MS: u32 = 10_000;
/// Most cases of a conditional, tests of a case, and values of a test.
const MAX_CASES: usize = 16;
const MAX_TESTS: usize = 8;
const MAX_VALUES: usize = 32;
/// Longest name and longest value of a test, in bytes.
const MAX_TEXT: usize = 256;
const MINUTES_A_DAY: u16 = 24 * 60;

/// What is wrong with a route, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct Flaw {
    /// A JSON pointer into the document.
    pub pointer: String,
    /// What to do about it.
    pub detail: String,
}

fn flaw<T>(pointer: impl Into<String>, detail: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw { pointer: pointer.into(), detail: detail.into() })
}

/// The part of a route that decides about calls.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The short form.
    pub targets: &'a [Target],
    /// The long form.
    pub tree: Option<&'a Node>,
    /// Attempts over all targets.
    pub max_attempts: u16,
    /// The durations.
    pub timeouts: &'a Timeouts,
    /// What happens beyond choosing.
    pub rules: &'a Rules,
}

impl Document<'_> {
    /// Finds the first flaw. `is_known` says whether a deployment is one of the workspace.
    pub fn check(&self, is_known: &dyn Fn(DeploymentId) -> bool) -> Result<(), Flaw> {
        match self.tree {
            Some(_) if !self.targets.is_empty() => {
                return flaw("/tree", "give either targets or a tree, not both; send the other one empty");
            }
            Some(tree) => Tree { is_known, n_leaves: 0 }.check(tree, "/tree", 1)?,
            None => check_targets(self.targets, is_known)?,
        }
        if !(1..=Route::MAX_ATTEMPTS).contains(&self.max_attempts) {
            return flaw("/max_attempts", format!("use 1 to {}", Route::MAX_ATTEMPTS));
        }
        check_timeouts(self.timeouts)?;
        check_rules(self.rules, is_known)
    }

    /// Calls `visit` with every deployment that the route names, some perhaps more than once.
    pub fn visit_deployments(&self, visit: &mut impl FnMut(DeploymentId)) {
        self.targets.iter().for_each(|target| visit(target.deployment_id));
        self.tree.iter().for_each(|tree| tree.visit_deployments(visit));
        self.rules.visit_deployments(visit);
    }
}

fn check_targets(targets: &[Target], is_known: &dyn Fn(DeploymentId) -> bool) -> Result<(), Flaw> {
    if !(1..=Route::MAX_TARGETS).contains(&targets.len()) {
        return flaw("/targets", format!("give 1 to {} targets, or a tree", Route::MAX_TARGETS));
    }
    let mut seen = BTreeSet::new();
    for (at, target) in targets.iter().enumerate() {
        check_known(target.deployment_id, is_known, || format!("/targets/{at}/deployment_id"))?;
        if !seen.insert(target.deployment_id) {
            return flaw(format!("/targets/{at}/deployment_id"), "is a target already; each model at most once");
        }
        check_weight(target.weight, || format!("/targets/{at}/weight"))?;
    }
    Ok(())
}

fn check_known(
    id: DeploymentId,
    is_known: &dyn Fn(DeploymentId) -> bool,
    pointer: impl FnOnce() -> String,
) -> Result<(), Flaw> {
    if is_known(id) { Ok(()) } else { flaw(pointer(), "is not a model of this workspace") }
}

fn check_weight(weight: u32, pointer: impl FnOnce() -> String) -> Result<(), Flaw> {
    if weight <= MAX_WEIGHT { Ok(()) } else { flaw(pointer(), format!("use 0 to {MAX_WEIGHT}")) }
}

fn check_percent(percent: u8, pointer: impl FnOnce() -> String) -> Result<(), Flaw> {
    if percent <= 100 { Ok(()) } else { flaw(pointer(), "use 0 to 100") }
}

fn check_timeouts(timeouts: &Timeouts) -> Result<(), Flaw> {
    let named = [
        ("connect_ms", timeouts.connect_ms),
        ("first_byte_ms", timeouts.first_byte_ms),
        ("idle_ms", timeouts.idle_ms),
        ("total_ms", timeouts.total_ms),
    ];
    match named.iter().find(|(_, value)| !(1..=MAX_MS).contains(value)) {
        Some((name, _)) => flaw(format!("/timeouts/{name}"), format!("use 1 to {MAX_MS}")),
        None => Ok(()),
    }
}

// === The tree ===

struct Tree<'a> {
    is_known: &'a dyn Fn(DeploymentId) -> bool,
    n_leaves: usize,
}

impl Tree<'_> {
    fn check(&mut self, node: &Node, at: &str, depth: usize) -> Result<(), Flaw> {
        if let Node::Deployment { deployment_id } = node {
            self.n_leaves += 1;
            if self.n_leaves > Route::MAX_TARGETS {
                return flaw(at, format!("is one deployment too many; a tree has at most {}", Route::MAX_TARGETS));
            }
            return check_known(*deployment_id, self.is_known, || format!("{at}/deployment_id"));
        }
        if depth > Route::MAX_DEPTH {
            return flaw(at, format!("is nested too deep; strategies may be {} levels deep", Route::MAX_DEPTH));
        }
        match node {
            Node::Deployment { .. } => Ok(()),
            Node::Ordered { children }
            | Node::RoundRobin { children }
            | Node::LeastBusy { children }
            | Node::LowestLatency { children, .. }
            | Node::LowestCost { children }
            | Node::UsageBased { children } => self.children(children, at, depth),
            Node::ConsistentHash { children, by } => {
                if let HashKey::Header { name } = by {
                    check_header(name, &format!("{at}/by/name"))?;
                }
                self.children(children, at, depth)
            }
            Node::Weighted { children } => self.shares(children, at, depth),
            Node::Conditional { cases, otherwise } => {
                self.cases(cases, at, depth)?;
                self.check(otherwise, &format!("{at}/otherwise"), depth + 1)
            }
            Node::Canary { percent, canary, stable } => {
                check_percent(*percent, || format!("{at}/percent"))?;
                self.check(canary, &format!("{at}/canary"), depth + 1)?;
                self.check(stable, &format!("{at}/stable"), depth + 1)
            }
        }
    }

    fn children(&mut self, children: &[Node], at: &str, depth: usize) -> Result<(), Flaw> {
        if children.is_empty() {
            return flaw(format!("{at}/children"), "give at least one");
        }
        let mut children = children.iter().enumerate();
        children.try_for_each(|(n, child)| self.check(child, &format!("{at}/children/{n}"), depth + 1))
    }

    fn shares(&mut self, shares: &[Share], at: &str, depth: usize) -> Result<(), Flaw> {
        if shares.is_empty() {
            return flaw(format!("{at}/children"), "give at least one");
        }
        for (n, share) in shares.iter().enumerate() {
            check_weight(share.weight, || format!("{at}/children/{n}/weight"))?;
            self.check(&share.node, &format!("{at}/children/{n}/node"), depth + 1)?;
        }
        Ok(())
    }

    fn cases(&mut self, cases: &[Case], at: &str, depth: usize) -> Result<(), Flaw> {
        if !(1..=MAX_CASES).contains(&cases.len()) {
            return flaw(format!("{at}/cases"), format!("give 1 to {MAX_CASES}"));
        }
        for (n, case) in cases.iter().enumerate() {
            if !(1..=MAX_TESTS).contains(&case.when.len()) {
                return flaw(format!("{at}/cases/{n}/when"), format!("give 1 to {MAX_TESTS} tests"));
            }
            for (m, test) in case.when.iter().enumerate() {
                check_test(test, &format!("{at}/cases/{n}/when/{m}"))?;
            }
            self.check(&case.node, &format!("{at}/cases/{n}/node"), depth + 1)?;
        }
        Ok(())
    }
}

fn check_test(test: &Test, at: &str) -> Result<(), Flaw> {
    match test {
        Test::Metadata { name, is } => {
            if name.is_empty() || name.len() > MAX_TEXT {
                return flaw(format!("{at}/name"), format!("use 1 to {MAX_TEXT} bytes"));
            }
            check_values(is, at)
        }
        Test::Header { name, is } => {
            check_header(name, &format!("{at}/name"))?;
            check_values(is, at)
        }
        Test::Tag { is } | Test::Model { is } => check_values(is, at),
        Test::Stream { .. } | Test::Tools { .. } | Test::Images { .. } | Test::Schema { .. } => Ok(()),
        Test::MaxTokens { at_least, at_most } | Test::InputTokens { at_least, at_most } => match (at_least, at_most) {
            (None, None) => flaw(at, "give at_least, at_most, or both"),
            (Some(least), Some(most)) if least > most => flaw(format!("{at}/at_most"), "is less than at_least"),
            _ => Ok(()),
        },
        Test::Parameter { name, is, at_least, at_most } => {
            check_parameter(name, &format!("{at}/name"))?;
            match (at_least, at_most) {
                (None, None) => check_values(is, at),
                _ if !is.is_empty() => flaw(format!("{at}/is"), "give values, or bounds, not both"),
                (Some(least), Some(most)) if least.0 > most.0 => flaw(format!("{at}/at_most"), "is less than at_least"),
                _ => Ok(()),
            }
        }
        Test::BudgetLeft { budget_id: _, at_least, at_most } => match (at_least, at_most) {
            (None, None) => flaw(at, "give at_least, at_most, or both"),
            (Some(101..), _) => flaw(format!("{at}/at_least"), "use 0 to 100 percent"),
            (_, Some(101..)) => flaw(format!("{at}/at_most"), "use 0 to 100 percent"),
            (Some(least), Some(most)) if least > most => flaw(format!("{at}/at_most"), "is less than at_least"),
            _ => Ok(()),
        },
        Test::Time { from_minute, until_minute, days, utc_offset_minutes } => {
            if *from_minute >= MINUTES_A_DAY {
                return flaw(format!("{at}/from_minute"), "use 0 to 1439");
            }
            if *until_minute > MINUTES_A_DAY || until_minute == from_minute {
                return flaw(format!("{at}/until_minute"), "use 0 to 1440, not the minute of the start");
            }
            if days.len() > 7 || days.iter().any(|day| !(1..=7).contains(day)) {
                return flaw(format!("{at}/days"), "use 1 for Monday to 7 for Sunday");
            }
            if !(-14 * 60..=14 * 60).contains(utc_offset_minutes) {
                return flaw(format!("{at}/utc_offset_minutes"), "use -840 to 840");
            }
            Ok(())
        }
    }
}

fn check_values(values: &[String], at: &str) -> Result<(), Flaw> {
    if !(1..=MAX_VALUES).contains(&values.len()) {
        return flaw(format!("{at}/is"), format!("give 1 to {MAX_VALUES} values; `*` for any"));
    }
    match values.iter().position(|value| value.is_empty() || value.len() > MAX_TEXT) {
        Some(n) => flaw(format!("{at}/is/{n}"), format!("use 1 to {MAX_TEXT} bytes")),
        None => Ok(()),
    }
}

/// What was said is not for routes to read.
const CONTENT: [&str; 9] = [
    "messages",
    "input",
    "prompt",
    "contents",
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "documents",
];

fn check_parameter(name: &str, at: &str) -> Result<(), Flaw> {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if name.len() > 64 || name.split('.').count() > 3 || !name.split('.').all(is_part) {
        return flaw(at, "use the name of a field, with at most two dots into objects");
    }
    if CONTENT.iter().any(|content| name.split('.').next() == Some(*content)) {
        return flaw(at, "is content, which routes do not read");
    }
    Ok(())
}

/// What a route reads goes into its explanation, so headers that carry secrets cannot be asked for.
const SECRET_HEADERS: [&str; 7] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "x-headgate-key"];

fn check_header(name: &str, at: &str) -> Result<(), Flaw> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_name) {
        return flaw(at, "use a header name in lower case");
    }
    if SECRET_HEADERS.contains(&name) {
        return flaw(at, "is a header that carries a secret");
    }
    Ok(())
}

// === The rules ===

fn check_rules(rules: &Rules, is_known: &dyn Fn(DeploymentId) -> bool) -> Result<(), Flaw> {
    let mut classes = BTreeSet::new();
    let mut n_extra = 0;
    for (at, fallback) in rules.fallbacks.iter().enumerate() {
        let at = format!("/rules/fallbacks/{at}");
        if !classes.insert(fallback.on) {
            return flaw(format!("{at}/on"), "has a rule already; one for each kind of failure");
        }
        if fallback.stop && !fallback.to.is_empty() {
            return flaw(format!("{at}/stop"), "a rule either names deployments or ends the call");
        }
        n_extra += fallback.to.len();
        if n_extra > Route::MAX_TARGETS {
            return flaw(format!("{at}/to"), format!("name at most {} in all rules", Route::MAX_TARGETS));
        }
        for (n, id) in fallback.to.iter().enumerate() {
            check_known(*id, is_known, || format!("{at}/to/{n}"))?;
        }
    }
    if rules.hedge.is_some_and(|hedge| !(1..=MAX_MS).contains(&hedge.after_ms)) {
        return flaw("/rules/hedge/after_ms", format!("use 1 to {MAX_MS}"));
    }
    if let Some(shadow) = rules.shadow {
        check_percent(shadow.percent, || "/rules/shadow/percent".to_owned())?;
        check_known(shadow.deployment_id, is_known, || "/rules/shadow/deployment_id".to_owned())?;
    }
    if rules.retry_budget.burst > 10_000 || rules.retry_budget.per_second > 1_000 {
        return flaw("/rules/retry_budget", "use at most 10000 at once and 1000 a second");
    }
    if rules.probe_interval_ms.is_some_and(|ms| !(MIN_PROBE_MS..=MAX_MS).contains(&ms)) {
        return flaw(
            "/rules/probe_interval_ms",
            format!("use {MIN_PROBE_MS} to {MAX_MS} milliseconds, or leave it out"),
        );
    }
    if let Some(cache) = rules.cache {
        if cache.ttl_s > Cache::MAX_TTL_S {
            return flaw("/rules/cache/ttl_s", format!("use 0 to {}", Cache::MAX_TTL_S));
        }
        if cache.ttl_s == 0 && !cache.coalesce {
            return flaw(
                "/rules/cache/ttl_s",
                "0 keeps no answer; give a time, or let identical calls share one (coalesce)",
            );
        }
    }
    if rules.slow_start_ms.0 > MAX_MS {
        return flaw("/rules/slow_start_ms", format!("use 0 to {MAX_MS}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Bound, FailureClass, Fallback, Shadow, StreamFailure};
    use crate::{ModelName, OrganizationId, RouteId, Timestamp, WorkspaceId};

    fn leaf(id: u128) -> Node {
        Node::Deployment { deployment_id: DeploymentId::from_uuid(id) }
    }

    fn route(tree: Option<Node>) -> Route {
        Route {
            id: RouteId::from_uuid(1),
            organization_id: OrganizationId::from_uuid(1),
            workspace_id: WorkspaceId::from_uuid(1),
            name: ModelName::parse("m").unwrap(),
            targets: Vec::new(),
            tree,
            max_attempts: 3,
            timeouts: Timeouts::default(),
            rules: Rules::default(),
            version: 1,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            archived_at: None,
        }
    }

    fn pointer(route: &Route) -> Option<String> {
        route.document().check(&|id| id.as_uuid() < 100).err().map(|flaw| flaw.pointer)
    }

    fn nested(levels: usize) -> Node {
        (0..levels).fold(leaf(1), |node, _| Node::Ordered { children: vec![node] })
    }

    #[test]
    fn trees_are_bounded_in_depth_and_leaves_and_know_their_deployments() {
        assert_eq!(pointer(&route(Some(nested(4)))), None);
        assert_eq!(
            pointer(&route(Some(nested(5)))).as_deref(),
            Some("/tree/children/0/children/0/children/0/children/0")
        );
        let many = |n: usize| Node::RoundRobin { children: (0..n).map(|_| leaf(1)).collect() };
        assert_eq!(pointer(&route(Some(many(32)))), None);
        assert_eq!(pointer(&route(Some(many(33)))).as_deref(), Some("/tree/children/32"));
        assert_eq!(pointer(&route(Some(many(0)))).as_deref(), Some("/tree/children"));
        let weighted = Node::Weighted { children: vec![Share { weight: 1, node: leaf(100) }] };
        assert_eq!(pointer(&route(Some(weighted))).as_deref(), Some("/tree/children/0/node/deployment_id"));
        assert_eq!(pointer(&route(None)).as_deref(), Some("/targets"));
        let mut both = route(Some(leaf(1)));
        both.targets.push(Target { deployment_id: DeploymentId::from_uuid(1), priority: 0, weight: 1 });
        assert_eq!(pointer(&both).as_deref(), Some("/tree"));
    }

    #[test]
    fn a_cache_rule_keeps_something_for_a_time_that_ends() {
        let with = |cache: Cache| {
            let mut route = route(Some(leaf(1)));
            route.rules.cache = Some(cache);
            pointer(&route)
        };
        let usual = Cache::default();
        assert_eq!(with(usual), None);
        assert_eq!(with(Cache { ttl_s: Cache::MAX_TTL_S, ..usual }), None);
        assert_eq!(with(Cache { ttl_s: 0, coalesce: true, ..usual }), None);
        for ttl_s in [0, Cache::MAX_TTL_S + 1] {
            assert_eq!(with(Cache { ttl_s, ..usual }).as_deref(), Some("/rules/cache/ttl_s"));
        }
    }

    #[test]
    fn tests_name_what_is_wrong_with_them_and_read_no_secrets() {
        let conditional = |test: Test| {
            let case = Case { when: vec![test], node: leaf(1) };
            route(Some(Node::Conditional { cases: vec![case], otherwise: Box::new(leaf(2)) }))
        };
        let header = |name: &str| Test::Header { name: name.to_owned(), is: vec!["*".to_owned()] };
        assert_eq!(pointer(&conditional(header("x-tier"))), None);
        assert_eq!(pointer(&conditional(header("authorization"))).as_deref(), Some("/tree/cases/0/when/0/name"));
        assert_eq!(pointer(&conditional(header("X-Tier"))).as_deref(), Some("/tree/cases/0/when/0/name"));
        let empty = Test::InputTokens { at_least: None, at_most: None };
        assert_eq!(pointer(&conditional(empty)).as_deref(), Some("/tree/cases/0/when/0"));
        let parameter = |name: &str| Test::Parameter {
            name: name.to_owned(),
            is: vec!["high".to_owned()],
            at_least: None,
            at_most: None,
        };
        assert_eq!(pointer(&conditional(parameter("reasoning.effort"))), None);
        for content in ["messages", "input.text", "a b", "a..b", "a.b.c.d", ""] {
            let flaw = pointer(&conditional(parameter(content)));
            assert_eq!(flaw.as_deref(), Some("/tree/cases/0/when/0/name"), "{content}");
        }
        let bounds = |is: &[&str], at_least: u8, at_most: u8| Test::Parameter {
            name: "n".to_owned(),
            is: is.iter().map(|text| (*text).to_owned()).collect(),
            at_least: Some(Bound(at_least.into())),
            at_most: Some(Bound(at_most.into())),
        };
        assert_eq!(pointer(&conditional(bounds(&[], 1, 2))), None);
        assert_eq!(pointer(&conditional(bounds(&["1"], 1, 2))).as_deref(), Some("/tree/cases/0/when/0/is"));
        assert_eq!(pointer(&conditional(bounds(&[], 2, 1))).as_deref(), Some("/tree/cases/0/when/0/at_most"));
        let written = serde_json::to_string(&bounds(&[], 1, 2)).expect("JSON");
        assert_eq!(written, r#"{"test":"parameter","name":"n","at_least":1,"at_most":2}"#);
        let read: Test = serde_json::from_str(r#"{"test":"parameter","name":"n","at_most":0.5}"#).expect("a test");
        assert!(matches!(read, Test::Parameter { at_most: Some(Bound(most)), .. } if most < 0.6));
        let left = |at_least, at_most| Test::BudgetLeft { budget_id: None, at_least, at_most };
        assert_eq!(pointer(&conditional(left(None, Some(20)))), None);
        assert_eq!(pointer(&conditional(left(None, None))).as_deref(), Some("/tree/cases/0/when/0"));
        assert_eq!(pointer(&conditional(left(None, Some(101)))).as_deref(), Some("/tree/cases/0/when/0/at_most"));
        let time = Test::Time { from_minute: 60, until_minute: 60, days: vec![], utc_offset_minutes: 0 };
        assert_eq!(pointer(&conditional(time)).as_deref(), Some("/tree/cases/0/when/0/until_minute"));
    }

    #[test]
    fn rules_are_checked_like_the_tree() {
        let mut it = route(Some(leaf(1)));
        it.rules.shadow = Some(Shadow { deployment_id: DeploymentId::from_uuid(100), percent: 1 });
        assert_eq!(pointer(&it).as_deref(), Some("/rules/shadow/deployment_id"));
        it.rules.shadow = None;
        it.rules.on_stream_failure = StreamFailure::Continue;
        assert_eq!(pointer(&it), None);
        let rule = Fallback { on: FailureClass::Timeout, to: vec![DeploymentId::from_uuid(2)], stop: true };
        it.rules.fallbacks = vec![rule.clone()];
        assert_eq!(pointer(&it).as_deref(), Some("/rules/fallbacks/0/stop"));
        it.rules.fallbacks = vec![Fallback { stop: false, ..rule.clone() }; 2];
        assert_eq!(pointer(&it).as_deref(), Some("/rules/fallbacks/1/on"));
        it.rules.fallbacks.clear();
        for (probe_interval_ms, is_sound) in [(9_999, false), (10_000, true), (MAX_MS, true), (MAX_MS + 1, false)] {
            it.rules.probe_interval_ms = Some(probe_interval_ms);
            assert_eq!(pointer(&it).is_none(), is_sound, "{probe_interval_ms}");
        }
    }

    #[test]
    fn the_document_is_strict_json() {
        let text = r#"{"kind":"conditional","cases":[{"when":[{"test":"tools","is":true}],"node":{"kind":"weighted","children":[{"weight":3,"node":{"kind":"deployment","deployment_id":"dep_00000000000000000000000001"}}]}}],"otherwise":{"kind":"lowest_latency","children":[{"kind":"deployment","deployment_id":"dep_00000000000000000000000002"}],"measure":"per_token"}}"#;
        let node: Node = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), text);
        for wrong in [
            r#"{"kind":"ordered","children":[],"weight":1}"#,
            r#"{"kind":"fastest","children":[]}"#,
            r#"{"children":[]}"#,
        ] {
            assert!(serde_json::from_str::<Node>(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Rules>(r#"{"hedged":1}"#).is_err());
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
        assert_eq!(serde_json::to_string(&Rules::default()).unwrap().matches("null").count(), 0);
    }
}
