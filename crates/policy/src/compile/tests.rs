use proptest::prelude::*;

use super::*;
use crate::resource::ResourceKey;
use crate::snapshot::KeyRefusal;
use crate::testing::{TestOpener, TestOrganization};
use domain::{ModelPattern, Timestamp};

const ORG: TestOrganization = TestOrganization(1);

struct Bench {
    snapshot: Snapshot,
    set: ResourceSet,
    revision: u64,
}

impl Bench {
    fn new(contents: &[Content]) -> Self {
        let mut bench = Self { snapshot: Snapshot::default(), set: ResourceSet::empty(ORG.id()), revision: 0 };
        bench.put(contents);
        bench
    }

    fn put(&mut self, contents: &[Content]) {
        self.change(ORG.resources(contents), &[]);
    }

    fn change(&mut self, upserts: Vec<Resource>, removals: &[Location]) {
        let before = self.set.clone();
        let touched: Vec<_> = upserts.iter().map(Resource::location).chain(removals.iter().copied()).collect();
        self.set.apply(upserts, removals).unwrap();
        self.revision += 1;
        self.snapshot = compile(Input {
            previous: &self.snapshot,
            before: &before,
            after: &self.set,
            revision: self.revision,
            set_hash: self.set.hash(),
            touched: &touched,
            denied: &BTreeSet::new(),
            opener: &TestOpener,
        });
        self.fresh();
    }

    fn fresh(&self) {
        self.snapshot.organization(ORG.id()).unwrap().freshness.confirm(Timestamp::from_micros(0));
    }

    fn bad(&self) -> Vec<String> {
        bad_of(&self.snapshot, ORG.id())
            .iter()
            .map(|bad| format!("{} {}", bad.location.key.kind.as_str(), bad.reason.code()))
            .collect()
    }

    fn identify(&self, k: u64, now: i64) -> Result<(), KeyRefusal> {
        self.snapshot.identify(ORG.token(k).expose(), Timestamp::from_micros(now)).map(|_| ())
    }
}

fn broken(content: &Content) -> Resource {
    Resource { content: Bytes::from_static(&[0xff; 9]), ..crate::wire::encode(ORG.id(), content) }
}

fn with_key() -> Bench {
    let mut contents = ORG.contents(1);
    contents.push(Content::VirtualKey(ORG.key(1, 1)));
    Bench::new(&contents)
}

#[test]
fn a_key_is_accepted_and_sees_its_models_with_opened_credentials() {
    let bench = with_key();
    let token = ORG.token(1);
    let caller = bench.snapshot.identify(token.expose(), Timestamp::from_micros(1)).unwrap();
    let route = caller.workspace.model("chat").unwrap();
    assert_eq!((route.targets.len(), route.route.is_some()), (2, true));
    let CredentialUse::Ready(credential) = &route.targets[0].deployment.credential else {
        panic!("credential is not ready")
    };
    assert_eq!(credential.secret.as_ref().unwrap().expose(), "sk-canary");
    assert!(caller.workspace.model("model-1").is_some() && caller.workspace.model("openai/model-2").is_some());
    assert_eq!(caller.workspace.models().map(|model| &*model.name).collect::<Vec<_>>(), ["chat", "model-1", "model-2"]);
    assert!(caller.organization.price(&route.targets[0].deployment, Timestamp::from_micros(5)).is_some());
    assert!(bench.bad().is_empty());
}

