//! The stories. Each is a promise of `docs/PROTOCOL.md`.

use std::time::Duration;

use domain::credential::{Credential, SealedSecret, seal_context};
use domain::deployment::Deployment;
use domain::id::IdMint as _;
use domain::node::{Holds, NodeGroup, NodeStatus};
use domain::{Clock as _, CredentialId, DeploymentId, DisplayName, ModelName, NodeGroupId, Slug};
use domain::{JobName, Limit, OrganizationId, Permit, Scope};
use downlink::ca::Authority;
use link::sync::StartError;
use link::sync::enrol::EnrolError;
use policy::KeyRefusal;

use super::bed::{Bed, TestNode, until};

async fn status(bed: &Bed, node: &TestNode) -> NodeStatus {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let listed = store::nodes::list_status(&mut tx, &[node.link.node_id()]).await.expect("a status");
    listed.into_iter().next().map(|(_, status)| status).unwrap_or_default()
}

async fn actions(bed: &Bed) -> Vec<String> {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let limit = Limit::new(100).expect("a limit");
    let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
    page.items.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_by_tcp_and_by_pipe_hold_the_policy_and_follow_every_change() {
    let bed = Bed::new().await;
    let nodes = [bed.join(bed.tcp()).await, bed.join(bed.pipe()).await];
    for node in &nodes {
        node.until_accepts(&bed.key).await;
        until("ready", async || node.readiness.is_ready().then_some(())).await;
        let snapshot = node.link.policy().load_full();
        let workspace = snapshot.workspace(bed.installation.workspace_id).expect("the workspace");
        assert!(workspace.model("echo/echo-1").is_some(), "the built-in model is there");
        assert_eq!(snapshot.organization(bed.organization()).expect("held").bad_resources().count(), 0);
    }
    let (key, token, _) = bed.issue_key().await;
    for node in &nodes {
        node.until_accepts(&token).await;
    }
    let revision = bed.revoke_key(key.id).await;
    for node in &nodes {
        node.until_refuses(&token, KeyRefusal::Revoked).await;
        assert_eq!(node.identify(&bed.key), Ok(()));
        let shown = until("the console sees the acknowledgement", async || {
            let status = status(&bed, node).await;
            (status.is_connected && status.acknowledged == [(bed.organization(), revision)] && status.spool_depth == 3)
                .then_some(status)
        })
        .await;
        assert_eq!((shown.last_nack, shown.build.as_str()), (None, link::BUILD));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_is_cut_and_stays_out_while_others_go_on() {
    let bed = Bed::new().await;
    let (bad, good) = (bed.join(bed.tcp()).await, bed.join(bed.tcp()).await);
    bad.until_accepts(&bed.key).await;
    good.until_accepts(&bed.key).await;
    let (id, now) = (bad.link.node_id(), bed.cx.now());
    bed.write(async |tx, permit| store::nodes::revoke(tx, permit, id, now).await).await;
    let end = until("the revoked node is cut", async || bad.link.status().state().last_end).await;
    assert!(end.contains("revoked"), "{end}");
    let (_, token, _) = bed.issue_key().await;
    good.until_accepts(&token).await;
    // It keeps trying and is refused each time; what it holds does not move any more.
    until("it was refused on a new stream", async || {
        actions(&bed).await.iter().any(|action| action == "node.refused").then_some(())
    })
    .await;
    assert_eq!(bad.identify(&token), Err(KeyRefusal::Invalid));
    assert!(!bad.link.status().state().is_connected);
    assert!(good.link.status().state().is_connected);
    until("the console shows it as gone", async || (!status(&bed, &bad).await.is_connected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_works_once_and_only_at_its_control_plane() {
    let bed = Bed::new().await;
    let token = bed.join_token().await;
    let start = async |token: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        tokio::time::timeout(Duration::from_secs(2), TestNode::start(folder, bed.tcp(), Some(token.to_owned()))).await
    };
    start(&token).await.expect("in time").expect("the first use");
    let second = start(&token).await.expect("in time");
    assert!(matches!(second, Err(StartError::Enrol(EnrolError::Refused { .. }))));
    // A fingerprint of another authority: the node does not hand its token over, and goes on looking for the right one.
    let fresh = bed.join_token().await;
    let (secret, fingerprint) = fresh.split_once('.').expect("a fingerprint");
    let foreign = format!("{secret}.{}", fingerprint.chars().rev().collect::<String>());
    assert!(!matches!(start(&foreign).await, Ok(Ok(_))));
    start(&fresh).await.expect("in time").expect("the token was not used up");
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(TestNode::start(folder, bed.tcp(), None).await, Err(StartError::NotEnrolled)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_object_is_named_while_the_good_ones_of_its_revision_apply_and_it_mends_itself() {
    let bed = Bed::new().await;
    let node = bed.join(bed.pipe()).await;
    node.until_accepts(&bed.key).await;
    let (organization_id, now) = (bed.organization(), bed.cx.now());
    let mut credential = Credential {
        id: CredentialId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id,
        provider: "openai".to_owned(),
        name: DisplayName::parse("sealed elsewhere").expect("a name"),
        base_url: "https://api.example.com/v1".to_owned(),
        secret: Some(SealedSecret { key_version: 1, ciphertext: vec![9; 60] }),
        secret_version: 1,
        allows_passthrough: false,
        data_policy: None,
        hint: String::new(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    let deployment = Deployment {
        id: DeploymentId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id,
        workspace_id: bed.installation.workspace_id,
        name: ModelName::parse("needs-it").expect("a name"),
        provider: "openai".to_owned(),
        upstream_model: "gpt-4o-mini".to_owned(),
        base_model: None,
        credential_id: Some(credential.id),
        is_enabled: true,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    let (key, token) = bed.new_key();
    let ((), revision) = bed
        .write(async |tx, permit| {
            store::credentials::insert(tx, permit, &credential).await?;
            store::deployments::insert(tx, permit, &deployment).await?;
            store::virtual_keys::insert(tx, permit, &key).await
        })
        .await;
    node.until_accepts(&token).await;
    let nack = until("the console names the bad object", async || status(&bed, &node).await.last_nack).await;
    assert_eq!((nack.organization_id, nack.revision), (organization_id, revision));
    let named: Vec<_> =
        nack.reasons.iter().map(|(key, reason)| (key.as_str(), reason.split(':').next().unwrap_or_default())).collect();
    let credential_key = format!("credential/{}", credential.id);
    let deployment_key = format!("deployment/{}", deployment.id);
    assert!(named.contains(&(credential_key.as_str(), "secret.unopenable")), "{named:?}");
    assert!(named.contains(&(deployment_key.as_str(), "credential_id.dangling")), "{named:?}");
    until("the refusal is in the audit log", async || {
        actions(&bed).await.iter().any(|action| action == "node.nack").then_some(())
    })
    .await;

    // Sealed rightly, it recovers without anybody touching the node.
    bed.write(async |tx, permit| {
        let keys = store::credentials::list_data_keys(tx).await?;
        let data_key = bed.cx.keyring.data_key(organization_id, &keys[0].sealed).expect("a data key");
        credential.secret_version = 2;
        let place = seal_context(organization_id, credential.id, 2);
        let ciphertext =
            operation::keyring::seal(&data_key, &place, b"sk-canary", bed.cx.entropy.as_ref()).expect("a seal");
        credential.secret = Some(SealedSecret { key_version: keys[0].version, ciphertext });
        store::credentials::update(tx, permit, &credential).await
    })
    .await;
    until("the refusal is mended", async || status(&bed, &node).await.last_nack.is_none().then_some(())).await;
    let snapshot = node.link.policy().load_full();
    let opened = snapshot.organization(organization_id).expect("held").credential(credential.id).expect("opened");
    assert_eq!(opened.secret.as_ref().expect("a secret").expose(), "sk-canary");
    // The plaintext is in memory only.
    for file in walk(node.folder()) {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(9).any(|part| part == b"sk-canary"), "{} holds the secret", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_restarts_from_its_sealed_copy_while_the_control_plane_is_dark_until_policy_is_stale() {
    let mut bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("synced", async || node.link.status().state().is_synced.then_some(())).await;
    bed.go_dark().await;
    until("the link is down", async || (!node.link.status().state().is_connected).then_some(())).await;
    assert_eq!(node.identify(&bed.key), Ok(()), "policy stays in force");
    let (address, folder) = (bed.tcp(), node.stop().await);

    let node = TestNode::start(folder, address.clone(), None).await.expect("a start from the copy");
    assert_eq!(node.identify(&bed.key), Ok(()));
    assert!(node.readiness.is_ready() && node.link.status().state().is_from_copy);
    // Past the organization's bound nothing can be verified, and nothing is called invalid.
    node.clock.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(node.identify(&bed.key), Err(KeyRefusal::Unverifiable));
    assert_eq!(node.identify("hgk_d1_not_a_key"), Err(KeyRefusal::Invalid));
    until("no longer ready", async || (!node.readiness.is_ready()).then_some(())).await;

    // Word from the control plane makes it current again, without a restart.
    bed.come_back().await;
    node.until_accepts(&bed.key).await;
    until("ready again", async || node.readiness.is_ready().then_some(())).await;
    let (_, token, _) = bed.issue_key().await;
    node.until_accepts(&token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_bit_in_the_sealed_copy_refuses_it_and_the_control_plane_replaces_it() {
    let mut bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let path = node.copy_of(bed.organization());
    until("the copy is written", async || path.exists().then_some(())).await;
    bed.go_dark().await;
    let (address, folder) = (bed.tcp(), node.stop().await);
    let mut bytes = std::fs::read(&path).expect("the copy");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("the changed copy");

    let node = TestNode::start(folder, address, None).await.expect("a start");
    let state = node.link.status().state();
    assert_eq!(state.bad_copies.len(), 1, "{state:?}");
    assert!(!node.readiness.is_ready());
    assert_eq!(node.identify(&bed.key), Err(KeyRefusal::Unverifiable), "cannot verify is not invalid");
    bed.come_back().await;
    node.until_accepts(&bed.key).await;
    until("ready", async || node.readiness.is_ready().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_never_holds_an_organization_outside_its_group() {
    let bed = Bed::new().await;
    let now = bed.cx.now();
    let foreign = OrganizationId::from_uuid(bed.cx.mint.next_uuid());
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "elsewhere".parse::<Slug>().expect("a slug"),
        region: String::new(),
        holds: Holds::Only(vec![bed.organization()]),
        version: 1,
        created_at: now,
    };
    // Another tenant of the installation, with a workspace of its own.
    let permit = Permit::system(JobName::Bootstrap, Scope::Organization(foreign));
    let mut tx = bed.cx.store.found(foreign).await.expect("a founding");
    let name = DisplayName::parse("Other").expect("a name");
    let slug = "other".parse::<Slug>().expect("a slug");
    control::commands::organizations::found(&bed.cx, &mut tx, &permit, foreign, (slug, name))
        .await
        .expect("an organization");
    let audit = domain::audit::Audit::new("test.arrange", "test", &"", &"");
    let id = domain::AuditEntryId::from_uuid(bed.cx.mint.next_uuid());
    tx.audit(&permit, store::AuditDraft { id, at: now, actor_name: String::new(), audit });
    tx.commit().await.expect("a commit");
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;

    let fleet = bed.join(bed.pipe()).await;
    let mut narrow_bed = bed;
    narrow_bed.installation.node_group_id = group.id;
    let narrow = narrow_bed.join(narrow_bed.pipe()).await;
    until("the shared fleet holds both", async || {
        (fleet.link.policy().load().organizations().count() == 2).then_some(())
    })
    .await;
    narrow.until_accepts(&narrow_bed.key).await;
    until("synced", async || narrow.link.status().state().is_synced.then_some(())).await;
    assert_eq!(
        narrow.link.policy().load().organizations().map(|it| it.id).collect::<Vec<_>>(),
        [narrow_bed.organization()]
    );
    assert!(!narrow.copy_of(foreign).exists());
    assert!(fleet.revision(foreign) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_without_losing_the_stream() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    let before = node.link.status().state().certificate_ends_at;
    let sessions = node.link.status().state().sessions;
    let stop = tokio_util::sync::CancellationToken::new();
    let load = {
        let (policy, clock, key) = (node.link.policy(), std::sync::Arc::clone(&node.clock), bed.key.clone());
        let stop = stop.clone();
        runtime::tasks::spawn("test.load", async move {
            let (mut n_accepted, mut n_refused) = (0_u64, 0_u64);
            while !stop.is_cancelled() {
                match policy.load().identify(&key, clock.now()) {
                    Ok(_) => n_accepted += 1,
                    Err(_) => n_refused += 1,
                }
                tokio::task::yield_now().await;
            }
            (n_accepted, n_refused)
        })
    };
    node.clock.advance(Duration::from_secs(17 * 3_600));
    let serial = async || {
        let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
        store::nodes::get(&mut tx, node.link.node_id()).await.expect("the node").certificate_serial
    };
    let first = serial().await;
    until("renewed", async || (serial().await != first).then_some(())).await;
    until("told", async || (node.link.status().state().certificate_ends_at != before).then_some(())).await;
    assert_eq!(node.link.status().state().sessions, sessions, "the stream went on");
    let (_, token, _) = bed.issue_key().await;
    node.until_accepts(&token).await;
    stop.cancel();
    let (n_accepted, n_refused) = load.await.expect("the load ends").expect("and did not panic");
    assert!(n_accepted > 1_000, "{n_accepted} calls are no load");
    assert_eq!(n_refused, 0, "calls went on while the certificate changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_and_the_signing_key_outlive_their_process() {
    let mut bed = Bed::new().await;
    let before = bed.handle.fingerprint.clone();
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    bed.go_dark().await;
    bed.come_back().await;
    assert_eq!(bed.handle.fingerprint, before);
    let (_, token, _) = bed.issue_key().await;
    node.until_accepts(&token).await;
    let (cx, clock) = (&bed.cx, bed.cx.now());
    let again =
        Authority::load(&cx.store, &cx.keyring, std::sync::Arc::clone(&cx.entropy), clock).await.expect("an authority");
    assert_eq!(again.fingerprint(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_shrinks_by_more_than_half_is_followed_when_the_change_log_explains_it() {
    let bed = Bed::new().await;
    let node = bed.join(bed.pipe()).await;
    node.until_accepts(&bed.key).await;
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
    let many: Vec<_> = (0..60).map(deployment).collect();
    let ((), full) = bed
        .write(async |tx, permit| {
            for deployment in &many {
                store::deployments::insert(tx, permit, deployment).await?;
            }
            Ok(())
        })
        .await;
    until("the node holds many", async || (node.revision(bed.organization()) == full).then_some(())).await;
    let ((), few) = bed
        .write(async |tx, permit| {
            for deployment in &many {
                store::deployments::archive(tx, permit, deployment.id, now).await?;
            }
            Ok(())
        })
        .await;
    until("the node holds few", async || (node.revision(bed.organization()) == few).then_some(())).await;
    let snapshot = node.link.policy().load_full();
    let workspace = snapshot.workspace(bed.installation.workspace_id).expect("the workspace");
    assert!(workspace.model("many-0").is_none() && workspace.model("echo/echo-1").is_some());
    assert_eq!(node.link.status().state().refused, 0);
}
