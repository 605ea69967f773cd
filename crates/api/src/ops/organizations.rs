//! Organizations.

use domain::{DisplayName, OrganizationId, Permission, Slug, Timestamp};

use super::{NoPath, OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the organizations one belongs to.
    ListOrganizations: Get "/organizations" as "organizations.list"
        needs Access::SignedIn, path NoPath, query PageQuery, body Empty, gives 200 domain::Page<OrganizationView>;

    /// Creates an organization with a first workspace; the creator owns it.
    CreateOrganization: Post "/organizations" as "organizations.create"
        needs Access::Operator, path NoPath, query NoQuery, body NewOrganization, gives 201 OrganizationView;

    /// Shows an organization.
    GetOrganization: Get "/organizations/{organization_id}" as "organizations.get"
        needs Access::Organization(Permission::OrganizationRead), path OrganizationPath, query NoQuery, body Empty, gives 200 OrganizationView;

    /// Renames an organization or changes its settings.
    UpdateOrganization: Patch "/organizations/{organization_id}" as "organizations.update"
        needs Access::Organization(Permission::OrganizationUpdate), path OrganizationPath, query NoQuery, body OrganizationChange, gives 200 OrganizationView;
}

shapes! {
    /// An organization.
    #[derive(Eq)]
    pub struct OrganizationView {
        /// Its id.
        pub id: OrganizationId,
        /// Unique in the installation.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
        /// How long a node without its control plane may go on verifying keys, in seconds.
        pub max_stale_secs: u64,
        /// How long answers of the responses surface are kept for later calls, in seconds; 0 keeps none.
        pub response_retention_secs: u64,
        /// The newest revision of its policy.
        pub policy_revision: u64,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
    }

    /// A new organization.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewOrganization {
        /// Unique in the installation.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
    }

    /// Changes to an organization.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct OrganizationChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new stale age, 60 to 2 592 000 seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_stale_secs: Option<u64>,
        /// A new retention of responses, 0 to 34 560 000 seconds; 0 keeps none from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub response_retention_secs: Option<u64>,
    }
}
