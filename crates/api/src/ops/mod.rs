//! The operation table, one file per aggregate, and the parameters they share.

pub mod access_tokens;
pub mod alerts;
pub mod audit;
pub mod auth;
pub mod billing;
pub mod budgets;
pub mod credentials;
pub mod deployments;
pub mod environments;
pub mod found_secrets;
pub mod kill_switches;
pub mod ledger;
pub mod members;
pub mod models;
pub mod nodes;
pub mod organizations;
pub mod rate_limits;
pub mod reconciliations;
pub mod reports;
pub mod routes;
pub mod usage;
pub mod virtual_keys;
pub mod workspaces;

use domain::page::Cursor;
use domain::{OrganizationId, WorkspaceId};

use crate::operation::{Meta, shapes};

/// Every operation of the management API.
pub fn all() -> impl Iterator<Item = &'static Meta> {
    [
        auth::ALL,
        found_secrets::ALL,
        organizations::ALL,
        workspaces::ALL,
        environments::ALL,
        members::ALL,
        access_tokens::ALL,
        credentials::ALL,
        models::ALL,
        deployments::ALL,
        routes::ALL,
        virtual_keys::ALL,
        budgets::ALL,
        rate_limits::ALL,
        kill_switches::ALL,
        alerts::ALL,
        usage::ALL,
        ledger::ALL,
        reports::ALL,
        billing::ALL,
        reconciliations::ALL,
        audit::ALL,
        nodes::ALL,
    ]
    .into_iter()
    .flatten()
}

/// The overlap of a rotation, unless told.
const fn one_day() -> u64 {
    24 * 3_600
}

shapes! {
    /// No path parameters.
    #[derive(Copy, Eq, Default)]
    pub struct NoPath {}

    /// An organization.
    #[derive(Copy, Eq)]
    pub struct OrganizationPath {
        /// The organization.
        pub organization_id: OrganizationId,
    }

    /// A workspace.
    #[derive(Copy, Eq)]
    pub struct WorkspacePath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
    }

    /// A page of a list.
    #[derive(Eq, Default)]
    pub struct PageQuery {
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<Cursor>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Access, Method};
    use std::collections::HashSet;

    #[test]
    fn names_and_places_are_unique() {
        let mut names = HashSet::new();
        let mut places = HashSet::new();
        for meta in all() {
            assert!(names.insert(meta.name), "{} is declared twice", meta.name);
            assert!(
                places.insert((meta.method, meta.path)),
                "{} {} is declared twice",
                meta.method.as_str(),
                meta.path
            );
        }
    }

    #[test]
    fn the_path_names_what_the_permission_is_checked_on() {
        for meta in all() {
            match meta.access {
                Access::Organization(_) => {
                    assert!(meta.path.starts_with("/organizations/{organization_id}"), "{}", meta.name);
                }
                Access::Workspace(_) => assert!(meta.path.starts_with("/workspaces/{workspace_id}"), "{}", meta.name),
                Access::Public | Access::SignedIn | Access::Operator => {}
            }
            assert!(!meta.summary.trim().is_empty(), "{}", meta.name);
            assert!(meta.method != Method::Patch || meta.status == 200, "{}", meta.name);
        }
    }
}
