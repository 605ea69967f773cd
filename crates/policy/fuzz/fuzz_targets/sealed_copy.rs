//! See `policy::fuzz::sealed_copy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| policy::fuzz::sealed_copy(bytes));
