//! A private server for one scenario: its life, and ways to talk to it.

use crate::builder::Builder;
use crate::clock::{self, Clock};
use crate::disk;
use crate::poll::{PATIENCE, poll_until};
use crate::process::{is_alive, kill9, signal};
use crate::report::{self, Watchdog};
use crate::server::{self, PORT};
use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Config, NoTls};
use rustix::process::Signal;
use std::fmt::{self, Debug, Formatter};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A private server. Dropping it stops the server at once and removes its files; if that happens
/// because a test fails, its state is printed first.
pub struct Cluster {
    dir: TempDir,
    bindir: PathBuf,
    clock: Option<Clock>,
    environment: Vec<(String, String)>,
    postmaster: Mutex<Option<Child>>,
    admin: Mutex<Option<Client>>,
    _watchdog: Option<Watchdog>,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}

/// SQLSTATE of a failed statement.
///
/// # Panics
/// When the error did not come from the server.
#[must_use]
#[track_caller]
pub fn sqlstate(error: &postgres::Error) -> &str {
    error.code().unwrap_or_else(|| panic!("not an error of the server: {error}")).code()
}

/// Takes a lock, also after a test thread panicked with it: diagnosis still needs the content.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// A cluster with nothing special about it.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A cluster whose jobs are to be in the database `legacy`, where there is no extension yet. Its encoding has
    /// characters that Unicode does not have.
    #[must_use]
    #[track_caller]
    pub fn with_legacy_database() -> Self {
        let cluster = Self::builder().without_extension().start();
        cluster.sql(
            "create database legacy encoding 'EUC_JP' lc_collate 'C' lc_ctype 'C' template template0",
        );
        cluster.conf("cron.database_name", "legacy");
        cluster.restart();
        cluster
    }

    /// Starts the description of a cluster.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    #[track_caller]
    pub(crate) fn make(builder: &Builder) -> Self {
        let bindir = builder.bindir.clone().unwrap_or_else(server::bindir);
        let mut cluster = Self::empty(bindir);
        cluster.clock = builder.clock.map(|start| Clock::new(cluster.dir.path(), start));
        cluster.environment.clone_from(&builder.environment);
        if builder.slow_disk {
            cluster.environment.extend(disk::environment(cluster.dir.path()));
        }
        let template = server::template(&cluster.bindir);
        server::output(Command::new("cp").arg("-a").arg(template).arg(cluster.data()));
        cluster.conf("unix_socket_directories", &cluster.dir.path().display().to_string());
        cluster.conf("port", &PORT.to_string());
        for (name, value) in &builder.conf {
            cluster.conf(name, value);
        }
        cluster
    }

    /// A place for a cluster, without a data directory yet.
    pub(crate) fn empty(bindir: PathBuf) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("c")
            .tempdir_in(server::state_dir())
            .expect("a directory for the cluster");
        server::give_to_server(dir.path());
        let watchdog = Watchdog::of_ci(dir.path());
        Self {
            dir,
            bindir,
            clock: None,
            environment: Vec::new(),
            postmaster: Mutex::new(None),
            admin: Mutex::new(None),
            _watchdog: watchdog,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The cluster's directory: socket, data and server log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Directory of the server's programs.
    #[must_use]
    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// Port number, which is part of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        PORT
    }

    // ---- life -------------------------------------------------------------------------------

    /// Appends a parameter to `postgresql.conf`; it holds after the next [`Cluster::reload`] or
    /// [`Cluster::restart`].
    pub fn conf(&self, name: &str, value: &str) {
        use std::io::Write;
        let path = self.data().join("postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(path).expect("postgresql.conf");
        writeln!(file, "{name} = '{}'", value.replace('\'', "''")).expect("a line is written");
    }

    /// Makes the server read `postgresql.conf` again.
    pub fn reload(&self) {
        signal(self.postmaster_pid(), Signal::HUP);
    }

    /// Starts the stopped server and waits until it takes connections.
    ///
    /// # Panics
    /// When it gives up or does not come up in time, with its log.
    #[track_caller]
    pub fn boot(&self) {
        self.spawn_postmaster();
        self.wait_ready();
    }

    /// Starts the stopped server and returns at once: for servers that are expected to refuse.
    pub fn spawn_postmaster(&self) {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.log_path())
            .expect("the server's log");
        let postgres = self.bindir.join("postgres");
        let mut command = match &self.clock {
            Some(clock) => clock.command(&postgres),
            None => server::as_server(&postgres),
        };
        let child = command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("-D")
            .arg(self.data())
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("the postmaster starts");
        *lock(&self.postmaster) = Some(child);
    }

    /// Waits until the server takes connections.
    ///
    /// # Panics
    /// When it gives up or does not come up in time, with its log.
    #[track_caller]
    pub fn wait_ready(&self) {
        poll_until("the server takes connections", PATIENCE, || {
            let ended = lock(&self.postmaster).as_mut()?.try_wait().expect("a child's status");
            assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.log_tail(40));
            self.config("postgres", "postgres").connect(NoTls).ok()
        });
    }

    /// Waits until the postmaster has ended by itself (it was told to stop, or refused to start).
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_stopped(&self) {
        poll_until("the server stops", PATIENCE, || {
            let mut postmaster = lock(&self.postmaster);
            let child = postmaster.as_mut()?;
            child.try_wait().expect("a child's status").map(|_| clock::tidy(child.id()))
        });
        *lock(&self.postmaster) = None;
        *lock(&self.admin) = None;
    }

    /// Fast shutdown: sessions are ended, everything is flushed. Returns how long it took.
    #[track_caller]
    pub fn stop(&self) -> Duration {
        let started = Instant::now();
        signal(self.postmaster_pid(), Signal::INT);
        self.wait_stopped();
        started.elapsed()
    }

    /// Immediate stop: as if the power failed, except that the disk keeps what was written to it.
    #[track_caller]
    pub fn stop_immediately(&self) {
        signal(self.postmaster_pid(), Signal::QUIT);
        self.wait_stopped();
    }

    /// Fast shutdown and start.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.boot();
    }

    /// Makes the server crash by killing one of its backends, and waits until it has recovered.
    #[track_caller]
    pub fn crash(&self) {
        self.crash_by_killing(self.one::<i32>("select pg_backend_pid()"));
    }

    /// Makes the server crash by killing that process, and waits until it has recovered: every other
    /// process has been replaced and connections are taken again.
    #[track_caller]
    pub fn crash_by_killing(&self, process: i32) {
        let before = self.checkpointer().expect("a checkpointer");
        kill9(process);
        poll_until("the server has recovered", PATIENCE, || {
            self.checkpointer().filter(|now| *now != before)
        });
    }

    pub(crate) fn checkpointer(&self) -> Option<i32> {
        let mut client = self.config("postgres", "postgres").connect(NoTls).ok()?;
        let row = client
            .query_opt("select pid from pg_stat_activity where backend_type = 'checkpointer'", &[])
            .ok()??;
        Some(row.get(0))
    }

    /// Whether there is a postmaster.
    pub(crate) fn is_up(&self) -> bool {
        lock(&self.postmaster).is_some()
    }

    #[track_caller]
    pub(crate) fn clock(&self) -> &Clock {
        self.clock.as_ref().expect("a cluster built with a clock of its own")
    }

    /// Process id of the postmaster.
    #[must_use]
    #[track_caller]
    pub fn postmaster_pid(&self) -> i32 {
        let postmaster = lock(&self.postmaster);
        let child = postmaster.as_ref().expect("the server runs");
        i32::try_from(child.id()).expect("a process id")
    }

    // ---- talking ----------------------------------------------------------------------------

    /// How to connect to `database` as `role`.
    #[must_use]
    pub fn config(&self, database: &str, role: &str) -> Config {
        server::config(self.dir.path(), database, role)
    }

    /// A connection to `postgres` as superuser.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Client {
        self.connect("postgres", "postgres")
    }

    /// A connection to `postgres` as `role`.
    #[must_use]
    #[track_caller]
    pub fn client_as(&self, role: &str) -> Client {
        self.connect("postgres", role)
    }

    /// A connection to `database` as superuser.
    #[must_use]
    #[track_caller]
    pub fn client_in(&self, database: &str) -> Client {
        self.connect(database, "postgres")
    }

    /// A connection to `database` as `role`.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    #[track_caller]
    pub fn connect(&self, database: &str, role: &str) -> Client {
        self.config(database, role).connect(NoTls).unwrap_or_else(|error| {
            panic!("cannot connect to {database} as {role}: {}", explain(&error))
        })
    }

    /// Lends the cluster's own superuser session, opened anew if the last one is dead.
    #[track_caller]
    fn with_admin<T>(&self, work: impl FnOnce(&mut Client) -> T) -> T {
        let mut admin = lock(&self.admin);
        if admin.as_mut().is_none_or(|client| client.is_valid(PATIENCE).is_err()) {
            *admin = Some(self.client());
        }
        work(admin.as_mut().expect("just opened"))
    }

    /// Runs a statement as superuser, or several in one transaction.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        if let Err(error) = self.try_sql(statements) {
            panic!("{statements}\nfailed: {}", explain(&error));
        }
    }

    /// Runs a statement as superuser, or several in one transaction.
    ///
    /// # Errors
    /// The server's answer to the first that fails.
    pub fn try_sql(&self, statements: &str) -> Result<(), postgres::Error> {
        self.with_admin(|client| client.batch_execute(statements))
    }

    /// The one value that a query returns, as superuser.
    ///
    /// # Panics
    /// When it fails, or returns no row or several.
    #[must_use]
    #[track_caller]
    pub fn one<T: FromSqlOwned>(&self, query: &str) -> T {
        self.one_with(query, &[])
    }

    /// As [`Cluster::one`], with parameters.
    #[must_use]
    #[track_caller]
    pub fn one_with<T: FromSqlOwned>(&self, query: &str, with: &[&(dyn ToSql + Sync)]) -> T {
        match self.with_admin(|client| client.query_one(query, with)) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{query}\nfailed: {}", explain(&error)),
        }
    }

    /// The rows of a query's first column, as superuser.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    #[track_caller]
    pub fn column<T: FromSqlOwned>(&self, query: &str) -> Vec<T> {
        match self.with_admin(|client| client.query(query, &[])) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => panic!("{query}\nfailed: {}", explain(&error)),
        }
    }

    /// All rows of a query, as superuser.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    #[track_caller]
    pub fn rows(&self, query: &str, with: &[&(dyn ToSql + Sync)]) -> Vec<postgres::Row> {
        match self.with_admin(|client| client.query(query, with)) {
            Ok(rows) => rows,
            Err(error) => panic!("{query}\nfailed: {}", explain(&error)),
        }
    }

    /// Waits until the boolean `condition` (an SQL expression) is true.
    ///
    /// # Panics
    /// When that does not happen in [`PATIENCE`].
    #[track_caller]
    pub fn wait_for(&self, condition: &str) {
        poll_until(condition, PATIENCE, || {
            self.one::<Option<bool>>(&format!("select ({condition})")).filter(|holds| *holds)
        });
    }

    /// A client program of the server's version, such as `psql` or `pg_dump`, told where to connect.
    #[must_use]
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(self.bindir.join(program));
        command
            .env("PGHOST", self.dir.path())
            .env("PGPORT", PORT.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .env("PGAPPNAME", "scenario");
        command
    }

    // ---- log --------------------------------------------------------------------------------

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The last `count` lines of the server's log.
    #[must_use]
    pub fn log_tail(&self, count: usize) -> String {
        report::log_tail(self.dir.path(), count)
    }

    fn log_path(&self) -> PathBuf {
        report::log_path(self.dir.path())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", report::of(self.dir.path()));
        }
        if let Some(child) = lock(&self.postmaster).as_mut() {
            if let Ok(process) = i32::try_from(child.id())
                && is_alive(process)
            {
                signal(process, Signal::QUIT);
            }
            drop(child.wait());
            clock::tidy(child.id());
        }
    }
}

/// What the server said, with SQLSTATE, detail and hint.
#[must_use]
pub fn explain(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || format!("{error:?}"),
        |said| {
            format!(
                "{} {}\nDETAIL: {}\nHINT: {}",
                said.code().code(),
                said.message(),
                said.detail().unwrap_or("-"),
                said.hint().unwrap_or("-")
            )
        },
    )
}
