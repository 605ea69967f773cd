//! Golden files: what came out must be what is checked in. `UPDATE=1` writes instead of comparing.

use std::path::Path;

use runtime::config::Environment;
use similar::TextDiff;

/// Compares `actual` with the file at `path`.
///
/// # Panics
///
/// When they differ, with a diff; or when the file cannot be read or written.
pub fn check(path: &Path, actual: &str) {
    if Environment::of_process().find("UPDATE").is_some() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder of golden files can be made");
        }
        std::fs::write(path, actual).expect("the golden file can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != actual {
        let diff = TextDiff::from_lines(&expected, actual);
        let diff = diff.unified_diff().header("checked in", "actual").to_string();
        assert!(expected == actual, "{} is not what came out (UPDATE=1 takes it over):\n{diff}", path.display());
    }
}
