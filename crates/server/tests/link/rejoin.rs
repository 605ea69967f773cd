//! Nodes that come back: their certificate ended, they were revoked, or an earlier build left their files elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock as _, Limit, NodeId};
use downlink::ca::Authority;
use downlink::publisher::PolicySigner;
use link::sync::enrol::EnrolError;
use link::sync::identity::{Candidate, Identity};
use link::sync::{StartError, TokenSource};
use policy::KeyRefusal;
use proto::v1;
use runtime::clock::SystemClock;

use super::bed::{Bed, TestNode, until};

/// Makes the certificate in a node's folder one that ended a day ago, as after two days without power.
async fn expire(bed: &Bed, folder: &Path) -> NodeId {
    let cx = &bed.cx;
    let authority = Authority::load(&cx.store, &cx.keyring, Arc::clone(&cx.entropy), cx.now()).await.expect("one");
    let signer = PolicySigner::load(cx).await.expect("a signing key");
    let identity = Identity::load(folder).expect("a file").expect("an identity");
    let candidate = Candidate::again(&identity).expect("keys");
    let then = cx.now().minus(Duration::from_secs(48 * 3_600));
    let csr = candidate.request("", "", "").csr_der;
    let issued = authority.certify_node(&csr, identity.node_id, identity.group_id, then).expect("a certificate");
    let der = |list: &[rustls_pki_types::CertificateDer<'_>]| list.iter().map(|it| it.to_vec().into()).collect();
    let answer = v1::EnrolResponse {
        node_id: identity.node_id.to_string(),
        node_group_id: identity.group_id.to_string(),
        certificate_chain_der: der(&issued.chain),
        ca_bundle_der: der(authority.bundle()),
        signing_keys: signer.public_keys(),
        not_after_us: issued.not_after.as_micros(),
    };
    candidate.enrolled(answer, then).expect("an identity").save(folder).expect("a written file");
    identity.node_id
}

/// How many join tokens are still unused.
async fn unused_tokens(bed: &Bed) -> usize {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    store::join_tokens::list(&mut tx, None, Limit::new(100).expect("a limit")).await.expect("a list").items.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_certificate_ended_comes_back_as_itself_by_a_join_token() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("the copy is written", async || node.copy_of(bed.organization()).exists().then_some(())).await;
    let folder = node.stop().await;
    let id = expire(&bed, folder.path()).await;

    let node = TestNode::start(folder, bed.tcp(), None).await.expect("it serves from its copy");
    assert_eq!(node.identify(&bed.key), Ok(()));
    until("it stays out", async || node.link.status().state().last_end).await;
    assert_eq!(node.link.status().state().sessions, 0);
    let folder = node.stop().await;

    let token = bed.join_token().await;
    let node = TestNode::start(folder, bed.tcp(), Some(token.clone())).await.expect("a start");
    assert_eq!(node.link.node_id(), id, "the id stays");
    assert_eq!(node.identify(&bed.key), Ok(()), "and so do the sealed copies");
    let (_, fresh, _) = bed.issue_key().await;
    node.until_accepts(&fresh).await;
    assert_eq!(unused_tokens(&bed).await, 0);
    // The token stays in the settings and is of no use: the identity wins.
    let folder = node.stop().await;
    let node = TestNode::start(folder, bed.tcp(), Some(token)).await.expect("another start");
    assert_eq!(node.link.node_id(), id);
    until("synced", async || node.link.status().state().is_synced.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_comes_back_by_its_token_when_the_control_plane_does() {
    let mut bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("the copy is written", async || node.copy_of(bed.organization()).exists().then_some(())).await;
    let folder = node.stop().await;
    let id = expire(&bed, folder.path()).await;
    let token = bed.join_token().await;
    bed.go_dark().await;
    let node = TestNode::start(folder, bed.tcp(), Some(token)).await.expect("it serves from its copy meanwhile");
    assert_eq!(node.identify(&bed.key), Ok(()));
    bed.come_back().await;
    let (_, fresh, _) = bed.issue_key().await;
    node.until_accepts(&fresh).await;
    assert_eq!(node.link.node_id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_the_process_of_its_control_plane_comes_back_without_being_given_a_token() {
    let bed = Bed::new().await;
    let node = bed.join(bed.pipe()).await;
    node.until_accepts(&bed.key).await;
    let folder = node.stop().await;
    let id = expire(&bed, folder.path()).await;
    let (cx, installation) = (Arc::clone(&bed.cx), Arc::new(bed.installation.clone()));
    let source = TokenSource(Arc::new(move || {
        let (cx, installation) = (Arc::clone(&cx), Arc::clone(&installation));
        Box::pin(async move { control::bootstrap::issue_local_join_token(&cx, &installation).await.ok() })
    }));
    let mut config = TestNode::config(&folder, bed.pipe());
    config.token_source = Some(source);
    let node = TestNode::start_with(folder, config, SystemClock.now()).await.expect("a start");
    let (_, fresh, _) = bed.issue_key().await;
    node.until_accepts(&fresh).await;
    assert_eq!(node.link.node_id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_beside_a_valid_identity_is_left_alone() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let (id, folder) = (node.link.node_id(), node.stop().await);
    let token = bed.join_token().await;
    let node = TestNode::start(folder, bed.tcp(), Some(token)).await.expect("a start");
    until("synced", async || node.link.status().state().is_synced.then_some(())).await;
    assert_eq!(node.link.node_id(), id);
    assert_eq!(unused_tokens(&bed).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_starts_over_under_another_id_by_a_fresh_join_token() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("the copy is written", async || node.copy_of(bed.organization()).exists().then_some(())).await;
    let (id, now) = (node.link.node_id(), bed.cx.now());
    bed.write(async |tx, permit| store::nodes::revoke(tx, permit, id, now).await).await;
    let folder = node.stop().await;
    let node = TestNode::start(folder, bed.tcp(), Some(bed.join_token().await)).await.expect("a start");
    assert_ne!(node.link.node_id(), id, "a revoked id is never given again");
    assert!(node.link.status().state().bad_copies.is_empty(), "copies of the earlier id are gone");
    node.until_accepts(&bed.key).await;

    // A node of another installation starts over as well.
    let other = Bed::new().await;
    let folder = node.stop().await;
    let node = TestNode::start(folder, other.tcp(), Some(other.join_token().await)).await.expect("a start");
    until("it holds the policy of the other installation", async || node.identify(&other.key).ok()).await;
    assert_eq!(node.identify(&bed.key), Err(KeyRefusal::Invalid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_stops_a_node_only_when_it_has_nothing_to_serve_from() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("the copy is written", async || node.copy_of(bed.organization()).exists().then_some(())).await;
    let folder = node.stop().await;
    expire(&bed, folder.path()).await;
    let used = bed.join_token().await;
    let other = TestNode::start(tempfile::tempdir().expect("a folder"), bed.tcp(), Some(used.clone())).await;
    other.expect("a node").stop().await;
    let node = TestNode::start(folder, bed.tcp(), Some(used.clone())).await.expect("it serves from its copy");
    assert_eq!(node.identify(&bed.key), Ok(()));
    let folder = node.stop().await;
    std::fs::remove_dir_all(folder.path().join("policy")).expect("no copies any more");
    let refused = TestNode::start(folder, bed.tcp(), Some(used)).await.map(|_| ()).expect_err("nothing to serve from");
    assert!(matches!(refused, StartError::Enrol(EnrolError::Refused { .. })), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_build_kept_one_folder_deeper_is_moved_up() {
    let mut bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("the copy is written", async || node.copy_of(bed.organization()).exists().then_some(())).await;
    let (id, folder) = (node.link.node_id(), node.stop().await);
    let deeper = folder.path().join("node");
    std::fs::create_dir(&deeper).expect("a folder");
    for name in ["identity.json", "policy"] {
        std::fs::rename(folder.path().join(name), deeper.join(name)).expect("moved down");
    }
    bed.go_dark().await;
    let node = TestNode::start(folder, bed.tcp(), None).await.expect("a start");
    assert_eq!((node.link.node_id(), node.identify(&bed.key)), (id, Ok(())));
    assert!(!deeper.exists());
    bed.come_back().await;
    until("synced", async || node.link.status().state().is_synced.then_some(())).await;
}
