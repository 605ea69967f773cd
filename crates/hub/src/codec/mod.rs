//! Bytes to frames, incrementally: what is below the dialects.

pub mod base64;
pub mod json;
pub mod json_array;
pub mod sse;
