//! Access tokens for the management API.

use domain::secret::RevocationCause;
use domain::{AccessTokenId, DisplayName, Email, OrganizationId, Permission, Timestamp, UserId};

use super::{OrganizationPath, PageQuery};
use crate::field::Field;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists access tokens: one's own, and everybody's with `access_tokens:read`.
    ListAccessTokens: Get "/organizations/{organization_id}/access-tokens" as "access_tokens.list"
        needs Access::Organization(Permission::AccessTokensCreate), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<AccessTokenView>;

    /// Creates an access token for oneself; the secret is in the reply and never again.
    CreateAccessToken: Post "/organizations/{organization_id}/access-tokens" as "access_tokens.create"
        needs Access::Organization(Permission::AccessTokensCreate), path OrganizationPath, query NoQuery, body NewAccessToken, gives 201 IssuedAccessTokenView;

    /// Gives an access token of one's own a new secret; the old one goes on working for the overlap.
    RotateAccessToken: Post "/organizations/{organization_id}/access-tokens/{access_token_id}/rotate" as "access_tokens.rotate"
        needs Access::Organization(Permission::AccessTokensCreate), path AccessTokenPath, query NoQuery, body TokenRotation, gives 200 IssuedAccessTokenView;

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
        /// When it got the secret it has now, if that is not its first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rotated_at: Option<Timestamp>,
        /// During a rotation: when the old secret stops working.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub old_secret_retires_at: Option<Timestamp>,
        /// During a rotation: the last use of the old secret, in steps of a minute; absent when there was none since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub old_secret_last_used_at: Option<Timestamp>,
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

    /// How to rotate an access token.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct TokenRotation {
        /// How long the old secret goes on working, in seconds; 0 to 2 592 000, one day unless told. It never works longer than it
        /// would have without the rotation.
        #[serde(default = "super::one_day")]
        pub overlap_secs: u64,
        /// When the token stops working from now on, or null for never; absent: as before.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub expires_at: Field<Timestamp>,
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
