//! SQL lives in one crate, brings its own ids and times, and names the tenant in every statement.

use super::File;
use super::migrations::tenant_tables;

const BANNED_FUNCTIONS: &[&str] = &["now()", "random()", "gen_random_uuid()", "clock_timestamp()", "current_timestamp"];
const STATEMENTS: &[&str] = &["select", "insert", "update", "delete"];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let tables: Vec<String> = tenant_tables(tree).into_iter().map(|(_, table)| table).collect();
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| file.is_rust() && !file.path.starts_with("crates/xtask/")) {
        if file.path.starts_with("crates/store/src/") {
            findings.extend(check_statements(file, &tables));
        } else if file.path.starts_with("crates/store/") {
            // Its tests may say what they like to a real database.
        } else {
            let foreign = file.lines().filter(|(_, line)| line.contains("sqlx::"));
            findings.extend(foreign.map(|(number, _)| format!("{}:{number}: only `store` names sqlx", file.path)));
        }
    }
    for file in tree.iter().filter(|file| file.is_migration()) {
        for (number, line) in file.lines() {
            findings.extend(find_banned(line).map(|what| format!("{}:{number}: {what}", file.path)));
        }
    }
    findings
}

fn check_statements(file: &File, tables: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, literal, before) in string_literals(&file.text) {
        let sql = literal.to_lowercase();
        if !STATEMENTS.iter().any(|verb| sql.trim_start().starts_with(verb) || sql.trim_start().starts_with("with ")) {
            continue;
        }
        findings.extend(find_banned(&literal).map(|what| format!("{}:{number}: {what}", file.path)));
        let names_tenant = sql.contains("organization_id");
        let words: Vec<&str> = sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let table = tables.iter().find(|table| words.contains(&table.as_str()));
        // A statement may cross tenants when it says why, in the lines just above it.
        let is_excused = before.contains("Crosses tenants:");
        if let Some(table) = table.filter(|_| !names_tenant && !is_excused) {
            findings.push(format!(
                "{}:{number}: a statement on `{table}` does not name organization_id; if it must not, say `// Crosses \
                 tenants: why` above it",
                file.path
            ));
        }
    }
    findings
}

fn find_banned(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let code = text.split("--").next().unwrap_or_default();
    let found = BANNED_FUNCTIONS.iter().find(|name| code.contains(**name))?;
    Some(format!("`{found}` in SQL: ids, times and randomness come from Rust and are bound"))
}

/// Lists the string literals of Rust source with the line they start on and the text of the few lines before.
pub(super) fn string_literals(source: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = source[at..].find('\n').map_or(bytes.len(), |end| at + end);
            }
            // A quote as a character is not the start of a text.
            b'\'' if bytes.get(at + 1) == Some(&b'"') && bytes.get(at + 2) == Some(&b'\'') => at += 3,
            b'"' => {
                let n_hashes = source[..at].bytes().rev().take_while(|byte| *byte == b'#').count();
                let is_raw = source[..at - n_hashes].ends_with('r');
                let end = if is_raw { raw_end(source, at, n_hashes) } else { plain_end(bytes, at) };
                let line = source[..at].matches('\n').count() + 1;
                let before: Vec<&str> = source[..at].lines().rev().take(6).collect();
                found.push((line, source[at + 1..end].to_owned(), before.join("\n")));
                at = end + 1;
            }
            _ => at += 1,
        }
    }
    found
}

fn raw_end(source: &str, start: usize, n_hashes: usize) -> usize {
    let closing = format!("\"{}", "#".repeat(n_hashes));
    source[start + 1..].find(&closing).map_or(source.len(), |end| start + 1 + end)
}

fn plain_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_keeps_the_rules() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    fn findings(path: &str, text: &str) -> Vec<String> {
        let migration = File::new("migrations/0001_a.sql", "CREATE TABLE keys (organization_id uuid, id uuid);");
        check(&[migration, File::new(path, text)])
    }

    #[test]
    fn what_breaks_a_rule_is_found() {
        for (path, text) in [
            ("crates/control/src/a.rs", "sqlx::query(\"select 1\")"),
            ("crates/store/src/a.rs", "query(\"SELECT id FROM keys WHERE id = $1\")"),
            ("crates/store/src/a.rs", "query(r#\"UPDATE keys SET id = $1\"#)"),
            ("crates/store/src/a.rs", "query(\"INSERT INTO logs (at) VALUES (now())\")"),
            ("migrations/0002_b.sql", "ALTER TABLE keys ADD at timestamptz DEFAULT now();"),
        ] {
            assert_eq!(findings(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn what_keeps_the_rules_is_not_found() {
        for (path, text) in [
            ("crates/store/src/a.rs", "query(\"SELECT id FROM keys WHERE organization_id = $1\")"),
            (
                "crates/store/src/a.rs",
                "// Crosses tenants: a token names its own.\nquery(\"SELECT id FROM keys WHERE id = $1\")",
            ),
            ("crates/store/src/a.rs", "let text = \"the keys of now\";"),
        ] {
            assert_eq!(findings(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }
}
