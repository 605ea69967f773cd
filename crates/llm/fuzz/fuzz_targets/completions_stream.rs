//! Streams of OpenAI's legacy completions under any bytes; see `llm::fuzz::completions_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::completions_stream(bytes));
