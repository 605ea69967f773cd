//! Provider credentials.

use domain::credential::DataPolicy;
use domain::{CredentialId, DisplayName, OrganizationId, Permission, Timestamp};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists credentials; their secrets cannot be read.
    ListCredentials: Get "/organizations/{organization_id}/credentials" as "credentials.list"
        needs Access::Organization(Permission::CredentialsRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<CredentialView>;

    /// Stores a credential; its secret is sealed and bound to the address.
    CreateCredential: Post "/organizations/{organization_id}/credentials" as "credentials.create"
        needs Access::Organization(Permission::CredentialsManage), path OrganizationPath, query NoQuery, body NewCredential, gives 201 CredentialView;

    /// Shows a credential without its secret.
    GetCredential: Get "/organizations/{organization_id}/credentials/{credential_id}" as "credentials.get"
        needs Access::Organization(Permission::CredentialsRead), path CredentialPath, query NoQuery, body Empty, gives 200 CredentialView;

    /// Renames a credential, or replaces its secret. A new address wants the secret again.
    UpdateCredential: Patch "/organizations/{organization_id}/credentials/{credential_id}" as "credentials.update"
        needs Access::Organization(Permission::CredentialsManage), path CredentialPath, query NoQuery, body CredentialChange, gives 200 CredentialView;

    /// Archives a credential and destroys its secret; deployments that use it stop serving.
    ArchiveCredential: Delete "/organizations/{organization_id}/credentials/{credential_id}" as "credentials.archive"
        needs Access::Organization(Permission::CredentialsManage), path CredentialPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A credential of an organization.
    #[derive(Copy, Eq)]
    pub struct CredentialPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The credential.
        pub credential_id: CredentialId,
    }

    /// A credential without its secret.
    #[derive(Eq)]
    pub struct CredentialView {
        /// Its id.
        pub id: CredentialId,
        /// The provider's name.
        pub provider: String,
        /// For people.
        pub name: DisplayName,
        /// The address the secret may be sent to.
        pub base_url: String,
        /// The last four characters of the secret, when it is long enough.
        pub hint: String,
        /// Whether there is a secret.
        pub has_secret: bool,
        /// Whether calls to the provider's own API (`/passthrough/…`) may be signed with it.
        #[serde(default)]
        pub allows_passthrough: bool,
        /// What the provider does with what is sent under it, as the contract says; absent: nobody said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub data_policy: Option<DataPolicy>,
        /// How many deployments use it.
        pub n_deployments: u64,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A new credential.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewCredential {
        /// The provider's name, from the list of providers.
        pub provider: String,
        /// For people.
        pub name: DisplayName,
        /// The address; absent for the provider's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base_url: Option<String>,
        /// The secret; absent for upstreams that want none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub secret: Option<String>,
        /// Whether calls to the provider's own API (`/passthrough/…`) may be signed with it; not unless told.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub allows_passthrough: bool,
        /// What the provider does with what is sent under it, as the contract says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub data_policy: Option<DataPolicy>,
    }

    /// Changes to a credential.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct CredentialChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new address; a new origin wants `secret` too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base_url: Option<String>,
        /// A new secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub secret: Option<String>,
        /// Whether calls to the provider's own API (`/passthrough/…`) may be signed with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub allows_passthrough: Option<bool>,
        /// What the provider does with what is sent under it; an empty text: nobody says any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub data_policy: Option<String>,
    }
}
