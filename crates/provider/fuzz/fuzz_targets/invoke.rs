//! Bedrock's frames around a maker's own events under any bytes; see `provider::fuzz::invoke`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::invoke(bytes));
