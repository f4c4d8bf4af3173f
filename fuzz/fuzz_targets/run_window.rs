//! Any text is a run window or refused.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|text: &str| body::run_window(text));
