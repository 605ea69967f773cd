//! The walls between crates, read from `cargo metadata`: who may depend on whom, and on what from outside.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::repo::cargo;

/// Which of our crates each may use. A new edge here is its own commit with its reason.
const EDGES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("hub", &["domain"]),
    // One crate a vendor, so that none can know another's languages.
    ("anthropic", &["hub"]),
    ("gemini", &["domain", "hub"]),
    ("openai", &["hub"]),
    ("llm", &["anthropic", "gemini", "hub", "openai"]),
    // `llm` in tests only: what is read is written for clients.
    ("wire", &["hub", "llm"]),
    // Apart from `provider`: what models cost is read by whoever bills, and knows nothing of what is sent.
    ("catalog", &["domain"]),
    ("provider", &["catalog", "domain", "llm", "wire"]),
    ("continuation", &["domain", "llm", "provider"]),
    ("ingress", &["batch", "domain", "llm", "policy", "provider"]),
    ("api", &["domain"]),
    ("proto", &[]),
    ("policy", &["domain", "proto"]),
    // `books` for the arithmetic of leases.
    ("store", &["books", "domain", "postgres"]),
    // The programs alone: no SQL, nothing of ours.
    ("postgres", &[]),
    ("batch", &["domain", "llm", "provider"]),
    // `throttle` for its port: counting in common is what Redis does for it.
    ("state", &["domain", "throttle"]),
    // Apart from `control`: money is divided and compared where nothing else can happen.
    ("books", &["domain"]),
    ("runtime", &["domain"]),
    ("realtime", &["domain", "gemini"]),
    ("http1", &["domain"]),
    // Apart from `state`: what is held here is counted money, and may not be lost.
    ("purse", &["domain"]),
    // Apart from `purse`: nothing here is money, nothing of it is written down.
    ("throttle", &["domain"]),
    ("link", &["domain", "policy", "proto", "purse", "runtime"]),
    ("upstream", &["domain", "http1", "policy", "provider", "runtime"]),
    ("remote", &["batch", "domain", "link", "policy", "provider", "runtime", "upstream"]),
    (
        "gateway",
        &[
            "batch",
            "continuation",
            "domain",
            "http1",
            "ingress",
            "link",
            "llm",
            "policy",
            "provider",
            "purse",
            "realtime",
            "remote",
            "runtime",
            "state",
            "throttle",
            "upstream",
        ],
    ),
    // `upstream` to call what tenants name within the egress rules, `provider` for when an answer says to come back.
    ("notify", &["domain", "provider", "store", "upstream"]),
    // What every operation goes through, and no operation.
    ("operation", &["domain", "api", "notify", "policy", "store", "runtime"]),
    // `provider` for the names of providers and the model catalog.
    ("treasury", &["api", "books", "domain", "notify", "operation", "provider", "store"]),
    // `provider` for the model catalog and its prices, which control copies into an organization.
    ("control", &["domain", "api", "notify", "operation", "policy", "provider", "store", "runtime", "treasury"]),
    // Beside `control`: whoever serves people and tools can know no message of a node.
    ("downlink", &["domain", "operation", "policy", "proto", "runtime", "store"]),
    (
        "server",
        &[
            "control",
            "domain",
            "downlink",
            "gateway",
            "link",
            "notify",
            "operation",
            "policy",
            "purse",
            "runtime",
            "state",
            "store",
            "upstream",
        ],
    ),
    ("console-ui", &["domain"]),
    ("console-model", &["api", "console-ui", "domain"]),
    ("console-kit", &["api", "console-model", "console-ui", "domain"]),
    ("console-money", &["api", "console-kit", "console-model", "console-ui", "domain"]),
    ("web", &["api", "console-kit", "console-model", "console-money", "console-ui", "domain"]),
    (
        "testkit",
        &[
            "api", "control", "domain", "gateway", "link", "llm", "policy", "proto", "provider", "runtime", "state",
            "store",
        ],
    ),
    ("tests", &[]),
    ("xtask", &[]),
];

/// Which crates may name an outside crate.
const RESERVED: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("redis", &["state"]),
    ("axum", &["gateway", "control", "operation", "treasury"]),
    ("hyper", &["runtime", "upstream", "gateway", "operation", "testkit", "tests"]),
    ("hyper-util", &["runtime", "upstream", "link", "gateway", "operation", "testkit", "tests"]),
    ("tonic-prost-build", &["xtask"]),
    ("leptos", &["console-kit", "console-money", "console-ui", "web"]),
];

