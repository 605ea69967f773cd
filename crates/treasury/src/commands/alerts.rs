//! Destinations of alerts: made, changed, tried; and deliveries that are made again.
//!
//! Invariant: addresses and secrets are sealed before they reach the store and are in no reply and no audit entry, but for a
//! signing secret in the reply that made it.

use std::time::Duration;

use api::Empty;
use api::ops::alerts::{
    ArchiveAlertDestination, CreateAlertDestination, DeliveryView, DestinationChange, DestinationView,
    IssuedDestinationView, NewDestination, RedeliverAlert, RotateAlertDestinationSecret, TestAlertDestination,
    TestView, UpdateAlertDestination,
};
use domain::alert::{Alert, AlertKind, Destination, DestinationKind, Filter, Severity};
use domain::credential::SealedSecret;
use domain::id::IdMint as _;
use domain::virtual_key::VirtualKey;
use domain::{DestinationId, Email, WorkspaceId};
use notify::address::{PAGERDUTY, Unfit};
use notify::{Address, Parcel, Verdict};
use store::Tx;
use store::alerts::{deliveries, destinations};

use crate::queries::alerts::{delivery_view, live, view};
use operation::call::{Call, Head, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::keyring;
use operation::trail::Subject;

/// Creates a destination.
pub async fn create(call: Call<CreateAlertDestination>) -> Outcome<Reply<IssuedDestinationView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let (body, now) = (&call.body, call.now());
    let mut address = new_address(&call.cx, body)?;
    let signing_secret = (body.kind == DestinationKind::Webhook)
        .then(|| address.as_mut().map(|address| address.rotate(None, call.cx.entropy.as_ref())))
        .flatten();
    let mut it = Destination {
        id: DestinationId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        name: body.name.clone(),
        kind: body.kind,
        is_enabled: body.is_enabled.unwrap_or(true),
        filter: Filter {
            kinds: body.kinds.clone(),
            workspace_ids: body.workspace_ids.clone(),
            least_severity: body.least_severity.unwrap_or(Severity::Info),
        },
        recipients: body.recipients.clone(),
        hint: String::new(),
        secret: None,
        secret_version: 1,
        old_secret_retires_at: None,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    check(&mut write, &it).await?;
    if destinations::count(&mut write).await? >= Destination::MAX_IN_ORGANIZATION as u64 {
        let detail = format!("an organization has at most {}; archive one first", Destination::MAX_IN_ORGANIZATION);
        return Err(Failure::unacceptable("", detail));
    }
    if let Some(address) = &address {
        seal(&call.cx, &mut write, &mut it, address).await?;
    }
    destinations::insert(&mut write, &permit, &it).await?;
    let view = view(it);
    write.audit(subject(&view).created("alert_destination.create", &view));
    write.commit(IssuedDestinationView { destination: view, signing_secret }).await
}

/// Changes a destination.
pub async fn update(call: Call<UpdateAlertDestination>) -> Outcome<Reply<DestinationView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut it = live(&mut write, call.path.destination_id).await?;
    let before = view(it.clone());
    it.version = seen;
    let body = &call.body;
    apply(&mut it, body);
    if body.url.is_some() || body.routing_key.is_some() {
        let address = changed_address(&call, &mut write, &it, body).await?;
        it.secret_version += 1;
        seal(&call.cx, &mut write, &mut it, &address).await?;
    }
    it.updated_at = call.now();
    check(&mut write, &it).await?;
    it.version = destinations::update(&mut write, &permit, &it).await?;
    let after = view(it);
    write.audit(subject(&after).changed("alert_destination.update", &before, &after));
    write.commit(after).await
}

fn apply(it: &mut Destination, body: &DestinationChange) {
    if let Some(name) = &body.name {
        it.name = name.clone();
    }
    if let Some(recipients) = &body.recipients {
        it.recipients.clone_from(recipients);
    }
    if let Some(kinds) = &body.kinds {
        it.filter.kinds.clone_from(kinds);
    }
    if let Some(workspaces) = &body.workspace_ids {
        it.filter.workspace_ids.clone_from(workspaces);
    }
    it.filter.least_severity = body.least_severity.unwrap_or(it.filter.least_severity);
    it.is_enabled = body.is_enabled.unwrap_or(it.is_enabled);
}

