//! Builds the console: wasm, its JavaScript glue, one style sheet, hashed names, brotli and gzip beside each file.
//!
//! The result is `web/dist`, which the server embeds with its feature `console`. Skipped when nothing it is made of has
//! changed. `web/index.html` names what it needs by placeholder: `{{style}}` and `{{boot}}`; every other file of
//! `web/assets` is copied as it is. Invariant: a name with a hash never changes its content, so it may be cached for ever.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use crate::compact::compact;
use crate::repo::{hex, root, target_dir};
use crate::split::{Parts, Placed, join, split, weigh};
use crate::wasm::Compiler;

/// How the console is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, large to load.
    Debug,
    /// Small: what users get.
    Release,
}

/// Builds the console into `web/dist` unless it is there already.
pub(crate) fn build(profile: Profile) -> Result<()> {
    let dist = root().join("web/dist");
    let stamp = dist.join("stamp");
    let inputs = hash_inputs(profile)?;
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == inputs) {
        return Ok(());
    }
    let wasm = compile(&Compiler::ensure()?, profile)?;
    let scratch = target_dir().join("console");
    clear(&scratch)?;
    let parts = split(&wasm, &scratch)?;
    let mut bindgen = Bindgen::new();
    bindgen.keep_lld_exports(true).demangle(false);
    bindgen.input_path(&parts.main).out_name("headgate").typescript(false).remove_producers_section(true);
    bindgen.web(true)?.omit_default_module_path(true);
    if profile == Profile::Release {
        bindgen.remove_name_section(true);
    }
    bindgen.generate(&scratch).context("making the JavaScript glue")?;
    // The stamp goes first: an interrupted build must not look like a finished one.
    clear(&dist)?;
    assemble(&scratch, &parts, &dist, profile)?;
    fs::write(&stamp, inputs)?;
    Ok(())
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}

fn compile(compiler: &Compiler, profile: Profile) -> Result<PathBuf> {
    let (flag, folder) = match profile {
        Profile::Debug => ("dev", "debug"),
        Profile::Release => ("wasm-release", "wasm-release"),
    };
    // The splitter follows the relocations. Leptos erases component types under this flag: faster to compile and, measured, smaller to load as well (505 KB with
    // brotli against 617 KB), since views are no longer written out once per type.
    compiler
        .compile("headgate-web", flag, folder, "--cfg erase_components -Clink-args=--emit-relocs")
        .context("compiling the console")
}

fn assemble(scratch: &Path, parts: &Parts, dist: &Path, profile: Profile) -> Result<()> {
    let web = root().join("web");
    let wasm = place_wasm(dist, "headgate", &scratch.join("headgate_bg.wasm"), profile)?;
    let mut chunks = Vec::new();
    for chunk in &parts.chunks {
        let stem = chunk.file_stem().context("a chunk has a name")?.to_string_lossy().into_owned();
        chunks.push(Placed { name: place_wasm(dist, &stem, chunk, profile)?, stem });
    }
    if profile == Profile::Release {
        weigh(dist, &wasm, &chunks, parts)?;
    }
    let script = join(&fs::read_to_string(scratch.join("headgate.js"))?, &parts.loaders, &chunks)?;
    let script = place(dist, "headgate", "js", script.as_bytes(), profile)?;
    // A file of its own and not inline: the content security policy allows no inline script.
    let boot = format!("import init from \"/{script}\";\ninit({{ module_or_path: \"/{wasm}\" }});\n");
    let boot = place(dist, "boot", "js", boot.as_bytes(), profile)?;
    let style = place(dist, "style", "css", style_sheet(&web)?.as_bytes(), profile)?;
    let snippets = scratch.join("snippets");
    if snippets.is_dir() {
        copy_tree(&snippets, &dist.join("snippets"), profile)?;
    }
    if web.join("assets").is_dir() {
        copy_tree(&web.join("assets"), &dist.join("assets"), profile)?;
    }
    let page = fs::read_to_string(web.join("index.html")).context("reading web/index.html")?;
    for placeholder in ["{{style}}", "{{boot}}"] {
        if !page.contains(placeholder) {
            bail!("web/index.html lacks the placeholder {placeholder}");
        }
    }
    let page = page.replace("{{style}}", &format!("/{style}")).replace("{{boot}}", &format!("/{boot}"));
    let page = page.replace("{{wasm}}", &format!("/{wasm}")).replace("{{script}}", &format!("/{script}"));
    write_compressed(&dist.join("index.html"), page.as_bytes(), profile)
}

