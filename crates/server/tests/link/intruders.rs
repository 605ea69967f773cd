//! Who is kept out: without a certificate, with an expired one, with one of another authority, with one that was not issued.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::id::IdMint as _;
use domain::{NodeId, OrganizationId, Timestamp};
use downlink::ca::Authority;
use link::sync::identity::{Candidate, Identity};
use link::sync::transport::{Tls, connect_by_fingerprint};
use policy::{Kind, wire::frame};
use proto::v1;
use proto::v1::node_sync_client::NodeSyncClient;
use proto::v1::usage_ingest_client::UsageIngestClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::{Bed, until};

async fn authority(bed: &Bed) -> Authority {
    let cx = &bed.cx;
    Authority::load(&cx.store, &cx.keyring, Arc::clone(&cx.entropy), cx.now()).await.expect("an authority")
}

/// An identity that this authority certifies at `at`, as a thief of its key could.
fn identity(authority: &Authority, trusted: &Authority, node: NodeId, bed: &Bed, at: Timestamp) -> Identity {
    let candidate = Candidate::generate(bed.cx.entropy.as_ref()).expect("keys");
    let csr = candidate.request("", "", "").csr_der;
    let issued = authority.certify_node(&csr, node, bed.installation.node_group_id, at).expect("a certificate");
    let der = |list: &[rustls_pki_types::CertificateDer<'_>]| list.iter().map(|it| it.to_vec().into()).collect();
    let answer = v1::EnrolResponse {
        node_id: node.to_string(),
        node_group_id: bed.installation.node_group_id.to_string(),
        certificate_chain_der: der(&issued.chain),
        ca_bundle_der: der(trusted.bundle()),
        signing_keys: Vec::new(),
        not_after_us: issued.not_after.as_micros(),
    };
    candidate.enrolled(answer, at).expect("an identity")
}

pub(super) fn hello(node: NodeId) -> v1::Hello {
    let kinds = Kind::ALL.map(|kind| frame::kind_message(kind).into()).to_vec();
    v1::Hello {
        node_id: node.to_string(),
        build: "test".to_owned(),
        protocol: 1,
        protocol_min: 1,
        kinds,
        held: Vec::new(),
        boot_id: "b".to_owned(),
    }
}

pub(super) async fn open(
    channel: Channel,
    hello: v1::Hello,
) -> Result<(mpsc::Sender<v1::NodeMessage>, Streaming<v1::ControlMessage>), tonic::Status> {
    let (sender, receiver) = mpsc::channel(16);
    sender.send(v1::NodeMessage { body: Some(Up::Hello(hello)) }).await.expect("room");
    let stream = NodeSyncClient::new(channel).sync(ReceiverStream::new(receiver)).await?;
    Ok((sender, stream.into_inner()))
}

/// How far an identity gets: the code of the refusal, or `None` when not even a connection stands.
async fn refusal(bed: &Bed, identity: &Identity) -> Option<Code> {
    let tls = Tls::new(identity).expect("usable TLS");
    let channel = tls.connect(&bed.tcp()).await.ok()?;
    let opened =
        tokio::time::timeout(Duration::from_secs(10), open(channel, hello(identity.node_id))).await.expect("in time");
    match opened {
        // A certificate that TLS refuses shows as a connection that breaks under the first call, in one of several ways.
        Err(status) => {
            let is_answer =
                matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition);
            is_answer.then(|| status.code())
        }
        Ok((_, mut stream)) => match stream.message().await {
            Ok(message) => panic!("got in: {message:?}"),
            Err(status) => Some(status.code()),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_not_ours_not_valid_or_not_issued_are_refused() {
    let (bed, other) = (Bed::new().await, Bed::new().await);
    let (ours, theirs) = (authority(&bed).await, authority(&other).await);
    let member = bed.join(bed.tcp()).await;
    member.until_accepts(&bed.key).await;
    let (id, now) = (member.link.node_id(), bed.cx.now());
    let expired = identity(&ours, &ours, id, &bed, now.minus(Duration::from_secs(48 * 3_600)));
    assert_eq!(refusal(&bed, &expired).await, None, "expired");
    let early = identity(&ours, &ours, id, &bed, now.plus(Duration::from_secs(48 * 3_600)));
    assert_eq!(refusal(&bed, &early).await, None, "not yet valid");
    let foreign = identity(&theirs, &ours, id, &bed, now);
    assert_eq!(refusal(&bed, &foreign).await, None, "of another authority");
    let forged = identity(&ours, &ours, id, &bed, now);
    assert_eq!(refusal(&bed, &forged).await, Some(Code::PermissionDenied), "never booked as issued");
    // None of it disturbed the real one.
    assert!(member.link.status().state().is_connected);
    assert_eq!(member.link.status().state().sessions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_nothing_but_enrolment_is_served() {
    let bed = Bed::new().await;
    let fingerprint: [u8; 32] =
        URL_SAFE_NO_PAD.decode(&bed.handle.fingerprint).expect("base64").try_into().expect("32 bytes");
    let channel = connect_by_fingerprint(&bed.tcp(), fingerprint).await.expect("a connection");
    let node = NodeId::from_uuid(bed.cx.mint.next_uuid());
    let refused = open(channel.clone(), hello(node)).await.map(|_| ()).expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let batches = tokio_stream::iter([v1::UsageBatch::default()]);
    let refused = UsageIngestClient::new(channel.clone()).report(batches).await.map(|_| ()).expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let request = v1::RenewRequest { csr_der: Vec::new().into(), build: String::new() };
    let refused = NodeSyncClient::new(channel).renew(request).await.map(|_| ()).expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        connect_by_fingerprint(&bed.tcp(), [0; 32]).await.is_err(),
        "a server that cannot show the authority is not trusted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_for_another_organization_gets_nothing_and_is_written_down() {
    let bed = Bed::new().await;
    let now = bed.cx.now();
    let group = domain::node::NodeGroup {
        id: domain::NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "narrow".parse().expect("a slug"),
        region: String::new(),
        holds: domain::node::Holds::Only(vec![bed.organization()]),
        version: 1,
        created_at: now,
    };
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;
    let mut bed = bed;
    bed.installation.node_group_id = group.id;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let id = node.link.node_id();
    let folder = node.stop().await;
    let identity = Identity::load(folder.path()).expect("a file").expect("an identity");
    let channel = Tls::new(&identity).expect("usable TLS").connect(&bed.tcp()).await.expect("a connection");

    let impostor = open(channel.clone(), hello(NodeId::from_uuid(7))).await.map(|_| ()).expect_err("refused");
    assert_eq!(impostor.code(), Code::PermissionDenied, "a hello in another node's name");

    let (sender, mut stream) = open(channel, hello(id)).await.expect("a stream");
    let foreign = OrganizationId::from_uuid(42);
    let request = v1::ResyncRequest { organization_id: foreign.to_string(), reason: "curious".to_owned() };
    sender.send(v1::NodeMessage { body: Some(Up::Resync(request)) }).await.expect("room");
    until("the attempt is in the audit log", async || {
        let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
        let limit = domain::Limit::new(50).expect("a limit");
        let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
        page.items.iter().any(|entry| entry.action == "node.scope").then_some(())
    })
    .await;
    sender
        .send(v1::NodeMessage { body: Some(Up::Ping(v1::Ping { nonce: 9, ..v1::Ping::default() })) })
        .await
        .expect("room");
    loop {
        match stream.message().await.expect("a message").expect("not closed").body {
            Some(Down::Pong(pong)) if pong.nonce == 9 => break,
            Some(Down::FullSetBegin(begin)) => {
                assert_eq!(begin.target.expect("a target").organization_id, bed.organization().to_string());
            }
            Some(Down::FullSetChunk(chunk)) => assert_eq!(chunk.organization_id, bed.organization().to_string()),
            _ => {}
        }
    }
}
