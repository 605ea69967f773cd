//! The console's looks come from tokens, and its layers stay apart.
//!
//! Components use role tokens only, so that a theme changes everything; `ui` knows no API and no entity; areas of
//! `features` do not import each other.

use super::File;

const UI: &str = "web/ui/src/";
/// The areas of the pages for money.
const MONEY: [&str; 4] = ["budgets", "rate_limits", "kill_switches", "ledger"];
/// Where pages and their parts are.
const SHOWN: [&str; 4] = ["web/src/", "web/kit/src/", "web/money/src/", UI];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree {
        let is_console = SHOWN.iter().any(|folder| file.path.starts_with(folder));
        if is_console && file.is_a("css") {
            for (number, line) in file.lines() {
                if let Some(what) = find_raw_value(line) {
                    findings.push(format!("{}:{number}: {what}", file.path));
                }
            }
        }
        if is_console && file.is_rust() {
            for (number, line) in file.lines() {
                if let Some(what) = find_crossing(&file.path, line) {
                    findings.push(format!("{}:{number}: {what}", file.path));
                }
            }
        }
    }
    findings
}

fn find_raw_value(line: &str) -> Option<&'static str> {
    let value = line.split("/*").next().unwrap_or_default();
    let value = value.split_once(':').map_or(value, |(_, value)| value);
    let is_hex = |rest: &str| rest.bytes().take_while(u8::is_ascii_hexdigit).count() >= 3;
    if value.match_indices('#').any(|(at, _)| is_hex(&value[at + 1..])) {
        return Some("a colour is a role token: var(--color-…)");
    }
    let is_pixels = |at: usize| at > 0 && value.as_bytes()[at - 1].is_ascii_digit();
    if value.match_indices("px").any(|(at, _)| is_pixels(at)) {
        return Some("a length is a role token: var(--space-…), var(--radius-…), var(--text-…)");
    }
    None
}

fn find_crossing(path: &str, line: &str) -> Option<&'static str> {
    // Instants and amounts have no other owner; what prints them or reads the clock may name them.
    let is_primitive = path.strip_prefix(UI).is_some_and(|rest| !rest.starts_with("format/") && rest != "browser.rs");
    if is_primitive && line.contains("domain::") {
        return Some("a primitive knows no entity: take plain values");
    }
    let (below, root) = match path.strip_prefix("web/money/src/") {
        Some(below) => (below, "crate::"),
        None => (path.strip_prefix("web/src/features/")?, "crate::features::"),
    };
    // What lies beside the areas of a crate is what they share.
    let area = below.split_once('/').map_or(below, |(area, _)| area);
    let imported = line.split(root).nth(1)?;
    if root == "crate::" && !MONEY.iter().any(|area| imported.starts_with(area)) {
        return None;
    }
    let other = imported.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()?;
    let is_own = area.trim_end_matches(".rs") == other || matches!(area, "mod.rs" | "lib.rs");
    if is_own { None } else { Some("areas do not import each other: move what they share to `ui`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_keeps_its_layers() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn raw_values_and_crossings_are_found() {
        for (path, text) in [
            ("web/ui/src/a/a.css", "  color: #fff;"),
            ("web/ui/src/a/a.css", "  margin: 0 12px;"),
            ("web/ui/src/a/mod.rs", "use domain::Money;"),
            ("web/src/features/usage/mod.rs", "use crate::features::audit::Row;"),
            ("web/money/src/ledger/mod.rs", "use crate::budgets::Row;"),
        ] {
            assert_eq!(check(&[File::new(path, text)]).len(), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("web/ui/src/a/a.css", "#main { color: var(--color-text); }"),
            ("web/style/tokens.css", "--blue-600: #2050ff;"),
            ("web/ui/src/format/money.rs", "use domain::money::NanoUsd;"),
            ("web/src/features/usage/mod.rs", "use crate::features::usage::Row;"),
            ("web/money/src/ledger/mod.rs", "use crate::amounts::words;"),
            ("web/src/app.rs", "use crate::features::audit;"),
        ] {
            assert_eq!(check(&[File::new(path, text)]), Vec::<String>::new(), "{path}: {text}");
        }
    }
}
