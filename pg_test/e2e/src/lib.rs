//! End-to-end scenarios of `pg_tock`: see `tests/`. This library is empty; the scenarios are the
//! package's test programs, and the words they are written in are those of `pg_tock_test`.
