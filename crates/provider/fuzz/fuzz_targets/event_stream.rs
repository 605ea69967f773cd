//! Frames of binary event streams under any bytes; see `provider::fuzz::event_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::event_stream(bytes));
