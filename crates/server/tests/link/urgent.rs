//! What takes something out of use overtakes: a full set under way, announcements that were lost, a change log that was cut.

use std::collections::BTreeSet;

use domain::credential::{Credential, SealedSecret};
use domain::id::IdMint as _;
use domain::kill_switch::{KillSwitch, Target};
use domain::virtual_key::VirtualKey;
use domain::{CredentialId, DeploymentId, DisplayName, KillSwitchId, ModelPattern};
use downlink::sync::SyncServerConfig;
use policy::Kind;
use policy::wire::frame;
use proto::v1;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::{Bed, TestNode, until};
use super::raw::Raw;

/// Names of what an urgent message takes out of use.
fn named(urgent: &v1::Urgent) -> impl Iterator<Item = (Kind, String)> {
    let revoked = urgent.revoked.iter().map(|it| it.key.clone());
    let changed = urgent.changed.iter().map(|it| it.key.clone());
    revoked.chain(changed).flatten().map(|key| (frame::kind(key.kind).expect("a known kind"), key.id))
}

async fn new_credential(bed: &Bed, name: &str) -> Credential {
    let now = bed.cx.now();
    let credential = Credential {
        id: CredentialId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        provider: "openai".to_owned(),
        name: DisplayName::parse(name).expect("a name"),
        base_url: "https://api.example.com/v1".to_owned(),
        secret: Some(SealedSecret { key_version: 1, ciphertext: vec![1; 48] }),
        secret_version: 1,
        allows_passthrough: false,
        data_policy: None,
        hint: String::new(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    bed.write(async |tx, permit| store::credentials::insert(tx, permit, &credential).await).await;
    credential
}

async fn throw(bed: &Bed, target: Target) -> (Kind, String) {
    let switch = KillSwitch {
        id: KillSwitchId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        target,
        reason: "test".to_owned(),
        is_cutting: false,
        created_at: bed.cx.now(),
        lifted_at: None,
    };
    bed.write(async |tx, permit| store::kill_switches::insert(tx, permit, &switch).await).await;
    (Kind::KillSwitch, switch.id.to_string())
}

/// Rotates a key without overlap, replaces a secret, archives a credential, revokes a key, throws a switch of every kind.
async fn take_out_of_use(bed: &Bed, keys: [VirtualKey; 2], credentials: [Credential; 2]) -> BTreeSet<(Kind, String)> {
    let [rotated, revoked] = keys;
    let [replaced, archived] = credentials;
    let mut out = BTreeSet::from([
        (Kind::VirtualKey, rotated.id.to_string()),
        (Kind::VirtualKey, revoked.id.to_string()),
        (Kind::Credential, replaced.id.to_string()),
        (Kind::Credential, archived.id.to_string()),
    ]);
    let secrets = bed.new_key().0.secrets;
    let rotated = VirtualKey { secrets, ..rotated };
    bed.write(async |tx, permit| store::virtual_keys::update(tx, permit, &rotated).await).await;
    bed.revoke_key(revoked.id).await;
    let secret = Some(SealedSecret { key_version: 1, ciphertext: vec![2; 48] });
    let replaced = Credential { secret, secret_version: 2, ..replaced };
    bed.write(async |tx, permit| store::credentials::update(tx, permit, &replaced).await).await;
    let now = bed.cx.now();
    bed.write(async |tx, permit| store::credentials::archive(tx, permit, archived.id, now).await).await;
    for target in [
        Target::Organization,
        Target::Workspace(bed.installation.workspace_id),
        Target::VirtualKey(rotated.id),
        Target::Deployment(DeploymentId::from_uuid(bed.cx.mint.next_uuid())),
        Target::Model(ModelPattern::parse("openai/*").expect("a pattern")),
        Target::Provider("openai".to_owned()),
    ] {
        out.insert(throw(bed, target).await);
    }
    out
}

async fn revision_of(bed: &Bed) -> u64 {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    store::changes::revision(&mut tx).await.expect("a revision")
}

/// A control plane whose policy is larger than the windows and buffers between two processes, and a node that follows it.
async fn large_bed(backlog: usize) -> (Bed, TestNode) {
    let bed = Bed::with(SyncServerConfig { backlog, ..SyncServerConfig::default() }).await;
    let follower = bed.join(bed.tcp()).await;
    let patterns: Vec<_> =
        (0..1_500).map(|n| format!("model-{n:04}-{}", "x".repeat(110)).parse().expect("a pattern")).collect();
    for _ in 0..40 {
        let key = VirtualKey { allowed_models: patterns.clone(), ..bed.new_key().0 };
        bed.write(async |tx, permit| store::virtual_keys::insert(tx, permit, &key).await).await;
    }
    (bed, follower)
}

async fn overtakes_a_full_set(backlog: usize) {
    let (bed, follower) = large_bed(backlog).await;
    let keys = [bed.issue_key().await.0, bed.issue_key().await.0];
    let credentials = [new_credential(&bed, "replaced").await, new_credential(&bed, "archived").await];
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    node.take_until(bed.organization(), revision_of(&bed).await).await;
    let organization_id = bed.organization().to_string();
    node.say(Up::Resync(v1::ResyncRequest { organization_id, reason: "test".to_owned() })).await;
    node.hear("a full set begins", |body| matches!(body, Down::FullSetBegin(_)).then_some(())).await;
    // From here on it takes nothing until all of this is published: the set cannot be through.
    let wanted = take_out_of_use(&bed, keys, credentials).await;
    let published = revision_of(&bed).await;
    until("it is published", async || (follower.revision(bed.organization()) >= published).then_some(())).await;
    let mut heard = BTreeSet::new();
    node.hear("the end of the set", |body| {
        if let Down::Urgent(urgent) = body {
            heard.extend(named(urgent));
        }
        matches!(body, Down::FullSetEnd(_)).then_some(())
    })
    .await;
    let missing: Vec<_> = wanted.difference(&heard).collect();
    assert!(missing.is_empty(), "not ahead of the set: {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_a_use_overtakes_a_full_set() {
    overtakes_a_full_set(4_096).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_a_use_overtakes_also_when_its_announcement_was_lost() {
    overtakes_a_full_set(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_overtakes_also_when_the_change_log_no_longer_reaches_back() {
    let bed = Bed::new().await;
    let key = bed.issue_key().await.0;
    let mut node = Raw::join(&bed, |_| ()).await.expect("a stream");
    let held = revision_of(&bed).await;
    node.take_until(bed.organization(), held).await;
    let now = bed.cx.now();
    bed.write(async |tx, permit| {
        store::changes::leap(tx, permit, held + 1_000).await?;
        store::virtual_keys::revoke(tx, permit, key.id, now).await
    })
    .await;
    let heard = node.hear("a revocation or what contains it", |body| match body {
        Down::Urgent(urgent) => Some(named(urgent).collect()),
        Down::Delta(_) | Down::FullSetBegin(_) => Some(Vec::new()),
        _ => None,
    });
    assert_eq!(heard.await, [(Kind::VirtualKey, key.id.to_string())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_to_a_new_control_process_hears_first_what_ended_meanwhile() {
    let mut bed = Bed::new().await;
    let keys = [bed.issue_key().await.0, bed.issue_key().await.0];
    let credentials = [new_credential(&bed, "replaced").await, new_credential(&bed, "archived").await];
    let held = revision_of(&bed).await;
    let wanted = take_out_of_use(&bed, keys, credentials).await;
    bed.go_dark().await;
    bed.come_back().await;
    let organization_id = bed.organization().to_string();
    let said = v1::Held {
        organization_id,
        revision: held,
        set_hash: vec![9; 32].into(),
        resource_count: 20,
        data_key_versions: vec![1],
    };
    let mut node = Raw::join(&bed, |hello| hello.held = vec![said]).await.expect("a stream");
    let mut heard = BTreeSet::new();
    node.hear("a full set begins", |body| {
        if let Down::Urgent(urgent) = body {
            heard.extend(named(urgent));
        }
        matches!(body, Down::FullSetBegin(_)).then_some(())
    })
    .await;
    let missing: Vec<_> = wanted.difference(&heard).collect();
    assert!(missing.is_empty(), "not ahead of the set: {missing:?}");
}
