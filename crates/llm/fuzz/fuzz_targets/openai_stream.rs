//! OpenAI's streams under any bytes; see `llm::fuzz::openai_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::openai_stream(bytes));
