//! Kept responses under any bytes; see `llm::fuzz::conversation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::conversation(bytes));
