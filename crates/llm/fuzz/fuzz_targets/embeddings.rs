//! Embeddings under any bytes; see `llm::fuzz::embeddings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::embeddings(bytes));
