//! The keys that secrets are encrypted with.

use std::path::PathBuf;

use pg_tock_http::cipher::{KeyError, Keyring};

use crate::guc;

/// The keys of `cron.secret_key_file`, read now; none if there is no such file.
pub(crate) fn load() -> Result<Keyring, KeyError> {
    let path = guc::secrets::key_file();
    if path.is_empty() { Ok(Keyring::default()) } else { Keyring::load(&PathBuf::from(path)) }
}
