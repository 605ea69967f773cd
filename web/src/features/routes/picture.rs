//! A route drawn as a tree: strategies with their branches, deployments at the ends with how they fare and which share of the
//! route's calls each answered in the last hour; below, the rules that hold beside the tree.

use api::ops::routes::RouteView;
use domain::DeploymentId;
use domain::route::{FailureClass, Node, Rules, StreamFailure};
use leptos::prelude::*;

use super::Switchboard;
use model::tree::{Branch, branches, tree_of, words};
use ui::Tone;
use ui::badge::Badge;
use ui::format::{number, time};
use ui::icon::{Glyph, Icon};
use ui::meter::Bar;

pub(super) fn deployment_name(board: Switchboard, id: DeploymentId) -> String {
    board
        .deployment(id)
        .map_or_else(|| ui::format::id::short(&id.to_string()), |deployment| deployment.name.to_string())
}

fn leaf(board: Switchboard, model: &str, id: DeploymentId) -> AnyView {
    let found = board.deployment(id);
    let detail = found.as_ref().map_or_else(
        || "not visible".to_owned(),
        |deployment| format!("{} at {}", deployment.upstream_model, deployment.provider),
    );
    let is_enabled = found.is_none_or(|deployment| deployment.is_enabled);
    let (tone, fared) = board.fared(id);
    let p95 = board.p95(id).map(|ms| format!("p95 {}", time::millis(ms)));
    let live = board.live_share(model, id).map(|share| {
        let text = format!("{}% of this route's calls", number::trimmed(share * 100.0, 1));
        view! { <Bar share tone=Tone::Accent /> <p class="small muted number">{text}</p> }
    });
    view! {
        <div class="tree-leaf">
            <p class="row-between"><span class="strong truncate">{deployment_name(board, id)}</span> <span class="faint small number">{p95}</span></p>
            <p class="small muted truncate" title=detail.clone()>{detail.clone()}</p>
            <p>{if is_enabled { view! { <Badge tone text=fared dot=true /> }.into_any() } else { view! { <Badge tone=Tone::Warn text="Switched off" /> }.into_any() }}</p>
            {live}
        </div>
    }
    .into_any()
}

fn branch(board: Switchboard, model: &str, branch: &Branch<'_>) -> AnyView {
    // One property, not the attribute as a whole: that one the content security policy forbids.
    let share = branch.share.map_or_else(|| "0".to_owned(), |share| format!("{share:.3}"));
    view! {
        <li class="tree-branch" style=("--share", share)>
            <span class="tree-edge small">{branch.label.clone()}</span>
            {node_view(board, model, branch.node)}
        </li>
    }
    .into_any()
}

fn node_view(board: Switchboard, model: &str, node: &Node) -> AnyView {
    if let Node::Deployment { deployment_id } = node {
        return leaf(board, model, *deployment_id);
    }
    let (title, about) = words(node);
    let children = branches(node).iter().map(|child| branch(board, model, child)).collect_view();
    view! {
        <div class="tree-node">
            <span class="tree-strategy" title=about><Glyph icon=Icon::Route /> {title}</span>
            <ul class="tree-branches">{children}</ul>
        </div>
    }
    .into_any()
}

/// A tree on its own, as in the editor.
pub(super) fn drawing(board: Switchboard, model: &str, node: &Node) -> AnyView {
    view! { <div class="tree" role="group" aria-label="Tree of the route" tabindex="0">{node_view(board, model, node)}</div> }
        .into_any()
}

fn class_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Error => "an upstream fails",
        FailureClass::Timeout => "no answer comes in time",
        FailureClass::RateLimit => "an upstream is full",
        FailureClass::ContextWindow => "the prompt does not fit",
        FailureClass::ContentFilter => "the content is refused",
    }
}

/// The rules that differ from the defaults, as sentences.
fn rule_lines(rules: &Rules, name: impl Fn(DeploymentId) -> String) -> Vec<String> {
    let mut lines: Vec<String> = rules
        .fallbacks
        .iter()
        .map(|fallback| {
            let when = class_words(fallback.on);
            let to: Vec<String> = fallback.to.iter().map(|id| name(*id)).collect();
            match (fallback.stop, to.is_empty()) {
                (true, _) => format!("When {when}, the call ends."),
                (false, true) => format!("When {when}, the next target is tried."),
                (false, false) => format!("When {when}, {} takes over.", to.join(", then ")),
            }
        })
        .collect();
    if let Some(hedge) = rules.hedge {
        lines.push(format!("A second target is asked after {} of silence.", time::millis(u64::from(hedge.after_ms))));
    }
    if let Some(shadow) = rules.shadow {
        lines.push(format!("{}% of the calls are copied to {}.", shadow.percent, name(shadow.deployment_id)));
    }
    if rules.on_stream_failure == StreamFailure::Continue {
        lines.push("A stream that breaks is continued by another target.".to_owned());
    }
    if let Some(cache) = rules.cache {
        lines.push(format!(
            "Identical calls get the same answer again for {}.",
            time::millis(u64::from(cache.ttl_s) * 1_000)
        ));
    }
    if rules.is_rehearsal_allowed {
        lines.push("Callers may rehearse failures.".to_owned());
    }
    lines
}

/// The drawing of a route.
#[component]
pub(super) fn RoutePicture(board: Switchboard, route: RouteView) -> impl IntoView {
    let (tree, model) = (tree_of(&route), route.name.to_string());
    let rules = route.rules;
    let lines = move || {
        let lines = rule_lines(&rules, |id| deployment_name(board, id));
        (!lines.is_empty()).then(|| {
            let lines = lines.into_iter().map(|line| view! { <li>{line}</li> }).collect_view();
            view! { <ul class="rule-lines small muted">{lines}</ul> }
        })
    };
    view! {
        {move || drawing(board, &model, &tree)}
        {lines}
        <p class="faint small">"Labels on branches are the shares as configured. Health, latency and share of the calls are of the last hour."</p>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::route::{Fallback, Hedge, Shadow};

    #[test]
    fn only_what_differs_from_the_defaults_is_said() {
        let name = |_| "mini".to_owned();
        assert!(rule_lines(&Rules::default(), name).is_empty());
        let id = DeploymentId::from_uuid(1);
        let rules = Rules {
            fallbacks: vec![
                Fallback { on: FailureClass::ContextWindow, to: vec![id], stop: false },
                Fallback { on: FailureClass::ContentFilter, to: Vec::new(), stop: true },
            ],
            hedge: Some(Hedge { after_ms: 300 }),
            shadow: Some(Shadow { deployment_id: id, percent: 5 }),
            ..Rules::default()
        };
        let wanted = [
            "When the prompt does not fit, mini takes over.",
            "When the content is refused, the call ends.",
            "A second target is asked after 300 ms of silence.",
            "5% of the calls are copied to mini.",
        ];
        assert_eq!(rule_lines(&rules, name), wanted);
    }
}
