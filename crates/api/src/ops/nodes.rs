//! Node groups, nodes and join tokens.

use domain::{JoinTokenId, NodeGroupId, NodeId, OrganizationId, Permission, Slug, Timestamp};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the node groups that the organization administers.
    ListNodeGroups: Get "/organizations/{organization_id}/node-groups" as "node_groups.list"
        needs Access::Organization(Permission::NodesRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<NodeGroupView>;

    /// Creates a node group. Its nodes may hold this organization only, or all when an operator says so.
    CreateNodeGroup: Post "/organizations/{organization_id}/node-groups" as "node_groups.create"
        needs Access::Organization(Permission::NodesManage), path OrganizationPath, query NoQuery, body NewNodeGroup, gives 201 NodeGroupView;

    /// Renames a node group, moves it, or changes which organizations its nodes may hold. Connected nodes follow within seconds.
    UpdateNodeGroup: Patch "/organizations/{organization_id}/node-groups/{node_group_id}" as "node_groups.update"
        needs Access::Organization(Permission::NodesManage), path NodeGroupPath, query NoQuery, body NodeGroupChange, gives 200 NodeGroupView;

    /// Lists nodes with what they last reported.
    ListNodes: Get "/organizations/{organization_id}/nodes" as "nodes.list"
        needs Access::Organization(Permission::NodesRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<NodeView>;

    /// Revokes a node: its streams are cut within seconds and its certificate is refused.
    RevokeNode: Post "/organizations/{organization_id}/nodes/{node_id}/revoke" as "nodes.revoke"
        needs Access::Organization(Permission::NodesManage), path NodePath, query NoQuery, body Empty, gives 200 NodeView;

    /// Lists join tokens that still work; their secrets cannot be read.
    ListJoinTokens: Get "/organizations/{organization_id}/join-tokens" as "join_tokens.list"
        needs Access::Organization(Permission::NodesRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<JoinTokenView>;

    /// Creates a join token for one node of a group; the secret is in the reply and never again.
    CreateJoinToken: Post "/organizations/{organization_id}/join-tokens" as "join_tokens.create"
        needs Access::Organization(Permission::NodesManage), path OrganizationPath, query NoQuery, body NewJoinToken, gives 201 IssuedJoinTokenView;

    /// Revokes a join token.
    RevokeJoinToken: Delete "/organizations/{organization_id}/join-tokens/{join_token_id}" as "join_tokens.revoke"
        needs Access::Organization(Permission::NodesManage), path JoinTokenPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A node group of an organization.
    #[derive(Copy, Eq)]
    pub struct NodeGroupPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The group.
        pub node_group_id: NodeGroupId,
    }

    /// A node of an organization.
    #[derive(Copy, Eq)]
    pub struct NodePath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The node.
        pub node_id: NodeId,
    }

    /// A join token of an organization.
    #[derive(Copy, Eq)]
    pub struct JoinTokenPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The token.
        pub join_token_id: JoinTokenId,
    }

    /// A node group.
    #[derive(Eq)]
    pub struct NodeGroupView {
        /// Its id.
        pub id: NodeGroupId,
        /// Unique in the organization.
        pub slug: Slug,
        /// Where its nodes run.
        pub region: String,
        /// Whether its nodes may hold every organization.
        pub holds_all: bool,
        /// The organizations its nodes may hold, unless all.
        pub organization_ids: Vec<OrganizationId>,
        /// Counts changes.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
    }

    /// A new node group.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewNodeGroup {
        /// Unique in the organization.
        pub slug: Slug,
        /// Where its nodes run; at most 80 characters.
        #[serde(default)]
        pub region: String,
        /// Whether its nodes may hold every organization; operators only.
        #[serde(default)]
        pub holds_all: bool,
    }

    /// Changes to a node group.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct NodeGroupChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name, unique in the organization.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub slug: Option<Slug>,
        /// Where its nodes run; at most 80 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub region: Option<String>,
        /// `true`: its nodes may hold every organization; operators only. `false` wants `organization_ids`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub holds_all: Option<bool>,
        /// The organizations its nodes may hold, all of them; others than one's own are for operators only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub organization_ids: Option<Vec<OrganizationId>>,
    }

    /// A gateway node.
    #[derive(Eq)]
    pub struct NodeView {
        /// Its id.
        pub id: NodeId,
        /// Its group.
        pub group_id: NodeGroupId,
        /// The host name it gave.
        pub name: String,
        /// Its release.
        pub build: String,
        /// Whether its stream is open.
        pub is_connected: bool,
        /// The newest revision of this organization's policy.
        pub desired_revision: u64,
        /// The revision it acknowledged.
        pub acknowledged_revision: u64,
        /// The last word from it.
        pub last_contact_at: Option<Timestamp>,
        /// Its last refusal, if not mended since.
        pub last_nack: Option<NackView>,
        /// When it was last found to hold another state than the one it acknowledged, in its present session.
        #[serde(default)]
        pub drifted_at: Option<Timestamp>,
        /// Kinds of objects that its release does not understand and that it is not sent.
        #[serde(default)]
        pub withheld_kinds: Vec<String>,
        /// Usage events waiting in its spool.
        pub spool_depth: u64,
        /// Usage events it ever had to drop.
        pub spool_dropped: u64,
        /// When its certificate ends.
        pub certificate_expires_at: Timestamp,
        /// When it enrolled.
        pub created_at: Timestamp,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
    }

    /// A node's refusal.
    #[derive(Eq)]
    pub struct NackView {
        /// The revision.
        pub revision: u64,
        /// When.
        pub at: Timestamp,
        /// Object by object.
        pub reasons: Vec<NackReasonView>,
    }

    /// Why one object was refused.
    #[derive(Eq)]
    pub struct NackReasonView {
        /// The object, as `kind/id`.
        pub resource: String,
        /// The reason.
        pub reason: String,
    }

    /// A join token without its secret.
    #[derive(Eq)]
    pub struct JoinTokenView {
        /// Its id.
        pub id: JoinTokenId,
        /// The group its node will belong to.
        pub group_id: NodeGroupId,
        /// The public part of the secret.
        pub hint: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it stops working.
        pub expires_at: Timestamp,
    }

    /// A new join token.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewJoinToken {
        /// The group its node will belong to.
        pub group_id: NodeGroupId,
        /// How long it works, in seconds; 60 to 86 400, 900 unless told.
        #[serde(default = "quarter_hour")]
        pub ttl_secs: u64,
    }

    /// A join token with its secret.
    #[derive(Eq)]
    pub struct IssuedJoinTokenView {
        /// The token.
        pub join_token: JoinTokenView,
        /// The secret, with the fingerprint of the control plane's authority. Shown once.
        pub secret: String,
        /// The command to run on the node.
        pub command: String,
    }
}

const fn quarter_hour() -> u64 {
    900
}