/// Crates that decide without IO, and what their whole tree may not contain.
const PURE: &[&str] = &[
    "batch",
    "books",
    "domain",
    "hub",
    "anthropic",
    "gemini",
    "openai",
    "llm",
    "wire",
    "catalog",
    "provider",
    "continuation",
    "policy",
    "ingress",
    "api",
];
const IMPURE: &[&str] = &["tokio", "sqlx", "redis", "axum", "hyper", "reqwest"];

const FEATURES: &[(&str, &str)] =
    &[("api", "schema"), ("domain", "schema"), ("proto", "grpc"), ("server", "console"), ("state", "redis")];

/// One crate of ours: what it names, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crate {
    name: String,
    uses: Vec<String>,
    dev_uses: Vec<String>,
    features: Vec<String>,
}

/// Reads the workspace's own crates.
pub(crate) fn read_workspace() -> Result<Vec<Crate>> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]).output()?;
    let metadata: Value = serde_json::from_str(&text).context("reading cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    Ok(packages.iter().map(read_crate).collect())
}

fn read_crate(package: &Value) -> Crate {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Crate { name: bare(&text(&package["name"])), ..Crate::default() };
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = bare(&text(&dependency["name"]));
        if dependency["kind"] == "dev" { found.dev_uses.push(name) } else { found.uses.push(name) }
    }
    let declared = package["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    found.features = declared.collect();
    found
}

fn bare(name: &str) -> String {
    name.strip_prefix("headgate-").unwrap_or(name).to_owned()
}

/// Checks edges, reserved outside crates and features.
pub(crate) fn check(workspace: &[Crate]) -> Vec<String> {
    let mut findings = Vec::new();
    let is_ours = |name: &str| workspace.iter().any(|member| member.name == name);
    for member in workspace {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == member.name) else {
            findings
                .push(format!("crate {}: not in the graph; a new crate needs an ADR and a line in tidy", member.name));
            continue;
        };
        for used in member.uses.iter().filter(|used| is_ours(used)) {
            if used == "testkit" || !allowed.contains(&used.as_str()) {
                findings.push(format!("crate {}: may not depend on `{used}`", member.name));
            }
        }
        for used in member.uses.iter().chain(&member.dev_uses) {
            let reserved = RESERVED.iter().find(|(name, _)| name == used);
            if reserved.is_some_and(|(_, owners)| !owners.contains(&member.name.as_str())) {
                findings.push(format!("crate {}: may not name `{used}`", member.name));
            }
        }
        for feature in &member.features {
            let is_known = FEATURES.contains(&(member.name.as_str(), feature.as_str()));
            if !is_known && !matches!(feature.as_str(), "test-support" | "default") {
                findings.push(format!("crate {}: the feature `{feature}` is not one of the agreed ones", member.name));
            }
        }
    }
    findings
}

/// Checks that the pure crates, resolved alone, contain nothing that performs IO.
pub(crate) fn check_purity() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for name in PURE {
        let package = format!("headgate-{name}");
        let tree =
            ["tree", "--package", &package, "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline"];
        let listed = cargo(&tree).output()?;
        for used in listed.lines().filter_map(|line| line.split(' ').next()) {
            if IMPURE.contains(&used) {
                findings.push(format!("crate {name}: its tree contains `{used}`, which performs IO"));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walls_stand() {
        super::super::assert_none(&check(&read_workspace().expect("a workspace")));
    }

    #[test]
    fn the_pure_crates_are_pure() {
        super::super::assert_none(&check_purity().expect("a tree"));
    }

    fn member(name: &str, uses: &[&str], features: &[&str]) -> Crate {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Crate { name: name.to_owned(), uses: owned(uses), dev_uses: Vec::new(), features: owned(features) }
    }

    #[test]
    fn a_breach_is_found() {
        let others = ["domain", "store", "control", "testkit"].map(|name| member(name, &[], &[]));
        for breach in [
            member("gateway", &["store"], &[]),
            member("gateway", &["control"], &[]),
            member("llm", &["testkit"], &[]),
            member("gateway", &["sqlx"], &[]),
            member("llm", &[], &["extra"]),
            member("shiny", &[], &[]),
        ] {
            let workspace: Vec<Crate> = others.iter().cloned().chain([breach.clone()]).collect();
            assert_eq!(check(&workspace).len(), 1, "{breach:?}");
        }
    }
}
