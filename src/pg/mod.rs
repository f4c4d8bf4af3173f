//! Thin wrappers over Postgres primitives, one a file.

pub(crate) mod create_extension;
pub(crate) mod identity;
pub(crate) mod settings;
pub(crate) mod text;
pub(crate) mod trigger;
