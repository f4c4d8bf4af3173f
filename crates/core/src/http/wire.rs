//! What the scheduler and the HTTP worker say to each other, as bytes.
//!
//! Owns one invariant: whatever `encode` accepts `decode` gives back unchanged, and `decode` takes
//! nothing else. The form is a tag byte and JSON: both ends are the same library, so there is no
//! version negotiation. Secrets travel as they are stored; only the HTTP worker opens them.

use serde::{Deserialize, Serialize};

use crate::run::{Guarantee, Outcome};

const ORDER_TAG: u8 = b'h';
const REPORT_TAG: u8 = b'a';

/// Why bytes are no message, or a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpWireError {
    /// The first byte belongs to no message, or to the other one.
    #[error("message has no or another tag")]
    Tag,
    /// The rest is not the message; the text says where, and shows nothing of it.
    #[error("message is malformed at byte {0}")]
    Malformed(usize),
}

/// One HTTP run handed to the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpOrder {
    /// The run's slot in shared memory.
    pub slot: u32,
    /// The run's key in the ledger.
    pub run: i64,
    /// The job it belongs to.
    pub job: i64,
    /// The job's name; empty if it has none.
    pub job_name: String,
    /// The server's system identifier.
    pub system: u64,
    /// The database that has the job, by oid.
    pub database: u32,
    /// The occurrence's nominal instant, in microseconds since 1970.
    pub scheduled_for: i64,
    /// 1 for the first attempt at the occurrence.
    pub attempt: u32,
    /// Whether the occurrence may be tried again: then the guarantee is `at_least_once`.
    pub retries: bool,
    /// Whether runs of the job share its lock (`on_overlap = 'allow'`).
    pub shares_lock: bool,
    /// WAL position that must be on disk before anything is sent: that of the claim.
    pub flush_lsn: u64,
    /// As `cron.create_http_job` got it.
    pub method: String,
    /// With placeholders.
    pub url: String,
    /// An object of texts, with placeholders.
    pub headers: serde_json::Value,
    /// With placeholders.
    pub body: Option<String>,
    /// As in `200-299,404`.
    pub expect_status: String,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// The alert that the job handles, as JSON.
    pub alert: Option<String>,
    /// Those secrets of the request that the owner may use, by name, as stored.
    pub secrets: Vec<SealedSecret>,
    /// How long the request may take, in microseconds.
    pub timeout: u64,
    /// How long it may wait for its turn, in microseconds.
    pub max_wait: u64,
    /// The longest wait that a `Retry-After` may ask for, in microseconds.
    pub retry_max_delay: u64,
    /// Nothing is to be sent: the report says what would be, and where to (`cron.dry_run`).
    pub dry: bool,
}

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Its name.
    pub name: String,
    /// The bytes of the table; not the value unless there is no key file.
    #[serde(with = "in_base64")]
    pub stored: Vec<u8>,
}

/// How an HTTP run ended. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpReport {
    /// The run's key in the ledger.
    pub run: i64,
    /// The job it belongs to.
    pub job: i64,
    /// Nothing was sent, because somebody held the job: how many holds had ended by then.
    pub held: Option<u64>,
    /// How it ended.
    #[serde(with = "outcome")]
    pub outcome: Outcome,
    /// What the outcome is worth.
    #[serde(with = "guarantee")]
    pub guarantee: Guarantee,
    /// Whether `retry_on = 'transient'` tries again.
    pub transient: bool,
    /// `return_message` of the ledger.
    pub message: String,
    /// The SQLSTATE of a run that got no complete response.
    pub sqlstate: Option<String>,
    /// The response's code.
    pub http_status: Option<u16>,
    /// The beginning of the response's body.
    pub response: Option<String>,
    /// Headers, times and circumstances, a JSON object.
    pub details: serde_json::Value,
    /// How long the server wants us to wait before the next attempt, in microseconds.
    pub retry_after: Option<u64>,
    /// When the worker took it, in microseconds since 1970.
    pub started_at: i64,
    /// When it was over.
    pub ended_at: i64,
}

impl HttpOrder {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(ORDER_TAG, self)
    }

    /// Reads a message written by [`HttpOrder::encode`].
    ///
    /// # Errors
    /// Bytes that are not exactly one order.
    pub fn decode(bytes: &[u8]) -> Result<Self, HttpWireError> {
        decode(ORDER_TAG, bytes)
    }
}

