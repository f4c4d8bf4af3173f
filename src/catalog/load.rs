//! `cron.job` as the scheduler reads it, together with what the system catalogs and
//! `cron.job_state` say about each job.
//!
//! Texts come as bytes in the database's encoding: pgrx would refuse what is not UTF-8.

use std::ffi::CString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::LazyLock;

use pg_tock_core::time::Timestamp;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use crate::pg::time::from_pg;

use super::kept;
use super::options::stored;

/// One row of `cron.job`, with its surroundings.
#[derive(Debug)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    pub(crate) schedule: String,
    pub(crate) command: CString,
    pub(crate) nodename: String,
    pub(crate) database: CString,
    pub(crate) username: CString,
    pub(crate) active: bool,
    pub(crate) jobname: Option<CString>,
    pub(crate) timezone: Option<String>,
    /// None: there is no such database.
    pub(crate) database_oid: Option<u32>,
    /// None: there is no such role.
    pub(crate) role_oid: Option<u32>,
    pub(crate) is_superuser: bool,
    pub(crate) can_log_in: bool,
    /// When the definition in `definition` came into force.
    pub(crate) effective_from: Option<Timestamp>,
    pub(crate) definition: Option<String>,
    /// Up to where its occurrences are accounted for.
    pub(crate) cursor: Option<Timestamp>,
    /// Up to where its successful runs have covered time.
    pub(crate) window_start: Option<Timestamp>,
    /// The latest instant that was made good, by a backfill or by whoever resolved its run.
    pub(crate) made_good: Option<Timestamp>,
    /// A run of it has had effects that a rollback does not undo.
    pub(crate) reaches_outside: bool,
    /// Its options, a [`Stored`](pg_tock_core::options::Stored) as JSON; None if it has none.
    pub(crate) options: Option<String>,
    /// `settings`, as JSON in UTF-8.
    pub(crate) settings: Option<String>,
    /// `http`, as JSON; None for a job that runs SQL.
    pub(crate) http: Option<String>,
    /// What command, options, settings and request take up.
    pub(crate) bytes: i64,
    /// They are left out, because that is more than was asked for.
    pub(crate) is_cut: bool,
    /// It stands in `cron.job_state` that there is no room for them.
    pub(crate) no_room: bool,
}

impl JobRow {
    /// Whether its owner may log in, and there is its database.
    pub(crate) const fn is_at_home(&self) -> bool {
        self.can_log_in && self.database_oid.is_some()
    }
}

/// What texts of one role's jobs that are [`LONG`] may take up together, in bytes.
pub(crate) const ROOM: i64 = 64 * 1024 * 1024;

/// Texts of a job that take up more than this are not read along with many others, in bytes.
const LONG: i64 = 4_096;

// What is long has to be asked for by itself: compressed as it is, many of them in a page could be more than
// there is memory. The length of a text can be told without its being read.
macro_rules! unless_long {
    ($text:expr) => {
        concat!("CASE WHEN l.bytes OPERATOR(pg_catalog.<=) $1 THEN ", $text, " END")
    };
}

macro_rules! bytes {
    ($column:literal) => {
        concat!("pg_catalog.convert_to(", $column, ", pg_catalog.getdatabaseencoding())")
    };
}

// In a database without encoding a conversion to UTF-8 would fail where a text is none, and one row
// would keep all from being read.
macro_rules! utf8 {
    ($column:literal) => {
        concat!(
            "pg_catalog.convert_to(",
            $column,
            ", CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' \
             ELSE 'UTF8' END)"
        )
    };
}

