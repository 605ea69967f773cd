//! Every function that is fuzzed has its target, and every target its function and its line in the manifest.
//!
//! The targets need a nightly compiler and lie outside of the workspace, so nothing compiles them with the suite. Each is therefore held to
//! one form, word for word, in which nothing but the function's name and type can be wrong; both are compared here with the source,
//! where the suite compiles and runs them (`src/fuzz.rs`).

use std::collections::BTreeSet;

use super::File;

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let names =
        tree.iter().filter_map(|file| file.path.strip_prefix("crates/")?.split_once("/fuzz/").map(|(name, _)| name));
    let names: BTreeSet<&str> = names.filter(|name| !name.contains('/')).collect();
    names.into_iter().flat_map(|name| check_crate(name, tree)).collect()
}

fn check_crate(name: &str, tree: &[File]) -> Vec<String> {
    let find = |path: String| tree.iter().find(|file| file.path == path);
    let (Some(functions), Some(manifest), Some(root)) = (
        find(format!("crates/{name}/src/fuzz.rs")),
        find(format!("crates/{name}/fuzz/Cargo.toml")),
        find(format!("crates/{name}/src/lib.rs")),
    ) else {
        return vec![format!("crates/{name}/fuzz: fuzzing needs src/fuzz.rs, fuzz/Cargo.toml and src/lib.rs")];
    };
    let mut findings = Vec::new();
    let dependency = format!("\n{name} = {{ package = \"headgate-{name}\", path = \"..\"");
    if !manifest.text.contains(&dependency) || !manifest.text.contains("\nlibfuzzer-sys = ") {
        findings.push(format!("{}: depend on {name} (`path = \"..\"`) and libfuzzer-sys", manifest.path));
    }
    if !root.text.contains("\npub mod fuzz;") {
        findings.push(format!("{}: targets need `pub mod fuzz;`", root.path));
    }
    let offered: BTreeSet<&str> = between(&functions.text, "\npub fn ", "(bytes: &[u8]) {\n").collect();
    let bins: BTreeSet<&str> = between(&manifest.text, "[[bin]]\nname = \"", "\"\n").collect();
    let folder = format!("crates/{name}/fuzz/fuzz_targets/");
    let targets = tree.iter().filter_map(|file| Some((file, file.path.strip_prefix(&folder)?.strip_suffix(".rs")?)));
    let targets: Vec<(&File, &str)> = targets.collect();
    for function in &offered {
        if !targets.iter().any(|(_, target)| target == function) {
            findings.push(format!("{}: `{function}` has no target: add {folder}{function}.rs", functions.path));
        }
    }
    for (file, target) in &targets {
        let form = format!("libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {name}::fuzz::{target}(bytes));");
        if !offered.contains(target) {
            findings.push(format!("{}: src/fuzz.rs has no `pub fn {target}(bytes: &[u8])`", file.path));
        }
        if !file.text.contains("\n#![no_main]\n") || !file.text.ends_with(&format!("\n\n{form}\n")) {
            findings.push(format!("{}: end with `#![no_main]`, an empty line and `{form}`", file.path));
        }
    }
    for (file, name) in targets.iter().filter(|(_, target)| !bins.contains(target)) {
        findings.push(format!("{}: add `[[bin]]` for {name} to {}", file.path, manifest.path));
    }
    for bin in &bins {
        let path = format!("name = \"{bin}\"\npath = \"fuzz_targets/{bin}.rs\"\n");
        if !targets.iter().any(|(_, target)| target == bin) || !manifest.text.contains(&path) {
            findings.push(format!(
                "{}: `[[bin]]` {bin} names no target: `path = \"fuzz_targets/{bin}.rs\"`",
                manifest.path
            ));
        }
    }
    findings
}

/// Lists what stands between a beginning and the next end, on one line.
fn between<'a>(text: &'a str, beginning: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let after = text.split(beginning).skip(1);
    after.filter_map(move |rest| rest.split_once(end).map(|(name, _)| name).filter(|name| !name.contains('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fuzz_target_is_whole() {
        let tree = super::super::read_tree().expect("a tree");
        let n_targets = tree.iter().filter(|file| file.path.contains("/fuzz_targets/")).count();
        assert!(n_targets >= 20, "only {n_targets} targets were looked at");
        super::super::assert_none(&check(&tree));
    }

    const MANIFEST: &str = "[dependencies]\nlibfuzzer-sys = \"0.4\"\nwire = { package = \"headgate-wire\", path = \"..\" }\n\n\
                            [[bin]]\nname = \"frames\"\npath = \"fuzz_targets/frames.rs\"\n";
    const TARGET: &str =
        "//! Frames.\n#![no_main]\n\nlibfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::frames(bytes));\n";
    const SOURCE: &str = "//! Fuzzed.\n\npub fn frames(bytes: &[u8]) {\n}\n";

    /// What is found when one file's text is another.
    fn found(path: &str, text: &str) -> usize {
        let sound = [
            ("crates/wire/fuzz/Cargo.toml", MANIFEST),
            ("crates/wire/fuzz/fuzz_targets/frames.rs", TARGET),
            ("crates/wire/src/fuzz.rs", SOURCE),
            ("crates/wire/src/lib.rs", "//! Wire.\npub mod fuzz;\n"),
        ];
        let others = sound.into_iter().filter(|(other, _)| *other != path).chain([(path, text)]);
        check(&others.map(|(path, text)| File::new(path, text)).collect::<Vec<_>>()).len()
    }

    #[test]
    fn a_target_that_would_not_compile_or_is_missing_is_found() {
        assert_eq!(found("crates/other/src/lib.rs", ""), 0);
        // Renamed: neither side knows the other.
        assert_eq!(found("crates/wire/src/fuzz.rs", &SOURCE.replace("frames", "frame")), 2);
        assert_eq!(found("crates/wire/src/fuzz.rs", &SOURCE.replace("&[u8]", "Vec<u8>")), 1);
        assert_eq!(found("crates/wire/src/fuzz.rs", &format!("{SOURCE}\npub fn more(bytes: &[u8]) {{\n}}\n")), 1);
        assert_eq!(found("crates/wire/fuzz/fuzz_targets/frames.rs", &TARGET.replace("fuzz::frames", "fuzz::frame")), 1);
        assert_eq!(found("crates/wire/fuzz/Cargo.toml", &MANIFEST.replace("[[bin]]\n", "")), 1);
        assert_eq!(found("crates/wire/fuzz/Cargo.toml", &MANIFEST.replace("targets/frames", "targets/frame")), 1);
        assert_eq!(found("crates/wire/fuzz/Cargo.toml", &MANIFEST.replace("\"..\"", "\"../wire\"")), 1);
        assert_eq!(found("crates/wire/src/lib.rs", "//! Wire.\n"), 1);
    }
}
