//! Answers that are relayed untouched under any bytes; see `provider::fuzz::skim`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::skim(bytes));
