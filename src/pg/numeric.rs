//! Figures as numerics with few decimals, for views that show ten of them for each of many rows.
//!
//! `round(figure::numeric, 3)` writes a figure as text, reads that, and rounds what it has read. These
//! functions answer the same, to the last digit, without text: the core says what to show, and where it
//! cannot tell, Postgres's own functions do.
//!
//! They run as C would, without pgrx's guards: their frames own nothing with a destructor, and allocate.

use core::mem::size_of_val;

use pg_tock_core::stats::shown::{
    Decimals, Numeric, hundredths_of_percent, thousandths, thousandths_of_real,
};
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, InvalidOid, NullableDatum, Pg_finfo_record};

use super::raw;

/// What Postgres asks a function's `pg_finfo_…` for.
static VERSION_1: Pg_finfo_record = Pg_finfo_record { api_version: 1 };

macro_rules! functions {
    ($($info:ident, $function:ident => $answer:ident;)*) => {$(
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        extern "C" fn $info() -> &'static Pg_finfo_record {
            &VERSION_1
        }

        #[doc(hidden)]
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $function(call: FunctionCallInfo) -> Datum {
            // SAFETY: Postgres calls it as it is declared: with these arguments, none of them NULL.
            unsafe { $answer(call) }
        }
    )*};
}

functions! {
    pg_finfo_cron_shown_ms_wrapper, cron_shown_ms_wrapper => shown_ms;
    pg_finfo_cron_shown_real_ms_wrapper, cron_shown_real_ms_wrapper => shown_real_ms;
    pg_finfo_cron_shown_mean_ms_wrapper, cron_shown_mean_ms_wrapper => shown_mean_ms;
    pg_finfo_cron_shown_percent_wrapper, cron_shown_percent_wrapper => shown_percent;
}

/// An argument, which is not NULL.
///
/// # Safety
/// The function has so many.
unsafe fn argument(call: FunctionCallInfo, place: usize) -> u64 {
    // SAFETY: as promised; they stand one after another behind the rest.
    unsafe { (*(&raw const (*call).args).cast::<NullableDatum>().add(place)).value.value() as u64 }
}

type Function = unsafe extern "C-unwind" fn(FunctionCallInfo) -> Datum;

/// Calls one of Postgres's functions.
///
/// # Safety
/// It takes such an argument, and does not answer NULL.
unsafe fn call_1(function: Function, argument: Datum) -> Datum {
    // SAFETY: as promised.
    unsafe { raw::DirectFunctionCall1Coll(function, InvalidOid, argument) }
}

/// As [`call_1`].
unsafe fn call_2(function: Function, first: Datum, second: Datum) -> Datum {
    // SAFETY: as promised.
    unsafe { raw::DirectFunctionCall2Coll(function, InvalidOid, first, second) }
}

/// Of a double precision.
unsafe fn shown_ms(call: FunctionCallInfo) -> Datum {
    // SAFETY: as declared.
    unsafe { of_double(f64::from_bits(argument(call, 0))) }
}

/// Of a real.
#[allow(clippy::cast_possible_truncation, reason = "a real is the lower half")]
unsafe fn shown_real_ms(call: FunctionCallInfo) -> Datum {
    // SAFETY: as declared; Postgres's functions are called with what they take.
    unsafe {
        let figure = argument(call, 0);
        match thousandths_of_real(f32::from_bits(figure as u32)) {
            Some(figure) => datum(&Numeric::new(figure, Decimals::Three)),
            None => {
                let numeric = call_1(raw::float4_numeric, Datum::from(figure));
                call_2(raw::numeric_round, numeric, Datum::from(3_i32))
            }
        }
    }
}

