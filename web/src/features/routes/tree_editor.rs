//! The editor of a tree: every strategy with its branches one below the other, in plain controls that a keyboard reaches.
//!
//! A change rewrites the tree and draws it anew; the control that made it keeps the focus. Conditions are shown here and written
//! in the code twin of the form. Invariant: a control changes only the node it stands at.

use domain::DeploymentId;
use domain::route::{HashKey, LatencyMeasure, Node, Share};
use leptos::prelude::*;
use ui::browser;
use ui::button::{Button, IconButton, Size};
use ui::icon::Icon;

use super::Switchboard;
use model::tree::branches;

/// Strategies on offer.
const KINDS: [(&str, &str); 9] = [
    ("ordered", "In order"),
    ("weighted", "By weight"),
    ("round_robin", "In turn"),
    ("least_busy", "Least busy"),
    ("lowest_latency", "Fastest"),
    ("lowest_cost", "Cheapest"),
    ("usage_based", "Least used"),
    ("consistent_hash", "Sticky"),
    ("canary", "Canary"),
];

/// A target that is not chosen yet.
pub(super) fn blank() -> Node {
    Node::Deployment { deployment_id: DeploymentId::from_uuid(0) }
}

/// Says whether every target is chosen.
pub(super) fn is_complete(tree: &Node) -> bool {
    let mut is_complete = true;
    tree.visit_deployments(&mut |id| is_complete &= id != DeploymentId::from_uuid(0));
    is_complete
}

fn child_mut(node: &mut Node, at: usize) -> Option<&mut Node> {
    match node {
        Node::Deployment { .. } => None,
        Node::Ordered { children }
        | Node::RoundRobin { children }
        | Node::LeastBusy { children }
        | Node::LowestLatency { children, .. }
        | Node::LowestCost { children }
        | Node::UsageBased { children }
        | Node::ConsistentHash { children, .. } => children.get_mut(at),
        Node::Weighted { children } => children.get_mut(at).map(|share| &mut share.node),
        Node::Conditional { cases, otherwise } => match cases.get_mut(at) {
            Some(case) => Some(&mut case.node),
            None => Some(otherwise),
        },
        Node::Canary { canary, stable, .. } => Some(if at == 0 { canary } else { stable }),
    }
}

fn node_mut<'a>(tree: &'a mut Node, path: &[usize]) -> Option<&'a mut Node> {
    match path.split_first() {
        None => Some(tree),
        Some((first, rest)) => node_mut(child_mut(tree, *first)?, rest),
    }
}

/// The children with their weights, for another strategy over the same.
fn children_of(node: &Node) -> Vec<(u32, Node)> {
    let mut children = Vec::new();
    node.visit_children(&mut |child| children.push((1, child.clone())));
    if let Node::Weighted { children: shares } = node {
        children.iter_mut().zip(shares).for_each(|(child, share)| child.0 = share.weight);
    }
    children
}

fn strategy(kind: &str, children: Vec<(u32, Node)>) -> Node {
    let nodes = |children: Vec<(u32, Node)>| children.into_iter().map(|child| child.1).collect::<Vec<Node>>();
    match kind {
        "weighted" => {
            Node::Weighted { children: children.into_iter().map(|(weight, node)| Share { weight, node }).collect() }
        }
        "round_robin" => Node::RoundRobin { children: nodes(children) },
        "least_busy" => Node::LeastBusy { children: nodes(children) },
        "lowest_latency" => Node::LowestLatency { children: nodes(children), measure: LatencyMeasure::FirstToken },
        "lowest_cost" => Node::LowestCost { children: nodes(children) },
        "usage_based" => Node::UsageBased { children: nodes(children) },
        "consistent_hash" => Node::ConsistentHash { children: nodes(children), by: HashKey::User },
        "canary" => {
            let mut nodes = nodes(children).into_iter();
            let canary = Box::new(nodes.next().unwrap_or_else(blank));
            let mut rest: Vec<Node> = nodes.collect();
            let stable =
                if rest.len() > 1 { Node::Ordered { children: rest } } else { rest.pop().unwrap_or_else(blank) };
            Node::Canary { percent: 5, canary, stable: Box::new(stable) }
        }
        _ => Node::Ordered { children: nodes(children) },
    }
}

