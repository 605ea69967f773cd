//! What documents name as their proof is there: every test that a page on the protocol, on security or on faults names is a function.
//!
//! A name of four words or more in backticks, such as `a_revoked_key_is_refused`, is a test's; shorter ones may be fields, and those
//! that begin as metrics do are checked where metrics are.

use std::collections::BTreeSet;

use super::File;

/// Documents that state what tests prove.
const PAGES: &[&str] = &[
    "docs/ARCHITECTURE.md",
    "docs/PROTOCOL.md",
    "docs/SECURITY.md",
    "docs/benchmarks.md",
    "docs/faults.md",
    "docs/incidents.md",
    "docs/recorded-calls.md",
];
const DECISIONS: &str = "docs/adr/";
const METRICS: &str = "headgate_";
/// Fewer words may name anything.
const FEWEST_WORDS: usize = 4;

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let functions: BTreeSet<&str> = tree.iter().filter(|file| file.is_rust()).flat_map(list_functions).collect();
    let mut findings = Vec::new();
    for page in tree.iter().filter(|file| PAGES.contains(&file.path.as_str()) || file.path.starts_with(DECISIONS)) {
        for (number, line) in page.lines() {
            for name in line.split('`').skip(1).step_by(2).filter_map(as_test).filter(|name| !functions.contains(name))
            {
                findings
                    .push(format!("{}:{number}: no test is named `{name}`: name the one that proves it", page.path));
            }
        }
    }
    findings
}

/// Lists the names that follow `fn`.
fn list_functions(file: &File) -> impl Iterator<Item = &str> {
    let begins = file.text.match_indices("fn ").map(|(at, word)| &file.text[at + word.len()..]);
    begins.map(|rest| rest.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').next().unwrap_or_default())
}

/// Returns the test's name of `module::a_test_of_many_words`; `None` for anything that is not one.
fn as_test(quoted: &str) -> Option<&str> {
    let name = quoted.rsplit("::").next()?;
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let is_name = name.split('_').count() >= FEWEST_WORDS && name.split('_').all(is_word);
    (is_name && !name.starts_with(METRICS)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_a_document_names_is_there() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn a_name_without_its_test_is_found() {
        let source = File::new("tests/e2e/keys.rs", "async fn a_key_is_refused_at_once() {}\nfn short() {}");
        let found = |page: &str, text: &str| check(&[source.clone(), File::new(page, text)]).len();
        for sound in
            ["`keys::a_key_is_refused_at_once` holds it", "`max_stale_ms`", "`headgate_spool_lost_events`", "none"]
        {
            assert_eq!(found("docs/PROTOCOL.md", sound), 0, "{sound}");
        }
        for dead in [
            "`a_key_is_refused_at_last`",
            "`keys::a_key_is_refused_at_once`, `b_is_refused_too`",
            "`gone::short_of_a_test`",
        ] {
            assert_eq!(found("docs/SECURITY.md", dead), 1, "{dead}");
            assert_eq!(found("docs/adr/0001-keys.md", dead), 1, "{dead}");
        }
    }
}
