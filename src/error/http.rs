//! The errors of HTTP jobs and secrets, with their SQLSTATEs. None of them has a value.

use pg_tock_core::http::Refused;
use pg_tock_core::quote::excerpt;
use pg_tock_core::secret::SecretError;
use pg_tock_http::cipher::{CipherError, KeyError};
use pgrx::prelude::*;

/// What is wrong with a request or a secret. `Display` is the primary message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// A request that cannot be sent.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The caller may not have HTTP jobs.
    #[error("permission denied to call URLs in jobs")]
    Denied,
    /// A part of a request for a job that runs SQL.
    #[error("option \"{0}\" is for HTTP jobs")]
    NotHttp(&'static str),
    /// A part of a request, and no URL.
    #[error("option \"url\" must have a value in an HTTP job")]
    NoUrl,
    /// A command of its own for an HTTP job.
    #[error("an HTTP job has no command of its own")]
    Command,
    /// A name or value that no secret can have.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// The value of a secret is no text.
    #[error("the value of the secret is not valid in the encoding of the database")]
    Encoding,
    /// No secret of this name.
    #[error("secret \"{}\" does not exist", excerpt(.0))]
    NoSuchSecret(String),
    /// Somebody else's secret.
    #[error("must be owner of secret \"{}\"", excerpt(.0))]
    NotSecretOwner(String),
    /// A secret that jobs of this role may not use.
    #[error("permission denied for secret \"{}\"", excerpt(.name))]
    SecretDenied { name: String, role: String },
    /// Jobs name the secret; `jobs` is a sentence that lists them.
    #[error("cannot drop secret \"{}\" because jobs use it", excerpt(.name))]
    SecretUsed { name: String, jobs: String },
    /// The keys of secrets cannot be had.
    #[error("{0}")]
    Keys(#[from] KeyError),
    /// A value cannot be encrypted.
    #[error("{0}")]
    Cipher(#[from] CipherError),
    /// The stored value of a secret cannot be read.
    #[error("secret \"{name}\": {error}")]
    Stored { name: String, error: CipherError },
    /// Somebody else than a superuser.
    #[error("must be superuser to rotate secrets")]
    Rotate,
}

impl HttpError {
    pub(super) const fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Refused(_)
            | Self::NotHttp(_)
            | Self::NoUrl
            | Self::Command
            | Self::Secret(_)
            | Self::Cipher(CipherError::KeyMissing(_))
            | Self::Stored { error: CipherError::KeyMissing(_), .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::Denied | Self::NotSecretOwner(_) | Self::SecretDenied { .. } | Self::Rotate => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::NoSuchSecret(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::SecretUsed { .. } => PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Self::Encoding => PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            Self::Keys(_) => PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            Self::Cipher(CipherError::Seal) | Self::Stored { error: CipherError::Seal, .. } => {
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
            }
            Self::Cipher(_) | Self::Stored { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        }
    }

    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Denied => Some("It takes EXECUTE on function cron.create_http_job.".to_owned()),
            Self::SecretUsed { jobs, .. } => Some(jobs.clone()),
            Self::SecretDenied { role, .. } => Some(format!(
                "Role \"{}\" is neither its owner nor was it granted the secret.",
                excerpt(role)
            )),
            _ => None,
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(refused) => refused.hint(),
            Self::Denied => "A superuser can grant it.",
            Self::NotHttp(_) => "Create the job anew with cron.create_http_job.",
            Self::NoUrl => "Without one, the job runs SQL and takes none of the other options.",
            Self::Command => "Change url, method, headers or body; command follows from them.",
            Self::Secret(error) => error.hint(),
            Self::NoSuchSecret(_) => {
                "Set it with COPY cron.secret_input FROM STDIN; view cron.secrets lists those there are."
            }
            Self::SecretDenied { .. } => "Its owner can grant it with cron.grant_secret.",
            Self::SecretUsed { .. } => {
                "Give it another value, or change the jobs with cron.set_job first."
            }
            Self::Keys(_) => "Setting cron.secret_key_file says which file it is.",
            Self::Stored { error: CipherError::KeyMissing(_), .. } => {
                "Put the key back into the file that cron.secret_key_file names."
            }
            Self::Stored { .. } => "Set the secret anew.",
            Self::Cipher(_) | Self::NotSecretOwner(_) | Self::Encoding | Self::Rotate => {
                return None;
            }
        })
    }
}
