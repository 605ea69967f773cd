//! Forms with files under any bytes; see `provider::fuzz::forms`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::forms(bytes));
