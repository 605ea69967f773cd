//! Access tokens for the management API.

use domain::secret::RevocationCause;
use domain::{AccessTokenId, DisplayName, Email, OrganizationId, Permission, Timestamp, UserId};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists access tokens: one's own, and everybody's with `access_tokens:read`.
    ListAccessTokens: Get "/organizations/{organization_id}/access-tokens" as "access_tokens.list"
        needs Access::Organization(Permission::AccessTokensCreate), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<AccessTokenView>;

    /// Creates an access token for oneself; the secret is in the reply and never again.
    CreateAccessToken: Post "/organizations/{organization_id}/access-tokens" as "access_tokens.create"
        needs Access::Organization(Permission::AccessTokensCreate), path OrganizationPath, query NoQuery, body NewAccessToken, gives 201 IssuedAccessTokenView;

    /// Revokes an access token: one's own, or anybody's with `access_tokens:revoke`.
    RevokeAccessToken: Delete "/organizations/{organization_id}/access-tokens/{access_token_id}" as "access_tokens.revoke"
        needs Access::Organization(Permission::AccessTokensCreate), path AccessTokenPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// An access token of an organization.
    #[derive(Copy, Eq)]
    pub struct AccessTokenPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The token.
        pub access_token_id: AccessTokenId,
    }

    /// An access token without its secret.
    #[derive(Eq)]
    pub struct AccessTokenView {
        /// Its id.
        pub id: AccessTokenId,
        /// Its owner.
        pub user_id: UserId,
        /// Its owner's address.
        pub email: Email,
        /// For people.
        pub name: DisplayName,
        /// The public part of the secret.
        pub hint: String,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it stops working.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// Why, when nobody with the right to revoke it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revoked_because: Option<RevocationCause>,
        /// Its last use, in steps of a minute.
        pub last_used_at: Option<Timestamp>,
    }

    /// A new access token.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewAccessToken {
        /// For people.
        pub name: DisplayName,
        /// When it stops working; absent for never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_at: Option<Timestamp>,
    }

    /// An access token with its secret.
    #[derive(Eq)]
    pub struct IssuedAccessTokenView {
        /// The token.
        pub access_token: AccessTokenView,
        /// The secret. Shown once.
        pub secret: String,
    }
}
