//! Thin wrappers over Postgres primitives, one a file.

pub(crate) mod args;
pub(crate) mod bgw;
pub(crate) mod catalog_scan;
pub(crate) mod conceal;
pub(crate) mod create_extension;
pub(crate) mod crowd;
pub(crate) mod identity;
pub(crate) mod job_lock;
pub(crate) mod json;
#[allow(ffi_unwind_calls)] // inside a guard
pub(crate) mod keyed_row;
pub(crate) mod keys;
pub(crate) mod letter;
pub(crate) mod lock;
pub(crate) mod locks;
#[allow(ffi_unwind_calls)] // inside a guard
pub(crate) mod log;
pub(crate) mod mq;
pub(crate) mod names;
#[allow(ffi_unwind_calls)] // its frames own nothing with a destructor
pub(crate) mod numeric;
pub(crate) mod preload;
pub(crate) mod process;
pub(crate) mod queues;
pub(crate) mod raw;
pub(crate) mod settings;
pub(crate) mod shutdown;
pub(crate) mod snapshot;
pub(crate) mod table_row;
pub(crate) mod text;
#[allow(ffi_unwind_calls)] // what it calls so raises nothing
pub(crate) mod time;
#[allow(ffi_unwind_calls)] // it is what catches them
pub(crate) mod trap;
pub(crate) mod trigger;
pub(crate) mod txn;
pub(crate) mod wait;
pub(crate) mod zone;
