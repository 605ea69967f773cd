//! Token counts under any bytes; see `llm::fuzz::counts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::counts(bytes));
