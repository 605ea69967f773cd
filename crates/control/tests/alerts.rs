//! Destinations of alerts through the API: made, changed, tried, rotated; and what really goes out.

use std::sync::Arc;

use api::ops::OrganizationPath;
use api::ops::PageQuery;
use api::ops::alerts::{
    AlertQuery, ArchiveAlertDestination, CreateAlertDestination, DeliveryPath, DeliveryQuery, DestinationChange,
    DestinationPath, GetAlertDestination, IssuedDestinationView, ListAlertDeliveries, ListAlertDestinations,
    ListAlerts, NewDestination, RedeliverAlert, RotateAlertDestinationSecret, SecretRotation, TestAlertDestination,
    UpdateAlertDestination,
};
use api::ops::audit::{AuditQuery, ListAuditEntries};
use api::ops::kill_switches::{KillSwitchPath, LiftKillSwitch, NewKillSwitch, ThrowKillSwitch};
use api::{Empty, NoQuery};
use domain::DestinationId;
use domain::alert::{AlertKind, DeliveryState, DestinationKind, Severity};
use domain::kill_switch::Target;
use notify::{Courier, sign};
use runtime::egress::Rules;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use upstream::dial::Network;

use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn at(world: &World, destination_id: DestinationId) -> DestinationPath {
    DestinationPath { organization_id: world.organization(), destination_id }
}

fn new(name: &str, kind: DestinationKind) -> NewDestination {
    NewDestination {
        name: name.parse().expect("a name"),
        kind,
        url: None,
        routing_key: None,
        recipients: Vec::new(),
        kinds: Vec::new(),
        workspace_ids: Vec::new(),
        least_severity: None,
        is_enabled: None,
    }
}

fn hook(name: &str, url: &str) -> NewDestination {
    NewDestination { url: Some(url.to_owned()), ..new(name, DestinationKind::Webhook) }
}

async fn create(world: &World, body: NewDestination) -> IssuedDestinationView {
    world.as_owner().call::<CreateAlertDestination>(org(world), NoQuery {}, body).await.expect("a destination")
}

/// Lets the control plane of a world call this machine.
pub(crate) fn may_send(world: &World) {
    let rules = Arc::new(Rules::new(Rules::loopback()));
    let dial = Network::new(rules, None).expect("a dialler");
    world.cx.set_courier(Arc::new(Courier::new(Arc::new(dial), None)));
}

/// Listens once for each request, answers 202, and shows head and body.
async fn receiver() -> (String, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/secret-path", listener.local_addr().expect("an address"));
    let (tell, got) = mpsc::unbounded_channel();
    runtime::tasks::spawn("test.receiver", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            while !text.ends_with("}}") {
                let mut bytes = [0; 4_096];
                let n = stream.read(&mut bytes).await.expect("readable");
                text.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            drop(tell.send((head.to_owned(), body.to_owned())));
            let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\nconnection: close\r\n\r\ntaken";
            stream.write_all(answer).await.expect("writable");
        }
    });
    (url, got)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found =
        head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

