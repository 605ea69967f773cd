//! Cohere's chat under any bytes; see `provider::fuzz::cohere`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::cohere(bytes));
