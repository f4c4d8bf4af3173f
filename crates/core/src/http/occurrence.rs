//! How a receiver recognises an occurrence: `Idempotency-Key` and `traceparent`.
//!
//! Owns one invariant: both follow from the occurrence alone, so that every attempt, on whichever
//! server after a failover, carries the same key and belongs to the same trace; attempts differ in
//! the span only.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::time::{JobId, Timestamp};

/// One occurrence of one job, distinguishable from those of every other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The server's system identifier, the same on a standby that takes over.
    pub system: u64,
    /// The database that has the job, by oid.
    pub database: u32,
    /// The job.
    pub job: JobId,
    /// The nominal instant.
    pub scheduled_for: Timestamp,
}

impl Occurrence {
    /// The value of `Idempotency-Key`: a UUID of version 8.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let [high, low] = self.digest(b"pg_tock idempotency key", 0);
        let high = high & !0xf000 | 0x8000;
        let low = low & !(0b11 << 62) | 0b10 << 62;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// The value of `traceparent` (W3C Trace Context, version 00, sampled).
    #[must_use]
    pub fn traceparent(&self, attempt: u32) -> String {
        let [high, low] = self.digest(b"pg_tock trace", 0);
        let [span, _] = self.digest(b"pg_tock span", attempt);
        let mut text = String::with_capacity(55);
        // Neither number may be zero; writing to a String cannot fail.
        let _ = write!(text, "00-{high:016x}{:016x}-{:016x}-01", low.max(1), span.max(1));
        text
    }

    fn digest(&self, purpose: &[u8], attempt: u32) -> [u64; 2] {
        let hash = Sha256::new()
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(self.system.to_be_bytes())
            .chain_update(self.database.to_be_bytes())
            .chain_update(self.job.0.to_be_bytes())
            .chain_update(self.scheduled_for.0.to_be_bytes())
            .chain_update(attempt.to_be_bytes())
            .finalize();
        let mut words = hash
            .chunks_exact(8)
            .map(|word| word.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)));
        [words.next().unwrap_or(1), words.next().unwrap_or(1)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Occurrence = Occurrence {
        system: 7_400_000_000_000_000_001,
        database: 5,
        job: JobId(42),
        scheduled_for: Timestamp(1_700_000_000_000_000),
    };

    #[test]
    fn both_are_fixed_for_ever() {
        // A release that changed these would make receivers see retries as new requests.
        assert_eq!(ONE.idempotency_key(), "d253d948-297e-8b38-9250-fbb332ed9a9c");
        assert_eq!(ONE.traceparent(1), "00-3c572066a998f9a052cbc146560c36d0-17bbdc9b7b824655-01");
    }

    #[test]
    fn attempts_share_the_trace_but_not_the_span() {
        let (first, second) = (ONE.traceparent(1), ONE.traceparent(2));
        assert_eq!(first[..35], second[..35]);
        assert_ne!(first, second);
    }

    #[test]
    fn every_part_matters() {
        let others = [
            Occurrence { system: 1, ..ONE },
            Occurrence { database: 6, ..ONE },
            Occurrence { job: JobId(43), ..ONE },
            Occurrence { scheduled_for: Timestamp(0), ..ONE },
        ];
        for other in others {
            assert_ne!(other.idempotency_key(), ONE.idempotency_key());
            assert_ne!(other.traceparent(1)[..35], ONE.traceparent(1)[..35]);
        }
    }

    proptest! {
        #[test]
        fn the_forms_are_right(system: u64, database: u32, job: i64, at: i64, attempt: u32) {
            let one = Occurrence { system, database, job: JobId(job), scheduled_for: Timestamp(at) };
            let key = one.idempotency_key();
            prop_assert_eq!(key.len(), 36);
            prop_assert_eq!(key.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            prop_assert_eq!(&key[14..15], "8");
            prop_assert!("89ab".contains(&key[19..20]));
            let trace = one.traceparent(attempt);
            prop_assert_eq!(trace.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
        }
    }
}
