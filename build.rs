//! Keeps pgrx's schema section in the shared library.
//!
//! cargo-pgrx would inject the same linker flag through `--config …rustflags`, which changes every
//! crate's fingerprint, so that `cargo build` and `cargo pgrx` rebuild the world in turn. Set here
//! for the cdylib alone (with `CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1` around cargo-pgrx, see
//! `ci/env.sh`) both share one build, and test binaries still link.
fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,--no-gc-sections");
    println!("cargo:rerun-if-changed=build.rs");
}
