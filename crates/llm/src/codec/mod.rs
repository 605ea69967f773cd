//! Bytes to frames, incrementally: what is below the dialects.

pub mod json;
pub mod sse;
