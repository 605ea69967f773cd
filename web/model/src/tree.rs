//! A route as a tree in words: what each strategy does, what leads to each of its branches, and which share of the calls that is.
//!
//! Pure. A route in its short form (targets by priority and weight) is the tree that it stands for; [`short_form`] is the way back.

use api::ops::routes::RouteView;
use domain::DeploymentId;
use domain::route::{Case, HashKey, LatencyMeasure, Node, Share, Target, Test};
use domain::usage::SkipReason;
use ui::format::number;

/// What leads from a strategy to one of its children.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch<'a> {
    /// "75%", "then", "if tag is eu".
    pub label: String,
    /// The share of the calls that come by, as far as the tree alone says.
    pub share: Option<f64>,
    pub node: &'a Node,
}

/// Why a target was passed over or put last.
pub fn skip_words(reason: SkipReason) -> String {
    let known = match reason {
        SkipReason::Disabled => "its deployment was switched off",
        SkipReason::NoCredential => "its credential was missing, revoked or could not be opened",
        SkipReason::Excluded => "the request left it out",
        SkipReason::TooExpensive => "it costs more than the request allowed",
        SkipReason::DataPolicy => "its provider may do more with data than the request allowed, or nobody said what",
        SkipReason::Quantization => "it is not quantized as the request asked, or nobody said how",
        SkipReason::Unsupported => "it cannot express what the request held",
        SkipReason::ForeignReasoning => "the conversation held reasoning that only its maker reads",
        SkipReason::Ejected => "it had failed repeatedly of late",
        SkipReason::ProbeUnderWay => "another call was just trying whether it is back",
        SkipReason::RateLimited => "it had asked for a pause",
        SkipReason::Warming => "it came back lately and gets its share little by little",
        SkipReason::CredentialFailed => "its credential had failed at another target",
        SkipReason::RetryBudget => "the retry budget of the model was used up",
        SkipReason::TooLate => "the pause before it would have outlasted the call",
        // Whatever else nodes say is said in their word.
        other => return other.as_str().replace('_', " "),
    };
    known.to_owned()
}

fn leaf(target: &Target) -> Node {
    Node::Deployment { deployment_id: target.deployment_id }
}

/// The tree that targets stand for: by priority, by weight among equals.
fn tree_of_targets(targets: &[Target]) -> Node {
    let mut priorities: Vec<u16> = targets.iter().map(|target| target.priority).collect();
    ui::sort::by(&mut priorities, u16::cmp);
    priorities.dedup();
    let step = |priority: u16| {
        let members: Vec<&Target> = targets.iter().filter(|target| target.priority == priority).collect();
        match members.as_slice() {
            [only] => leaf(only),
            members => {
                let share = |target: &&Target| Share { weight: target.weight, node: leaf(target) };
                Node::Weighted { children: members.iter().map(share).collect() }
            }
        }
    };
    let mut steps: Vec<Node> = priorities.into_iter().map(step).collect();
    match steps.len() {
        1 => steps.remove(0),
        _ => Node::Ordered { children: steps },
    }
}

/// The tree of a route.
pub fn tree_of(route: &RouteView) -> Node {
    route.tree.clone().unwrap_or_else(|| tree_of_targets(&route.targets))
}

/// The targets that a tree stands for, when it is no more than steps of weighted deployments.
pub fn short_form(tree: &Node) -> Option<Vec<Target>> {
    let steps = match tree {
        Node::Ordered { children } => children.iter().collect(),
        other => vec![other],
    };
    let mut targets: Vec<Target> = Vec::new();
    for (priority, step) in steps.into_iter().enumerate() {
        let priority = u16::try_from(priority).ok()?;
        let mut add = |node: &Node, weight: u32| {
            let Node::Deployment { deployment_id } = node else { return None };
            let is_new = targets.iter().all(|target| target.deployment_id != *deployment_id);
            is_new.then(|| targets.push(Target { deployment_id: *deployment_id, priority, weight }))
        };
        match step {
            Node::Weighted { children } => {
                children.iter().map(|share| add(&share.node, share.weight)).collect::<Option<Vec<()>>>()?;
            }
            leaf => add(leaf, 1)?,
        }
    }
    (!targets.is_empty()).then_some(targets)
}