#[tokio::test]
async fn a_destination_lives_from_its_making_to_its_archive_and_shows_no_secret() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = create(&world, hook("On call", "https://hooks.example.com/canary?k=canary")).await;
    let secret = made.signing_secret.clone().expect("a signing secret");
    assert!(secret.starts_with("whsec_"));
    let it = made.destination;
    assert_eq!((it.origin.as_str(), it.version, it.is_enabled), ("https://hooks.example.com", 1, true));
    let path = at(&world, it.id);
    assert_eq!(owner.call::<GetAlertDestination>(path, NoQuery {}, Empty {}).await.expect("found"), it);
    let taken =
        owner.refused::<CreateAlertDestination>(org(&world), NoQuery {}, hook("On call", "https://a.example")).await;
    assert_eq!((taken.status, taken.fields[0].pointer.as_str()), (409, "/name"));

    let change = DestinationChange {
        version: Some(1),
        kinds: Some(vec![AlertKind::BudgetThreshold]),
        workspace_ids: Some(vec![world.workspace()]),
        least_severity: Some(Severity::Warning),
        url: Some("https://other.example.com/canary".to_owned()),
        ..DestinationChange::default()
    };
    let changed = owner.call::<UpdateAlertDestination>(path, NoQuery {}, change.clone()).await.expect("changed");
    assert_eq!((changed.version, changed.origin.as_str()), (2, "https://other.example.com"));
    assert_eq!(owner.refused::<UpdateAlertDestination>(path, NoQuery {}, change).await.status, 412);

    let rotation = SecretRotation { overlap_secs: 3_600 };
    let rotated = owner.call::<RotateAlertDestinationSecret>(path, NoQuery {}, rotation).await.expect("rotated");
    assert_ne!(rotated.signing_secret, Some(secret));
    assert_eq!(
        rotated.destination.old_secret_retires_at,
        Some(world.now().plus(std::time::Duration::from_secs(3_600)))
    );
    let listed =
        owner.call::<ListAlertDestinations>(org(&world), PageQuery::default(), Empty {}).await.expect("a list");
    assert_eq!(listed.items, [rotated.destination]);
    owner.call::<ArchiveAlertDestination>(path, NoQuery {}, Empty {}).await.expect("archived");
    assert_eq!(owner.refused::<GetAlertDestination>(path, NoQuery {}, Empty {}).await.status, 404);

    let query = AuditQuery { action: Some("alert_destination.".to_owned()), ..AuditQuery::default() };
    let entries = owner.call::<ListAuditEntries>(org(&world), query, Empty {}).await.expect("entries").items;
    let actions: Vec<&str> =
        entries.iter().rev().map(|entry| entry.action.trim_start_matches("alert_destination.")).collect();
    assert_eq!(actions, ["create", "update", "rotate_secret", "archive"]);
    let written = format!("{entries:?}");
    assert!(!written.contains("canary") && !written.contains("whsec_"), "{written}");
}

