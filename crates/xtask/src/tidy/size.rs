//! Files stay readable in one sitting, crates compile in one breath.

use std::collections::BTreeMap;

use super::File;

const LONGEST_FILE: usize = 800;
const LARGEST_CRATE: usize = 10_000;
/// Stages of a call are read from end to end (architecture, section 4).
const STAGES: &str = "crates/gateway/src/pipeline/";
const LONGEST_STAGE: usize = 300;
/// Those that are longer, and how long they may be: they get shorter or stay as they are.
const LONGER_STAGES: &[(&str, usize)] = &[
    ("dispatch/line.rs", 327),
    ("dispatch/tries.rs", 305),
    ("realtime/host.rs", 399),
    ("relay/stream.rs", 415),
    ("relay/writer.rs", 369),
];

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut lines_of: BTreeMap<&str, usize> = BTreeMap::new();
    for file in tree.iter().filter(|file| file.is_rust() && !file.is_generated()) {
        let n_lines = file.text.lines().count();
        if n_lines > LONGEST_FILE {
            findings.push(format!("{}: {n_lines} lines, at most {LONGEST_FILE}: split it by idea", file.path));
        }
        findings.extend(find_long_stage(file));
        let is_test = file.path.contains("/tests") || file.path.ends_with("/tests.rs");
        if let Some(name) = file.crate_name().filter(|_| !is_test) {
            *lines_of.entry(name).or_default() += count_code(&file.text);
        }
    }
    for (name, n_lines) in lines_of {
        if n_lines > LARGEST_CRATE {
            findings
                .push(format!("crate {name}: {n_lines} lines of code, at most {LARGEST_CRATE}: split by aggregate"));
        }
    }
    findings
}

/// Finds a stage of a call that is too long, or is shorter than it is given leave to be; its tests do not count.
fn find_long_stage(file: &File) -> Option<String> {
    let name = file.path.strip_prefix(STAGES)?;
    let n_lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let longer = LONGER_STAGES.iter().find(|(longer, _)| *longer == name).map(|(_, n_lines)| *n_lines);
    let longest = longer.unwrap_or(LONGEST_STAGE);
    if n_lines > longest {
        return Some(format!("{}: {n_lines} lines, at most {longest} in a stage: split it by idea", file.path));
    }
    let is_spared = longer.is_some() && n_lines <= LONGEST_STAGE;
    is_spared.then(|| format!("{}: {n_lines} lines: needs no leave to be longer any more", file.path))
}

/// Counts lines that are neither blank nor comment, up to the file's own tests.
fn count_code(text: &str) -> usize {
    let code = text.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]");
    code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_crates_stay_small() {
        super::super::assert_none(&check(&super::super::read_tree().expect("a tree")));
    }

    #[test]
    fn a_long_file_is_found_and_a_generated_one_is_not() {
        let long = "x\n".repeat(801);
        let tree = [File::new("crates/a/src/lib.rs", &long), File::new("crates/proto/src/gen/a.rs", &long)];
        assert_eq!(check(&tree).len(), 1);
        for (path, n_lines, n) in [
            ("crates/gateway/src/pipeline/a.rs", 300, 0),
            ("crates/gateway/src/pipeline/a.rs", 301, 1),
            ("crates/gateway/src/pipeline/a/b.rs", 301, 1),
            ("crates/gateway/src/server.rs", 301, 0),
            ("crates/gateway/src/pipeline/relay/stream.rs", 446, 1),
            ("crates/gateway/src/pipeline/relay/stream.rs", 301, 0),
            ("crates/gateway/src/pipeline/relay/stream.rs", 300, 1),
        ] {
            let text = "x\n".repeat(n_lines) + "#[cfg(test)]\nmod tests {}\n";
            assert_eq!(check(&[File::new(path, &text)]).len(), n, "{path}: {n_lines}");
        }
        assert_eq!(count_code("//! head\n\nfn a() {}\n// why\n#[cfg(test)]\nmod tests {}\n"), 1);
    }
}
