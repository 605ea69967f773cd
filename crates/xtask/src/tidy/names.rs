//! What may not be written: empty names, hidden waits, ignored tests, unfinished work, clocks in pure crates, JSON without a
//! shape in what the innermost crates offer, seeds of tests that are elsewhere, providers by name where a table should speak.

use super::File;

const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "types", "manager"];
const PURE: &[&str] = &[
    "domain",
    "hub",
    "anthropic",
    "gemini",
    "openai",
    "llm",
    "wire",
    "catalog",
    "provider",
    "guard",
    "policy",
    "api",
    "proto",
    "batch",
    "continuation",
    "ingress",
];
/// What these crates offer says what it is: `Value` says nothing.
const TYPED: &[&str] = &["domain", "api"];
/// Files whose subject is a JSON document.
const DOCUMENTS: &[&str] = &["crates/api/src/openapi.rs", "crates/api/src/docs.rs"];

/// Crates whose subject are providers, and those of the languages that some of them gave a name to.
const ABOUT_PROVIDERS: &[&str] = &["anthropic", "catalog", "gemini", "hub", "llm", "openai", "provider", "wire"];
/// Where else a provider may stand by name, and why.
const NAMES_PROVIDERS: &[(&str, &str)] = &[
    ("crates/domain/src/reconciliation.rs", "a vendor's bill is compared with what was booked of that vendor"),
    ("crates/link/src/usage/samples.rs", "an event to measure the spool with"),
    ("crates/policy/src/testing.rs", "what tests of several crates are given"),
    ("web/src/testing.rs", "what tests of pages are given"),
];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| file.is_rust() && !file.is_generated() && !is_about_rules(file)) {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let folder = file.path.rsplit('/').nth(1).unwrap_or_default();
        for name in [stem, folder] {
            if EMPTY_NAMES.contains(&name) {
                findings.push(format!("{}: `{name}` says nothing: name the idea", file.path));
            }
        }
        for (number, line) in file.lines() {
            if let Some(what) = find_banned(file, line) {
                findings.push(format!("{}:{number}: {what}", file.path));
            }
        }
    }
    findings.extend(tree.iter().filter_map(|file| find_orphaned_seeds(file, tree)));
    findings.extend(find_named_providers(tree));
    findings
}

/// Finds code that knows a provider by its name: what is told of providers stands in their `Spec`, so that a new one is one file.
fn find_named_providers(tree: &[File]) -> Vec<String> {
    let declared = tree.iter().filter(|file| file.path.starts_with("crates/provider/src/provider/"));
    let name_in = |line: &str| line.trim().strip_prefix("name: \"")?.strip_suffix("\",").map(str::to_owned);
    let names = declared.flat_map(|file| file.lines().filter_map(|(_, line)| name_in(line)).collect::<Vec<_>>());
    // What all of them are made from has none.
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(|name| format!("\"{name}\"")).collect();
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| may_not_name_providers(file)) {
        let code = file.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        for (number, line) in code {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(name) = names.iter().find(|name| code.contains(name.as_str())) {
                let rule = "what is true of one provider belongs in its `Spec`";
                findings.push(format!("{}:{number}: {name} by name: {rule}", file.path));
            }
        }
    }
    for (path, _) in NAMES_PROVIDERS {
        if tree.len() > 100 && !tree.iter().any(|file| file.path == *path) {
            findings.push(format!("{path}: is gone, and may lose its leave to name providers"));
        }
    }
    findings
}

fn may_not_name_providers(file: &File) -> bool {
    let is_source = file.is_rust() && file.path.contains("/src/") && !file.is_generated();
    let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    // The machinery names crates, of which some are called like a vendor.
    let is_about = file.crate_name().is_some_and(|name| ABOUT_PROVIDERS.contains(&name) || name == "xtask");
    is_source && !is_test && !is_about && NAMES_PROVIDERS.iter().all(|(path, _)| *path != file.path)
}

/// Seeds of failed cases are tried again only when they lie where their test looks for them.
fn find_orphaned_seeds(file: &File, tree: &[File]) -> Option<String> {
    let (home, test) = file.path.split_once("/proptest-regressions/")?;
    let test = test.strip_suffix(".txt")?;
    let is_there = ["src", ""].iter().any(|folder| {
        let source = if folder.is_empty() { format!("{home}/{test}.rs") } else { format!("{home}/{folder}/{test}.rs") };
        tree.iter().any(|other| other.path == source)
    });
    (!is_there).then(|| format!("{}: its test has moved: move the seeds, too", file.path))
}

