//! Anthropic's streams under any bytes; see `llm::fuzz::anthropic_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::anthropic_stream(bytes));
