//! Alerts, their destinations and deliveries.

use api::ops::alerts::{
    AlertView, DeliveryView, DestinationView, GetAlertDestination, ListAlertDeliveries, ListAlertDestinations,
    ListAlerts,
};
use domain::alert::{Alert, Delivery, Destination};
use domain::{DestinationId, Page};
use store::Tx;
use store::alerts::{self, deliveries, destinations};

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists alerts.
pub async fn list(call: Call<ListAlerts>) -> Outcome<Reply<Page<AlertView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = alerts::list(&mut tx, call.query.kind, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(alert_view)))
}

/// Lists destinations.
pub async fn list_destinations(call: Call<ListAlertDestinations>) -> Outcome<Reply<Page<DestinationView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = destinations::list(&mut tx, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a destination.
pub async fn get_destination(call: Call<GetAlertDestination>) -> Outcome<Reply<DestinationView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, call.path.destination_id).await?)))
}

/// Lists deliveries.
pub async fn list_deliveries(call: Call<ListAlertDeliveries>) -> Outcome<Reply<Page<DeliveryView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let query = &call.query;
    let wanted =
        deliveries::Wanted { alert_id: query.alert_id, destination_id: query.destination_id, state: query.state };
    let mut tx = call.read().await?;
    let page = deliveries::list(&mut tx, wanted, query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(delivery_view)))
}

/// Returns a destination that is not archived.
pub(crate) async fn live(tx: &mut Tx, id: DestinationId) -> Outcome<Destination> {
    let found = destinations::get(tx, id).await?;
    if found.archived_at.is_none() { Ok(found) } else { Err(Failure::not_found()) }
}

fn alert_view(alert: Alert) -> AlertView {
    AlertView {
        id: alert.id,
        workspace_id: alert.workspace_id,
        kind: alert.kind,
        severity: alert.severity,
        subject: alert.subject,
        is_resolved: alert.is_resolved,
        summary: alert.summary,
        facts: alert.facts,
        occurred_at: alert.occurred_at,
    }
}

pub(crate) fn view(it: Destination) -> DestinationView {
    DestinationView {
        id: it.id,
        name: it.name,
        kind: it.kind,
        is_enabled: it.is_enabled,
        kinds: it.filter.kinds,
        workspace_ids: it.filter.workspace_ids,
        least_severity: it.filter.least_severity,
        origin: it.hint,
        recipients: it.recipients,
        old_secret_retires_at: it.old_secret_retires_at,
        version: it.version,
        created_at: it.created_at,
        updated_at: it.updated_at,
    }
}

pub(crate) fn delivery_view(it: Delivery) -> DeliveryView {
    DeliveryView {
        id: it.id,
        alert_id: it.alert_id,
        destination_id: it.destination_id,
        state: it.state,
        attempts: it.attempts,
        created_at: it.created_at,
        next_at: it.next_at,
        attempted_at: it.attempted_at,
        last_status: it.last_status,
        last_answer: it.last_answer,
    }
}
