//! Migrations go forward only: numbered without a gap, never changed once they have landed, and every table of a tenant is protected.
//!
//! `migrations/landed.sha256` lists each file with its digest, as `sha256sum` writes it. What a database has applied is compared by the
//! product itself (`store::migrate`), and a test reads the protection from the catalog; here a mistake is told before it has a database.

use sha2::{Digest as _, Sha256};

use super::File;
use crate::repo::hex;

const LANDED: &str = "migrations/landed.sha256";
/// What takes something away that the release before still uses.
const CONTRACTING: &[&str] = &["drop column", "drop table ", "rename column", "rename to"];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let migrations: Vec<&File> = tree.iter().filter(|file| file.is_migration()).collect();
    let mut findings = check_numbers(&migrations);
    findings.extend(check_landed(&migrations, tree));
    for file in &migrations {
        findings.extend(check_contraction(file));
    }
    let text: String = migrations.iter().map(|file| file.text.to_lowercase()).collect();
    for (file, table) in tenant_tables(tree) {
        let is_protected = text.contains(&format!("headgate_protect('{table}')"))
            || text.contains(&format!("alter table {table} force row level security"));
        if !is_protected {
            findings
                .push(format!("{file}: `{table}` has organization_id: end it with SELECT headgate_protect('{table}')"));
        }
    }
    findings
}

/// Migrations are numbered from 1 without a gap, so that two branches cannot both add one unseen.
fn check_numbers(migrations: &[&File]) -> Vec<String> {
    let names = migrations.iter().filter_map(|file| file.path.strip_prefix("migrations/"));
    let is_wrong = |(index, name): (usize, &str)| {
        let expected = format!("{:04}_", index + 1);
        (!name.starts_with(&expected)).then(|| format!("migrations/{name}: expected the number {expected}"))
    };
    names.enumerate().filter_map(is_wrong).collect()
}

fn check_landed(migrations: &[&File], tree: &[File]) -> Vec<String> {
    let list = tree.iter().find(|file| file.path == LANDED).map(|file| file.text.as_str()).unwrap_or_default();
    let landed: Vec<(&str, &str)> = list.lines().filter_map(|line| line.split_once("  ")).collect();
    let mut findings = Vec::new();
    for file in migrations {
        let name = file.path.trim_start_matches("migrations/");
        let digest = hex(&Sha256::digest(&file.text));
        match landed.iter().find(|(_, listed)| *listed == name) {
            Some((expected, _)) if *expected == digest => {}
            Some(_) => {
                findings.push(format!("{}: has landed and was changed: put it back, and add another", file.path));
            }
            // The newest may still be under way on a branch; once another follows it, it has landed.
            None if landed.iter().all(|(_, listed)| *listed < name) => {}
            None => findings.push(format!("{}: add the line `{digest}  {name}` to {LANDED}", file.path)),
        }
    }
    let is_there = |name: &str| migrations.iter().any(|file| file.path.strip_prefix("migrations/") == Some(name));
    let gone = landed.iter().filter(|(_, name)| !is_there(name));
    findings.extend(gone.map(|(_, name)| format!("migrations/{name}: has landed and is gone: put it back")));
    findings
}

/// A release may not take away what the one before still uses: both run on the same schema for a while.
fn check_contraction(file: &File) -> Vec<String> {
    let is_said = file.text.contains("-- Contract: ");
    let contracting = file.lines().filter(|(_, line)| {
        let code = line.split("--").next().unwrap_or_default().to_lowercase();
        // A text that a function puts together is of partitions, which come and go.
        !code.contains("execute format") && CONTRACTING.iter().any(|words| code.contains(words))
    });
    let finding = |(number, _): (usize, &str)| {
        format!("{}:{number}: takes something away: say `-- Contract: ` and which release stopped using it", file.path)
    };
    if is_said { Vec::new() } else { contracting.map(finding).collect() }
}

/// Lists the tables whose definition has a column `organization_id`, with the file that makes each.
pub(super) fn tenant_tables(tree: &[File]) -> Vec<(&str, String)> {
    let mut tables = Vec::new();
    for file in tree.iter().filter(|file| file.is_migration()) {
        let text = file.text.to_lowercase();
        for part in text.split("create table ").skip(1) {
            let part = part.trim_start().trim_start_matches("if not exists ");
            let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let body = part.split(';').next().unwrap_or_default();
            if body.contains("organization_id") && name != "organizations" {
                tables.push((file.path.as_str(), name));
            }
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_keep_the_rules() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    /// Checks migrations, all of which have landed as they are but for what `landed` says of them.
    fn findings(files: &[(&str, &str)], landed: impl Fn(&str, String) -> String) -> Vec<String> {
        let mut tree: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
        let line = |file: &File| {
            let name = file.path.trim_start_matches("migrations/");
            landed(name, format!("{}  {name}\n", hex(&Sha256::digest(&file.text))))
        };
        let list: String = tree.iter().map(line).collect();
        tree.push(File::new(LANDED, &list));
        check(&tree)
    }

    fn as_is(_: &str, line: String) -> String {
        line
    }

    const KEYS: (&str, &str) =
        ("migrations/0001_a.sql", "CREATE TABLE keys (organization_id text);\nSELECT headgate_protect('keys');");

    #[test]
    fn what_keeps_the_rules_is_not_found() {
        for more in [
            "ALTER TABLE keys ADD at bigint;",
            "-- Contract: nothing since 1.4 reads it.\nALTER TABLE keys DROP COLUMN at;",
            "EXECUTE format('DROP TABLE %s', partition);",
            "CREATE TABLE logs (organization_id text);\nALTER TABLE logs FORCE ROW LEVEL SECURITY;",
        ] {
            assert_eq!(findings(&[KEYS, ("migrations/0002_b.sql", more)], as_is), Vec::<String>::new(), "{more}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_found() {
        for (path, text) in [
            ("migrations/0003_b.sql", "ALTER TABLE keys ADD at bigint;"),
            ("migrations/0001_b.sql", "ALTER TABLE keys ADD at bigint;"),
            ("migrations/0002_b.sql", "ALTER TABLE keys DROP COLUMN at;"),
            ("migrations/0002_b.sql", "alter table keys rename to others;"),
            ("migrations/0002_b.sql", "CREATE TABLE logs (organization_id text);"),
        ] {
            assert_eq!(findings(&[KEYS, (path, text)], as_is).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn a_migration_that_has_landed_stays_as_it_was() {
        let changed = |_: &str, line: String| line.replace(&line[..8], "00000000");
        assert!(findings(&[KEYS], changed)[0].contains("was changed"));
        let more = ("migrations/0002_b.sql", "ALTER TABLE keys ADD at bigint;");
        let only = |kept: &'static str| move |name: &str, line: String| if name == kept { line } else { String::new() };
        assert!(findings(&[KEYS, more], only("0002_b.sql"))[0].contains("add the line"));
        assert_eq!(findings(&[KEYS, more], only("0001_a.sql")), Vec::<String>::new(), "the newest may be under way");
        let gone = |_: &str, line: String| format!("{line}{}", line.replace("0001_a", "0002_b"));
        assert!(findings(&[KEYS], gone)[0].contains("is gone"));
    }
}