fn is_about_rules(file: &File) -> bool {
    file.path.starts_with("crates/xtask/src/tidy/")
}

fn find_banned(file: &File, line: &str) -> Option<&'static str> {
    let code = line.split("//").next().unwrap_or_default();
    let is_pure = file.crate_name().is_some_and(|name| PURE.contains(&name)) && file.path.contains("/src/");
    let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if code.contains("#[ignore") {
        return Some("an ignored test proves nothing: mend it or delete it");
    }
    if code.contains("#[allow(") || code.contains("#![allow(") {
        return Some("use `#[expect(…, reason = \"…\")]`, which tells when it is no longer needed");
    }
    if is_test && (code.contains("thread::sleep(") || code.contains("time::sleep(")) {
        return Some("a test does not sleep: wait for the condition");
    }
    if is_pure && (code.contains("Instant::now(") || code.contains("SystemTime::now(")) {
        return Some("a pure crate reads no clock: take a `Timestamp` or a `Clock`");
    }
    let is_typed = file.crate_name().is_some_and(|name| TYPED.contains(&name)) && file.path.contains("/src/");
    if is_typed && !DOCUMENTS.contains(&file.path.as_str()) && offers_json(code) {
        return Some("`Value` says nothing of its shape: give it a type");
    }
    let has_marker = ["TODO", "FIXME", "XXX"].iter().any(|marker| line.contains(&format!("// {marker}")));
    if has_marker && !line.contains("(#") {
        return Some("unfinished work needs an issue number: `TODO(#12): …`");
    }
    None
}

/// Says whether a line declares something public of JSON without a shape.
fn offers_json(code: &str) -> bool {
    let is_public = code.trim_start().starts_with("pub ");
    let named =
        |mark: &str| code.split(mark).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    is_public
        && !code.contains("pub use")
        && [": Value", "<Value", "&Value", "-> Value", "serde_json::Value"].iter().any(|mark| named(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_banned_is_written() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn what_is_banned_is_found() {
        for (path, text) in [
            ("crates/a/src/utils.rs", "fn a() {}"),
            ("crates/a/src/utils/mod.rs", "fn a() {}"),
            ("crates/a/src/b.rs", "#[ignore] fn a() {}"),
            ("crates/a/src/b.rs", "#[allow(dead_code)] fn a() {}"),
            ("tests/e2e/b.rs", "tokio::time::sleep(x).await;"),
            ("crates/policy/src/b.rs", "let now = Instant::now();"),
            ("crates/ingress/src/b.rs", "let now = Instant::now();"),
            ("crates/a/src/b.rs", "// TODO: later"),
            ("crates/api/src/b.rs", "    pub metadata: Option<serde_json::Value>,"),
            ("crates/domain/src/b.rs", "pub fn read(document: &Value) -> u8 {"),
            ("crates/a/proptest-regressions/b/tests.txt", "cc 00"),
        ] {
            assert_eq!(check(&[File::new(path, text)]).len(), 1, "{path}: {text}");
        }
        let named = File::new("crates/provider/src/provider/acme.rs", "    name: \"acme\",\n");
        for (path, text, n) in [
            ("crates/gateway/src/b.rs", "match name { \"acme\" => 1 }", 1),
            ("web/src/b.rs", "if provider == \"acme\" {", 1),
            ("crates/gateway/src/b.rs", "// as \"acme\" does", 0),
            ("crates/gateway/src/b/tests.rs", "find(\"acme\")", 0),
            ("crates/catalog/src/b.rs", "\"acme\" => 1", 0),
            ("crates/policy/src/testing.rs", "provider: \"acme\".to_owned(),", 0),
        ] {
            assert_eq!(check(&[named.clone(), File::new(path, text)]).len(), n, "{path}: {text}");
        }
        let fine = [
            ("crates/gateway/src/b.rs", "let now = Instant::now();"),
            ("crates/a/src/b.rs", "// TODO(#12): later"),
            ("crates/api/src/openapi.rs", "pub fn document() -> Value {"),
            ("crates/api/src/field.rs", "pub fn value(self) -> Values {"),
        ];
        for (path, text) in fine {
            assert_eq!(check(&[File::new(path, text)]), Vec::<String>::new(), "{path}: {text}");
        }
    }
}
