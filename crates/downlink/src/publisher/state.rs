//! One organization as it is published: immutable, shared with every stream, replaced by the next revision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use policy::set::{Location, SetHash};
use policy::sign::{Revision, Signed};
use policy::wire::frame;
use policy::{Resource, ResourceSet};
use proto::v1;

use operation::keyring::Key;

/// Steps that are kept; a node that is further behind gets a full set.
const MAX_STEPS: usize = 256;
/// Changes in one delta; more than this is sent as a full set in chunks.
const MAX_DELTA: usize = 2_000;

/// See the module.
pub(crate) struct Published {
    signed: Signed<Revision>,
    set: ResourceSet,
    steps: VecDeque<Arc<Step>>,
    data_keys: Vec<(u32, Key)>,
}

struct Step {
    from: (u64, SetHash),
    to: u64,
    upserts: Vec<Resource>,
    removals: Vec<Location>,
    urgent: Vec<Arc<v1::Urgent>>,
}

/// How a node gets from what it holds to what is published.
pub(crate) enum Plan {
    /// It is there.
    Current,
    /// By these changes; the target is filled in by the caller.
    Delta(v1::Delta),
    /// By everything.
    Full,
}

impl Published {
    pub(super) const fn first(signed: Signed<Revision>, set: ResourceSet, data_keys: Vec<(u32, Key)>) -> Self {
        Self { signed, set, steps: VecDeque::new(), data_keys }
    }

    pub(super) fn next(
        &self,
        signed: Signed<Revision>,
        set: ResourceSet,
        (upserts, removals): (Vec<Resource>, Vec<Location>),
        urgent: Vec<Arc<v1::Urgent>>,
        data_keys: Vec<(u32, Key)>,
    ) -> Self {
        let mut steps = self.steps.clone();
        if steps.len() == MAX_STEPS {
            steps.pop_front();
        }
        let from = (self.signed.statement.number, self.set.hash());
        steps.push_back(Arc::new(Step { from, to: signed.statement.number, upserts, removals, urgent }));
        Self { signed, set, steps, data_keys }
    }

    pub(crate) const fn signed(&self) -> &Signed<Revision> {
        &self.signed
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.signed.statement.number
    }

    pub(crate) const fn set(&self) -> &ResourceSet {
        &self.set
    }

    pub(crate) fn data_keys(&self) -> &[(u32, Key)] {
        &self.data_keys
    }

    /// What the last step takes out of use.
    pub(super) fn urgent(&self) -> &[Arc<v1::Urgent>] {
        self.steps.back().map_or(&[], |step| &step.urgent)
    }

    /// What was taken out of use after a revision; `None` when that is longer ago than this process knows.
    pub(super) fn urgent_after(&self, revision: u64) -> Option<Vec<Arc<v1::Urgent>>> {
        let is_known = self.steps.front().map_or(self.revision(), |step| step.from.0) <= revision;
        let later = self.steps.iter().filter(|step| step.to > revision);
        is_known.then(|| later.flat_map(|step| step.urgent.iter().cloned()).collect())
    }

    /// Plans the way from a held state; `None` holds nothing.
    pub(crate) fn plan(&self, held: Option<(u64, SetHash)>) -> Plan {
        let Some(held) = held else { return Plan::Full };
        if held == (self.revision(), self.set.hash()) {
            return Plan::Current;
        }
        let Some(at) = self.steps.iter().position(|step| step.from == held) else { return Plan::Full };
        // The latest change of each resource wins.
        let mut merged: BTreeMap<Location, Option<&Resource>> = BTreeMap::new();
        for step in self.steps.iter().skip(at) {
            merged.extend(step.removals.iter().map(|location| (*location, None)));
            merged.extend(step.upserts.iter().map(|resource| (resource.location(), Some(resource))));
            if merged.len() > MAX_DELTA || step.to > self.revision() {
                return Plan::Full;
            }
        }
        Plan::Delta(v1::Delta {
            target: None,
            from_revision: held.0,
            upserts: merged.values().flatten().map(|resource| frame::resource_message(resource)).collect(),
            removals: merged
                .iter()
                .filter(|(_, it)| it.is_none())
                .map(|(location, _)| frame::removal_message(location))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::resource::Content;
    use policy::testing::{TestOrganization, TestSigner};

    const ORG: TestOrganization = TestOrganization(1);

    fn put(published: &Published, keys: &[u64], removed: &[u64]) -> Published {
        let contents = |list: &[u64]| list.iter().map(|k| Content::VirtualKey(ORG.key(1, *k))).collect::<Vec<_>>();
        let upserts = ORG.resources(&contents(keys));
        let removals: Vec<_> = ORG.resources(&contents(removed)).iter().map(Resource::location).collect();
        let mut set = published.set.clone();
        set.apply(upserts.clone(), &removals).unwrap();
        let signed = ORG.sign(&set, published.revision() + 1, &TestSigner(1));
        let revision = published.revision() + 1;
        let urgent = v1::Urgent { organization_id: ORG.id().to_string(), revision, ..v1::Urgent::default() };
        published.next(signed, set, (upserts, removals), vec![Arc::new(urgent)], Vec::new())
    }

    #[test]
    fn steps_are_merged_into_one_delta_and_unknown_states_get_everything() {
        let set = ResourceSet::from_resources(ORG.id(), ORG.resources(&ORG.contents(1))).unwrap();
        let first = Published::first(ORG.sign(&set, 1, &TestSigner(1)), set, Vec::new());
        let start = (1, first.set.hash());
        let last = put(&put(&put(&first, &[1, 2], &[]), &[3], &[1]), &[1], &[2]);
        let Plan::Delta(delta) = last.plan(Some(start)) else { panic!("not a delta") };
        assert_eq!((delta.from_revision, delta.upserts.len(), delta.removals.len()), (1, 2, 1));
        assert!(matches!(last.plan(Some((4, last.set.hash()))), Plan::Current));
        assert!(matches!(last.plan(None), Plan::Full));
        assert!(matches!(last.plan(Some((2, SetHash([9; 32])))), Plan::Full));
    }

    #[test]
    fn what_was_urgent_is_remembered_as_long_as_the_steps_are() {
        let set = ResourceSet::from_resources(ORG.id(), ORG.resources(&ORG.contents(1))).unwrap();
        let mut last = Published::first(ORG.sign(&set, 1, &TestSigner(1)), set, Vec::new());
        assert_eq!((last.urgent().len(), last.urgent_after(1)), (0, Some(Vec::new())));
        assert_eq!(last.urgent_after(0), None, "this process has not seen it");
        for n in 0..300_u64 {
            last = put(&last, &[n % 3], &[]);
        }
        let after =
            |revision| last.urgent_after(revision).map(|it| it.iter().map(|it| it.revision).collect::<Vec<_>>());
        assert_eq!(after(301), Some(Vec::new()));
        assert_eq!(after(298), Some(vec![299, 300, 301]));
        assert_eq!(last.urgent()[0].revision, 301);
        assert_eq!(after(45).map(|it| it.len()), Some(256));
        assert_eq!(after(44), None);
    }
}