const JOBS: &str = concat!(
    "SELECT j.jobid, ",
    bytes!("j.schedule"),
    ", ",
    unless_long!(bytes!("j.command")),
    ", ",
    bytes!("j.nodename"),
    ", ",
    bytes!("j.database"),
    ", ",
    bytes!("j.username"),
    ", j.active, ",
    bytes!("j.jobname"),
    ", ",
    bytes!("j.timezone"),
    ", d.oid, r.oid, r.rolsuper, s.effective_from, s.definition, s.cursor, s.reaches_outside, ",
    unless_long!(utf8!("l.options")),
    ", ",
    unless_long!(utf8!("l.settings")),
    ", s.window_start, ",
    unless_long!(utf8!("l.http")),
    ", r.rolcanlogin, s.made_good, l.bytes, l.bytes OPERATOR(pg_catalog.>) $1, s.no_room FROM cron.job j ",
    "CROSS JOIN LATERAL (SELECT t.*, pg_catalog.octet_length(j.command)::bigint ",
    "OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length(t.options), 0) ",
    "OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length(t.settings), 0) ",
    "OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length(t.http), 0) AS bytes FROM (SELECT ",
    "{options} AS options, j.settings::pg_catalog.text AS settings, j.http::pg_catalog.text AS http ",
    "OFFSET 0) t) l ",
    "LEFT JOIN pg_catalog.pg_database d ",
    "ON d.datname::pg_catalog.text OPERATOR(pg_catalog.=) j.database ",
    "LEFT JOIN pg_catalog.pg_roles r ",
    "ON r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) j.username ",
    // One by one: a plan made when there were few jobs must not read all that is known of many.
    "LEFT JOIN LATERAL (SELECT k.effective_from, k.definition, k.cursor, k.reaches_outside, ",
    "k.window_start, k.made_good, k.no_room FROM cron.job_state k WHERE k.jobid OPERATOR(pg_catalog.=) j.jobid OFFSET 0) s ",
    "ON true ",
);

static PAGE: LazyLock<String> =
    LazyLock::new(|| jobs("WHERE j.jobid OPERATOR(pg_catalog.>) $2 ORDER BY j.jobid LIMIT $3"));
static SOME: LazyLock<String> =
    LazyLock::new(|| jobs("WHERE j.jobid OPERATOR(pg_catalog.=) ANY ($2)"));

fn jobs(filter: &str) -> String {
    JOBS.replace("{options}", &stored("j")) + filter
}

// Tables are looked up by row, not by name: news of a COMMIT can arrive before the invalidations
// that go with it, when cached names are still those of before.
const INSTALLED: &str = "SELECT e.oid, j.oid, r.oid FROM pg_catalog.pg_extension e \
     JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) 'cron' \
     JOIN pg_catalog.pg_class j ON j.relnamespace OPERATOR(pg_catalog.=) n.oid \
      AND j.relname OPERATOR(pg_catalog.=) 'job' \
     JOIN pg_catalog.pg_class r ON r.relnamespace OPERATOR(pg_catalog.=) n.oid \
      AND r.relname OPERATOR(pg_catalog.=) 'job_run_details' \
     WHERE e.extname OPERATOR(pg_catalog.=) 'pg_tock'";

/// The extension as this database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The extension; another one if it was dropped and created again.
    pub(crate) extension: pg_sys::Oid,
    /// `cron.job`.
    pub(crate) jobs: pg_sys::Oid,
    /// `cron.job_run_details`.
    pub(crate) ledger: pg_sys::Oid,
}

/// The extension, if this database has it. In a transaction, as every function here.
pub(crate) fn installed() -> Result<Option<Installed>, spi::Error> {
    Spi::connect(|client| {
        let rows = kept::select(client, INSTALLED, &[])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (extension, jobs, ledger) =
            rows.first().get_three::<pg_sys::Oid, pg_sys::Oid, pg_sys::Oid>()?;
        Ok(extension.zip(jobs).zip(ledger).map(|((extension, jobs), ledger)| Installed {
            extension,
            jobs,
            ledger,
        }))
    })
}

/// So many jobs with ids above this one, in order.
pub(crate) fn page(after: i64, most: i64) -> Result<Vec<JobRow>, spi::Error> {
    rows(&PAGE, &[LONG.into(), after.into(), most.into()])
}

/// The ids that [`page`] would find.
pub(crate) fn ids(after: i64, most: i64) -> Result<Vec<i64>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT j.jobid FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.>) $1 \
             ORDER BY j.jobid LIMIT $2",
            None,
            &[after.into(), most.into()],
        )?;
        rows.map(|row| row.get(1).map(Option::unwrap_or_default)).collect()
    })
}

/// Those of these jobs that exist.
pub(crate) fn some(ids: &[i64]) -> Result<Vec<JobRow>, spi::Error> {
    rows(&SOME, &[LONG.into(), ids.to_vec().into()])
}

