//! How much may be spent, on what, and in which window: the entity, its accounts, and what calls take from them.
//!
//! Amounts are whole nano-dollars, tokens or requests, as the [`Measure`] says; [`Amount`] is their form for people. Windows are
//! named here and computed in the control plane alone, since it alone knows time zones. How money reaches a node is in
//! [`crate::lease`]. Invariant: what decides where a call counts (measure, grouping, time zone, scope) never changes under an id.

mod account;
mod amount;
mod check;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use account::{AccountKey, Charge, MAX_GROUP_KEY, group_key, group_values};
pub use amount::Amount;
pub use check::Flaw;
pub(crate) use check::{check_grouping, check_subject, flaw};

use crate::usage::text_enum;
use crate::{
    BudgetId, DisplayName, EnvironmentId, ModelPattern, OrganizationId, RouteId, Timestamp, VirtualKeyId, WorkspaceId,
};

text_enum! {
    /// What a budget counts.
    Measure {
        /// Money, in nano-dollars.
        Cost = "cost",
        /// Tokens, read and written.
        Tokens = "tokens",
        /// Calls.
        Requests = "requests",
    }
}

text_enum! {
    /// After what time an amount is there anew. Windows follow the calendar of the budget's time zone; hours are those of UTC.
    Window {
        /// An hour.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// A week from Monday on.
        Week = "week",
        /// A month.
        Month = "month",
        /// Three months from January, April, July or October on.
        Quarter = "quarter",
        /// Never.
        Total = "total",
    }
}

text_enum! {
    /// What happens at the end of an amount.
    Enforcement {
        /// Calls are refused before they could go beyond it.
        Hard = "hard",
        /// Calls are counted; none is refused.
        Soft = "soft",
    }
}

text_enum! {
    /// What a node does with calls of a hard budget while the control plane cannot be asked and what was leased is used up.
    WhenUnreachable {
        /// They are refused.
        Refuse = "refuse",
        /// They are served and booked, beyond the amount if need be.
        Allow = "allow",
    }
}

/// One thing by which a budget keeps apart accounts. Its text form is a name, or `metadata:` and the name of a pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The workspace of the key.
    Workspace,
    /// The environment of the key.
    Environment,
    /// The key.
    VirtualKey,
    /// Whom the client says it calls for.
    EndUser,
    /// The model as the client asks for it.
    Model,
    /// The provider that answers.
    Provider,
    /// The route that is taken.
    Route,
    /// The value of a pair of the call's metadata.
    Metadata(Box<str>),
}

/// The text names nothing that accounts can be kept apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use workspace, environment, virtual_key, end_user, model, provider, route, or metadata: followed by a name")]
pub struct UnknownDimension;

impl Dimension {
    const NAMED: [(Self, &'static str); 7] = [
        (Self::Workspace, "workspace"),
        (Self::Environment, "environment"),
        (Self::VirtualKey, "virtual_key"),
        (Self::EndUser, "end_user"),
        (Self::Model, "model"),
        (Self::Provider, "provider"),
        (Self::Route, "route"),
    ];
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Metadata(name) = self {
            return write!(f, "metadata:{name}");
        }
        let named = Self::NAMED.iter().find(|(dimension, _)| dimension == self);
        f.write_str(named.map_or("", |(_, text)| text))
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Self, UnknownDimension> {
        if let Some(name) = text.strip_prefix("metadata:") {
            let is_sound = (1..=Budget::MAX_TEXT).contains(&name.len()) && !name.chars().any(char::is_control);
            return if is_sound { Ok(Self::Metadata(name.into())) } else { Err(UnknownDimension) };
        }
        let named = Self::NAMED.iter().find(|(_, known)| *known == text);
        named.map(|(dimension, _)| dimension.clone()).ok_or(UnknownDimension)
    }
}

impl serde::Serialize for Dimension {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Dimension {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which calls count. All conditions must hold; one that is empty holds for every call of the budget's scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subject {
    /// Of one of these environments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_ids: Vec<EnvironmentId>,
    /// By one of these keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub virtual_key_ids: Vec<VirtualKeyId>,
    /// For one of these end users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub end_users: Vec<String>,
    /// With each of these names, and one of its values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Vec<String>>,
    /// With one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// For one of these models, as the client asks for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelPattern>,
    /// Answered by one of these providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// By one of these routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route_ids: Vec<RouteId>,
}

/// An amount and the time after which it is there anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limit {
    /// The time; each at most once in a budget.
    pub window: Window,
    /// The amount, in the unit of the measure; 0 lets nothing through.
    pub amount: u64,
}

/// More for a while, on top of each limit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Increase {
    /// How much more.
    pub amount: u64,
    /// Until when.
    pub expires_at: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// A budget of an organization, or of one of its workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The only workspace whose calls count; absent for all.
    pub workspace_id: Option<WorkspaceId>,
    /// Its name for people; errors name it.
    pub name: DisplayName,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it counts at all.
    pub is_enabled: bool,
    /// Which calls count.
    pub subject: Subject,
    /// By what accounts are kept apart; empty for a single one.
    pub group_by: Vec<Dimension>,
    /// What is counted.
    pub measure: Measure,
    /// The amounts; 1 to 6, of different windows.
    pub limits: Vec<Limit>,
    /// The IANA name of the time zone whose calendar the windows follow.
    pub time_zone: String,
    /// What happens at the end.
    pub enforcement: Enforcement,
    /// What happens while the control plane cannot be asked.
    pub when_unreachable: WhenUnreachable,
    /// Percents of an amount that are worth a word, ascending.
    pub alert_at: Vec<u8>,
    /// More for a while.
    pub increase: Option<Increase>,
    /// Whether what was left of a window is added to the next, at most one amount.
    pub carries_over: bool,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

impl Budget {
    /// The largest amount: a billion dollars. Three of them and their sum are far from the bounds of a stored number.
    pub const MAX_AMOUNT: u64 = 1_000_000_000_000_000_000;
    /// Most dimensions that accounts are kept apart by.
    pub const MAX_DIMENSIONS: usize = 4;
    /// Most values of one condition.
    pub const MAX_VALUES: usize = 256;
    /// Longest value of a condition, in bytes.
    pub const MAX_TEXT: usize = 256;
    /// Longest description and longest reason, in characters.
    pub const MAX_DESCRIPTION: usize = 1_000;
    /// Most percents that are worth a word.
    pub const MAX_ALERTS: usize = 8;

    /// Returns the amount of a window, without what was carried over; `None` when the budget has no such limit.
    #[must_use]
    pub fn amount(&self, window: Window, at: Timestamp) -> Option<u64> {
        let limit = self.limits.iter().find(|limit| limit.window == window)?;
        let more = self.increase.as_ref().filter(|increase| at < increase.expires_at);
        Some(limit.amount.saturating_add(more.map_or(0, |increase| increase.amount)))
    }

    /// Finds the first flaw.
    pub fn check(&self) -> Result<(), Flaw> {
        check::check(self)
    }
}

#[cfg(test)]
mod tests;
