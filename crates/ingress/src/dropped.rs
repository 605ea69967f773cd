//! What a target could not be told, as one header says it.
//!
//! Knows nothing of how it came to that. Invariant: the list is no longer than a header may be, and ends between two letters.

use std::borrow::Cow;

/// Longest list of losses in a header; the usage event has them all.
const MAX_DROPPED: usize = 1_024;
/// How many of a kind are listed one by one.
const FEW: usize = 3;

/// Lists what was left out, for a header. What holds for many of a kind is said once: sixty tools must not hide the one that is missing.
#[must_use]
pub fn list(paths: &[String]) -> String {
    let kind = |path: &str| -> String {
        let mut is_index = false;
        path.chars()
            .filter(|letter| {
                is_index = (is_index || *letter == '[') && *letter != ']';
                !letter.is_ascii_digit() || !is_index
            })
            .collect()
    };
    let kinds: Vec<String> = paths.iter().map(|path| kind(path)).collect();
    let mut list: Vec<Cow<'_, str>> = Vec::with_capacity(paths.len());
    for (path, kind) in paths.iter().zip(&kinds) {
        if kinds.iter().filter(|other| *other == kind).count() <= FEW {
            list.push(path.into());
        } else if !list.iter().any(|listed| listed.replace("[*]", "[]") == *kind) {
            list.push(kind.replace("[]", "[*]").into());
        }
    }
    let mut list = list.join(",");
    if list.len() > MAX_DROPPED {
        let end = (0..=MAX_DROPPED).rev().find(|at| list.is_char_boundary(*at)).unwrap_or(0);
        list.truncate(end);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_many_is_said_once() {
        let mut paths: Vec<String> = (0..60).map(|n| format!("tools[{n}].eager")).collect();
        paths.extend(["seed", "messages[0].name", "messages[12].name"].map(str::to_owned));
        assert_eq!(list(&paths), "tools[*].eager,seed,messages[0].name,messages[12].name");
        let long: Vec<String> = (0..600).map(|n| format!("field_{n}")).collect();
        assert_eq!(list(&long).len(), MAX_DROPPED);
    }
}