/// A job with all that it says, unless that takes up more than so many bytes by now.
pub(crate) fn whole(id: i64, bytes: i64) -> Result<Option<JobRow>, spi::Error> {
    Ok(rows(&SOME, &[bytes.into(), vec![id].into()])?.pop())
}

/// The rows a query finds.
fn rows(query: &'static str, arguments: &[DatumWithOid<'_>]) -> Result<Vec<JobRow>, spi::Error> {
    Spi::connect(|client| kept::select(client, query, arguments)?.map(|row| read(&row)).collect())
}

// What `page` and `some` say of roles.
const ROLES: &str = concat!(
    "SELECT r.oid, ",
    bytes!("r.rolname::pg_catalog.text"),
    ", r.rolsuper, r.rolcanlogin FROM pg_catalog.pg_roles r ORDER BY r.oid"
);

/// A digest of what jobs know of roles: it is another one when jobs have to be read again.
pub(crate) fn roles() -> Result<u64, spi::Error> {
    Spi::connect(|client| {
        let mut digest = DefaultHasher::new();
        for row in kept::select(client, ROLES, &[])? {
            row.get::<pg_sys::Oid>(1)?.map(pg_sys::Oid::to_u32).hash(&mut digest);
            row.get::<Vec<u8>>(2)?.hash(&mut digest);
            row.get::<bool>(3)?.hash(&mut digest);
            row.get::<bool>(4)?.hash(&mut digest);
        }
        Ok(digest.finish())
    })
}

const CALENDARS: &str = concat!(
    "SELECT ",
    utf8!("c.name"),
    ", d.from_days, d.to_days FROM (SELECT k.name FROM cron.calendar k \
      WHERE k.name OPERATOR(pg_catalog.>) (SELECT pg_catalog.convert_from($1, \
       CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)) \
      ORDER BY k.name LIMIT $2) c \
     CROSS JOIN LATERAL (SELECT \
       pg_catalog.array_agg(r.from_date OPERATOR(pg_catalog.-) '1970-01-01'::pg_catalog.date), \
       pg_catalog.array_agg(r.to_date OPERATOR(pg_catalog.-) '1970-01-01'::pg_catalog.date) \
      FROM cron.calendar_date r WHERE r.calendar OPERATOR(pg_catalog.=) c.name \
       AND pg_catalog.isfinite(r.from_date) AND pg_catalog.isfinite(r.to_date)) d (from_days, to_days) \
     ORDER BY c.name"
);

/// A calendar's name, and its dates as first and last days since 1970.
pub(crate) type Calendar = (String, Vec<(i64, i64)>);

/// So many calendars, in the order of their names, after this name; and the last name as it is stored.
pub(crate) fn calendars(
    after: &[u8],
    most: usize,
) -> Result<(Vec<Calendar>, Option<Vec<u8>>), spi::Error> {
    let days = |row: &SpiHeapTupleData<'_>, column: usize| {
        row.get::<Vec<i32>>(column).map(Option::unwrap_or_default)
    };
    Spi::connect(|client| {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // Planned for the number there is now, as queues are.
        let rows = client.select(CALENDARS, None, &[after.to_vec().into(), most.into()])?;
        let mut last = None;
        let read = rows.map(|row| {
            let name = row.get::<Vec<u8>>(1)?.unwrap_or_default();
            last = Some(name.clone());
            let (from, to) = (days(&row, 2)?, days(&row, 3)?);
            let dates = from.into_iter().map(i64::from).zip(to.into_iter().map(i64::from));
            Ok((String::from_utf8_lossy(&name).into_owned(), dates.collect()))
        });
        let read: Result<Vec<Calendar>, spi::Error> = read.collect();
        Ok((read?, last))
    })
}

// Each is looked up in the index, however few rows the planner thinks the table has: it needs the name as
// a value, not as a function's result.
const QUEUES: &str = concat!(
    "SELECT q.name, q.max_running, q.max_start_rate FROM (SELECT pg_catalog.convert_from(u.name, \
       CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END) \
      FROM pg_catalog.unnest($1) u (name) OFFSET 0) n (name) \
     CROSS JOIN LATERAL (SELECT ",
    utf8!("q.name"),
    ", q.max_running, q.max_start_rate FROM cron.queue q \
      WHERE q.name OPERATOR(pg_catalog.=) n.name OFFSET 0) q (name, max_running, max_start_rate)"
);

