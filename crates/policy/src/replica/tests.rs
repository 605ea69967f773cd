use super::*;
use crate::resource::{Content, KeyStatus};
use crate::sign::{FLAG_ROLLBACK, FLAG_SHRINK, Urgent};
use crate::testing::{TestOpener, TestOrganization, TestSigner};
use domain::NodeGroupId;
use proptest::prelude::*;
use prost::Message as _;

const ORG: TestOrganization = TestOrganization(1);
const SIGNER: TestSigner = TestSigner(1);

fn scoped(holds: Holds) -> Replica {
    let mut replica = Replica::new(Arc::new(SIGNER));
    replica.set_scope(scope(holds, 1), &TestOpener).unwrap();
    replica
}

fn scope(holds: Holds, at: i64) -> Signed<NodeScope> {
    let group = NodeGroupId::from_uuid(1);
    Signed::new(NodeScope { group, holds, issued_at: Timestamp::from_micros(at) }, &SIGNER)
}

fn set(contents: &[Content]) -> ResourceSet {
    ResourceSet::from_resources(ORG.id(), ORG.resources(contents)).unwrap()
}

fn base() -> Vec<Content> {
    let mut contents = ORG.contents(1);
    contents.push(Content::VirtualKey(ORG.key(1, 1)));
    contents
}

fn full(set: &ResourceSet, revision: &Signed<Revision>) -> (v1::FullSetBegin, Vec<v1::FullSetChunk>, v1::FullSetEnd) {
    let resources: Vec<_> = set.iter().map(|resource| frame::resource_message(&resource)).collect();
    let organization_id = set.organization().to_string();
    let chunks: Vec<_> = resources
        .chunks(3)
        .zip(0..)
        .map(|(part, index)| v1::FullSetChunk {
            organization_id: organization_id.clone(),
            index,
            resources: part.to_vec(),
        })
        .collect();
    let end = v1::FullSetEnd { organization_id, revision: revision.statement.number };
    let chunk_count = u32::try_from(chunks.len()).unwrap();
    (v1::FullSetBegin { target: Some(frame::revision_message(revision)), chunk_count }, chunks, end)
}

fn feed(replica: &mut Replica, set: &ResourceSet, revision: &Signed<Revision>) -> Result<Applied, Refused> {
    let (begin, chunks, end) = full(set, revision);
    replica.begin(begin)?;
    for chunk in chunks {
        replica.chunk(chunk)?;
    }
    let applied = replica.end(end, &TestOpener)?;
    replica.confirm_at(ORG.id(), Timestamp::from_micros(0));
    Ok(applied)
}

fn delta(from: &ResourceSet, from_revision: u64, to: &ResourceSet, target: &Signed<Revision>) -> v1::Delta {
    let (upserts, removals) = from.difference(to);
    v1::Delta {
        target: Some(frame::revision_message(target)),
        from_revision,
        upserts: upserts.iter().map(frame::resource_message).collect(),
        removals: removals.iter().map(frame::removal_message).collect(),
    }
}

fn at_revision_5() -> (Replica, ResourceSet) {
    let mut replica = scoped(Holds::All);
    let held = set(&base());
    feed(&mut replica, &held, &ORG.sign(&held, 5, &SIGNER)).unwrap();
    (replica, held)
}

fn accepts(replica: &Replica, k: u64) -> bool {
    replica.snapshot().identify(ORG.token(k).expose(), Timestamp::from_micros(1)).is_ok()
}

#[test]
fn a_full_set_then_a_delta_are_in_force() {
    let (mut replica, held) = at_revision_5();
    let mut next = held.clone();
    next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 2))]), &[]).unwrap();
    let applied = replica.delta(delta(&held, 5, &next, &ORG.sign(&next, 8, &SIGNER)), &TestOpener).unwrap();
    assert_eq!((applied.revision, applied.bad.len(), applied.is_changed), (8, 0, true));
    assert!(accepts(&replica, 1) && accepts(&replica, 2));
}

