//! Values of secrets at rest: sealed with a key from `cron.secret_key_file`.
//!
//! Owns these invariants: a sealed value opens only under the name it was sealed for, unchanged,
//! and with the key it was sealed with; every sealing uses a nonce of its own; without a key file a
//! value is stored as it is, and says so. No error contains a value or a key.
//!
//! The key file has one key in each line: a name, white space, 32 bytes in base64. The first key
//! seals, all of them open. To rotate, put a new line in front, reload, call
//! `cron.rotate_secrets()`, then take the old line away. A line that begins with `#` is a comment.
//!
//! ```text
//! # printf '2026-11 %s\n' "$(openssl rand -base64 32)"
//! 2026-11 q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pg_tock_core::secret::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::{Zeroize as _, Zeroizing};

/// The first byte of a value that is stored as it is.
const PLAIN: u8 = 0;
/// The first byte of a value sealed with AES-256-GCM: then come the length of the key's name, the
/// name, the nonce, the ciphertext and its tag.
const AES: u8 = 1;

/// The longest name of a key, in bytes.
const MAX_KEY_NAME: usize = 32;

/// The longest key file that is read, in bytes.
const MAX_FILE: u64 = 65_536;

/// Bound into every sealed value, so that it opens for nothing else.
const PURPOSE: &[u8] = b"pg_tock secret\0";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("could not read key file \"{}\": {}", path.display(), error.kind())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Others than its owner can read or write the file.
    #[error("key file \"{}\" has group or world access", .0.display())]
    Access(PathBuf),
    /// A line is neither a key nor a comment; counted from 1.
    #[error("line {0} of the key file is not a name and 32 bytes in base64")]
    Line(usize),
    /// Two keys have this name.
    #[error("key \"{0}\" is in the key file twice")]
    Twice(String),
    /// There is no key in the file.
    #[error("the key file contains no key")]
    Empty,
}

/// Why a value cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// These bytes were not made here.
    #[error("stored value of the secret is damaged")]
    Damaged,
    /// The key it was sealed with is not in the key file.
    #[error("secret is encrypted with key \"{0}\", which is not in the key file")]
    KeyMissing(String),
    /// It was changed, moved to another name, or sealed with another key of the same name.
    #[error("stored value of the secret is not authentic")]
    NotAuthentic,
    /// The system has no random numbers, or the value is too long to be sealed.
    #[error("could not encrypt the secret")]
    Seal,
}

struct Key {
    name: String,
    key: LessSafeKey,
}

/// The keys of the server; none if there is no key file.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.name)).finish()
    }
}

impl Keyring {
    /// Reads `cron.secret_key_file`.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that is not a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Read { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        // As the server has it for ssl_key_file: root may let a group read it.
        let forbidden = if status.uid() == 0 { 0o027 } else { 0o077 };
        if status.mode() & forbidden != 0 {
            return Err(KeyError::Access(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text)
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// A line that is not a key, or no key at all.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = key(line).ok_or(KeyError::Line(number))?;
            if keys.iter().any(|known| known.name == key.name) {
                return Err(KeyError::Twice(key.name));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self { keys }) }
    }

    /// What to store for the secret `name`: sealed with the first key, or as it is without one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn seal(&self, name: &str, value: &Secret) -> Result<Vec<u8>, CipherError> {
        let value = value.expose().as_bytes();
        let Some(key) = self.keys.first() else {
            return Ok([&[PLAIN], value].concat());
        };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CipherError::Seal)?;
        let length = u8::try_from(key.name.len()).map_err(|_| CipherError::Seal)?;
        let mut stored = vec![AES, length];
        stored.extend_from_slice(key.name.as_bytes());
        stored.extend_from_slice(&nonce);
        // One allocation with room for the tag, so that no copy of the value is left behind.
        let mut sealed = Vec::with_capacity(value.len() + MAX_TAG_LEN);
        sealed.extend_from_slice(value);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let outcome = key.key.seal_in_place_append_tag(nonce, bound_to(name), &mut sealed);
        if outcome.is_err() {
            sealed.zeroize();
            return Err(CipherError::Seal);
        }
        stored.append(&mut sealed);
        Ok(stored)
    }

    /// The value of the secret `name` from what is stored.
    ///
    /// # Errors
    /// Anything but what [`Keyring::seal`] gave back for this name with a key of this ring.
    pub fn open(&self, name: &str, stored: &[u8]) -> Result<Secret, CipherError> {
        let mut opened = match stored.split_first() {
            Some((&PLAIN, value)) => Zeroizing::new(value.to_vec()),
            Some((&AES, rest)) => self.open_aes(name, rest)?,
            _ => return Err(CipherError::Damaged),
        };
        let bytes = std::mem::take(&mut *opened);
        String::from_utf8(bytes).map(Secret::new).map_err(|error| {
            error.into_bytes().zeroize();
            CipherError::Damaged
        })
    }

    fn open_aes(&self, name: &str, rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let (key, nonce, sealed) = parts(rest).ok_or(CipherError::Damaged)?;
        let missing = || CipherError::KeyMissing(key.to_owned());
        let key = self.keys.iter().find(|known| known.name == key).ok_or_else(missing)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.key.open_in_place(nonce, bound_to(name), &mut bytes);
        let length = opened.map_err(|_| CipherError::NotAuthentic)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether `cron.rotate_secrets` has to store this value anew.
    #[must_use]
    pub fn is_stale(&self, stored: &[u8]) -> bool {
        let sealed_with = match stored.split_first() {
            Some((&AES, rest)) => parts(rest).map(|(key, _, _)| key),
            _ => None,
        };
        sealed_with != self.keys.first().map(|key| key.name.as_str())
    }
}

