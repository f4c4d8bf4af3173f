//! A jsonb argument as a value.
//!
//! Owns one invariant: whatever encoding the database has, the value's texts are what the caller
//! wrote. pgrx's own type takes the database's bytes for UTF-8.

use core::ffi::{CStr, c_int};

use pg_tock_core::manifest::Path;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use serde_json::Value;

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8.cast_signed();

/// The jsonb argument at this place; None if it is NULL.
///
/// # Errors
/// The value has a text that is not valid, which only a database without encoding can hold.
pub(crate) fn argument(
    fcinfo: pg_sys::FunctionCallInfo,
    place: usize,
) -> Option<Result<Value, serde_json::Error>> {
    // SAFETY: Postgres passed it to the function that passes it on, which has such an argument.
    let datum = unsafe { pgrx::fcinfo::pg_getarg_datum(fcinfo, place) }?;
    Some(value(datum))
}

/// As [`argument`], for documents: an error says where in the document it is.
///
/// # Errors
/// As well, the value has a number that nothing here could hold, or is too deep.
pub(crate) fn document(
    fcinfo: pg_sys::FunctionCallInfo,
    place: usize,
) -> Option<Result<Value, (Path, serde_json::Error)>> {
    // SAFETY: as in `argument`.
    let datum = unsafe { pgrx::fcinfo::pg_getarg_datum(fcinfo, place) }?;
    Some(serde_json::from_slice(text(datum)).map_err(|error| {
        let text = String::from_utf8_lossy(text(datum));
        // jsonb is written as one line, in which columns are bytes.
        (Path::at(&text, error.column()), error)
    }))
}

/// A value of type jsonb.
///
/// # Errors
/// As [`argument`].
pub(crate) fn value(datum: pg_sys::Datum) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text(datum))
}

/// A value of type jsonb as a text in UTF-8, which lives as long as the memory of the call.
fn text<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: it is a jsonb; its output function answers with a C string.
    let text =
        unsafe { pgrx::fcinfo::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(datum)]) };
    let Some(text) = text else { return b"null" };
    // SAFETY: see above.
    let text = unsafe { CStr::from_ptr(text.cast_mut_ptr()) };
    let length = c_int::try_from(text.count_bytes()).unwrap_or(c_int::MAX);
    // SAFETY: a string of that length; the answer is it, or a C string with a copy.
    let utf8 = unsafe { pg_sys::pg_server_to_any(text.as_ptr(), length, UTF8) };
    // SAFETY: see above; it is read before anything can free it.
    unsafe { CStr::from_ptr(utf8) }.to_bytes()
}

/// A value as a jsonb; an ERROR if the database's encoding lacks one of its characters.
pub(crate) fn datum(value: &Value) -> Option<pg_sys::Datum> {
    let mut text = to_server(&value.to_string());
    text.push(0);
    let text = pg_sys::Datum::from(text.as_ptr());
    // SAFETY: a C string that lives during the call; the answer is a copy.
    unsafe { pgrx::fcinfo::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text)]) }
}

/// A jsonb that a function returns.
#[derive(Debug)]
pub(crate) struct Jsonb(pg_sys::Datum);

impl Jsonb {
    /// A value as [`datum`] makes it.
    pub(crate) fn new(value: &Value) -> Option<Self> {
        datum(value).map(Self)
    }
}

// SAFETY: a jsonb that lives in the memory of the call, and is not null.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: promised by the caller.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

// SAFETY: what is declared in SQL is written by hand.
unsafe impl SqlTranslatable for Jsonb {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jsonb);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Err(ArgumentError::NotValidAsArgument("Jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("jsonb")));
}

/// A text in the encoding of the database; an ERROR if that lacks one of its characters.
pub(crate) fn to_server(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    bytes.push(0);
    // SAFETY: a C string of that length; the answer is it, or a C string with a copy.
    let converted = unsafe { pg_sys::pg_any_to_server(bytes.as_ptr().cast(), length, UTF8) };
    // SAFETY: see above; copied before anything can free it.
    unsafe { CStr::from_ptr(converted) }.to_bytes().to_vec()
}

/// A text in the encoding of the database as JSON has it.
///
/// # Errors
/// It is not valid, which only a database without encoding can hold.
pub(crate) fn from_server(text: &[u8]) -> Result<String, std::str::Utf8Error> {
    let mut bytes = text.to_vec();
    let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    bytes.push(0);
    // SAFETY: a C string of that length; the answer is it, or a C string with a copy.
    let utf8 = unsafe { pg_sys::pg_server_to_any(bytes.as_ptr().cast(), length, UTF8) };
    // SAFETY: see above; copied before anything can free it.
    unsafe { CStr::from_ptr(utf8) }.to_str().map(str::to_owned)
}
