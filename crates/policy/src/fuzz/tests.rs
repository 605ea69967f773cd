use std::fs;
use std::path::PathBuf;

use domain::budget::{AccountKey, Window};
use domain::lease::{Ask, Tell};
use domain::{BudgetId, RequestId};
use proptest::prelude::*;

use super::*;
use crate::replica::Copy;

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 3] =
    [("control_frames", control_frames), ("node_frames", node_frames), ("sealed_copy", sealed_copy)];

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder(target)).expect("a folder");
    files.map(|file| fs::read(file.expect("a file").path()).expect("a seed")).collect()
}

fn frames(bodies: Vec<Body>) -> Vec<u8> {
    let messages = bodies.into_iter().map(|body| v1::ControlMessage { body: Some(body) });
    [1].into_iter().chain(messages.flat_map(|message| message.encode_length_delimited_to_vec())).collect()
}

fn of_node(kind: u8, message: &impl prost::Message) -> Vec<u8> {
    [vec![kind], message.encode_to_vec()].concat()
}

/// What a fuzzer begins with: one of each conversation.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let held = held_set();
    let mut next = held.clone();
    next.apply(ORG.resources(&[Content::VirtualKey(ORG.key(1, 2))]), &[]).expect("a change");
    let (upserts, removals) = held.difference(&next);
    let target = Some(frame::revision_message(&ORG.sign(&next, HELD + 1, &SIGNER)));
    let delta = v1::Delta {
        target: target.clone(),
        from_revision: HELD,
        upserts: upserts.iter().map(frame::resource_message).collect(),
        removals: removals.iter().map(frame::removal_message).collect(),
    };
    let organization_id = ORG.id().to_string();
    let chunk = v1::FullSetChunk {
        organization_id: organization_id.clone(),
        index: 0,
        resources: next.iter().map(|resource| frame::resource_message(&resource)).collect(),
    };
    let urgent = Urgent {
        organization: ORG.id(),
        revision: HELD + 1,
        issued_at: Timestamp::from_micros(1),
        revoked: vec![ORG.resources(&[Content::VirtualKey(ORG.key(1, 1))])[0].location()],
        changed: upserts,
    };
    let urgent = frame::urgent_message(&Signed::new(urgent, &SIGNER));
    let confirm = v1::Confirm { held: Some(frame::revision_message(&ORG.sign(&held, HELD, &SIGNER))) };
    let scope = NodeScope {
        group: NodeGroupId::from_uuid(1),
        holds: Holds::Only(vec![ORG.id()]),
        issued_at: Timestamp::from_micros(2),
    };
    let scope = Signed::new(scope, &SIGNER);
    let welcome = v1::Welcome { scope: Some(frame::scope_message(&scope)), ..v1::Welcome::default() };
    let copy = Copy {
        revision: ORG.sign(&held, HELD, &SIGNER),
        set: held,
        last_good: Vec::new(),
        confirmed_at: Timestamp::from_micros(3),
    };
    let copy = of_node(1, &copy::encode(&scope, &copy, Vec::new()));
    let begin = v1::FullSetBegin { target, chunk_count: 1 };
    let end = v1::FullSetEnd { organization_id: organization_id.clone(), revision: HELD + 1 };
    vec![
        (
            "control_frames",
            "delta",
            frames(vec![Body::Welcome(welcome), Body::Urgent(urgent.clone()), Body::Delta(delta)]),
        ),
        (
            "control_frames",
            "full",
            frames(vec![
                Body::FullSetBegin(begin),
                Body::Urgent(urgent),
                Body::FullSetChunk(chunk),
                Body::FullSetEnd(end),
            ]),
        ),
        (
            "control_frames",
            "confirm",
            frames(vec![Body::Confirm(confirm), Body::Forget(v1::Forget { organization_id })]),
        ),
        ("sealed_copy", "small", copy),
    ]
    .into_iter()
    .chain(said_by_nodes())
    .collect()
}

