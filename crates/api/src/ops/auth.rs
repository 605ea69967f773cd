//! Signing in and out, and what is one's own.

use domain::{DisplayName, Email, OrganizationId, Permission, Role, SessionId, Slug, Timestamp, UserId, WorkspaceId};

use super::{NoPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Signs in with e-mail and password; sets the session cookie.
    Login: Post "/auth/login" as "auth.login"
        needs Access::Public, path NoPath, query NoQuery, body NewLogin, gives 200 MeView;

    /// Ends the session and clears its cookie.
    Logout: Post "/auth/logout" as "auth.logout"
        needs Access::SignedIn, path NoPath, query NoQuery, body Empty, gives 204 Empty;

    /// Tells who is asking and what they may do where.
    Me: Get "/me" as "auth.me"
        needs Access::SignedIn, path NoPath, query NoQuery, body Empty, gives 200 MeView;

    /// Changes one's own password; every other session of the person ends.
    ChangePassword: Post "/me/password" as "auth.change_password"
        needs Access::SignedIn, path NoPath, query NoQuery, body PasswordChange, gives 204 Empty;

    /// Lists one's own sessions, newest first.
    ListSessions: Get "/me/sessions" as "sessions.list"
        needs Access::SignedIn, path NoPath, query PageQuery, body Empty, gives 200 domain::Page<SessionView>;

    /// Ends one of one's own sessions.
    RevokeSession: Delete "/me/sessions/{session_id}" as "sessions.revoke"
        needs Access::SignedIn, path SessionPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// E-mail and password.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewLogin {
        /// The address.
        pub email: String,
        /// The password, at most 128 characters.
        pub password: String,
    }

    /// Old and new password.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct PasswordChange {
        /// What holds now.
        pub current_password: String,
        /// What shall hold: 12–128 characters, not easily guessed.
        pub new_password: String,
    }

    /// One of one's own sessions.
    #[derive(Copy, Eq)]
    pub struct SessionPath {
        /// The session.
        pub session_id: SessionId,
    }

    /// Who is asking.
    #[derive(Eq)]
    pub struct MeView {
        /// The person.
        pub user: UserView,
        /// The organizations they see, with what they may do there.
        pub organizations: Vec<MembershipView>,
        /// Whether they may act for the whole installation (owner of its first organization).
        pub is_operator: bool,
        /// Where the gateway is, for snippets; absent when no gateway has told.
        pub gateway_url: Option<String>,
        /// The release of the server.
        pub build: String,
    }

    /// A person.
    #[derive(Eq)]
    pub struct UserView {
        /// Their id.
        pub id: UserId,
        /// Their address.
        pub email: Email,
        /// Their name.
        pub name: DisplayName,
        /// Whether they must choose a new password first.
        pub must_change_password: bool,
    }

    /// What one may do in an organization.
    #[derive(Eq)]
    pub struct MembershipView {
        /// The organization.
        pub organization_id: OrganizationId,
        /// Its slug.
        pub slug: Slug,
        /// Its name.
        pub name: DisplayName,
        /// Roles bound on the organization.
        pub roles: Vec<Role>,
        /// What those roles allow, in the organization and in every workspace of it.
        pub permissions: Vec<Permission>,
        /// The workspaces one sees.
        pub workspaces: Vec<WorkspaceAccessView>,
    }

    /// What one may do in a workspace.
    #[derive(Eq)]
    pub struct WorkspaceAccessView {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// Its slug.
        pub slug: Slug,
        /// Its name.
        pub name: DisplayName,
        /// What all one's roles together allow in it.
        pub permissions: Vec<Permission>,
    }

    /// A signed-in browser.
    #[derive(Eq)]
    pub struct SessionView {
        /// Its id.
        pub id: SessionId,
        /// When it began.
        pub created_at: Timestamp,
        /// Its last request.
        pub last_seen_at: Timestamp,
        /// Its address at sign-in.
        pub ip: Option<String>,
        /// Its own description at sign-in.
        pub user_agent: Option<String>,
        /// Whether it is the one that asks.
        pub is_current: bool,
    }
}