/// The name of the key, the nonce and what is sealed.
fn parts(rest: &[u8]) -> Option<(&str, &[u8; NONCE_LEN], &[u8])> {
    let (&length, rest) = rest.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(length))?;
    let (nonce, sealed) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(key).ok()?, nonce, sealed))
}

fn bound_to(name: &str) -> Aad<Vec<u8>> {
    Aad::from([PURPOSE, name.as_bytes()].concat())
}

fn key(line: &str) -> Option<Key> {
    let (name, encoded) = line.split_once(char::is_whitespace)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.len() > MAX_KEY_NAME || !name.bytes().all(allowed) {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
    Some(Key { name: name.to_owned(), key: LessSafeKey::new(key) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn line(name: &str, fill: u8) -> String {
        format!("{name} {}\n", STANDARD.encode([fill; 32]))
    }

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    fn secret(value: &str) -> Secret {
        Secret::new(value.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let ring = ring(&line("k1", 1));
        for value in ["x", "hunter2", "grün 😀", &"v".repeat(16_384)] {
            let stored = ring.seal("token", &secret(value)).unwrap();
            assert_eq!(ring.open("token", &stored).unwrap(), secret(value));
            assert!(value.len() < 2 || !stored.windows(value.len()).any(|w| w == value.as_bytes()));
        }
        let twice = [ring.seal("t", &secret("v")).unwrap(), ring.seal("t", &secret("v")).unwrap()];
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn changed_moved_and_cut_values_do_not_open() {
        let ring = ring(&line("k1", 1));
        let stored = ring.seal("token", &secret("hunter2")).unwrap();
        assert_eq!(ring.open("other", &stored), Err(CipherError::NotAuthentic));
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 0x40;
            assert!(ring.open("token", &changed).is_err(), "byte {at}");
            assert!(ring.open("token", &stored[..at]).is_err(), "cut at {at}");
        }
        let another = self::ring(&line("k1", 2));
        assert_eq!(another.open("token", &stored), Err(CipherError::NotAuthentic));
    }

    #[test]
    fn keys_are_rotated() {
        let old = ring(&line("old", 1));
        let both = ring(&format!("# rotated\n\n{}{}", line("new", 2), line("old", 1)));
        let new = ring(&line("new", 2));
        let stored = old.seal("token", &secret("v")).unwrap();
        assert!(!old.is_stale(&stored) && both.is_stale(&stored));
        let again = both.seal("token", &both.open("token", &stored).unwrap()).unwrap();
        assert!(!both.is_stale(&again));
        assert_eq!(new.open("token", &again).unwrap(), secret("v"));
        assert_eq!(new.open("token", &stored), Err(CipherError::KeyMissing("old".to_owned())));
    }

    #[test]
    fn without_a_key_values_are_stored_as_they_are() {
        let none = Keyring::default();
        let stored = none.seal("token", &secret("v")).unwrap();
        assert_eq!(stored, b"\0v");
        assert_eq!(none.open("token", &stored).unwrap(), secret("v"));
        assert!(!none.is_stale(&stored));
        let some = ring(&line("k1", 1));
        assert_eq!(some.open("token", &stored).unwrap(), secret("v"));
        assert!(some.is_stale(&stored));
        assert!(none.is_stale(&some.seal("token", &secret("v")).unwrap()));
        for damaged in [&b""[..], b"\x02abc", b"\x00\xff", b"\x01", b"\x01\xff", b"\x01\x02k1"] {
            assert_eq!(some.open("token", damaged), Err(CipherError::Damaged), "{damaged:?}");
        }
    }

    #[test]
    fn key_files_are_checked() {
        for (text, problem) in [
            ("", "the key file contains no key"),
            ("# none\n", "the key file contains no key"),
            ("k1 c2hvcnQ=", "line 1 of the key file is not a name and 32 bytes in base64"),
            ("\nk1", "line 2 of the key file is not a name and 32 bytes in base64"),
            (
                "k/1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "line 1 of the key file is not a name and 32 bytes in base64",
            ),
        ] {
            assert_eq!(Keyring::parse(text).unwrap_err().to_string(), problem, "{text}");
        }
        let twice = format!("{}{}", line("k1", 1), line("k1", 2));
        assert_eq!(
            Keyring::parse(&twice).unwrap_err().to_string(),
            "key \"k1\" is in the key file twice"
        );
        assert_eq!(format!("{:?}", ring(&line("k1", 1))), "[\"k1\"]");
    }

    #[test]
    fn key_files_that_others_can_read_are_refused() {
        let path = std::env::temp_dir().join(format!("pg_tock_keys_{}", std::process::id()));
        std::fs::write(&path, line("k1", 1)).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Keyring::load(&path)
        };
        assert!(with(0o600).is_ok());
        assert!(matches!(with(0o604), Err(KeyError::Access(_))));
        assert!(matches!(with(0o620), Err(KeyError::Access(_))));
        std::fs::remove_file(&path).unwrap();
        let gone = Keyring::load(&path).unwrap_err().to_string();
        assert_eq!(
            gone,
            format!("could not read key file \"{}\": entity not found", path.display())
        );
    }
}
