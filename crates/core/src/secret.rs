//! A value that must not be seen: it is wiped when dropped and never printed.
//!
//! Owns one invariant: no trait of [`Secret`] shows the value; it is reached through
//! [`Secret::expose`] alone, which is easy to search for.

use std::fmt;

use zeroize::Zeroize;

/// The longest name of a secret, in bytes (a Postgres identifier's length).
pub const MAX_NAME: usize = 63;

/// The longest value of a secret, in bytes.
pub const MAX_VALUE: usize = 16_384;

/// The value of a secret, or a text that contains one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the value over.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Why a name or a value cannot be that of a secret. Never contains the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The name is empty, too long, or has a character that cannot stand in `{{secret:name}}`.
    #[error("invalid name of a secret")]
    Name,
    /// The value is empty.
    #[error("a secret cannot be empty")]
    Empty,
    /// The value is longer than [`MAX_VALUE`].
    #[error("a secret cannot be longer than {MAX_VALUE} bytes")]
    TooLong,
}

impl SecretError {
    /// A sentence that says what to write instead.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Name => {
                "Use at most 63 letters, digits, underscores, hyphens, dots and slashes of ASCII."
            }
            Self::Empty => "To take a secret away, call cron.drop_secret.",
            Self::TooLong => "Keep large values elsewhere, and a key to them here.",
        }
    }
}

/// Whether `name` can stand between `{{secret:` and `}}`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// Checks what `cron.set_secret` was given.
///
/// # Errors
/// What is wrong with the name or the value.
pub fn check(name: &str, value: &str) -> Result<(), SecretError> {
    match value.len() {
        _ if !is_name(name) => Err(SecretError::Name),
        0 => Err(SecretError::Empty),
        len if len > MAX_VALUE => Err(SecretError::TooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_not_printed() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn names_and_values_are_checked() {
        assert_eq!(check("stripe/live-key_1.v2", "x"), Ok(()));
        for name in ["", "a b", "a}", "a:b", "é", &"n".repeat(64)] {
            assert_eq!(check(name, "x"), Err(SecretError::Name), "{name}");
        }
        assert_eq!(check("a", ""), Err(SecretError::Empty));
        assert_eq!(check("a", &"v".repeat(MAX_VALUE)), Ok(()));
        assert_eq!(check("a", &"v".repeat(MAX_VALUE + 1)), Err(SecretError::TooLong));
    }
}