fn add(node: &mut Node, child: Node) {
    match node {
        Node::Ordered { children }
        | Node::RoundRobin { children }
        | Node::LeastBusy { children }
        | Node::LowestLatency { children, .. }
        | Node::LowestCost { children }
        | Node::UsageBased { children }
        | Node::ConsistentHash { children, .. } => children.push(child),
        Node::Weighted { children } => children.push(Share { weight: 1, node: child }),
        // A lone target becomes the first of several.
        Node::Deployment { .. } => *node = Node::Ordered { children: vec![node.clone(), child] },
        Node::Conditional { .. } | Node::Canary { .. } => {}
    }
}

/// Says whether a child can be taken away: lists keep their last one, cases and canaries all of theirs.
fn can_remove(node: &Node) -> bool {
    let mut count = 0_usize;
    node.visit_children(&mut |_| count += 1);
    count > 1 && !matches!(node, Node::Conditional { .. } | Node::Canary { .. })
}

/// Takes a child away, if that can be done.
fn remove(node: &mut Node, at: usize) {
    match node {
        Node::Ordered { children }
        | Node::RoundRobin { children }
        | Node::LeastBusy { children }
        | Node::LowestLatency { children, .. }
        | Node::LowestCost { children }
        | Node::UsageBased { children }
        | Node::ConsistentHash { children, .. }
            if children.len() > 1 =>
        {
            children.remove(at);
        }
        Node::Weighted { children } if children.len() > 1 => {
            children.remove(at);
        }
        _ => {}
    }
}

/// The editor at one place of the tree.
#[derive(Clone)]
struct Place {
    board: Switchboard,
    tree: RwSignal<Node>,
    path: Vec<usize>,
}

impl Place {
    fn id(&self, control: &str) -> String {
        let path: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        format!("tree-{}-{control}", path.join("-"))
    }

    fn child(&self, at: usize) -> Self {
        let path = self.path.iter().copied().chain(std::iter::once(at)).collect();
        Self { path, ..self.clone() }
    }

    /// Changes the node here; the control keeps the focus although it is drawn anew.
    fn change(&self, control: &str, change: impl FnOnce(&mut Node)) {
        let focus = self.id(control);
        self.tree.update(|tree| {
            if let Some(node) = node_mut(tree, &self.path) {
                change(node);
            }
        });
        request_animation_frame(move || browser::focus(&focus));
    }

    /// The place of the strategy above, and which of its children this is.
    fn parent(&self) -> Option<(Self, usize)> {
        let (at, path) = self.path.split_last()?;
        Some((Self { path: path.to_vec(), ..self.clone() }, *at))
    }
}

fn deployment_select(place: &Place, id: DeploymentId) -> AnyView {
    let all = place.board.deployments.items().get();
    let is_known = all.iter().any(|deployment| deployment.id == id);
    let options = all.into_iter().map(|deployment| {
        let text = format!("{} ({})", deployment.name, deployment.provider);
        view! { <option value=deployment.id.to_string() selected={deployment.id == id}>{text}</option> }
    });
    let own = place.clone();
    let change = move |event: leptos::ev::Event| {
        if let Ok(deployment_id) = event_target_value(&event).parse() {
            own.change("target", |node| *node = Node::Deployment { deployment_id });
        }
    };
    view! {
        <select id=place.id("target") class="input select select-inline" aria-label="Deployment" on:change=change>
            {(!is_known).then(|| view! { <option value="" selected=true>"Choose a deployment"</option> })}
            {options.collect_view()}
        </select>
    }
    .into_any()
}

fn number_input(
    place: &Place,
    control: &'static str,
    label: &'static str,
    value: u32,
    set: fn(&mut Node, u32),
) -> AnyView {
    let own = place.clone();
    let change = move |event: leptos::ev::Event| {
        if let Ok(value) = event_target_value(&event).trim().parse::<u32>() {
            own.change(control, |node| set(node, value));
        }
    };
    view! { <input id=place.id(control) class="input tree-number" type="number" min="0" aria-label=label value=value.to_string() on:change=change /> }
        .into_any()
}

/// The weight of this child, where the strategy above has weights.
fn weight_input(place: &Place) -> Option<AnyView> {
    let (above, at) = place.parent()?;
    let weight = above.tree.with(|tree| match node_mut(&mut tree.clone(), &above.path) {
        Some(Node::Weighted { children }) => children.get(at).map(|share| share.weight),
        _ => None,
    })?;
    let control = format!("weight-{at}");
    let (id, own) = (above.id(&control), above.clone());
    let change = move |event: leptos::ev::Event| {
        if let Ok(value) = event_target_value(&event).trim().parse::<u32>() {
            own.change(&control, |node| {
                if let Node::Weighted { children } = node
                    && let Some(share) = children.get_mut(at)
                {
                    share.weight = value;
                }
            });
        }
    };
    Some(
        view! { <label class="row nowrap small muted">"Weight" <input id=id class="input tree-number" type="number" min="0" value=weight.to_string() on:change=change /></label> }
            .into_any(),
    )
}

