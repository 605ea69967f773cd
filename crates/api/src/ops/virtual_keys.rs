//! Virtual keys of a workspace.

use domain::secret::RevocationCause;
use domain::virtual_key::KeyStatus;
use domain::{DisplayName, EnvironmentId, ModelPattern, Permission, Timestamp, UserId, VirtualKeyId, WorkspaceId};

use super::WorkspacePath;
use crate::field::Field;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists virtual keys, newest first; their secrets cannot be read.
    ListVirtualKeys: Get "/workspaces/{workspace_id}/virtual-keys" as "virtual_keys.list"
        needs Access::Workspace(Permission::VirtualKeysRead), path WorkspacePath, query VirtualKeyQuery, body Empty, gives 200 domain::Page<VirtualKeyView>;

    /// Issues a virtual key; the secret is in the reply and never again.
    IssueVirtualKey: Post "/workspaces/{workspace_id}/virtual-keys" as "virtual_keys.issue"
        needs Access::Workspace(Permission::VirtualKeysCreate), path WorkspacePath, query NoQuery, body NewVirtualKey, gives 201 IssuedVirtualKeyView;

    /// Shows a virtual key without its secret.
    GetVirtualKey: Get "/workspaces/{workspace_id}/virtual-keys/{virtual_key_id}" as "virtual_keys.get"
        needs Access::Workspace(Permission::VirtualKeysRead), path VirtualKeyPath, query NoQuery, body Empty, gives 200 VirtualKeyView;

    /// Renames a key, or changes its allow-list or expiry.
    UpdateVirtualKey: Patch "/workspaces/{workspace_id}/virtual-keys/{virtual_key_id}" as "virtual_keys.update"
        needs Access::Workspace(Permission::VirtualKeysUpdate), path VirtualKeyPath, query NoQuery, body VirtualKeyChange, gives 200 VirtualKeyView;

    /// Gives a key a new secret; the old one goes on working for the overlap.
    RotateVirtualKey: Post "/workspaces/{workspace_id}/virtual-keys/{virtual_key_id}/rotate" as "virtual_keys.rotate"
        needs Access::Workspace(Permission::VirtualKeysUpdate), path VirtualKeyPath, query NoQuery, body Rotation, gives 200 IssuedVirtualKeyView;

    /// Revokes a key for ever; connected nodes refuse it within a second.
    RevokeVirtualKey: Post "/workspaces/{workspace_id}/virtual-keys/{virtual_key_id}/revoke" as "virtual_keys.revoke"
        needs Access::Workspace(Permission::VirtualKeysRevoke), path VirtualKeyPath, query NoQuery, body Empty, gives 200 VirtualKeyView;
}

shapes! {
    /// A virtual key of a workspace.
    #[derive(Copy, Eq)]
    pub struct VirtualKeyPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The key.
        pub virtual_key_id: VirtualKeyId,
    }

    /// A page of virtual keys.
    #[derive(Eq, Default)]
    pub struct VirtualKeyQuery {
        /// Only this environment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub environment_id: Option<EnvironmentId>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<domain::page::Cursor>,
    }

    /// A virtual key without its secret.
    #[derive(Eq)]
    pub struct VirtualKeyView {
        /// Its id.
        pub id: VirtualKeyId,
        /// Its workspace.
        pub workspace_id: WorkspaceId,
        /// Its environment.
        pub environment_id: EnvironmentId,
        /// For people.
        pub name: DisplayName,
        /// The public part of the secret.
        pub hint: String,
        /// What it can do now.
        pub status: KeyStatus,
        /// Which models it may call; empty means all of the workspace.
        pub allowed_models: Vec<ModelPattern>,
        /// Who issued it; absent for the key of the first start.
        pub created_by: Option<UserId>,
        /// Their name; absent once they are no member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub created_by_name: Option<DisplayName>,
        /// When it stops working.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// Why, when nobody with the right to revoke it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revoked_because: Option<RevocationCause>,
        /// Its last call.
        pub last_used_at: Option<Timestamp>,
        /// During a rotation: when the old secret stops working.
        pub old_secret_retires_at: Option<Timestamp>,
        /// During a rotation: the last call with the old secret; absent when there was none since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub old_secret_last_used_at: Option<Timestamp>,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was issued.
        pub created_at: Timestamp,
    }

    /// A new virtual key.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewVirtualKey {
        /// Its environment.
        pub environment_id: EnvironmentId,
        /// For people.
        pub name: DisplayName,
        /// Which models it may call; empty means all of the workspace.
        #[serde(default)]
        pub allowed_models: Vec<ModelPattern>,
        /// When it stops working; absent for never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_at: Option<Timestamp>,
    }

    /// Changes to a virtual key.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct VirtualKeyChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new allow-list; empty means all of the workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub allowed_models: Option<Vec<ModelPattern>>,
        /// A new expiry, or null for never.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub expires_at: Field<Timestamp>,
    }

    /// How to rotate.
    #[derive(Copy, Eq)]
    #[serde(deny_unknown_fields)]
    pub struct Rotation {
        /// How long the old secret goes on working, in seconds; 0 to 2 592 000, one day unless told.
        #[serde(default = "super::one_day")]
        pub overlap_secs: u64,
    }

    /// A virtual key with its secret.
    #[derive(Eq)]
    pub struct IssuedVirtualKeyView {
        /// The key.
        pub virtual_key: VirtualKeyView,
        /// The secret. Shown once.
        pub secret: String,
    }
}
