//! `cargo xtask prices`: writes anew what an independent table states for the models of the catalog, and compares.
//!
//! The table is the PyPI package genai-prices, fetched once into the cache; which version is said here and nowhere else. What differs is explained
//! by hand in `crates/catalog/fixtures/pricing`, and the tests of the crate fail until it is.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::repo::{Step, cache_dir, cargo, root};

const PACKAGE: &str = "genai-prices";
const VERSION: &str = "0.2.3";

/// Writes the table and runs the comparison; `arguments` may name the day (`2026-11-23`) for which prices are taken, else it is today.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let pricing = root().join("crates/catalog/fixtures/pricing");
    let package = install()?;
    let day = match arguments.first() {
        Some(day) => day.clone(),
        None => Step::new("date").args(&["-u", "+%F"]).output().context("asking for the day")?.trim().to_owned(),
    };
    let table = Step::new("python3")
        .args(&[pricing.join("read_genai.py"), package, root().join("crates/catalog/models"), day.into()])
        .output()
        .context("reading the table")?;
    std::fs::write(pricing.join("genai_prices.csv"), &table)?;
    eprintln!("{} rates of {PACKAGE} {VERSION}", table.lines().count().saturating_sub(2));
    cargo(&["test", "--package", "headgate-catalog", "compare"]).run()
}

/// Unpacks the package, without what it depends on: its tables are all that is read.
fn install() -> Result<PathBuf> {
    let folder = cache_dir()?.join(format!("{PACKAGE}-{VERSION}"));
    if !folder.join("genai_prices/data.py").is_file() {
        let what = format!("{PACKAGE}=={VERSION}");
        Step::new("python3")
            .args(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
            .args(&[&folder])
            .args(&[&what])
            .run()
            .with_context(|| format!("installing {what}"))?;
    }
    Ok(folder)
}