/// Archives a destination.
pub async fn archive(call: Call<ArchiveAlertDestination>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let it = live(&mut write, call.path.destination_id).await?;
    destinations::archive(&mut write, &permit, it.id, call.now()).await?;
    let before = view(it);
    write.audit(subject(&before).removed("alert_destination.archive", &before));
    write.commit(Empty {}).await
}

/// Gives a webhook a new signing secret.
pub async fn rotate(call: Call<RotateAlertDestinationSecret>) -> Outcome<Reply<IssuedDestinationView>> {
    let (overlap, now) = (call.body.overlap_secs, call.now());
    if overlap > VirtualKey::MAX_OVERLAP_SECS {
        return Err(Failure::unacceptable("/overlap_secs", format!("use 0 to {}", VirtualKey::MAX_OVERLAP_SECS)));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut it = live(&mut write, call.path.destination_id).await?;
    if it.kind != DestinationKind::Webhook {
        return Err(Failure::conflict("Only webhooks are signed."));
    }
    let before = view(it.clone());
    let mut address = stored(&call.cx, &mut write, &it).await?;
    let retires_at = (overlap > 0).then(|| now.plus(Duration::from_secs(overlap)));
    let secret = address.rotate(retires_at, call.cx.entropy.as_ref());
    (it.old_secret_retires_at, it.updated_at) = (retires_at, now);
    it.secret_version += 1;
    seal(&call.cx, &mut write, &mut it, &address).await?;
    it.version = destinations::update(&mut write, &permit, &it).await?;
    let after = view(it);
    write.audit(subject(&after).changed("alert_destination.rotate_secret", &before, &after));
    write.commit(IssuedDestinationView { destination: after, signing_secret: Some(secret) }).await
}

/// Sends a sample and waits for what comes back; nothing of it is kept but the audit entry.
pub async fn test(call: Call<TestAlertDestination>) -> Outcome<Reply<TestView>> {
    let mut tx = call.read().await?;
    let it = live(&mut tx, call.path.destination_id).await?;
    let address = if Address::is_of(it.kind) { Some(stored(&call.cx, &mut tx, &it).await?) } else { None };
    tx.end().await?;
    let courier = call.cx.courier().ok_or_else(|| Failure::conflict("This process sends no alerts."))?;
    let at = call.now();
    let summary = format!("This is a test of the destination “{}”; nothing has happened.", it.name);
    let once = format!("test/{}/{}", it.id, call.request_id);
    let sample = Alert::new(
        it.organization_id,
        (AlertKind::Test, Severity::Info),
        &format!("test/{}", it.id),
        &once,
        &summary,
        at,
    )
    .with("destination", &it.name);
    let parcel = Parcel { alert: &sample, destination: &it, address: address.as_ref(), at };
    let answer = courier.send(parcel).await;
    let reply = TestView { is_delivered: answer.verdict == Verdict::Taken, status: answer.status, answer: answer.text };
    let mut write = call.write().await?;
    write.audit(subject(&view(it)).created("alert_destination.test", &reply));
    write.commit(reply).await
}

/// Sends an alert again.
pub async fn redeliver(call: Call<RedeliverAlert>) -> Outcome<Reply<DeliveryView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let before = deliveries::get(&mut write, call.path.delivery_id).await?;
    live(&mut write, before.destination_id).await.map_err(|_| Failure::conflict("The destination is archived."))?;
    deliveries::send_again(&mut write, &permit, before.id, call.now()).await?;
    let after = delivery_view(deliveries::get(&mut write, before.id).await?);
    let before = delivery_view(before);
    let subject = Subject::new("alert_delivery", after.id, after.alert_id);
    write.audit(subject.changed("alert_delivery.redeliver", &before, &after));
    write.commit(after).await
}

// === Checks ===

async fn check(tx: &mut Tx, it: &Destination) -> Outcome<()> {
    check_recipients(it.kind, &it.recipients)?;
    let known: Vec<WorkspaceId> =
        store::workspaces::load(tx, Some(&it.filter.workspace_ids)).await?.into_iter().map(|it| it.id).collect();
    match it.filter.workspace_ids.iter().position(|id| !known.contains(id)) {
        None => Ok(()),
        Some(at) => Err(Failure::unacceptable(&format!("/workspace_ids/{at}"), "there is no such workspace here")),
    }
}

