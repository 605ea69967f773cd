//! The rules of the house that a machine can check, one module per family.
//!
//! A rule looks at the files that git would take (tracked or new, not ignored) and tells findings as `path:line: what is
//! wrong and what to do`. Every family is also a test, so a plain test run proves it, and a rule is itself tested on a text
//! that breaks it: a rule that cannot fail is no rule.

mod css;
mod deps;
mod fixtures;
mod fuzz;
mod headers;
mod migrations;
mod names;
mod proofs;
mod size;
mod sql;
mod supply;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::repo::{Step, root};

/// Folders of crates of the console, and the crates' names.
const CONSOLE: [(&str, &str); 4] = [
    ("web/kit/", "console-kit"),
    ("web/model/", "console-model"),
    ("web/money/", "console-money"),
    ("web/ui/", "console-ui"),
];

/// One text file of the checkout.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root of the checkout, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl File {
    #[cfg(test)]
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Iterates over `(line number from 1, line)`.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn is_generated(&self) -> bool {
        self.path.contains("/src/gen/")
    }

    /// Tells whether the name ends in `.extension`.
    fn is_a(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }

    fn is_rust(&self) -> bool {
        self.is_a("rs")
    }

    fn is_migration(&self) -> bool {
        self.path.starts_with("migrations/") && self.is_a("sql")
    }

    /// Returns the crate's folder name: `store` for `crates/store/src/tx.rs`, `web` for `web/src/app.rs`.
    fn crate_name(&self) -> Option<&str> {
        // The console's crates lie below the console's folder.
        for (folder, name) in CONSOLE {
            if self.path.starts_with(folder) {
                return Some(name);
            }
        }
        match self.path.strip_prefix("crates/") {
            Some(rest) => rest.split('/').next(),
            None => self.path.split_once('/').map(|(first, _)| first).filter(|first| matches!(*first, "web" | "tests")),
        }
    }
}

/// Reads every text file that git would take.
pub(crate) fn read_tree() -> Result<Vec<File>> {
    let listed = Step::new("git").args(&["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let mut paths: Vec<&str> = listed.lines().collect();
    paths.sort_unstable();
    paths.dedup();
    let root: PathBuf = root();
    // A file that is gone or not UTF-8 (a picture) has no text to check.
    let read = |path: &str| Some(File { path: path.to_owned(), text: fs::read_to_string(root.join(path)).ok()? });
    Ok(paths.into_iter().filter_map(read).collect())
}

/// Runs every family; an error tells how many findings there are.
pub(crate) fn run() -> Result<()> {
    let tree = read_tree()?;
    let mut findings = deps::check(&deps::read_workspace()?);
    findings.extend(deps::check_purity()?);
    let packages = supply::read_packages()?;
    findings.extend(supply::check(&packages));
    findings.extend(supply::check_exceptions(&packages));
    let families = [
        css::check,
        fixtures::check,
        fuzz::check,
        headers::check,
        migrations::check,
        names::check,
        proofs::check,
        size::check,
        sql::check,
        supply::check_sources,
    ];
    for check in families {
        findings.extend(check(&tree));
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        eprintln!("tidy: {} files, nothing found", tree.len());
        Ok(())
    } else {
        bail!("tidy: {} findings", findings.len())
    }
}

#[cfg(test)]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}