fn said_by_nodes() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    use v1::node_message::Body;
    let organization_id = ORG.id().to_string();
    let held = node().held(&|_| vec![1]);
    let hello = v1::Hello {
        node_id: NodeId::from_uuid(1).to_string(),
        protocol: 1,
        protocol_min: 1,
        held: held.clone(),
        ..v1::Hello::default()
    };
    let nack = v1::Nack {
        organization_id,
        revision: 6,
        bad: vec![v1::BadResource {
            kind: 7,
            id: "rte_1".to_owned(),
            reason: "targets.dangling".to_owned(),
            detail: String::new(),
        }],
        ..v1::Nack::default()
    };
    let message = |body| v1::NodeMessage { body: Some(body) };
    let event = v1::UsageEvent {
        request_id: RequestId::from_uuid(1).to_string(),
        organization_id: ORG.id().to_string(),
        workspace_id: ORG.workspace(1).to_string(),
        environment_id: ORG.environment(1).to_string(),
        virtual_key_id: ORG.key(1, 1).id.to_string(),
        endpoint: "chat_completions".to_owned(),
        model: "gpt-4o-mini".to_owned(),
        outcome: "success".to_owned(),
        status: 200,
        ..v1::UsageEvent::default()
    };
    let batch = v1::UsageBatch { boot_id: "boot".to_owned(), first_sequence: 1, events: vec![event], lost_events: 0 };
    let account = AccountKey {
        organization_id: ORG.id(),
        budget_id: BudgetId::from_uuid(1),
        window: Window::Month,
        group_key: "ada".into(),
    };
    let tell = Tell {
        boot: "boot".to_owned(),
        sequence: 1,
        asks: vec![Ask { account, need: 5, ahead: 1 }],
        ..Tell::default()
    };
    vec![
        ("node_frames", "hello", of_node(0, &message(Body::Hello(hello)))),
        (
            "node_frames",
            "status",
            of_node(0, &message(Body::Status(v1::NodeStatus { held, ..v1::NodeStatus::default() }))),
        ),
        ("node_frames", "nack", of_node(0, &message(Body::Nack(nack)))),
        ("node_frames", "usage", of_node(1, &batch)),
        ("node_frames", "tell", of_node(2, &lease::encode_tell(&tell))),
    ]
}

#[test]
fn the_seeds_are_as_this_build_writes_them() {
    #[expect(clippy::disallowed_methods, reason = "this crate has no settings, and its tests no crate that reads them")]
    let is_update = std::env::var_os("UPDATE").is_some();
    for (target, name, bytes) in seeds() {
        let file = folder(target).join(name);
        if is_update {
            fs::write(&file, &bytes).expect("writable");
        }
        let found = fs::read(&file).unwrap_or_default();
        assert!(found == bytes, "{} is another: rewrite it with UPDATE=1", file.display());
    }
}

#[test]
fn what_is_kept_for_the_fuzzer_holds() {
    for (target, check) in TARGETS {
        let seeds = kept(target);
        assert!(!seeds.is_empty(), "{target}");
        for bytes in &seeds {
            check(bytes);
        }
    }
}

#[test]
fn the_seeds_reach_what_lies_behind_the_signatures() {
    for name in ["delta", "full"] {
        let bytes = fs::read(folder("control_frames").join(name)).expect("a seed");
        let (mut replica, mut rest) = (node(), &bytes[1..]);
        while let Ok(message) = v1::ControlMessage::decode_length_delimited(&mut rest) {
            take(&mut replica, message.body).expect("is taken");
        }
        assert_eq!(replica.held(&|_| Vec::new())[0].revision, HELD + 1, "{name}");
    }
}

proptest! {
    #[test]
    fn kept_frames_and_copies_hold_with_other_bytes_in_them(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (target, check) in TARGETS {
            let seeds = kept(target);
            let mut bytes = which.get(&seeds).clone();
            for (at, value) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            check(&bytes);
        }
    }
}