impl HttpReport {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(REPORT_TAG, self)
    }

    /// Reads a message written by [`HttpReport::encode`].
    ///
    /// # Errors
    /// Bytes that are not exactly one report.
    pub fn decode(bytes: &[u8]) -> Result<Self, HttpWireError> {
        decode(REPORT_TAG, bytes)
    }
}

fn encode(tag: u8, message: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![tag];
    // It fails for maps whose keys are no texts, and there is none; what would be written then is
    // refused by `decode`.
    let _ = serde_json::to_writer(&mut bytes, message);
    bytes
}

fn decode<'a, T: Deserialize<'a>>(tag: u8, bytes: &'a [u8]) -> Result<T, HttpWireError> {
    match bytes.split_first() {
        Some((found, json)) if *found == tag => {
            serde_json::from_slice(json).map_err(|error| HttpWireError::Malformed(error.column()))
        }
        _ => Err(HttpWireError::Tag),
    }
}

mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))
    }
}

macro_rules! as_word {
    ($module:ident, $type:ty) => {
        mod $module {
            use serde::de::Error as _;
            use serde::{Deserialize as _, Deserializer, Serializer};

            pub(super) fn serialize<S: Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                to.serialize_str(value.as_str())
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                let text = String::deserialize(from)?;
                <$type>::parse(&text).ok_or_else(|| D::Error::custom("unknown word"))
            }
        }
    };
}

as_word!(outcome, super::Outcome);
as_word!(guarantee, super::Guarantee);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn report(outcome: Outcome, message: String, status: Option<u16>) -> HttpReport {
        HttpReport {
            run: 7,
            job: 3,
            held: status.map(u64::from),
            outcome,
            guarantee: Guarantee::AtMostOnce,
            transient: true,
            message,
            sqlstate: Some("08001".to_owned()),
            http_status: status,
            response: None,
            details: json!({"sent": false}),
            retry_after: Some(u64::MAX),
            started_at: i64::MIN,
            ended_at: 2,
        }
    }

    fn order(text: String, stored: Vec<u8>, number: i64) -> HttpOrder {
        HttpOrder {
            slot: 4,
            run: number,
            job: 3,
            job_name: text.clone(),
            system: u64::MAX,
            database: 5,
            scheduled_for: i64::MIN,
            attempt: 1,
            retries: true,
            shares_lock: false,
            flush_lsn: u64::MAX,
            method: "POST".to_owned(),
            url: "https://h/".to_owned(),
            headers: json!({"a": text}),
            body: Some(text),
            expect_status: "200-299".to_owned(),
            follow_redirects: false,
            alert: None,
            secrets: vec![SealedSecret { name: "key".to_owned(), stored }],
            timeout: u64::MAX,
            max_wait: 0,
            retry_max_delay: 1,
            dry: false,
        }
    }

    #[test]
    fn confused_cut_and_lengthened_messages_are_errors() {
        let bytes = order("x".to_owned(), vec![0, 255], 1).encode();
        assert_eq!(HttpReport::decode(&bytes), Err(HttpWireError::Tag));
        assert_eq!(HttpOrder::decode(&[]), Err(HttpWireError::Tag));
        for end in 1..bytes.len() {
            assert!(matches!(HttpOrder::decode(&bytes[..end]), Err(HttpWireError::Malformed(_))));
        }
        let longer = [bytes.as_slice(), b"{}"].concat();
        assert!(HttpOrder::decode(&longer).is_err());
    }

    proptest! {
        #[test]
        fn messages_come_back_unchanged(text in any::<String>(), stored: Vec<u8>, number: i64,
                                        code in 0u8..5, status: Option<u16>) {
            let order = order(text.clone(), stored, number);
            prop_assert_eq!(HttpOrder::decode(&order.encode()).unwrap(), order);
            let report = report(Outcome::from_u8(code).unwrap(), text, status);
            prop_assert_eq!(HttpReport::decode(&report.encode()).unwrap(), report);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = HttpOrder::decode(&bytes);
            let _ = HttpReport::decode(&bytes);
        }
    }
}
