//! Links that fall silent, and groups that change while they stand.

use std::time::Duration;

use domain::id::IdMint as _;
use domain::node::{Holds, NodeGroup};
use domain::{Clock as _, DisplayName, JobName, NodeGroupId, OrganizationId, Permit, Scope, Slug};
use downlink::sync::SyncServerConfig;
use link::sync::SyncConfig;
use link::sync::transport::ControlAddress;
use policy::KeyRefusal;
use runtime::clock::SystemClock;
use testkit::fault::{Fault, Wire};

use super::bed::{Bed, TestNode, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_notice_packets_that_are_silently_dropped_and_the_node_comes_back() {
    let ping = Duration::from_millis(200);
    let bed = Bed::with(SyncServerConfig { ping, ..SyncServerConfig::default() }).await;
    let wire = Wire::to(&bed.handle.address.expect("an address").to_string()).await.expect("a wire");
    let folder = tempfile::tempdir().expect("a folder");
    let address = ControlAddress::parse(&wire.address()).expect("an address");
    let mut config = TestNode::config(&folder, address);
    (config.join_token, config.ping) = (Some(bed.join_token().await), ping);
    let node = TestNode::start_with(folder, config, SystemClock.now()).await.expect("a node");
    node.until_accepts(&bed.key).await;
    let id = node.link.node_id();
    let is_connected = async || {
        let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
        let listed = store::nodes::list_status(&mut tx, &[id]).await.expect("a status");
        listed.first().is_some_and(|(_, status)| status.is_connected)
    };
    until("the list shows it", async || is_connected().await.then_some(())).await;

    wire.set(Fault::Silent);
    let end = until("the node notices", async || node.link.status().state().last_end).await;
    assert!(end.contains("silent"), "{end}");
    until("the control plane notices", async || (!is_connected().await).then_some(())).await;
    assert_eq!(node.identify(&bed.key), Ok(()), "policy stays in force");

    let (_, token, _) = bed.issue_key().await;
    wire.set(Fault::None);
    node.until_accepts(&token).await;
    until("the list shows it again", async || is_connected().await.then_some(())).await;
}

/// The story above runs with short pings; what a node and a control plane start with is bounded all the same.
#[test]
fn with_usual_settings_silence_is_noticed_on_both_sides_within_45_seconds() {
    let node = SyncConfig::new(ControlAddress::parse("localhost:1").expect("an address"), std::path::PathBuf::new());
    // Both sides count three and a half silent intervals, and look at least once in each.
    for ping in [node.ping, SyncServerConfig::default().ping] {
        assert!(ping * 9 / 2 <= Duration::from_secs(45), "{ping:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_at_the_end_of_its_life_and_the_next_one_goes_on_from_there() {
    let stream_life = Duration::from_secs(1);
    let bed = Bed::with(SyncServerConfig { stream_life, ..SyncServerConfig::default() }).await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let end = until("the stream ends", async || node.link.status().state().last_end).await;
    assert!(end.contains("stream lifetime reached"), "{end}");
    until("another one begins", async || (node.link.status().state().sessions == 2).then_some(())).await;
    until("in step", async || node.link.status().state().is_synced.then_some(())).await;
    assert_eq!(node.identify(&bed.key), Ok(()));
    assert_eq!(node.link.status().state().refused, 0);
}

/// Another tenant of the installation.
async fn found(bed: &Bed) -> OrganizationId {
    let id = OrganizationId::from_uuid(bed.cx.mint.next_uuid());
    let permit = Permit::system(JobName::Bootstrap, Scope::Organization(id));
    let mut tx = bed.cx.store.found(id).await.expect("a founding");
    let (slug, name) = ("other".parse::<Slug>().expect("a slug"), DisplayName::parse("Other").expect("a name"));
    control::commands::organizations::found(&bed.cx, &mut tx, &permit, id, (slug, name)).await.expect("founded");
    let audit = domain::audit::Audit::new("test.arrange", "test", &"", &"");
    let entry = domain::AuditEntryId::from_uuid(bed.cx.mint.next_uuid());
    tx.audit(&permit, store::AuditDraft { id: entry, at: bed.cx.now(), actor_name: String::new(), audit });
    tx.commit().await.expect("a commit");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_changes_takes_and_gives_organizations_while_the_stream_stands() {
    let mut bed = Bed::new().await;
    let other = found(&bed).await;
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "both".parse().expect("a slug"),
        region: String::new(),
        holds: Holds::Only(vec![bed.organization(), other]),
        version: 1,
        created_at: bed.cx.now(),
    };
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;
    bed.installation.node_group_id = group.id;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("it holds both", async || (node.revision(other) > 0).then_some(())).await;
    until("both copies are written", async || {
        (node.copy_of(other).exists() && node.copy_of(bed.organization()).exists()).then_some(())
    })
    .await;

    let narrowed = NodeGroup { holds: Holds::Only(vec![other]), ..group.clone() };
    bed.write(async |tx, permit| store::nodes::update_group(tx, permit, &narrowed).await.map(drop)).await;
    node.until_refuses(&bed.key, KeyRefusal::Invalid).await;
    assert!(node.revision(other) > 0);
    until("its copy is gone from disk", async || (!node.copy_of(bed.organization()).exists()).then_some(())).await;

    let widened = NodeGroup { version: 2, ..group };
    bed.write(async |tx, permit| store::nodes::update_group(tx, permit, &widened).await.map(drop)).await;
    node.until_accepts(&bed.key).await;
    assert_eq!(node.link.status().state().sessions, 1, "on one stream");
}
