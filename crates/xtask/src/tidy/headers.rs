//! Every source file says first what it is; every crate is under the lints of the house, and the innermost ones document all they offer.

use super::File;

const SHORTEST: usize = 8;
/// Crates that others are written against.
const DOCUMENTED: &[&str] = &[
    "anthropic",
    "api",
    "batch",
    "books",
    "catalog",
    "continuation",
    "domain",
    "gateway",
    "gemini",
    "hub",
    "ingress",
    "llm",
    "openai",
    "policy",
    "provider",
    "store",
    "upstream",
    "wire",
];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let sources = tree.iter().filter(|file| file.is_rust() && !file.is_generated() && !is_tests_of_a_module(file));
    let has_header = |file: &File| {
        let first = file.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_some_and(|said| said.len() >= SHORTEST)
    };
    let finding =
        |file: &File| format!("{}:1: no module header: start with `//! ` and one sentence on what it is", file.path);
    let mut findings: Vec<String> = sources.filter(|file| !has_header(file)).map(finding).collect();
    findings.extend(tree.iter().filter_map(find_lenience));
    findings
}

/// Finds a crate that the lints do not hold for.
fn find_lenience(file: &File) -> Option<String> {
    let name = file.crate_name()?;
    // Generated code keeps its generator's habits.
    let is_manifest = file.path.ends_with("/Cargo.toml") && !file.path.contains("/fuzz/") && name != "proto";
    if is_manifest && !file.text.contains("[lints]\nworkspace = true") {
        return Some(format!("{}: add `[lints]` with `workspace = true`", file.path));
    }
    let is_root = file.path == format!("crates/{name}/src/lib.rs") && DOCUMENTED.contains(&name);
    let is_lenient = is_root && !file.text.contains("#![deny(missing_docs)]");
    is_lenient.then(|| format!("{}: add `#![deny(missing_docs)]`: others are written against this crate", file.path))
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
    #[test]
    fn a_crate_outside_of_the_lints_is_found() {
        let header = "//! Says in one sentence what it is.\n";
        for (path, text) in [
            ("crates/shiny/Cargo.toml", "[package]\nname = \"shiny\"\n"),
            ("web/ui/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n"),
            ("crates/policy/src/lib.rs", header),
        ] {
            assert_eq!(check(&[File::new(path, text)]).len(), 1, "{path}");
        }
        for (path, text) in [
            ("crates/shiny/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/policy/fuzz/Cargo.toml", "[package]\n"),
            ("crates/policy/src/lib.rs", &format!("{header}\n#![deny(missing_docs)]\n")),
            ("crates/testkit/src/lib.rs", header),
        ] {
            assert_eq!(check(&[File::new(path, text)]), Vec::<String>::new(), "{path}");
        }
    }
}
