//! What must hold for any bytes between the planes; the fuzz targets and a normal test call these functions.
//!
//! Each function panics when a promise is broken, which is how a fuzzer learns of it. Nothing of the product calls them.
#![expect(clippy::missing_panics_doc, reason = "panicking is what these functions are for; the header says so")]

use std::sync::Arc;

use domain::node::Holds;
use domain::{NodeGroupId, NodeId, Timestamp};
use prost::Message as _;
use proto::v1;
use v1::control_message::Body;

use crate::resource::Content;
use crate::sign::{NodeScope, Signed, Statement, Urgent};
use crate::testing::{TestOpener, TestOrganization, TestSigner};
use crate::wire::{copy, frame, lease, remote, usage};
use crate::{Refused, Replica, ResourceSet};

const ORG: TestOrganization = TestOrganization(1);
const SIGNER: TestSigner = TestSigner(1);
/// The revision that a node holds before anything comes.
const HELD: u64 = 5;

/// What the control plane says: messages with their length in front, to a node that holds a revision. The first byte says
/// whether they are signed anew: no fuzzer finds a signature, and what comes after it must hold, too.
pub fn control_frames(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let mut replica = node();
    while let Ok(mut message) = v1::ControlMessage::decode_length_delimited(&mut rest) {
        if first & 1 == 1 {
            message.body = message.body.map(sign);
        }
        let before = replica.held(&|_| Vec::new());
        if take(&mut replica, message.body).is_err() {
            assert_eq!(replica.held(&|_| Vec::new()), before, "what is refused changes nothing");
        }
        consistent(&replica);
    }
}

/// What a node says: every message of the five services, read as the control plane reads it. What was read is written and read
/// again as the same.
pub fn node_frames(bytes: &[u8]) {
    use v1::node_message::Body;
    let Some((first, rest)) = bytes.split_first() else { return };
    match first % 4 {
        0 => {
            let Ok(message) = v1::NodeMessage::decode(rest) else { return };
            match message.body {
                Some(Body::Hello(it)) => held(&it.held),
                Some(Body::Status(it)) => held(&it.held),
                Some(Body::Nack(it)) => it.bad.iter().for_each(|bad| _ = frame::kind(bad.kind)),
                _ => {}
            }
        }
        1 => {
            let Ok(batch) = v1::UsageBatch::decode(rest) else { return };
            let node = NodeId::from_uuid(1);
            for event in batch.events {
                let Ok(event) = usage::decode(node, event) else { continue };
                assert_eq!(usage::decode(node, usage::encode(&event)).as_ref(), Ok(&event));
            }
        }
        2 => {
            let Ok(told) = v1::TellRequest::decode(rest) else { return };
            let Ok(told) = lease::decode_tell(told) else { return };
            assert_eq!(lease::decode_tell(lease::encode_tell(&told)).as_ref(), Ok(&told));
        }
        _ => {
            let Ok(object) = v1::RemoteObject::decode(rest) else { return };
            let Ok(object) = remote::decode(object) else { return };
            assert_eq!(remote::decode(remote::encode(&object)).as_ref(), Ok(&object));
        }
    }
}

/// A sealed copy, once opened: loaded when it adds up and is signed, else refused without a trace. The first byte as above.
pub fn sealed_copy(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(message) = v1::PolicyCopy::decode(rest) else { return };
    let Ok((scope, copy, grants)) = copy::decode(message) else { return };
    let again = copy::decode(copy::encode(&scope, &copy, grants));
    assert!(again.is_ok_and(|(_, again, _)| again.set.hash() == copy.set.hash() && again.revision == copy.revision));
    let mut replica = Replica::new(Arc::new(SIGNER));
    let scope = if first & 1 == 1 { Signed::new(scope.statement, &SIGNER) } else { scope };
    if replica.set_scope(scope, &TestOpener).is_err() {
        return;
    }
    let revision = if first & 1 == 1 { Signed::new(copy.revision.statement, &SIGNER) } else { copy.revision.clone() };
    if replica.load(crate::replica::Copy { revision, ..copy }, &TestOpener).is_err() {
        assert!(replica.is_empty(), "what is refused leaves nothing");
    }
    consistent(&replica);
}

