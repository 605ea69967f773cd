//! Every source file says first what it is.

use super::File;

const SHORTEST: usize = 8;

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let sources = tree.iter().filter(|file| file.is_rust() && !file.is_generated() && !is_tests_of_a_module(file));
    let has_header = |file: &File| {
        let first = file.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_some_and(|said| said.len() >= SHORTEST)
    };
    let finding =
        |file: &File| format!("{}:1: no module header: start with `//! ` and one sentence on what it is", file.path);
    sources.filter(|file| !has_header(file)).map(finding).collect()
}

/// `foo/tests.rs` belongs to `foo.rs`, whose header says what both are about.
fn is_tests_of_a_module(file: &File) -> bool {
    file.path.starts_with("crates/") && file.path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_header() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = [
            File::new("crates/a/src/lib.rs", "//! Says in one sentence what it is.\n"),
            File::new("crates/a/src/b.rs", "use std::fmt;\n"),
            File::new("crates/a/src/c.rs", "//! C.\n"),
        ];
        assert_eq!(check(&tree).len(), 2);
    }
}
