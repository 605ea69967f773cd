//! Whole answers and error bodies under any bytes; see `llm::fuzz::whole_answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm::fuzz::whole_answers(bytes));
