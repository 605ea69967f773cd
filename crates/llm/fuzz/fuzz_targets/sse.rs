//! Frames of server-sent events under any bytes; see `llm::fuzz::sse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::sse(bytes));
