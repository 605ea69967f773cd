//! Which compiler builds the console for the browser.
//!
//! Usually the one at hand, with the browser's target installed by rustup when it is missing. Where that cannot be had (no rustup,
//! or no way to its server), a distribution's compiler that carries the standard library's source builds the library as well:
//! Debian's `rustc-web`, `cargo-web` and `rust-web-src`. Invariant: nothing is installed on the machine except by its own package
//! manager, as root; otherwise the error names what to install.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::repo::{Step, apt_install, cargo, target_dir};

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
        Self::ensure_in(&search_path(), || apt_install(&DEBIAN))
    }

    /// The same with the programs of these folders alone, and with what installs packages.
    fn ensure_in(folders: &[PathBuf], install: impl FnOnce() -> Result<()>) -> Result<Self> {
        let program = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let rustc = program("rustc").unwrap_or_else(|| "rustc".into());
        if has_target(&rustc) {
            return Ok(Self::Installed);
        }
        if let Some(rustup) = program("rustup") {
            match Step::new(rustup).args(&["target", "add", TARGET]).run() {
                Ok(()) if has_target(&rustc) => return Ok(Self::Installed),
                Ok(()) => eprintln!("note: {TARGET} went to another toolchain than the one that builds here"),
                Err(error) => eprintln!("note: rustup could not add {TARGET} ({error:#}); looking for another way"),
            }
        }
        if let Some(found) = Self::with_source(folders, &rustc) {
            return Ok(found);
        }
        if install().is_ok()
            && let Some(found) = Self::with_source(folders, &rustc)
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
    fn with_source(folders: &[PathBuf], own: &Path) -> Option<Self> {
        let linker = find_linker(folders, own)?;
        folders.iter().find_map(|folder| {
            let (cargo, rustc) = (folder.join("cargo"), folder.join("rustc"));
            let is_complete = cargo.is_file() && rustc.is_file() && has_source(&rustc);
            is_complete.then(|| Self::FromSource { cargo, rustc, linker: linker.clone() })
        })
    }
}

