//! Tasks in the vendors' own forms under any bytes; see `provider::fuzz::tasks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::tasks(bytes));
