//! A route's cache rule, with a hash of everything that decides what an answer of the route is.
//!
//! Invariant: two compiled routes with the same hash send a request to the same deployments by the same rules, so that an answer
//! of the one may stand for an answer of the other.

use std::fmt::Write as _;

use domain::Secret;
use domain::route::{Cache, Node, Test};
use domain::secret::TokenMac;
use sha2::{Digest as _, Sha256};

use crate::compile::Parts;
use crate::snapshot::{OrganizationPolicy, TargetPolicy};

/// The rule of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// The rule.
    pub rule: Cache,
    /// The hash of the route and its deployments.
    pub content: [u8; 32],
    /// Headers of a request that the route looks at, in lower case.
    pub headers: Vec<String>,
}

impl CachePolicy {
    /// Compiles the rule; `None` when the route has none.
    pub(crate) fn of(route: &Parts<'_>, targets: &[TargetPolicy]) -> Option<Self> {
        let rule = route.rules.cache?;
        let mut text = String::new();
        // The whole document and the whole of each deployment: what is added to them later counts without being listed here.
        // Secrets print as nothing, and writing to a `String` cannot fail.
        write!(text, "{:?}{:?}{:?}{:?}", route.targets, route.tree, route.rules, route.max_attempts).ok()?;
        for target in targets {
            write!(text, "{target:?}").ok()?;
        }
        let mut headers = Vec::new();
        if let Some(tree) = route.tree {
            find_headers(tree, &mut headers);
        }
        headers.sort_unstable();
        headers.dedup();
        Some(Self { rule, content: Sha256::digest(text).into(), headers })
    }
}

/// Finds what the conditions of a tree look at.
fn find_headers(node: &Node, found: &mut Vec<String>) {
    if let Node::Conditional { cases, .. } = node {
        for test in cases.iter().flat_map(|case| &case.when) {
            match test {
                Test::Header { name, .. } => found.push(name.clone()),
                Test::Metadata { .. } => found.push("x-headgate-metadata".to_owned()),
                Test::Tag { .. } => found.push("x-headgate-tags".to_owned()),
                _ => {}
            }
        }
    }
    node.visit_children(&mut |child| find_headers(child, found));
}

impl OrganizationPolicy {
    /// Returns the secret that names and seals the organization's cached answers; `None` while the node holds no pepper.
    #[must_use]
    pub fn cache_secret(&self) -> Option<Secret<[u8; 32]>> {
        let (_, pepper) = self.peppers.iter().max_by_key(|(version, _)| *version)?;
        // Keys are verified under the organization's id as the scope, so this one is never met there.
        Some(Secret::new(*TokenMac::compute(pepper.expose(), "answer cache", "").as_bytes()))
    }
}
