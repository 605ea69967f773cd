//! How a route chooses: deployments as leaves, strategies over them. Not the choosing itself (`policy::plan`).
//!
//! The JSON form is the one that the management API, the store and the nodes share. What it accepts is decided in one place,
//! [`super::check`], which the console uses too.

use crate::{BudgetId, DeploymentId};

/// A deployment, or a strategy over other nodes.
///
/// Every strategy puts its children into an order; the first is tried first and the others are what is left to fall back on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Node {
    /// One deployment.
    Deployment {
        /// Which one.
        deployment_id: DeploymentId,
    },
    /// As listed.
    Ordered {
        /// First to last.
        children: Vec<Self>,
    },
    /// By chance, in proportion to weights.
    Weighted {
        /// The children with their weights.
        children: Vec<Share>,
    },
    /// In turn.
    RoundRobin {
        /// The children.
        children: Vec<Self>,
    },
    /// The one with the fewest calls in flight at the node.
    LeastBusy {
        /// The children.
        children: Vec<Self>,
    },
    /// The one that lately was the fastest (peak EWMA times calls in flight).
    LowestLatency {
        /// The children.
        children: Vec<Self>,
        /// What counts as fast.
        #[serde(default)]
        measure: LatencyMeasure,
    },
    /// The one with the lowest price for a call of this size; what has no price comes last.
    LowestCost {
        /// The children.
        children: Vec<Self>,
    },
    /// The one that was given the fewest tokens in the last minute at the node.
    UsageBased {
        /// The children.
        children: Vec<Self>,
    },
    /// The same child for the same key; when children come or go, only their share moves. By chance without a key.
    ConsistentHash {
        /// The children.
        children: Vec<Self>,
        /// The key.
        by: HashKey,
    },
    /// The first case that holds, else the other way. Nothing falls back from one branch to another.
    Conditional {
        /// Asked in order.
        cases: Vec<Case>,
        /// When no case holds.
        otherwise: Box<Self>,
    },
    /// A share of the calls tries something new first and falls back on what is proven; the others never see it.
    Canary {
        /// The share of calls, in percent.
        percent: u8,
        /// What is new.
        canary: Box<Self>,
        /// What is proven.
        stable: Box<Self>,
    },
}

/// A child with a weight.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Its share among its siblings; 0 means only when nothing else is left.
    pub weight: u32,
    /// What gets the share.
    pub node: Node,
}

/// What counts as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LatencyMeasure {
    /// Time to the first token of a stream.
    #[default]
    FirstToken,
    /// Time per output token.
    PerToken,
}

/// What a hash is taken of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum HashKey {
    /// The end user: `x-headgate-user`, else the body's `user`.
    User,
    /// The conversation: `x-headgate-conversation-id`, else the body's `prompt_cache_key`.
    Conversation,
    /// A header of the request.
    Header {
        /// Its name in lower case.
        name: String,
    },
}

/// A branch and when to take it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// All of them must hold; at least one.
    pub when: Vec<Test>,
    /// The branch.
    pub node: Node,
}

/// A bound on a number of a request. Written as whole where it is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Bound(pub f64);

/// JSON has no number that is not itself.
impl Eq for Bound {}

