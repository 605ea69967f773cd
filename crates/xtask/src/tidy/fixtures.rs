//! Every recorded file is read by a test, and every expected answer belongs to a case that still has something to answer.
//!
//! Recorded files lie below `fixtures`, in a folder `golden`, or have `.golden.` in their name. A test finds them by a name that stands
//! in its source, whole or up to where a variable part begins, or by the name of a case. What nobody reads proves nothing and is
//! taken for proof.

use std::collections::{BTreeMap, BTreeSet};

use super::File;
use super::sql::string_literals;

/// How names of expected answers begin: tests write these with `UPDATE=1`.
const EXPECTED: &[&str] = &["golden.", "sent_", "client_"];
/// A shorter beginning of a name would match anything.
const SHORTEST: usize = 4;

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let known = Known::read(tree);
    let mut inputs: BTreeMap<&str, bool> = BTreeMap::new();
    let recorded: Vec<(&str, &str, &str)> = tree.iter().filter_map(as_recorded).collect();
    for (path, _, name) in &recorded {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *inputs.entry(folder).or_default() |= !EXPECTED.iter().any(|beginning| name.starts_with(beginning));
    }
    let last = |path: &'_ str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let cases: BTreeSet<String> = inputs.iter().filter(|(_, has)| **has).map(|(folder, _)| last(folder)).collect();
    let mut findings = Vec::new();
    for (path, stem, name) in &recorded {
        if !known.has(name) && !cases.contains(*stem) {
            findings.push(format!("{path}: no test reads it: delete it, or name it in a test"));
        }
    }
    for (folder, _) in inputs.iter().filter(|(folder, has)| !**has && !cases.contains(&last(folder))) {
        findings.push(format!("{folder}: expected answers of a case that is gone: delete them"));
    }
    findings
}

/// Gives path, stem and name of a recorded file.
fn as_recorded(file: &File) -> Option<(&str, &str, &str)> {
    let is_recorded = !file.is_rust()
        && (file.path.contains("/fixtures/") || file.path.contains("/golden/") || file.path.contains(".golden."));
    let name = file.path.rsplit('/').next()?;
    is_recorded.then(|| (file.path.as_str(), name.rsplit_once('.').map_or(name, |(stem, _)| stem), name))
}

/// The names of files in the source.
struct Known {
    whole: BTreeSet<String>,
    beginnings: Vec<String>,
}

impl Known {
    fn read(tree: &[File]) -> Self {
        let mut known = Self { whole: BTreeSet::new(), beginnings: Vec::new() };
        for file in tree.iter().filter(|file| file.is_rust() && !file.path.starts_with("crates/xtask/src/tidy/")) {
            for (_, literal, _) in string_literals(&file.text) {
                let name = literal.rsplit('/').next().unwrap_or_default();
                match name.split_once('{') {
                    Some((beginning, _)) if beginning.len() >= SHORTEST => known.beginnings.push(beginning.to_owned()),
                    None if name.contains('.') => drop(known.whole.insert(name.to_owned())),
                    _ => {}
                }
            }
        }
        known
    }

    fn has(&self, name: &str) -> bool {
        self.whole.contains(name) || self.beginnings.iter().any(|beginning| name.starts_with(beginning.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_file_is_read() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    const READER: (&str, &str) = (
        "crates/a/tests/golden.rs",
        "fn f() { read(\"request.json\"); compare(&format!(\"sent_{}.json\", to)); check(\"e2e/golden/spans.txt\"); }",
    );

    fn findings(paths: &[&str]) -> Vec<String> {
        let files = paths.iter().map(|path| File::new(path, "{}"));
        check(&files.chain([File::new(READER.0, READER.1)]).collect::<Vec<_>>())
    }

    #[test]
    fn what_tests_read_is_not_found() {
        let all = [
            "crates/a/fixtures/basic/request.json",
            "crates/a/fixtures/basic/sent_gemini.json",
            // Told elsewhere of the same case.
            "crates/b/fixtures/told/basic/sent_gemini.json",
            "crates/b/fixtures/shared/basic.json",
            "tests/e2e/golden/spans.txt",
            "crates/a/data/anything.json",
        ];
        assert_eq!(findings(&all), Vec::<String>::new());
    }

    #[test]
    fn what_nobody_reads_is_found() {
        for path in [
            "crates/a/fixtures/basic/answer.json",
            "crates/a/fixtures/gone/sent_gemini.json",
            "crates/b/fixtures/shared/gone.json",
            "tests/e2e/golden/others.txt",
            "crates/a/tests/explain.golden.txt",
        ] {
            let found = findings(&["crates/a/fixtures/basic/request.json", path]);
            assert_eq!(found.len(), 1, "{path}: {found:?}");
        }
    }
}
