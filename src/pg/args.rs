//! The arguments of a function as they came, for functions that a view calls for each of its rows.
//!
//! What pgrx makes of arguments costs more than such a function does: a guard around each one that could
//! be compressed, and a copy of each that is a list or an interval.

use core::marker::PhantomData;

use pg_tock_core::time::Timestamp;
use pgrx::datum::{Array, FromDatum, Interval};
use pgrx::pg_sys;
use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u, varlena_to_byte_slice};

use super::json::from_server;
use super::time::from_pg;

/// The arguments of the function that is being called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'call>(pg_sys::FunctionCallInfo, PhantomData<&'call ()>);

impl<'call> Args<'call> {
    /// Those of the function that passes on what Postgres has called it with, and then asks for them as
    /// they are declared.
    pub(crate) const fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo, PhantomData)
    }

    fn datum(self, place: usize) -> Option<pg_sys::Datum> {
        // SAFETY: see `new`.
        let argument = unsafe { pgrx::fcinfo::pg_get_nullable_datum(self.0, place) };
        (!argument.isnull).then_some(argument.value)
    }

    /// Whether it is not NULL.
    pub(crate) fn is_given(self, place: usize) -> bool {
        self.datum(place).is_some()
    }

    /// A boolean.
    pub(crate) fn flag(self, place: usize) -> Option<bool> {
        self.datum(place).map(|datum| datum.value() & 0xff != 0)
    }

    /// A bigint.
    pub(crate) fn number(self, place: usize) -> Option<i64> {
        self.datum(place).map(|datum| datum.value().cast_signed() as i64)
    }

    /// A timestamptz.
    pub(crate) fn instant(self, place: usize) -> Option<Timestamp> {
        self.number(place).map(from_pg)
    }

    /// An interval.
    pub(crate) fn span(self, place: usize) -> Option<Interval> {
        // SAFETY: see `new`.
        unsafe { Interval::from_datum(self.datum(place)?, false) }
    }

    /// The bytes of a text, in the database's encoding, or of whatever else has a length of its own.
    pub(crate) fn bytes(self, place: usize) -> Option<&'call [u8]> {
        let value: *mut pg_sys::varlena = self.datum(place)?.cast_mut_ptr();
        // SAFETY: it is such a value, see `new`. Its bytes, or those of the copy that is
        // made of what is compressed or elsewhere, live in the memory of the call.
        unsafe {
            let plain = varatt_is_4b_u(value) || varatt_is_1b(value) && !varatt_is_1b_e(value);
            let value = if plain { value } else { pg_sys::pg_detoast_datum_packed(value) };
            Some(varlena_to_byte_slice(value))
        }
    }

    /// The members of a `text[]` as JSON has them, without those that are NULL.
    pub(crate) fn names(self, place: usize) -> Vec<String> {
        let list = self.datum(place).and_then(|datum| {
            // SAFETY: see `new`; text and bytea have one layout.
            unsafe { Array::<&[u8]>::from_datum(datum, false) }
        });
        let names = list.iter().flat_map(Array::iter).flatten();
        names.map(|name| from_server(name).unwrap_or_default()).collect()
    }
}
