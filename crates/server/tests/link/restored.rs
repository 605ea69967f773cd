//! A database from an earlier day, and a control process that is only late: the one is declared, the other is waited for.

use std::time::Duration;

use domain::Limit;
use policy::KeyRefusal;

use super::bed::{Bed, TestNode, until};

async fn actions(bed: &Bed) -> Vec<String> {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let limit = Limit::new(100).expect("a limit");
    let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
    page.items.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_take_the_state_of_a_restored_database_once_that_is_declared() {
    let mut bed = Bed::new().await;
    let (kept, kept_token, _) = bed.issue_key().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&kept_token).await;
    let backup = bed.back_up().await;

    // Life goes on after the backup: keys come and go, and the node gets its next certificate.
    bed.come_back().await;
    let mut later = Vec::new();
    for _ in 0..60 {
        later.push(bed.issue_key().await.1);
    }
    bed.revoke_key(kept.id).await;
    node.until_refuses(&kept_token, KeyRefusal::Revoked).await;
    node.until_accepts(&later[59]).await;
    let before = node.link.status().state().certificate_ends_at;
    node.clock.advance(Duration::from_secs(17 * 3_600));
    until("renewed", async || (node.link.status().state().certificate_ends_at != before).then_some(())).await;
    let ahead = node.revision(bed.organization());
    bed.go_dark().await;
    let folder = node.stop().await;

    // The database of the backup: it knows neither the keys nor the certificate, and does not say anything until told.
    bed.restore(backup).await;
    let node = TestNode::start(folder, bed.tcp(), None).await.expect("a start");
    until("its certificate is unknown", async || {
        node.link.status().state().last_end.filter(|end| end.contains("not issued here"))
    })
    .await;
    let restored = downlink::sync::restored::declare(&bed.cx).await.expect("a declaration");
    assert!(restored.revisions[&bed.organization()] > ahead);
    // Much less than the node holds, and confirmed by the declaration alone.
    node.until_accepts(&kept_token).await;
    for token in [&later[0], &later[59]] {
        assert_eq!(node.identify(token), Err(KeyRefusal::Invalid));
    }
    assert_eq!(node.revision(bed.organization()), restored.revisions[&bed.organization()]);
    let (_, fresh, _) = bed.issue_key().await;
    node.until_accepts(&fresh).await;
    assert_eq!(node.link.status().state().refused, 0);
    assert!(actions(&bed).await.contains(&"installation.restored".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_process_that_is_only_late_never_moves_a_node_back() {
    let mut bed = Bed::new().await;
    let (key, token, _) = bed.issue_key().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&token).await;
    let replica = bed.back_up().await;
    bed.come_back().await;
    bed.revoke_key(key.id).await;
    let (_, fresh, revision) = bed.issue_key().await;
    node.until_refuses(&token, KeyRefusal::Revoked).await;
    node.until_accepts(&fresh).await;

    // The node meets the process whose database stopped following.
    let late = bed.beside(replica).await;
    let folder = node.stop().await;
    let node = TestNode::start(folder, late.tcp(), None).await.expect("a start");
    until("synced with the late one", async || node.link.status().state().is_synced.then_some(())).await;
    until("the late one writes down what it saw", async || {
        actions(&late).await.contains(&"node.ahead".to_owned()).then_some(())
    })
    .await;
    // A change over there carries a revision that the node has long passed.
    late.issue_key().await;
    assert_eq!(node.identify(&token), Err(KeyRefusal::Revoked));
    assert_eq!((node.identify(&fresh), node.revision(bed.organization())), (Ok(()), revision));
    let state = node.link.status().state();
    assert_eq!((state.applied, state.refused), (0, 0), "nothing was even offered: {state:?}");

    let folder = node.stop().await;
    let node = TestNode::start(folder, bed.tcp(), None).await.expect("a start");
    let (_, newest, _) = bed.issue_key().await;
    node.until_accepts(&newest).await;
    assert_eq!(node.identify(&token), Err(KeyRefusal::Revoked));
}