fn remove_button(place: &Place) -> Option<AnyView> {
    let (above, at) = place.parent()?;
    let is_in_list = above.tree.with(|tree| can_remove(node_mut(&mut tree.clone(), &above.path)?).then_some(()));
    is_in_list?;
    let press = Callback::new(move |()| above.change("kind", |node| remove(node, at)));
    Some(view! { <IconButton icon=Icon::Trash label=Signal::stored("Remove".to_owned()) on_press=press /> }.into_any())
}

fn kind_select(place: &Place, node: &Node) -> AnyView {
    let kind = node.kind();
    let is_offered = KINDS.iter().any(|known| known.0 == kind);
    let options = KINDS.map(|(key, text)| view! { <option value=key selected={key == kind}>{text}</option> });
    let own = place.clone();
    let change = move |event: leptos::ev::Event| {
        let kind = event_target_value(&event);
        own.change("kind", |node| *node = strategy(&kind, children_of(node)));
    };
    view! {
        <select id=place.id("kind") class="input select select-inline" aria-label="Strategy" on:change=change>
            {(!is_offered).then(|| view! { <option value="" selected=true>"By condition"</option> })}
            {options}
        </select>
    }
    .into_any()
}

/// What an answer's speed is, at the fastest of several.
const MEASURES: [(&str, &str, LatencyMeasure); 2] = [
    ("first_token", "Time to the first token", LatencyMeasure::FirstToken),
    ("per_token", "Time per token", LatencyMeasure::PerToken),
];

fn measure_select(place: &Place, measure: LatencyMeasure) -> AnyView {
    let options = MEASURES.map(|(key, text, of)| view! { <option value=key selected={of == measure}>{text}</option> });
    let own = place.clone();
    let change = move |event: leptos::ev::Event| {
        let chosen = event_target_value(&event);
        let Some((_, _, to)) = MEASURES.into_iter().find(|known| known.0 == chosen) else { return };
        own.change("measure", |node| {
            if let Node::LowestLatency { measure, .. } = node {
                *measure = to;
            }
        });
    };
    view! { <select id=place.id("measure") class="input select select-inline" aria-label="Fastest by" on:change=change>{options}</select> }
        .into_any()
}

/// What calls have in common that go to the same target.
const KEYS: [(&str, &str); 3] = [("user", "End user"), ("conversation", "Conversation"), ("header", "Header")];

/// The header that is offered first.
const FIRST_HEADER: &str = "x-tenant-id";

fn set_key(node: &mut Node, key: HashKey) {
    if let Node::ConsistentHash { by, .. } = node {
        *by = key;
    }
}

fn key_select(place: &Place, key: &HashKey) -> AnyView {
    let is_chosen = match key {
        HashKey::User => "user",
        HashKey::Conversation => "conversation",
        HashKey::Header { .. } => "header",
    };
    let options = KEYS.map(|(key, text)| view! { <option value=key selected={key == is_chosen}>{text}</option> });
    let own = place.clone();
    let change = move |event: leptos::ev::Event| {
        let key = match event_target_value(&event).as_str() {
            "conversation" => HashKey::Conversation,
            "header" => HashKey::Header { name: FIRST_HEADER.to_owned() },
            _ => HashKey::User,
        };
        own.change("by", |node| set_key(node, key));
    };
    let header = match key {
        HashKey::Header { name } => {
            let own = place.clone();
            let change = move |event: leptos::ev::Event| {
                let name = event_target_value(&event).trim().to_ascii_lowercase();
                own.change("header", |node| set_key(node, HashKey::Header { name }));
            };
            Some(
                view! { <input id=place.id("header") class="input input-code" aria-label="Name of the header" spellcheck="false" value=name.clone() on:change=change /> },
            )
        }
        HashKey::User | HashKey::Conversation => None,
    };
    view! { <select id=place.id("by") class="input select select-inline" aria-label="Sticky by" on:change=change>{options}</select> {header} }
        .into_any()
}