/// Of a double precision and how many bigint it is the sum of; NULL for none.
#[allow(clippy::cast_precision_loss, reason = "as Postgres does")]
unsafe fn shown_mean_ms(call: FunctionCallInfo) -> Datum {
    // SAFETY: as declared; Postgres's functions are called with what they take.
    unsafe {
        let (sum, count) = (argument(call, 0), argument(call, 1).cast_signed());
        if count == 0 {
            (*call).isnull = true;
            return Datum::null();
        }
        let mean = f64::from_bits(sum) / count as f64;
        if mean.is_normal() || sum == 0 {
            return of_double(mean);
        }
        // It may be an error.
        let count = Datum::from((count as f64).to_bits());
        of_double(f64::from_bits(call_2(raw::float8div, Datum::from(sum), count).value() as u64))
    }
}

/// Of how many bigint there are and how many that is of; NULL for none.
unsafe fn shown_percent(call: FunctionCallInfo) -> Datum {
    // SAFETY: as declared; Postgres's functions are called with what they take.
    unsafe {
        let (part, all) = (argument(call, 0), argument(call, 1));
        if all == 0 {
            (*call).isnull = true;
            return Datum::null();
        }
        if let Some(figure) = hundredths_of_percent(part.cast_signed(), all.cast_signed()) {
            return datum(&Numeric::new(figure, Decimals::Two));
        }
        let numeric = |number: u64| call_1(raw::int8_numeric, Datum::from(number));
        let hundred = call_2(raw::numeric_mul, numeric(100), numeric(part));
        let quotient = call_2(raw::numeric_div, hundred, numeric(all));
        call_2(raw::numeric_round, quotient, Datum::from(2_i32))
    }
}

/// # Safety
/// In a function that Postgres has called.
unsafe fn of_double(figure: f64) -> Datum {
    match thousandths(figure) {
        // SAFETY: as promised.
        Some(figure) => unsafe { datum(&Numeric::new(figure, Decimals::Three)) },
        // SAFETY: as promised; they are called with what they take.
        None => unsafe {
            let numeric = call_1(raw::float8_numeric, Datum::from(figure.to_bits()));
            call_2(raw::numeric_round, numeric, Datum::from(3_i32))
        },
    }
}

/// A numeric in the memory of the call.
///
/// # Safety
/// As above.
unsafe fn datum(numeric: &Numeric) -> Datum {
    const LENGTH: usize = size_of::<i32>();
    let (first, rest, used) = numeric.parts();
    let size = LENGTH + used * size_of::<u16>();
    // SAFETY: as much memory as is written: the length, as any value has it, and the words. Those that
    // are not used come behind the value.
    unsafe {
        let is_long = size > LENGTH + size_of_val(&first);
        let more = if is_long { size_of_val(&rest) } else { 0 };
        let value = raw::palloc(LENGTH + size_of_val(&first) + more);
        pgrx::varlena::set_varsize_4b(value.cast(), i32::try_from(size).unwrap_or_default());
        let words = value.cast::<u8>().add(LENGTH);
        words.cast::<u64>().write_unaligned(first);
        if is_long {
            words.add(size_of_val(&first)).cast::<[u16; 3]>().write_unaligned(rest);
        }
        Datum::from(value)
    }
}

/// A numeric that stands where it is kept, and not in memory of Postgres.
#[repr(C)]
pub(crate) struct Value {
    length: i32,
    first: [u8; size_of::<u64>()],
    rest: [u16; 3],
}

impl Value {
    pub(crate) fn new(numeric: &Numeric) -> Self {
        let (first, rest, used) = numeric.parts();
        let size = size_of::<i32>() + used * size_of::<u16>();
        let mut value = Self { length: 0, first: first.to_ne_bytes(), rest };
        // SAFETY: the value begins with room for its length.
        unsafe {
            pgrx::varlena::set_varsize_4b(
                (&raw mut value).cast(),
                i32::try_from(size).unwrap_or_default(),
            );
        }
        value
    }

    /// As Postgres takes it, for as long as it stays where it is.
    pub(crate) const fn as_numeric(&mut self) -> pg_sys::Numeric {
        (&raw mut *self).cast()
    }
}
