//! Request bodies of all dialects under any bytes; see `llm::fuzz::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::requests(bytes));
