//! What a trigger function of ours was called for.

use core::ffi::CStr;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

/// The facts of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Call {
    /// The event is TRUNCATE.
    pub(crate) truncate: bool,
    /// The table is `cron.job`.
    pub(crate) on_job_table: bool,
    /// The table is `cron.queue`.
    pub(crate) on_queue_table: bool,
    /// Column `jobid` of the row: the deleted one, the inserted one, or before the update.
    pub(crate) jobid: Option<i64>,
    /// Column `jobid` after the update.
    pub(crate) new_jobid: Option<i64>,
}

/// The facts of this call; None if the function was not called by a trigger.
pub(crate) fn call(fcinfo: pg_sys::FunctionCallInfo) -> Option<Call> {
    // SAFETY: Postgres passed it to the function that passes it on.
    let info = unsafe { fcinfo.as_ref() }?;
    // SAFETY: as above; what is read below stays valid during the call.
    let trigger = unsafe { PgTrigger::from_fcinfo(info) }.ok()?;
    let jobid = |row: Option<PgHeapTuple<'_, AllocatedByPostgres>>| {
        row.and_then(|row| row.get_by_name::<i64>("jobid").ok().flatten())
    };
    let is_on = |table: &str| {
        let relation = trigger.relation();
        relation.is_ok_and(|relation| relation.name() == table && relation.namespace() == "cron")
    };
    let (on_job_table, on_queue_table) = (is_on("job"), is_on("queue"));
    let inserted = trigger.event().fired_by_insert();
    let (jobid, new_jobid) = if inserted {
        (jobid(trigger.new()), None)
    } else {
        (jobid(trigger.old()), jobid(trigger.new()))
    };
    let truncate = trigger.event().fired_by_truncate();
    Some(Call { truncate, on_job_table, on_queue_table, jobid, new_jobid })
}

/// The row that an INSERT or UPDATE is about to write, for a trigger that runs before or in its
/// place.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    tuple: pg_sys::HeapTuple,
    shape: pg_sys::TupleDesc,
    old: Option<pg_sys::HeapTuple>,
    call: core::marker::PhantomData<&'a ()>,
}

/// The new row of this call; None if the function was not called by a row trigger for INSERT or
/// UPDATE.
pub(crate) fn new_row<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Option<NewRow<'a>> {
    // SAFETY: Postgres passed it to the function that passes it on.
    let info = unsafe { fcinfo.as_ref() }?;
    // SAFETY: as above.
    let trigger = unsafe { PgTrigger::from_fcinfo(info) }.ok()?;
    let event = trigger.event();
    if !event.fired_for_row() || !(event.fired_by_insert() || event.fired_by_update()) {
        return None;
    }
    // SAFETY: from_fcinfo has seen that this is what the context points to.
    let data = unsafe { info.context.cast::<pg_sys::TriggerData>().as_ref() }?;
    // SAFETY: the relation is open during the call.
    let shape = unsafe { (*data.tg_relation).rd_att };
    let (tuple, old) = if event.fired_by_update() {
        (data.tg_newtuple, Some(data.tg_trigtuple))
    } else {
        (data.tg_trigtuple, None)
    };
    Some(NewRow { tuple, shape, old, call: core::marker::PhantomData })
}

impl NewRow<'_> {
    fn number(&self, column: &CStr) -> i32 {
        // SAFETY: the descriptor is valid during the call.
        unsafe { pg_sys::SPI_fnumber(self.shape, column.as_ptr()) }
    }

    fn datum(&self, tuple: pg_sys::HeapTuple, column: &CStr) -> Option<pg_sys::Datum> {
        let number = self.number(column);
        if number <= 0 {
            return None;
        }
        let mut null = true;
        // SAFETY: a row of this descriptor, which has a column of this number.
        let datum = unsafe { pg_sys::SPI_getbinval(tuple, self.shape, number, &raw mut null) };
        (!null).then_some(datum)
    }

    /// The bytes of a text; None if it is NULL, or there is no such column.
    pub(crate) fn text(&self, column: &CStr) -> Option<&[u8]> {
        let datum = self.datum(self.tuple, column)?;
        // SAFETY: a text; its layout is that of bytea. The row outlives this one.
        unsafe { <&[u8]>::from_polymorphic_datum(datum, false, pg_sys::BYTEAOID) }
    }

    /// A value of the new row as it is; None if it is NULL.
    pub(crate) fn value(&self, column: &CStr) -> Option<pg_sys::Datum> {
        self.datum(self.tuple, column)
    }

    /// Whether a column of type text or jsonb is, byte for byte, what it was before an UPDATE.
    pub(crate) fn is_as_before(&self, column: &CStr) -> bool {
        let Some(old) = self.old else { return false };
        let bytes = |tuple| {
            let datum = self.datum(tuple, column)?;
            // SAFETY: both types are a length and bytes; the rows outlive this one.
            unsafe { <&[u8]>::from_polymorphic_datum(datum, false, pg_sys::BYTEAOID) }
        };
        bytes(old) == bytes(self.tuple)
    }

    /// The row as it is.
    pub(crate) const fn unchanged(self) -> Row {
        Row(self.tuple)
    }

    /// The row with other values in these columns; NULL where there is none.
    pub(crate) fn with(self, columns: &[(&CStr, Option<pg_sys::Datum>)]) -> Row {
        let mut numbers: Vec<i32> = columns.iter().map(|(name, _)| self.number(name)).collect();
        if numbers.iter().any(|number| *number <= 0) {
            return Row(self.tuple);
        }
        let mut nulls: Vec<bool> = columns.iter().map(|(_, value)| value.is_none()).collect();
        let mut values: Vec<pg_sys::Datum> =
            columns.iter().map(|(_, value)| value.unwrap_or_else(pg_sys::Datum::null)).collect();
        let count = i32::try_from(numbers.len()).unwrap_or(0);
        // SAFETY: the row has this descriptor and columns of these numbers, whose types are the
        // callers' to know; the arrays have as many items.
        Row(unsafe {
            pg_sys::heap_modify_tuple_by_cols(
                self.tuple,
                self.shape,
                count,
                numbers.as_mut_ptr(),
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            )
        })
    }
}

/// What a row trigger returns: the row to be written.
#[derive(Debug)]
pub(crate) struct Row(pg_sys::HeapTuple);

// SAFETY: a trigger returns a pointer to a row, which is not null and lives in the memory of the
// call.
unsafe impl BoxRet for Row {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: promised by the caller.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0)) }
    }
}

// SAFETY: what is declared in SQL is written by hand.
unsafe impl SqlTranslatable for Row {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Row);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Err(ArgumentError::NotValidAsArgument("Row"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("trigger")));
}
