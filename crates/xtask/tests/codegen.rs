//! Compiles `proto/` to `crates/proto/src/gen` and proves that the checked-in code is fresh.
//!
//! `cargo xtask codegen` runs this test with `UPDATE=1`, so generating and checking are one code path. The compiler is
//! written in Rust (protox): nobody needs `protoc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn proto_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            proto_files(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn generate(into: &Path) -> Result<()> {
    let proto = root().join("proto");
    let mut files = Vec::new();
    proto_files(&proto, &mut files)?;
    anyhow::ensure!(!files.is_empty(), "no .proto file under {}", proto.display());
    let descriptors = protox::compile(&files, [&proto]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    tonic_prost_build::configure()
        // Maps in key order: a resource's bytes are hashed and signed, so they must not depend on hashing seeds.
        .btree_map(".")
        // Shared buffers: one delta is cloned for every node that receives it.
        .bytes(".")
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .out_dir(into)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .context("generating Rust")?;
    Ok(())
}

fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(&path)?);
    }
    Ok(files)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "`cargo xtask codegen` tells by the environment to write and not to compare"
)]
fn generated_code_is_fresh() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    generate(scratch.path())?;
    let fresh = contents(scratch.path())?;
    let checked_in = root().join("crates/proto/src/gen");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&checked_in)?;
        for entry in fs::read_dir(&checked_in)? {
            fs::remove_file(entry?.path())?;
        }
        for (name, text) in &fresh {
            fs::write(checked_in.join(name), text)?;
        }
        return Ok(());
    }
    let present = contents(&checked_in).unwrap_or_default();
    for name in fresh.keys().chain(present.keys()) {
        assert!(
            fresh.get(name) == present.get(name),
            "{name} is stale: run `cargo xtask codegen` and commit the result"
        );
    }
    Ok(())
}
