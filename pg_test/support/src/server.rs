//! The server's programs: where they are, whom they run as, and a freshly initialised data directory
//! to copy from. Owns the invariant that no server program ever runs as root.

use crate::poll::PATIENCE;
use postgres::Config;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's place for the default major version, as in `ci/env.sh`.
const DEFAULT_PG_CONFIG: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// The port only names the socket: no server of ours listens on the network.
pub(crate) const PORT: u16 = 5439;

/// How to connect to `database` of the cluster in `dir` as `role`.
pub(crate) fn config(dir: &Path, database: &str, role: &str) -> Config {
    let mut config = Config::new();
    config
        .host_path(dir)
        .port(PORT)
        .user(role)
        .dbname(database)
        .application_name("scenario")
        .connect_timeout(PATIENCE);
    config
}

/// Directory of the server's programs: `PG_TOCK_BINDIR`, else what `PG_CONFIG` answers.
pub(crate) fn bindir() -> PathBuf {
    if let Some(dir) = std::env::var_os("PG_TOCK_BINDIR") {
        return dir.into();
    }
    let pg_config = std::env::var("PG_CONFIG").unwrap_or_else(|_| DEFAULT_PG_CONFIG.to_owned());
    PathBuf::from(output(Command::new(pg_config).arg("--bindir")))
}

/// Runs a program and returns what it printed, without the line end.
///
/// # Panics
/// When it cannot be started or fails, with what it said.
pub(crate) fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?} failed with {}:\n{}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// User and group that server programs run as: ours, or those of user `postgres` for root.
fn server_ids() -> (u32, u32) {
    if rustix::process::getuid().is_root() {
        let id = |flag| output(Command::new("id").args([flag, "postgres"])).parse();
        (id("-u").expect("a user id"), id("-g").expect("a group id"))
    } else {
        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    }
}

/// A command that runs `program` as the server's user, away from the caller's directory (which that
/// user may not be allowed to enter). Should the starting thread die, so does the program, by
/// SIGQUIT: to a postmaster that is an immediate shutdown.
pub(crate) fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::getuid().is_root() {
        let (user, group) = server_ids();
        command.args([format!("--reuid={user}"), format!("--regid={group}")]).arg("--init-groups");
    }
    // A developer's RUST_BACKTRACE would end up in the details of errors.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program).current_dir("/");
    command
}

/// Compiles a library for servers from its C source, into `dir`.
pub(crate) fn library(dir: &Path, name: &str, source: &str) -> PathBuf {
    let (file, library) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.so")));
    fs::write(&file, source).expect("the source is written");
    let mut compile = Command::new("cc");
    output(compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&file));
    library
}

/// Gives a path to the server's user.
pub(crate) fn give_to_server(path: &Path) {
    let (user, group) = server_ids();
    chown(path, Some(user), Some(group))
        .unwrap_or_else(|error| panic!("cannot chown {}: {error}", path.display()));
}

/// Where clusters live: short (a socket's path is limited to 107 bytes), reachable for the server's
/// user, and ours. The shell scripts say where (`ci/cluster.sh`).
pub(crate) fn state_dir() -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    let dir = std::env::var_os("PG_TOCK_STATE")
        .map_or_else(|| PathBuf::from(format!("/var/tmp/pg_tock-{uid}")), PathBuf::from);
    let made = fs::DirBuilder::new().mode(0o755).create(&dir);
    let found = fs::symlink_metadata(&dir)
        .unwrap_or_else(|error| panic!("cannot make {}: {made:?}, {error}", dir.display()));
    assert!(
        found.is_dir() && found.uid() == uid,
        "{} belongs to somebody else: set PG_TOCK_STATE to a directory of your own",
        dir.display()
    );
    dir
}

/// A data directory fresh from initdb, made once per server version and then only copied.
pub(crate) fn template(bindir: &Path) -> PathBuf {
    let version = output(Command::new(bindir.join("postgres")).arg("--version"));
    let mut hasher = DefaultHasher::new();
    (&version, bindir).hash(&mut hasher);
    let state = state_dir();
    let template = state.join(format!("template-{:016x}", hasher.finish()));
    // Test programs run side by side: the first makes the template, the others wait for it.
    let lock = File::create(state.join("template.lock")).expect("a lock file");
    lock.lock().expect("a file lock");
    if !template.exists() {
        let making = template.with_extension("making");
        // What a killed initdb has left behind.
        drop(fs::remove_dir_all(&making));
        fs::create_dir(&making).expect("a directory for initdb");
        give_to_server(&making);
        output(
            as_server(&bindir.join("initdb"))
                .arg("-D")
                .arg(making.join("data"))
                .args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
                .arg("--no-sync"),
        );
        fs::rename(&making, &template).expect("initdb's result in its place");
    }
    template.join("data")
}
