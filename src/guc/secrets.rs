//! Where the keys of secrets are.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static SECRET_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Defines the setting; once, from `_PG_init` in the postmaster.
pub(super) fn init() {
    GucRegistry::define_string_guc(
        c"cron.secret_key_file",
        c"File with the keys that secrets are encrypted with.",
        c"A line for each key: a name, a blank, 32 bytes in base64. The first key encrypts, all of them decrypt. Only the server's user may have access to the file. When empty, secrets are stored as they are.",
        &SECRET_KEY_FILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
}

/// The file; empty if there is none.
pub(crate) fn key_file() -> String {
    super::text(&SECRET_KEY_FILE)
}