/// The same of wasm, which a release orders so that it compresses.
fn place_wasm(dist: &Path, stem: &str, path: &Path, profile: Profile) -> Result<String> {
    let linked = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let wasm = match profile {
        Profile::Debug => linked,
        // Without `wasm-opt`: what it makes is a fifth smaller, and larger once compressed.
        Profile::Release => compact(&linked).with_context(|| format!("ordering {stem}"))?,
    };
    place(dist, stem, "wasm", &wasm, profile)
}

/// Writes a file under a name that carries its hash; returns the name.
fn place(dist: &Path, stem: &str, extension: &str, content: &[u8], profile: Profile) -> Result<String> {
    let hash = hex(&Sha256::digest(content))[..12].to_owned();
    let name = format!("{stem}-{hash}.{extension}");
    write_compressed(&dist.join(&name), content, profile)?;
    Ok(name)
}

fn write_compressed(path: &Path, content: &[u8], profile: Profile) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
    let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", path.display()));
    let (brotli_quality, gzip_level) = match profile {
        Profile::Debug => return Ok(()),
        Profile::Release => (11, flate2::Compression::best()),
    };
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 1 << 16, brotli_quality, 24);
    brotli.write_all(content)?;
    fs::write(beside("br"), brotli.into_inner())?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), gzip_level);
    gzip.write_all(content)?;
    fs::write(beside("gz"), gzip.finish()?)?;
    Ok(())
}

/// Joins all style sheets: `web/style` in the order of its layers, then each component's own by path.
fn style_sheet(web: &Path) -> Result<String> {
    let mut sheets: Vec<PathBuf> =
        ["tokens", "base", "layout"].map(|name| web.join(format!("style/{name}.css"))).into();
    sheets.retain(|path| path.is_file());
    let mut others = list_files(&web.join("style"))?;
    for folder in ["ui/src", "src", "money/src"] {
        others.extend(list_files(&web.join(folder))?);
    }
    let is_new = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "css") && !sheets.contains(path);
    let others: Vec<PathBuf> = others.into_iter().filter(is_new).collect();
    // The order of cascade layers is their first mention; the rest of the text may then come in any order.
    let mut text = "@layer tokens, base, ui, features;\n".to_owned();
    for path in sheets.iter().chain(&others) {
        text.push_str(&fs::read_to_string(path)?);
        text.push('\n');
    }
    Ok(text)
}

fn copy_tree(from: &Path, to: &Path, profile: Profile) -> Result<()> {
    for path in list_files(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file has a folder")?)?;
        write_compressed(&target, &fs::read(&path)?, profile)?;
    }
    Ok(())
}

/// Lists all files below `folder`, sorted; an absent folder has none.
fn list_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Hashes everything that the console is made of, and how.
fn hash_inputs(profile: Profile) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{profile:?}"));
    let root = root();
    let dist = root.join("web/dist");
    for part in [
        "web",
        "crates/api",
        "crates/domain",
        "Cargo.toml",
        "Cargo.lock",
        "crates/xtask/src/console.rs",
        "crates/xtask/src/compact.rs",
        "crates/xtask/src/split.rs",
    ] {
        let path = root.join(part);
        let files = if path.is_file() { vec![path] } else { list_files(&path)? };
        for file in files.iter().filter(|file| !file.starts_with(&dist)) {
            hash.update(file.strip_prefix(&root)?.to_string_lossy().as_bytes());
            hash.update(fs::read(file)?);
        }
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_hash_changes_with_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = place(folder.path(), "style", "css", b"a", Profile::Release).expect("writes");
        let second = place(folder.path(), "style", "css", b"b", Profile::Release).expect("writes");
        assert_ne!(first, second);
        for suffix in ["", ".br", ".gz"] {
            assert!(folder.path().join(format!("{first}{suffix}")).is_file(), "{first}{suffix}");
        }
    }
}
