//! Kill switches of an organization: what is stopped at once, on every node, until it is lifted.

use domain::kill_switch::Target;
use domain::page::Cursor;
use domain::{KillSwitchId, OrganizationId, Permission, Timestamp};

use super::OrganizationPath;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists kill switches, newest first.
    ListKillSwitches: Get "/organizations/{organization_id}/kill-switches" as "kill_switches.list"
        needs Access::Organization(Permission::KillSwitchesRead), path OrganizationPath, query KillSwitchQuery, body Empty, gives 200 domain::Page<KillSwitchView>;

    /// Stops a key, deployment, model, provider, workspace or the whole organization, on every node at once.
    ThrowKillSwitch: Post "/organizations/{organization_id}/kill-switches" as "kill_switches.throw"
        needs Access::Organization(Permission::KillSwitchesManage), path OrganizationPath, query NoQuery, body NewKillSwitch, gives 201 KillSwitchView;

    /// Shows a kill switch, lifted or not.
    GetKillSwitch: Get "/organizations/{organization_id}/kill-switches/{kill_switch_id}" as "kill_switches.get"
        needs Access::Organization(Permission::KillSwitchesRead), path KillSwitchPath, query NoQuery, body Empty, gives 200 KillSwitchView;

    /// Lifts a kill switch: what it stopped goes on.
    LiftKillSwitch: Delete "/organizations/{organization_id}/kill-switches/{kill_switch_id}" as "kill_switches.lift"
        needs Access::Organization(Permission::KillSwitchesManage), path KillSwitchPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A kill switch of an organization.
    #[derive(Copy, Eq)]
    pub struct KillSwitchPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The kill switch.
        pub kill_switch_id: KillSwitchId,
    }

    /// A page of kill switches.
    #[derive(Eq, Default)]
    pub struct KillSwitchQuery {
        /// Whether the lifted ones are listed, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lifted: Option<bool>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<Cursor>,
    }

    /// A kill switch.
    #[derive(Eq)]
    pub struct KillSwitchView {
        /// Its id.
        pub id: KillSwitchId,
        /// What is stopped.
        pub target: Target,
        /// Why; clients are not told.
        pub reason: String,
        /// Whether calls under way were cut, too.
        pub cuts_calls: bool,
        /// When it was thrown; the audit log says by whom.
        pub created_at: Timestamp,
        /// When it was lifted; null while it is in force.
        pub lifted_at: Option<Timestamp>,
    }

    /// A kill switch to throw.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewKillSwitch {
        /// What is to stop.
        pub target: Target,
        /// Why, for people and for the audit log; at most 1000 characters.
        pub reason: String,
        /// Whether calls under way are cut, too. Unless told, they are when a key, a workspace or the organization is stopped, and
        /// are not when a deployment, a model or a provider is: what has begun there ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cuts_calls: Option<bool>,
    }
}