#[test]
fn nothing_is_taken_before_a_scope_or_outside_of_it() {
    let held = set(&base());
    let mut unscoped = Replica::new(Arc::new(SIGNER));
    assert_eq!(feed(&mut unscoped, &held, &ORG.sign(&held, 1, &SIGNER)).unwrap_err().refusal, Refusal::Scope);
    let mut other = scoped(Holds::Only(vec![OrganizationId::from_uuid(9)]));
    assert_eq!(feed(&mut other, &held, &ORG.sign(&held, 1, &SIGNER)).unwrap_err().refusal, Refusal::Scope);
    // A narrower scope drops what is held; an older one is not believed.
    let (mut replica, _) = at_revision_5();
    let dropped = replica.set_scope(scope(Holds::Only(Vec::new()), 3), &TestOpener).unwrap();
    assert_eq!(dropped, [ORG.id()]);
    assert!(replica.is_empty() && !accepts(&replica, 1));
    assert_eq!(replica.set_scope(scope(Holds::All, 2), &TestOpener), Err(Refusal::Scope));
}

#[test]
fn a_foreign_resource_inside_a_set_refuses_the_set() {
    let mut replica = scoped(Holds::All);
    let held = set(&base());
    let (begin, mut chunks, end) = full(&held, &ORG.sign(&held, 1, &SIGNER));
    chunks[0].resources[0].organization_id = OrganizationId::from_uuid(9).to_string();
    replica.begin(begin).unwrap();
    for chunk in chunks {
        replica.chunk(chunk).unwrap();
    }
    assert_eq!(replica.end(end, &TestOpener).unwrap_err().refusal, Refusal::Scope);
    assert!(replica.is_empty());
}

#[test]
fn strangers_signatures_replays_and_gaps_are_refused_and_the_last_good_stays() {
    let (mut replica, held) = at_revision_5();
    let mut next = held.clone();
    next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 2))]), &[]).unwrap();
    let refusal = |replica: &mut Replica, delta| replica.delta(delta, &TestOpener).unwrap_err().refusal;
    let forged = delta(&held, 5, &next, &ORG.sign(&next, 6, &TestSigner(2)));
    assert_eq!(refusal(&mut replica, forged), Refusal::Signature);
    let gap = delta(&held, 6, &next, &ORG.sign(&next, 7, &SIGNER));
    assert_eq!(refusal(&mut replica, gap), Refusal::Revision { held: 5, offered: 6 });
    let old = delta(&held, 5, &next, &ORG.sign(&next, 4, &SIGNER));
    assert_eq!(refusal(&mut replica, old), Refusal::Revision { held: 5, offered: 4 });
    let lost = v1::Delta { upserts: Vec::new(), ..delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER)) };
    assert_eq!(refusal(&mut replica, lost), Refusal::SetHash);
    assert!(accepts(&replica, 1) && !accepts(&replica, 2));
    let good = delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER));
    replica.delta(good.clone(), &TestOpener).unwrap();
    assert_eq!(refusal(&mut replica, good), Refusal::Revision { held: 6, offered: 5 });
}

#[test]
fn one_flipped_bit_anywhere_in_a_delta_changes_nothing() {
    let (mut replica, held) = at_revision_5();
    let mut next = held.clone();
    next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 2))]), &[]).unwrap();
    let bytes = delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER)).encode_to_vec();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Ok(delta) = v1::Delta::decode(&flipped[..]) {
            let before = replica.held(&|_| Vec::new());
            // A flip in a field that is skipped as unknown may leave the statement whole; then the state is the signed one.
            match replica.delta(delta, &TestOpener) {
                Err(_) => assert_eq!(replica.held(&|_| Vec::new()), before, "bit {at}"),
                Ok(applied) => {
                    assert_eq!(replica.held(&|_| Vec::new())[0].set_hash, next.hash().0.to_vec(), "bit {at}");
                    assert!(applied.bad.is_empty());
                    replica = at_revision_5().0;
                }
            }
        }
    }
}

#[test]
fn going_back_and_shrinking_need_signed_flags() {
    let (mut replica, held) = at_revision_5();
    let small = set(&base()[..2]);
    let unflagged = ORG.sign(&small, 6, &SIGNER);
    assert!(matches!(feed(&mut replica, &small, &unflagged).unwrap_err().refusal, Refusal::Shrink { .. }));
    let confirmed = Signed::new(Revision { flags: FLAG_SHRINK, ..unflagged.statement }, &SIGNER);
    feed(&mut replica, &small, &confirmed).unwrap();
    let back = ORG.sign(&held, 3, &SIGNER);
    assert!(matches!(feed(&mut replica, &held, &back).unwrap_err().refusal, Refusal::Revision { .. }));
    let rollback = Revision { flags: FLAG_ROLLBACK, issued_at: Timestamp::from_micros(100), ..back.statement };
    assert_eq!(feed(&mut replica, &held, &Signed::new(rollback, &SIGNER)).unwrap().revision, 3);
    assert!(accepts(&replica, 1));
}