fn check_recipients(kind: DestinationKind, recipients: &[Email]) -> Outcome<()> {
    let most = Destination::MAX_RECIPIENTS;
    match (kind, recipients.len()) {
        (DestinationKind::Email, 0) => Err(Failure::unacceptable("/recipients", "give at least one mailbox")),
        (DestinationKind::Email, n) if n > most => {
            Err(Failure::unacceptable("/recipients", format!("give at most {most} mailboxes")))
        }
        (DestinationKind::Email, _) | (_, 0) => Ok(()),
        _ => Err(Failure::unacceptable("/recipients", "only e-mail has mailboxes")),
    }
}

// === Addresses ===

fn unfit(unfit: Unfit) -> Failure {
    let pointer = if unfit == Unfit::RoutingKey { "/routing_key" } else { "/url" };
    Failure::unacceptable(pointer, unfit.to_string())
}

fn new_address(cx: &Cx, body: &NewDestination) -> Outcome<Option<Address>> {
    match (body.kind, body.url.as_deref(), body.routing_key.as_deref()) {
        (DestinationKind::Email, None, None) => {
            if cx.courier().is_some_and(|courier| !courier.mails()) {
                return Err(Failure::unacceptable(
                    "/kind",
                    "this installation has no SMTP server; the operator sets smtp_url",
                ));
            }
            Ok(None)
        }
        (DestinationKind::Email, Some(_), _) => Err(Failure::unacceptable("/url", "e-mail has mailboxes, no address")),
        (DestinationKind::Pagerduty, url, Some(key)) => {
            let address = Address::parse(url.unwrap_or(PAGERDUTY)).and_then(|address| address.with_routing_key(key));
            Ok(Some(address.map_err(unfit)?))
        }
        (DestinationKind::Pagerduty, _, None) => Err(unfit(Unfit::RoutingKey)),
        (_, _, Some(_)) => Err(Failure::unacceptable("/routing_key", "only PagerDuty has an integration key")),
        (_, url, None) => Ok(Some(Address::parse(url.unwrap_or_default()).map_err(unfit)?)),
    }
}

/// What is stored, with the change. A key goes to no address that it was not entered with.
async fn changed_address(head: &Head, tx: &mut Tx, it: &Destination, body: &DestinationChange) -> Outcome<Address> {
    if it.kind == DestinationKind::Email {
        return Err(Failure::unacceptable("/url", "e-mail has mailboxes, no address"));
    }
    let stored = stored(&head.cx, tx, it).await?;
    let mut address = Address::parse(body.url.as_deref().unwrap_or(&stored.url)).map_err(unfit)?;
    address.signing = stored.signing;
    match (it.kind, body.routing_key.as_deref()) {
        (DestinationKind::Pagerduty, Some(key)) => address.with_routing_key(key).map_err(unfit),
        (DestinationKind::Pagerduty, None) => {
            Err(Failure::unacceptable("/routing_key", "the address is another; enter the integration key for it again"))
        }
        (_, Some(_)) => Err(Failure::unacceptable("/routing_key", "only PagerDuty has an integration key")),
        (_, None) => Ok(address),
    }
}

/// Seals an address into the destination with the organization's newest data key.
async fn seal(cx: &Cx, tx: &mut Tx, it: &mut Destination, address: &Address) -> Outcome<()> {
    let keys = store::credentials::list_data_keys(tx).await?;
    let newest = keys.last().ok_or_else(|| Failure::Internal("the organization has no data key".to_owned()))?;
    let key = cx.keyring.data_key(it.organization_id, &newest.sealed)?;
    let plain = serde_json::to_vec(address).map_err(|error| Failure::Internal(error.to_string()))?;
    let plain = zeroize::Zeroizing::new(plain);
    let ciphertext = keyring::seal(&key, &it.seal_context(), &plain, cx.entropy.as_ref())?;
    it.secret = Some(SealedSecret { key_version: newest.version, ciphertext });
    it.hint = address.hint();
    Ok(())
}

async fn stored(cx: &Cx, tx: &mut Tx, it: &Destination) -> Outcome<Address> {
    let keys = store::credentials::list_data_keys(tx).await?;
    notify::office::open(&cx.keyring, it, &keys)
        .ok_or_else(|| Failure::Internal(format!("the address of {} does not open", it.id)))
}

fn subject(view: &DestinationView) -> Subject {
    Subject::new("alert_destination", view.id, &view.name)
}
