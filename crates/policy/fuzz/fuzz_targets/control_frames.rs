//! See `policy::fuzz::control_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| policy::fuzz::control_frames(bytes));