#[test]
fn a_client_secret_lives_and_ends_with_the_keys_secret_that_made_it() {
    let mut bench = with_key();
    let (token, at) = (ORG.token(1), Timestamp::from_micros);
    let made = bench.snapshot.identify(token.expose(), at(1)).unwrap().issue_client_secret(token.expose(), "e30");
    let secret = made.expect("of the key's own secret");
    let opens = |bench: &Bench, now: i64| {
        let identified = bench.snapshot.identify_session(&secret, at(now));
        identified.map(|(caller, grant)| (caller.key.key.id, grant.map(str::to_owned)))
    };
    let key = ORG.key(1, 1);
    assert_eq!(opens(&bench, 1), Ok((key.id, Some("e30".to_owned()))));
    assert_eq!(bench.snapshot.identify(&secret, at(1)).map(|_| ()), Err(KeyRefusal::Invalid), "no key");
    let session = bench.snapshot.identify_session(token.expose(), at(1));
    assert_eq!(session.map(|(_, grant)| grant), Ok(None), "a key opens sessions, too");
    let other = secret.replacen("e30", "e31", 1);
    assert_eq!(bench.snapshot.identify_session(&other, at(1)).map(|_| ()), Err(KeyRefusal::Invalid));
    let caller = bench.snapshot.identify(token.expose(), at(1)).unwrap();
    assert_eq!(caller.issue_client_secret(ORG.token(2).expose(), "e30"), None, "another key's");
    // The secret that made it retires; then it is gone from the key; then the key is revoked.
    let mut retiring = key.clone();
    retiring.secrets[0].retires_at = Some(at(10));
    bench.put(&[Content::VirtualKey(retiring)]);
    assert_eq!((opens(&bench, 9).is_ok(), opens(&bench, 10)), (true, Err(KeyRefusal::Expired)));
    let mut rotated = key.clone();
    rotated.secrets = ORG.key(1, 2).secrets;
    bench.put(&[Content::VirtualKey(rotated)]);
    assert_eq!(opens(&bench, 1), Err(KeyRefusal::Invalid));
    bench.put(&[Content::VirtualKey(VirtualKey { status: KeyStatus::Revoked, ..key })]);
    assert_eq!(opens(&bench, 1), Err(KeyRefusal::Revoked));
}

#[test]
fn wrong_secret_revoked_expired_and_unknown_are_told_apart() {
    let mut bench = with_key();
    assert_eq!(bench.identify(2, 1), Err(KeyRefusal::Invalid));
    assert_eq!(bench.snapshot.identify("hgk_x", Timestamp::from_micros(1)).map(|_| ()), Err(KeyRefusal::Invalid));
    // Same public part, another secret.
    let forged = domain::TokenSecret::rotate(
        domain::TokenKind::VirtualKey,
        'd',
        ORG.token(1).kid(),
        &domain::rng::SeededEntropy::new(99),
    );
    assert_eq!(
        bench.snapshot.identify(forged.expose(), Timestamp::from_micros(1)).map(|_| ()),
        Err(KeyRefusal::Invalid)
    );
    let mut key = ORG.key(1, 1);
    key.expires_at = Some(Timestamp::from_micros(10));
    key.models = Some(vec![ModelPattern::parse("gpt-*").unwrap()]);
    bench.put(&[Content::VirtualKey(key.clone())]);
    assert_eq!((bench.identify(1, 9), bench.identify(1, 10)), (Ok(()), Err(KeyRefusal::Expired)));
    assert!(
        bench.snapshot.find_key(key.kid).unwrap().allows("gpt-4o")
            && !bench.snapshot.find_key(key.kid).unwrap().allows("x")
    );
    key.status = KeyStatus::Revoked;
    bench.put(&[Content::VirtualKey(key)]);
    assert_eq!(bench.identify(1, 9), Err(KeyRefusal::Revoked));
}

#[test]
fn what_is_stopped_stays_so_until_it_is_lifted() {
    use crate::resource::KillSwitch;
    use domain::kill_switch::Target;
    let mut bench = with_key();
    let usable = |bench: &Bench| {
        let workspace = bench.snapshot.workspace(ORG.workspace(1)).unwrap();
        workspace.model("chat").unwrap().targets.iter().filter(|target| target.deployment.is_usable()).count()
    };
    let switch = |target: Target| {
        let id = domain::KillSwitchId::from_uuid(7);
        Content::KillSwitch(KillSwitch { id, target, is_cutting: true })
    };
    for target in [Target::VirtualKey(ORG.key(1, 1).id), Target::Workspace(ORG.workspace(1)), Target::Organization] {
        bench.put(&[switch(target)]);
        assert_eq!((bench.identify(1, 1), usable(&bench)), (Err(KeyRefusal::Stopped), 2));
    }
    // Only the holder of the secret learns that it is stopped.
    assert_eq!(bench.identify(2, 1), Err(KeyRefusal::Invalid));
    bench.put(&[switch(Target::Deployment(ORG.deployment_id(1, 1)))]);
    assert_eq!((bench.identify(1, 1), usable(&bench)), (Ok(()), 1));
    bench.put(&[switch(Target::Provider("openai".to_owned()))]);
    assert_eq!((bench.identify(1, 1), usable(&bench)), (Ok(()), 0));
    bench.change(vec![], &[ORG.resources(&[switch(Target::Organization)])[0].location()]);
    assert_eq!((bench.identify(1, 1), usable(&bench)), (Ok(()), 2));
}

