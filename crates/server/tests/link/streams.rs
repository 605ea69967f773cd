//! What a stream owes its node and the others: revocations whatever happened before, bounds, drift, what a release understands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::deployment::Deployment;
use domain::id::IdMint as _;
use domain::node::NodeStatus;
use domain::{DeploymentId, Limit, ModelName, NodeId};
use downlink::sync::SyncServerConfig;
use link::sync::crypto::SigningKeys;
use policy::sign::FLAG_SHRINK;
use policy::wire::frame;
use policy::{KeyRefusal, Kind, Replica};
use proto::v1;
use tonic::Code;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::{Bed, until};
use super::raw::{NoKeys, Raw};

async fn n_audited(bed: &Bed, action: &str) -> usize {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let limit = Limit::new(100).expect("a limit");
    let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
    page.items.iter().filter(|entry| entry.action == action).count()
}

async fn status(bed: &Bed, node: NodeId) -> NodeStatus {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let listed = store::nodes::list_status(&mut tx, &[node]).await.expect("a status");
    listed.into_iter().next().map(|(_, status)| status).unwrap_or_default()
}

fn deployments(bed: &Bed, n: u32) -> Vec<Deployment> {
    let now = bed.cx.now();
    let deployment = |n: u32| Deployment {
        id: DeploymentId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        workspace_id: bed.installation.workspace_id,
        name: ModelName::parse(&format!("many-{n}")).expect("a name"),
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        base_model: None,
        credential_id: None,
        is_enabled: true,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    (0..n).map(deployment).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_a_node_that_refused_the_whole_set() {
    let bed = Bed::new().await;
    let (key, _, issued) = bed.issue_key().await;
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    node.take_until(bed.organization(), issued).await;
    bed.issue_key().await;
    let refused = node.hear("a delta", |body| match body {
        Down::Delta(delta) => delta.target.as_ref().map(|target| target.revision),
        _ => None,
    });
    let refused = refused.await;
    node.refuse(bed.organization(), refused).await;
    until("the refusal is known", async || status(&bed, node.node_id).await.last_nack).await;
    // It serves on from the set of before, so the revocation concerns it.
    let revoked = bed.revoke_key(key.id).await;
    let urgent = node.hear("the revocation", |body| match body {
        Down::Urgent(urgent) => Some(urgent.clone()),
        _ => None,
    });
    let urgent = urgent.await;
    assert_eq!(urgent.revision, revoked);
    let named = urgent.revoked[0].key.as_ref().expect("a key");
    assert_eq!((named.kind(), named.id.as_str()), (v1::ResourceKind::VirtualKey, key.id.to_string().as_str()));
    assert_eq!(node.take_everything(bed.organization()).await, revoked, "and everything comes anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_a_set_that_shrinks_still_comes_with_its_confirmation() {
    let bed = Bed::new().await;
    let many = deployments(&bed, 120);
    let ((), stored) = bed
        .write(async |tx, permit| {
            for deployment in &many {
                store::deployments::insert(tx, permit, deployment).await?;
            }
            Ok(())
        })
        .await;
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    node.take_until(bed.organization(), stored).await;
    bed.issue_key().await;
    let refused = node.hear("a delta", |body| match body {
        Down::Delta(delta) => delta.target.as_ref().map(|target| target.revision),
        _ => None,
    });
    let refused = refused.await;
    node.refuse(bed.organization(), refused).await;
    until("the refusal is known", async || status(&bed, node.node_id).await.last_nack).await;
    let now = bed.cx.now();
    let ((), few) = bed
        .write(async |tx, permit| {
            for deployment in &many {
                store::deployments::archive(tx, permit, deployment.id, now).await?;
            }
            Ok(())
        })
        .await;
    let begun = node.hear("the shrunken set", |body| match body {
        Down::FullSetBegin(begin) => begin.target.clone(),
        _ => None,
    });
    let begun = begun.await;
    assert_eq!((begun.revision, begun.flags & FLAG_SHRINK), (few, FLAG_SHRINK));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stalls_keeps_no_other_waiting_and_is_cut_and_named() {
    let send_within = Duration::from_secs(8);
    let bed = Bed::with(SyncServerConfig { send_within, full_sets: 1, ..SyncServerConfig::default() }).await;
    let earlier = bed.join(bed.tcp()).await;
    earlier.until_accepts(&bed.key).await;
    // More than the windows and buffers between two processes hold.
    let patterns: Vec<_> =
        (0..1_500).map(|n| format!("model-{n:04}-{}", "x".repeat(110)).parse().expect("a pattern")).collect();
    for _ in 0..40 {
        let (key, _) = bed.new_key();
        let key = domain::virtual_key::VirtualKey { allowed_models: patterns.clone(), ..key };
        bed.write(async |tx, permit| store::virtual_keys::insert(tx, permit, &key).await).await;
    }
    let large = bed.issue_key().await.2;
    let stalled = Raw::join(&bed, |_| ()).await.expect("a stream");
    until("it has begun", async || status(&bed, stalled.node_id).await.is_connected.then_some(())).await;

    let started = Instant::now();
    let newcomer = bed.join(bed.tcp()).await;
    until("another node gets its full set", async || (newcomer.revision(bed.organization()) >= large).then_some(()))
        .await;
    assert!(started.elapsed() < send_within, "it waited for the stalled one: {:?}", started.elapsed());
    let (key, token, _) = bed.issue_key().await;
    earlier.until_accepts(&token).await;
    let started = Instant::now();
    bed.revoke_key(key.id).await;
    earlier.until_refuses(&token, KeyRefusal::Revoked).await;
    newcomer.until_refuses(&token, KeyRefusal::Revoked).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    until("the stalled one is named", async || (n_audited(&bed, "node.slow").await == 1).then_some(())).await;
    until("and cut", async || (!status(&bed, stalled.node_id).await.is_connected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_something_else_than_it_acknowledged_is_named_and_gets_everything() {
    let bed = Bed::new().await;
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    let revision = node.take_everything(bed.organization()).await;
    until("acknowledged", async || {
        (status(&bed, node.node_id).await.acknowledged == [(bed.organization(), revision)]).then_some(())
    })
    .await;
    let held = v1::Held {
        organization_id: bed.organization().to_string(),
        revision,
        set_hash: vec![9; 32].into(),
        resource_count: 40,
        data_key_versions: vec![1],
    };
    node.say(Up::Status(v1::NodeStatus { held: vec![held], ..v1::NodeStatus::default() })).await;
    assert_eq!(node.take_everything(bed.organization()).await, revision);
    let drift = until("the drift is shown", async || status(&bed, node.node_id).await.drift).await;
    assert_eq!((drift.organization_id, drift.revision), (bed.organization(), revision));
    until("and audited", async || (n_audited(&bed, "node.drift").await == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_that_comes_back_again_and_again_is_counted_and_audited_once() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let (id, now) = (node.link.node_id(), bed.cx.now());
    bed.write(async |tx, permit| store::nodes::revoke(tx, permit, id, now).await).await;
    until("it was refused many times", async || {
        (bed.cx.metrics.nodes_refused.load(Ordering::Relaxed) >= 6).then_some(())
    })
    .await;
    until("the audit log says so", async || (n_audited(&bed, "node.refused").await > 0).then_some(())).await;
    assert_eq!(n_audited(&bed, "node.refused").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_release_gets_what_it_understands_and_the_list_says_what_it_lacks() {
    let bed = Bed::new().await;
    let but = |without: Kind| {
        move |hello: &mut v1::Hello| hello.kinds.retain(|kind| *kind != i32::from(frame::kind_message(without)))
    };
    let mut node = Raw::join(&bed, but(Kind::Price)).await.expect("a stream");
    let keys = PolicyKeys::of(&bed).await;
    let mut replica = Replica::new(Arc::new(keys.0));
    let applied = node.take_into(&mut replica).await;
    assert_eq!(applied.len(), 1, "a set of its own, signed and with a hash that adds up");
    let copy = replica.copy(bed.organization()).expect("held");
    let kinds: BTreeSet<Kind> = copy.set.iter().map(|resource| resource.key.kind).collect();
    assert!(kinds.contains(&Kind::VirtualKey) && !kinds.contains(&Kind::Price), "{kinds:?}");
    let shown = until("the list says so", async || {
        let shown = status(&bed, node.node_id).await.withheld;
        (!shown.is_empty()).then_some(shown)
    })
    .await;
    assert_eq!(shown, ["price"]);
    // Later changes come as deltas that lead to its own hash.
    let (_, _, revision) = bed.issue_key().await;
    let delta = node.hear("a delta", |body| match body {
        Down::Delta(delta) => Some(delta.clone()),
        _ => None,
    });
    let applied = replica.delta(delta.await, &NoKeys).expect("a delta that adds up");
    assert_eq!(applied.revision, revision);

    let refused = Raw::join(&bed, but(Kind::Route)).await.map(|_| ()).expect_err("it could not route");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("route"), "{}", refused.message());
}

/// The keys that policy is signed with.
struct PolicyKeys(SigningKeys);

impl PolicyKeys {
    async fn of(bed: &Bed) -> Self {
        let signer = downlink::publisher::PolicySigner::load(&bed.cx).await.expect("a signing key");
        let keys = signer.public_keys().into_iter().map(|key| (key.key_id, key.public_key.to_vec()));
        Self(SigningKeys::new(keys.collect()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_node_says_as_long_as_it_listens_its_stream_and_the_others_go_on() {
    let bed = Bed::new().await;
    let other = bed.join(bed.tcp()).await;
    other.until_accepts(&bed.key).await;
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    node.take_everything(bed.organization()).await;
    let foreign = domain::OrganizationId::from_uuid(42).to_string();
    let names =
        [String::new(), "junk".to_owned(), "\0".repeat(9), foreign, bed.organization().to_string(), "x".repeat(10_000)];
    for (organization_id, revision) in
        names.iter().flat_map(|name| [0, 1, u64::MAX].map(|revision| (name.clone(), revision)))
    {
        let bad = v1::BadResource {
            kind: i32::MAX,
            id: organization_id.clone(),
            reason: "\u{0}".to_owned(),
            detail: String::new(),
        };
        let held = v1::Held {
            organization_id: organization_id.clone(),
            revision,
            set_hash: vec![1; 3].into(),
            resource_count: u64::MAX,
            data_key_versions: vec![u32::MAX; 50],
        };
        for body in [
            Up::Ack(v1::Ack { organization_id: organization_id.clone(), revision }),
            Up::Nack(v1::Nack {
                organization_id: organization_id.clone(),
                revision,
                bad: vec![bad.clone(); 300],
                refusal: i32::MIN,
                detail: "d".repeat(10_000),
            }),
            Up::Nack(v1::Nack { organization_id: organization_id.clone(), revision, ..v1::Nack::default() }),
            Up::Resync(v1::ResyncRequest { organization_id: organization_id.clone(), reason: "\u{0}\n".to_owned() }),
            Up::Status(v1::NodeStatus {
                held: vec![held; 3],
                spool_events: u64::MAX,
                lost_events: u64::MAX,
                ..v1::NodeStatus::default()
            }),
            Up::Pong(v1::Pong { nonce: revision }),
        ] {
            node.say(body).await;
        }
        node.say(Up::Ping(v1::Ping { nonce: 77, ..v1::Ping::default() })).await;
        node.hear("an answer to a ping", |body| matches!(body, Down::Pong(pong) if pong.nonce == 77).then_some(()))
            .await;
    }
    let (_, token, _) = bed.issue_key().await;
    other.until_accepts(&token).await;
}