/// A queue: its name, most runs at once, most starts in a second.
pub(crate) type Queue = (String, Option<i32>, Option<f64>);

/// Those of these queues that there are.
pub(crate) fn queues(names: &[Rc<str>]) -> Result<Vec<Queue>, spi::Error> {
    let names: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    Spi::connect(|client| {
        // Not a plan that is kept: one made while there were few would go on reading all of them.
        let rows = client.select(QUEUES, None, &[names.into()])?;
        rows.map(|row| {
            let name = row.get::<Vec<u8>>(1)?.unwrap_or_default();
            Ok((String::from_utf8_lossy(&name).into_owned(), row.get(2)?, row.get(3)?))
        })
        .collect()
    })
}

// A name that is no job's of the same owner keeps nobody waiting.
// Each name is looked up by itself, which no join does that is planned for tables that grow later: it may
// read all jobs of the role for every name.
const UPSTREAM: &str = "SELECT j.jobid, pg_catalog.array_agg(u.jobid ORDER BY u.jobid) \
     FROM cron.job j CROSS JOIN LATERAL pg_catalog.unnest(j.run_after) n (name) \
     CROSS JOIN LATERAL (SELECT (SELECT o.jobid FROM cron.job o \
       WHERE o.jobname OPERATOR(pg_catalog.=) n.name \
        AND o.username OPERATOR(pg_catalog.=) j.username) AS jobid OFFSET 0) u \
     WHERE j.run_after IS NOT NULL AND j.jobid OPERATOR(pg_catalog.=) ANY ($1) AND u.jobid IS NOT NULL \
     GROUP BY j.jobid";

/// Those of these jobs that wait for others, and for which.
pub(crate) fn upstream(of: &[i64]) -> Result<Vec<(i64, Vec<i64>)>, spi::Error> {
    Spi::connect(|client| {
        let rows = kept::select(client, UPSTREAM, &[of.to_vec().into()])?;
        rows.map(|row| Ok((row.get(1)?.unwrap_or_default(), row.get(2)?.unwrap_or_default())))
            .collect()
    })
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<JobRow, spi::Error> {
    let bytes = |column: usize| row.get::<Vec<u8>>(column).map(Option::unwrap_or_default);
    let text =
        |column: usize| bytes(column).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // text cannot hold a NUL byte
    let c_text = |column: usize| bytes(column).map(|bytes| CString::new(bytes).unwrap_or_default());
    let optional = |column: usize| row.get::<Vec<u8>>(column);
    Ok(JobRow {
        id: row.get(1)?.unwrap_or_default(),
        schedule: text(2)?,
        command: c_text(3)?,
        nodename: text(4)?,
        database: c_text(5)?,
        username: c_text(6)?,
        active: row.get(7)?.unwrap_or(false),
        jobname: optional(8)?.map(|bytes| CString::new(bytes).unwrap_or_default()),
        timezone: optional(9)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        database_oid: row.get::<pg_sys::Oid>(10)?.map(pg_sys::Oid::to_u32),
        role_oid: row.get::<pg_sys::Oid>(11)?.map(pg_sys::Oid::to_u32),
        is_superuser: row.get(12)?.unwrap_or(false),
        effective_from: row.get::<TimestampWithTimeZone>(13)?.map(|at| from_pg(at.into_inner())),
        definition: row.get(14)?,
        cursor: row.get::<TimestampWithTimeZone>(15)?.map(|at| from_pg(at.into_inner())),
        reaches_outside: row.get(16)?.unwrap_or(false),
        options: optional(17)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        settings: optional(18)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        window_start: row.get::<TimestampWithTimeZone>(19)?.map(|at| from_pg(at.into_inner())),
        http: optional(20)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        can_log_in: row.get(21)?.unwrap_or(false),
        made_good: row.get::<TimestampWithTimeZone>(22)?.map(|at| from_pg(at.into_inner())),
        bytes: row.get(23)?.unwrap_or_default(),
        is_cut: row.get(24)?.unwrap_or(false),
        no_room: row.get(25)?.unwrap_or(false),
    })
}
