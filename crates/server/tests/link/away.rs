//! What nodes say while the database takes nothing, and what stands there afterwards.

use domain::node::{Holds, NodeGroup};
use domain::{Limit, NodeGroupId, OrganizationId, id::IdMint as _};
use proto::v1;
use v1::node_message::Body as Up;

use super::bed::{Bed, until};
use super::raw::Raw;

/// Refuses every write of a table as a database does that is going down, and counts them: a sequence survives what is rolled back.
const REFUSE: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        PERFORM nextval('tries');
        RAISE EXCEPTION 'going down' USING ERRCODE = '57P03';
    END $$;";
const REFUSE_STATUS: &str =
    "CREATE TRIGGER away BEFORE INSERT OR UPDATE ON node_status FOR EACH ROW EXECUTE FUNCTION refuse()";
const REFUSE_AUDIT: &str = "CREATE TRIGGER away BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION refuse()";
/// As many rows as writes were refused; the rows themselves stay what they are.
const TRIES: &str = "UPDATE environments SET name = name WHERE (SELECT is_called FROM tries)";

async fn actions(bed: &Bed) -> Vec<String> {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let limit = Limit::new(100).expect("a limit");
    let page = store::audit::list(&mut tx, &store::audit::Filter::default(), None, limit).await.expect("a log");
    page.items.into_iter().map(|entry| entry.action).collect()
}

/// A member of a group that may hold the first organization only.
async fn member(bed: &mut Bed) -> Raw {
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "narrow".parse().expect("a slug"),
        region: String::new(),
        holds: Holds::Only(vec![bed.organization()]),
        version: 1,
        created_at: bed.cx.now(),
    };
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;
    bed.installation.node_group_id = group.id;
    Raw::join(bed, |_| ()).await.expect("a stream")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_written_of_a_node_is_written_later() {
    let mut bed = Bed::new().await;
    let raw = member(&mut bed).await;
    let id = raw.node_id;
    let is_connected = async || {
        let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
        let listed = store::nodes::list_status(&mut tx, &[id]).await.expect("a status");
        listed.first().is_some_and(|(_, status)| status.is_connected)
    };
    until("the list shows it", async || is_connected().await.then_some(())).await;
    for sql in [REFUSE, REFUSE_STATUS] {
        bed.database().tamper(sql).await.expect("the database takes nothing of nodes");
    }
    drop(raw);
    until("it was tried in vain", async || (bed.database().tamper(TRIES).await.expect("a count") > 0).then_some(()))
        .await;
    assert!(is_connected().await, "nobody could write down that it left");
    bed.database().tamper("DROP TRIGGER away ON node_status").await.expect("the database is back");
    until("the list says that it left", async || (!is_connected().await).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_entry_about_a_node_waits_for_the_database() {
    let mut bed = Bed::new().await;
    let raw = member(&mut bed).await;
    for sql in [REFUSE, REFUSE_AUDIT] {
        bed.database().tamper(sql).await.expect("the database takes no entry");
    }
    let foreign = OrganizationId::from_uuid(42).to_string();
    raw.say(Up::Resync(v1::ResyncRequest { organization_id: foreign, reason: String::new() })).await;
    until("it was tried in vain", async || (bed.database().tamper(TRIES).await.expect("a count") > 0).then_some(()))
        .await;
    bed.database().tamper("DROP TRIGGER away ON audit_entries").await.expect("the database is back");
    until("the attempt is in the log", async || actions(&bed).await.contains(&"node.scope".to_owned()).then_some(()))
        .await;
}
