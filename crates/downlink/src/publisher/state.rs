//! One organization as it is published: immutable, shared with every stream, replaced by the next revision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use policy::set::{Location, SetHash};
use policy::sign::{Revision, Signed};
use policy::wire::frame;
use policy::{Resource, ResourceSet};
use proto::v1;

use control::keyring::Key;

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
        upserts: Vec<Resource>,
        removals: Vec<Location>,
        data_keys: Vec<(u32, Key)>,
    ) -> Self {
        let mut steps = self.steps.clone();
        if steps.len() == MAX_STEPS {
            steps.pop_front();
        }
        let from = (self.signed.statement.number, self.set.hash());
        steps.push_back(Arc::new(Step { from, to: signed.statement.number, upserts, removals }));
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
        published.next(signed, set, upserts, removals, Vec::new())
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
}
