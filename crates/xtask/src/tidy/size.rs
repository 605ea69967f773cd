//! Files stay readable in one sitting, crates compile in one breath.

use std::collections::BTreeMap;

use super::File;

const LONGEST_FILE: usize = 800;
const LARGEST_CRATE: usize = 10_000;

pub(crate) fn check(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut lines_of: BTreeMap<&str, usize> = BTreeMap::new();
    for file in tree.iter().filter(|file| file.is_rust() && !file.is_generated()) {
        let n_lines = file.text.lines().count();
        if n_lines > LONGEST_FILE {
            findings.push(format!("{}: {n_lines} lines, at most {LONGEST_FILE}: split it by idea", file.path));
        }
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
        assert_eq!(count_code("//! head\n\nfn a() {}\n// why\n#[cfg(test)]\nmod tests {}\n"), 1);
    }
}
