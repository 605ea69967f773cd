//! Sorting, written once for all types: the library's sort is some four kilobytes of wasm for each type that is sorted.

use std::cmp::Ordering;

/// Sorts; what is equal keeps its order.
pub fn by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let places = places_of(items.len(), &|left, right| compare(&items[left], &items[right]));
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(places.into_iter().filter_map(|place| taken[place].take()));
}

/// Returns the places of items in their order.
fn places_of(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|left, right| compare(*left, *right));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_keeps_its_order() {
        let mut items = vec![("b", 2), ("a", 1), ("c", 2), ("d", 0)];
        by(&mut items, |left, right| left.1.cmp(&right.1));
        assert_eq!(items, [("d", 0), ("a", 1), ("b", 2), ("c", 2)]);
        by(&mut Vec::<u8>::new(), u8::cmp);
    }
}
