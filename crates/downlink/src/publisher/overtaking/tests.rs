use super::*;
use domain::kill_switch::Target;
use domain::{KillSwitchId, ModelPattern};
use policy::ResourceKey;
use policy::resource::{KillSwitch, SealedSecret};
use policy::testing::{TestOrganization, TestSigner};

const ORG: TestOrganization = TestOrganization(1);

fn credential() -> Credential {
    let found = ORG.contents(1).into_iter().find_map(|content| match content {
        Content::Credential(it) => Some(it),
        _ => None,
    });
    found.expect("there is one")
}

fn switch(n: u128, target: Target) -> Content {
    Content::KillSwitch(KillSwitch { id: KillSwitchId::from_uuid(n), target, is_cutting: false })
}

fn set(contents: &[Content]) -> ResourceSet {
    ResourceSet::from_resources(ORG.id(), ORG.resources(contents)).unwrap()
}

fn keyed(keys: &[VirtualKey]) -> ResourceSet {
    let mut contents = ORG.contents(1);
    contents.extend(keys.iter().cloned().map(Content::VirtualKey));
    set(&contents)
}

/// Of a change of `before` to these contents: the ids that are revoked, and those that go along.
fn overtaking(before: &ResourceSet, contents: &[Content]) -> (Vec<ResourceKey>, Vec<ResourceKey>) {
    let found = Overtaking::of(before, &ORG.resources(contents), &[]);
    (found.revoked.iter().map(|it| it.key).collect(), found.changed.iter().map(|it| it.key).collect())
}

#[test]
fn a_key_overtakes_when_it_or_a_secret_of_it_ends_and_not_otherwise() {
    let key = ORG.key(1, 1);
    let before = keyed(std::slice::from_ref(&key));
    let id = ORG.resources(&[Content::VirtualKey(key.clone())])[0].key;
    let after = |change: &dyn Fn(&mut VirtualKey)| {
        let mut key = key.clone();
        change(&mut key);
        overtaking(&before, &[Content::VirtualKey(key)])
    };
    let soon = Some(Timestamp::from_micros(5));
    let other = ORG.key(1, 2).secrets[0];
    assert_eq!(after(&|key| key.status = KeyStatus::Revoked), (vec![id], vec![]));
    assert_eq!(after(&|key| key.secrets = vec![other]), (vec![], vec![id]), "rotated without overlap");
    assert_eq!(after(&|key| key.secrets[0].retires_at = soon), (vec![], vec![id]));
    assert_eq!(after(&|key| key.expires_at = soon), (vec![], vec![id]));
    assert_eq!(after(&|key| key.secrets.push(other)), (vec![], vec![]));
    assert_eq!(after(&|key| key.name = "renamed".to_owned()), (vec![], vec![]));
    let fresh = VirtualKey { status: KeyStatus::Revoked, ..ORG.key(1, 9) };
    assert_eq!(overtaking(&before, &[Content::VirtualKey(fresh)]), (vec![], vec![]), "no node has it");
}

#[test]
fn a_credential_overtakes_when_what_it_sends_is_another_and_not_when_it_is_sealed_anew() {
    let held = credential();
    let before = set(&ORG.contents(1));
    let id = ORG.resources(&[Content::Credential(held.clone())])[0].key;
    let after = |change: &dyn Fn(&mut Credential)| {
        let mut it = held.clone();
        change(&mut it);
        overtaking(&before, &[Content::Credential(it)]).1
    };
    let sealed =
        |version, data_key_version| Some(SealedSecret { version, data_key_version, sealed: vec![3; 60].into() });
    assert_eq!(after(&|it| it.secret = sealed(2, 1)), [id]);
    assert_eq!(after(&|it| it.secret = None), [id]);
    assert_eq!(after(&|it| it.base_url = "https://other.example.com".to_owned()), [id]);
    assert_eq!(after(&|it| it.secret = sealed(1, 2)), []);
    assert_eq!(after(&|it| it.allows_passthrough = true), []);
}

#[test]
fn every_kill_switch_overtakes_whatever_it_stops() {
    let before = keyed(&[ORG.key(1, 1)]);
    let targets = [
        Target::Organization,
        Target::Workspace(ORG.workspace(1)),
        Target::VirtualKey(ORG.key(1, 1).id),
        Target::Deployment(ORG.deployment_id(1, 1)),
        Target::Model(ModelPattern::parse("openai/*").unwrap()),
        Target::Provider("openai".to_owned()),
    ];
    let switches: Vec<_> = (1..).zip(targets).map(|(n, target)| switch(n, target)).collect();
    let (revoked, changed) = overtaking(&before, &switches);
    assert_eq!((revoked.len(), changed.len()), (0, switches.len()));
}

#[test]
fn what_is_removed_is_named_and_what_is_far_behind_hears_of_everything_out_of_use() {
    let (revoked, active) = (VirtualKey { status: KeyStatus::Revoked, ..ORG.key(1, 1) }, ORG.key(1, 2));
    let mut contents = ORG.contents(1);
    contents.extend([revoked.clone(), active].map(Content::VirtualKey));
    contents.push(switch(7, Target::Organization));
    let all = Overtaking::all(&set(&contents));
    assert_eq!(all.revoked.iter().map(|it| it.key.id).collect::<Vec<_>>(), [revoked.id.as_uuid()]);
    assert_eq!(all.changed.iter().map(|it| it.key.id).collect::<Vec<_>>(), [7]);

    let gone: Vec<_> = set(&contents).iter().map(|it| it.location()).collect();
    let found = Overtaking::of(&set(&contents), &[], &gone);
    let kinds: Vec<_> = found.revoked.iter().map(|it| it.key.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::VirtualKey).count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Credential).count(), 1);
    assert_eq!(kinds.len(), 3);
}

#[test]
fn messages_are_bounded_and_leave_nothing_out() {
    let keys: Vec<_> = (0..1_200).map(|k| Content::VirtualKey(ORG.key(1, k))).collect();
    let changed = ORG.resources(&keys);
    let revoked: Vec<_> = changed.iter().map(Resource::location).collect();
    let messages =
        Overtaking { revoked, changed }.into_messages(ORG.id(), 4, Timestamp::from_micros(1), &TestSigner(1));
    assert_eq!(messages.iter().map(|it| it.revoked.len()).sum::<usize>(), 1_200);
    assert_eq!(messages.iter().map(|it| it.changed.len()).sum::<usize>(), 1_200);
    assert!(messages.iter().all(|it| it.revision == 4 && it.revoked.len() + it.changed.len() <= MAX_ENTRIES));
    let none = Overtaking::default().into_messages(ORG.id(), 4, Timestamp::from_micros(1), &TestSigner(1));
    assert!(none.is_empty());
}
