//! Accounts: one counter of a budget for each window and each group, and what a call takes from one.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Window;
use crate::{BudgetId, LeaseId, OrganizationId};

/// Longest group key, in bytes.
pub const MAX_GROUP_KEY: usize = 512;

/// Names an account, whichever window is the present one. Ordered: whoever locks several takes them in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The budget.
    pub budget_id: BudgetId,
    /// The window of the limit.
    pub window: Window,
    /// The values by which accounts are kept apart, as [`group_key`] writes them.
    pub group_key: Arc<str>,
}

/// What one call took from one account, or what it may take while it is under way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Charge {
    /// The budget; of the call's organization.
    pub budget_id: BudgetId,
    /// The window of the limit.
    pub window: Window,
    /// The group.
    pub group_key: Arc<str>,
    /// The lease it came out of; it names the window's begin too. Absent for soft budgets, and for what no lease covered: then
    /// the window is the one in which the call began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// How much, in the unit of the budget's measure.
    pub amount: u64,
}

/// Writes the values of a budget's dimensions, in their order, as one text. Different values give different texts; a value that
/// a call lacks is the empty text. Very long ones are cut and told apart by a digest.
#[must_use]
pub fn group_key<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut key = String::new();
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            key.push('|');
        }
        for letter in value.chars() {
            match letter {
                '|' | '\\' => key.extend(['\\', letter]),
                // No database text and no note of the spool holds it.
                '\0' => key.push('\u{fffd}'),
                letter => key.push(letter),
            }
        }
    }
    if key.len() <= MAX_GROUP_KEY {
        return key;
    }
    let digest = crate::audit::hex32::encode(&Sha256::digest(key.as_bytes()));
    let mut end = MAX_GROUP_KEY - digest.len() - 1;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    key.truncate(end);
    key.push('#');
    key.push_str(&digest);
    key
}

/// Reads the values back, to show them.
#[must_use]
pub fn group_values(key: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut letters = key.chars();
    while let Some(letter) = letters.next() {
        let plain = match letter {
            '|' => {
                values.push(String::new());
                continue;
            }
            '\\' => letters.next(),
            letter => Some(letter),
        };
        if let (Some(value), Some(letter)) = (values.last_mut(), plain) {
            value.push(letter);
        }
    }
    values
}
