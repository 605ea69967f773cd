//! Tests of the repository itself: generated code is fresh, and every rule of `cargo xtask tidy` holds.

mod codegen;
mod proto;
