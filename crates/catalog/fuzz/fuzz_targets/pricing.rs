//! See `catalog::fuzz::pricing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| catalog::fuzz::pricing(bytes));
