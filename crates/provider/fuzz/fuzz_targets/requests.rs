//! Requests in wire formats under any bytes; see `provider::fuzz::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::requests(bytes));