/// What a strategy is called, and what it does.
pub fn words(node: &Node) -> (String, String) {
    let (title, about) = match node {
        Node::Deployment { .. } => ("Deployment", ""),
        Node::Ordered { .. } => ("In order", "The first answers; the next ones take over when it fails."),
        Node::Weighted { .. } => ("By weight", "Shared by chance in proportion; the others take over."),
        Node::RoundRobin { .. } => ("In turn", "One after the other."),
        Node::LeastBusy { .. } => ("Least busy", "The one with the fewest calls in flight."),
        Node::LowestLatency { measure: LatencyMeasure::FirstToken, .. } => {
            ("Fastest", "The one that lately sent its first token the soonest.")
        }
        Node::LowestLatency { .. } => ("Fastest", "The one that lately needed the least time per token."),
        Node::LowestCost { .. } => ("Cheapest", "The lowest price for a call of this size."),
        Node::UsageBased { .. } => ("Least used", "The one with the fewest tokens in the last minute."),
        Node::ConsistentHash { by, .. } => {
            let by = match by {
                HashKey::User => "end user".to_owned(),
                HashKey::Conversation => "conversation".to_owned(),
                HashKey::Header { name } => format!("header {name}"),
            };
            return (format!("Sticky by {by}"), "The same one for the same key.".to_owned());
        }
        Node::Conditional { .. } => ("By condition", "The first case that holds; no fallback between cases."),
        Node::Canary { percent, .. } => {
            let about = "A share tries what is new and falls back on what is proven.";
            return (format!("Canary {percent}%"), about.to_owned());
        }
    };
    (title.to_owned(), about.to_owned())
}

fn percent(share: f64) -> String {
    format!("{}%", number::trimmed(share * 100.0, 1))
}

fn between(at_least: Option<u64>, at_most: Option<u64>) -> String {
    match (at_least, at_most) {
        (Some(least), Some(most)) => format!("are {} to {}", number::grouped(least), number::grouped(most)),
        (Some(least), None) => format!("are at least {}", number::grouped(least)),
        (None, Some(most)) => format!("are at most {}", number::grouped(most)),
        (None, None) => "are any".to_owned(),
    }
}

fn test_words(test: &Test) -> String {
    let one_of = |is: &[String]| is.join(" or ");
    let or_not = |is: bool, what: &str| format!("{} {what}", if is { "with" } else { "without" });
    match test {
        Test::Metadata { name, is } => format!("{name} is {}", one_of(is)),
        Test::Header { name, is } => format!("header {name} is {}", one_of(is)),
        Test::Tag { is } => format!("tagged {}", one_of(is)),
        Test::Model { is } => format!("model is {}", one_of(is)),
        Test::Stream { is } => or_not(*is, "streaming"),
        Test::Tools { is } => or_not(*is, "tools"),
        Test::Images { is } => or_not(*is, "images"),
        Test::Schema { is } => or_not(*is, "a JSON schema"),
        Test::MaxTokens { at_least, at_most } => format!("output tokens asked for {}", between(*at_least, *at_most)),
        Test::InputTokens { at_least, at_most } => format!("input tokens {}", between(*at_least, *at_most)),
        Test::Parameter { name, is, at_least, at_most } => match (at_least, at_most) {
            (None, None) => format!("{name} is {}", one_of(is)),
            (Some(least), Some(most)) => format!("{name} is {least} to {most}"),
            (Some(least), None) => format!("{name} is at least {least}"),
            (None, Some(most)) => format!("{name} is at most {most}"),
        },
        Test::BudgetLeft { budget_id, at_least, at_most } => {
            let of = if budget_id.is_some() { "the budget named" } else { "the tightest budget" };
            match (at_least, at_most) {
                (Some(least), Some(most)) => format!("{least} to {most}% of {of} are left"),
                (Some(least), None) => format!("at least {least}% of {of} are left"),
                (None, most) => format!("at most {}% of {of} are left", most.unwrap_or(100)),
            }
        }
        Test::Time { from_minute, until_minute, days, .. } => {
            let clock = |minute: &u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let days = if days.is_empty() { "" } else { " on some days" };
            format!("from {} until {}{days}", clock(from_minute), clock(until_minute))
        }
    }
}

fn case_words(case: &Case) -> String {
    format!("if {}", case.when.iter().map(test_words).collect::<Vec<_>>().join(" and "))
}