#[test]
fn a_rotated_secret_ends_with_its_overlap() {
    let mut bench = with_key();
    let mut key = ORG.key(1, 1);
    let fresh =
        domain::TokenSecret::rotate(domain::TokenKind::VirtualKey, 'd', key.kid, &domain::rng::SeededEntropy::new(99));
    let mac = fresh.mac(&crate::testing::PEPPER, &ORG.id().to_string());
    key.secrets[0].retires_at = Some(Timestamp::from_micros(10));
    key.secrets.insert(0, crate::resource::KeySecret { pepper_version: 1, mac, retires_at: None });
    bench.put(&[Content::VirtualKey(key)]);
    assert_eq!((bench.identify(1, 9), bench.identify(1, 10)), (Ok(()), Err(KeyRefusal::Expired)));
    assert!(bench.snapshot.identify(fresh.expose(), Timestamp::from_micros(11)).is_ok());
}

#[test]
fn stale_policy_is_unverifiable_never_invalid_also_when_the_clock_jumps() {
    let bench = with_key();
    let day = 24 * 3_600 * 1_000_000;
    assert_eq!(bench.identify(1, day), Ok(()));
    assert_eq!(bench.identify(1, day + 1), Err(KeyRefusal::Unverifiable));
    assert_eq!(bench.identify(2, day + 1), Err(KeyRefusal::Unverifiable));
    bench.snapshot.organization(ORG.id()).unwrap().freshness.confirm(Timestamp::from_micros(365 * day));
    assert_eq!(bench.identify(1, 1), Err(KeyRefusal::Unverifiable));
    assert_eq!(
        Snapshot::default().identify(ORG.token(1).expose(), Timestamp::from_micros(1)).map(|_| ()),
        Err(KeyRefusal::Unverifiable)
    );
}

#[test]
fn each_kind_broken_once_keeps_its_last_good_version_and_recovers() {
    for content in with_key_contents() {
        let mut bench = with_key();
        bench.change(vec![broken(&content)], &[]);
        let kind = content.key().kind;
        assert_eq!(bench.bad(), [format!("{} content.encoding", kind.as_str())]);
        let expected = if kind == Kind::VirtualKey { Err(KeyRefusal::Unverifiable) } else { Ok(()) };
        assert_eq!(bench.identify(1, 1), expected, "{kind:?}");
        let workspace = bench.snapshot.workspace(ORG.workspace(1)).unwrap();
        assert!(
            workspace.model("chat").unwrap().targets.iter().all(|target| target.deployment.is_usable()),
            "{kind:?}"
        );
        // Broken again, differently: still the last good one.
        bench.change(vec![Resource { content: Bytes::from_static(&[0xfe; 3]), ..broken(&content) }], &[]);
        assert_eq!(bench.identify(1, 1), expected);
        bench.put(&[content]);
        assert!(bench.bad().is_empty() && bench.identify(1, 1).is_ok(), "{kind:?}");
    }
}

fn with_key_contents() -> Vec<Content> {
    let mut contents = ORG.contents(1);
    contents.push(Content::VirtualKey(ORG.key(1, 1)));
    contents
}

