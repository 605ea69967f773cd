//! See `policy::fuzz::node_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| policy::fuzz::node_frames(bytes));
