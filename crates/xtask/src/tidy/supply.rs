//! What comes from outside: under which licence, from where, and what is not to come at all.
//!
//! Licences and bans are read from what is built (`cargo tree`), sources from `Cargo.lock`, which names all of it. Advisories are not
//! looked at here: their list would have to be fetched. Each exception has its reason and goes when nothing needs it any more.

use anyhow::Result;

use super::File;
use crate::repo::cargo;

/// Licences under which code may be handed on in an executable with no more than its notice.
const LICENCES: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];
/// Crates with another one.
const LICENSED: &[(&str, &str, &str)] = &[
    ("base16", "CC0-1.0", "public domain; runs while the console is compiled, and is not in what is handed out"),
    ("webpki-roots", "CDLA-Permissive-2.0", "a list of certificate authorities, which is data"),
];

/// Where crates may come from; those of the workspace name no source.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What may not be built, and why.
const BANNED: &[(&str, &str)] = &[
    ("async-std", "there is one runtime, tokio"),
    ("atty", "unmaintained (RUSTSEC-2021-0145): `std::io::IsTerminal`"),
    ("native-tls", "there is one TLS, rustls with aws-lc-rs"),
    ("openssl", "there is one TLS, rustls with aws-lc-rs"),
    ("openssl-sys", "there is one TLS, rustls with aws-lc-rs"),
    ("paste", "unmaintained (RUSTSEC-2024-0436)"),
    ("ring", "there is one provider of cryptography, aws-lc-rs"),
    ("rsa", "its private operations leak time (RUSTSEC-2023-0071): aws-lc-rs"),
    ("serde_yaml", "unmaintained: its maintained fork serde_norway"),
];
/// What is built all the same.
const TOLERATED: &[(&str, &str)] =
    &[("paste", "leptos needs it; it only joins names while the console is compiled, and reads nothing from outside")];

/// One crate from outside that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    name: String,
    licence: String,
}

/// Lists what is built of outside crates on this machine, tests included.
pub(crate) fn read_packages() -> Result<Vec<Package>> {
    // The parts of a line cannot hold a bar.
    let tree = ["tree", "--workspace", "--offline", "--prefix", "none", "--format", "{p}|{l}|"];
    let features = ["--features", "headgate-server/console,headgate-api/schema"];
    let listed = cargo(&[&tree[..], &features[..]].concat()).output()?;
    let mut packages: Vec<Package> = listed.lines().filter_map(read_line).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages.dedup();
    Ok(packages)
}

fn read_line(line: &str) -> Option<Package> {
    let mut parts = line.split('|');
    let (package, licence) = (parts.next()?, parts.next()?);
    let name = package.split(' ').next()?;
    let is_ours = name.starts_with("headgate-") || name == "xtask";
    (!is_ours).then(|| Package { name: name.to_owned(), licence: licence.to_owned() })
}

/// Checks licences and bans.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for Package { name, licence } in packages {
        let mut more = LICENSED.iter().filter(|(crate_name, ..)| crate_name == name).map(|(_, licence, _)| *licence);
        let extra = more.next();
        if !is_allowed(licence, &|word| LICENCES.contains(&word) || extra == Some(word)) {
            findings.push(format!("crate {name}: its licence is `{licence}`, which is not one of the agreed ones"));
        }
        let is_tolerated = TOLERATED.iter().any(|(tolerated, _)| tolerated == name);
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name).filter(|_| !is_tolerated) {
            findings.push(format!("crate {name}: may not be built: {why}"));
        }
    }
    findings
}

/// Checks that no exception outlives its reason.
pub(crate) fn check_exceptions(packages: &[Package]) -> Vec<String> {
    let excepted = LICENSED.iter().map(|(name, ..)| name).chain(TOLERATED.iter().map(|(name, _)| name));
    let is_built = |name: &str| packages.iter().any(|package| package.name == name);
    excepted
        .filter(|name| !is_built(name))
        .map(|name| format!("crate {name}: is built no more, and needs no exception"))
        .collect()
}

/// Checks where everything comes from.
pub(crate) fn check_sources(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| file.path.ends_with("Cargo.lock")) {
        for (number, line) in file.lines() {
            let source = line.strip_prefix("source = \"").and_then(|rest| rest.strip_suffix('"'));
            if let Some(source) = source.filter(|source| *source != REGISTRY) {
                findings.push(format!("{}:{number}: {source}: crates come from the registry only", file.path));
            }
        }
    }
    findings
}

/// Says whether a licence expression (SPDX, or the older `A/B`) can be met with licences that are allowed.
fn is_allowed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_met = any_of(&mut words, allowed);
    is_met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut is_met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_met |= all_of(words, allowed);
    }
    is_met
}

fn all_of(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut is_met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        is_met &= one(words, allowed);
    }
    is_met
}

fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_met = any_of(words, allowed);
        return words.next_if_eq(&")").is_some() && is_met;
    }
    let is_met = words.next().is_some_and(allowed);
    // An exception only allows more.
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    is_met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_may_be() {
        let packages = read_packages().expect("a tree");
        assert!(packages.len() > 100, "{packages:?}");
        super::super::assert_none(&check(&packages));
        super::super::assert_none(&check_exceptions(&packages));
    }

    #[test]
    fn everything_comes_from_the_registry() {
        super::super::assert_none(&check_sources(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn a_breach_is_found() {
        for (line, n) in [
            ("serde v1.0.0|MIT OR Apache-2.0|", 0),
            ("serde v1.0.0|MIT OR Apache-2.0| (*)", 0),
            ("fnv v1.0.0|Apache-2.0 / MIT|", 0),
            ("webpki-roots v1.0.0|CDLA-Permissive-2.0|", 0),
            ("other v1.0.0|CDLA-Permissive-2.0|", 1),
            ("ring v0.17.0|Apache-2.0 AND ISC|", 1),
            ("openssl v0.10.0|GPL-3.0|", 2),
            ("unnamed v1.0.0||", 1),
            ("headgate-domain v0.1.0 (/a/b)||", 0),
        ] {
            let packages: Vec<Package> = read_line(line).into_iter().collect();
            assert_eq!(check(&packages).len(), n, "{line}");
        }
        assert_eq!(check_exceptions(&[]).len(), LICENSED.len() + TOLERATED.len());
        let lock = |source: &str| File::new("Cargo.lock", &format!("[[package]]\nsource = \"{source}\"\n"));
        assert_eq!(check_sources(&[lock(REGISTRY)]), Vec::<String>::new());
        assert_eq!(check_sources(&[lock("git+https://example.com/a#1")]).len(), 1);
    }

    #[test]
    fn expressions_are_read() {
        for (expression, is_met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(MIT AND GPL-3.0) OR GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &|word| LICENCES.contains(&word)), is_met, "{expression}");
        }
    }
}