fn urgent_of(revision: u64, changed: &[Content]) -> Urgent {
    let (organization, issued_at) = (ORG.id(), Timestamp::from_micros(1));
    Urgent { organization, revision, issued_at, revoked: Vec::new(), changed: ORG.resources(changed) }
}

fn urge(replica: &mut Replica, revision: u64, changed: &[Content]) -> Result<Applied, Refused> {
    let urgent = frame::urgent_message(&Signed::new(urgent_of(revision, changed), &SIGNER));
    replica.urgent(urgent, &TestOpener)
}

#[test]
fn what_is_urgent_counts_instead_of_what_is_held_until_the_delta_comes() {
    let (mut replica, held) = at_revision_5();
    let rotated =
        crate::resource::VirtualKey { kid: ORG.token(2).kid(), secrets: ORG.key(1, 2).secrets, ..ORG.key(1, 1) };
    let stop = Content::KillSwitch(crate::resource::KillSwitch {
        id: domain::KillSwitchId::from_uuid(1),
        target: domain::kill_switch::Target::Provider("openai".to_owned()),
        is_cutting: false,
    });
    let urgent = [Content::VirtualKey(rotated.clone()), stop.clone()];
    let stops = |replica: &Replica| replica.snapshot().organization(ORG.id()).unwrap().stops.clone();
    let none = stops(&replica);
    let applied = urge(&mut replica, 9, &urgent).unwrap();
    assert_eq!((applied.revision, applied.is_changed), (5, true));
    assert!(!accepts(&replica, 1) && accepts(&replica, 2), "the new secret works and the old one does not");
    assert_ne!(format!("{:?}", stops(&replica)), format!("{none:?}"));
    // What is held, said and kept on disk is what was signed as a revision.
    let policy = replica.snapshot().organization(ORG.id()).unwrap();
    assert_eq!((policy.revision, policy.set_hash), (5, held.hash()));
    assert_eq!(replica.copy(ORG.id()).unwrap().set.hash(), held.hash());
    assert_eq!(replica.held(&|_| Vec::new())[0].set_hash, held.hash().0.to_vec());
    // What was said earlier and arrives later changes nothing, and neither does a delta that was already on its way.
    urge(&mut replica, 6, &[Content::VirtualKey(ORG.key(1, 1))]).unwrap();
    assert!(!accepts(&replica, 1) && accepts(&replica, 2));
    let mut next = held.clone();
    next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 3))]), &[]).unwrap();
    replica.delta(delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER)), &TestOpener).unwrap();
    assert!(!accepts(&replica, 1) && accepts(&replica, 2) && accepts(&replica, 3));
    // Nor does a whole set of before.
    feed(&mut replica, &held, &ORG.sign(&held, 7, &SIGNER)).unwrap();
    assert!(!accepts(&replica, 1) && accepts(&replica, 2) && !accepts(&replica, 3));
    let mut after = held.clone();
    after.apply(ORG.resources(&urgent), &[]).unwrap();
    replica.delta(delta(&held, 7, &after, &ORG.sign(&after, 9, &SIGNER)), &TestOpener).unwrap();
    assert!(!accepts(&replica, 1) && accepts(&replica, 2));
    // From here on the set alone decides.
    replica.delta(delta(&after, 9, &held, &ORG.sign(&held, 10, &SIGNER)), &TestOpener).unwrap();
    assert!(accepts(&replica, 1) && !accepts(&replica, 2));
    assert_eq!(format!("{:?}", stops(&replica)), format!("{none:?}"));
}

