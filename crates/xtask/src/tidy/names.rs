//! What may not be written: empty names, hidden waits, ignored tests, unfinished work, clocks in pure crates.

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
    findings
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
    let has_marker = ["TODO", "FIXME", "XXX"].iter().any(|marker| line.contains(&format!("// {marker}")));
    if has_marker && !line.contains("(#") {
        return Some("unfinished work needs an issue number: `TODO(#12): …`");
    }
    None
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
            ("crates/a/src/b.rs", "// TODO: later"),
        ] {
            assert_eq!(check(&[File::new(path, text)]).len(), 1, "{path}: {text}");
        }
        let fine =
            [("crates/gateway/src/b.rs", "let now = Instant::now();"), ("crates/a/src/b.rs", "// TODO(#12): later")];
        for (path, text) in fine {
            assert_eq!(check(&[File::new(path, text)]), Vec::<String>::new(), "{path}: {text}");
        }
    }
}
