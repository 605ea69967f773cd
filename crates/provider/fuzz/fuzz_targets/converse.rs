//! Bedrock's Converse under any bytes; see `provider::fuzz::converse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::converse(bytes));
