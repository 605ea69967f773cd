//! Alerts of an organization: what happened, where it is sent, and how far the sending has come.

use std::collections::BTreeMap;

use domain::alert::{AlertKind, DeliveryState, DestinationKind, Severity};
use domain::page::Cursor;
use domain::{
    AlertId, DeliveryId, DestinationId, DisplayName, Email, OrganizationId, Permission, Timestamp, WorkspaceId,
};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists alerts, newest first.
    ListAlerts: Get "/organizations/{organization_id}/alerts" as "alerts.list"
        needs Access::Organization(Permission::AlertsRead), path OrganizationPath, query AlertQuery, body Empty, gives 200 domain::Page<AlertView>;

    /// Lists destinations of alerts, newest first; their secrets cannot be read.
    ListAlertDestinations: Get "/organizations/{organization_id}/alert-destinations" as "alert_destinations.list"
        needs Access::Organization(Permission::AlertsRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<DestinationView>;

    /// Creates a destination; the signing secret of a webhook is in the reply and never again.
    CreateAlertDestination: Post "/organizations/{organization_id}/alert-destinations" as "alert_destinations.create"
        needs Access::Organization(Permission::AlertsManage), path OrganizationPath, query NoQuery, body NewDestination, gives 201 IssuedDestinationView;

    /// Shows a destination without its secrets.
    GetAlertDestination: Get "/organizations/{organization_id}/alert-destinations/{destination_id}" as "alert_destinations.get"
        needs Access::Organization(Permission::AlertsRead), path DestinationPath, query NoQuery, body Empty, gives 200 DestinationView;

    /// Changes a destination; its kind stays.
    UpdateAlertDestination: Patch "/organizations/{organization_id}/alert-destinations/{destination_id}" as "alert_destinations.update"
        needs Access::Organization(Permission::AlertsManage), path DestinationPath, query NoQuery, body DestinationChange, gives 200 DestinationView;

    /// Archives a destination and forgets its secrets; what is on its way to it is given up.
    ArchiveAlertDestination: Delete "/organizations/{organization_id}/alert-destinations/{destination_id}" as "alert_destinations.archive"
        needs Access::Organization(Permission::AlertsManage), path DestinationPath, query NoQuery, body Empty, gives 204 Empty;

    /// Gives a webhook a new signing secret; during the overlap both sign.
    RotateAlertDestinationSecret: Post "/organizations/{organization_id}/alert-destinations/{destination_id}/rotate-secret" as "alert_destinations.rotate_secret"
        needs Access::Organization(Permission::AlertsManage), path DestinationPath, query NoQuery, body SecretRotation, gives 200 IssuedDestinationView;

    /// Sends a sample to a destination at once, and says what came back.
    TestAlertDestination: Post "/organizations/{organization_id}/alert-destinations/{destination_id}/test" as "alert_destinations.test"
        needs Access::Organization(Permission::AlertsManage), path DestinationPath, query NoQuery, body Empty, gives 200 TestView;

    /// Lists deliveries, newest alerts first.
    ListAlertDeliveries: Get "/organizations/{organization_id}/alert-deliveries" as "alert_deliveries.list"
        needs Access::Organization(Permission::AlertsRead), path OrganizationPath, query DeliveryQuery, body Empty, gives 200 domain::Page<DeliveryView>;

    /// Sends an alert again, whatever became of it, under the id that it had.
    RedeliverAlert: Post "/organizations/{organization_id}/alert-deliveries/{delivery_id}/redeliver" as "alert_deliveries.redeliver"
        needs Access::Organization(Permission::AlertsManage), path DeliveryPath, query NoQuery, body Empty, gives 200 DeliveryView;
}

