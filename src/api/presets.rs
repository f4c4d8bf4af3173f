//! The option `settings`: what SET would say to each of them, before the job runs.
//!
//! Owns the rule: as the job's role, and only what a session can be given. The value of a setting that no
//! library here knows is checked when the job runs.

use std::ffi::CString;

use pg_tock_core::options::{Document, setting_text};
use pg_tock_core::quote::excerpt;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use serde_json::Value as Json;

use crate::error::Error;
use crate::pg::identity::{as_role, is_superuser};
use crate::pg::json::to_server;

/// Refuses what the role could not set in a session of its own.
pub(super) fn check(options: &Document, role: pg_sys::Oid) -> Result<(), Error> {
    let Some(settings) = options.get("settings").and_then(Json::as_object) else { return Ok(()) };
    for (name, value) in settings {
        let text = |text: &str| CString::new(to_server(text)).unwrap_or_default();
        let value = setting_text(value).unwrap_or_default();
        let (raw_name, raw_value) = (text(name), text(&value));
        as_role(role, || would_set(&raw_name, &raw_value))
            .map_err(|refused| refused.error(name))?;
    }
    Ok(())
}

/// Why a setting is refused, in the server's words.
struct Refused {
    sqlstate: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Refused {
    fn error(self, name: &str) -> Error {
        use PgSqlErrorCode::{
            ERRCODE_CANT_CHANGE_RUNTIME_PARAM, ERRCODE_INSUFFICIENT_PRIVILEGE,
            ERRCODE_UNDEFINED_OBJECT,
        };
        let hint = match self.sqlstate {
            ERRCODE_UNDEFINED_OBJECT => {
                "Take it out; a setting of your own has a name of two parts, such as app.tenant."
                    .to_owned()
            }
            ERRCODE_CANT_CHANGE_RUNTIME_PARAM => {
                "Take it out; a job can set what SET can change in a session.".to_owned()
            }
            ERRCODE_INSUFFICIENT_PRIVILEGE => format!(
                "Take it out, or have a superuser GRANT SET ON PARAMETER {} to the job's role.",
                excerpt(name)
            ),
            _ => self.hint.unwrap_or_default(),
        };
        Error::Setting {
            name: name.to_owned(),
            problem: self.message,
            sqlstate: self.sqlstate,
            detail: self.detail,
            hint,
        }
    }
}

/// Has the server check the setting as for ALTER ROLE … SET: nothing is set, and what may be there by the
/// time it is used draws a notice at most.
fn would_set(name: &CString, value: &CString) -> Result<(), Refused> {
    use pg_sys::{GucAction, GucContext, GucSource};
    let context = if is_superuser() { GucContext::PGC_SUSET } else { GucContext::PGC_USERSET };
    PgTryBuilder::new(core::panic::AssertUnwindSafe(|| {
        // SAFETY: C strings; an ERROR unwinds.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                context,
                GucSource::PGC_S_TEST,
                GucAction::GUC_ACTION_SET,
                false,
                0,
                false,
            );
        }
        Ok(())
    }))
    .catch_others(|caught| {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. }) = &caught;
        Err(Refused {
            sqlstate: report.sql_error_code(),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
        })
    })
    .execute()
}
