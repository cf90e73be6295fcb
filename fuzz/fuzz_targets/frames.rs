//! libFuzzer's way in.

#![no_main]

#[path = "../src/frames.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