shapes! {
    /// A destination of an organization.
    #[derive(Copy, Eq)]
    pub struct DestinationPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The destination.
        pub destination_id: DestinationId,
    }

    /// A delivery of an organization.
    #[derive(Copy, Eq)]
    pub struct DeliveryPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The delivery.
        pub delivery_id: DeliveryId,
    }

    /// A page of alerts.
    #[derive(Eq, Default)]
    pub struct AlertQuery {
        /// Only this kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<AlertKind>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<Cursor>,
    }

    /// A page of deliveries.
    #[derive(Eq, Default)]
    pub struct DeliveryQuery {
        /// Only those of this alert.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub alert_id: Option<AlertId>,
        /// Only those to this destination.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub destination_id: Option<DestinationId>,
        /// Only those that have come so far.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<DeliveryState>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<Cursor>,
    }

    /// Something that happened.
    #[derive(Eq)]
    pub struct AlertView {
        /// Its id; receivers tell repeats by it.
        pub id: AlertId,
        /// The only workspace it is about; null when it is about all of them, or none.
        pub workspace_id: Option<WorkspaceId>,
        /// What kind of thing.
        pub kind: AlertKind,
        /// How bad.
        pub severity: Severity,
        /// What began and ends together.
        pub subject: String,
        /// Whether it ends what an earlier alert of the same subject said.
        pub is_resolved: bool,
        /// One line for people.
        pub summary: String,
        /// Details by name.
        pub facts: BTreeMap<String, String>,
        /// When it happened.
        pub occurred_at: Timestamp,
    }

    /// A destination without its secrets.
    #[derive(Eq)]
    pub struct DestinationView {
        /// Its id.
        pub id: DestinationId,
        /// For people.
        pub name: DisplayName,
        /// What language it speaks.
        pub kind: DestinationKind,
        /// Whether anything is sent to it.
        pub is_enabled: bool,
        /// The kinds of alert that it hears of; empty means all.
        pub kinds: Vec<AlertKind>,
        /// The workspaces that it hears of; empty means all, and what is about none.
        pub workspace_ids: Vec<WorkspaceId>,
        /// It hears of what is at least so bad.
        pub least_severity: Severity,
        /// Scheme, host and port of its address; empty for e-mail.
        pub origin: String,
        /// The mailboxes of an e-mail destination.
        pub recipients: Vec<Email>,
        /// During a rotation: when the old signing secret is used no more.
        pub old_secret_retires_at: Option<Timestamp>,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A destination with its signing secret.
    #[derive(Eq)]
    pub struct IssuedDestinationView {
        /// The destination.
        pub destination: DestinationView,
        /// The secret that webhooks are signed with, `whsec_…`; null for other kinds. Shown once.
        pub signing_secret: Option<String>,
    }

    /// A new destination.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewDestination {
        /// For people; unique in the organization.
        pub name: DisplayName,
        /// What language it speaks.
        pub kind: DestinationKind,
        /// Its address; kept sealed. Not for e-mail; PagerDuty has its own unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// The integration key of PagerDuty; kept sealed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub routing_key: Option<String>,
        /// The mailboxes of an e-mail destination, 1 to 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub recipients: Vec<Email>,
        /// The kinds of alert that it hears of; empty means all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub kinds: Vec<AlertKind>,
        /// The workspaces that it hears of; empty means all, and what is about none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub workspace_ids: Vec<WorkspaceId>,
        /// It hears of what is at least so bad; of everything unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub least_severity: Option<Severity>,
        /// Whether anything is sent to it; it is unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
    }

    /// Changes to a destination.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct DestinationChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new address; one of PagerDuty wants the integration key, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// A new integration key of PagerDuty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub routing_key: Option<String>,
        /// All mailboxes anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub recipients: Option<Vec<Email>>,
        /// All kinds anew; empty means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kinds: Option<Vec<AlertKind>>,
        /// All workspaces anew; empty means all, and what is about none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_ids: Option<Vec<WorkspaceId>>,
        /// How bad something must be at least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub least_severity: Option<Severity>,
        /// Whether anything is sent to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
    }

    /// How to rotate a signing secret.
    #[derive(Copy, Eq)]
    #[serde(deny_unknown_fields)]
    pub struct SecretRotation {
        /// How long the old secret signs beside the new one, in seconds; 0 to 2 592 000, one day unless told.
        #[serde(default = "one_day")]
        pub overlap_secs: u64,
    }

    /// What came of a sample.
    #[derive(Eq)]
    pub struct TestView {
        /// Whether the destination took it.
        pub is_delivered: bool,
        /// The status of the answer, by HTTP or SMTP; null when none came.
        pub status: Option<u16>,
        /// What the destination said, at most 300 characters; or why nothing came.
        pub answer: String,
    }

    /// An alert on its way to a destination.
    #[derive(Eq)]
    pub struct DeliveryView {
        /// Its id.
        pub id: DeliveryId,
        /// What is sent.
        pub alert_id: AlertId,
        /// Where to.
        pub destination_id: DestinationId,
        /// How far it has come.
        pub state: DeliveryState,
        /// How often it was tried.
        pub attempts: u32,
        /// When it was written down.
        pub created_at: Timestamp,
        /// When it is tried next; null when it is not.
        pub next_at: Option<Timestamp>,
        /// When it was tried last.
        pub attempted_at: Option<Timestamp>,
        /// The status of the last answer; null when none came.
        pub last_status: Option<u16>,
        /// What the destination said last, at most 300 characters; or why nothing came.
        pub last_answer: Option<String>,
    }
}

const fn one_day() -> u64 {
    24 * 3_600
}