#[test]
fn what_is_urgent_is_signed_to_the_last_byte_and_of_its_organization() {
    let (mut replica, _) = at_revision_5();
    let rotated = crate::resource::VirtualKey { secrets: ORG.key(1, 2).secrets, ..ORG.key(1, 1) };
    let message = frame::urgent_message(&Signed::new(urgent_of(7, &[Content::VirtualKey(rotated)]), &SIGNER));
    let mut changed = message.clone();
    changed.changed.clear();
    assert_eq!(replica.urgent(changed, &TestOpener).unwrap_err().refusal, Refusal::Signature);
    for at in 0..message.changed[0].content.len() {
        let mut content = message.changed[0].content.to_vec();
        content[at] ^= 1;
        let mut flipped = message.clone();
        flipped.changed[0].content = content.into();
        assert_eq!(replica.urgent(flipped, &TestOpener).unwrap_err().refusal, Refusal::Signature);
    }
    let foreign = TestOrganization(2).resources(&[Content::VirtualKey(TestOrganization(2).key(1, 1))]);
    let foreign = Signed::new(Urgent { changed: foreign, ..urgent_of(7, &[]) }, &SIGNER);
    assert_eq!(replica.urgent(frame::urgent_message(&foreign), &TestOpener).unwrap_err().refusal, Refusal::Scope);
    assert!(accepts(&replica, 1));
    replica.urgent(message, &TestOpener).unwrap();
    assert!(!accepts(&replica, 1));
}

#[test]
fn an_urgent_revocation_counts_at_once_and_until_the_delta_comes() {
    let (mut replica, held) = at_revision_5();
    let location = ORG.resources(&[Content::VirtualKey(ORG.key(1, 1))])[0].location();
    let urgent = |revision: u64, signer: &TestSigner| {
        let statement = Urgent { revoked: vec![location], ..urgent_of(revision, &[]) };
        frame::urgent_message(&Signed::new(statement, signer))
    };
    assert_eq!(replica.urgent(urgent(7, &TestSigner(2)), &TestOpener).unwrap_err().refusal, Refusal::Signature);
    replica.urgent(urgent(5, &SIGNER), &TestOpener).unwrap();
    assert!(accepts(&replica, 1), "what the held revision already decided is not changed");
    replica.urgent(urgent(7, &SIGNER), &TestOpener).unwrap();
    assert!(!accepts(&replica, 1));
    // A delta that was already on its way does not bring the key back.
    let mut next = held.clone();
    let mut renamed = ORG.key(1, 1);
    renamed.name = "renamed".to_owned();
    next.apply(ORG.resources(&[Content::VirtualKey(renamed)]), &[]).unwrap();
    replica.delta(delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER)), &TestOpener).unwrap();
    assert!(!accepts(&replica, 1));
    let mut revoked = next.clone();
    let key = crate::resource::VirtualKey { status: KeyStatus::Revoked, ..ORG.key(1, 1) };
    revoked.apply(ORG.resources(&[Content::VirtualKey(key)]), &[]).unwrap();
    replica.delta(delta(&next, 6, &revoked, &ORG.sign(&revoked, 7, &SIGNER)), &TestOpener).unwrap();
    assert!(!accepts(&replica, 1));
    // After revision 7 the set alone decides.
    replica.delta(delta(&revoked, 7, &next, &ORG.sign(&next, 8, &SIGNER)), &TestOpener).unwrap();
    assert!(accepts(&replica, 1));
}

#[test]
fn a_copy_loads_with_its_last_good_versions_and_a_changed_copy_does_not() {
    let (mut replica, held) = at_revision_5();
    let mut next = held.clone();
    let mut route = ORG.resources(&ORG.contents(1)[6..7]);
    route[0].content = bytes::Bytes::from_static(&[0xff; 5]);
    next.apply(route, &[]).unwrap();
    let applied = replica.delta(delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER)), &TestOpener).unwrap();
    assert_eq!(applied.bad.len(), 1);
    let copy = replica.copy(ORG.id()).unwrap();
    let mut fresh = scoped(Holds::All);
    let loaded = fresh.load(copy.clone(), &TestOpener).unwrap();
    assert_eq!(loaded.bad, applied.bad);
    assert!(fresh.snapshot().workspace(ORG.workspace(1)).unwrap().model("chat").is_some());
    assert!(accepts(&fresh, 1));

    let mut changed = copy.clone();
    changed.set.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 9))]), &[]).unwrap();
    assert_eq!(scoped(Holds::All).load(changed, &TestOpener).unwrap_err().refusal, Refusal::SetHash);
    let mut forged = copy;
    forged.revision.statement.number = 7;
    assert_eq!(scoped(Holds::All).load(forged, &TestOpener).unwrap_err().refusal, Refusal::Signature);
}