/// The branches of a strategy; none for a deployment.
pub fn branches(node: &Node) -> Vec<Branch<'_>> {
    let evenly = |children: &'_ [Node], label: &str| -> Vec<(String, Option<f64>)> {
        children.iter().map(|_| (label.to_owned(), None)).collect()
    };
    let labels: Vec<(String, Option<f64>)> = match node {
        Node::Deployment { .. } => Vec::new(),
        Node::Ordered { children } => {
            let label = |at: usize| if at == 0 { ("first".to_owned(), Some(1.0)) } else { ("then".to_owned(), None) };
            (0..children.len()).map(label).collect()
        }
        Node::Weighted { children } => {
            let total: f64 = children.iter().map(|share| f64::from(share.weight)).sum();
            let count = number::as_f64(u64::try_from(children.len()).unwrap_or(1).max(1));
            let share = |weight: u32| if total == 0.0 { 1.0 / count } else { f64::from(weight) / total };
            let label = |child: &Share| (percent(share(child.weight)), Some(share(child.weight)));
            children.iter().map(label).collect()
        }
        Node::RoundRobin { children }
        | Node::LeastBusy { children }
        | Node::LowestLatency { children, .. }
        | Node::LowestCost { children }
        | Node::UsageBased { children }
        | Node::ConsistentHash { children, .. } => evenly(children, "or"),
        Node::Conditional { cases, .. } => {
            let otherwise = std::iter::once(("otherwise".to_owned(), None));
            cases.iter().map(|case| (case_words(case), None)).chain(otherwise).collect()
        }
        Node::Canary { percent: share, .. } => {
            let share = f64::from(*share) / 100.0;
            let label = |name: &str, share: f64| (format!("{name}, {}", percent(share)), Some(share));
            vec![label("new", share), label("proven", 1.0 - share)]
        }
    };
    let mut nodes = Vec::with_capacity(labels.len());
    node.visit_children(&mut |child| nodes.push(child));
    labels.into_iter().zip(nodes).map(|((label, share), node)| Branch { label, share, node }).collect()
}

/// The deployments of a tree from left to right, each once.
pub fn deployments_of(node: &Node) -> Vec<DeploymentId> {
    let mut all = Vec::new();
    node.visit_deployments(&mut |id| {
        if !all.contains(&id) {
            all.push(id);
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> DeploymentId {
        DeploymentId::from_uuid(n)
    }

    fn target(n: u128, priority: u16, weight: u32) -> Target {
        Target { deployment_id: id(n), priority, weight }
    }

    fn labels(node: &Node) -> Vec<String> {
        branches(node).into_iter().map(|branch| branch.label).collect()
    }

    #[test]
    fn targets_stand_for_steps_of_weights_and_back() {
        let targets = [target(2, 0, 3), target(3, 0, 1), target(1, 5, 1), target(4, 9, 1)];
        let tree = tree_of_targets(&targets);
        assert_eq!(labels(&tree), ["first", "then", "then"]);
        assert_eq!(labels(branches(&tree)[0].node), ["75%", "25%"]);
        assert_eq!(deployments_of(&tree), [id(2), id(3), id(1), id(4)]);
        // Priorities come back without gaps.
        let back = [target(2, 0, 3), target(3, 0, 1), target(1, 1, 1), target(4, 2, 1)];
        assert_eq!(short_form(&tree), Some(back.to_vec()));
        assert_eq!(tree_of_targets(&targets[..1]), Node::Deployment { deployment_id: id(2) });
    }

    #[test]
    fn what_is_more_than_steps_has_no_short_form() {
        let leaf = |n| Node::Deployment { deployment_id: id(n) };
        let canary = Node::Canary { percent: 5, canary: Box::new(leaf(1)), stable: Box::new(leaf(2)) };
        assert_eq!(labels(&canary), ["new, 5%", "proven, 95%"]);
        assert_eq!(short_form(&canary), None);
        assert_eq!(short_form(&Node::Ordered { children: vec![canary, leaf(3)] }), None);
        // The same deployment twice is for trees only.
        assert_eq!(short_form(&Node::Ordered { children: vec![leaf(1), leaf(1)] }), None);
    }

    #[test]
    fn conditions_read_as_sentences() {
        let case = |when| Case { when, node: Node::Deployment { deployment_id: id(1) } };
        let cases = vec![
            case(vec![Test::Tag { is: vec!["eu".into(), "uk".into()] }, Test::Stream { is: true }]),
            case(vec![Test::InputTokens { at_least: Some(100_000), at_most: None }]),
            case(vec![
                Test::Parameter {
                    name: "reasoning.effort".into(),
                    is: vec!["high".into()],
                    at_least: None,
                    at_most: None,
                },
                Test::BudgetLeft { budget_id: None, at_least: None, at_most: Some(20) },
            ]),
            case(vec![Test::Time { from_minute: 480, until_minute: 1_090, days: vec![], utc_offset_minutes: 0 }]),
        ];
        let otherwise = Box::new(Node::Deployment { deployment_id: id(2) });
        let wanted = [
            "if tagged eu or uk and with streaming",
            "if input tokens are at least 100,000",
            "if reasoning.effort is high and at most 20% of the tightest budget are left",
            "if from 08:00 until 18:10",
            "otherwise",
        ];
        assert_eq!(labels(&Node::Conditional { cases, otherwise }), wanted);
    }
}
