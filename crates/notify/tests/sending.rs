//! What destinations get, when it comes again, and what others notice of one that fails.

use domain::alert::{DeliveryState, DestinationKind};
use notify::sign;
use runtime::egress::Rules;
use runtime::tasks::Group;
use std::time::Duration;

use crate::receiver::{Play, Receiver};
use crate::world::World;

#[tokio::test]
async fn a_webhook_is_signed_over_what_it_carries_and_has_the_alerts_id() {
    let (world, mut receiver) = (World::new().await, Receiver::start(Vec::new()).await);
    let (_, secret) = world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    let alert = world.raise(1).await;
    assert_eq!(world.local_office().round().await, 1);
    let got = receiver.next().await;
    assert_eq!(got.path, "/hook?token=canary");
    assert_eq!(got.header("webhook-id"), alert.id.to_string());
    let at: i64 = got.header("webhook-timestamp").parse().expect("seconds");
    assert_eq!(at, world.now().as_secs());
    let expected = sign::sign(&secret, got.header("webhook-id"), at, &got.body).expect("a signature");
    assert_eq!(got.header("webhook-signature"), expected);
    let body = got.json();
    assert_eq!((&body["type"], &body["data"]["facts"]["posted"]), (&"budget_threshold".into(), &"20".into()));
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.attempts, kept.last_status), (DeliveryState::Delivered, 1, Some(200)));
    assert_eq!((kept.last_answer.as_deref(), kept.next_at), (Some("ok"), None));
    assert_eq!(world.local_office().round().await, 0, "once");
}

#[tokio::test]
async fn slack_and_pagerduty_get_their_own_language() {
    let (world, mut slack, mut pager) =
        (World::new().await, Receiver::start(Vec::new()).await, Receiver::start(Vec::new()).await);
    world.destination(DestinationKind::Slack, "slack", &slack.url).await;
    world.destination(DestinationKind::Pagerduty, "pager", &pager.url).await;
    world.raise(1).await;
    assert_eq!(world.local_office().round().await, 2);
    let (to_slack, to_pager) = (slack.next().await, pager.next().await);
    assert!(to_slack.json()["blocks"].is_array() && to_slack.header("webhook-signature").is_empty());
    assert_eq!((&to_pager.json()["routing_key"], &to_pager.json()["event_action"]), (&"R0".into(), &"trigger".into()));
}

#[tokio::test]
async fn what_fails_comes_again_with_the_same_id_when_it_was_asked_to() {
    let world = World::new().await;
    let later = "429 Too Many Requests\r\nretry-after: 120";
    let script = vec![Play::Answer("500 Oops", "boom"), Play::Answer(later, ""), Play::Answer("204 No Content", "")];
    let mut receiver = Receiver::start(script).await;
    world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    world.raise(1).await;
    let office = world.local_office();
    assert_eq!(office.round().await, 1);
    let kept = world.delivery().await;
    assert_eq!(
        (kept.state, kept.last_status, kept.last_answer.as_deref()),
        (DeliveryState::Waiting, Some(500), Some("boom"))
    );
    let pause = kept.next_at.expect("a next try").since(world.now());
    assert!((Duration::from_secs(4)..=Duration::from_secs(6)).contains(&pause), "{pause:?}");
    assert_eq!(office.round().await, 0, "not before its time");
    world.advance(6);
    assert_eq!(office.round().await, 1);
    world.advance(119);
    assert_eq!(office.round().await, 0, "not before it asked to");
    world.advance(1);
    // Another process goes on where this one stopped.
    assert_eq!(world.local_office().round().await, 1);
    assert_eq!((world.delivery().await.state, world.delivery().await.attempts), (DeliveryState::Delivered, 3));
    let tries = receiver.rest();
    assert_eq!(tries.len(), 3);
    assert!(tries.windows(2).all(|two| two[0].header("webhook-id") == two[1].header("webhook-id")
        && two[0].body == two[1].body
        && two[0].header("webhook-signature") != two[1].header("webhook-signature")));
}

