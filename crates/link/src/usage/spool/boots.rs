//! The lives of the node that used this folder, so that a later one can say of each that all it wrote is delivered.
//!
//! A life whose files are gone has left no other trace. Invariant: a life is noted before it writes its first event.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Lives that are remembered; what is older than so many restarts is no matter of leases any more.
const MOST: usize = 256;
const NAME: &str = "boots";

/// Notes a life and returns the former ones, oldest first.
pub(super) fn note(dir: &Path, boot: u128) -> io::Result<Vec<u128>> {
    fs::create_dir_all(dir)?;
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let known = text.lines().filter_map(|line| u128::from_str_radix(line, 16).ok()).filter(|known| *known != boot);
    let mut known: Vec<u128> = known.collect();
    known.drain(..known.len().saturating_sub(MOST));
    // Written beside and moved, so that a crash leaves one list or the other.
    let new = dir.join("boots.new");
    let mut file = fs::File::create(&new)?;
    for life in known.iter().chain([&boot]) {
        writeln!(file, "{life:032x}")?;
    }
    file.sync_all()?;
    fs::rename(new, path)?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_knows_those_before_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(note(dir.path(), 1).unwrap(), []);
        assert_eq!(note(dir.path(), 2).unwrap(), [1]);
        assert_eq!(note(dir.path(), 2).unwrap(), [1]);
        for life in 3..=400 {
            note(dir.path(), life).unwrap();
        }
        let known = note(dir.path(), 401).unwrap();
        assert_eq!((known.len(), known.last()), (MOST, Some(&400)));
    }
}