impl serde::Serialize for Bound {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "compared with what it was made of")]
        let whole = self.0 as i32;
        #[expect(clippy::float_cmp, reason = "a number is whole or it is not")]
        if f64::from(whole) == self.0 { serializer.serialize_i32(whole) } else { serializer.serialize_f64(self.0) }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A fact about a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "test", rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// A pair of `x-headgate-metadata` has one of these values.
    Metadata {
        /// The pair's name.
        name: String,
        /// Values, or prefixes ending in `*`.
        is: Vec<String>,
    },
    /// A header has one of these values.
    Header {
        /// Its name in lower case.
        name: String,
        /// Values, or prefixes ending in `*`.
        is: Vec<String>,
    },
    /// One of these is among `x-headgate-tags`.
    Tag {
        /// Tags, or prefixes ending in `*`.
        is: Vec<String>,
    },
    /// The model that the client asked for is one of these; tells variants of a name apart.
    Model {
        /// Names, or prefixes ending in `*`.
        is: Vec<String>,
    },
    /// A stream is asked for, or not.
    Stream {
        /// Which of both.
        is: bool,
    },
    /// Tools are offered, or not.
    Tools {
        /// Which of both.
        is: bool,
    },
    /// The prompt holds images, or not.
    Images {
        /// Which of both.
        is: bool,
    },
    /// An answer of a given shape (JSON mode or schema) is asked for, or not.
    Schema {
        /// Which of both.
        is: bool,
    },
    /// The cap on output tokens lies within these bounds; a request without one does not.
    MaxTokens {
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<u64>,
        /// The most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u64>,
    },
    /// The estimated input tokens lie within these bounds.
    InputTokens {
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<u64>,
        /// The most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u64>,
    },
    /// A field of the request's body, other than its content, has one of these values or lies within these bounds.
    Parameter {
        /// The field; a dot goes into an object (`reasoning.effort`).
        name: String,
        /// Values as text, or prefixes ending in `*`; numbers and booleans as JSON writes them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        is: Vec<String>,
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<Bound>,
        /// The most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Bound>,
    },
    /// What is left of a budget that binds the call lies within these bounds, as far as the node knows; what it has not heard of
    /// does not.
    BudgetLeft {
        /// The budget; without it, the tightest of those that bind the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget_id: Option<BudgetId>,
        /// The least, in percent of its limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<u8>,
        /// The most, in percent of its limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u8>,
    },
    /// The time of day lies within `[from, until)`; a range whose end is before its start goes over midnight.
    Time {
        /// Minutes since midnight.
        from_minute: u16,
        /// Minutes since midnight.
        until_minute: u16,
        /// The days on which the range begins, 1 for Monday to 7 for Sunday; empty for every day.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        days: Vec<u8>,
        /// Minutes to add to UTC.
        #[serde(default)]
        utc_offset_minutes: i16,
    },
}

impl Node {
    /// Calls `visit` with every deployment of the tree, from left to right.
    pub fn visit_deployments(&self, visit: &mut impl FnMut(DeploymentId)) {
        match self {
            Self::Deployment { deployment_id } => visit(*deployment_id),
            _ => self.visit_children(&mut |child| child.visit_deployments(visit)),
        }
    }

    /// Calls `visit` with every child.
    pub fn visit_children<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match self {
            Self::Deployment { .. } => {}
            Self::Ordered { children }
            | Self::RoundRobin { children }
            | Self::LeastBusy { children }
            | Self::LowestLatency { children, .. }
            | Self::LowestCost { children }
            | Self::UsageBased { children }
            | Self::ConsistentHash { children, .. } => children.iter().for_each(visit),
            Self::Weighted { children } => children.iter().for_each(|share| visit(&share.node)),
            Self::Conditional { cases, otherwise } => {
                for case in cases {
                    visit(&case.node);
                }
                visit(otherwise);
            }
            Self::Canary { canary, stable, .. } => {
                visit(canary);
                visit(stable);
            }
        }
    }

    /// Returns the stable name of the strategy; `deployment` for a leaf.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Deployment { .. } => "deployment",
            Self::Ordered { .. } => "ordered",
            Self::Weighted { .. } => "weighted",
            Self::RoundRobin { .. } => "round_robin",
            Self::LeastBusy { .. } => "least_busy",
            Self::LowestLatency { .. } => "lowest_latency",
            Self::LowestCost { .. } => "lowest_cost",
            Self::UsageBased { .. } => "usage_based",
            Self::ConsistentHash { .. } => "consistent_hash",
            Self::Conditional { .. } => "conditional",
            Self::Canary { .. } => "canary",
        }
    }
}