#[test]
fn chunks_out_of_order_or_too_many_are_refused() {
    let held = set(&base());
    let mut replica = scoped(Holds::All);
    let (begin, chunks, end) = full(&held, &ORG.sign(&held, 1, &SIGNER));
    assert_eq!(replica.chunk(chunks[0].clone()).unwrap_err().refusal, Refusal::Sequence);
    replica.begin(begin.clone()).unwrap();
    assert_eq!(replica.chunk(chunks[1].clone()).unwrap_err().refusal, Refusal::Sequence);
    replica.begin(begin.clone()).unwrap();
    replica.chunk(chunks[0].clone()).unwrap();
    assert_eq!(replica.end(end, &TestOpener).unwrap_err().refusal, Refusal::Sequence);
    replica.begin(begin).unwrap();
    let mut fat = chunks[0].clone();
    (0..4).for_each(|_| fat.resources.extend(chunks[0].resources.clone()));
    assert_eq!(replica.chunk(fat).unwrap_err().refusal, Refusal::Sequence);
}

/// Feeds any control message; only the absence of panics and of unsigned changes matters.
fn feed_any(replica: &mut Replica, message: v1::ControlMessage) {
    use v1::control_message::Body;
    let signed = replica.held(&|_| Vec::new());
    let result = match message.body {
        Some(Body::Delta(it)) => replica.delta(it, &TestOpener).map(|_| ()),
        Some(Body::FullSetBegin(it)) => replica.begin(it),
        Some(Body::FullSetChunk(it)) => replica.chunk(it),
        Some(Body::FullSetEnd(it)) => replica.end(it, &TestOpener).map(|_| ()),
        Some(Body::Confirm(it)) => replica.confirm(it).map(|_| ()),
        Some(Body::Urgent(it)) => replica.urgent(it, &TestOpener).map(|_| ()),
        _ => Ok(()),
    };
    if result.is_err() {
        assert_eq!(replica.held(&|_| Vec::new()), signed);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = v1::ControlMessage::decode(&bytes[..]) {
            feed_any(&mut at_revision_5().0, message);
        }
    }

    #[test]
    fn mutated_frames_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), which in 0_usize..5) {
        use v1::control_message::Body;
        let (mut replica, held) = at_revision_5();
        let mut next = held.clone();
        next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 2))]), &[]).unwrap();
        let (begin, chunks, end) = full(&next, &ORG.sign(&next, 6, &SIGNER));
        let body = match which {
            0 => Body::Delta(delta(&held, 5, &next, &ORG.sign(&next, 6, &SIGNER))),
            1 => Body::FullSetBegin(begin),
            4 => Body::Urgent(frame::urgent_message(&Signed::new(urgent_of(6, &[Content::VirtualKey(ORG.key(1, 1))]), &SIGNER))),
            2 => { replica.begin(begin).unwrap(); Body::FullSetChunk(chunks[0].clone()) }
            _ => Body::FullSetEnd(end),
        };
        let mut bytes = v1::ControlMessage { body: Some(body) }.encode_to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(message) = v1::ControlMessage::decode(&bytes[..]) {
            feed_any(&mut replica, message);
        }
    }
}

#[test]
fn one_key_among_a_hundred_thousand_is_one_small_delta() {
    let mut contents = ORG.contents(1);
    contents.extend((0..100_000).map(|k| Content::VirtualKey(ORG.key(1, k))));
    let held = set(&contents);
    let mut replica = scoped(Holds::All);
    feed(&mut replica, &held, &ORG.sign(&held, 1, &SIGNER)).unwrap();
    let mut next = held.clone();
    let key = crate::resource::VirtualKey { status: KeyStatus::Revoked, ..ORG.key(1, 500) };
    next.apply(ORG.resources(&[Content::VirtualKey(key)]), &[]).unwrap();
    let message = delta(&held, 1, &next, &ORG.sign(&next, 2, &SIGNER));
    assert_eq!(message.upserts.len() + message.removals.len(), 1);
    replica.delta(message, &TestOpener).unwrap();
    assert!(!accepts(&replica, 500) && accepts(&replica, 501));
}
