//! What is wrong with the server, the job, its owner or its schedule: it lasts until somebody puts
//! it right.

use serde_json::json;

use super::{Findings, Owner, Scheduler, Severity, Times, sentence};
use crate::quote::{excerpt, ident, literal};
use crate::run::SkipReason;
use crate::time::Timestamp;

/// From so long on it is worth a word that a scheduler is late or blind: from here on `cron.health` has
/// a warning.
const PATIENCE: i64 = 5 * Timestamp::SECOND;
/// One that has slept for so long does not wake up by itself: from here on it is critical there.
const TOO_LATE: i64 = 30 * Timestamp::SECOND;

impl Findings<'_> {
    pub(super) fn blind(&mut self) {
        let Some(blind) = &self.facts.server.blind else { return };
        if self.facts.now.since(blind.since) < PATIENCE {
            return;
        }
        let mut detail = format!(
            "The scheduler has not been able to read its tables since {}; what was changed since \
             does not count yet",
            self.at(blind.since)
        );
        match &blind.why {
            Some(why) => detail.push_str(&format!(": {}", sentence(why))),
            None => detail.push('.'),
        }
        self.warning("scheduler blind", detail, None);
    }

    pub(super) fn server(&mut self) {
        let server = &self.facts.server;
        if server.in_recovery {
            let detail = "This server is a standby: nothing runs here until it is promoted.";
            self.error("standby", detail, self.if_superuser("SELECT pg_catalog.pg_promote()"));
            return;
        }
        match server.scheduler {
            Scheduler::Running(pid, overslept) if overslept >= PATIENCE => {
                self.late(pid, overslept);
            }
            Scheduler::Running(..) => {}
            Scheduler::NotNamed => {
                let database = excerpt(&server.database);
                let detail = format!(
                    "Setting cron.database_name does not name database \"{database}\", so it has \
                     no scheduler. The setting takes effect when the server is restarted."
                );
                let names: Vec<&str> =
                    server.named.iter().chain([&server.database]).map(String::as_str).collect();
                let names = literal(&names.join(", "));
                let remedy = format!("ALTER SYSTEM SET cron.database_name = {names}");
                self.error("no scheduler", detail, self.if_superuser(remedy));
            }
            Scheduler::Absent => {
                let detail = "This database has no scheduler at present. The launcher starts one \
                              again and again; the server log says why it does not stay.";
                self.error("no scheduler", detail, None);
            }
        }
        if !server.launch_active_jobs {
            let detail = "Setting cron.launch_active_jobs is off, so no job runs. A change takes \
                          effect with SELECT pg_reload_conf().";
            let remedy = "ALTER SYSTEM SET cron.launch_active_jobs = on";
            self.error("jobs switched off", detail, self.if_superuser(remedy));
        }
    }

    fn late(&mut self, pid: i32, overslept: i64) {
        let detail = format!(
            "The scheduler, process {pid}, has had something to look at since {} and has not.",
            self.at(self.facts.now.plus(-overslept))
        );
        if overslept < TOO_LATE {
            return self.warning("scheduler late", detail, None);
        }
        // The launcher starts another one, which takes over all runs.
        let remedy = format!("SELECT pg_catalog.pg_terminate_backend({pid})");
        self.error("scheduler late", detail, self.if_superuser(remedy));
    }

    pub(super) fn job(&mut self) {
        let job = &self.facts.job;
        if let Some(node) = &job.other_node {
            let detail = format!(
                "The job belongs to node \"{}\", which is not this server: nodename is neither a \
                 name of this machine nor cron.host.",
                excerpt(node)
            );
            let remedy = format!(
                "UPDATE cron.job SET nodename = 'localhost' \
                         WHERE jobid OPERATOR(pg_catalog.=) {}",
                job.id
            );
            self.error("remote node", detail, self.if_superuser(remedy));
        }
        if !job.active {
            let remedy = self.set_job(&json!({"active": true}));
            self.error("inactive", "The job is switched off.", remedy);
        }
        if let Some(pause) = &job.pause {
            let until = pause.until.map_or_else(
                || "until it is resumed".to_owned(),
                |until| format!("until {}", self.at(until)),
            );
            let by = pause.by.as_ref().map(|by| format!(" by \"{}\"", excerpt(by)));
            let why = pause.reason.as_ref().map(|why| format!(": {}", excerpt(why)));
            let detail = format!(
                "It is paused {until}{}{}.",
                by.unwrap_or_default(),
                why.unwrap_or_default()
            );
            self.error("paused", detail, format!("SELECT cron.resume({})", job.id));
        }
        if let Some(most) = job.no_room {
            let detail = format!(
                "There is no room for it: long commands, settings and requests of all jobs of role \
                 \"{}\" may take up {} MB together. It runs once they are shorter or fewer.",
                excerpt(&job.username),
                most / 1024 / 1024
            );
            self.error("no room", detail, None);
        }
    }

    pub(super) fn role(&mut self) {
        let (job, role) = (&self.facts.job, excerpt(&self.facts.job.username));
        let (name, database) = (ident(&job.username), excerpt(&job.database));
        let (can_log_in, superuser, may_connect) = match self.facts.owner {
            Owner::Role { can_log_in, superuser, may_connect } => {
                (can_log_in, superuser, may_connect)
            }
            Owner::Missing => {
                let detail = format!("The job's owner, role \"{role}\", does not exist.");
                let remedy = format!("CREATE ROLE {name} LOGIN");
                self.error("owner missing", detail, self.if_superuser(remedy));
                // What can be said of a role that is not there.
                (true, false, true)
            }
        };
        if !can_log_in {
            let detail = format!("The job's owner, role \"{role}\", may not log in.");
            let remedy = self.if_superuser(format!("ALTER ROLE {name} LOGIN"));
            self.error("owner cannot log in", detail, remedy);
        }
        if superuser && !self.facts.server.superuser_jobs {
            let detail = format!(
                "Role \"{role}\" is a superuser, and setting cron.enable_superuser_jobs is off. A \
                 change takes effect when the server is restarted."
            );
            let remedy = self.if_superuser("ALTER SYSTEM SET cron.enable_superuser_jobs = on");
            self.error("superuser jobs disabled", detail, remedy);
        }
        match self.facts.database {
            None => {
                let detail = format!("The job's database \"{database}\" does not exist.");
                self.error("database missing", detail, self.set_job(&json!({"database": null})));
            }
            Some(found) if !found.open => {
                let detail = format!("The job's database \"{database}\" takes no connections.");
                let remedy =
                    format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(&job.database));
                self.error("database closed", detail, self.if_superuser(remedy));
            }
            Some(_) if !may_connect => {
                let detail = format!(
                    "Role \"{role}\" may not connect to the job's database \"{database}\"."
                );
                let database = ident(&job.database);
                let remedy = format!("GRANT CONNECT ON DATABASE {database} TO {name}");
                self.error("owner may not connect", detail, self.if_superuser(remedy));
            }
            Some(_) => {}
        }
        for (secret, exists) in &self.facts.secrets {
            let shown = excerpt(secret);
            if *exists {
                let detail = format!("Role \"{role}\" may not use secret \"{shown}\".");
                let (secret, role) = (literal(secret), literal(&job.username));
                let remedy = format!("SELECT cron.grant_secret({secret}, {role})");
                self.error("secret denied", detail, self.if_superuser(remedy));
            } else {
                let detail = format!(
                    "The request names secret \"{shown}\", which does not exist. Set it with COPY \
                     cron.secret_input FROM STDIN."
                );
                self.error("secret missing", detail, None);
            }
        }
    }

    pub(super) fn times(&mut self) {
        match &self.facts.times {
            Times::BadSchedule { schedule, why } => {
                let remedy = format!("SELECT * FROM cron.validate_schedule({})", literal(schedule));
                self.error("bad schedule", why.clone(), remedy);
            }
            Times::BadOptions { why, calendar } => {
                let remedy = calendar
                    .as_ref()
                    .map(|name| format!("SELECT cron.create_calendar({})", literal(name)));
                self.error("bad options", why.clone(), remedy);
            }
            Times::Startup => {}
            Times::At { schedule, timezone, next: None, closed, .. } if self.has_no_time() => {
                let detail = match closed {
                    Some((_, None)) => "Its window and calendars never open again.",
                    _ => {
                        "Its schedule has no instant in the next forty years that its window and \
                          calendars let through."
                    }
                };
                let zone = timezone.as_ref().map(|zone| format!(", {}", literal(zone)));
                let remedy = format!(
                    "SELECT * FROM cron.explain_schedule({}{})",
                    literal(schedule),
                    zone.unwrap_or_default()
                );
                self.error("never fires", detail, remedy);
            }
            Times::At { closed: Some((reason, opens)), .. } => {
                let opens = opens.map_or_else(String::new, |at| format!(" until {}", self.at(at)));
                let (finding, detail) = match reason {
                    SkipReason::Calendar => {
                        ("closed by calendar", format!("A calendar keeps it from running{opens}."))
                    }
                    _ => ("outside its window", format!("Its run_window is closed{opens}.")),
                };
                let remedy = format!("SELECT cron.run_now({}, force => true)", self.facts.job.id);
                self.say(Severity::Info, finding, detail, remedy);
            }
            Times::At { .. } => {}
        }
    }

    /// Whether that the job has no next run is its schedule's affair: a job that does not run for
    /// another reason, or that counts from the end of its run, has none either.
    fn has_no_time(&self) -> bool {
        let job = &self.facts.job;
        let forever = job.pause.as_ref().is_some_and(|pause| pause.until.is_none());
        self.facts.runs.is_empty() && !forever
    }
}
