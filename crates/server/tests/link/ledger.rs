//! Usage from a node into the ledger: once, whatever is sent how often; nothing of organizations outside the node's group.

use domain::id::IdMint as _;
use domain::usage::{Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent};
use domain::{Limit, NanoUsd, NodeId, OrganizationId, RequestId};
use link::sync::identity::Identity;
use link::sync::transport::Tls;
use policy::wire::usage;
use proto::v1;
use proto::v1::usage_ingest_client::UsageIngestClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::bed::Bed;

pub(super) fn event(bed: &Bed, node_id: NodeId, organization_id: OrganizationId) -> UsageEvent {
    UsageEvent {
        id: RequestId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id,
        workspace_id: bed.installation.workspace_id,
        environment_id: bed.installation.environments[0].1,
        virtual_key_id: domain::VirtualKeyId::from_uuid(1),
        node_id,
        endpoint: Endpoint::ChatCompletions,
        model: "echo/echo-1".to_owned(),
        route_id: None,
        deployment_id: None,
        provider: Some("echo".to_owned()),
        upstream_model: Some("echo-1".to_owned()),
        is_stream: false,
        outcome: Outcome::Success,
        status: 200,
        code: None,
        finish_reason: Some("stop".to_owned()),
        started_at: bed.cx.now(),
        duration_us: 1_000,
        first_byte_us: Some(500),
        overhead_us: 100,
        usage: TokenUsage { input: 3, output: 4, ..TokenUsage::default() },
        units: UnitUsage::default(),
        is_estimated: false,
        is_unmetered: false,
        cost: NanoUsd::from_nanos(7),
        price_id: None,
        cache: domain::usage::CacheUse::default(),
        policy_revision: 1,
        end_user: None,
        conversation_id: None,
        trace_id: None,
        metadata: vec![("team".to_owned(), "a".to_owned())],
        routing: None,
        tags: vec!["t".to_owned()],
        dropped: Vec::new(),
        attempts: Vec::new(),
        charges: Vec::new(),
        is_by_old_secret: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_twice_is_booked_once_and_what_can_never_be_booked_is_named() {
    let mut bed = Bed::new().await;
    let group = domain::node::NodeGroup {
        id: domain::NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "narrow".parse().expect("a slug"),
        region: String::new(),
        holds: domain::node::Holds::Only(vec![bed.organization()]),
        version: 1,
        created_at: bed.cx.now(),
    };
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;
    bed.installation.node_group_id = group.id;
    let node = bed.join(bed.tcp()).await;
    let identity = Identity::load(node.folder()).expect("a file").expect("an identity");
    let channel = Tls::new(&identity).expect("usable TLS").connect(&bed.tcp()).await.expect("a connection");
    let (sender, receiver) = mpsc::channel(4);
    let mut acks =
        UsageIngestClient::new(channel).report(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();

    let good: Vec<_> = (0..3).map(|_| event(&bed, node.link.node_id(), bed.organization())).collect();
    let foreign = event(&bed, node.link.node_id(), OrganizationId::from_uuid(42));
    let mut messages: Vec<_> = good.iter().map(usage::encode).collect();
    messages.push(usage::encode(&foreign));
    messages.push(v1::UsageEvent { outcome: "never heard of".to_owned(), ..usage::encode(&good[0]) });
    let batch = v1::UsageBatch { boot_id: "boot".to_owned(), first_sequence: 1, events: messages, lost_events: 0 };
    for _ in 0..2 {
        sender.send(batch.clone()).await.expect("room");
        let ack = acks.message().await.expect("an answer").expect("not closed");
        assert_eq!((ack.boot_id.as_str(), ack.watermark, ack.retry_after_ms), ("boot", 5, None));
        let refused: Vec<_> = ack.refused.iter().map(|it| (it.sequence, it.reason.as_str())).collect();
        assert_eq!(
            refused,
            [(4, "organization is outside of the node's group"), (5, "outcome: has a value this build does not know")]
        );
    }
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let limit = Limit::new(50).expect("a limit");
    let filter = store::usage::RequestFilter::default();
    let page =
        store::usage::list(&mut tx, bed.installation.workspace_id, &filter, None, limit).await.expect("a ledger");
    let mut booked: Vec<_> = page.items.iter().map(|event| event.id).collect();
    booked.sort_unstable();
    assert_eq!(booked, good.iter().map(|event| event.id).collect::<Vec<_>>());
    assert_eq!(page.items[0].metadata, good[0].metadata);
}
