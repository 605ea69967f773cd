//! What a route does beyond choosing: where failures lead, what runs beside a call, what a request may ask for.

use super::Cache;
use crate::DeploymentId;

/// The rules of a route. All have defaults, so that an empty object is a set of rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// What follows a failure, at most one rule for each kind of it. Without a rule the next target is tried, except after a
    /// failure that is a fact about the request (context overflow, content filter): that one ends the call.
    pub fallbacks: Vec<Fallback>,
    /// Ask a second target when the first one is slow to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// Send copies of some calls to another deployment and throw the answers away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// How often the same target may be tried again, and a second one be asked early.
    pub retry_budget: RetryBudget,
    /// What follows when a stream breaks after its first byte.
    pub on_stream_failure: StreamFailure,
    /// Whether parts of a request that a target cannot express may be left out; they are named in `x-headgate-dropped`.
    pub dropped: Dropped,
    /// Whether a request may choose among the targets (`provider`, `models`, `:nitro`, `:floor`).
    pub overrides: Overrides,
    /// What keeps a conversation on one deployment.
    pub affinity: Affinity,
    /// How often a node asks a deployment that is out, or that nothing was sent to for so long, for a sign of life: the upstream's
    /// list of models, which costs nothing. Off unless told; 10 000 at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_interval_ms: Option<u32>,
    /// Time over which a deployment that came back is given its share again.
    pub slow_start_ms: SlowStart,
    /// Whether `x-headgate-rehearse` may make a target fail.
    pub is_rehearsal_allowed: bool,
    /// Give the same answer again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// What follows one kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The kind.
    pub on: FailureClass,
    /// What is tried next, also when the tree does not have it; empty for what the tree says.
    #[serde(default)]
    pub to: Vec<DeploymentId>,
    /// End the call instead.
    #[serde(default)]
    pub stop: bool,
}

/// Kinds of failures that lead to different places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The upstream failed, broke off, could not be reached or refused the credential.
    Error,
    /// No answer in time.
    Timeout,
    /// Too many requests or tokens, or an upstream that says it is full.
    RateLimit,
    /// The prompt does not fit the model.
    ContextWindow,
    /// The provider's policy refused the content.
    ContentFilter,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Error, Self::Timeout, Self::RateLimit, Self::ContextWindow, Self::ContentFilter];

    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::ContextWindow => "context_window",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// When a second target is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// Silence of the first target before the second is asked.
    pub after_ms: u32,
}

/// Copies of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// Where the copies go.
    pub deployment_id: DeploymentId,
    /// The share of calls that are copied.
    pub percent: u8,
}

/// Tries that a route may make beyond one per target and call, over all calls of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// How many may come at once.
    pub burst: u32,
    /// How many more are earned each second.
    pub per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { burst: 20, per_second: 10 }
    }
}

/// Milliseconds of a slow start; ten seconds unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct SlowStart(pub u32);

impl Default for SlowStart {
    fn default() -> Self {
        Self(10_000)
    }
}

/// What follows when a stream breaks after its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StreamFailure {
    /// The stream ends with an error event of the client's dialect.
    #[default]
    Error,
    /// Another target goes on from the text that was already sent. Only plain text: an answer with tool calls, and one of
    /// several choices, ends with the error event.
    Continue,
}

/// Whether parts of a request may be left out at a target that cannot express them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// They are left out and named.
    #[default]
    Allowed,
    /// The target is passed over; when none is left, the call is refused.
    Refused,
}

/// Whether a request may choose among the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Overrides {
    /// It may, among those of the route.
    #[default]
    Allowed,
    /// A request that tries is refused.
    Refused,
}

/// What keeps a conversation on one deployment while that is healthy, so that its provider's prompt cache is met again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Nothing.
    Off,
    /// `x-headgate-conversation-id` or the body's `prompt_cache_key`, when a request has one.
    #[default]
    Conversation,
    /// Also without either: the system prompt and the first message.
    Prefix,
}

impl Rules {
    /// Calls `visit` with every deployment that the rules name.
    pub fn visit_deployments(&self, visit: &mut impl FnMut(DeploymentId)) {
        self.fallbacks.iter().flat_map(|fallback| &fallback.to).for_each(|id| visit(*id));
        self.shadow.iter().for_each(|shadow| visit(shadow.deployment_id));
    }

    /// Returns the rule for a class of failures.
    #[must_use]
    pub fn fallback(&self, on: FailureClass) -> Option<&Fallback> {
        self.fallbacks.iter().find(|fallback| fallback.on == on)
    }
}
