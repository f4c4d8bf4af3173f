//! When a job of a document runs next, before the document is applied and after.

use pg_tock_core::manifest::{Change, Wanted};
use pg_tock_core::time::Timestamp;

use crate::catalog::outlook::{self, Outlook, Shaped};
use crate::catalog::role;
use crate::error::Error;
use crate::guc;
use crate::pg::json::{from_server, to_server};
use crate::pg::text::ServerText;

use super::outlook::Calendars;
use super::preview::now;
use super::rights::default_database;

/// A job as it is.
#[derive(Clone, Debug)]
pub(super) struct Before {
    outlook: Outlook,
    /// When it runs next.
    pub(super) next: Option<Timestamp>,
}

/// The job of this id as it is.
pub(super) fn before(id: i64, calendars: &mut Calendars) -> Result<Option<Before>, Error> {
    let Some(outlook) = outlook::one(id)? else { return Ok(None) };
    let next = next(&outlook, calendars)?;
    Ok(Some(Before { outlook, next }))
}

/// When a job of the document runs next once it is as it is to be. `id`: if it has one already;
/// the delay of its jitter is not known before.
pub(super) fn after(
    job: &Wanted,
    change: &Change,
    before: Option<&Before>,
    id: Option<i64>,
    calendars: &mut Calendars,
) -> Result<Option<Timestamp>, Error> {
    let options = &job.options;
    let text = |name: &str| options.text(name).map(str::to_owned);
    let mut outlook = before.map_or_else(Outlook::default, |before| before.outlook.clone());
    let id = id.or_else(|| before.map(|before| before.outlook.shaped.jobid));
    outlook.shaped = Shaped {
        jobid: id.unwrap_or_default(),
        schedule: text("schedule").unwrap_or_default(),
        timezone: text("timezone"),
        dst_policy: text("dst_policy"),
        jitter: if id.is_some() { options.span("jitter") } else { Some(0) },
        run_window: text("run_window"),
        skip_on: options.texts("skip_on").to_vec(),
        only_on: options.texts("only_on").to_vec(),
    };
    outlook.active = options.flag("active").unwrap_or(true);
    outlook.nodename = guc::host();
    outlook.username.clone_from(&job.entry.owner);
    outlook.database = match text("database") {
        Some(database) => database,
        None => from_server(&default_database())?,
    };
    // Its time begins anew.
    if change.fields.iter().any(|field| matches!(field.name, "schedule" | "timezone" | "active")) {
        outlook.effective_from = None;
    }
    next(&outlook, calendars)
}

/// When a job starts next; `None` if it does not. As column `next_run_at` of `cron.jobs`.
fn next(outlook: &Outlook, calendars: &mut Calendars) -> Result<Option<Timestamp>, Error> {
    if !outlook.runs_here() {
        return Ok(None);
    }
    let role = role::role(ServerText::new(&to_server(&outlook.username)))?;
    let Some(role) = role.filter(|role| role.can_log_in) else { return Ok(None) };
    if role::can_connect(role.oid, ServerText::new(&to_server(&outlook.database)))?.is_none() {
        return Ok(None);
    }
    let now = now();
    let Ok(plan) = outlook.plan(now, calendars)? else { return Ok(None) };
    Ok(plan.coming(outlook.rests_until(now)).next().map(|coming| coming.start))
}
