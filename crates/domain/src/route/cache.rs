//! Whether a route gives the same answer again, for how long, and to whom.

/// Giving answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// For which calls.
    pub mode: CacheMode,
    /// How long an answer may be given again, in seconds; a request may ask for less. 0 keeps none.
    pub ttl_s: u32,
    /// Who shares answers.
    pub scope: CacheScope,
    /// Whether a call waits for an identical one that is under way and takes its answer. Whole answers only, at one node.
    pub coalesce: bool,
}

impl Cache {
    /// The longest time, in seconds: thirty days.
    pub const MAX_TTL_S: u32 = 30 * 24 * 3_600;
}

impl Default for Cache {
    fn default() -> Self {
        Self { mode: CacheMode::Always, ttl_s: 300, scope: CacheScope::Key, coalesce: false }
    }
}

/// Which calls of a route may get an answer again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Those that do not say `x-headgate-cache: off`.
    #[default]
    Always,
    /// Those that ask for it, with `x-headgate-cache` or `x-headgate-cache-ttl`.
    OnRequest,
}

/// Who shares answers. Never more than a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// The calls of one virtual key.
    #[default]
    Key,
    /// The calls for one end user (`x-headgate-user`) in one environment; a call without one keeps and gets nothing.
    EndUser,
    /// All keys of an environment.
    Environment,
    /// All environments of the workspace.
    Workspace,
}

impl CacheScope {
    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::EndUser => "end_user",
            Self::Environment => "environment",
            Self::Workspace => "workspace",
        }
    }
}
