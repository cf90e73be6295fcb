//! libFuzzer's way in.

#![no_main]

#[path = "../src/warm.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
