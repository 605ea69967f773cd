//! Kept responses over the real link: from one node to another, sealed on the way and at rest, for the node's group only.

use std::time::Duration;

use domain::id::IdMint as _;
use domain::{OrganizationId, WorkspaceId};
use link::responses::{KeepError, Place};
use link::sync::identity::Identity;
use link::sync::transport::Tls;
use proto::v1;
use proto::v1::response_keeping_client::ResponseKeepingClient;
use tonic::Code;

use super::bed::{Bed, TestNode, until};

const CANARY: &[u8] = b"what the canary said";

fn place(bed: &Bed, id: &str) -> Place {
    Place {
        organization: bed.organization(),
        workspace: bed.installation.workspace_id,
        environment: bed.installation.environments[0].1,
        id: id.to_owned(),
    }
}

/// Waits until the node has the organization's policy, and with it the key.
async fn in_step(bed: &Bed, node: &TestNode) {
    until("the node holds the organization", async || (node.revision(bed.organization()) > 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_keeps_another_finds_and_nobody_between_can_read() {
    let bed = Bed::new().await;
    let (here, there) = (bed.join(bed.tcp()).await, bed.join(bed.pipe()).await);
    in_step(&bed, &here).await;
    in_step(&bed, &there).await;
    let (keeping, finding) = (here.link.responses(), there.link.responses());
    let until = bed.cx.now().plus(Duration::from_mins(10));
    keeping.keep(place(&bed, "resp_1"), CANARY.into(), until).await.expect("is kept");
    let found = finding.find(place(&bed, "resp_1")).await.expect("an answer");
    assert_eq!(found.as_deref(), Some(CANARY));

    let mut tx = bed.cx.store.system().await.expect("a transaction");
    let stored = store::kept_responses::Place {
        organization: bed.organization(),
        workspace: bed.installation.workspace_id,
        environment: bed.installation.environments[0].1,
        id: "resp_1".to_owned(),
    };
    let row = store::kept_responses::find(&mut tx, &stored, bed.cx.now()).await.expect("a look-up").expect("a row");
    assert!(!row.sealed.windows(6).any(|window| window == b"canary"), "at rest it is sealed");
    // A row that somebody moved to another workspace does not open there.
    let moved = store::kept_responses::Place { workspace: WorkspaceId::from_uuid(7), ..stored };
    store::kept_responses::insert(&mut tx, &moved, &row).await.expect("is written");
    tx.commit().await.expect("commits");
    let at_the_other = Place { workspace: WorkspaceId::from_uuid(7), ..place(&bed, "resp_1") };
    assert!(matches!(finding.find(at_the_other).await, Err(KeepError::Sealed)));

    assert_eq!(finding.find(place(&bed, "resp_2")).await.expect("an answer"), None);
    assert!(finding.delete(place(&bed, "resp_1")).await.expect("an answer"));
    assert_eq!(keeping.find(place(&bed, "resp_1")).await.expect("an answer"), None);
    assert!(!keeping.delete(place(&bed, "resp_1")).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reaches_only_organizations_of_its_group() {
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
    let mut client = ResponseKeepingClient::new(channel);
    let mut place = v1::KeptPlace {
        organization_id: OrganizationId::from_uuid(42).to_string(),
        workspace_id: bed.installation.workspace_id.to_string(),
        environment_id: bed.installation.environments[0].1.to_string(),
        response_id: "resp_1".to_owned(),
    };
    let find = |place: &v1::KeptPlace| v1::FindKeptRequest { place: Some(place.clone()) };
    let refused = client.find(find(&place)).await.expect_err("is refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    place.organization_id = bed.organization().to_string();
    assert_eq!(client.find(find(&place)).await.expect("an answer").into_inner().data_key_version, None);
    place.response_id = "../x".to_owned();
    assert_eq!(client.find(find(&place)).await.expect_err("is refused").code(), Code::InvalidArgument);
}
