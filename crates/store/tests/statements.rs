//! Every statement of the crate is prepared against the real schema, and keeps the rules of the house.
//!
//! The statements are found by reading the sources: every string literal that begins with a leading keyword. A literal that is
//! put together at run time cannot be found, so [`assembled`] lists the few places where that happens and why it is sound.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
use syn::visit::Visit;

use crate::support::World;

const KEYWORDS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];

#[derive(Default)]
struct Literals {
    found: Vec<String>,
    assembled: usize,
}

impl<'ast> Visit<'ast> for Literals {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !is_test {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        let text = literal.value();
        if KEYWORDS.iter().any(|keyword| text.trim_start().starts_with(keyword)) {
            self.found.push(text);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func
            && path.path.segments.last().is_some_and(|last| last.ident == "AssertSqlSafe")
        {
            self.assembled += 1;
        }
        syn::visit::visit_expr_call(self, call);
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A file and a statement in it.
type Found = (String, String);

/// Returns every statement with the file it stands in, and how often a file puts one together.
fn statements() -> (Vec<Found>, Vec<(String, usize)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut found, mut assembled) = <(Vec<PathBuf>, Vec<_>, Vec<_>)>::default();
    sources(&root, &mut files);
    files.sort();
    for path in files {
        let file = path.strip_prefix(&root).expect("below the root").display().to_string();
        let tree = syn::parse_file(&std::fs::read_to_string(&path).expect("readable")).expect("valid Rust");
        let mut literals = Literals::default();
        literals.visit_file(&tree);
        found.extend(literals.found.into_iter().map(|sql| (file.clone(), sql)));
        if literals.assembled > 0 {
            assembled.push((file, literals.assembled));
        }
    }
    (found, assembled)
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let world = World::new().await;
    let mut connection = world.database.superuser().await.expect("a connection");
    let (statements, _) = statements();
    assert!(statements.len() > 100, "the scan finds the statements: {}", statements.len());
    let mut broken = Vec::new();
    for (file, sql) in &statements {
        if let Err(error) = connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await {
            broken.push(format!("{file}: {error}\n{sql}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[tokio::test]
async fn every_statement_on_a_tenant_table_names_the_organization() {
    let world = World::new().await;
    let mut connection = world.database.owner().await.expect("a connection");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE a.attname = 'organization_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalog");
    // Looked up before the organization is known, by a value that is unique in the installation; or work on all of them.
    let across = [
        "kid = $1",
        "c.serial = $1",
        "WHERE id = $1",
        "g.id = $1",
        "m.user_id = $1",
        "WHERE expires_at < $1",
        "WHERE created_at < $1",
        "WHERE minute_at < $1",
        "WHERE revoked_at IS NOT NULL",
    ];
    let bad: Vec<_> = statements()
        .0
        .into_iter()
        .filter(|(_, sql)| {
            let words: Vec<&str> = sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
            let touches = tables.iter().any(|table| words.contains(&table.as_str()));
            touches && !sql.contains("organization_id") && !across.iter().any(|text| sql.contains(text))
        })
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn values_come_from_the_program() {
    let banned = ["now()", "random()", "current_timestamp", "clock_timestamp", "gen_random_uuid", "SELECT *"];
    let exempt = "SELECT * FROM unnest";
    let bad: Vec<_> = statements()
        .0
        .into_iter()
        .filter(|(_, sql)| {
            banned.iter().any(|word| sql.replace(exempt, "").to_lowercase().contains(&word.to_lowercase()))
        })
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn statements_are_put_together_only_where_listed() {
    // Ids, role names, database names and a hexadecimal password: nothing that comes from a request.
    let listed = [("embedded.rs", 1), ("migrate.rs", 2), ("testing.rs", 1), ("tx.rs", 1)];
    let listed: Vec<_> = listed.map(|(file, count)| (file.to_owned(), count)).to_vec();
    assert_eq!(statements().1, listed);
}