fn held(list: &[v1::Held]) {
    for it in list {
        _ = it.organization_id.parse::<domain::OrganizationId>();
        _ = frame::set_hash("set_hash", &it.set_hash);
    }
}

/// A node that holds a small organization.
fn node() -> Replica {
    let mut replica = Replica::new(Arc::new(SIGNER));
    let scope = NodeScope { group: NodeGroupId::from_uuid(1), holds: Holds::All, issued_at: Timestamp::from_micros(1) };
    let set = held_set();
    let revision = ORG.sign(&set, HELD, &SIGNER);
    let copy = crate::replica::Copy { revision, set, last_good: Vec::new(), confirmed_at: Timestamp::from_micros(1) };
    let loaded =
        replica.set_scope(Signed::new(scope, &SIGNER), &TestOpener).is_ok() && replica.load(copy, &TestOpener).is_ok();
    assert!(loaded, "the small organization is sound");
    replica
}

fn held_set() -> ResourceSet {
    let mut contents = ORG.contents(1);
    contents.push(Content::VirtualKey(ORG.key(1, 1)));
    ResourceSet::from_resources(ORG.id(), ORG.resources(&contents)).unwrap_or_else(|_| ResourceSet::empty(ORG.id()))
}

fn take(replica: &mut Replica, body: Option<Body>) -> Result<(), Refused> {
    match body {
        Some(Body::Welcome(it)) => {
            if let Ok(scope) = frame::scope(it.scope) {
                // A scope that is refused changes nothing, which the caller cannot tell from one that drops something.
                drop(replica.set_scope(scope, &TestOpener));
            }
            Ok(())
        }
        Some(Body::Delta(it)) => replica.delta(it, &TestOpener).map(drop),
        Some(Body::FullSetBegin(it)) => replica.begin(it),
        Some(Body::FullSetChunk(it)) => replica.chunk(it),
        Some(Body::FullSetEnd(it)) => replica.end(it, &TestOpener).map(drop),
        Some(Body::Confirm(it)) => replica.confirm(it).map(drop),
        Some(Body::Urgent(it)) => replica.urgent(it, &TestOpener).map(drop),
        Some(Body::Forget(it)) => {
            if let Ok(organization) = it.organization_id.parse() {
                replica.forget(organization, &TestOpener);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The policy in force is said to be of the revision that is held.
fn consistent(replica: &Replica) {
    for revision in replica.revisions() {
        let policy = replica.snapshot().organization(revision.statement.organization);
        let said = policy.map(|policy| (policy.revision, policy.set_hash));
        assert_eq!(said, Some((revision.statement.number, revision.statement.set_hash)));
    }
}

/// Signs what a message states.
fn sign(body: Body) -> Body {
    let revision = |it: Option<v1::SignedRevision>| match frame::revision(it.clone()) {
        Ok(read) => Some(frame::revision_message(&signed(read))),
        Err(_) => it,
    };
    match body {
        Body::Delta(it) => Body::Delta(v1::Delta { target: revision(it.target), ..it }),
        Body::FullSetBegin(it) => Body::FullSetBegin(v1::FullSetBegin { target: revision(it.target), ..it }),
        Body::Confirm(it) => Body::Confirm(v1::Confirm { held: revision(it.held) }),
        Body::Urgent(it) => match frame::urgent(it.clone()) {
            Ok(read) => Body::Urgent(frame::urgent_message(&signed::<Urgent>(read))),
            Err(_) => Body::Urgent(it),
        },
        Body::Welcome(it) => match frame::scope(it.scope.clone()) {
            Ok(read) => Body::Welcome(v1::Welcome { scope: Some(frame::scope_message(&signed(read))), ..it }),
            Err(_) => Body::Welcome(it),
        },
        other => other,
    }
}

fn signed<T: Statement>(it: Signed<T>) -> Signed<T> {
    Signed::new(it.statement, &SIGNER)
}

#[cfg(test)]
mod tests;
