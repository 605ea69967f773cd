//! Which compiler builds the console for the browser.
//!
//! Usually the one at hand, with the browser's target installed by rustup when it is missing. Where that cannot be had (no rustup,
//! or no way to its server), a distribution's compiler that carries the standard library's source builds the library as well:
//! Debian's `rustc-web`, `cargo-web` and `rust-web-src`. Invariant: nothing is installed on the machine except by its own package
//! manager, as root; otherwise the error names what to install.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::repo::{Step, apt_install, cargo, find_program, target_dir};

/// The platform of browsers.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const FLAGS_VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS";
const LINKER_VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER";
/// Debian's packages that together can build for the browser with no target installed.
const DEBIAN: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// A compiler that can build for the browser.
#[derive(Debug)]
pub(crate) enum Compiler {
    /// The one that builds everything else; its target for the browser is there.
    Installed,
    /// Another one, which builds the standard library from its own source first.
    FromSource {
        /// Its cargo.
        cargo: PathBuf,
        /// Its rustc.
        rustc: PathBuf,
        /// A linker that makes wasm.
        linker: PathBuf,
    },
}

impl Compiler {
    /// Finds one, installing what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        if has_target() {
            return Ok(Self::Installed);
        }
        if find_program("rustup").is_some() {
            match Step::new("rustup").args(&["target", "add", TARGET]).run() {
                Ok(()) if has_target() => return Ok(Self::Installed),
                Ok(()) => eprintln!("note: {TARGET} went to another toolchain than the one that builds here"),
                Err(error) => eprintln!("note: rustup could not add {TARGET} ({error:#}); looking for another way"),
            }
        }
        if let Some(found) = Self::with_source(&search_path()) {
            return Ok(found);
        }
        if apt_install(&DEBIAN).is_ok()
            && let Some(found) = Self::with_source(&search_path())
        {
            return Ok(found);
        }
        bail!(
            "the console needs a compiler for {TARGET}: run `rustup target add {TARGET}`, or install the Debian packages {} \
             (or their like: a rustc with the source of its standard library, and lld), then run this again",
            DEBIAN.join(", ")
        )
    }

    /// Compiles `package` and returns the wasm file; `profile` is cargo's name, `folder` where that profile builds into.
    pub(crate) fn compile(&self, package: &str, profile: &str, folder: &str, flags: &str) -> Result<PathBuf> {
        let wasm = |built: PathBuf| built.join(TARGET).join(folder).join(format!("{package}.wasm"));
        let wanted = ["build", "--package", package, "--target", TARGET, "--profile", profile];
        match self {
            Self::Installed => {
                cargo(&wanted).env(FLAGS_VARIABLE, flags).run()?;
                Ok(wasm(target_dir()))
            }
            Self::FromSource { cargo, rustc, linker } => {
                // A folder of its own: two compilers in one would each throw away what the other built.
                let built = target_dir().join("from-source");
                Step::new(cargo)
                    .args(&wanted)
                    .args(&["-Z", "build-std=std,panic_abort"])
                    .env("RUSTC", rustc)
                    // The one switch that lets a stable compiler build its own library; nothing of ours uses an unstable feature.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_DIR", &built)
                    .env(LINKER_VARIABLE, linker)
                    .env(FLAGS_VARIABLE, flags)
                    .run()?;
                Ok(wasm(built))
            }
        }
    }

    /// Looks for a compiler with the source of its library, in the order of `folders`.
    fn with_source(folders: &[PathBuf]) -> Option<Self> {
        let linker = find_linker(folders)?;
        folders.iter().find_map(|folder| {
            let (cargo, rustc) = (folder.join("cargo"), folder.join("rustc"));
            let is_complete = cargo.is_file() && rustc.is_file() && has_source(&rustc);
            is_complete.then(|| Self::FromSource { cargo, rustc, linker: linker.clone() })
        })
    }
}

/// Says whether the compiler at hand has the library for the browser.
fn has_target() -> bool {
    let libraries = Step::new("rustc").args(&["--print", "target-libdir", "--target", TARGET]).output();
    libraries.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

fn has_source(rustc: &Path) -> bool {
    let Ok(root) = Step::new(rustc).args(&["--print", "sysroot"]).output() else { return false };
    Path::new(root.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}

/// Finds what links wasm: the one inside the toolchain at hand, else one on the path (Debian's `lld`).
fn find_linker(folders: &[PathBuf]) -> Option<PathBuf> {
    let inside = Step::new("rustc").args(&["--print", "target-libdir"]).output().ok();
    let inside = inside.and_then(|folder| Some(Path::new(folder.trim()).parent()?.join("bin/rust-lld")));
    let on_path = folders.iter().flat_map(|folder| ["rust-lld", "wasm-ld"].map(|name| folder.join(name)));
    inside.into_iter().chain(on_path).find(|linker| linker.is_file())
}

/// Returns the folders of the `PATH`, then where distributions put programs: rustup's proxies hide those of the same name.
fn search_path() -> Vec<PathBuf> {
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/bin", "/usr/local/bin", "/usr/lib/llvm/bin"].map(PathBuf::from));
    folders
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A folder that looks like a distribution's: cargo, a rustc that names its root, a linker, and the source or not.
    fn distribution(has_source: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        let script = format!("#!/bin/sh\necho {}\n", folder.path().display());
        for name in ["cargo", "rustc", "wasm-ld"] {
            fs::write(bin.join(name), &script).expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("made executable");
        }
        if has_source {
            let library = folder.path().join("lib/rustlib/src/rust/library/std");
            fs::create_dir_all(&library).expect("a folder");
            fs::write(library.join("Cargo.toml"), "").expect("written");
        }
        folder
    }

    #[test]
    fn a_distribution_with_the_source_of_the_library_can_build() {
        let without = distribution(false);
        let with = distribution(true);
        let folders = [without.path().join("bin"), with.path().join("bin")];
        let Some(Compiler::FromSource { rustc, .. }) = Compiler::with_source(&folders) else {
            panic!("the second folder has all that is needed")
        };
        assert_eq!(rustc, with.path().join("bin/rustc"));
        assert!(
            Compiler::with_source(&folders[..1]).is_none(),
            "without the source there is nothing to build the library from"
        );
    }
}
