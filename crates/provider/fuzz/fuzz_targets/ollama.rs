//! Ollama's chat under any bytes; see `provider::fuzz::ollama`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provider::fuzz::ollama(bytes));
