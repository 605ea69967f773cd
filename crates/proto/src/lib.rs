//! The messages between the planes, generated from `proto/` by `cargo xtask codegen` and checked in.
//!
//! Nothing here is written by hand. Conversion to our own types is in `policy::wire` and nowhere else. The feature
//! `grpc` adds the client and server stubs; messages alone need no async runtime.

/// Version 1 of the protocol; only additive changes.
pub mod v1 {
    // `include!` and not `mod`: rustfmt leaves an included file as the generator wrote it.
    include!("gen/headgate.v1.rs");
}
