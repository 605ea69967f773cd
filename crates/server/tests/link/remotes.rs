//! Files and batches at upstreams over the real link: noted by one node, known to another, for the node's group only.

use std::time::Duration;

use domain::id::IdMint as _;
use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{CredentialId, OrganizationId, RemoteId, VirtualKeyId, WorkspaceId};
use link::remotes::{Listing, RemoteError};
use tonic::Code;

use super::bed::Bed;

fn object(bed: &Bed) -> RemoteObject {
    RemoteObject {
        id: RemoteId::from_uuid(bed.cx.mint.next_uuid()),
        scope: RemoteScope {
            organization: bed.organization(),
            workspace: bed.installation.workspace_id,
            environment: bed.installation.environments[0].1,
        },
        kind: RemoteKind::Batch,
        virtual_key: VirtualKeyId::from_uuid(1),
        provider: "openai".to_owned(),
        credential: CredentialId::from_uuid(2),
        upstream_id: "batch_up".to_owned(),
        facts: "{}".to_owned(),
        created_at: bed.cx.now(),
        expires_at: bed.cx.now().plus(Duration::from_secs(86_400)),
        due_at: Some(bed.cx.now()),
        booked_at: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_notes_another_finds_and_takes() {
    let bed = Bed::new().await;
    let (here, there) = (bed.join(bed.tcp()).await, bed.join(bed.pipe()).await);
    let (here, there) = (here.link.remotes(), there.link.remotes());
    let it = object(&bed);
    here.note(&it).await.expect("is noted");
    assert_eq!(there.find(it.scope, it.id).await.expect("an answer"), Some(it.clone()));
    let elsewhere = RemoteScope { workspace: WorkspaceId::from_uuid(7), ..it.scope };
    assert_eq!(there.find(elsewhere, it.id).await.expect("an answer"), None);
    let listing = Listing { kind: RemoteKind::Batch, after: None, limit: 10, is_ascending: false };
    assert_eq!(there.list(it.scope, listing).await.expect("a list"), std::slice::from_ref(&it));
    assert!(there.list(elsewhere, listing).await.expect("a list").is_empty());

    let taken = there.take_due(5).await.expect("an answer");
    assert_eq!(taken.iter().map(|it| it.id).collect::<Vec<_>>(), [it.id]);
    assert!(here.take_due(5).await.expect("an answer").is_empty(), "it is in another node's hands");
    there.settle(it.scope, it.id, None).await.expect("is settled");
    let found = here.find(it.scope, it.id).await.expect("an answer").expect("is there");
    assert!(found.booked_at.is_some() && found.due_at.is_none());
    assert!(here.forget(it.scope, it.id).await.expect("an answer"));
    assert!(!there.forget(it.scope, it.id).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_notes_only_for_organizations_of_its_group() {
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
    let node = bed.join(bed.tcp()).await.link.remotes();
    let it = object(&bed);
    let strange = RemoteScope { organization: OrganizationId::from_uuid(42), ..it.scope };
    let refused = node.note(&RemoteObject { scope: strange, ..it.clone() }).await.expect_err("is refused");
    assert!(matches!(refused, RemoteError::Link(status) if status.code() == Code::PermissionDenied));
    let refused = node.settle(strange, it.id, None).await.expect_err("is refused");
    assert!(matches!(refused, RemoteError::Link(status) if status.code() == Code::PermissionDenied));
    node.note(&it).await.expect("is noted");
    assert_eq!(node.take_due(5).await.expect("an answer").len(), 1);
}
