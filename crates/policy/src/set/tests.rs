use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn organization() -> OrganizationId {
    OrganizationId::from_uuid(1)
}

/// A resource of a small universe: many collisions, several workspaces and buckets.
fn resource(slot: u8, content: u8) -> Resource {
    let id = u128::from(slot % 64);
    let workspace = WorkspaceId::from_uuid(u128::from(slot / 64));
    let key = ResourceKey { kind: Kind::Deployment, id };
    Resource { key, organization: organization(), workspace: Some(workspace), content: Bytes::from(vec![content]) }
}

#[derive(Debug, Clone)]
enum Edit {
    Put(u8, u8),
    Take(u8),
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = prop_oneof![
        (any::<u8>(), any::<u8>()).prop_map(|(slot, content)| Edit::Put(slot, content)),
        any::<u8>().prop_map(Edit::Take)
    ];
    prop::collection::vec(prop::collection::vec(edit, 1..12), 0..20)
}

proptest! {
    #[test]
    fn any_sequence_of_deltas_equals_the_full_set(deltas in edits()) {
        let mut model: BTreeMap<Location, Resource> = BTreeMap::new();
        let mut set = ResourceSet::empty(organization());
        for delta in deltas {
            let before = set.clone();
            // One edit per location and delta, the last one wins.
            let mut wanted: BTreeMap<Location, Option<Resource>> = BTreeMap::new();
            for edit in delta {
                match edit {
                    Edit::Put(slot, content) => drop(wanted.insert(resource(slot, 0).location(), Some(resource(slot, content)))),
                    Edit::Take(slot) => drop(wanted.insert(resource(slot, 0).location(), None)),
                }
            }
            let upserts: Vec<_> = wanted.values().flatten().cloned().collect();
            let removals: Vec<_> = wanted.iter().filter(|(_, it)| it.is_none()).map(|(location, _)| *location).collect();
            set.apply(upserts.clone(), &removals).unwrap();
            for (location, wanted) in wanted {
                match wanted {
                    Some(resource) => drop(model.insert(location, resource)),
                    None => drop(model.remove(&location)),
                }
            }
            let full = ResourceSet::from_resources(organization(), model.values().cloned().collect()).unwrap();
            prop_assert_eq!(set.hash(), full.hash());
            prop_assert_eq!(set.len(), model.len() as u64);
            // The difference between two states, applied to the first, gives the second.
            let (upserts, removals) = before.difference(&set);
            let mut rebuilt = before;
            rebuilt.apply(upserts, &removals).unwrap();
            prop_assert_eq!(rebuilt.hash(), set.hash());
            prop_assert!(set.difference(&full).0.is_empty() && set.difference(&full).1.is_empty());
        }
    }
}

#[test]
fn a_refused_change_leaves_nothing_behind() {
    let mut set = ResourceSet::from_resources(organization(), vec![resource(1, 1)]).unwrap();
    let before = set.hash();
    let foreign = Resource { organization: OrganizationId::from_uuid(2), ..resource(2, 1) };
    assert!(matches!(set.apply(vec![resource(3, 3), foreign], &[]), Err(SetError::ForeignOrganization { .. })));
    let misplaced = Resource { workspace: None, ..resource(2, 1) };
    assert!(matches!(set.apply(vec![misplaced], &[]), Err(SetError::MisplacedWorkspace { .. })));
    let large = Resource { content: Bytes::from(vec![0; MAX_CONTENT_BYTES + 1]), ..resource(2, 1) };
    assert!(matches!(set.apply(vec![large], &[]), Err(SetError::ContentTooLarge { .. })));
    assert!(matches!(set.apply(vec![resource(3, 3), resource(3, 4)], &[]), Err(SetError::Duplicate { .. })));
    assert!(matches!(set.apply(vec![resource(3, 3)], &[resource(3, 0).location()]), Err(SetError::Duplicate { .. })));
    assert_eq!((set.hash(), set.len()), (before, 1));
}

#[test]
fn the_hash_covers_key_workspace_and_organization() {
    let base = ResourceSet::from_resources(organization(), vec![resource(1, 1)]).unwrap();
    let others = [resource(2, 1), resource(1, 2), resource(65, 1)];
    for other in others {
        assert_ne!(ResourceSet::from_resources(organization(), vec![other]).unwrap().hash(), base.hash());
    }
    assert_ne!(ResourceSet::empty(organization()).hash(), ResourceSet::empty(OrganizationId::from_uuid(2)).hash());
}

#[test]
fn a_kind_range_lists_only_its_kinds() {
    let route = Resource { key: ResourceKey { kind: Kind::Route, id: 9 }, ..resource(1, 1) };
    let set = ResourceSet::from_resources(organization(), vec![resource(1, 1), route]).unwrap();
    let workspace = Some(WorkspaceId::from_uuid(0));
    assert_eq!(set.list(workspace, Kind::Route..=Kind::Route).count(), 1);
    assert_eq!(set.list(workspace, Kind::Deployment..=Kind::Route).count(), 2);
    assert_eq!(set.list(None, Kind::Organization..=Kind::Price).count(), 0);
    assert_eq!(set.iter().count(), 2);
}

#[test]
fn a_set_read_in_parts_is_the_whole_set_and_a_narrowed_one_has_its_own_hash() {
    let resources: Vec<_> = (0..=u8::MAX).map(|slot| resource(slot, slot)).collect();
    let set = ResourceSet::from_resources(organization(), resources).unwrap();
    let whole: Vec<_> = set.iter().collect();
    for size in [1, 7, 64, 300] {
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let part: Vec<_> = set.iter_after(after).take(size).collect();
            let Some(last) = part.last() else { break };
            after = Some(last.location());
            parts.extend(part);
        }
        assert_eq!(parts, whole, "in parts of {size}");
    }
    let mut other = resource(3, 3);
    other.key.kind = Kind::Route;
    let mut with_route = set.clone();
    with_route.apply(vec![other], &[]).unwrap();
    let narrowed = with_route.only(&BTreeSet::from([Kind::Deployment]));
    assert_eq!((narrowed.hash(), narrowed.len()), (set.hash(), set.len()));
}
