//! A persistent map for look-ups on the request path: read without locks, changed by copying little.
//!
//! Two levels of 64 shared pointers over small sorted leaves. Changing one entry of a million copies 128 pointers and one
//! leaf of about 250 entries; an ordinary hash map would copy the million. Not a general container: no removal order, no
//! iteration order worth relying on. Invariant: a clone is never affected by later changes to the original.

use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use rustc_hash::FxHasher;

const FANOUT: usize = 64;

type Leaf<K, V> = Arc<Vec<(K, V)>>;
type Branch<K, V> = Arc<[Option<Leaf<K, V>>; FANOUT]>;

/// See the module.
#[derive(Debug)]
pub struct Table<K, V> {
    root: Arc<[Option<Branch<K, V>>; FANOUT]>,
    len: usize,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { root: Arc::new([const { None }; FANOUT]), len: 0 }
    }
}

fn place<K: Hash>(key: &K) -> (usize, usize) {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    // The multiplication in FxHash mixes upwards, so the high bits are the good ones; fold once more for short keys.
    let hash = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let index = |shift: u32| usize::from((hash >> shift).to_le_bytes()[0] & 63);
    (index(58), index(52))
}

impl<K: Hash + Ord + Clone, V: Clone> Table<K, V> {
    /// Returns the number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Says whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds a value.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (high, low) = place(key);
        let leaf = self.root[high].as_ref()?[low].as_ref()?;
        let at = leaf.binary_search_by(|(candidate, _)| candidate.cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    fn leaf_mut(&mut self, key: &K) -> &mut Vec<(K, V)> {
        let (high, low) = place(key);
        let root = Arc::make_mut(&mut self.root);
        let branch = root[high].get_or_insert_with(|| Arc::new([const { None }; FANOUT]));
        let leaf = Arc::make_mut(branch)[low].get_or_insert_with(Arc::default);
        Arc::make_mut(leaf)
    }

    /// Sets a value and returns the one it replaced.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let leaf = self.leaf_mut(&key);
        match leaf.binary_search_by(|(candidate, _)| candidate.cmp(&key)) {
            Ok(at) => Some(std::mem::replace(&mut leaf[at].1, value)),
            Err(at) => {
                leaf.insert(at, (key, value));
                self.len += 1;
                None
            }
        }
    }

    /// Removes a value and returns it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let leaf = self.leaf_mut(key);
        let at = leaf.binary_search_by(|(candidate, _)| candidate.cmp(key)).ok()?;
        let (_, value) = leaf.remove(at);
        self.len -= 1;
        Some(value)
    }

    /// Lists the entries in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.root
            .iter()
            .flatten()
            .flat_map(|branch| branch.iter().flatten())
            .flat_map(|leaf| leaf.iter())
            .map(|(key, value)| (key, value))
    }

    /// Lists the values in no useful order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_map_and_clones_stay_as_they_were() {
        let mut table = Table::default();
        let mut model = std::collections::BTreeMap::new();
        let mut state = 7_u64;
        for step in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (state >> 33) % 3_000;
            if step % 3 == 0 {
                assert_eq!(table.remove(&key), model.remove(&key));
            } else {
                assert_eq!(table.insert(key, step), model.insert(key, step));
            }
        }
        let old = table.clone();
        table.insert(1_000_000, 1);
        assert_eq!(old.get(&1_000_000), None);
        assert_eq!(old.len(), model.len());
        assert!(model.iter().all(|(key, value)| old.get(key) == Some(value)));
        let mut listed: Vec<_> = old.iter().map(|(key, value)| (*key, *value)).collect();
        listed.sort_unstable();
        assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
    }
}