#[test]
fn a_workspace_that_never_compiled_is_broken_and_others_are_unaffected() {
    let mut bench = with_key();
    let theirs = ORG.contents(2);
    let is_workspace = |content: &&Content| content.key().kind == Kind::Workspace;
    let rest: Vec<_> = theirs.iter().filter(|content| !is_workspace(content)).cloned().collect();
    let workspace = theirs.iter().find(is_workspace).expect("a workspace");
    bench.put(&rest);
    bench.change(vec![broken(workspace)], &[]);
    bench.put(&[Content::VirtualKey(ORG.key(2, 2))]);
    assert_eq!((bench.identify(1, 1), bench.identify(2, 1)), (Ok(()), Err(KeyRefusal::Broken)));
    bench.put(std::slice::from_ref(workspace));
    assert_eq!((bench.identify(1, 1), bench.identify(2, 1)), (Ok(()), Ok(())));
    // Once it was good, the last good one serves; gone altogether, its keys are revoked.
    bench.change(vec![broken(workspace)], &[]);
    assert_eq!(bench.identify(2, 1), Ok(()));
    bench.change(Vec::new(), &[broken(workspace).location()]);
    assert_eq!((bench.identify(1, 1), bench.identify(2, 1)), (Ok(()), Err(KeyRefusal::Revoked)));
}

#[test]
fn a_model_that_could_not_be_read_leaves_its_workspace_unsure_of_names_and_no_other() {
    let mut bench = with_key();
    let route = ORG.contents(1).into_iter().find(|content| content.key().kind == Kind::Route).expect("a route");
    let mut unknown = broken(&route);
    unknown.key.id = 0x7777;
    let may_lack = |bench: &Bench| {
        let token = ORG.token(1);
        bench.snapshot.identify(token.expose(), Timestamp::from_micros(1)).expect("a caller").may_lack_models()
    };
    assert!(!may_lack(&bench));
    bench.change(vec![broken(&route)], &[]);
    assert!(!may_lack(&bench), "the last good version is there");
    bench.change(vec![unknown.clone()], &[]);
    assert!(may_lack(&bench));
    bench.change(Vec::new(), &[unknown.location()]);
    assert!(!may_lack(&bench));
}

#[test]
fn references_that_lead_nowhere_are_named_and_mend_themselves() {
    let mut bench = with_key();
    let contents = ORG.contents(1);
    let credential = contents.iter().find(|content| content.key().kind == Kind::Credential).unwrap();
    let location = crate::wire::encode(ORG.id(), credential).location();
    bench.change(Vec::new(), &[location]);
    assert_eq!(bench.bad(), ["deployment credential_id.dangling", "deployment credential_id.dangling"]);
    bench.put(std::slice::from_ref(credential));
    assert!(bench.bad().is_empty());
    let deployment = crate::wire::encode(ORG.id(), &ORG.deployment(1, 2)).location();
    bench.change(Vec::new(), &[deployment]);
    assert_eq!(bench.bad(), ["route targets.deployment_id.dangling"]);
    assert_eq!(bench.snapshot.workspace(ORG.workspace(1)).unwrap().model("chat").unwrap().targets.len(), 1);
    bench.put(&[ORG.deployment(1, 2)]);
    assert!(bench.bad().is_empty());
}

