//! What a run uses of the server, and how its row says so.
//!
//! Owns two invariants: what our own writing of rows takes is not the run's; and a run costs two
//! readings of the CPU clock for it, and no parsing of JSON or of numbers.

use core::mem::MaybeUninit;

use pg_tock_core::stats::shown::{Decimals, Numeric};
use pg_tock_core::usage::{Figure, Usage};
use pgrx::pg_sys::{self, Datum, JsonbPair, JsonbValue, jbvType};

use crate::pg::numeric::Value;
use crate::pg::raw;

/// Bytes of a block.
const BLOCK: i64 = pg_sys::BLCKSZ as i64;

/// What this process has used so far. Parallel workers are in it once they have ended, but for their CPU
/// time.
pub(super) fn so_far() -> Usage {
    // SAFETY: plain reads of this process's own counters.
    let (wal, buffers) = unsafe { (pg_sys::pgWalUsage, pg_sys::pgBufferUsage) };
    Usage {
        wal_bytes: wal.wal_bytes.cast_signed(),
        wal_records: wal.wal_records,
        shared_hit: buffers.shared_blks_hit,
        shared_read: buffers.shared_blks_read,
        shared_dirtied: buffers.shared_blks_dirtied,
        shared_written: buffers.shared_blks_written,
        temp_bytes: buffers.temp_blks_written.saturating_mul(BLOCK),
        cpu_us: cpu(),
        rows: 0,
    }
}

/// CPU time of this process, user and system, in microseconds.
fn cpu() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the local.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// The figures as a jsonb; None if there are none.
///
/// # Safety
/// Inside [`trap::catch`](crate::pg::trap::catch); allocated in the current context.
pub(super) unsafe fn datum(usage: &Usage, row_count: Option<i64>) -> Option<Datum> {
    let mut numbers = [const { MaybeUninit::<Value>::uninit() }; Usage::FIELDS];
    let mut pairs = [const { MaybeUninit::<JsonbPair>::uninit() }; Usage::FIELDS];
    let mut count = 0;
    let places = numbers.iter_mut().zip(&mut pairs);
    for ((key, figure), (number, pair)) in usage.figures(row_count).zip(places) {
        let numeric = match figure {
            Figure::Whole(figure) => Numeric::new(figure, Decimals::None),
            Figure::Thousandths(figure) => Numeric::new(figure, Decimals::Three),
        };
        pair.write(pair_of(key, number.write(Value::new(&numeric))));
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let object = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_3 {
        nPairs: count,
        pairs: pairs.as_mut_ptr().cast(),
    };
    let mut object =
        JsonbValue { type_: jbvType::jbvObject, val: pg_sys::JsonbValue__bindgen_ty_1 { object } };
    // SAFETY: an object of `count` pairs, in the order in which jsonb keeps keys, each once. It copies the numbers,
    // which stand here until then.
    Some(Datum::from(unsafe { raw::JsonbValueToJsonb(&raw mut object) }))
}

/// The pair refers to the number.
fn pair_of(key: &'static str, number: &mut Value) -> JsonbPair {
    let string = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_1 {
        len: i32::try_from(key.len()).unwrap_or(0),
        val: key.as_ptr().cast_mut().cast(), // it is only read
    };
    JsonbPair {
        key: JsonbValue {
            type_: jbvType::jbvString,
            val: pg_sys::JsonbValue__bindgen_ty_1 { string },
        },
        value: JsonbValue {
            type_: jbvType::jbvNumeric,
            val: pg_sys::JsonbValue__bindgen_ty_1 { numeric: number.as_numeric() },
        },
        order: 0,
    }
}
