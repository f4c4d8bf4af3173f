//! Any text is a schedule or refused.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|text: &str| body::schedule(text));