#[test]
fn turns_go_on_when_something_else_of_the_workspace_changes() {
    let mut bench = with_key();
    let turns = |bench: &Bench| {
        let workspace = bench.snapshot.workspace(ORG.workspace(1)).unwrap();
        workspace.model("chat").unwrap().turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(turns(&bench), 0);
    bench.put(&[Content::VirtualKey(ORG.key(1, 2)), ORG.deployment(1, 3)]);
    assert_eq!(turns(&bench), 1);
    // A route made anew under the name begins anew.
    let Content::Route(route) = ORG.contents(1).swap_remove(6) else { panic!("not a route") };
    let gone = crate::wire::encode(ORG.id(), &Content::Route(route.clone())).location();
    let another = Content::Route(Route { id: domain::RouteId::from_uuid(0x7777), ..route });
    bench.change(ORG.resources(&[another]), &[gone]);
    assert_eq!(turns(&bench), 0);
}

#[test]
fn a_credential_of_another_provider_is_not_used() {
    let mut bench = with_key();
    let Content::Deployment(mut deployment) = ORG.deployment(1, 1) else { panic!("not a deployment") };
    deployment.provider = "anthropic".to_owned();
    bench.put(&[Content::Deployment(deployment)]);
    assert_eq!(bench.bad(), ["deployment credential_id.provider_mismatch"]);
}

#[test]
fn a_sealed_secret_moved_to_another_credential_does_not_open() {
    let mut bench = with_key();
    let contents = ORG.contents(1);
    let Some(Content::Credential(mut moved)) =
        contents.into_iter().find(|content| content.key().kind == Kind::Credential)
    else {
        panic!("no credential")
    };
    moved.id = ORG.credential(9);
    bench.put(&[Content::Credential(moved)]);
    assert_eq!(bench.bad(), ["credential secret.unopenable"]);
}

#[test]
fn a_second_key_cannot_take_a_kid() {
    let mut bench = with_key();
    let mut thief = ORG.key(1, 2);
    thief.kid = ORG.key(1, 1).kid;
    bench.put(&[Content::VirtualKey(thief)]);
    assert_eq!(bench.bad(), ["virtual_key kid.taken"]);
    assert_eq!(bench.identify(1, 1), Ok(()));
}

#[test]
fn forgetting_an_organization_leaves_nothing_of_it() {
    let bench = with_key();
    let gone = forget(&bench.snapshot, &bench.set, &TestOpener);
    assert_eq!((gone.key_count(), gone.workspace_count(), gone.organizations().count()), (0, 0, 0));
}

/// Everything that requests can see of a snapshot, as text.
fn describe(snapshot: &Snapshot) -> String {
    let mut lines: Vec<String> = snapshot.keys.values().map(|key| format!("{key:?}")).collect();
    lines.extend(snapshot.workspaces.values().map(|workspace| format!("{workspace:?}")));
    lines
        .extend(snapshot.organizations.values().map(|it| format!("{} {:?} {:?}", it.slug, it.bad.keys(), it.set_hash)));
    lines.sort();
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_deltas_equals_compiling_the_full_set(edits in prop::collection::vec((0_usize..26, any::<bool>()), 1..60)) {
        let mut universe = ORG.contents(1);
        universe.extend(ORG.contents(2).into_iter().skip(1));
        universe.extend((0..10).map(|k| Content::VirtualKey(ORG.key(1 + u128::from(k % 2), k))));
        let mut bench = Bench::new(&universe[..8]);
        for (slot, is_put) in edits {
            let content = &universe[slot % universe.len()];
            if is_put {
                bench.put(std::slice::from_ref(content));
            } else {
                let location = crate::wire::encode(ORG.id(), content).location();
                bench.change(Vec::new(), &[location]);
            }
            let before = ResourceSet::empty(ORG.id());
            let touched: Vec<_> = bench.set.iter().map(|resource| resource.location()).collect();
            let full = compile(Input {
                previous: &Snapshot::default(),
                before: &before,
                after: &bench.set,
                revision: bench.revision,
                set_hash: bench.set.hash(),
                touched: &touched,
                denied: &BTreeSet::new(),
                opener: &TestOpener,
            });
            prop_assert_eq!(describe(&bench.snapshot), describe(&full));
        }
    }
}

#[test]
fn every_content_survives_the_wire() {
    for content in with_key_contents() {
        let resource = crate::wire::encode(ORG.id(), &content);
        assert_eq!(crate::wire::decode(&resource).unwrap(), content);
        let elsewhere = Resource { key: ResourceKey { id: 77, ..resource.key }, ..resource.clone() };
        assert_eq!(crate::wire::decode(&elsewhere).unwrap_err().reason, crate::wire::Reason::Mismatch);
        let moved = Resource { workspace: Some(ORG.workspace(5)), ..resource };
        assert_eq!(crate::wire::decode(&moved).unwrap_err().reason, crate::wire::Reason::Mismatch);
    }
}

#[test]
fn check_names_what_would_be_bad() {
    let mut contents = ORG.contents(1);
    contents.retain(|content| content.key().kind != Kind::Credential);
    let set = ResourceSet::from_resources(ORG.id(), ORG.resources(&contents)).unwrap();
    assert_eq!(check(&set).len(), 2);
}
