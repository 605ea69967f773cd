//! Gemini's streams under any bytes; see `llm::fuzz::gemini_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::gemini_stream(bytes));