#[tokio::test]
async fn what_cannot_be_says_where() {
    let world = World::new().await;
    let owner = world.as_owner();
    may_send(&world);
    let url = format!("/api/v1/organizations/{}/alert-destinations", world.organization());
    for (body, pointer) in [
        (r#"{"name":"d","kind":"webhook"}"#, "/url"),
        (r#"{"name":"d","kind":"slack","url":"hooks.slack.com"}"#, "/url"),
        (r#"{"name":"d","kind":"pagerduty"}"#, "/routing_key"),
        (r#"{"name":"d","kind":"webhook","url":"https://a.example","routing_key":"R0"}"#, "/routing_key"),
        (r#"{"name":"d","kind":"webhook","url":"https://a.example","recipients":["ada@example.com"]}"#, "/recipients"),
        (r#"{"name":"d","kind":"email","recipients":["ada@example.com"]}"#, "/kind"),
        (r#"{"name":"d","kind":"email","url":"https://a.example"}"#, "/url"),
        (
            r#"{"name":"d","kind":"webhook","url":"https://a.example","workspace_ids":["ws_00000000000000000000000001"]}"#,
            "/workspace_ids/0",
        ),
    ] {
        let problem = owner.send("POST", &url, Some(body)).await.problem();
        let field = problem.fields.first().unwrap_or_else(|| panic!("{body}: {problem:?}"));
        assert_eq!(field.pointer, pointer, "{body}: {field:?}");
    }
    // An integration key goes to no address that it was not entered with.
    let pager = NewDestination { routing_key: Some("R0".to_owned()), ..new("pager", DestinationKind::Pagerduty) };
    let pager = create(&world, pager).await.destination;
    assert_eq!(pager.origin, "https://events.pagerduty.com");
    let change = DestinationChange {
        version: Some(1),
        url: Some("https://evil.example".to_owned()),
        ..DestinationChange::default()
    };
    let refused = owner.refused::<UpdateAlertDestination>(at(&world, pager.id), NoQuery {}, change).await;
    assert_eq!(refused.fields[0].pointer, "/routing_key");
}

#[tokio::test]
async fn a_sample_goes_out_at_once_signed_by_both_secrets_of_a_rotation() {
    let world = World::new().await;
    may_send(&world);
    let owner = world.as_owner();
    let (url, mut got) = receiver().await;
    let made = create(&world, hook("On call", &url)).await;
    let path = at(&world, made.destination.id);
    let rotation = SecretRotation { overlap_secs: 60 };
    let rotated = owner.call::<RotateAlertDestinationSecret>(path, NoQuery {}, rotation).await.expect("rotated");
    let answer = owner.call::<TestAlertDestination>(path, NoQuery {}, Empty {}).await.expect("an answer");
    assert_eq!((answer.is_delivered, answer.status, answer.answer.as_str()), (true, Some(202), "taken"));
    let (head, body) = got.recv().await.expect("a request");
    let (id, at) = (header(&head, "webhook-id"), header(&head, "webhook-timestamp").parse().expect("seconds"));
    let signed =
        |secret: &Option<String>| sign::sign(secret.as_deref().expect("one"), id, at, body.as_bytes()).expect("signed");
    let expected = format!("{} {}", signed(&rotated.signing_secret), signed(&made.signing_secret));
    assert_eq!(header(&head, "webhook-signature"), expected);
    world.advance(60);
    owner.call::<TestAlertDestination>(path, NoQuery {}, Empty {}).await.expect("an answer");
    let (head, _) = got.recv().await.expect("a request");
    assert_eq!(header(&head, "webhook-signature").split(' ').count(), 1);
    let alerts = owner.call::<ListAlerts>(org(&world), AlertQuery::default(), Empty {}).await.expect("a list");
    assert!(alerts.items.is_empty(), "a sample is no alert");
}

#[tokio::test]
async fn a_kill_switch_is_told_when_it_is_thrown_and_when_it_is_lifted() {
    let world = World::new().await;
    may_send(&world);
    let owner = world.as_owner();
    let (url, mut got) = receiver().await;
    let severe = NewDestination { least_severity: Some(Severity::Critical), ..hook("On call", &url) };
    create(&world, severe).await;
    let office = world.cx.office().expect("an office");
    let body = NewKillSwitch { target: Target::Organization, reason: "leaked".to_owned(), cuts_calls: None };
    let thrown = owner.call::<ThrowKillSwitch>(org(&world), NoQuery {}, body).await.expect("thrown");
    assert_eq!(office.round().await, 1);
    let lifted = KillSwitchPath { organization_id: world.organization(), kill_switch_id: thrown.id };
    owner.call::<LiftKillSwitch>(lifted, NoQuery {}, Empty {}).await.expect("lifted");
    assert_eq!(office.round().await, 1);
    let events: Vec<serde_json::Value> = [got.recv().await, got.recv().await]
        .into_iter()
        .map(|got| serde_json::from_str(&got.expect("a request").1).expect("JSON"))
        .collect();
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&"kill_switch_thrown".into(), &"kill_switch_lifted".into()));
    assert_eq!(events[0]["data"]["subject"], events[1]["data"]["subject"]);
    assert_eq!((&events[0]["data"]["is_resolved"], &events[1]["data"]["is_resolved"]), (&false.into(), &true.into()));
    assert_eq!(events[0]["data"]["facts"]["reason"], "leaked");

    // Visible, again, and to nobody else.
    let query = DeliveryQuery { state: Some(DeliveryState::Delivered), ..DeliveryQuery::default() };
    let sent = owner.call::<ListAlertDeliveries>(org(&world), query.clone(), Empty {}).await.expect("a list").items;
    assert_eq!(sent.len(), 2);
    let again = DeliveryPath { organization_id: world.organization(), delivery_id: sent[0].id };
    let due = owner.call::<RedeliverAlert>(again, NoQuery {}, Empty {}).await.expect("due again");
    assert_eq!(due.state, DeliveryState::Waiting);
    assert_eq!(office.round().await, 1);
    let (head, _) = got.recv().await.expect("a request");
    assert_eq!(header(&head, "webhook-id"), sent[0].alert_id.to_string());
    let (stranger, theirs, _) = world.as_stranger().await;
    let foreign = OrganizationPath { organization_id: theirs };
    assert!(stranger.call::<ListAlertDeliveries>(foreign, query, Empty {}).await.expect("a list").items.is_empty());
    assert!(
        stranger.call::<ListAlerts>(foreign, AlertQuery::default(), Empty {}).await.expect("a list").items.is_empty()
    );
    let smuggled = DeliveryPath { organization_id: theirs, delivery_id: sent[0].id };
    assert_eq!(stranger.refused::<RedeliverAlert>(smuggled, NoQuery {}, Empty {}).await.status, 404);
}
