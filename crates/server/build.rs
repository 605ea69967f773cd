//! Rebuilds the embedded console when `cargo xtask console` has made a new one.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist/stamp");
}
