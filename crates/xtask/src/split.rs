//! Splits the linked console into the file that comes first and chunks that are fetched when a page wants them.
//!
//! Where it is split says the attribute `wasm_split` in `web/src/chunks.rs`. The splitter follows the relocations that the linker left
//! (`--emit-relocs`), so it needs what was linked and not what the bindings' generator made of it. Invariant: no page of a release
//! needs more than `MOST_WASM`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

/// What the first file imports its loaders from, until they stand in the script of the bindings.
const LOADERS: &str = "./loaders.js";
/// The script of the bindings, as the loaders import it.
const SCRIPT: &str = "./headgate.js";

/// The most wasm, in bytes as sent, that any page may need before it can be used: ADR 7 allows 600 KB.
const MOST_WASM: u64 = 600_000;

/// What a console is split into.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The file that comes first, still without its bindings.
    pub(crate) main: PathBuf,
    /// The script that fetches chunks.
    pub(crate) loaders: String,
    /// The chunks, sorted by name.
    pub(crate) chunks: Vec<PathBuf>,
    /// For each part that pages are marked with, the chunks that it needs, by name without ending.
    needs: BTreeMap<String, Vec<String>>,
}

/// A file of wasm: its name as the splitter gave it, without ending, and as it is served.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) stem: String,
    pub(crate) name: String,
}

/// Splits what was linked; writes the parts into `folder`.
pub(crate) fn split(linked: &Path, folder: &Path) -> Result<Parts> {
    let wasm = fs::read(linked).with_context(|| format!("reading {}", linked.display()))?;
    let main = folder.join("main.wasm");
    let mut options = wasm_split_cli_support::Options::new(&wasm);
    options.output_dir = folder;
    options.main_out_path = &main;
    options.main_module = SCRIPT;
    options.link_name = LOADERS;
    let made =
        wasm_split_cli_support::transform(options).map_err(|error| anyhow!("splitting the console: {error:#}"))?;
    let mut chunks = made.split_modules;
    chunks.sort();
    let needs = made.prefetch_map.into_iter().collect();
    Ok(Parts { main, loaders: fs::read_to_string(folder.join(LOADERS))?, chunks, needs })
}

/// Puts the loaders into the script of the bindings, with the names under which chunks are served .
///
/// One file and not two: they import each other, so neither could be named by its hash before the other is.
pub(crate) fn join(bindings: &str, loaders: &str, chunks: &[Placed]) -> Result<String> {
    let mut fetching = String::new();
    let mut exported = Vec::new();
    for line in loaders.lines().filter(|line| !line.starts_with("import ")) {
        let line = match line.strip_prefix("export ") {
            Some(line) => {
                exported
                    .extend(line.strip_prefix("const ").and_then(|line| line.split_once(' ')).map(|(name, _)| name));
                line
            }
            None => line,
        };
        fetching.push_str(line);
        fetching.push('\n');
    }
    for Placed { stem, name } in chunks {
        let (from, to) = (format!("\"./{stem}.wasm\""), format!("\"./{name}\""));
        if !fetching.contains(&from) {
            bail!("nothing fetches the chunk {from}");
        }
        fetching = fetching.replace(&from, &to);
    }
    let exported = exported.join(", ");
    let mut script = fetching;
    let mut is_wanted = false;
    for line in bindings.lines() {
        let import = line.strip_prefix("import * as ").and_then(|line| line.split_once(" from "));
        match import {
            Some((name, from)) if from.trim_end_matches(';') == format!("\"{LOADERS}\"") => {
                is_wanted = true;
                script.extend(["const ", name, " = { ", exported.as_str(), " };"]);
            }
            _ => script.push_str(line),
        }
        script.push('\n');
    }
    if exported.is_empty() || !is_wanted {
        bail!("the console has no chunks: nothing in it is marked to be split off");
    }
    Ok(script)
}

/// Tells how much wasm each page loads as sent, by the files in `dist`; refuses a console of which one needs too much.
pub(crate) fn weigh(dist: &Path, main: &str, chunks: &[Placed], parts: &Parts) -> Result<()> {
    let sent = |name: &str| Ok::<u64, anyhow::Error>(fs::metadata(dist.join(format!("{name}.br")))?.len());
    let first = sent(main)?;
    eprintln!("wasm as sent, in bytes (at most {MOST_WASM} for a page):\n{first:>9}  what comes first");
    let mut heaviest = ("what comes first", first);
    for (part, needs) in &parts.needs {
        let mut more = 0;
        for chunk in chunks.iter().filter(|chunk| needs.contains(&chunk.stem)) {
            more += sent(&chunk.name)?;
        }
        eprintln!("{:>9}  with pages of `{part}` ({more} in {} files)", first + more, needs.len());
        if first + more > heaviest.1 {
            heaviest = (part, first + more);
        }
    }
    if heaviest.1 > MOST_WASM {
        bail!("pages of the console need {} bytes of wasm ({}), more than {MOST_WASM}", heaviest.1, heaviest.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDINGS: &str = "import * as import1 from \"./loaders.js\"\nimport * as import2 from \"./loaders.js\"\nfunction initSync() {}\nexport { initSync };\n";
    const FETCHING: &str = "import { initSync } from \"./headgate.js\";\nconst __chunk_2 = load(\"./chunk_2.wasm\");\nexport const __load_money = load(\"./split_money.wasm\", [__chunk_2]);\n";

    fn placed(stem: &str) -> Placed {
        Placed { stem: stem.to_owned(), name: format!("{stem}-0a1b.wasm") }
    }

    fn parts() -> Parts {
        let needs = BTreeMap::from([("money".to_owned(), vec!["chunk_2".to_owned(), "split_money".to_owned()])]);
        Parts { main: PathBuf::new(), loaders: FETCHING.to_owned(), chunks: Vec::new(), needs }
    }

    #[test]
    fn loaders_stand_in_the_script_and_fetch_chunks_by_the_names_they_are_served_under() {
        let script = join(BINDINGS, FETCHING, &[placed("chunk_2"), placed("split_money")]).expect("joined");
        assert_eq!(
            script,
            "const __chunk_2 = load(\"./chunk_2-0a1b.wasm\");\nconst __load_money = load(\"./split_money-0a1b.wasm\", [__chunk_2]);\n\
             const import1 = { __load_money };\nconst import2 = { __load_money };\nfunction initSync() {}\nexport { initSync };\n"
        );
    }

    #[test]
    fn a_console_whose_chunks_nothing_fetches_is_refused() {
        assert!(join(BINDINGS, FETCHING, &[placed("chunk_9")]).is_err());
        assert!(join("function initSync() {}", FETCHING, &[placed("split_money")]).is_err());
        assert!(join(BINDINGS, "", &[]).is_err());
    }

    #[test]
    fn a_console_of_which_a_page_needs_too_much_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let chunks = [placed("chunk_2"), placed("split_money"), placed("unused")];
        let write = |name: &str, length: u64| {
            let file = fs::File::create(folder.path().join(format!("{name}.br"))).expect("made");
            file.set_len(length).expect("as long as that");
        };
        write("headgate.wasm", 400_000);
        for (chunk, length) in chunks.iter().zip([100_000, 100_000, 500_000]) {
            write(&chunk.name, length);
        }
        weigh(folder.path(), "headgate.wasm", &chunks, &parts()).expect("just what is allowed");
        write(&chunks[0].name, 100_001);
        let refused = weigh(folder.path(), "headgate.wasm", &chunks, &parts()).expect_err("one byte too many");
        assert!(refused.to_string().contains("600001 bytes of wasm (money)"), "{refused}");
    }
}