#[tokio::test]
async fn after_three_days_it_is_given_up_and_can_be_sent_again() {
    let world = World::new().await;
    // Nobody listens there.
    let (id, _) = world.destination(DestinationKind::Webhook, "hook", "http://127.0.0.1:9/").await;
    world.raise(1).await;
    let office = world.local_office();
    let (mut tries, mut hours) = (office.round().await, 0);
    while world.delivery().await.state == DeliveryState::Waiting {
        world.advance(3_600);
        hours += 1;
        tries += office.round().await;
    }
    let kept = world.delivery().await;
    assert_eq!(kept.state, DeliveryState::Dead);
    assert!((68..=76).contains(&hours) && (20..=60).contains(&tries), "{hours} hours, {tries} tries");
    assert!(kept.last_answer.as_deref().is_some_and(|text| text.contains("no connection")), "{kept:?}");
    world.send_again(kept.id).await;
    assert_eq!(office.round().await, 1);
    let kept = world.delivery().await;
    assert_eq!(kept.state, DeliveryState::Waiting, "tried like a new one");
    world.archive(id).await;
    world.advance(4 * 3_600);
    office.round().await;
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.last_status), (DeliveryState::Dead, None), "{kept:?}");
}

#[tokio::test]
async fn who_is_gone_for_good_is_not_asked_again() {
    let (world, receiver) = (World::new().await, Receiver::start(vec![Play::Answer("410 Gone", "")]).await);
    world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    world.raise(1).await;
    world.local_office().round().await;
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.attempts, kept.last_status), (DeliveryState::Dead, 1, Some(410)));
}

#[tokio::test]
async fn an_address_inside_is_not_called_and_nothing_is_told_of_it() {
    let (world, mut receiver) = (World::new().await, Receiver::start(Vec::new()).await);
    world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    world.raise(1).await;
    world.office(Rules::default(), None).round().await;
    assert!(receiver.rest().is_empty());
    let kept = world.delivery().await;
    let said = kept.last_answer.expect("a reason");
    assert!(said.contains("not a public one") && !said.contains("127.0.0.1") && !said.contains("canary"), "{said}");
    assert_eq!((kept.state, kept.last_status), (DeliveryState::Waiting, None), "the operator may yet allow it");
}

#[tokio::test]
async fn two_offices_at_once_send_each_alert_once() {
    let (world, mut receiver) = (World::new().await, Receiver::start(Vec::new()).await);
    world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    world.raise(40).await;
    let (one, two) = (world.local_office(), world.local_office());
    let (a, b) = tokio::join!(one.round(), two.round());
    assert_eq!(a + b, 40);
    let mut ids: Vec<String> = receiver.rest().iter().map(|got| got.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

#[tokio::test]
async fn a_destination_that_is_silent_holds_up_no_other() {
    let world = World::new().await;
    let (mut silent, mut quick) = (Receiver::start(vec![Play::Silence; 100]).await, Receiver::start(Vec::new()).await);
    let (hanging, _) = world.destination(DestinationKind::Webhook, "silent", &silent.url).await;
    world.destination(DestinationKind::Webhook, "quick", &quick.url).await;
    world.raise(12).await;
    let group = Group::new();
    // Real time: what fails on a busy machine comes again.
    let mut office = world.local_office();
    office.clock = std::sync::Arc::new(runtime::clock::SystemClock);
    group.spawn("test.office", |stop| office.run(stop));
    for _ in 0..12 {
        quick.next().await;
    }
    assert_eq!(silent.rest().len(), 4, "so many at once, and no more");
    // What is under way is cut, and claimed again by whoever comes after.
    assert!(group.drain(Duration::from_secs(5)).await.cut_off.is_empty());
    let left = world.deliveries().await.into_iter().filter(|it| it.destination_id == hanging);
    assert_eq!(left.filter(|it| it.state == DeliveryState::Waiting).count(), 12);
}

#[tokio::test]
async fn a_process_that_died_in_the_middle_is_replaced() {
    let (world, mut receiver) = (World::new().await, Receiver::start(vec![Play::Silence]).await);
    world.destination(DestinationKind::Webhook, "hook", &receiver.url).await;
    world.raise(1).await;
    let office = world.local_office();
    tokio::select! {
        _ = office.round() => unreachable!("the receiver is silent"),
        _ = receiver.next() => {}
    }
    drop(office);
    let office = world.local_office();
    assert_eq!(office.round().await, 0, "somebody may still be at it");
    world.advance(60);
    assert_eq!(office.round().await, 1);
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.attempts), (DeliveryState::Delivered, 2));
}
