//! Bytes to frames, incrementally: what is below the dialects.

pub(crate) mod json;
pub mod sse;