/// Says whether the compiler at hand has the library for the browser.
fn has_target(rustc: &Path) -> bool {
    let libraries = Step::new(rustc).args(&["--print", "target-libdir", "--target", TARGET]).output();
    libraries.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

fn has_source(rustc: &Path) -> bool {
    let Ok(root) = Step::new(rustc).args(&["--print", "sysroot"]).output() else { return false };
    Path::new(root.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}

/// Finds what links wasm: the one inside the toolchain at hand, else one on the path (Debian's `lld`).
fn find_linker(folders: &[PathBuf], own: &Path) -> Option<PathBuf> {
    let inside = Step::new(own).args(&["--print", "target-libdir"]).output().ok();
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

    fn program(bin: &Path, name: &str, script: &str) {
        fs::create_dir_all(bin).expect("a folder");
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("made executable");
    }

    /// A folder that looks like a distribution's: cargo, a rustc that names its root, a linker, and the source or not.
    fn distribution(has_source: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        for name in ["cargo", "rustc", "wasm-ld"] {
            // Its libraries for any platform are where none is.
            let script = "case \"$*\" in *sysroot*) echo ROOT;; *) echo ROOT/absent;; esac";
            program(&bin, name, &script.replace("ROOT", &folder.path().display().to_string()));
        }
        if has_source {
            let library = folder.path().join("lib/rustlib/src/rust/library/std");
            fs::create_dir_all(&library).expect("a folder");
            fs::write(library.join("Cargo.toml"), "").expect("written");
        }
        folder
    }

    fn bin_of(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("bin")
    }

    /// A toolchain of rustup without the library for the browser; its rustup does as the script says.
    fn toolchain(rustup: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let wasm = folder.path().join("wasm").display().to_string();
        program(&bin_of(&folder), "rustc", &format!("echo {wasm}"));
        program(&bin_of(&folder), "rustup", &rustup.replace("WASM", &wasm));
        folder
    }

    fn no_packages() -> Result<()> {
        bail!("no package manager")
    }

    #[test]
    fn a_distribution_with_the_source_of_the_library_can_build() {
        let (without, with) = (distribution(false), distribution(true));
        let folders = [bin_of(&without), bin_of(&with)];
        let own = folders[0].join("rustc");
        let Some(Compiler::FromSource { rustc, .. }) = Compiler::with_source(&folders, &own) else {
            panic!("the second folder has all that is needed")
        };
        assert_eq!(rustc, with.path().join("bin/rustc"));
        assert!(
            Compiler::with_source(&folders[..1], &own).is_none(),
            "without the source there is nothing to build the library from"
        );
    }

    #[test]
    fn a_missing_target_is_added_with_rustup() {
        let there = toolchain("[ \"$*\" = 'target add wasm32-unknown-unknown' ] && mkdir WASM");
        let ensure = || Compiler::ensure_in(&[bin_of(&there)], no_packages);
        assert!(matches!(ensure(), Ok(Compiler::Installed)));
        // Once it is there, rustup has nothing to do, which would fail.
        assert!(matches!(ensure(), Ok(Compiler::Installed)));
    }

    #[test]
    fn where_rustup_cannot_add_it_a_distributions_compiler_builds_the_library() {
        for rustup in ["exit 1", "exit 0"] {
            let (there, debian) = (toolchain(rustup), distribution(true));
            let found = Compiler::ensure_in(&[bin_of(&there), bin_of(&debian)], no_packages);
            let Ok(Compiler::FromSource { rustc, linker, .. }) = found else { panic!("{rustup}: {found:?}") };
            assert_eq!((rustc, linker), (bin_of(&debian).join("rustc"), bin_of(&debian).join("wasm-ld")));
        }
    }

    #[test]
    fn packages_are_installed_last_and_named_when_they_cannot_be() {
        let (there, later) = (toolchain("exit 1"), tempfile::tempdir().expect("a folder"));
        let folders = [bin_of(&there), bin_of(&later)];
        let refused = Compiler::ensure_in(&folders, no_packages).expect_err("nothing builds for browsers");
        let said = refused.to_string();
        assert!(
            said.contains("rustup target add wasm32") && said.contains("rustc-web") && said.contains("lld"),
            "{said}"
        );

        let debian = distribution(true);
        let install = || Ok(fs::rename(bin_of(&debian), bin_of(&later))?);
        assert!(matches!(Compiler::ensure_in(&folders, install), Ok(Compiler::FromSource { .. })));
    }

    #[test]
    fn the_library_is_built_first_and_apart_from_what_the_other_compiler_built() {
        let debian = distribution(true);
        let bin = bin_of(&debian);
        let written = debian.path().join("called");
        let script = format!("{{ echo \"$*\"; env; }} > {}", written.display());
        program(&bin, "cargo", &script);
        let compiler = Compiler::with_source(std::slice::from_ref(&bin), &bin.join("rustc")).expect("complete");
        let wasm = compiler.compile("headgate-web", "dev", "debug", "--cfg fast").expect("built");
        assert!(wasm.ends_with("from-source/wasm32-unknown-unknown/debug/headgate-web.wasm"), "{}", wasm.display());
        let called = fs::read_to_string(written).expect("called");
        let rustc = format!("RUSTC={}", bin.join("rustc").display());
        let linker = format!("{LINKER_VARIABLE}={}", bin.join("wasm-ld").display());
        for part in [
            "build --package headgate-web --target wasm32-unknown-unknown --profile dev",
            "-Z build-std=std,panic_abort",
            "RUSTC_BOOTSTRAP=1",
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=--cfg fast",
            "from-source",
            &rustc,
            &linker,
        ] {
            assert!(called.contains(part), "{part}: {called}");
        }
    }
}