fn node_view(place: &Place, node: &Node) -> AnyView {
    if let Node::Deployment { deployment_id } = node {
        return view! { <div class="row nowrap">{deployment_select(place, *deployment_id)} {weight_input(place)} {remove_button(place)}</div> }.into_any();
    }
    let is_open = !matches!(node, Node::Conditional { .. } | Node::Canary { .. });
    let more = match node {
        Node::Canary { percent, .. } => {
            let set = |node: &mut Node, value: u32| {
                if let Node::Canary { percent, .. } = node {
                    *percent = u8::try_from(value.min(100)).unwrap_or(100);
                }
            };
            Some(
                view! { <label class="row nowrap small muted">"Percent" {number_input(place, "percent", "Percent of calls", u32::from(*percent), set)}</label> }.into_any(),
            )
        }
        Node::LowestLatency { measure, .. } => Some(measure_select(place, *measure)),
        Node::ConsistentHash { by, .. } => Some(key_select(place, by)),
        _ => None,
    };
    let children = branches(node).into_iter().enumerate().map(|(at, branch)| {
        view! { <li class="edit-branch"><span class="tree-edge small">{branch.label}</span> {node_view(&place.child(at), branch.node)}</li> }
    });
    let (for_target, for_group) = (place.clone(), place.clone());
    let add_target = Callback::new(move |()| for_target.change("add", |node| add(node, blank())));
    let add_group = Callback::new(move |()| {
        for_group
            .change("add", |node| add(node, Node::Weighted { children: vec![Share { weight: 1, node: blank() }] }));
    });
    view! {
        <div class="edit-node">
            <div class="row nowrap">{kind_select(place, node)} {more} {weight_input(place)} {remove_button(place)}</div>
            <ul class="edit-branches">{children.collect_view()}</ul>
            {is_open.then(|| view! {
                <div class="row" id=place.id("add") tabindex="-1">
                    <Button size=Size::Small icon=Icon::Plus on_press=add_target>"Add a target"</Button>
                    <Button size=Size::Small icon=Icon::Plus on_press=add_group>"Add a group"</Button>
                </div>
            })}
        </div>
    }
    .into_any()
}

/// The editor of the whole tree.
pub(super) fn view_of(board: Switchboard, tree: RwSignal<Node>) -> AnyView {
    let place = Place { board, tree, path: Vec::new() };
    let several = move || {
        let own = Place { board, tree, path: Vec::new() };
        let press = Callback::new(move |()| own.change("kind", |node| add(node, blank())));
        let is_lone = tree.with(|tree| matches!(tree, Node::Deployment { .. }));
        is_lone.then(|| view! { <div class="row"><Button size=Size::Small icon=Icon::Plus on_press=press>"Add a target"</Button></div> })
    };
    view! { <div class="edit-tree" data-testid="tree-editor">{move || node_view(&place, &tree.get())} {several}</div> }
        .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u128) -> Node {
        Node::Deployment { deployment_id: DeploymentId::from_uuid(n) }
    }

    #[test]
    fn a_lone_target_becomes_the_first_of_several() {
        let mut tree = leaf(1);
        add(&mut tree, blank());
        assert_eq!(tree, Node::Ordered { children: vec![leaf(1), blank()] });
        assert!(!is_complete(&tree));
        remove(&mut tree, 1);
        remove(&mut tree, 0);
        assert_eq!(tree, Node::Ordered { children: vec![leaf(1)] });
        assert!(is_complete(&tree));
    }

    #[test]
    fn another_strategy_keeps_the_children() {
        let weighted = strategy("weighted", vec![(3, leaf(1)), (1, leaf(2)), (2, leaf(3))]);
        assert_eq!(strategy("weighted", children_of(&weighted)), weighted);
        let canary = strategy("canary", children_of(&weighted));
        let stable = Box::new(Node::Ordered { children: vec![leaf(2), leaf(3)] });
        assert_eq!(canary, Node::Canary { percent: 5, canary: Box::new(leaf(1)), stable });
        for (kind, _) in KINDS {
            assert_eq!(strategy(kind, children_of(&weighted)).kind(), kind);
        }
    }

    #[test]
    fn a_change_reaches_only_its_place() {
        let mut tree = Node::Ordered { children: vec![strategy("canary", vec![(1, leaf(1)), (1, leaf(2))]), leaf(3)] };
        *node_mut(&mut tree, &[0, 1]).expect("the proven branch") = leaf(9);
        assert_eq!(model::tree::deployments_of(&tree), [1, 9, 3].map(DeploymentId::from_uuid));
        assert!(node_mut(&mut tree, &[1, 0]).is_none() && node_mut(&mut tree, &[7]).is_none());
    }
}
